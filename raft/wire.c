#include "raft/wire.h"

static void skip(struct bytes *in, size_t n)
{
    in->data += n;
    in->len -= n;
}

int wire_next(struct bytes *in, struct wire_field *out)
{
    if (in->len == 0) {
        return 0;
    }
    uint64_t tag;
    size_t n = varint_get(*in, &tag);
    /* Field numbers have 29 bits, 0 is none of them. */
    if (n == 0 || tag > UINT32_MAX || tag >> 3 == 0) {
        return -1;
    }
    skip(in, n);
    *out = (struct wire_field){.tag = (uint32_t)tag};
    switch (tag & 7) {
    case WIRE_VARINT:
        n = varint_get(*in, &out->number);
        if (n == 0) {
            return -1;
        }
        skip(in, n);
        return 1;
    case WIRE_FIXED64:
        if (in->len < 8) {
            return -1;
        }
        out->number = get_le64(in->data);
        skip(in, 8);
        return 1;
    case WIRE_FIXED32:
        if (in->len < 4) {
            return -1;
        }
        skip(in, 4);
        return 1;
    case WIRE_BYTES: {
        uint64_t len;
        n = varint_get(*in, &len);
        if (n == 0 || len > in->len - n) {
            return -1;
        }
        skip(in, n);
        out->bytes = bytes_of(in->data, (size_t)len);
        skip(in, (size_t)len);
        return 1;
    }
    default:
        return -1;
    }
}

void wire_append_number(struct buffer *out, uint32_t number, uint64_t value)
{
    out->len += wire_put_number(buffer_reserve(out, 20), number, value);
}

void wire_append_bytes(struct buffer *out, uint32_t number, struct bytes value)
{
    out->len += wire_put_head(buffer_reserve(out, 20), number, value.len);
    buffer_append(out, value.data, value.len);
}
