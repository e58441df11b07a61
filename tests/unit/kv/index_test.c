/* The index against a dumb twin: an array of all changes in the order in which they came. */
#include "base/check.h"
#include "base/random.h"
#include "kv/index.h"
#include "kv/index_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 400

struct change {
    unsigned key;
    int64_t main;
    struct index_change change;
    bool dropped;
};

struct model {
    struct index *index;
    char keys[KEYS][40];
    struct change *changes;
    size_t count, capacity;
    int64_t main, compacted;
};

static void model_keys(struct model *m, struct random *r)
{
    for (unsigned i = 0; i < KEYS; i++) {
        const char *head = random_below(r, 3) == 0 ? "/registry/pods/default/" : "/r";
        snprintf(m->keys[i], sizeof m->keys[i], "%s%llu/%u", head, (unsigned long long)random_below(r, 100000), i);
    }
}

static const struct change *model_at(const struct model *m, unsigned key, int64_t main)
{
    const struct change *found = NULL;
    for (size_t i = 0; i < m->count; i++) {
        if (m->changes[i].key == key && m->changes[i].main <= main) {
            found = &m->changes[i];
        }
    }
    return found;
}

static bool model_live(const struct change *c)
{
    return c != NULL && index_change_live(&c->change);
}

static struct bytes key_bytes(const struct model *m, unsigned key)
{
    return bytes_str(m->keys[key]);
}

static void model_change(struct model *m, struct random *r)
{
    unsigned k = (unsigned)random_below(r, KEYS);
    struct index_key *key = index_find(m->index, key_bytes(m, k));
    struct index_change change = {.main = ++m->main, .len = 20 + (uint32_t)random_below(r, 200)};
    bool live = key != NULL && index_change_live(&key->newest);
    if (!live || random_below(r, 4) > 0) {
        index_next(key, change.main, &change.created, &change.version);
    }
    index_put(m->index, key, key_bytes(m, k), &change);
    if (m->count == m->capacity) {
        m->capacity = m->capacity == 0 ? 64 : m->capacity * 2;
        m->changes = mem_realloc(m->changes, m->capacity * sizeof m->changes[0]);
    }
    m->changes[m->count++] = (struct change){k, change.main, change, false};
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void expect_counts(struct model *m, struct random *r)
{
    struct bytes a = key_bytes(m, (unsigned)random_below(r, KEYS)), b = key_bytes(m, (unsigned)random_below(r, KEYS));
    struct index_range range = {a, random_below(r, 5) == 0 ? bytes_of("", 1) : b};
    range.end = random_below(r, 7) == 0 ? (struct bytes){0} : range.end;
    int64_t main = m->compacted + (int64_t)random_below(r, (uint64_t)(m->main - m->compacted + 1));
    uint64_t live = 0, bytes = 0, then = 0, limit = random_below(r, 60), limited = 0, limited_bytes = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        if (!index_range_has(&range, key_bytes(m, k))) {
            continue;
        }
        const struct change *now = model_at(m, k, m->main);
        if (model_live(now)) {
            live++;
            bytes += index_change_bytes(&now->change);
            limited_bytes += limited < limit ? index_change_bytes(&now->change) : 0;
            limited += limited < limit;
        }
        then += model_live(model_at(m, k, main));
    }
    struct index_sum sum = index_measure(m->index, &range), first = index_measure_first(m->index, &range, limit);
    assert_int_equal(sum.keys, live);
    assert_int_equal(sum.bytes, bytes);
    assert_int_equal(first.keys, limited);
    assert_int_equal(first.bytes, limited_bytes);
    struct index_count count = {0};
    enum index_counted counted;
    do {
        size_t budget = 1 + random_below(r, 100);
        counted = index_count_at(m->index, &range, main, &count, &budget);
    } while (counted == INDEX_COUNT_MORE);
    if (counted == INDEX_COUNT_DONE) {
        assert_int_equal(count.keys, then);
    }
    struct index_walk walk;
    uint64_t walked = 0;
    index_walk_range(&walk, m->index, &range);
    for (struct index_key *key; (key = index_walk_next(&walk)) != NULL;) {
        walked += index_at(key, main) != NULL;
        if (random_below(r, 10) == 0) {
            index_walk_pause(&walk);
        }
    }
    index_walk_end(&walk);
    assert_int_equal(walked, then);
}

static void drop(void *arg, const struct index_change *change)
{
    struct model *m = arg;
    for (size_t i = 0; i < m->count; i++) {
        if (m->changes[i].main == change->main) {
            assert_false(m->changes[i].dropped);
            m->changes[i].dropped = true;
        }
    }
}

/* The rule as mvcc.md has it, for each change by itself. */
static bool survives(const struct model *m, const struct change *c, int64_t at)
{
    return c->main > at || (model_at(m, c->key, at) == c && (index_change_live(&c->change) || c->main == at));
}

static void compact(struct model *m, struct random *r)
{
    int64_t at = m->compacted + (int64_t)random_below(r, (uint64_t)(m->main - m->compacted + 1));
    struct index_range all = {{0}, bytes_of("", 1)};
    struct index_walk walk;
    index_walk_range(&walk, m->index, &all);
    struct index_key *key = index_walk_next(&walk);
    while (key != NULL) {
        struct index_key *next = index_walk_next(&walk);
        bool gone = false;
        size_t limit = 1 + random_below(r, 5);
        while (!gone && index_compact(m->index, key, at, limit, drop, m, &gone) == limit) {
        }
        key = next;
    }
    m->compacted = at;
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        assert_int_equal(m->changes[i].dropped, !survives(m, &m->changes[i], at));
    }
    for (size_t i = 0; i < m->count; i++) {
        if (!m->changes[i].dropped) {
            m->changes[kept++] = m->changes[i];
        }
    }
    m->count = kept;
    assert_int_equal(index_revisions(m->index), kept);
}

