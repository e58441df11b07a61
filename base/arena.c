/* Blocks are chained newest first; allocation is a bump of `next` in the newest one. A request that is larger than what
 * a block would hold gets a block of its own, put behind the newest one so that the newest block's room is not lost. */
#include "base/arena.h"
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    ARENA_ALIGN = 16,
    ARENA_BLOCK_MIN = 2048, /* with its head; what a small request and its answer need */
    ARENA_BLOCK_MAX = 64 * 1024,
};

struct arena_block {
    struct arena_block *older;
    size_t size; /* of content */
    uint8_t content[] __attribute__((aligned(ARENA_ALIGN)));
};

static struct arena_block *block_new(struct arena *a, size_t size)
{
    struct arena_block *block = mem_alloc(sizeof *block + size);
    block->older = NULL;
    block->size = size;
    a->total += sizeof *block + size;
    ASAN_POISON_MEMORY_REGION(block->content, size);
    return block;
}

static void block_free(struct arena *a, struct arena_block *block)
{
    a->total -= sizeof *block + block->size;
    ASAN_UNPOISON_MEMORY_REGION(block->content, block->size);
    free(block);
}

static __attribute__((noinline)) void *alloc_slow(struct arena *a, size_t size)
{
    size_t standard = a->blocks == NULL ? ARENA_BLOCK_MIN : a->total;
    if (standard > ARENA_BLOCK_MAX) {
        standard = ARENA_BLOCK_MAX;
    }
    standard -= sizeof(struct arena_block);

    if (a->blocks != NULL && size > standard / 2) {
        struct arena_block *own = block_new(a, size);
        own->older = a->blocks->older;
        a->blocks->older = own;
        ASAN_UNPOISON_MEMORY_REGION(own->content, size);
        return own->content;
    }
    struct arena_block *block = block_new(a, size > standard ? size : standard);
    block->older = a->blocks;
    a->blocks = block;
    a->next = block->content + size;
    a->end = block->content + block->size;
    ASAN_UNPOISON_MEMORY_REGION(block->content, size);
    return block->content;
}

void *arena_alloc(struct arena *a, size_t size)
{
    CHECK(size <= SIZE_MAX / 4);
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (__builtin_expect(size > (size_t)(a->end - a->next) || a->next == NULL, 0)) {
        return alloc_slow(a, size);
    }
    void *p = a->next;
    a->next += size;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    return memset(p, 0, size);
}

struct bytes arena_copy(struct arena *a, struct bytes content)
{
    uint8_t *p = arena_alloc(a, content.len);
    if (content.len > 0) {
        memcpy(p, content.data, content.len);
    }
    return bytes_of(p, content.len);
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char small[256];
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    CHECK(n >= 0, "bad format: %s", format);
    char *text = arena_alloc(a, (size_t)n + 1);
    if ((size_t)n < sizeof small) {
        memcpy(text, small, (size_t)n + 1);
    } else {
        vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    return text;
}

void arena_reset(struct arena *a)
{
    struct arena_block *kept = NULL;
    struct arena_block *older;
    for (struct arena_block *block = a->blocks; block != NULL; block = older) {
        older = block->older;
        if (kept == NULL && block->size <= ARENA_BLOCK_MIN - sizeof *block) {
            kept = block;
        } else {
            block_free(a, block);
        }
    }
    a->blocks = kept;
    a->next = a->end = NULL;
    if (kept != NULL) {
        kept->older = NULL;
        a->next = kept->content;
        a->end = kept->content + kept->size;
        ASAN_POISON_MEMORY_REGION(kept->content, kept->size);
    }
}

void arena_join(struct arena *to, struct arena *from)
{
    if (to->blocks == NULL) {
        *to = *from;
    } else if (from->blocks != NULL) {
        struct arena_block *last = from->blocks;
        while (last->older != NULL) {
            last = last->older;
        }
        last->older = to->blocks->older; /* behind the newest, which has the room */
        to->blocks->older = from->blocks;
        to->total += from->total;
    }
    *from = (struct arena){0};
}

bool arena_free_some(struct arena *a, size_t blocks)
{
    for (; blocks > 0 && a->blocks != NULL; blocks--) {
        struct arena_block *block = a->blocks;
        a->blocks = block->older;
        block_free(a, block);
    }
    if (a->blocks == NULL) {
        *a = (struct arena){0};
    }
    return a->blocks != NULL;
}

void arena_free(struct arena *a)
{
    arena_free_some(a, SIZE_MAX);
}
