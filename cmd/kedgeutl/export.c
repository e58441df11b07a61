/* A kedge member's data folder as etcd's: the store becomes a bbolt file; log and checkpoints are in etcd's format
 * already and are copied. The folder is the same member of the same cluster, at the same place of its log, so the etcd
 * that starts on it goes on where kedge stopped. */
#include "snapshot/export.h"
#include "base/error.h"
#include "cmd/kedge/generation.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/export_files.h"
#include "raft/wal/wal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct export
{
    struct cli_call *call;
    const char *snap_dir, *wal_dir, *db; /* of kedge's folder */
    struct export_files files;
    struct backend *store;
    struct backend_read *read;
    struct wal_contents log;
    uint64_t index, term;
};

static int fail(struct export *e, const char *path, char *reason)
{
    const char *text = reason == NULL ? "?" : arena_printf(&e->call->arena, "%s", reason);
    free(reason);
    return strncmp(text, path, strlen(path)) == 0 ? cli_fail(CLI_ERROR, "%s", text)
                                                  : cli_fail(CLI_ERROR, "%s: %s", path, text);
}

/* --- what is there --- */

/* bbolt's magic number behind the head of the first page. */
static bool is_etcds(const char *path)
{
    uint8_t head[20] = {0};
    FILE *file = fopen(path, "rb");
    bool is = file != NULL && fread(head, 1, sizeof head, file) == sizeof head &&
              memcmp(head + 16, "\xed\xda\x0c\xed", 4) == 0;
    if (file != NULL) {
        fclose(file);
    }
    return is;
}

/* Opening walks all of it. A member that runs holds it: waited for as long as --timeout. */
static int open_store(struct export *e)
{
    const struct backend_lmdb_config config = {.path = e->db, .read_only = true};
    int64_t wait_ns = cli_number(e->call, "timeout");
    char *reason = NULL;
    int error;
    if (is_etcds(e->db)) {
        return cli_fail(CLI_ERROR, "%s: it is etcd's already", e->db);
    }
    while ((error = backend_open_lmdb(&config, &e->store, &reason)) == ERR_LOCKED && wait_ns > 0) {
        free(reason);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        wait_ns -= 100000000;
    }
    if (error == ERR_LOCKED) {
        free(reason);
        return cli_fail(CLI_BAD_CONNECTION, "%s is in use: stop the member first", e->db);
    }
    if (error != 0) {
        return fail(e, e->db, reason != NULL ? reason : mem_strdup(error_text(error)));
    }
    error = backend_read_begin(e->store, &e->read);
    return error == 0 ? CLI_OK : fail(e, e->db, mem_strdup(error_text(error)));
}

static uint64_t number(const struct export *e, enum backend_table table, const char *name)
{
    struct bytes value;
    bool there = backend_get(e->read, table, bytes_str(name), &value) == 0 && value.len == 8;
    return there ? get_be64(value.data) : 0;
}

static int read_log(struct export *e)
{
    const struct wal_config config = {.fs = wal_fs_posix(), .dir = e->wal_dir};
    char *reason = NULL;
    int error = wal_verify(&config, &e->log, &reason);
    if (error == ERR_ABSENT) {
        free(reason);
        return cli_fail(CLI_ERROR, "%s: there is no write-ahead log; with --wal-dir it may stand elsewhere",
                        e->wal_dir);
    }
    return error == 0 ? CLI_OK : fail(e, e->wal_dir, reason != NULL ? reason : mem_strdup(error_text(error)));
}

/* What kedge asks at its start (cmd/kedge/member.c). A log that begins above the store has an image beside it, which
 * etcd takes over as kedge would. */
static int check_fit(struct export *e)
{
    uint64_t id = number(e, BACKEND_KEDGE, GENERATION_MEMBER_ID);
    e->index = number(e, BACKEND_META, "consistent_index");
    e->term = number(e, BACKEND_META, "term");
    if (id != 0 && (id != e->log.metadata.node_id ||
                    number(e, BACKEND_KEDGE, GENERATION_CLUSTER_ID) != e->log.metadata.cluster_id)) {
        return cli_fail(CLI_ERROR, "%s is member %" PRIx64 "'s store, %s is the log of member %" PRIx64, e->db, id,
                        e->wal_dir, e->log.metadata.node_id);
    }
    const char *image = arena_printf(&e->call->arena, "%s/%016" PRIx64 ".snap.db", e->snap_dir, e->log.snapshot.index);
    bool has_image = e->log.snapshot.index > e->index && access(image, F_OK) == 0;
    if ((e->log.first_index > e->index + 1 && !has_image) || e->log.last_index < e->index) {
        return cli_fail(CLI_ERROR,
                        "%s has entries up to %" PRIu64 ", %s has %" PRIu64 " to %" PRIu64 ": they do not fit together",
                        e->db, e->index, e->wal_dir, e->log.first_index, e->log.last_index);
    }
    return CLI_OK;
}

