#include "base/gotext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct arena arena;

static void test_durations_read_as_go_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"5s", 5000000000},
        {"1h2m3.5s", 3723500000000},
        {"-1.5h", -5400000000000},
        {"+100ms", 100000000},
        {".5s", 500000000},
        {"1us", 1000},
        {"1µs", 1000},
        {"1μs", 1000},
        {"0.000000001s", 1},
        {"2562047h47m16.854775807s", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ns = 42;
        const char *error = gotext_duration(&arena, good[i].text, &ns);
        assert_null(error);
        assert_int_equal(ns, good[i].ns);
    }
}

static void test_bad_durations_have_go_s_words(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "time: invalid duration \"\""},
        {"5", "time: missing unit in duration \"5\""},
        {"5x", "time: unknown unit \"x\" in duration \"5x\""},
        {"s", "time: invalid duration \"s\""},
        {".s", "time: invalid duration \".s\""},
        {"-", "time: invalid duration \"-\""},
        {"9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""},
        {"99999999999999999999s", "time: invalid duration \"99999999999999999999s\""},
        {"1s\n", "time: unknown unit \"s\\n\" in duration \"1s\\n\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ns;
        assert_string_equal(gotext_duration(&arena, bad[i][0], &ns), bad[i][1]);
    }
}

static void test_numbers_know_bases_and_limits(void **state)
{
    (void)state;
    int64_t n;
    uint64_t u;
    assert_null(gotext_int(&arena, "-0x10", 0, 64, &n));
    assert_int_equal(n, -16);
    assert_null(gotext_int(&arena, "010", 0, 64, &n));
    assert_int_equal(n, 8);
    assert_null(gotext_int(&arena, "0b101", 0, 64, &n));
    assert_int_equal(n, 5);
    assert_null(gotext_int(&arena, "-9223372036854775808", 10, 64, &n));
    assert_true(n == INT64_MIN);
    assert_null(gotext_int(&arena, "7fffffffffffffff", 16, 64, &n));
    assert_true(n == INT64_MAX);
    assert_string_equal(gotext_int(&arena, "9223372036854775808", 10, 64, &n),
                        "strconv.ParseInt: parsing \"9223372036854775808\": value out of range");
    assert_string_equal(gotext_int(&arena, "x", 10, 64, &n), "strconv.ParseInt: parsing \"x\": invalid syntax");
    assert_string_equal(gotext_int(&arena, "", 10, 64, &n), "strconv.ParseInt: parsing \"\": invalid syntax");
    assert_string_equal(gotext_int(&arena, "0x", 0, 64, &n), "strconv.ParseInt: parsing \"0x\": invalid syntax");
    assert_null(gotext_uint(&arena, "18446744073709551615", 0, 64, &u));
    assert_true(u == UINT64_MAX);
    assert_null(gotext_uint(&arena, "4294967295", 0, 32, &u));
    assert_string_equal(gotext_uint(&arena, "4294967296", 0, 32, &u),
                        "strconv.ParseUint: parsing \"4294967296\": value out of range");
    assert_string_equal(gotext_uint(&arena, "-1", 0, 64, &u), "strconv.ParseUint: parsing \"-1\": invalid syntax");
    assert_true(gotext_is_range_error(gotext_uint(&arena, "99999999999999999999", 0, 64, &u)));
    /* the first thing that is wrong is told */
    assert_true(gotext_is_range_error(gotext_uint(&arena, "99999999999999999999x", 0, 64, &u)));
    assert_true(gotext_is_range_error(gotext_uint(&arena, "4294967296x", 0, 32, &u)));
    assert_false(gotext_is_range_error(gotext_uint(&arena, "x99999999999999999999", 0, 64, &u)));
}

static void test_underscores_stand_between_digits_in_base_0(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"1_000", 1000}, {"0_7", 7}, {"0x_1f", 31}, {"-0b_1_0", -2}, {"0o1_0", 8}, {"1_2_3", 123}};
    static const char *const bad[] = {"_1", "1_", "1__0", "0x", "0x_", "0_", "0x1__0", "_", "-_1", "0_x1"};
    int64_t n;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_null(gotext_int(&arena, good[i].text, 0, 64, &n));
        assert_int_equal(n, good[i].value);
        assert_non_null(gotext_int(&arena, good[i].text, 10, 64, &n));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_non_null(gotext_int(&arena, bad[i], 0, 64, &n));
    }
}

static void test_texts_are_quoted_as_go_quotes_them(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\a\b\f\n\r\t\v", "\"\\a\\b\\f\\n\\r\\t\\v\""},
        {"\x01\x7f", "\"\\x01\\x7f\""},
        {"\xff\xc3", "\"\\xff\\xc3\""},
        {"ä€😀", "\"ä€😀\""},
        {"\xc2\xa0", "\"\\u00a0\""},                      /* a space, but not the ASCII one */
        {"\xef\xbb\xbf", "\"\\ufeff\""},                  /* byte order mark */
        {"\xf3\xa0\x80\x81", "\"\\U000e0001\""},          /* a tag */
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\""},          /* a surrogate is no UTF-8 */
        {"\xc0\x80", "\"\\xc0\\x80\""},                   /* overlong */
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\""}, /* above U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(gotext_quoted(&arena, cases[i][0]), cases[i][1]);
    }
}

static void test_durations_print_as_go_prints_them(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1100, "1.1µs"},
        {2200000, "2.2ms"},
        {3681094, "3.681094ms"},
        {1005102568, "1.005102568s"},
        {60000000000, "1m0s"},
        {7200000000000, "2h0m0s"},
        {-1500000000, "-1.5s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out = {0};
        gotext_print_duration(&out, cases[i].ns);
        buffer_append(&out, "", 1);
        assert_string_equal((const char *)out.data, cases[i].text);
        buffer_free(&out);
    }
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations_read_as_go_reads_them),
        cmocka_unit_test(test_bad_durations_have_go_s_words),
        cmocka_unit_test(test_numbers_know_bases_and_limits),
        cmocka_unit_test(test_underscores_stand_between_digits_in_base_0),
        cmocka_unit_test(test_texts_are_quoted_as_go_quotes_them),
        cmocka_unit_test(test_durations_print_as_go_prints_them),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
