#include "raft/peer/peer_impl.h"
#include <stdlib.h>

#define SPARE_MAX 256
#define SPARE_ENTRIES ((size_t)1024) /* an item that held more gives its array back */

void peer_pool_init(struct peer_pool *pool)
{
    list_init(&pool->spare);
    pool->count = 0;
}

static void free_item(struct peer_item *item)
{
    raft_message_owner_free(&item->owner);
    free(item);
}

void peer_pool_free(struct peer_pool *pool)
{
    struct list *node;
    while ((node = list_pop_front(&pool->spare)) != NULL) {
        free_item(container_of(node, struct peer_item, node));
    }
    pool->count = 0;
}

static struct peer_item *take_item(struct peer_pool *pool)
{
    struct list *node = list_pop_front(&pool->spare);
    if (node == NULL) {
        return mem_zalloc(sizeof(struct peer_item));
    }
    pool->count--;
    return container_of(node, struct peer_item, node);
}

void peer_item_free(struct peer_pool *pool, struct peer_item *item)
{
    if (item == NULL) {
        return;
    }
    if (pool->count >= SPARE_MAX || item->owner.capacity > SPARE_ENTRIES) {
        free_item(item);
        return;
    }
    raft_message_owner_clear(&item->owner);
    list_push_front(&pool->spare, &item->node);
    pool->count++;
}

void peer_queue_init(struct peer_queue *queue)
{
    list_init(&queue->items);
    queue->count = queue->bytes = 0;
}

static size_t entries_bytes(const struct raft_message *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->entry_count; i++) {
        n += sizeof *m->entries + raft_entry_bytes(&m->entries[i]);
    }
    return n;
}

bool peer_queue_push(struct peer_queue *queue, struct peer_pool *pool, const struct raft_message *m, size_t limit)
{
    size_t bytes = entries_bytes(m);
    bool too_large = queue->bytes > 0 && bytes > PEER_QUEUE_BYTES - queue->bytes;
    if (queue->count >= limit || (too_large && bytes > 0)) {
        return false;
    }
    struct peer_item *item = take_item(pool);
    raft_message_copy(&item->message, &item->owner, m);
    item->bytes = bytes;
    list_push_back(&queue->items, &item->node);
    queue->count++;
    queue->bytes += bytes;
    return true;
}

struct peer_item *peer_queue_pop(struct peer_queue *queue)
{
    struct list *node = list_pop_front(&queue->items);
    if (node == NULL) {
        return NULL;
    }
    struct peer_item *item = container_of(node, struct peer_item, node);
    queue->count--;
    queue->bytes -= item->bytes;
    return item;
}

size_t peer_queue_clear(struct peer_queue *queue, struct peer_pool *pool)
{
    size_t count = 0;
    struct peer_item *item;
    while ((item = peer_queue_pop(queue)) != NULL) {
        peer_item_free(pool, item);
        count++;
    }
    return count;
}
