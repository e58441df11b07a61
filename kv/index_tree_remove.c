/* Taking keys out of the tree: small neighbours are joined, empty nodes go. */
#include "base/check.h"
#include "kv/index_tree_node.h"

#include <stdlib.h>

#define MERGE_BELOW (TREE_FANOUT / 4)
#define MERGE_TO (TREE_FANOUT * 3 / 4)
#define DEPTH_MAX 16

static void inner_erase(struct tree_inner *inner, unsigned at)
{
    unsigned tail = inner->node.count - at - 1U;
    free(at == 0 ? NULL : inner->separators[at]);
    memmove(&inner->children[at], &inner->children[at + 1], tail * sizeof inner->children[0]);
    memmove(&inner->sums[at], &inner->sums[at + 1], tail * sizeof inner->sums[0]);
    memmove(&inner->separators[at], &inner->separators[at + 1], tail * sizeof inner->separators[0]);
    memmove(&inner->node.heads[at], &inner->node.heads[at + 1], tail * sizeof inner->node.heads[0]);
    inner->node.count--;
    if (at == 0 && inner->node.count > 0) {
        free(inner->separators[0]); /* the first child's lower bound is never looked at */
        inner->separators[0] = NULL;
    }
}

static void leaf_unlink(struct tree *tree, struct tree_leaf *leaf)
{
    if (leaf->prev != NULL) {
        leaf->prev->next = leaf->next;
    } else {
        tree->first = leaf->next;
    }
    if (leaf->next != NULL) {
        leaf->next->prev = leaf->prev;
    }
    free(leaf);
}

static void leaf_merge(struct tree *tree, struct tree_leaf *left, struct tree_leaf *right)
{
    memcpy(&left->keys[left->node.count], right->keys, right->node.count * sizeof right->keys[0]);
    left->node.count = (uint16_t)(left->node.count + right->node.count);
    leaf_unlink(tree, right);
}

static void inner_merge(struct tree_inner *left, struct tree_inner *right, const struct tree_separator *between)
{
    unsigned at = left->node.count, count = right->node.count;
    memcpy(&left->children[at], right->children, count * sizeof left->children[0]);
    memcpy(&left->sums[at], right->sums, count * sizeof left->sums[0]);
    memcpy(&left->separators[at], right->separators, count * sizeof left->separators[0]);
    struct tree_separator *copy = mem_alloc(sizeof *copy + between->len);
    memcpy(copy, between, sizeof *copy + between->len);
    left->separators[at] = copy;
    left->node.count = (uint16_t)(at + count);
    free(right);
}

/* Joins children at and at + 1 if both fit well into one. */
static bool children_merge(struct tree *tree, struct tree_inner *parent, unsigned at)
{
    if (at + 1U >= parent->node.count) {
        return false;
    }
    struct tree_node *left = parent->children[at], *right = parent->children[at + 1];
    if (left->count + right->count > MERGE_TO) {
        return false;
    }
    if (left->inner) {
        inner_merge(tree_as_inner(left), tree_as_inner(right), parent->separators[at + 1]);
    } else {
        leaf_merge(tree, tree_as_leaf(left), tree_as_leaf(right));
    }
    tree_sum_add(&parent->sums[at], parent->sums[at + 1]);
    inner_erase(parent, at + 1);
    tree_rehead(left);
    return true;
}

/* The child at `at` lost a key or a child: drop it when empty, join it when small. */
static void child_shrunk(struct tree *tree, struct tree_inner *parent, unsigned at)
{
    struct tree_node *child = parent->children[at];
    if (child->count == 0) {
        if (child->inner) {
            free(child);
        } else {
            leaf_unlink(tree, tree_as_leaf(child));
        }
        inner_erase(parent, at);
    } else if (child->count < MERGE_BELOW && !children_merge(tree, parent, at) && at > 0) {
        children_merge(tree, parent, at - 1);
    }
}

void tree_remove(struct tree *tree, const struct index_key *key)
{
    struct bytes bytes = index_key_bytes(key);
    struct tree_inner *way[DEPTH_MAX];
    unsigned at[DEPTH_MAX];
    unsigned depth = 0;
    struct tree_node *node = tree->root;
    while (node->inner) {
        CHECK(depth < DEPTH_MAX);
        way[depth] = tree_as_inner(node);
        at[depth] = tree_child(node, bytes);
        node = way[depth]->children[at[depth]];
        depth++;
    }
    struct tree_leaf *leaf = tree_as_leaf(node);
    unsigned slot = tree_rank(node, bytes, false);
    CHECK(slot < node->count && leaf->keys[slot] == key, "key is not where it belongs");
    unsigned tail = node->count - slot - 1U;
    memmove(&leaf->keys[slot], &leaf->keys[slot + 1], tail * sizeof leaf->keys[0]);
    memmove(&node->heads[slot], &node->heads[slot + 1], tail * sizeof node->heads[0]);
    node->count--;
    tree->keys--;
    tree->shape++;
    while (depth > 0) {
        depth--;
        child_shrunk(tree, way[depth], at[depth]);
    }
    while (tree->root->inner && tree->root->count == 1) {
        struct tree_node *only = tree_as_inner(tree->root)->children[0];
        free(tree->root);
        tree->root = only;
    }
    if (tree->root->count == 0) {
        free(tree->root);
        tree->root = NULL;
        tree->first = NULL;
    }
}

static void node_free(struct tree_node *node)
{
    for (unsigned i = 0; node->inner && i < node->count; i++) {
        free(i == 0 ? NULL : tree_as_inner(node)->separators[i]);
        node_free(tree_as_inner(node)->children[i]);
    }
    free(node);
}

void tree_free(struct tree *tree)
{
    if (tree->root != NULL) {
        node_free(tree->root);
    }
    *tree = (struct tree){0};
}
