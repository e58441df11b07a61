/* Nodes of the index's tree, for kv/index_tree*.c only. */
#ifndef KV_INDEX_TREE_NODE_H
#define KV_INDEX_TREE_NODE_H

#include "kv/index_tree.h"

struct tree_separator {
    uint32_t len;
    uint8_t data[];
};

/* child[i] holds the keys in [separators[i], separators[i + 1]); separators[0] does not exist and counts as "before
 * everything", so heads[0] is never looked at. */
struct tree_inner {
    struct tree_node node;
    struct tree_node *children[TREE_FANOUT];
    struct index_sum sums[TREE_FANOUT];
    struct tree_separator *separators[TREE_FANOUT];
};

static inline struct tree_leaf *tree_as_leaf(const struct tree_node *node)
{
    return (struct tree_leaf *)node;
}

static inline struct tree_inner *tree_as_inner(const struct tree_node *node)
{
    return (struct tree_inner *)node;
}

static inline struct bytes tree_node_key(const struct tree_node *node, unsigned i)
{
    if (node->inner) {
        const struct tree_separator *s = tree_as_inner(node)->separators[i];
        return bytes_of(s->data, s->len);
    }
    return index_key_bytes(tree_as_leaf(node)->keys[i]);
}

/* The 8 bytes behind the first `skip` as a big-endian number, zero-padded. */
uint64_t tree_head(struct bytes key, unsigned skip);
/* Works out the prefix and all heads anew. */
void tree_rehead(struct tree_node *node);
/* How many of the node's keys are < key (<= key with `equal`), the missing separator of an inner node included. */
unsigned tree_rank(const struct tree_node *node, struct bytes key, bool equal);
/* Which child of an inner node has the key. */
unsigned tree_child(const struct tree_node *node, struct bytes key);
struct index_sum tree_node_sum(const struct tree_node *node);
void tree_sum_add(struct index_sum *sum, struct index_sum more);
struct tree_leaf *tree_leaf_new(void);
struct tree_inner *tree_inner_new(void);
/* The shortest string that is > low and <= high. */
struct tree_separator *tree_separator_between(struct bytes low, struct bytes high);

#endif
