#include "snapshot/reader.h"

#include "base/check.h"
#include "base/error.h"
#include "snapshot/reader_state.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct snapshot_reader *snapshot_reader_new(struct snapshot_source *source, bool verify)
{
    struct snapshot_reader *r = mem_zalloc(sizeof *r);
    r->source = source;
    r->verify = verify;
    r->root.keeps = true;
    return r;
}

void snapshot_reader_free(struct snapshot_reader *r)
{
    if (r == NULL) {
        return;
    }
    EVP_MD_CTX_free(r->digest);
    reader_tree_close(&r->root);
    reader_tree_close(&r->bucket);
    buffer_free(&r->window);
    free(r->reached);
    free(r->freed);
    free(r);
}

int reader_refuse(struct snapshot_reader *r, uint64_t offset, const char *format, ...)
{
    va_list args;
    int n = snprintf(r->reason, sizeof r->reason, "offset %" PRIu64 ": ", offset);
    va_start(args, format);
    vsnprintf(r->reason + n, sizeof r->reason - (size_t)n, format, args);
    va_end(args);
    return ERR_CORRUPT_DATA;
}

int reader_fetch(struct snapshot_reader *r, uint64_t offset, size_t len, struct bytes *out)
{
    CHECK(offset <= r->image_bytes && len <= r->image_bytes - offset);
    if (r->source->map != NULL) {
        *out = bytes_of(r->source->map + offset, len);
        r->progress = offset + len > r->progress ? offset + len : r->progress;
        return 0;
    }
    bool inside = offset >= r->window_offset && offset - r->window_offset <= r->window.len &&
                  len <= r->window.len - (offset - r->window_offset);
    if (!inside) {
        uint64_t left = r->image_bytes - offset, want = len < READER_WINDOW ? READER_WINDOW : len;
        int error_number = 0;
        want = want < left ? want : left;
        r->window.len = 0;
        uint8_t *to = buffer_reserve(&r->window, (size_t)want);
        int error = r->source->read(r->source, offset, to, (size_t)want, &error_number);
        if (error != 0) {
            snprintf(r->reason, sizeof r->reason, "offset %" PRIu64 ": %s", offset, strerror(error_number));
            return error;
        }
        r->window.len = (size_t)want;
        r->window_offset = offset;
        r->progress = offset + want > r->progress ? offset + want : r->progress;
    }
    *out = bytes_of(r->window.data + (offset - r->window_offset), len);
    return 0;
}

/* --- buckets --- */

static int bucket_open(struct snapshot_reader *r, struct bytes value, uint64_t offset)
{
    if (value.len < PAGE_BUCKET) {
        return reader_refuse(r, offset, "a bucket of %zu bytes", value.len);
    }
    uint64_t root = get_le64(value.data);
    if (root == 0) {
        return reader_tree_open_inline(r, &r->bucket, bytes_of(value.data + PAGE_BUCKET, value.len - PAGE_BUCKET),
                                       offset + PAGE_BUCKET);
    }
    if (root < 2 || root >= r->meta.high_water) {
        return reader_refuse(r, offset, "a bucket's root is page %" PRIu64 " of %" PRIu64, root, r->meta.high_water);
    }
    return reader_tree_open(r, &r->bucket, root);
}

/* SNAPSHOT_MORE: the next bucket is open; SNAPSHOT_DONE: there is none. */
static int next_bucket(struct snapshot_reader *r, struct snapshot_visitor *visitor)
{
    struct bytes name, value;
    bool is_bucket;
    uint64_t offset;
    int more = reader_tree_next(r, &r->root, &name, &value, &is_bucket, &offset);
    if (more <= 0) {
        return more;
    }
    if (!is_bucket) {
        return reader_refuse(r, offset, "a value beside the buckets");
    }
    int error = bucket_open(r, value, offset);
    error = error != 0 ? error : visitor->bucket(visitor, name);
    return error != 0 ? error : SNAPSHOT_MORE;
}

/* SNAPSHOT_DONE: the bucket has no more rows. */
static int bucket_rows(struct snapshot_reader *r, struct snapshot_visitor *visitor, size_t *rows)
{
    while (*rows > 0) {
        struct bytes key, value;
        bool is_bucket;
        uint64_t offset;
        int more = reader_tree_next(r, &r->bucket, &key, &value, &is_bucket, &offset);
        if (more <= 0) {
            return more;
        }
        if (is_bucket) {
            return reader_refuse(r, offset, "a bucket in a bucket");
        }
        int error = visitor->row(visitor, key, value);
        if (error != 0) {
            return error;
        }
        --*rows;
    }
    return SNAPSHOT_MORE;
}

/* --- phases --- */

static int root_open(struct snapshot_reader *r)
{
    return reader_tree_open(r, &r->root, r->meta.root);
}

/* One piece of work: SNAPSHOT_MORE or an error; SNAPSHOT_DONE: all is over. */
static int advance(struct snapshot_reader *r, struct snapshot_visitor *visitor, size_t *rows)
{
    int result = 0;
    switch (r->phase) {
    case READER_OPEN:
        result = reader_open(r);
        r->phase = READER_CHECKSUM;
        return result != 0 ? result : SNAPSHOT_MORE;
    case READER_CHECKSUM:
        result = reader_checksum_step(r);
        r->phase = result == SNAPSHOT_DONE ? READER_FREELIST : READER_CHECKSUM;
        *rows = 0; /* enough for this slice */
        return result < 0 ? result : SNAPSHOT_MORE;
    case READER_FREELIST:
        result = reader_freelist(r);
        result = result != 0 ? result : root_open(r);
        r->phase = READER_ROOT;
        return result != 0 ? result : SNAPSHOT_MORE;
    case READER_ROOT:
        result = next_bucket(r, visitor);
        r->phase = result == SNAPSHOT_MORE ? READER_BUCKET : READER_END;
        return result < 0 ? result : SNAPSHOT_MORE;
    case READER_BUCKET:
        result = bucket_rows(r, visitor, rows);
        r->phase = result == SNAPSHOT_DONE ? READER_ROOT : READER_BUCKET;
        return result < 0 ? result : SNAPSHOT_MORE;
    case READER_END:
        r->phase = READER_OVER;
        return reader_pages_accounted(r);
    case READER_OVER:
        break;
    }
    return SNAPSHOT_DONE;
}

int snapshot_reader_step(struct snapshot_reader *r, struct snapshot_visitor *visitor, size_t rows)
{
    int result = SNAPSHOT_MORE;
    while (result == SNAPSHOT_MORE && rows > 0) {
        result = advance(r, visitor, &rows);
    }
    return result;
}

/* --- facts --- */

const char *snapshot_reader_reason(const struct snapshot_reader *r)
{
    return r->reason;
}

bool snapshot_reader_is_no_database(const struct snapshot_reader *r)
{
    return r->no_database;
}

bool snapshot_reader_has_checksum(const struct snapshot_reader *r)
{
    return r->has_checksum;
}

uint64_t snapshot_reader_bytes(const struct snapshot_reader *r)
{
    return r->meta.high_water * r->meta.page_bytes;
}

uint64_t snapshot_reader_progress(const struct snapshot_reader *r)
{
    return r->progress;
}
