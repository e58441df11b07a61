#include "snapshot/install.h"

#include "base/canary.h"
#include "base/check.h"
#include "base/error.h"
#include "snapshot/reader.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH_BYTES = 4 << 20, BATCH_OPS = 20000 };

struct snapshot_install {
    struct snapshot_visitor visitor; /* first */
    struct snapshot_install_config config;
    struct snapshot_file file;
    struct snapshot_source *source; /* of it, or the config's */
    struct snapshot_reader *reader;
    struct backend *store;
    enum backend_table table; /* of the bucket that is read; BACKEND_TABLES = one that is left out */
    uint64_t rows[BACKEND_TABLES];
    uint64_t index, term; /* as the image says */

    /* rows that wait for their commit; keys and values lie in `data`, as offsets until then */
    struct backend_op ops[BATCH_OPS];
    size_t count;
    struct buffer data;
    bool done;
    char reason[512];
};

__attribute__((format(printf, 3, 4))) static int fail(struct snapshot_install *i, int error, const char *format, ...)
{
    va_list args;
    if (i->reason[0] == '\0') {
        va_start(args, format);
        vsnprintf(i->reason, sizeof i->reason, format, args);
        va_end(args);
    }
    return error;
}

static int fail_image(struct snapshot_install *i, const char *what)
{
    return fail(i, ERR_CORRUPT_DATA, "%s: bucket %s: %s", i->config.image,
                i->table < BACKEND_TABLES ? backend_table_name(i->table) : "?", what);
}

static int fail_store(struct snapshot_install *i, int error, const char *what)
{
    char *fault = i->store == NULL ? NULL : backend_fault(i->store);
    fail(i, error, "%s: %s: %s", i->config.store, what, fault != NULL ? fault : error_text(error));
    free(fault);
    return error;
}

/* --- commits --- */

static int commit(struct snapshot_install *i, uint64_t index, uint64_t term)
{
    const uint8_t *at = i->data.data;
    for (size_t k = 0; k < i->count; k++) {
        struct backend_op *op = &i->ops[k];
        op->key.data = at;
        op->value.data = at + op->key.len;
        at += op->key.len + op->value.len;
    }
    const struct backend_batch batch = {
        .ops = i->ops, .count = i->count, .bytes = i->data.len, .index = index, .term = term};
    int error = backend_commit(i->store, &batch);
    i->count = 0;
    i->data.len = 0;
    return error == 0 ? 0 : fail_store(i, error, error == ERR_DISK_FULL ? "no space left" : "cannot write");
}

static int add(struct snapshot_install *i, enum backend_table table, struct bytes key, struct bytes value)
{
    i->ops[i->count++] = (struct backend_op){
        .kind = BACKEND_PUT, .table = (uint8_t)table, .key = {.len = key.len}, .value = {.len = value.len}};
    buffer_append(&i->data, key.data, key.len);
    if (value.len > 0) {
        buffer_append(&i->data, value.data, value.len);
    }
    i->rows[table]++;
    return i->count == BATCH_OPS || i->data.len >= BATCH_BYTES ? commit(i, 0, 0) : 0;
}

/* --- what the image has --- */

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct snapshot_install *i = (struct snapshot_install *)visitor;
    i->table = BACKEND_TABLES;
    for (unsigned k = 0; k < SNAPSHOT_TABLES; k++) {
        if (bytes_equal(name, bytes_str(backend_table_name(snapshot_tables[k])))) {
            i->table = snapshot_tables[k];
        }
    }
    return 0;
}

/* The position: written with the last batch, not as a row. */
static int visit_position(struct snapshot_install *i, struct bytes value, uint64_t *number)
{
    if (value.len != 8) {
        return fail_image(i, "consistent_index or term is no number");
    }
    *number = get_be64(value.data);
    return 0;
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct snapshot_install *i = (struct snapshot_install *)visitor;
    if (i->table == BACKEND_TABLES) {
        return 0;
    }
    if (i->table == BACKEND_META && bytes_equal(key, bytes_str("consistent_index"))) {
        return visit_position(i, value, &i->index);
    }
    if (i->table == BACKEND_META && bytes_equal(key, bytes_str("term"))) {
        return visit_position(i, value, &i->term);
    }
    bool names = i->table == BACKEND_AUTH_USERS || i->table == BACKEND_AUTH_ROLES;
    if (key.len > (size_t)(names ? BACKEND_NAME_MAX : BACKEND_KEY_MAX)) {
        return fail_image(i, "a key is longer than this store can have");
    }
    return add(i, i->table, key, value);
}

/* --- the store --- */

static void remove_store(const struct snapshot_install *i)
{
    static const char *const endings[] = {"", "-lock", ".new", ".new-lock"};
    for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
        char *path = mem_printf("%s%s", i->config.store, endings[k]);
        unlink(path);
        free(path);
    }
}

