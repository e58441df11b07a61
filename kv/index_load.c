/* Loading: changes come in the order of the store, by revision; a hash table finds their keys, and in the end all keys
 * are sorted once and the tree is built from them.
 *
 * With a million keys each look into the table misses the cache, so index_load_hash has the slot fetched some rows
 * ahead of index_load_add. The hash's high bits are the slot, so that a table that grows is copied in order. */
#include "base/check.h"
#include "kv/index_internal.h"

#include <stdlib.h>

struct index_loader {
    struct index *index;
    struct index_key **keys; /* in the order in which they came */
    size_t count, capacity;
    struct loader_slot *table; /* of positions in keys, open addressing */
    size_t mask;
};

struct loader_slot {
    uint32_t hash;
    uint32_t at; /* position + 1; 0 = free */
};

struct index_loader *index_load_begin(void)
{
    struct index_loader *loader = mem_zalloc(sizeof *loader);
    loader->index = index_new();
    loader->mask = 1023;
    loader->table = mem_zalloc((loader->mask + 1) * sizeof loader->table[0]);
    return loader;
}

static uint32_t hash_bytes(struct bytes b)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL ^ b.len;
    size_t i = 0;
    for (; i + 8 <= b.len; i += 8) {
        h = (h ^ get_le64(b.data + i)) * 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
    }
    for (; i < b.len; i++) {
        h = (h ^ b.data[i]) * 0xc4ceb9fe1a85ec53ULL;
    }
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ULL;
    return (uint32_t)(h >> 32);
}

static size_t first_slot(uint32_t hash, size_t mask)
{
    return (size_t)((uint64_t)hash * (mask + 1) >> 32);
}

uint32_t index_load_hash(const struct index_loader *loader, struct bytes key)
{
    uint32_t hash = hash_bytes(key);
    __builtin_prefetch(&loader->table[first_slot(hash, loader->mask)], 1);
    return hash;
}

static void loader_grow(struct index_loader *loader)
{
    size_t mask = loader->mask * 2 + 1;
    struct loader_slot *table = mem_zalloc((mask + 1) * sizeof table[0]);
    for (size_t i = 0; i <= loader->mask; i++) {
        struct loader_slot slot = loader->table[i];
        size_t at = first_slot(slot.hash, mask);
        while (slot.at != 0 && table[at].at != 0) {
            at = (at + 1) & mask;
        }
        if (slot.at != 0) {
            table[at] = slot;
        }
    }
    free(loader->table);
    loader->table = table;
    loader->mask = mask;
}

/* The key's slot: where it is, or the free one where it belongs. */
static struct loader_slot *loader_slot(struct index_loader *loader, struct bytes key, uint32_t hash)
{
    size_t at = first_slot(hash, loader->mask);
    for (;; at = (at + 1) & loader->mask) {
        struct loader_slot *slot = &loader->table[at];
        if (slot->at == 0 || (slot->hash == hash && bytes_equal(index_key_bytes(loader->keys[slot->at - 1]), key))) {
            return slot;
        }
    }
}

struct index_key *index_load_add(struct index_loader *loader, struct bytes key_bytes, uint32_t hash,
                                 const struct index_change *change)
{
    struct index *index = loader->index;
    struct loader_slot *slot = loader_slot(loader, key_bytes, hash);
    index->revisions++;
    index->ring_floor = change->main;
    if (slot->at != 0) {
        struct index_key *key = loader->keys[slot->at - 1];
        index_history_push(key, &key->newest);
        key->newest = *change;
        return key;
    }
    if (loader->count == loader->capacity) {
        loader->capacity = loader->capacity == 0 ? 1024 : loader->capacity * 2;
        loader->keys = mem_realloc(loader->keys, loader->capacity * sizeof loader->keys[0]);
    }
    CHECK(loader->count < UINT32_MAX - 1);
    struct index_key *key = index_key_new(key_bytes, change);
    loader->keys[loader->count++] = key;
    *slot = (struct loader_slot){hash, (uint32_t)loader->count};
    if (loader->count * 3 > loader->mask * 2) {
        loader_grow(loader);
    }
    return key;
}

struct sort_item {
    uint64_t head; /* the 8 bytes behind what all keys begin with */
    struct index_key *key;
};

static int sort_compare(const void *a, const void *b)
{
    const struct sort_item *x = a, *y = b;
    if (x->head != y->head) {
        return x->head < y->head ? -1 : 1;
    }
    return bytes_compare(index_key_bytes(x->key), index_key_bytes(y->key));
}

static size_t shared_prefix(const struct index_loader *loader)
{
    struct bytes first = index_key_bytes(loader->keys[0]);
    size_t n = first.len;
    for (size_t i = 1; i < loader->count; i++) {
        struct bytes key = index_key_bytes(loader->keys[i]);
        n = n < key.len ? n : key.len;
        while (n > 0 && memcmp(first.data, key.data, n) != 0) {
            n--;
        }
    }
    return n;
}

static bool keys_ascend(const struct index_loader *loader)
{
    for (size_t i = 1; i < loader->count; i++) {
        if (bytes_compare(index_key_bytes(loader->keys[i - 1]), index_key_bytes(loader->keys[i])) > 0) {
            return false;
        }
    }
    return true;
}

static void loader_sort(struct index_loader *loader)
{
    size_t skip = shared_prefix(loader);
    struct sort_item *items = mem_alloc(loader->count * sizeof items[0]);
    for (size_t i = 0; i < loader->count; i++) {
        struct bytes key = index_key_bytes(loader->keys[i]);
        uint8_t head[8] = {0};
        size_t n = key.len - skip < 8 ? key.len - skip : 8;
        memcpy(head, key.data + skip, n);
        items[i] = (struct sort_item){get_be64(head), loader->keys[i]};
    }
    qsort(items, loader->count, sizeof items[0], sort_compare);
    for (size_t i = 0; i < loader->count; i++) {
        loader->keys[i] = items[i].key;
    }
    free(items);
}

struct index *index_load_end(struct index_loader *loader)
{
    struct index *index = loader->index;
    if (loader->count > 0 && !keys_ascend(loader)) {
        loader_sort(loader);
    }
    tree_build(&index->tree, loader->keys, loader->count);
    free(loader->keys);
    free(loader->table);
    free(loader);
    return index;
}
