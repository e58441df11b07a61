/* The ordered tree below the index (kv/index.h), for kv/index*.c only: a B+tree of keys in which each inner node knows
 * the live keys and bytes of its children. It never looks into a key's history; index.c tells it what changed. */
#ifndef KV_INDEX_TREE_H
#define KV_INDEX_TREE_H

#include "kv/index.h"

#define TREE_FANOUT 64
#define TREE_PREFIX_MAX 52

/* All keys (or separators) of a node begin with its prefix; heads[i] is the next 8 bytes of the i-th as a big-endian
 * number, zero-padded: most comparisons are decided by heads alone, without a look at the key. */
struct tree_node {
    uint16_t count;
    uint8_t inner;
    uint8_t prefix_len;
    uint8_t prefix[TREE_PREFIX_MAX];
    uint64_t heads[TREE_FANOUT];
};

struct tree_leaf {
    struct tree_node node;
    struct tree_leaf *prev, *next;
    struct index_key *keys[TREE_FANOUT];
};

struct tree {
    struct tree_node *root;  /* NULL = empty */
    struct tree_leaf *first; /* leaves are chained in order */
    uint64_t keys;
    uint64_t shape; /* changes whenever a key changes its place */
};

void tree_free(struct tree *tree); /* not the keys */
void tree_each(const struct tree *tree, void (*visit)(struct index_key *key));

struct index_key *tree_find(const struct tree *tree, struct bytes key);
void tree_insert(struct tree *tree, struct index_key *key);       /* must not be there yet; its live sum is counted */
void tree_remove(struct tree *tree, const struct index_key *key); /* must be dead */
/* The live sum of this key changes by so much. */
void tree_adjust(struct tree *tree, const struct index_key *key, int64_t keys, int64_t bytes);

/* Where the first key >= `key` (or > `key`, after = true) stands: leaf NULL = behind the last. */
struct tree_place {
    struct tree_leaf *leaf;
    unsigned slot;
};
struct tree_place tree_seek(const struct tree *tree, struct bytes key, bool after);

/* Sums over all keys < key, over all keys, over the first n live keys. */
struct index_sum tree_sum_before(const struct tree *tree, struct bytes key);
struct index_sum tree_sum_all(const struct tree *tree);
struct index_sum tree_sum_first(const struct tree *tree, uint64_t keys);

/* Builds from keys in ascending order, leaves filled to nine tenths. */
void tree_build(struct tree *tree, struct index_key **keys, size_t count);

/* Checks order, sums and links of everything; CHECKs. For tests. */
void tree_verify(const struct tree *tree);

static inline struct index_sum index_key_sum(const struct index_key *key)
{
    if (!index_change_live(&key->newest)) {
        return (struct index_sum){0};
    }
    return (struct index_sum){1, index_change_bytes(&key->newest)};
}

#endif