static int open_store(struct snapshot_install *i)
{
    if (i->config.into != NULL) {
        i->store = i->config.into;
        return 0;
    }
    remove_store(i);
    /* Synced once, at the end: nobody sees it before. */
    const struct backend_lmdb_config config = {.path = i->config.store,
                                               .map_bytes = i->config.map_bytes,
                                               .quota_bytes = i->config.quota_bytes,
                                               .unsafe_no_sync = true,
                                               .unchecked = true};
    char *reason = NULL;
    int error = backend_open_lmdb(&config, &i->store, &reason);
    if (error != 0) {
        fail(i, error, "%s", reason != NULL ? reason : error_text(error));
    }
    free(reason);
    return error;
}

static int begin(struct snapshot_install *i)
{
    struct snapshot_source *source = i->config.source;
    if (source == NULL) {
        int failed = -snapshot_file_open(&i->file, i->config.image);
        if (failed != 0) {
            return fail(i, failed == ENOENT ? ERR_ABSENT : ERR_IO, "%s: %s", i->config.image, strerror(failed));
        }
        source = &i->file.source;
    }
    i->source = source;
    i->reader = snapshot_reader_new(source, i->config.verify);
    return open_store(i);
}

static int check_counts(struct snapshot_install *i)
{
    struct backend_read *read;
    int error = backend_read_begin(i->store, &read);
    if (error != 0) {
        return fail_store(i, error, "cannot read");
    }
    for (unsigned k = 0; k < SNAPSHOT_TABLES && error == 0; k++) {
        enum backend_table table = snapshot_tables[k];
        uint64_t extra = table == BACKEND_META ? 1 + (i->term != 0) : 0; /* the position */
        if (backend_count(read, table) != i->rows[table] + extra) {
            error = fail_store(i, ERR_CORRUPT_DATA, "not all rows of the image came into the store");
        }
    }
    backend_read_end(read);
    return error;
}

static int sync_store(struct snapshot_install *i)
{
    int fd = open(i->config.store, O_RDWR | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed == 0 ? 0
                       : fail(i, failed == ENOSPC || failed == EDQUOT ? ERR_DISK_FULL : ERR_IO, "%s: %s",
                              i->config.store, strerror(failed));
}

static int set_position(struct snapshot_install *i)
{
    if (i->config.index == 0) {
        return i->index > 0 ? 0 : fail(i, ERR_CORRUPT_DATA, "%s: it has no position in the log", i->config.image);
    }
    if (i->index > i->config.index) {
        return fail(i, ERR_CORRUPT_DATA, "%s: it has entry %" PRIu64 ", which is beyond %" PRIu64, i->config.image,
                    i->index, i->config.index);
    }
    i->index = i->config.index;
    i->term = i->config.term;
    return 0;
}

static int finish(struct snapshot_install *i)
{
    int error = i->count == 0 ? 0 : commit(i, 0, 0);
    for (size_t k = 0; k < i->config.row_count && error == 0; k++) {
        const struct backend_op *row = &i->config.rows[k];
        error = add(i, (enum backend_table)row->table, row->key, row->value);
    }
    error = error != 0 ? error : set_position(i);
    error = error != 0 ? error : commit(i, CANARY(IMAGE_RESETS_APPLIED) ? i->index / 2 : i->index, i->term);
    error = error != 0 ? error : check_counts(i);
    if (error == 0 && i->config.into == NULL) {
        backend_close(i->store);
        i->store = NULL;
        error = sync_store(i);
    }
    i->done = error == 0;
    return error;
}

/* --- the face --- */

struct snapshot_install *snapshot_install_new(const struct snapshot_install_config *config)
{
    struct snapshot_install *i = mem_zalloc(sizeof *i);
    i->visitor = (struct snapshot_visitor){.bucket = visit_bucket, .row = visit_row};
    i->config = *config;
    i->file.fd = -1;
    i->table = BACKEND_TABLES;
    return i;
}

int snapshot_install_step(struct snapshot_install *i, size_t rows)
{
    int result = i->reader == NULL ? begin(i) : 0;
    if (result == 0) {
        result = snapshot_reader_step(i->reader, &i->visitor, rows);
        const char *reason = snapshot_reader_reason(i->reader);
        if (result < 0 && reason[0] != '\0') {
            fail(i, result, "%s: %s", i->config.image, reason);
        }
    }
    return result == SNAPSHOT_DONE ? finish(i) : result;
}

const char *snapshot_install_reason(const struct snapshot_install *i)
{
    return i->reason;
}

void snapshot_install_progress(const struct snapshot_install *i, uint64_t *done, uint64_t *all)
{
    *done = i->reader == NULL ? 0 : snapshot_reader_progress(i->reader);
    *all = i->source == NULL ? 0 : i->source->size;
}

void snapshot_install_free(struct snapshot_install *i)
{
    if (i == NULL) {
        return;
    }
    if (i->store != NULL && i->config.into == NULL) {
        backend_close(i->store);
    }
    if (!i->done && i->config.into == NULL) {
        remove_store(i);
    }
    snapshot_reader_free(i->reader);
    snapshot_file_close(&i->file);
    buffer_free(&i->data);
    free(i);
}
