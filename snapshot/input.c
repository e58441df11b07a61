#include "snapshot/input.h"

#include "base/check.h"
#include "base/error.h"
#include "kv/lmdb_file.h"
#include "snapshot/backup_zstd.h"
#include "snapshot/checksum.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A file as large as this has its checksum reckoned while it is read. A smaller one before. */
enum { LARGE = 16 << 20 };

struct snapshot_input {
    char *path;
    enum snapshot_input_kind kind;
    struct snapshot_file file;
    struct snapshot_source *source;   /* of the file, or the caller's */
    struct backup_unpacker *unpacker; /* of a packed file, or NULL */
    struct snapshot_reader *reader;   /* a bbolt file; or NULL: see below */
    bool beside;                      /* the checksum is reckoned by another thread, from the first step on: */
    struct snapshot_checksum *checksum;

    struct backend *store;
    struct backend_read *view;
    bool lock_file_is_ours; /* PATH-lock was not there before */
    unsigned table;         /* position in snapshot_tables */
    bool bucket_told;
    struct buffer cursor; /* the first row that was not given out */
    uint64_t rows_done, rows_all;

    int error_number;
    char reason[1024];
};

/* A scan under way. */
struct scan {
    struct snapshot_input *input;
    struct snapshot_visitor *visitor;
    size_t *rows; /* left of the slice */
    bool stopped;
    int error; /* the visitor's */
};

static int fail(struct snapshot_input *input, int error, const char *what)
{
    snprintf(input->reason, sizeof input->reason, "%s: %s", input->path, what);
    return error;
}

/* --- opening --- */

static bool has_lmdb_meta(struct snapshot_source *source, uint64_t offset)
{
    uint8_t page[LMDB_FILE_META_BEGIN];
    int ignored;
    return source->size >= offset + sizeof page && source->read(source, offset, page, sizeof page, &ignored) == 0 &&
           lmdb_file_is_meta(page);
}

bool snapshot_input_is_lmdb(struct snapshot_source *source)
{
    return has_lmdb_meta(source, 0) || has_lmdb_meta(source, (uint64_t)sysconf(_SC_PAGESIZE));
}

static void forget_lock_file(const struct snapshot_input *input)
{
    if (input->lock_file_is_ours) {
        char *path = mem_printf("%s-lock", input->path);
        unlink(path);
        free(path);
    }
}

static int open_store(struct snapshot_input *input)
{
    const struct backend_lmdb_config config = {.path = input->path, .read_only = true};
    char *reason = NULL, *lock = mem_printf("%s-lock", input->path);
    input->lock_file_is_ours = access(lock, F_OK) != 0;
    free(lock);
    int error = backend_open_lmdb(&config, &input->store, &reason);
    error = error != 0 ? error : backend_read_begin(input->store, &input->view);
    if (error != 0) {
        snprintf(input->reason, sizeof input->reason, "%s", reason != NULL ? reason : error_text(error));
    }
    free(reason);
    for (unsigned k = 0; k < SNAPSHOT_TABLES && error == 0; k++) {
        input->rows_all += backend_count(input->view, snapshot_tables[k]);
    }
    return error;
}

static int open_file(struct snapshot_input *input)
{
    int failed = -snapshot_file_open(&input->file, input->path);
    input->error_number = failed;
    input->source = &input->file.source;
    return failed == 0 ? 0 : fail(input, failed == ENOENT ? ERR_ABSENT : ERR_IO, strerror(failed));
}

static bool is_packed(struct snapshot_source *source)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t begin[sizeof magic];
    int ignored;
    return source->size >= sizeof magic && source->read(source, 0, begin, sizeof begin, &ignored) == 0 &&
           memcmp(begin, magic, sizeof magic) == 0;
}

static int open_packed(struct snapshot_input *input)
{
    const char *reason;
    input->unpacker = backup_unpacker_new(input->source, &reason);
    if (input->unpacker == NULL) {
        return fail(input, ERR_CORRUPT_DATA, reason);
    }
    input->source = backup_unpacker_source(input->unpacker);
    return 0;
}

int snapshot_input_open(const char *path, struct snapshot_source *source, bool verify, struct snapshot_input **out)
{
    enum { SECTOR = 512, CHECKSUM = 32 };
    struct snapshot_input *input = mem_zalloc(sizeof *input);
    *out = input;
    input->path = mem_strdup(path);
    input->file.fd = -1;
    input->source = source;
    int error = source == NULL ? open_file(input) : 0;
    if (error != 0) {
        return error;
    }
    if (source == NULL && snapshot_input_is_lmdb(input->source)) {
        input->kind = SNAPSHOT_INPUT_LMDB;
        return open_store(input);
    }
    error = source == NULL && is_packed(input->source) ? open_packed(input) : 0;
    if (error != 0) {
        return error;
    }
    input->kind = input->source->size % SECTOR == CHECKSUM ? SNAPSHOT_INPUT_BACKUP : SNAPSHOT_INPUT_BBOLT;
    input->beside = verify && input->kind == SNAPSHOT_INPUT_BACKUP && source == NULL && input->unpacker == NULL &&
                    input->source->size > LARGE;
    input->reader = snapshot_reader_new(input->source, verify && !input->beside);
    return 0;
}

