#include "tests/bench/load/load.h"

#include <stdio.h>

static void put_bytes(struct buffer *out, uint8_t tag, const void *data, size_t len)
{
    uint8_t *to = buffer_reserve(out, 11);
    size_t n = 0;
    to[n++] = tag;
    n += varint_put(to + n, len);
    out->len += n;
    buffer_append(out, data, len);
}

static void put_number(struct buffer *out, uint8_t tag, uint64_t value)
{
    uint8_t *to = buffer_reserve(out, 11);
    to[0] = tag;
    out->len += 1 + varint_put(to + 1, value);
}

static void put_key(struct buffer *out, uint8_t tag, uint64_t key)
{
    char text[40];
    put_bytes(out, tag, text, (size_t)snprintf(text, sizeof text, "/registry/bench/%016llu", (unsigned long long)key));
}

void bench_put_request(struct buffer *out, uint64_t key, size_t value_bytes, struct random *random)
{
    put_key(out, 0x0a, key);
    put_number(out, 0x12, value_bytes); /* its length */
    uint8_t *value = buffer_reserve(out, value_bytes);
    for (size_t i = 0; i < value_bytes; i += 8) {
        uint64_t word = random_next(random);
        memcpy(value + i, &word, value_bytes - i < 8 ? value_bytes - i : 8);
    }
    out->len += value_bytes;
}

void bench_range_request(struct buffer *out, uint64_t key, bool serializable)
{
    put_key(out, 0x0a, key);
    if (serializable) {
        put_number(out, 0x38, 1);
    }
}

void bench_list_request(struct buffer *out, uint64_t limit, bool serializable)
{
    put_bytes(out, 0x0a, "/registry/bench/", 16);
    put_bytes(out, 0x12, "/registry/bench0", 16);
    if (limit > 0) {
        put_number(out, 0x18, limit);
    }
    if (serializable) {
        put_number(out, 0x38, 1);
    }
}

/* What an API server does to update an object: if the version is not absurd then put, else get. */
void bench_txn_request(struct buffer *out, uint64_t key, size_t value_bytes, struct random *random)
{
    struct buffer compare = {0}, op = {0}, put = {0};
    put_number(&compare, 0x08, 1); /* GREATER */
    put_number(&compare, 0x10, 2); /* MOD */
    put_key(&compare, 0x1a, key);
    put_number(&compare, 0x30, UINT64_MAX); /* mod_revision -1 */
    put_bytes(out, 0x0a, compare.data, compare.len);
    bench_put_request(&put, key, value_bytes, random);
    put_bytes(&op, 0x12, put.data, put.len);
    put_bytes(out, 0x12, op.data, op.len);
    buffer_free(&compare);
    buffer_free(&op);
    buffer_free(&put);
}