static void reload(struct model *m)
{
    struct index_loader *loader = index_load_begin();
    for (size_t i = 0; i < m->count; i++) {
        struct bytes key = key_bytes(m, m->changes[i].key);
        index_load_add(loader, key, index_load_hash(loader, key), &m->changes[i].change);
    }
    index_free(m->index);
    m->index = index_load_end(loader);
}

static void tree_of(const struct model *m)
{
    tree_verify((const struct tree *)(const void *)m->index);
}

static void run_model(uint64_t seed)
{
    struct random r;
    struct model m = {.main = 1, .compacted = 0, .index = index_new()};
    random_seed(&r, seed);
    model_keys(&m, &r);
    qsort(m.keys, KEYS, sizeof m.keys[0], compare_text);
    for (unsigned i = 0; i < 3000; i++) {
        model_change(&m, &r);
        if (i % 50 == 0) {
            expect_counts(&m, &r);
            tree_of(&m);
        }
        if (random_below(&r, 400) == 0) {
            compact(&m, &r);
            tree_of(&m);
        }
        if (random_below(&r, 500) == 0) {
            reload(&m);
            tree_of(&m);
        }
    }
    index_free(m.index);
    free(m.changes);
}

static void test_index_agrees_with_a_plain_array(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run_model(seed);
    }
}

static void test_tree_of_many_keys_grows_and_shrinks_in_any_order(void **state)
{
    (void)state;
    struct random r;
    random_seed(&r, 7);
    for (unsigned order = 0; order < 3; order++) {
        struct index *index = index_new();
        char text[32];
        for (unsigned i = 0; i < 30000; i++) {
            unsigned n = order == 0 ? i : order == 1 ? 30000 - i : (unsigned)random_below(&r, 1000000);
            snprintf(text, sizeof text, "key-%08u", n);
            struct index_key *key = index_find(index, bytes_str(text));
            struct index_change change = {.main = (int64_t)i + 2, .len = 10};
            index_next(key, change.main, &change.created, &change.version);
            index_put(index, key, bytes_str(text), &change);
        }
        tree_verify((const struct tree *)(const void *)index);
        struct index_range all = {{0}, bytes_of("", 1)};
        struct index_walk walk;
        index_walk_range(&walk, index, &all);
        struct index_key *key;
        while ((key = index_walk_next(&walk)) != NULL) {
            struct index_change dead = {.main = 40000, .len = 5};
            index_put(index, key, (struct bytes){0}, &dead);
        }
        struct model m = {0};
        for (unsigned left = (unsigned)index_keys(index); left > 0; left--) {
            struct index_key *at;
            snprintf(text, sizeof text, "key-%08u", (unsigned)random_below(&r, 40000));
            struct index_range from = {random_below(&r, 2) ? bytes_str(text) : (struct bytes){0}, bytes_of("", 1)};
            index_walk_range(&walk, index, &from);
            bool gone = false;
            if ((at = index_walk_next(&walk)) == NULL) {
                index_walk_range(&walk, index, &all);
                at = index_walk_next(&walk);
            }
            index_compact(index, at, 50000, 100, drop, &m, &gone);
            assert_true(gone);
            if (left % 1000 == 0) {
                tree_verify((const struct tree *)(const void *)index);
            }
        }
        assert_int_equal(index_keys(index), 0);
        index_free(index);
    }
}

static void drop_next(void *arg, const struct index_change *change)
{
    int64_t *last = arg;
    assert_true(change->main > *last); /* oldest first */
    *last = change->main;
}

static void test_a_key_with_a_long_history(void **state)
{
    (void)state;
    enum { CHANGES = 3000 };
    struct index *index = index_new();
    struct index_key *key = NULL;
    struct random r;
    random_seed(&r, 3);
    for (int64_t i = 1; i <= CHANGES; i++) {
        struct index_change change = {.main = i * 2, .len = 10};
        if (i % 7 != 0) {
            index_next(key, change.main, &change.created, &change.version);
        }
        key = index_put(index, key, bytes_str("k"), &change);
    }
    int64_t compacted = 0, last = 0;
    while (compacted < CHANGES * 2 - 100) {
        for (unsigned n = 0; n < 200; n++) {
            int64_t at = compacted + (int64_t)random_below(&r, (uint64_t)(CHANGES * 2 - compacted + 10));
            int64_t i = at / 2 < CHANGES ? at / 2 : CHANGES;
            const struct index_change *change = index_at(key, at);
            if (i == 0 || i % 7 == 0) {
                assert_null(change);
            } else {
                assert_non_null(change);
                assert_int_equal(change->main, i * 2);
                assert_int_equal(change->version, i % 7);
            }
        }
        compacted += 1 + (int64_t)random_below(&r, 700);
        bool gone = false;
        while (index_compact(index, key, compacted, 50, drop_next, &last, &gone) == 50) {
        }
        assert_false(gone);
    }
    index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_agrees_with_a_plain_array),
        cmocka_unit_test(test_a_key_with_a_long_history),
        cmocka_unit_test(test_tree_of_many_keys_grows_and_shrinks_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
