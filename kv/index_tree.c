#include "kv/index_tree_node.h"

#include <stdlib.h>

/* --- heads and search --- */

uint64_t tree_head(struct bytes key, unsigned skip)
{
    uint64_t v = 0;
    if (key.len >= skip + 8) {
        return get_be64(key.data + skip);
    }
    for (size_t i = skip; i < skip + 8; i++) {
        v = v << 8 | (i < key.len ? key.data[i] : 0);
    }
    return v;
}

static unsigned common_length(struct bytes a, struct bytes b)
{
    unsigned n = 0;
    while (n < TREE_PREFIX_MAX && n < a.len && n < b.len && a.data[n] == b.data[n]) {
        n++;
    }
    return n;
}

/* Works out the prefix and all heads anew. */
void tree_rehead(struct tree_node *node)
{
    unsigned first = node->inner;
    node->prefix_len = 0;
    if (node->count <= first) {
        return;
    }
    struct bytes low = tree_node_key(node, first);
    node->prefix_len = (uint8_t)common_length(low, tree_node_key(node, node->count - 1U));
    memcpy(node->prefix, low.data, node->prefix_len);
    for (unsigned i = first; i < node->count; i++) {
        node->heads[i] = tree_head(tree_node_key(node, i), node->prefix_len);
    }
}

/* The i-th key is new in this node: its head, or all of them if it does not share the prefix. */
static void node_head_added(struct tree_node *node, unsigned i)
{
    struct bytes key = tree_node_key(node, i);
    if (node->count == node->inner + 1 || key.len < node->prefix_len ||
        memcmp(key.data, node->prefix, node->prefix_len) != 0) {
        tree_rehead(node);
    } else {
        node->heads[i] = tree_head(key, node->prefix_len);
    }
}

/* How many of the node's keys are < key (<= key with `equal`), the missing separator of an inner node included. */
unsigned tree_rank(const struct tree_node *node, struct bytes key, bool equal)
{
    unsigned low = node->inner, high = node->count;
    size_t n = key.len < node->prefix_len ? key.len : node->prefix_len;
    int c = n == 0 ? 0 : memcmp(key.data, node->prefix, n);
    if (c < 0 || (c == 0 && key.len < node->prefix_len)) {
        return low;
    }
    if (c > 0) {
        return high;
    }
    uint64_t head = tree_head(key, node->prefix_len);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        uint64_t other = node->heads[middle];
        bool less = other < head;
        if (other == head) {
            c = bytes_compare(tree_node_key(node, middle), key);
            less = c < 0 || (equal && c == 0);
        }
        if (less) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

unsigned tree_child(const struct tree_node *node, struct bytes key)
{
    return tree_rank(node, key, true) - 1;
}

/* --- reading --- */

/* A search in a node looks at three or four of its cache lines one after the other: better to have all of them come at
 * once. */
static void node_prefetch(const struct tree_node *node)
{
    for (size_t at = 0; at < sizeof *node; at += 64) {
        __builtin_prefetch((const uint8_t *)node + at);
    }
}

static struct tree_leaf *leaf_for(const struct tree *tree, struct bytes key)
{
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        node = tree_as_inner(node)->children[tree_child(node, key)];
        node_prefetch(node);
    }
    return tree_as_leaf(node);
}

struct tree_place tree_seek(const struct tree *tree, struct bytes key, bool after)
{
    struct tree_leaf *leaf = leaf_for(tree, key);
    if (leaf == NULL) {
        return (struct tree_place){0};
    }
    unsigned slot = tree_rank(&leaf->node, key, after);
    if (slot == leaf->node.count) {
        return (struct tree_place){.leaf = leaf->next, .slot = 0};
    }
    return (struct tree_place){.leaf = leaf, .slot = slot};
}

struct index_key *tree_find(const struct tree *tree, struct bytes key)
{
    struct tree_leaf *leaf = leaf_for(tree, key);
    if (leaf == NULL) {
        return NULL;
    }
    unsigned slot = tree_rank(&leaf->node, key, false);
    if (slot < leaf->node.count && bytes_equal(index_key_bytes(leaf->keys[slot]), key)) {
        return leaf->keys[slot];
    }
    return NULL;
}

void tree_sum_add(struct index_sum *sum, struct index_sum more)
{
    sum->keys += more.keys;
    sum->bytes += more.bytes;
}

