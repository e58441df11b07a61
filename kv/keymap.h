/* A hash table over byte strings, intrusive: the node stands inside the object, the key's bytes are the object's own
 * and must not change while it is in. It grows in small steps (a few buckets moved by each insertion), so that no
 * single call takes long however many objects there are. Core thread. Leases find the lease of a key with it, watches
 * their watchers.
 *
 * Keys come from clients: the seed keeps them from choosing collisions when it is random, and the order of iteration is
 * never used, so that it stays deterministic with any seed. */
#ifndef KV_KEYMAP_H
#define KV_KEYMAP_H

#include "base/bytes.h"

struct keymap_node {
    struct keymap_node *next;
    const uint8_t *key;
    uint32_t key_len;
    uint32_t hash;
};

struct keymap_table {
    struct keymap_node **buckets;
    size_t mask; /* bucket count - 1; no table while buckets is NULL */
};

struct keymap {
    struct keymap_table now, old; /* while growing, `old` is emptied from bucket `moved` on */
    size_t moved, count;
    uint64_t seed;
};

void keymap_init(struct keymap *m, uint64_t seed);
void keymap_free(struct keymap *m); /* the table only; the objects are their owner's */

/* NULL = not there. */
struct keymap_node *keymap_find(const struct keymap *m, struct bytes key);
/* The key must not be in yet (the caller has looked). */
void keymap_insert(struct keymap *m, struct keymap_node *node, struct bytes key);
/* The node must be in. */
void keymap_remove(struct keymap *m, struct keymap_node *node);

#endif
