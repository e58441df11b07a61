#include "snapshot/build.h"

#include "base/canary.h"
#include "base/error.h"
#include "snapshot/build_commit.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REVISION = 17 };

#define SCHEDULED "scheduledCompactRev"

struct snapshot_build {
    struct snapshot_build_config config;
    struct backend *store;
    enum backend_table table; /* of the bucket that comes; BACKEND_TABLES = one that is left out */
    uint64_t rows[BACKEND_TABLES];
    uint64_t index, term;     /* as the image says */
    uint8_t latest[REVISION]; /* key of the last row of table key, up to the mark of a tombstone */

    struct build_commit commit;
    bool done;
    char reason[512];
};

__attribute__((format(printf, 3, 4))) static int fail(struct snapshot_build *b, int error, const char *format, ...)
{
    va_list args;
    if (b->reason[0] == '\0') {
        va_start(args, format);
        vsnprintf(b->reason, sizeof b->reason, format, args);
        va_end(args);
    }
    return error;
}

static int fail_image(struct snapshot_build *b, const char *what)
{
    return fail(b, ERR_CORRUPT_DATA, "%s: bucket %s: %s", b->config.image,
                b->table < BACKEND_TABLES ? backend_table_name(b->table) : "?", what);
}

static int fail_store(struct snapshot_build *b, int error, const char *what)
{
    char *fault = b->store == NULL ? NULL : backend_fault(b->store);
    fail(b, error, "%s: %s: %s", b->config.store, what, fault != NULL ? fault : error_text(error));
    free(fault);
    return error;
}

/* --- commits --- */

static int commit(struct snapshot_build *b, uint64_t index, uint64_t term)
{
    int error = build_commit_batch(&b->commit, index, term);
    return error == 0 ? 0 : fail_store(b, error, error == ERR_DISK_FULL ? "no space left" : "cannot write");
}

static int settle(struct snapshot_build *b)
{
    int error = build_commit_settle(&b->commit);
    return error == 0 ? 0 : fail_store(b, error, error == ERR_DISK_FULL ? "no space left" : "cannot write");
}

static int add(struct snapshot_build *b, enum backend_table table, struct bytes key, struct bytes value)
{
    build_commit_add(&b->commit, table, key, value);
    b->rows[table]++;
    return build_commit_is_full(&b->commit) ? commit(b, 0, 0) : 0;
}

/* --- what the image has --- */

static bool left_out(const struct snapshot_build *b, enum backend_table table)
{
    return b->config.new_cluster && (table == BACKEND_MEMBERS || table == BACKEND_MEMBERS_REMOVED);
}

int snapshot_build_bucket(struct snapshot_build *b, struct bytes name)
{
    b->table = BACKEND_TABLES;
    for (unsigned k = 0; k < SNAPSHOT_TABLES; k++) {
        if (bytes_equal(name, bytes_str(backend_table_name(snapshot_tables[k]))) && !left_out(b, snapshot_tables[k])) {
            b->table = snapshot_tables[k];
        }
    }
    return 0;
}

/* The position: written with the last batch, not as a row. */
static int take_position(struct snapshot_build *b, struct bytes value, uint64_t *number)
{
    if (value.len != 8) {
        return fail_image(b, "consistent_index or term is no number");
    }
    *number = get_be64(value.data);
    return 0;
}

static int take_meta(struct snapshot_build *b, struct bytes key, struct bytes value)
{
    if (bytes_equal(key, bytes_str("consistent_index"))) {
        return take_position(b, value, &b->index);
    }
    if (bytes_equal(key, bytes_str("term"))) {
        return take_position(b, value, &b->term);
    }
    bool replaced = b->config.bump_revision > 0 && bytes_equal(key, bytes_str(SCHEDULED));
    return replaced ? 0 : add(b, BACKEND_META, key, value);
}

int snapshot_build_row(struct snapshot_build *b, struct bytes key, struct bytes value)
{
    bool names = b->table == BACKEND_AUTH_USERS || b->table == BACKEND_AUTH_ROLES;
    if (b->table == BACKEND_TABLES) {
        return 0;
    }
    if (key.len > (size_t)(names ? BACKEND_NAME_MAX : BACKEND_KEY_MAX)) {
        return fail_image(b, "a key is longer than this store can have");
    }
    if (b->table == BACKEND_META) {
        return take_meta(b, key, value);
    }
    if (b->table == BACKEND_AUTH && b->config.disable_auth && bytes_equal(key, bytes_str("authEnabled"))) {
        return add(b, BACKEND_AUTH, key, bytes_of("", 1));
    }
    if (b->table == BACKEND_KEY && key.len >= REVISION) {
        memcpy(b->latest, key.data, REVISION);
    }
    return add(b, b->table, key, value);
}

int snapshot_build_add(struct snapshot_build *b, const struct backend_op *row)
{
    return add(b, (enum backend_table)row->table, row->key, row->value);
}