struct index_sum tree_node_sum(const struct tree_node *node)
{
    struct index_sum sum = {0};
    for (unsigned i = 0; i < node->count; i++) {
        tree_sum_add(&sum, node->inner ? tree_as_inner(node)->sums[i] : index_key_sum(tree_as_leaf(node)->keys[i]));
    }
    return sum;
}

struct index_sum tree_sum_all(const struct tree *tree)
{
    return tree->root == NULL ? (struct index_sum){0} : tree_node_sum(tree->root);
}

struct index_sum tree_sum_before(const struct tree *tree, struct bytes key)
{
    struct index_sum sum = {0};
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        const struct tree_inner *inner = tree_as_inner(node);
        unsigned at = tree_child(node, key);
        for (unsigned i = 0; i < at; i++) {
            tree_sum_add(&sum, inner->sums[i]);
        }
        node = inner->children[at];
    }
    if (node != NULL) {
        unsigned at = tree_rank(node, key, false);
        for (unsigned i = 0; i < at; i++) {
            tree_sum_add(&sum, index_key_sum(tree_as_leaf(node)->keys[i]));
        }
    }
    return sum;
}

struct index_sum tree_sum_first(const struct tree *tree, uint64_t keys)
{
    struct index_sum sum = {0};
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        const struct tree_inner *inner = tree_as_inner(node);
        unsigned i = 0;
        while (i + 1U < node->count && sum.keys + inner->sums[i].keys <= keys) {
            tree_sum_add(&sum, inner->sums[i++]);
        }
        node = inner->children[i];
    }
    for (unsigned i = 0; node != NULL && i < node->count && sum.keys < keys; i++) {
        tree_sum_add(&sum, index_key_sum(tree_as_leaf(node)->keys[i]));
    }
    return sum;
}

void tree_each(const struct tree *tree, void (*visit)(struct index_key *key))
{
    for (struct tree_leaf *leaf = tree->first; leaf != NULL; leaf = leaf->next) {
        for (unsigned i = 0; i < leaf->node.count; i++) {
            visit(leaf->keys[i]);
        }
    }
}

/* --- changing --- */

struct tree_leaf *tree_leaf_new(void)
{
    struct tree_leaf *leaf = mem_alloc(sizeof *leaf);
    leaf->node.count = 0;
    leaf->node.inner = 0;
    leaf->node.prefix_len = 0;
    leaf->prev = leaf->next = NULL;
    return leaf;
}

struct tree_inner *tree_inner_new(void)
{
    struct tree_inner *inner = mem_alloc(sizeof *inner);
    inner->node.count = 0;
    inner->node.inner = 1;
    inner->node.prefix_len = 0;
    return inner;
}

/* The shortest string that is > low and <= high. */
struct tree_separator *tree_separator_between(struct bytes low, struct bytes high)
{
    size_t n = 0;
    while (n < low.len && n < high.len && low.data[n] == high.data[n]) {
        n++;
    }
    n = n < high.len ? n + 1 : n;
    struct tree_separator *s = mem_alloc(sizeof *s + n);
    s->len = (uint32_t)n;
    memcpy(s->data, high.data, n);
    return s;
}

void tree_adjust(struct tree *tree, const struct index_key *key, int64_t keys, int64_t bytes)
{
    struct tree_node *node = tree->root;
    while (node->inner) {
        unsigned at = tree_child(node, index_key_bytes(key));
        struct index_sum *sum = &tree_as_inner(node)->sums[at];
        sum->keys += (uint64_t)keys;
        sum->bytes += (uint64_t)bytes;
        node = tree_as_inner(node)->children[at];
    }
}

static void inner_insert(struct tree_inner *inner, unsigned at, struct tree_node *child,
                         struct tree_separator *separator)
{
    unsigned tail = inner->node.count - at;
    memmove(&inner->children[at + 1], &inner->children[at], tail * sizeof inner->children[0]);
    memmove(&inner->sums[at + 1], &inner->sums[at], tail * sizeof inner->sums[0]);
    memmove(&inner->separators[at + 1], &inner->separators[at], tail * sizeof inner->separators[0]);
    memmove(&inner->node.heads[at + 1], &inner->node.heads[at], tail * sizeof inner->node.heads[0]);
    inner->children[at] = child;
    inner->separators[at] = separator;
    inner->node.count++;
    if (separator != NULL) {
        node_head_added(&inner->node, at);
    }
}

