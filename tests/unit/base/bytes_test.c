#include "base/bytes.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_a_prefix_sorts_before_what_it_begins(void **state)
{
    (void)state;
    assert_true(bytes_compare(bytes_str("a"), bytes_str("ab")) < 0);
    assert_true(bytes_compare(bytes_str("ab"), bytes_str("a")) > 0);
    assert_int_equal(bytes_compare(bytes_str("ab"), bytes_str("ab")), 0);
    assert_true(bytes_compare((struct bytes){0}, bytes_str("a")) < 0);
    assert_int_equal(bytes_compare((struct bytes){0}, bytes_of("", 0)), 0);
}

static void test_bytes_compare_as_unsigned(void **state)
{
    (void)state;
    assert_true(bytes_compare(bytes_of("\x7f", 1), bytes_of("\x80", 1)) < 0);
    assert_true(bytes_compare(bytes_of("\0", 1), bytes_of("\xff", 1)) < 0);
}

static void test_varints_round_trip_and_have_the_size_announced(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t around = (uint64_t)1 << bit;
        for (uint64_t v = around - 1; v <= around + 1 && v + 1 != 0; v++) {
            uint8_t encoded[10];
            uint64_t decoded;
            size_t n = varint_put(encoded, v);
            assert_int_equal(n, varint_size(v));
            assert_int_equal(varint_get(bytes_of(encoded, n), &decoded), n);
            assert_true(decoded == v);
            assert_int_equal(varint_get(bytes_of(encoded, n - 1), &decoded), 0);
        }
    }
    assert_int_equal(varint_size(UINT64_MAX), 10);
}

static void test_varint_longer_than_64_bits_is_refused(void **state)
{
    (void)state;
    uint64_t v;
    uint8_t highest[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    assert_int_equal(varint_get(bytes_of(highest, 10), &v), 10);
    assert_true(v == UINT64_MAX);
    highest[9] = 2;
    assert_int_equal(varint_get(bytes_of(highest, 10), &v), 0);
    uint8_t eleven[] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0};
    assert_int_equal(varint_get(bytes_of(eleven, 11), &v), 0);
}

static void test_fixed_width_integers_have_their_byte_order(void **state)
{
    (void)state;
    uint8_t p[8];
    put_be64(p, 0x0102030405060708);
    assert_memory_equal(p, "\1\2\3\4\5\6\7\x8", 8);
    assert_true(get_be64(p) == 0x0102030405060708);
    put_le64(p, 0x0102030405060708);
    assert_memory_equal(p, "\x8\7\6\5\4\3\2\1", 8);
    assert_true(get_le64(p) == 0x0102030405060708);
    put_be32(p, 0xf1020304);
    assert_memory_equal(p, "\xf1\2\3\4", 4);
    assert_int_equal(get_be32(p), 0xf1020304);
}

static void test_buffer_grows_keeps_and_consumes(void **state)
{
    (void)state;
    struct buffer b = {0};
    buffer_append(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&b, "%03d", i);
    }
    assert_int_equal(b.len, 3000);
    buffer_consume(&b, 2997);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "999", 3);
    buffer_printf(&b, "%0500d", 7); /* longer than the room that printf is first tried in */
    assert_int_equal(b.len, 503);
    assert_memory_equal(b.data + 499, "0007", 4);
    buffer_free(&b);
    assert_null(b.data);
    assert_int_equal(buffer_bytes(&b).len, 0);
}

static void test_shared_buffer_lives_until_the_last_reference(void **state)
{
    (void)state;
    struct shared *s = shared_copy(bytes_str("content"));
    assert_ptr_equal(shared_ref(s), s);
    shared_unref(s);
    assert_true(bytes_equal(shared_bytes(s), bytes_str("content")));
    shared_unref(s);
    shared_unref(NULL);
    assert_int_equal(shared_bytes(NULL).len, 0);
}

static void test_mem_printf_and_strdup(void **state)
{
    (void)state;
    char *text = mem_printf("%s-%d", "a", 5);
    char *copy = mem_strdup(text);
    assert_string_equal(copy, "a-5");
    free(text);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_prefix_sorts_before_what_it_begins),
        cmocka_unit_test(test_bytes_compare_as_unsigned),
        cmocka_unit_test(test_varints_round_trip_and_have_the_size_announced),
        cmocka_unit_test(test_varint_longer_than_64_bits_is_refused),
        cmocka_unit_test(test_fixed_width_integers_have_their_byte_order),
        cmocka_unit_test(test_buffer_grows_keeps_and_consumes),
        cmocka_unit_test(test_shared_buffer_lives_until_the_last_reference),
        cmocka_unit_test(test_mem_printf_and_strdup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
