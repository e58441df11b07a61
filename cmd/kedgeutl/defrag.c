/* defrag: the store of a stopped member, written anew without free pages. The new file stands beside the old one until
 * it is whole and synced, and takes its name in one step; whatever ends this before leaves the old one as it was. */
#include "base/error.h"
#include "base/log.h"
#include "base/net/loop.h"
#include "cmd/kedgectl/printer.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/data.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_OPS = 10000, BATCH_BYTES = 4 << 20 };

const struct cli_flag commands_defrag_flags[] = {
    {"data-dir", 0, CLI_STRING, "", NULL, false, "the member's data directory (required)"},
    {0},
};

struct copy {
    struct backend *to;
    enum backend_table table;
    struct backend_op ops[BATCH_OPS]; /* keys and values are of the read, which outlives the batch */
    size_t count, bytes;
    int error;
};

static int commit(struct copy *c)
{
    const struct backend_batch batch = {.ops = c->ops, .count = c->count, .bytes = c->bytes};
    int error = c->count == 0 ? 0 : backend_commit(c->to, &batch);
    c->count = c->bytes = 0;
    return error;
}

static bool copy_row(void *arg, struct bytes key, struct bytes value)
{
    struct copy *c = arg;
    c->ops[c->count++] = (struct backend_op){BACKEND_PUT, (uint8_t)c->table, key, value};
    c->bytes += key.len + value.len;
    if (c->count == BATCH_OPS || c->bytes >= BATCH_BYTES) {
        c->error = commit(c);
    }
    return c->error == 0;
}

static int copy_table(struct copy *c, struct backend_read *read, enum backend_table table)
{
    c->table = table;
    int error = backend_scan(read, table, (struct bytes){0}, copy_row, c);
    return c->error != 0 ? c->error : error;
}

static int copy_all(struct backend *from, struct backend *to)
{
    struct copy *c = mem_zalloc(sizeof *c);
    struct backend_read *read;
    c->to = to;
    int error = backend_read_begin(from, &read);
    if (error == 0) {
        for (int table = 0; table < BACKEND_TABLES && error == 0; table++) {
            error = copy_table(c, read, (enum backend_table)table);
        }
        error = error != 0 ? error : commit(c);
        backend_read_end(read);
    }
    free(c);
    return error;
}

static int sync_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) != 0 ? ERR_IO : 0;
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

/* Behind "db.tmp" a start of the member removes what is left of it. */
static void remove_copy(struct cli_call *call, const char *path)
{
    unlink(path);
    unlink(arena_printf(&call->arena, "%s-lock", path));
}

static int rewrite(struct cli_call *call, struct backend *from, const char *path, struct backend_stats *after)
{
    const char *part = arena_printf(&call->arena, "%s.tmp.defrag", path);
    const struct backend_lmdb_config config = {.path = part, .unsafe_no_sync = true, .unchecked = true};
    struct backend *to = NULL;
    char *reason = NULL;
    remove_copy(call, part);
    int error = backend_open_lmdb(&config, &to, &reason);
    error = error != 0 ? error : copy_all(from, to);
    error = error != 0 ? error : sync_file(part);
    if (error == 0) {
        *after = backend_stats(to);
        error = backend_lmdb_rename(to, path);
    }
    if (to != NULL) {
        backend_close(to);
    }
    if (error != 0) {
        remove_copy(call, part);
        error = cli_fail(CLI_ERROR, "%s: %s", path, reason != NULL ? reason : error_text(error));
    }
    free(reason);
    return error;
}

static void log_begin(struct cli_call *call, const char *path, struct backend_stats before)
{
    log_info("defragmenting", log_str("path", path), log_uint("current-db-size-bytes", before.size_bytes),
             log_str("current-db-size", printer_bytes(&call->arena, before.size_bytes)),
             log_uint("current-db-size-in-use-bytes", before.size_in_use_bytes),
             log_str("current-db-size-in-use", printer_bytes(&call->arena, before.size_in_use_bytes)));
}

static void log_end(struct cli_call *call, const char *path, struct backend_stats before, struct backend_stats after,
                    int64_t took_ns)
{
    log_info(
        "finished defragmenting directory", log_str("path", path),
        log_int("current-db-size-bytes-diff", (int64_t)(after.size_bytes - before.size_bytes)),
        log_uint("current-db-size-bytes", after.size_bytes),
        log_str("current-db-size", printer_bytes(&call->arena, after.size_bytes)),
        log_int("current-db-size-in-use-bytes-diff", (int64_t)(after.size_in_use_bytes - before.size_in_use_bytes)),
        log_uint("current-db-size-in-use-bytes", after.size_in_use_bytes),
        log_str("current-db-size-in-use", printer_bytes(&call->arena, after.size_in_use_bytes)),
        log_duration("took", took_ns));
}

int commands_defrag(struct cli_call *call)
{
    const char *dir = cli_string(call, "data-dir"), *path = data_store_path(call, dir);
    struct backend *store;
    struct stat st;
    int status = cli_require(call, (const char *const[]){"data-dir", NULL});
    if (status != CLI_OK) {
        return status;
    }
    log_configure(LOG_INFO, LOG_CONSOLE_SECONDS);
    if (stat(path, &st) != 0) {
        return cli_fail(CLI_ERROR, "Failed to defragment etcd data[%s] (stat %s: no such file or directory)", dir,
                        path);
    }
    status = data_open(call, path, &store);
    if (status != CLI_OK) {
        return status;
    }
    int64_t begun_ns = (int64_t)loop_clock_ns();
    struct backend_stats before = backend_stats(store), after = before;
    log_begin(call, path, before);
    status = rewrite(call, store, path, &after);
    backend_close(store);
    if (status == CLI_OK) {
        log_end(call, path, before, after, (int64_t)loop_clock_ns() - begun_ns);
    }
    return status;
}