/* Moves the keys from `at` on into a new right sibling. */
static struct tree_leaf *leaf_split(struct tree_leaf *leaf, unsigned at)
{
    struct tree_leaf *right = tree_leaf_new();
    right->node.count = (uint16_t)(leaf->node.count - at);
    memcpy(right->keys, &leaf->keys[at], right->node.count * sizeof leaf->keys[0]);
    leaf->node.count = (uint16_t)at;
    right->next = leaf->next;
    right->prev = leaf;
    if (leaf->next != NULL) {
        leaf->next->prev = right;
    }
    leaf->next = right;
    tree_rehead(&leaf->node);
    tree_rehead(&right->node);
    return right;
}

/* The same for children; *separator gets the one that stood between. */
static struct tree_inner *inner_split(struct tree_inner *inner, unsigned at, struct tree_separator **separator)
{
    struct tree_inner *right = tree_inner_new();
    unsigned count = inner->node.count - at;
    right->node.count = (uint16_t)count;
    memcpy(right->children, &inner->children[at], count * sizeof inner->children[0]);
    memcpy(right->sums, &inner->sums[at], count * sizeof inner->sums[0]);
    memcpy(right->separators, &inner->separators[at], count * sizeof inner->separators[0]);
    *separator = right->separators[0];
    right->separators[0] = NULL;
    inner->node.count = (uint16_t)at;
    tree_rehead(&inner->node);
    tree_rehead(&right->node);
    return right;
}

/* Splits the full child at `at`. `last` = the key to come goes behind everything: leave the left one full, so that keys
 * that come in order fill the tree. */
static void child_split(struct tree_inner *parent, unsigned at, bool last)
{
    struct tree_node *child = parent->children[at];
    struct tree_node *right;
    struct tree_separator *separator;
    unsigned cut = last ? child->count - 2U : child->count / 2U;
    if (child->inner) {
        right = &inner_split(tree_as_inner(child), cut, &separator)->node;
    } else {
        right = &leaf_split(tree_as_leaf(child), cut)->node;
        separator = tree_separator_between(tree_node_key(child, child->count - 1U), tree_node_key(right, 0));
    }
    inner_insert(parent, at + 1, right, separator);
    parent->sums[at] = tree_node_sum(child);
    parent->sums[at + 1] = tree_node_sum(right);
}

static void leaf_insert(struct tree_leaf *leaf, struct index_key *key)
{
    unsigned at = tree_rank(&leaf->node, index_key_bytes(key), false);
    unsigned tail = leaf->node.count - at;
    memmove(&leaf->keys[at + 1], &leaf->keys[at], tail * sizeof leaf->keys[0]);
    memmove(&leaf->node.heads[at + 1], &leaf->node.heads[at], tail * sizeof leaf->node.heads[0]);
    leaf->keys[at] = key;
    leaf->node.count++;
    node_head_added(&leaf->node, at);
}

static void root_grow(struct tree *tree)
{
    struct tree_inner *root = tree_inner_new();
    inner_insert(root, 0, tree->root, NULL);
    root->sums[0] = tree_node_sum(tree->root);
    tree->root = &root->node;
}

void tree_insert(struct tree *tree, struct index_key *key)
{
    struct bytes bytes = index_key_bytes(key);
    struct index_sum sum = index_key_sum(key);
    tree->shape++;
    tree->keys++;
    if (tree->root == NULL) {
        tree->first = tree_leaf_new();
        tree->root = &tree->first->node;
    }
    if (tree->root->count == TREE_FANOUT) {
        root_grow(tree);
    }
    bool last = true; /* so far the way went along the right edge */
    struct tree_node *node = tree->root;
    while (node->inner) {
        struct tree_inner *inner = tree_as_inner(node);
        unsigned at = tree_child(node, bytes);
        last = last && at + 1U == node->count;
        if (inner->children[at]->count == TREE_FANOUT) {
            child_split(inner, at, last);
            at = tree_child(node, bytes);
        }
        tree_sum_add(&inner->sums[at], sum);
        node = inner->children[at];
    }
    leaf_insert(tree_as_leaf(node), key);
}
