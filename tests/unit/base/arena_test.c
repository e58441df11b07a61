#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_allocations_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    struct arena a = {0};
    uint8_t *pieces[300];
    for (size_t i = 0; i < 300; i++) {
        pieces[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 300; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_equal(pieces[i][k], i & 0xff);
        }
    }
    arena_free(&a);
    assert_int_equal(a.total, 0);
}

static void test_zalloc_clears_memory_that_was_used_before(void **state)
{
    (void)state;
    struct arena a = {0};
    memset(arena_alloc(&a, 1000), 0xff, 1000);
    arena_reset(&a);
    uint8_t *p = arena_zalloc(&a, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0);
    }
    arena_free(&a);
}

static void test_total_is_near_what_was_asked_for(void **state)
{
    (void)state;
    struct arena a = {0};
    size_t asked = 0;
    for (int i = 0; i < 1000; i++) {
        arena_alloc(&a, 2000);
        asked += 2000;
    }
    arena_alloc(&a, 1000000);
    asked += 1000000;
    assert_in_range(a.total, asked, asked + asked / 8);
    arena_free(&a);
}

static void test_a_large_piece_does_not_waste_the_room_of_the_newest_block(void **state)
{
    (void)state;
    struct arena a = {0};
    uint8_t *first = arena_alloc(&a, 16);
    arena_alloc(&a, 100000);
    assert_ptr_equal(arena_alloc(&a, 16), first + 16);
    arena_free(&a);
}

static void test_reset_keeps_one_small_block(void **state)
{
    (void)state;
    struct arena a = {0};
    void *first = arena_alloc(&a, 16);
    for (int i = 0; i < 100; i++) {
        arena_alloc(&a, 5000);
    }
    arena_reset(&a);
    assert_in_range(a.total, 1, 4096);
    assert_ptr_equal(arena_alloc(&a, 16), first);
    arena_reset(&a);
    arena_free(&a);

    arena_reset(&a); /* an empty one */
    arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    assert_int_equal(a.total, 0);
    arena_free(&a);
}

static void test_copy_and_printf(void **state)
{
    (void)state;
    struct arena a = {0};
    struct bytes copy = arena_copy(&a, bytes_str("abc"));
    assert_true(bytes_equal(copy, bytes_str("abc")));
    assert_int_equal(arena_copy(&a, (struct bytes){0}).len, 0);
    assert_string_equal(arena_printf(&a, "%d", 42), "42");
    assert_int_equal(strlen(arena_printf(&a, "%01000d", 42)), 1000);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(test_zalloc_clears_memory_that_was_used_before),
        cmocka_unit_test(test_total_is_near_what_was_asked_for),
        cmocka_unit_test(test_a_large_piece_does_not_waste_the_room_of_the_newest_block),
        cmocka_unit_test(test_reset_keeps_one_small_block),
        cmocka_unit_test(test_copy_and_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
