#include "grpc/outgoing.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Takes everything in pieces of `step` bytes. */
static void drain(struct outgoing *out, size_t step, struct buffer *to)
{
    size_t n;
    while ((n = outgoing_take(out, buffer_reserve(to, step), step)) > 0) {
        to->len += n;
    }
    assert_int_equal(out->total, 0);
}

static void test_bytes_come_out_in_order_whatever_they_went_in_as(void **state)
{
    (void)state;
    struct shared *large = shared_new(10000), *small = shared_new(10);
    memset(large->data, 'L', large->len);
    memset(small->data, 's', small->len);
    for (size_t step = 1; step < 6000; step = step * 3 + 1) {
        struct outgoing out;
        struct buffer got = {0};
        outgoing_init(&out);
        outgoing_copy(&out, bytes_str("head"));
        outgoing_share(&out, shared_bytes(large), large);
        outgoing_share(&out, shared_bytes(small), small);
        outgoing_borrow(&out, bytes_str("borrowed"));
        memcpy(outgoing_room(&out, 4), "room", 4);
        assert_int_equal(out.total, 4 + 10000 + 10 + 8 + 4);
        assert_int_equal(atomic_load(&large->refs), 2);
        assert_int_equal(atomic_load(&small->refs), 1); /* small ones are copied */
        drain(&out, step, &got);
        assert_int_equal(got.len, 10026);
        assert_memory_equal(got.data, "headLLL", 7);
        assert_memory_equal(got.data + 10004, "ssssssssssborrowedroom", 22);
        assert_int_equal(atomic_load(&large->refs), 1);
        buffer_free(&got);
    }
    shared_unref(large);
    shared_unref(small);
}

static void test_clear_drops_what_is_left(void **state)
{
    (void)state;
    struct outgoing out;
    struct shared *large = shared_new(10000);
    uint8_t some[100];
    outgoing_init(&out);
    for (int round = 0; round < 2; round++) {
        outgoing_share(&out, shared_bytes(large), large);
        outgoing_borrow(&out, bytes_str("borrowed"));
        assert_int_equal(outgoing_take(&out, some, sizeof some), sizeof some);
        outgoing_clear(&out);
        assert_int_equal(out.total, 0);
        assert_int_equal(atomic_load(&large->refs), 1);
    }
    shared_unref(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_in_order_whatever_they_went_in_as),
        cmocka_unit_test(test_clear_drops_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
