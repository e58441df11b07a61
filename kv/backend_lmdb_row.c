/* The checksum of a row (backend_lmdb.h says over what). LMDB has none of its own. */
#include "base/crc32c.h"
#include "kv/backend_lmdb.h"

/* The checksum's state after the table's name: computed once, the same every time, so a race writes the same. */
static uint32_t table_crc(enum backend_table table)
{
    static _Atomic uint64_t known[BACKEND_TABLES]; /* bit 32 = is known */
    uint64_t k = atomic_load_explicit(&known[table], memory_order_relaxed);
    if (k == 0) {
        struct bytes name = bytes_str(backend_table_name(table));
        k = crc32c(0, name.data, name.len) | (uint64_t)1 << 32;
        atomic_store_explicit(&known[table], k, memory_order_relaxed);
    }
    return (uint32_t)k;
}

uint32_t lmdb_row_crc(enum backend_table table, struct bytes key, struct bytes value)
{
    uint8_t head[2 + BACKEND_KEY_MAX];
    size_t len = key.len <= BACKEND_KEY_MAX ? key.len : BACKEND_KEY_MAX;
    head[0] = (uint8_t)key.len;
    head[1] = (uint8_t)(key.len >> 8);
    memcpy(head + 2, key.data, len);
    return crc32c(crc32c(table_crc(table), head, len + 2), value.data, value.len);
}

bool lmdb_row_open(enum backend_table table, struct bytes key, struct bytes stored, struct bytes *value)
{
    if (stored.len < LMDB_ROW_CRC) {
        return false;
    }
    *value = bytes_of(stored.data, stored.len - LMDB_ROW_CRC);
    uint32_t crc;
    memcpy(&crc, stored.data + value->len, sizeof crc);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    crc = __builtin_bswap32(crc);
#endif
    return crc == lmdb_row_crc(table, key, *value);
}

void lmdb_row_seal(enum backend_table table, struct bytes key, struct bytes value, uint8_t *to)
{
    uint32_t crc = lmdb_row_crc(table, key, value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    crc = __builtin_bswap32(crc);
#endif
    if (value.len > 0) {
        memcpy(to, value.data, value.len);
    }
    memcpy(to + value.len, &crc, sizeof crc);
}