/* --- the store --- */

static void remove_store(const struct snapshot_build *b)
{
    static const char *const endings[] = {"", "-lock", ".new", ".new-lock"};
    for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
        char *path = mem_printf("%s%s", b->config.store, endings[k]);
        unlink(path);
        free(path);
    }
}

int snapshot_build_begin(struct snapshot_build *b)
{
    if (b->config.into != NULL) {
        b->store = b->config.into;
        build_commit_begin(&b->commit, b->store, NULL, false);
        return 0;
    }
    remove_store(b);
    /* Synced once, at the end: nobody sees it before. */
    const struct backend_lmdb_config config = {.path = b->config.store,
                                               .map_bytes = b->config.map_bytes,
                                               .quota_bytes = b->config.quota_bytes,
                                               .unsafe_no_sync = true,
                                               .unchecked = true};
    char *reason = NULL;
    int error = backend_open_lmdb(&config, &b->store, &reason);
    if (error != 0) {
        fail(b, error, "%s", reason != NULL ? reason : error_text(error));
    } else {
        build_commit_begin(&b->commit, b->store, b->config.store, b->config.threaded);
    }
    free(reason);
    return error;
}

static int check_counts(struct snapshot_build *b)
{
    struct backend_read *read;
    int error = backend_read_begin(b->store, &read);
    if (error != 0) {
        return fail_store(b, error, "cannot read");
    }
    for (unsigned k = 0; k < SNAPSHOT_TABLES && error == 0; k++) {
        enum backend_table table = snapshot_tables[k];
        uint64_t extra = table == BACKEND_META ? 1 + (b->term != 0) : 0; /* the position */
        if (backend_count(read, table) != b->rows[table] + extra) {
            error = fail_store(b, ERR_CORRUPT_DATA, "not all rows of the image came into the store");
        }
    }
    backend_read_end(read);
    return error;
}

static int sync_store(struct snapshot_build *b)
{
    int fd = open(b->config.store, O_RDWR | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed == 0 ? 0
                       : fail(b, failed == ENOSPC || failed == EDQUOT ? ERR_DISK_FULL : ERR_IO, "%s: %s",
                              b->config.store, strerror(failed));
}

static int set_position(struct snapshot_build *b, uint64_t index, uint64_t term)
{
    if (index == 0) {
        return b->index > 0 ? 0 : fail(b, ERR_CORRUPT_DATA, "%s: it has no position in the log", b->config.image);
    }
    if (b->index > index && !b->config.new_cluster) {
        return fail(b, ERR_CORRUPT_DATA, "%s: it has entry %" PRIu64 ", which is beyond %" PRIu64, b->config.image,
                    b->index, index);
    }
    b->index = index;
    b->term = term;
    return 0;
}

/* As etcdutl does it: a row of that revision without a value, and a compaction up to there that the first start carries
 * out. */
static int bump(struct snapshot_build *b)
{
    uint64_t main = get_be64(b->latest), by = b->config.bump_revision;
    if (by == 0) {
        return 0;
    }
    if (by > (uint64_t)INT64_MAX - main) {
        return fail(b, ERR_INVALID, "%s: revision %" PRIu64 " and %" PRIu64 " more is beyond what a revision can be",
                    b->config.image, main, by);
    }
    uint8_t revision[REVISION] = {[8] = '_'};
    put_be64(revision, main + by);
    int error = add(b, BACKEND_KEY, bytes_of(revision, sizeof revision), (struct bytes){0});
    return error != 0 ? error : add(b, BACKEND_META, bytes_str(SCHEDULED), bytes_of(revision, sizeof revision));
}

int snapshot_build_end(struct snapshot_build *b, uint64_t index, uint64_t term)
{
    int error = bump(b);
    error = error != 0 ? error : set_position(b, index, term);
    error = error != 0 ? error : commit(b, CANARY(IMAGE_RESETS_APPLIED) ? b->index / 2 : b->index, b->term);
    error = error != 0 ? error : settle(b);
    error = error != 0 ? error : check_counts(b);
    if (error == 0 && b->config.into == NULL) {
        backend_close(b->store);
        b->store = NULL;
        error = sync_store(b);
    }
    b->done = error == 0;
    return error;
}

/* --- the face --- */

struct snapshot_build *snapshot_build_new(const struct snapshot_build_config *config)
{
    struct snapshot_build *b = mem_zalloc(sizeof *b);
    b->config = *config;
    b->table = BACKEND_TABLES;
    return b;
}

const char *snapshot_build_reason(const struct snapshot_build *b)
{
    return b->reason;
}

void snapshot_build_free(struct snapshot_build *b)
{
    if (b == NULL) {
        return;
    }
    build_commit_free(&b->commit);
    if (b->store != NULL && b->config.into == NULL) {
        backend_close(b->store);
    }
    if (!b->done && b->config.into == NULL) {
        remove_store(b);
    }
    free(b);
}
