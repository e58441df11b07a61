#include "base/bytes.h"
#include "base/random.h"
#include "base/sort.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    uint32_t key, place;
};

static int compare(const void *a, const void *b)
{
    const struct item *ia = a, *ib = b;
    return (ia->key > ib->key) - (ia->key < ib->key);
}

static struct item *items(struct random *random, size_t count)
{
    struct item *all = mem_alloc((count + 1) * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct item){(uint32_t)random_below(random, count / 2 + 1), (uint32_t)i};
    }
    return all;
}

static void test_sorts_stably_whatever_the_slices(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    for (size_t count = 0; count < 300; count++) {
        struct sort sort;
        sort_begin(&sort, items(&random, count), count, sizeof(struct item), compare);
        size_t budget = 1 + random_below(&random, 20), given = budget;
        while (!sort_step(&sort, &budget)) {
            assert_int_equal(budget, 0);
            budget = given;
        }
        struct item *sorted = sort_end(&sort);
        for (size_t i = 1; i < count; i++) {
            int order = compare(&sorted[i - 1], &sorted[i]);
            assert_true(order < 0 || (order == 0 && sorted[i - 1].place < sorted[i].place));
        }
        free(sorted);
    }
}

static void test_ended_early_it_has_every_element(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2);
    for (size_t budget = 0; budget < 1000; budget++) {
        struct sort sort;
        size_t left = budget;
        uint64_t sum = 0;
        sort_begin(&sort, items(&random, 100), 100, sizeof(struct item), compare);
        sort_step(&sort, &left);
        struct item *all = sort_end(&sort);
        for (size_t i = 0; i < 100; i++) {
            sum += (uint64_t)1 << (all[i].place % 50);
        }
        assert_true(sum == ((uint64_t)1 << 51) - 2);
        free(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorts_stably_whatever_the_slices),
        cmocka_unit_test(test_ended_early_it_has_every_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
