#include "kv/index_tree.h"
#include "base/check.h"

#include <stdlib.h>

#define MERGE_BELOW (TREE_FANOUT / 4)
#define MERGE_TO (TREE_FANOUT * 3 / 4)
#define DEPTH_MAX 16

struct separator {
    uint32_t len;
    uint8_t data[];
};

/* child[i] holds the keys in [separators[i], separators[i + 1]); separators[0] does not exist and counts as "before
 * everything", so heads[0] is never looked at. */
struct tree_inner {
    struct tree_node node;
    struct tree_node *children[TREE_FANOUT];
    struct index_sum sums[TREE_FANOUT];
    struct separator *separators[TREE_FANOUT];
};

static struct tree_leaf *as_leaf(const struct tree_node *node)
{
    return (struct tree_leaf *)node;
}

static struct tree_inner *as_inner(const struct tree_node *node)
{
    return (struct tree_inner *)node;
}

static struct bytes node_key(const struct tree_node *node, unsigned i)
{
    if (node->inner) {
        const struct separator *s = as_inner(node)->separators[i];
        return bytes_of(s->data, s->len);
    }
    return index_key_bytes(as_leaf(node)->keys[i]);
}

/* ------------------------------------------------------------------------------------------------- heads and search
 * --- */

static uint64_t head_of(struct bytes key, unsigned skip)
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
static void node_rehead(struct tree_node *node)
{
    unsigned first = node->inner;
    node->prefix_len = 0;
    if (node->count <= first) {
        return;
    }
    struct bytes low = node_key(node, first);
    node->prefix_len = (uint8_t)common_length(low, node_key(node, node->count - 1U));
    memcpy(node->prefix, low.data, node->prefix_len);
    for (unsigned i = first; i < node->count; i++) {
        node->heads[i] = head_of(node_key(node, i), node->prefix_len);
    }
}

/* The i-th key is new in this node: its head, or all of them if it does not share the prefix. */
static void node_head_added(struct tree_node *node, unsigned i)
{
    struct bytes key = node_key(node, i);
    if (node->count == node->inner + 1 || key.len < node->prefix_len ||
        memcmp(key.data, node->prefix, node->prefix_len) != 0) {
        node_rehead(node);
    } else {
        node->heads[i] = head_of(key, node->prefix_len);
    }
}

/* How many of the node's keys are < key (<= key with `equal`), the missing separator of an inner node included. */
static unsigned node_rank(const struct tree_node *node, struct bytes key, bool equal)
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
    uint64_t head = head_of(key, node->prefix_len);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        uint64_t other = node->heads[middle];
        bool less = other < head;
        if (other == head) {
            c = bytes_compare(node_key(node, middle), key);
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

static unsigned child_of(const struct tree_node *node, struct bytes key)
{
    return node_rank(node, key, true) - 1;
}

/* ---------------------------------------------------------------------------------------------------------- reading
 * --- */

static struct tree_leaf *leaf_for(const struct tree *tree, struct bytes key)
{
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        node = as_inner(node)->children[child_of(node, key)];
    }
    return as_leaf(node);
}

struct tree_place tree_seek(const struct tree *tree, struct bytes key, bool after)
{
    struct tree_leaf *leaf = leaf_for(tree, key);
    if (leaf == NULL) {
        return (struct tree_place){0};
    }
    unsigned slot = node_rank(&leaf->node, key, after);
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
    unsigned slot = node_rank(&leaf->node, key, false);
    if (slot < leaf->node.count && bytes_equal(index_key_bytes(leaf->keys[slot]), key)) {
        return leaf->keys[slot];
    }
    return NULL;
}

static void sum_add(struct index_sum *sum, struct index_sum more)
{
    sum->keys += more.keys;
    sum->bytes += more.bytes;
}

