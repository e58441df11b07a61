#include "base/heap.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

enum { NODES = 200 };

/* The dumb twin: the least key by looking at all. */
static uint64_t least_of(const struct heap_node *nodes)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].slot != 0 && nodes[i].key < least) {
            least = nodes[i].key;
        }
    }
    return least;
}

static void test_the_minimum_is_right_after_any_mix_of_changes(void **state)
{
    (void)state;
    struct random r;
    random_seed(&r, 7);
    struct heap_node nodes[NODES] = {0};
    struct heap h = {0};
    for (int step = 0; step < 20000; step++) {
        struct heap_node *node = &nodes[random_below(&r, NODES)];
        if (random_below(&r, 3) == 0) {
            heap_remove(&h, node);
            assert_int_equal(node->slot, 0);
        } else {
            heap_update(&h, node, random_below(&r, 1000));
        }
        if (h.count == 0) {
            assert_null(heap_min(&h));
        } else {
            assert_true(heap_min(&h)->key == least_of(nodes));
        }
    }
    heap_free(&h);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(nodes[i].slot, 0);
    }
}

static void test_nodes_come_out_in_order(void **state)
{
    (void)state;
    struct heap_node nodes[NODES] = {0};
    struct heap h = {0};
    for (uint64_t i = 0; i < NODES; i++) {
        heap_insert(&h, &nodes[i], i * 7919 % NODES);
    }
    for (uint64_t i = 0; i < NODES; i++) {
        struct heap_node *least = heap_min(&h);
        assert_true(least->key == i);
        heap_remove(&h, least);
    }
    assert_null(heap_min(&h));
    heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_minimum_is_right_after_any_mix_of_changes),
        cmocka_unit_test(test_nodes_come_out_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