void snapshot_input_close(struct snapshot_input *input)
{
    if (input == NULL) {
        return;
    }
    snapshot_checksum_abandon(input->checksum);
    snapshot_reader_free(input->reader);
    backup_unpacker_free(input->unpacker);
    if (input->view != NULL) {
        backend_read_end(input->view);
    }
    if (input->store != NULL) {
        backend_close(input->store);
        forget_lock_file(input);
    }
    snapshot_file_close(&input->file);
    buffer_free(&input->cursor);
    free(input->path);
    free(input);
}

/* --- a store's rows --- */

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    struct scan *s = arg;
    if (*s->rows == 0) {
        s->input->cursor.len = 0;
        buffer_append(&s->input->cursor, key.data, key.len);
        s->stopped = true;
        return false;
    }
    --*s->rows;
    s->input->rows_done++;
    s->error = s->visitor->row(s->visitor, key, value);
    return s->error == 0;
}

/* One table's rest, or as much of it as the slice has room for. */
static int table_slice(struct snapshot_input *input, struct snapshot_visitor *visitor, size_t *rows)
{
    enum backend_table table = snapshot_tables[input->table];
    struct scan s = {.input = input, .visitor = visitor, .rows = rows};
    struct buffer from = input->cursor;
    int error = 0;
    if (!input->bucket_told) {
        error = visitor->bucket(visitor, bytes_str(backend_table_name(table)));
        input->bucket_told = true;
    }
    input->cursor = (struct buffer){0};
    error = error != 0 ? error : backend_scan(input->view, table, buffer_bytes(&from), visit, &s);
    buffer_free(&from);
    if (error != 0 && s.error == 0) {
        char *fault = backend_fault(input->store);
        fail(input, error, fault != NULL ? fault : error_text(error));
        free(fault);
    }
    error = s.error != 0 ? s.error : error;
    return error != 0 ? error : s.stopped ? SNAPSHOT_MORE : SNAPSHOT_DONE;
}

static int store_step(struct snapshot_input *input, struct snapshot_visitor *visitor, size_t rows)
{
    while (input->table < SNAPSHOT_TABLES) {
        int progress = table_slice(input, visitor, &rows);
        if (progress != SNAPSHOT_DONE) {
            return progress;
        }
        input->table++;
        input->bucket_told = false;
    }
    return SNAPSHOT_DONE;
}

/* A wrong checksum is the reason of whatever else is wrong. */
static int end_checksum(struct snapshot_input *input, int result)
{
    char reason[SNAPSHOT_CHECKSUM_TEXT];
    struct snapshot_checksum *checksum = input->checksum;
    input->checksum = NULL;
    int error = checksum == NULL ? 0 : snapshot_checksum_end(checksum, reason);
    return error == 0 ? result : fail(input, error, reason);
}

int snapshot_input_step(struct snapshot_input *input, struct snapshot_visitor *visitor, size_t rows)
{
    if (input->reader == NULL) {
        return store_step(input, visitor, rows);
    }
    if (input->beside) {
        input->beside = false;
        input->checksum = snapshot_checksum_begin(input->source);
        if (input->checksum == NULL) {
            return fail(input, ERR_AGAIN, "there can be no thread for its checksum now");
        }
    }
    int result = snapshot_reader_step(input->reader, visitor, rows);
    const char *reason = snapshot_reader_reason(input->reader);
    if (result < 0 && reason[0] != '\0') {
        fail(input, result, reason);
    }
    return result == SNAPSHOT_MORE ? result : end_checksum(input, result);
}

void snapshot_input_map(struct snapshot_input *input)
{
    if (input->source == &input->file.source && input->reader != NULL) {
        snapshot_file_map(&input->file, input->path);
    }
}

/* --- facts --- */

const char *snapshot_input_reason(const struct snapshot_input *input)
{
    return input->reason;
}

int snapshot_input_errno(const struct snapshot_input *input)
{
    return input->error_number;
}

bool snapshot_input_is_no_database(const struct snapshot_input *input)
{
    return input->reader != NULL && snapshot_reader_is_no_database(input->reader);
}

enum snapshot_input_kind snapshot_input_kind(const struct snapshot_input *input)
{
    return input->kind;
}

uint64_t snapshot_input_bytes(const struct snapshot_input *input)
{
    return input->reader != NULL ? snapshot_reader_bytes(input->reader) : backend_stats(input->store).size_bytes;
}

void snapshot_input_progress(const struct snapshot_input *input, uint64_t *done, uint64_t *all)
{
    *all = input->source == NULL ? 0 : input->source->size;
    if (input->reader != NULL) {
        *done = snapshot_reader_progress(input->reader);
    } else {
        *done =
            input->rows_all == 0 ? 0 : (uint64_t)((double)*all * (double)input->rows_done / (double)input->rows_all);
    }
}

const char *snapshot_input_kind_text(enum snapshot_input_kind kind)
{
    static const char *const texts[] = {"a snapshot file", "a bbolt database", "a database of kedge"};
    return texts[kind];
}
