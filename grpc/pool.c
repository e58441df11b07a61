#include "grpc/pool.h"
#include "base/bytes.h"
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_POOL 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define NO_POOL 1
#endif

/* The head of each block. */
struct pool_block {
    size_t step; /* its size in steps; 0 = malloc's */
    union {
        struct pool_block *next;
        max_align_t content[1];
    };
};

#define HEAD offsetof(struct pool_block, content)

static void *take(size_t size, void *user)
{
    struct pool *pool = user;
    size_t step = (HEAD + size + POOL_STEP - 1) / POOL_STEP;
    struct pool_block *block;
    if (step >= POOL_SIZES) {
        block = mem_alloc(HEAD + size);
        block->step = 0;
        return block->content;
    }
    block = pool->free[step];
    if (block != NULL) {
        pool->free[step] = block->next;
        pool->kept_bytes -= step * POOL_STEP;
        return block->content;
    }
    block = mem_alloc(step * POOL_STEP);
    block->step = step;
    return block->content;
}

static void give(void *content, void *user)
{
    struct pool *pool = user;
    if (content == NULL) {
        return;
    }
    struct pool_block *block = (struct pool_block *)(void *)((char *)content - HEAD);
    if (block->step == 0 || pool->kept_bytes >= POOL_KEPT_BYTES) {
        free(block);
        return;
    }
    block->next = pool->free[block->step];
    pool->free[block->step] = block;
    pool->kept_bytes += block->step * POOL_STEP;
}

static void *take_zeroed(size_t count, size_t size, void *user)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        return NULL;
    }
    return memset(take(total, user), 0, total);
}

static void *resize(void *content, size_t size, void *user)
{
    if (content == NULL) {
        return take(size, user);
    }
    struct pool_block *block = (struct pool_block *)(void *)((char *)content - HEAD);
    if (block->step == 0) {
        block = mem_realloc(block, HEAD + size);
        return block->content;
    }
    size_t room = block->step * POOL_STEP - HEAD;
    if (size <= room) {
        return content;
    }
    void *larger = take(size, user);
    memcpy(larger, content, room);
    give(content, user);
    return larger;
}

nghttp2_mem *pool_mem(struct pool *pool)
{
#ifdef NO_POOL
    (void)pool, (void)take_zeroed, (void)resize;
    return NULL;
#else
    pool->mem =
        (nghttp2_mem){.mem_user_data = pool, .malloc = take, .free = give, .calloc = take_zeroed, .realloc = resize};
    return &pool->mem;
#endif
}

void pool_free(struct pool *pool)
{
    for (size_t i = 0; i < POOL_SIZES; i++) {
        struct pool_block *next;
        for (struct pool_block *block = pool->free[i]; block != NULL; block = next) {
            next = block->next;
            free(block);
        }
    }
    *pool = (struct pool){0};
}