static struct index_sum node_sum(const struct tree_node *node)
{
    struct index_sum sum = {0};
    for (unsigned i = 0; i < node->count; i++) {
        sum_add(&sum, node->inner ? as_inner(node)->sums[i] : index_key_sum(as_leaf(node)->keys[i]));
    }
    return sum;
}

struct index_sum tree_sum_all(const struct tree *tree)
{
    return tree->root == NULL ? (struct index_sum){0} : node_sum(tree->root);
}

struct index_sum tree_sum_before(const struct tree *tree, struct bytes key)
{
    struct index_sum sum = {0};
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        const struct tree_inner *inner = as_inner(node);
        unsigned at = child_of(node, key);
        for (unsigned i = 0; i < at; i++) {
            sum_add(&sum, inner->sums[i]);
        }
        node = inner->children[at];
    }
    if (node != NULL) {
        unsigned at = node_rank(node, key, false);
        for (unsigned i = 0; i < at; i++) {
            sum_add(&sum, index_key_sum(as_leaf(node)->keys[i]));
        }
    }
    return sum;
}

struct index_sum tree_sum_first(const struct tree *tree, uint64_t keys)
{
    struct index_sum sum = {0};
    struct tree_node *node = tree->root;
    while (node != NULL && node->inner) {
        const struct tree_inner *inner = as_inner(node);
        unsigned i = 0;
        while (i + 1U < node->count && sum.keys + inner->sums[i].keys <= keys) {
            sum_add(&sum, inner->sums[i++]);
        }
        node = inner->children[i];
    }
    for (unsigned i = 0; node != NULL && i < node->count && sum.keys < keys; i++) {
        sum_add(&sum, index_key_sum(as_leaf(node)->keys[i]));
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

/* --------------------------------------------------------------------------------------------------------- changing
 * --- */

static struct tree_leaf *leaf_new(void)
{
    struct tree_leaf *leaf = mem_alloc(sizeof *leaf);
    leaf->node.count = 0;
    leaf->node.inner = 0;
    leaf->node.prefix_len = 0;
    leaf->prev = leaf->next = NULL;
    return leaf;
}

static struct tree_inner *inner_new(void)
{
    struct tree_inner *inner = mem_alloc(sizeof *inner);
    inner->node.count = 0;
    inner->node.inner = 1;
    inner->node.prefix_len = 0;
    return inner;
}

/* The shortest string that is > low and <= high. */
static struct separator *separator_between(struct bytes low, struct bytes high)
{
    size_t n = 0;
    while (n < low.len && n < high.len && low.data[n] == high.data[n]) {
        n++;
    }
    n = n < high.len ? n + 1 : n;
    struct separator *s = mem_alloc(sizeof *s + n);
    s->len = (uint32_t)n;
    memcpy(s->data, high.data, n);
    return s;
}

void tree_adjust(struct tree *tree, const struct index_key *key, int64_t keys, int64_t bytes)
{
    struct tree_node *node = tree->root;
    while (node->inner) {
        unsigned at = child_of(node, index_key_bytes(key));
        struct index_sum *sum = &as_inner(node)->sums[at];
        sum->keys += (uint64_t)keys;
        sum->bytes += (uint64_t)bytes;
        node = as_inner(node)->children[at];
    }
}

static void inner_insert(struct tree_inner *inner, unsigned at, struct tree_node *child, struct separator *separator)
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

/* Moves the keys from `at` on into a new right sibling. */
static struct tree_leaf *leaf_split(struct tree_leaf *leaf, unsigned at)
{
    struct tree_leaf *right = leaf_new();
    right->node.count = (uint16_t)(leaf->node.count - at);
    memcpy(right->keys, &leaf->keys[at], right->node.count * sizeof leaf->keys[0]);
    leaf->node.count = (uint16_t)at;
    right->next = leaf->next;
    right->prev = leaf;
    if (leaf->next != NULL) {
        leaf->next->prev = right;
    }
    leaf->next = right;
    node_rehead(&leaf->node);
    node_rehead(&right->node);
    return right;
}

/* The same for children; *separator gets the one that stood between. */
static struct tree_inner *inner_split(struct tree_inner *inner, unsigned at, struct separator **separator)
{
    struct tree_inner *right = inner_new();
    unsigned count = inner->node.count - at;
    right->node.count = (uint16_t)count;
    memcpy(right->children, &inner->children[at], count * sizeof inner->children[0]);
    memcpy(right->sums, &inner->sums[at], count * sizeof inner->sums[0]);
    memcpy(right->separators, &inner->separators[at], count * sizeof inner->separators[0]);
    *separator = right->separators[0];
    right->separators[0] = NULL;
    inner->node.count = (uint16_t)at;
    node_rehead(&inner->node);
    node_rehead(&right->node);
    return right;
}

/* Splits the full child at `at`. `last` = the key to come goes behind everything: leave the left one full, so that keys
 * that come in order fill the tree. */
static void child_split(struct tree_inner *parent, unsigned at, bool last)
{
    struct tree_node *child = parent->children[at];
    struct tree_node *right;
    struct separator *separator;
    unsigned cut = last ? child->count - 2U : child->count / 2U;
    if (child->inner) {
        right = &inner_split(as_inner(child), cut, &separator)->node;
    } else {
        right = &leaf_split(as_leaf(child), cut)->node;
        separator = separator_between(node_key(child, child->count - 1U), node_key(right, 0));
    }
    inner_insert(parent, at + 1, right, separator);
    parent->sums[at] = node_sum(child);
    parent->sums[at + 1] = node_sum(right);
}

static void leaf_insert(struct tree_leaf *leaf, struct index_key *key)
{
    unsigned at = node_rank(&leaf->node, index_key_bytes(key), false);
    unsigned tail = leaf->node.count - at;
    memmove(&leaf->keys[at + 1], &leaf->keys[at], tail * sizeof leaf->keys[0]);
    memmove(&leaf->node.heads[at + 1], &leaf->node.heads[at], tail * sizeof leaf->node.heads[0]);
    leaf->keys[at] = key;
    leaf->node.count++;
    node_head_added(&leaf->node, at);
}

static void root_grow(struct tree *tree)
{
    struct tree_inner *root = inner_new();
    inner_insert(root, 0, tree->root, NULL);
    root->sums[0] = node_sum(tree->root);
    tree->root = &root->node;
}

void tree_insert(struct tree *tree, struct index_key *key)
{
    struct bytes bytes = index_key_bytes(key);
    struct index_sum sum = index_key_sum(key);
    tree->shape++;
    tree->keys++;
    if (tree->root == NULL) {
        tree->first = leaf_new();
        tree->root = &tree->first->node;
    }
    if (tree->root->count == TREE_FANOUT) {
        root_grow(tree);
    }
    bool last = true; /* so far the way went along the right edge */
    struct tree_node *node = tree->root;
    while (node->inner) {
        struct tree_inner *inner = as_inner(node);
        unsigned at = child_of(node, bytes);
        last = last && at + 1U == node->count;
        if (inner->children[at]->count == TREE_FANOUT) {
            child_split(inner, at, last);
            at = child_of(node, bytes);
        }
        sum_add(&inner->sums[at], sum);
        node = inner->children[at];
    }
    leaf_insert(as_leaf(node), key);
}

/* ---------------------------------------------------------------------------------------------------------- removing
 * --- */

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

static void inner_merge(struct tree_inner *left, struct tree_inner *right, const struct separator *between)
{
    unsigned at = left->node.count, count = right->node.count;
    memcpy(&left->children[at], right->children, count * sizeof left->children[0]);
    memcpy(&left->sums[at], right->sums, count * sizeof left->sums[0]);
    memcpy(&left->separators[at], right->separators, count * sizeof left->separators[0]);
    struct separator *copy = mem_alloc(sizeof *copy + between->len);
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
        inner_merge(as_inner(left), as_inner(right), parent->separators[at + 1]);
    } else {
        leaf_merge(tree, as_leaf(left), as_leaf(right));
    }
    sum_add(&parent->sums[at], parent->sums[at + 1]);
    inner_erase(parent, at + 1);
    node_rehead(left);
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
            leaf_unlink(tree, as_leaf(child));
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
        way[depth] = as_inner(node);
        at[depth] = child_of(node, bytes);
        node = way[depth]->children[at[depth]];
        depth++;
    }
    struct tree_leaf *leaf = as_leaf(node);
    unsigned slot = node_rank(node, bytes, false);
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
        struct tree_node *only = as_inner(tree->root)->children[0];
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
        free(i == 0 ? NULL : as_inner(node)->separators[i]);
        node_free(as_inner(node)->children[i]);
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

/* ---------------------------------------------------------------------------------------------------------- building
 * --- */

#define BUILD_FILL (TREE_FANOUT * 9 / 10)

struct built {
    struct tree_node *node;
    struct separator *separator; /* lower bound; NULL for the first */
};

static size_t build_leaves(struct tree *tree, struct index_key **keys, size_t count, struct built *out)
{
    size_t n = 0;
    struct tree_leaf *last = NULL;
    for (size_t i = 0; i < count; i += last->node.count) {
        size_t take = count - i < BUILD_FILL ? count - i : BUILD_FILL;
        struct tree_leaf *leaf = leaf_new();
        memcpy(leaf->keys, &keys[i], take * sizeof keys[0]);
        leaf->node.count = (uint16_t)take;
        node_rehead(&leaf->node);
        leaf->prev = last;
        *(last == NULL ? &tree->first : &last->next) = leaf;
        last = leaf;
        out[n++] = (struct built){
            &leaf->node, i == 0 ? NULL : separator_between(index_key_bytes(keys[i - 1]), index_key_bytes(keys[i]))};
    }
    return n;
}

/* One level up, in place. */
static size_t build_level(struct built *level, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count;) {
        struct tree_inner *inner = inner_new();
        size_t take = count - i < BUILD_FILL ? count - i : BUILD_FILL;
        struct separator *separator = level[i].separator;
        for (size_t j = 0; j < take; j++) {
            inner->children[j] = level[i + j].node;
            inner->sums[j] = node_sum(level[i + j].node);
            inner->separators[j] = j == 0 ? NULL : level[i + j].separator;
        }
        inner->node.count = (uint16_t)take;
        node_rehead(&inner->node);
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

/* ------------------------------------------------------------------------------------------------------------ tests
 * --- */

static struct index_sum verify_node(const struct tree_node *node, struct bytes low, bool has_high, struct bytes high)
{
    struct index_sum sum = {0};
    CHECK(node->count > 0 && node->count <= TREE_FANOUT);
    for (unsigned i = node->inner; i < node->count; i++) {
        struct bytes key = node_key(node, i);
        CHECK(bytes_compare(low, key) <= 0 && (!has_high || bytes_compare(key, high) < 0));
        CHECK(i == node->inner || bytes_compare(node_key(node, i - 1), key) < 0);
        CHECK(node->heads[i] == head_of(key, node->prefix_len) && key.len >= node->prefix_len &&
              memcmp(key.data, node->prefix, node->prefix_len) == 0);
    }
    for (unsigned i = 0; i < node->count; i++) {
        struct index_sum part = node->inner ? as_inner(node)->sums[i] : index_key_sum(as_leaf(node)->keys[i]);
        if (node->inner) {
            bool last = i + 1U == node->count;
            struct index_sum real = verify_node(as_inner(node)->children[i], i == 0 ? low : node_key(node, i),
                                                last ? has_high : true, last ? high : node_key(node, i + 1));
            CHECK(real.keys == part.keys && real.bytes == part.bytes);
        }
        sum_add(&sum, part);
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
