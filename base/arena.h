/* An arena: memory that is freed all at once. One for each call: what a request unpacks into and its answer is built
 * in lives exactly as long as the call. Not thread-safe; handed from thread to thread with its call. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    uint8_t *next, *end;        /* free room in the newest block */
    size_t total;               /* bytes taken from the heap so far, for credit and limits */
};

/* Zero-initialised is empty and valid. */
void *arena_alloc(struct arena *a, size_t size);  /* 16-byte aligned, uninitialised, never NULL */
void *arena_zalloc(struct arena *a, size_t size); /* the same, zeroed */
struct bytes arena_copy(struct arena *a, struct bytes content);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* frees all but one block of the smallest size, which is reused */
void arena_free(struct arena *a);  /* frees everything; the arena is empty and valid afterwards */
/* All of from's blocks become to's; from is empty afterwards. */
void arena_join(struct arena *to, struct arena *from);
/* arena_free in slices, for large ones: at most so many blocks (of up to 64 KiB) a call, with nothing allocated in
 * between. True = there are more. */
bool arena_free_some(struct arena *a, size_t blocks);

#endif
