#include "raft/wal/wal_record.h"
#include "base/error.h"
#include "raft/wire.h"

enum { SECTOR = 512 };

size_t wal_record_encode_head(uint8_t out[WAL_RECORD_HEAD_MAX], uint64_t type, uint32_t crc, bool with_data,
                              size_t data_len, size_t *pad)
{
    uint8_t *p = out + 8;
    p += wire_put_number(p, 1, type);
    p += wire_put_number(p, 2, crc);
    if (with_data) {
        p += wire_put_head(p, 3, data_len);
    }
    size_t head = (size_t)(p - (out + 8));
    uint64_t n = head + (with_data ? data_len : 0);
    *pad = (8 - n % 8) % 8;
    put_le64(out, n | (*pad == 0 ? 0 : (UINT64_C(0x80) | *pad) << 56));
    return 8 + head;
}

bool wal_record_length(uint64_t word, uint64_t *record_bytes, uint64_t *pad_bytes)
{
    uint64_t top = word >> 56;
    *record_bytes = word & ((UINT64_C(1) << 56) - 1);
    *pad_bytes = top & 7;
    return top == 0 || (top > 0x80 && top <= 0x87);
}

int wal_record_decode(struct bytes in, struct wal_record *out)
{
    struct wire_field f;
    int more;
    *out = (struct wal_record){0};
    while ((more = wire_next(&in, &f)) > 0) {
        switch (f.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            out->type = f.number;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            out->crc = (uint32_t)f.number;
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            out->data = f.bytes;
            break;
        }
    }
    return more < 0 ? ERR_MALFORMED : 0;
}

bool wal_record_torn(struct bytes record, uint64_t offset)
{
    size_t at = 0;
    while (at < record.len) {
        size_t end = at + (SECTOR - (size_t)((offset + at) % SECTOR));
        if (end > record.len) {
            end = record.len;
        }
        size_t i = at;
        while (i < end && record.data[i] == 0) {
            i++;
        }
        if (i == end) {
            return true;
        }
        at = end;
    }
    return false;
}
