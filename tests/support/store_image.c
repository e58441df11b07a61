#include "tests/support/store_image.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "kv/backend_lmdb.h"
#include <stdlib.h>

enum { ROWS = 700, BATCHES = 7 };

static struct bytes revision(uint8_t out[17], uint64_t number)
{
    put_be64(out, number);
    out[8] = '_';
    put_be64(out + 9, 0);
    return bytes_of(out, 17);
}

/* Batch n puts a seventh of the rows, deletes some of the batch before, and changes a row of each small table. */
static void commit_batch(struct backend *b, uint64_t n)
{
    enum { PER_BATCH = ROWS / BATCHES, MOST = PER_BATCH * 2 + BACKEND_TABLES };
    static uint8_t keys[MOST][17], values[MOST][9000];
    struct backend_op ops[MOST];
    struct backend_batch batch = {.ops = ops, .index = 10 + n, .term = 2};
    for (uint64_t i = 0; i < PER_BATCH; i++) {
        size_t at = batch.count++, len = i % 25 == 24 ? 9000 : 40 + (i * 37) % 300;
        memset(values[at], (int)(n * 31 + i), len);
        ops[at] = (struct backend_op){.kind = BACKEND_PUT,
                                      .table = BACKEND_KEY,
                                      .key = revision(keys[at], n * PER_BATCH + i),
                                      .value = bytes_of(values[at], len)};
    }
    for (uint64_t i = 0; n > 0 && i < PER_BATCH; i += 2) {
        size_t at = batch.count++;
        ops[at] = (struct backend_op){
            .kind = BACKEND_DELETE, .table = BACKEND_KEY, .key = revision(keys[at], (n - 1) * PER_BATCH + i)};
    }
    for (int t = BACKEND_LEASE; t < BACKEND_TABLES; t++) {
        size_t at = batch.count++;
        ops[at] = (struct backend_op){
            .kind = BACKEND_PUT, .table = (uint8_t)t, .key = revision(keys[at], n % 3), .value = bytes_str("value")};
    }
    CHECK(backend_commit(b, &batch) == 0);
}

void store_image_create(const char *path)
{
    struct backend_lmdb_config config = {.path = path, .map_bytes = 64 << 20, .unsafe_no_sync = true};
    struct backend *b;
    char *reason;
    int error = backend_open_lmdb(&config, &b, &reason);
    CHECK(error == 0, "%s", reason);
    for (uint64_t n = 0; n < BATCHES; n++) {
        commit_batch(b, n);
    }
    backend_close(b);
}

/* --- sums --- */

struct sum {
    uint64_t total; /* order within a table counts, order of tables doesn't: one number a table, added up */
    uint32_t crc;
};

static void sum_row(struct sum *s, struct bytes key, struct bytes value)
{
    uint32_t lengths[2] = {(uint32_t)key.len, (uint32_t)value.len};
    s->crc = crc32c(s->crc, lengths, sizeof lengths);
    s->crc = crc32c(s->crc, key.data, key.len);
    s->crc = crc32c(s->crc, value.data, value.len);
}

static void sum_table(struct sum *s, unsigned table)
{
    s->total += (s->crc + (uint64_t)table * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    s->crc = 0;
}

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    sum_row(arg, key, value);
    return true;
}

int store_image_sum(struct backend *b, uint64_t *sum)
{
    struct sum s = {0};
    struct backend_read *r;
    int error = backend_read_begin(b, &r);
    if (error != 0) {
        return error;
    }
    for (unsigned t = 0; t < BACKEND_TABLES && error == 0; t++) {
        error = backend_scan(r, (enum backend_table)t, (struct bytes){0}, visit, &s);
        sum_table(&s, t);
    }
    backend_read_end(r);
    *sum = s.total;
    return error;
}

static struct sum walk_sums[BACKEND_TABLES];

static bool walk_row(unsigned table, struct bytes key, struct bytes stored)
{
    struct bytes value;
    if (!lmdb_tables()->row(table, key, stored)) {
        return false;
    }
    value = bytes_of(stored.data, stored.len - LMDB_ROW_CRC);
    sum_row(&walk_sums[table], key, value);
    return true;
}

int store_image_walk(struct bytes image, uint64_t *sum, struct lmdb_check *out)
{
    struct lmdb_check_tables tables = *lmdb_tables();
    tables.row = walk_row;
    memset(walk_sums, 0, sizeof walk_sums);
    int error = lmdb_check_image(image, &tables, out);
    *sum = 0;
    for (unsigned t = 0; t < BACKEND_TABLES; t++) {
        sum_table(&walk_sums[t], t);
        *sum += walk_sums[t].total;
    }
    return error;
}
