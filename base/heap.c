#include "base/heap.h"
#include "base/bytes.h"
#include "base/check.h"

#include <stdlib.h>

static void place(struct heap *h, size_t index, struct heap_node *node)
{
    h->nodes[index] = node;
    node->slot = index + 1;
}

static void sift_up(struct heap *h, size_t index, struct heap_node *node)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (h->nodes[parent]->key <= node->key) {
            break;
        }
        place(h, index, h->nodes[parent]);
        index = parent;
    }
    place(h, index, node);
}

static void sift_down(struct heap *h, size_t index, struct heap_node *node)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key) {
            child++;
        }
        if (node->key <= h->nodes[child]->key) {
            break;
        }
        place(h, index, h->nodes[child]);
        index = child;
    }
    place(h, index, node);
}

void heap_insert(struct heap *h, struct heap_node *node, uint64_t key)
{
    CHECK(node->slot == 0, "the node is in a heap");
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 16 : h->capacity * 2;
        h->nodes = mem_realloc(h->nodes, h->capacity * sizeof *h->nodes);
    }
    node->key = key;
    sift_up(h, h->count++, node);
}

void heap_update(struct heap *h, struct heap_node *node, uint64_t key)
{
    if (node->slot == 0) {
        heap_insert(h, node, key);
        return;
    }
    size_t index = node->slot - 1;
    CHECK(index < h->count && h->nodes[index] == node);
    bool up = key < node->key;
    node->key = key;
    if (up) {
        sift_up(h, index, node);
    } else {
        sift_down(h, index, node);
    }
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (node->slot == 0) {
        return;
    }
    size_t index = node->slot - 1;
    CHECK(index < h->count && h->nodes[index] == node);
    node->slot = 0;
    struct heap_node *last = h->nodes[--h->count];
    if (last == node) {
        return;
    }
    if (index > 0 && last->key < h->nodes[(index - 1) / 2]->key) {
        sift_up(h, index, last);
    } else {
        sift_down(h, index, last);
    }
}

void heap_free(struct heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        h->nodes[i]->slot = 0;
    }
    free(h->nodes);
    *h = (struct heap){0};
}
