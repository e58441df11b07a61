/* A tree from sorted keys, and the check of a whole tree. */
#include "base/check.h"
#include "kv/index_tree_node.h"

#include <stdlib.h>

#define BUILD_FILL (TREE_FANOUT * 9 / 10)

struct built {
    struct tree_node *node;
    struct tree_separator *separator; /* lower bound; NULL for the first */
};

static size_t build_leaves(struct tree *tree, struct index_key **keys, size_t count, struct built *out)
{
    size_t n = 0;
    struct tree_leaf *last = NULL;
    for (size_t i = 0; i < count; i += last->node.count) {
        size_t take = count - i < BUILD_FILL ? count - i : BUILD_FILL;
        struct tree_leaf *leaf = tree_leaf_new();
        memcpy(leaf->keys, &keys[i], take * sizeof keys[0]);
        leaf->node.count = (uint16_t)take;
        tree_rehead(&leaf->node);
        leaf->prev = last;
        *(last == NULL ? &tree->first : &last->next) = leaf;
        last = leaf;
        out[n++] = (struct built){
            &leaf->node,
            i == 0 ? NULL : tree_separator_between(index_key_bytes(keys[i - 1]), index_key_bytes(keys[i]))};
    }
    return n;
}

/* One level up, in place. */
static size_t build_level(struct built *level, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count;) {
        struct tree_inner *inner = tree_inner_new();
        size_t take = count - i < BUILD_FILL ? count - i : BUILD_FILL;
        struct tree_separator *separator = level[i].separator;
        for (size_t j = 0; j < take; j++) {
            inner->children[j] = level[i + j].node;
            inner->sums[j] = tree_node_sum(level[i + j].node);
            inner->separators[j] = j == 0 ? NULL : level[i + j].separator;
        }
        inner->node.count = (uint16_t)take;
        tree_rehead(&inner->node);
        level[n++] = (struct built){&inner->node, separator};
        i += take;
    }
    return n;
}

void tree_build(struct tree *tree, struct index_key **keys, size_t count)
{
    *tree = (struct tree){.keys = count};
    if (count == 0) {
        return;
    }
    struct built *level = mem_alloc((count / BUILD_FILL + 1) * sizeof *level);
    size_t n = build_leaves(tree, keys, count, level);
    while (n > 1) {
        n = build_level(level, n);
    }
    tree->root = level[0].node;
    free(level);
}

/* --- check --- */

static struct index_sum verify_node(const struct tree_node *node, struct bytes low, bool has_high, struct bytes high)
{
    struct index_sum sum = {0};
    CHECK(node->count > 0 && node->count <= TREE_FANOUT);
    for (unsigned i = node->inner; i < node->count; i++) {
        struct bytes key = tree_node_key(node, i);
        CHECK(bytes_compare(low, key) <= 0 && (!has_high || bytes_compare(key, high) < 0));
        CHECK(i == node->inner || bytes_compare(tree_node_key(node, i - 1), key) < 0);
        CHECK(node->heads[i] == tree_head(key, node->prefix_len) && key.len >= node->prefix_len &&
              memcmp(key.data, node->prefix, node->prefix_len) == 0);
    }
    for (unsigned i = 0; i < node->count; i++) {
        struct index_sum part = node->inner ? tree_as_inner(node)->sums[i] : index_key_sum(tree_as_leaf(node)->keys[i]);
        if (node->inner) {
            bool last = i + 1U == node->count;
            struct index_sum real = verify_node(tree_as_inner(node)->children[i], i == 0 ? low : tree_node_key(node, i),
                                                last ? has_high : true, last ? high : tree_node_key(node, i + 1));
            CHECK(real.keys == part.keys && real.bytes == part.bytes);
        }
        tree_sum_add(&sum, part);
    }
    return sum;
}

void tree_verify(const struct tree *tree)
{
    if (tree->root != NULL) {
        verify_node(tree->root, (struct bytes){0}, false, (struct bytes){0});
    }
    uint64_t keys = 0;
    const struct tree_leaf *before = NULL;
    for (const struct tree_leaf *leaf = tree->first; leaf != NULL; before = leaf, leaf = leaf->next) {
        CHECK(leaf->prev == before);
        keys += leaf->node.count;
    }
    CHECK(keys == tree->keys);
}
