/* What a leader has sent to one follower and not heard of yet: one record a message, oldest first. It bounds what can
 * be lost or wait in a slow connection (limits.tsv "max inflight append messages"; the bytes are our own bound). */
#ifndef RAFT_INFLIGHT_H
#define RAFT_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_MESSAGES_MAX 512
#define INFLIGHT_BYTES_MAX ((size_t)64 << 20)

/* Zero-initialised is empty and valid. */
struct inflight {
    struct inflight_message {
        uint64_t last; /* index of its last entry */
        size_t bytes;
    } * ring;
    size_t head, count, capacity; /* capacity is a power of two */
    size_t bytes;
};

bool inflight_full(const struct inflight *f);
void inflight_add(struct inflight *f, uint64_t last, size_t bytes); /* last ascends; not when full */
void inflight_acknowledge(struct inflight *f, uint64_t index);      /* drops those that end at or below index */
void inflight_clear(struct inflight *f);
void inflight_free(struct inflight *f); /* leaves it empty and valid */

#endif
