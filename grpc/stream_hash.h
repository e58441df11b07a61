/* The SHA-256 of something long that goes out piece by piece: threads of libuv's pool reckon it beside, from the same
 * shared bytes. One lot of pieces at a time, in their order.
 *
 * Thread: the loop's. */
#ifndef GRPC_STREAM_HASH_H
#define GRPC_STREAM_HASH_H

#include "base/bytes.h"
#include "base/net/loop.h"

enum { STREAM_HASH_BYTES = 32, STREAM_HASH_PIECES = 32 };

struct stream_hash;

/* open: counts the lots that a thread has (server_work_count). done is called on the loop when a lot is through. */
struct stream_hash *stream_hash_new(struct loop *loop, size_t *open, void (*done)(void *owner), void *owner);
/* At most STREAM_HASH_PIECES, not while it is busy. The pieces are the first `len` bytes of each; they are kept with a
 * reference until the lot is through. */
void stream_hash_add(struct stream_hash *h, struct shared *piece, size_t len);
void stream_hash_start(struct stream_hash *h);
bool stream_hash_is_busy(const struct stream_hash *h);
/* Of all so far; not while it is busy, and the last thing asked. */
void stream_hash_sum(struct stream_hash *h, uint8_t out[STREAM_HASH_BYTES]);
/* At any time; done does not come any more. NULL is allowed. */
void stream_hash_free(struct stream_hash *h);

#endif
