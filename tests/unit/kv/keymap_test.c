#include "base/random.h"
#include "kv/keymap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OBJECTS = 5000 };

struct object {
    struct keymap_node node;
    uint8_t key[12];
    size_t len;
    bool in;
};

static void name(struct object *o, size_t i)
{
    o->len = 1 + i % sizeof o->key;
    memset(o->key, (int)(i % 7), sizeof o->key);
    memcpy(o->key, &i, o->len < sizeof i ? o->len : sizeof i);
}

static void test_finds_what_is_in_and_nothing_else(void **state)
{
    (void)state;
    static struct object objects[OBJECTS];
    struct keymap map;
    struct random r;
    keymap_init(&map, 5);
    random_seed(&r, 5);
    for (size_t i = 0; i < OBJECTS; i++) {
        name(&objects[i], i);
    }
    for (int step = 0; step < 200000; step++) {
        /* grows in the first half, shrinks in the second */
        struct object *o = &objects[random_below(&r, OBJECTS)];
        struct bytes key = bytes_of(o->key, o->len);
        struct keymap_node *found = keymap_find(&map, key);
        bool insert = random_below(&r, 100) < (step < 100000 ? 80 : 20);
        if (found == NULL && insert) {
            assert_false(o->in);
            keymap_insert(&map, &o->node, key);
            o->in = true;
        } else if (found != NULL && !insert) {
            /* another object may have the same key */
            struct object *there = (struct object *)(void *)found;
            assert_true(there->in && bytes_equal(bytes_of(there->key, there->len), key));
            keymap_remove(&map, found);
            there->in = false;
        }
    }
    size_t in = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        in += objects[i].in;
        if (objects[i].in) {
            assert_ptr_equal(keymap_find(&map, bytes_of(objects[i].key, objects[i].len)), &objects[i].node);
        }
    }
    assert_int_equal(map.count, in);
    keymap_free(&map);
}

static void test_an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct keymap map;
    keymap_init(&map, 0);
    assert_null(keymap_find(&map, bytes_str("a")));
    assert_null(keymap_find(&map, bytes_str("")));
    keymap_free(&map);
}

static void test_keys_that_differ_only_in_length_are_different(void **state)
{
    (void)state;
    struct keymap map;
    struct object a = {.key = {0, 0, 0}, .len = 2}, b = {.key = {0, 0, 0}, .len = 3};
    keymap_init(&map, 0);
    keymap_insert(&map, &a.node, bytes_of(a.key, a.len));
    keymap_insert(&map, &b.node, bytes_of(b.key, b.len));
    assert_ptr_equal(keymap_find(&map, bytes_of(a.key, 2)), &a.node);
    assert_ptr_equal(keymap_find(&map, bytes_of(b.key, 3)), &b.node);
    assert_null(keymap_find(&map, bytes_of(b.key, 1)));
    keymap_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_what_is_in_and_nothing_else),
        cmocka_unit_test(test_an_empty_map_finds_nothing),
        cmocka_unit_test(test_keys_that_differ_only_in_length_are_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
