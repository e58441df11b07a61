#include "raft/inflight.h"
#include "base/bytes.h"
#include "base/check.h"
#include <stdlib.h>

bool inflight_full(const struct inflight *f)
{
    return f->count >= INFLIGHT_MESSAGES_MAX || f->bytes >= INFLIGHT_BYTES_MAX;
}

static struct inflight_message *at(const struct inflight *f, size_t i)
{
    return &f->ring[(f->head + i) & (f->capacity - 1)];
}

static void grow(struct inflight *f)
{
    size_t capacity = f->capacity == 0 ? 8 : f->capacity * 2;
    struct inflight_message *ring = mem_alloc(capacity * sizeof *ring);
    for (size_t i = 0; i < f->count; i++) {
        ring[i] = *at(f, i);
    }
    free(f->ring);
    f->ring = ring;
    f->head = 0;
    f->capacity = capacity;
}

void inflight_add(struct inflight *f, uint64_t last, size_t bytes)
{
    CHECK(!inflight_full(f));
    CHECK(f->count == 0 || last > at(f, f->count - 1)->last);
    if (f->count == f->capacity) {
        grow(f);
    }
    *at(f, f->count++) = (struct inflight_message){.last = last, .bytes = bytes};
    f->bytes += bytes;
}

void inflight_acknowledge(struct inflight *f, uint64_t index)
{
    while (f->count > 0 && at(f, 0)->last <= index) {
        f->bytes -= at(f, 0)->bytes;
        f->head = (f->head + 1) & (f->capacity - 1);
        f->count--;
    }
}

void inflight_clear(struct inflight *f)
{
    f->count = 0;
    f->bytes = 0;
}

void inflight_free(struct inflight *f)
{
    free(f->ring);
    *f = (struct inflight){0};
}
