/* An intrusive binary min-heap over 64-bit keys (deadlines, expiries). The node stands inside the object. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    size_t slot; /* 1-based position while in a heap; 0 = in none */
};

struct heap {
    struct heap_node **nodes; /* zero-initialised is empty and valid */
    size_t count, capacity;
};

void heap_insert(struct heap *h, struct heap_node *node, uint64_t key); /* node must be in no heap */
void heap_update(struct heap *h, struct heap_node *node, uint64_t key); /* inserts it if it is in none */
void heap_remove(struct heap *h, struct heap_node *node);               /* no effect if it is in none */
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->count == 0 ? NULL : h->nodes[0];
}
void heap_free(struct heap *h);

#endif
