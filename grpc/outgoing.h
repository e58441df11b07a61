/* What a stream has to send: a queue of bytes, small ones copied together, large shared ones by reference. */
#ifndef GRPC_OUTGOING_H
#define GRPC_OUTGOING_H

#include "base/bytes.h"
#include "base/list.h"

struct outgoing_segment {
    struct list node;
    struct shared *owner; /* NULL: the bytes follow the segment, or are borrowed */
    const uint8_t *data;
    size_t len;
    size_t capacity; /* of the bytes that follow; 0 = none */
};

struct outgoing {
    struct list segments; /* oldest first */
    size_t taken;         /* of the oldest */
    size_t total;         /* bytes not taken yet */
    struct outgoing_segment borrowed;
};

void outgoing_init(struct outgoing *out);
void outgoing_copy(struct outgoing *out, struct bytes bytes);
/* Takes a reference of its own when the bytes are worth it, else copies. */
void outgoing_share(struct outgoing *out, struct bytes bytes, struct shared *owner);
/* Without copy or reference: the bytes outlive the queue's content. At most one at a time. */
void outgoing_borrow(struct outgoing *out, struct bytes bytes);
/* Room for len more bytes, to be filled by the caller before the next call. */
uint8_t *outgoing_room(struct outgoing *out, size_t len);
/* Moves up to cap bytes to `to`; returns how many. */
size_t outgoing_take(struct outgoing *out, uint8_t *to, size_t cap);
void outgoing_clear(struct outgoing *out);

#endif
