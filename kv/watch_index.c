/* Who watches a key. Single keys are found by hash. Ranges stand in a treap ordered by (key, end) in which each node
 * knows the widest end below it: all ranges that contain a key are found in O(log n + found). */
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

void watch_index_init(struct watch_index *x, uint64_t seed)
{
    keymap_init(&x->singles, seed);
    random_seed(&x->random, seed);
    x->root = NULL;
}

void watch_index_free(struct watch_index *x)
{
    CHECK(x->root == NULL && x->singles.count == 0, "a watch index is freed with watchers in it");
    keymap_free(&x->singles);
}

static struct watch_target *target_new(struct bytes key, struct bytes end, bool unbounded)
{
    struct watch_target *t = mem_zalloc(sizeof *t + key.len + end.len);
    memcpy(t->storage, key.data, key.len);
    if (end.len > 0) {
        memcpy(t->storage + key.len, end.data, end.len);
    }
    t->key = bytes_of(t->storage, key.len);
    t->end = bytes_of(t->storage + key.len, end.len);
    t->unbounded = unbounded;
    t->single = !unbounded && end.len == 0;
    list_init(&t->groups);
    return t;
}

/* Does a end before b? Unbounded ends after all. */
static int compare_ends(const struct watch_target *a, const struct watch_target *b)
{
    if (a->unbounded || b->unbounded) {
        return (int)a->unbounded - (int)b->unbounded;
    }
    return bytes_compare(a->end, b->end);
}

static int compare_ranges(const struct watch_target *a, const struct watch_target *b)
{
    int c = bytes_compare(a->key, b->key);
    return c != 0 ? c : compare_ends(a, b);
}

static void widen(struct watch_target *t)
{
    t->widest = t;
    if (t->left != NULL && compare_ends(t->left->widest, t->widest) > 0) {
        t->widest = t->left->widest;
    }
    if (t->right != NULL && compare_ends(t->right->widest, t->widest) > 0) {
        t->widest = t->right->widest;
    }
}

static struct watch_target *rotate_right(struct watch_target *t)
{
    struct watch_target *up = t->left;
    t->left = up->right;
    up->right = t;
    widen(t);
    widen(up);
    return up;
}

static struct watch_target *rotate_left(struct watch_target *t)
{
    struct watch_target *up = t->right;
    t->right = up->left;
    up->left = t;
    widen(t);
    widen(up);
    return up;
}

static struct watch_target *insert(struct watch_target *at, struct watch_target *t)
{
    if (at == NULL) {
        widen(t);
        return t;
    }
    if (compare_ranges(t, at) < 0) {
        at->left = insert(at->left, t);
        if (at->left->priority > at->priority) {
            return rotate_right(at);
        }
    } else {
        at->right = insert(at->right, t);
        if (at->right->priority > at->priority) {
            return rotate_left(at);
        }
    }
    widen(at);
    return at;
}

static struct watch_target *join(struct watch_target *left, struct watch_target *right)
{
    if (left == NULL || right == NULL) {
        return left == NULL ? right : left;
    }
    if (left->priority > right->priority) {
        left->right = join(left->right, right);
        widen(left);
        return left;
    }
    right->left = join(left, right->left);
    widen(right);
    return right;
}

static struct watch_target *erase(struct watch_target *at, struct watch_target *t)
{
    CHECK(at != NULL, "a watched range is missing from the tree");
    if (at == t) {
        return join(t->left, t->right);
    }
    if (compare_ranges(t, at) < 0) {
        at->left = erase(at->left, t);
    } else {
        at->right = erase(at->right, t);
    }
    widen(at);
    return at;
}

static struct watch_target *find_range(struct watch_target *at, const struct watch_target *like)
{
    while (at != NULL) {
        int c = compare_ranges(like, at);
        if (c == 0) {
            break;
        }
        at = c < 0 ? at->left : at->right;
    }
    return at;
}

struct watch_target *watch_index_target(struct watch_index *x, struct bytes key, struct bytes end, bool unbounded)
{
    if (!unbounded && end.len == 0) {
        struct keymap_node *node = keymap_find(&x->singles, key);
        if (node != NULL) {
            return container_of(node, struct watch_target, by_key);
        }
        struct watch_target *t = target_new(key, end, false);
        keymap_insert(&x->singles, &t->by_key, t->key);
        return t;
    }
    struct watch_target like = {.key = key, .end = end, .unbounded = unbounded};
    struct watch_target *t = find_range(x->root, &like);
    if (t == NULL) {
        t = target_new(key, end, unbounded);
        t->priority = random_next(&x->random);
        x->root = insert(x->root, t);
    }
    return t;
}

static void push(struct watch_targets *out, struct watch_target *t)
{
    if (out->count == out->capacity) {
        out->capacity = out->capacity == 0 ? 16 : out->capacity * 2;
        out->at = mem_realloc(out->at, out->capacity * sizeof(struct watch_target *));
    }
    out->at[out->count++] = t;
}

static bool ends_after(const struct watch_target *t, struct bytes key)
{
    return t->unbounded || bytes_compare(t->end, key) > 0;
}

static void stab(struct watch_target *at, struct bytes key, struct watch_targets *out)
{
    while (at != NULL && ends_after(at->widest, key)) {
        stab(at->left, key, out);
        if (bytes_compare(at->key, key) > 0) {
            return; /* all on the right begin behind the key */
        }
        if (ends_after(at, key)) {
            push(out, at);
        }
        at = at->right;
    }
}

void watch_index_match(const struct watch_index *x, struct bytes key, struct watch_targets *out)
{
    struct keymap_node *node = keymap_find(&x->singles, key);
    if (node != NULL) {
        push(out, container_of(node, struct watch_target, by_key));
    }
    stab(x->root, key, out);
}

void watch_index_release(struct watch_index *x, struct watch_target *t)
{
    if (t->pins > 0) {
        return;
    }
    if (t->single) {
        keymap_remove(&x->singles, &t->by_key);
    } else {
        x->root = erase(x->root, t);
    }
    free(t);
}
