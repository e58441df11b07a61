#include "kv/keymap.h"

#include "base/check.h"
#include <stdlib.h>

#define FIRST_BUCKETS 16
#define MOVE_PER_INSERT 4 /* the table doubles when full: 1 would do to be empty before the next doubling */

/* A multiply-and-fold hash over 8-byte words: two multiplications for the usual key of 16 to 64 bytes would not spread
 * the high bits into the low ones, hence the 128-bit product folded at every step. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_key(uint64_t seed, struct bytes key)
{
    const uint64_t k1 = 0x9e3779b97f4a7c15ULL, k2 = 0xd6e8feb86659fd93ULL;
    uint64_t h = fold(seed ^ k1, key.len ^ k2);
    const uint8_t *p = key.data;
    size_t left = key.len;
    uint64_t word;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = fold(h ^ word, k1);
    }
    if (left > 0) {
        word = 0;
        memcpy(&word, p, left);
        h = fold(h ^ word, k2);
    }
    h = fold(h ^ k2, k1);
    return (uint32_t)(h ^ h >> 32);
}

void keymap_init(struct keymap *m, uint64_t seed)
{
    *m = (struct keymap){.seed = seed};
}

void keymap_free(struct keymap *m)
{
    free(m->now.buckets);
    free(m->old.buckets);
    keymap_init(m, m->seed);
}

static struct keymap_node *find_in(const struct keymap_table *t, uint32_t hash, struct bytes key)
{
    if (t->buckets == NULL) {
        return NULL;
    }
    for (struct keymap_node *n = t->buckets[hash & t->mask]; n != NULL; n = n->next) {
        if (n->hash == hash && n->key_len == key.len && memcmp(n->key, key.data, key.len) == 0) {
            return n;
        }
    }
    return NULL;
}

struct keymap_node *keymap_find(const struct keymap *m, struct bytes key)
{
    if (m->count == 0) {
        return NULL;
    }
    uint32_t hash = hash_key(m->seed, key);
    struct keymap_node *n = find_in(&m->now, hash, key);
    return n != NULL ? n : find_in(&m->old, hash, key);
}

static void put(struct keymap_table *t, struct keymap_node *node)
{
    struct keymap_node **bucket = &t->buckets[node->hash & t->mask];
    node->next = *bucket;
    *bucket = node;
}

static void move_some(struct keymap *m, size_t buckets)
{
    if (m->old.buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < buckets && m->moved <= m->old.mask; i++, m->moved++) {
        struct keymap_node *n = m->old.buckets[m->moved];
        m->old.buckets[m->moved] = NULL;
        while (n != NULL) {
            struct keymap_node *next = n->next;
            put(&m->now, n);
            n = next;
        }
    }
    if (m->moved > m->old.mask) {
        free(m->old.buckets);
        m->old = (struct keymap_table){0};
    }
}

static void grow(struct keymap *m)
{
    move_some(m, SIZE_MAX);
    size_t buckets = m->now.buckets == NULL ? FIRST_BUCKETS : (m->now.mask + 1) * 2;
    m->old = m->now;
    m->moved = 0;
    /* calloc gives untouched pages for big tables: no time is spent on clearing them here. */
    m->now = (struct keymap_table){.buckets = calloc(buckets, sizeof *m->now.buckets), .mask = buckets - 1};
    CHECK(m->now.buckets != NULL, "out of memory for %zu buckets", buckets);
}

void keymap_insert(struct keymap *m, struct keymap_node *node, struct bytes key)
{
    CHECK(key.len <= UINT32_MAX);
    if (m->now.buckets == NULL || m->count > m->now.mask) {
        grow(m);
    }
    move_some(m, MOVE_PER_INSERT);
    node->key = key.data;
    node->key_len = (uint32_t)key.len;
    node->hash = hash_key(m->seed, key);
    put(&m->now, node);
    m->count++;
}

static bool unlink_from(struct keymap_table *t, struct keymap_node *node)
{
    if (t->buckets == NULL) {
        return false;
    }
    for (struct keymap_node **at = &t->buckets[node->hash & t->mask]; *at != NULL; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            return true;
        }
    }
    return false;
}

void keymap_remove(struct keymap *m, struct keymap_node *node)
{
    bool found = unlink_from(&m->now, node) || unlink_from(&m->old, node);
    CHECK(found, "a node that is not in the map was removed");
    m->count--;
}