/* --- what is made --- */

static int write_pages(struct export *e, struct snapshot_export *pages, int fd, const char *path)
{
    enum { PLAN_ROWS = 100000, PIECE = 1 << 18 };
    static uint8_t piece[PIECE];
    int progress;
    size_t len;
    while ((progress = snapshot_export_plan(pages, PLAN_ROWS)) == SNAPSHOT_MORE) {
    }
    do {
        progress = progress < 0 ? progress : snapshot_export_read(pages, piece, sizeof piece, &len);
        if (progress >= 0 && !export_files_write(&e->files, fd, path, piece, len)) {
            return cli_fail(CLI_ERROR, "%s", e->files.reason);
        }
    } while (progress == SNAPSHOT_MORE);
    if (progress != SNAPSHOT_DONE) {
        char *fault = backend_fault(e->store);
        return fail(e, e->db, fault != NULL ? fault : mem_strdup(error_text(progress)));
    }
    return CLI_OK;
}

static int write_db(struct export *e)
{
    const char *path = arena_printf(&e->call->arena, "%s/member/snap/db", e->files.part);
    int fd = export_files_create(&e->files, path);
    if (fd < 0) {
        return cli_fail(CLI_ERROR, "%s", e->files.reason);
    }
    struct snapshot_export *pages = snapshot_export_new(e->read, false);
    int status = write_pages(e, pages, fd, path);
    snapshot_export_free(pages);
    if (!export_files_close(&e->files, fd, path) && status == CLI_OK) {
        status = cli_fail(CLI_ERROR, "%s", e->files.reason);
    }
    return status;
}

/* What a crash tore at the log's end is cut off in the copy, so that etcd has nothing to repair. */
static int repair_log(struct export *e)
{
    struct wal *wal;
    struct wal_contents contents;
    char *reason = NULL;
    const char *dir = arena_printf(&e->call->arena, "%s/member/wal", e->files.part);
    const struct wal_config config = {.fs = wal_fs_posix(), .dir = dir};
    if (!e->log.repaired) {
        return CLI_OK;
    }
    int error = wal_open(&config, &wal, &contents, &reason);
    if (error != 0) {
        return fail(e, dir, reason != NULL ? reason : mem_strdup(error_text(error)));
    }
    wal_close(wal);
    wal_contents_free(&contents);
    return CLI_OK;
}

static int make(struct export *e)
{
    if (!export_files_begin(&e->files, &e->call->arena, e->call->args[1])) {
        return cli_fail(CLI_ERROR, "%s", e->files.reason);
    }
    int status = write_db(e);
    if (status == CLI_OK && !(export_files_copy(&e->files, e->wal_dir, ".wal", "member/wal") &&
                              export_files_copy(&e->files, e->snap_dir, ".snap", "member/snap") &&
                              export_files_copy(&e->files, e->snap_dir, ".snap.db", "member/snap"))) {
        status = cli_fail(CLI_ERROR, "%s", e->files.reason);
    }
    status = status != CLI_OK ? status : repair_log(e);
    if (status == CLI_OK && !export_files_end(&e->files)) {
        status = cli_fail(CLI_ERROR, "%s", e->files.reason);
    }
    if (status != CLI_OK) {
        export_files_give_up(&e->files);
    }
    return status;
}

/* --- the command --- */

static int run(struct export *e)
{
    int status = open_store(e);
    status = status != CLI_OK ? status : read_log(e);
    status = status != CLI_OK ? status : check_fit(e);
    status = status != CLI_OK ? status : make(e);
    if (status == CLI_OK) {
        printf("Exported to %s: member %" PRIx64 " of cluster %" PRIx64 ", %" PRIu64 " rows, entries up to %" PRIu64
               "\n",
               e->files.out, e->log.metadata.node_id, e->log.metadata.cluster_id, backend_count(e->read, BACKEND_KEY),
               e->log.last_index);
    }
    return status;
}

int commands_export(struct cli_call *call)
{
    struct export e = {.call = call};
    if (call->arg_count != 2) {
        return cli_fail(CLI_BAD_ARGS, "export command needs the data folder of kedge and the one to make as arguments");
    }
    const char *wal_dir = cli_string(call, "wal-dir");
    e.snap_dir = arena_printf(&call->arena, "%s/member/snap", call->args[0]);
    e.db = arena_printf(&call->arena, "%s/db", e.snap_dir);
    e.wal_dir = wal_dir[0] != '\0' ? wal_dir : arena_printf(&call->arena, "%s/member/wal", call->args[0]);
    int status = run(&e);
    if (e.read != NULL) {
        backend_read_end(e.read);
    }
    backend_close(e.store);
    wal_contents_free(&e.log);
    return status;
}
