#include "grpc/outgoing.h"
#include "base/check.h"
#include <stdlib.h>

/* A copy of this many bytes costs about as much as a reference taken, followed and dropped. */
#define SHARE_FROM ((size_t)4096)
#define SEGMENT_BYTES ((size_t)4096 - sizeof(struct outgoing_segment) - 16)

void outgoing_init(struct outgoing *out)
{
    list_init(&out->segments);
    list_init(&out->borrowed.node);
    out->taken = out->total = 0;
}

static struct outgoing_segment *newest(struct outgoing *out)
{
    return list_empty(&out->segments) ? NULL : container_of(out->segments.prev, struct outgoing_segment, node);
}

uint8_t *outgoing_room(struct outgoing *out, size_t len)
{
    struct outgoing_segment *s = newest(out);
    if (s == NULL || s->capacity - s->len < len || s->capacity == 0) {
        size_t capacity = len > SEGMENT_BYTES ? len : SEGMENT_BYTES;
        s = mem_alloc(sizeof *s + capacity);
        *s = (struct outgoing_segment){.data = (uint8_t *)(s + 1), .capacity = capacity};
        list_push_back(&out->segments, &s->node);
    }
    uint8_t *room = (uint8_t *)(s + 1) + s->len;
    s->len += len;
    out->total += len;
    return room;
}

void outgoing_copy(struct outgoing *out, struct bytes bytes)
{
    if (bytes.len > 0) {
        memcpy(outgoing_room(out, bytes.len), bytes.data, bytes.len);
    }
}

void outgoing_share(struct outgoing *out, struct bytes bytes, struct shared *owner)
{
    if (owner == NULL || bytes.len < SHARE_FROM) {
        outgoing_copy(out, bytes);
        return;
    }
    struct outgoing_segment *s = mem_alloc(sizeof *s);
    *s = (struct outgoing_segment){.owner = shared_ref(owner), .data = bytes.data, .len = bytes.len};
    list_push_back(&out->segments, &s->node);
    out->total += bytes.len;
}

void outgoing_borrow(struct outgoing *out, struct bytes bytes)
{
    CHECK(list_empty(&out->borrowed.node));
    out->borrowed.data = bytes.data;
    out->borrowed.len = bytes.len;
    out->borrowed.capacity = 0;
    list_push_back(&out->segments, &out->borrowed.node);
    out->total += bytes.len;
}

static void drop(struct outgoing *out, struct outgoing_segment *s)
{
    list_remove(&s->node);
    if (s != &out->borrowed) {
        shared_unref(s->owner);
        free(s);
    }
}

size_t outgoing_take(struct outgoing *out, uint8_t *to, size_t cap)
{
    size_t done = 0;
    while (done < cap && !list_empty(&out->segments)) {
        struct outgoing_segment *s = list_first(&out->segments, struct outgoing_segment, node);
        size_t left = s->len - out->taken;
        size_t n = left < cap - done ? left : cap - done;
        memcpy(to + done, s->data + out->taken, n);
        done += n;
        out->taken += n;
        if (out->taken == s->len) {
            drop(out, s);
            out->taken = 0;
        }
    }
    out->total -= done;
    return done;
}

void outgoing_clear(struct outgoing *out)
{
    while (!list_empty(&out->segments)) {
        drop(out, list_first(&out->segments, struct outgoing_segment, node));
    }
    out->taken = out->total = 0;
}
