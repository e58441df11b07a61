#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

struct item {
    int number;
    struct list node;
};

static void check_order(struct list *head, const int *expected)
{
    list_each(node, head)
    {
        assert_int_equal(container_of(node, struct item, node)->number, *expected++);
    }
    assert_int_equal(*expected, 0);
}

static void test_pushing_splicing_and_removing_keep_the_order(void **state)
{
    (void)state;
    struct item items[5] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}, {.number = 5}};
    struct list a, b;
    list_init(&a);
    list_init(&b);
    assert_true(list_empty(&a));
    assert_null(list_pop_front(&a));
    list_push_back(&a, &items[1].node);
    list_push_front(&a, &items[0].node);
    list_push_back(&b, &items[2].node);
    list_push_back(&b, &items[3].node);
    list_push_back(&b, &items[4].node);
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    check_order(&a, (int[]){1, 2, 3, 4, 5, 0});
    list_splice(&a, &b);
    list_remove(&items[2].node);
    list_remove(&items[2].node); /* twice does no harm */
    check_order(&a, (int[]){1, 2, 4, 5, 0});
    assert_int_equal(list_first(&a, struct item, node)->number, 1);
}

static void test_the_current_node_may_be_removed_inside_the_loop(void **state)
{
    (void)state;
    struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    struct list a;
    list_init(&a);
    for (int i = 0; i < 4; i++) {
        list_push_back(&a, &items[i].node);
    }
    list_each(node, &a)
    {
        if (container_of(node, struct item, node)->number % 2 == 0) {
            list_remove(node);
        }
    }
    check_order(&a, (int[]){1, 3, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pushing_splicing_and_removing_keep_the_order),
        cmocka_unit_test(test_the_current_node_may_be_removed_inside_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
