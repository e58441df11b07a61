/* A reader of flat protobuf messages, for the few that stand in log and peer messages: one field at a time, no
 * recursion, no allocation. What fits no known field (a known number with another wire type included) is handed on like
 * any other field and the caller skips it, as Go's decoder does. Groups are refused. */
#ifndef RAFT_WIRE_H
#define RAFT_WIRE_H

#include "base/bytes.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_field {
    uint32_t tag;       /* number << 3 | wire type: compare with WIRE_TAG */
    uint64_t number;    /* value of a varint or fixed field */
    struct bytes bytes; /* content of a WIRE_BYTES field, a view; its data pointer is never NULL */
};

#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (type))

/* Takes the next field off *in. 1; 0 at the end; -1 if it can't be parsed. */
int wire_next(struct bytes *in, struct wire_field *out);

/* Writers. Each returns the bytes written. */
static inline size_t wire_put_number(uint8_t *p, uint32_t number, uint64_t value)
{
    size_t n = varint_put(p, WIRE_TAG(number, WIRE_VARINT));
    return n + varint_put(p + n, value);
}

static inline size_t wire_put_head(uint8_t *p, uint32_t number, size_t len)
{
    size_t n = varint_put(p, WIRE_TAG(number, WIRE_BYTES));
    return n + varint_put(p + n, len);
}

void wire_append_number(struct buffer *out, uint32_t number, uint64_t value);
void wire_append_bytes(struct buffer *out, uint32_t number, struct bytes value);

#endif
