#include "kv/backend_long.h"

#include "base/check.h"
#include "base/error.h"
#include <openssl/sha.h>
#include <stdlib.h>

enum {
    KEPT = BACKEND_KEY_MAX - SHA256_DIGEST_LENGTH, /* of a long key, in front */
    LENGTH_BYTES = 4,
};

bool backend_long_table(enum backend_table table)
{
    return table == BACKEND_AUTH_USERS || table == BACKEND_AUTH_ROLES;
}

static bool is_long(enum backend_table table, struct bytes key)
{
    return backend_long_table(table) && key.len >= BACKEND_KEY_MAX;
}

static struct bytes row_key(struct bytes key, uint8_t out[BACKEND_KEY_MAX])
{
    memcpy(out, key.data, KEPT);
    CHECK(SHA256(key.data, key.len, out + KEPT) != NULL);
    return bytes_of(out, BACKEND_KEY_MAX);
}

/* A row as the caller knows it. False: damaged. */
static bool open_row(struct bytes stored_key, struct bytes stored, struct bytes *key, struct bytes *value)
{
    *key = stored_key;
    *value = stored;
    if (stored_key.len < BACKEND_KEY_MAX) {
        return true;
    }
    if (stored.len < LENGTH_BYTES || get_be32(stored.data) > stored.len - LENGTH_BYTES) {
        return false;
    }
    uint32_t len = get_be32(stored.data);
    *key = bytes_of(stored.data + LENGTH_BYTES, len);
    *value = bytes_of(key->data + len, stored.len - LENGTH_BYTES - len);
    return len >= BACKEND_KEY_MAX && memcmp(key->data, stored_key.data, KEPT) == 0;
}

/* --- writing --- */

static size_t extra_bytes(const struct backend_batch *batch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct backend_op *op = &batch->ops[i];
        if (is_long((enum backend_table)op->table, op->key)) {
            bytes += BACKEND_KEY_MAX + LENGTH_BYTES + op->key.len + op->value.len;
        }
    }
    return bytes;
}

/* `to` has room enough. Returns the place behind what was written. */
static uint8_t *shorten(struct backend_op *op, uint8_t *to)
{
    struct bytes key = op->key, value = op->value;
    CHECK(key.len <= BACKEND_NAME_MAX, "a name of %zu bytes", key.len);
    op->key = row_key(key, to);
    to += BACKEND_KEY_MAX;
    if (op->kind == BACKEND_DELETE) {
        return to;
    }
    op->value = bytes_of(to, LENGTH_BYTES + key.len + value.len);
    put_be32(to, (uint32_t)key.len);
    memcpy(to + LENGTH_BYTES, key.data, key.len);
    if (value.len > 0) {
        memcpy(to + LENGTH_BYTES + key.len, value.data, value.len);
    }
    return to + op->value.len;
}

bool backend_long_batch(const struct backend_batch *batch, struct backend_batch *out, struct buffer *memory)
{
    size_t extra = extra_bytes(batch), ops = batch->count * sizeof *batch->ops;
    if (extra == 0) {
        return false;
    }
    *out = *batch;
    out->ops = (struct backend_op *)(void *)buffer_reserve(memory, ops + extra);
    memcpy(out->ops, batch->ops, ops);
    uint8_t *to = (uint8_t *)out->ops + ops;
    for (size_t i = 0; i < out->count; i++) {
        if (is_long((enum backend_table)out->ops[i].table, out->ops[i].key)) {
            to = shorten(&out->ops[i], to);
        }
    }
    return true;
}

/* --- reading --- */

int backend_long_get(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value)
{
    uint8_t memory[BACKEND_KEY_MAX];
    struct bytes stored, found;
    if (!is_long(table, key)) {
        return r->backend->driver->get(r, table, key, value);
    }
    if (key.len > BACKEND_NAME_MAX) {
        return ERR_ABSENT;
    }
    struct bytes short_key = row_key(key, memory);
    int error = r->backend->driver->get(r, table, short_key, &stored);
    if (error != 0) {
        return error;
    }
    return open_row(short_key, stored, &found, value) && bytes_equal(found, key) ? 0 : ERR_CORRUPT_DATA;
}

struct long_row {
    size_t key_at, key_len, value_at, value_len; /* in the buffer */
};

/* Rows that begin with the same KEPT bytes, on their way. */
struct long_scan {
    struct bytes from;
    bool (*visit)(void *arg, struct bytes key, struct bytes value);
    void *arg;
    struct buffer bytes; /* the keys and values of the run */
    struct long_row *rows;
    size_t count, capacity;
    bool stopped;
    int error;
};

static struct bytes key_of(const struct long_scan *s, const struct long_row *row)
{
    return bytes_of(s->bytes.data + row->key_at, row->key_len);
}

static int compare(const void *a, const void *b, void *arg)
{
    return bytes_compare(key_of(arg, a), key_of(arg, b));
}

static bool give(struct long_scan *s, struct bytes key, struct bytes value)
{
    if (bytes_compare(key, s->from) >= 0 && !s->visit(s->arg, key, value)) {
        s->stopped = true;
    }
    return !s->stopped;
}

static bool give_run(struct long_scan *s)
{
    if (s->count > 1) { /* without rows there is no array */
        qsort_r(s->rows, s->count, sizeof s->rows[0], compare, s);
    }
    for (size_t i = 0; i < s->count && !s->stopped; i++) {
        const struct long_row *row = &s->rows[i];
        give(s, key_of(s, row), bytes_of(s->bytes.data + row->value_at, row->value_len));
    }
    s->count = 0;
    s->bytes.len = 0;
    return !s->stopped;
}

static void add(struct long_scan *s, struct bytes key, struct bytes value)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : s->capacity * 2;
        s->rows = mem_realloc(s->rows, s->capacity * sizeof s->rows[0]);
    }
    s->rows[s->count++] = (struct long_row){s->bytes.len, key.len, s->bytes.len + key.len, value.len};
    buffer_append(&s->bytes, key.data, key.len);
    buffer_append(&s->bytes, value.data, value.len);
}

static bool visit_row(void *arg, struct bytes stored_key, struct bytes stored)
{
    struct long_scan *s = arg;
    struct bytes key, value;
    if (!open_row(stored_key, stored, &key, &value)) {
        s->error = ERR_CORRUPT_DATA;
        return false;
    }
    bool run = key.len > KEPT;
    if (s->count > 0 && (!run || memcmp(s->bytes.data, key.data, KEPT) != 0) && !give_run(s)) {
        return false;
    }
    if (run) {
        add(s, key, value);
        return true;
    }
    return give(s, key, value);
}

int backend_long_scan(struct backend_read *r, enum backend_table table, struct bytes from,
                      bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    struct long_scan s = {.from = from, .visit = visit, .arg = arg};
    struct bytes start = from.len > KEPT ? bytes_of(from.data, KEPT) : from;
    int error = r->backend->driver->scan(r, table, start, visit_row, &s);
    error = error != 0 ? error : s.error;
    if (error == 0 && !s.stopped) {
        give_run(&s);
    }
    buffer_free(&s.bytes);
    free(s.rows);
    return error;
}
