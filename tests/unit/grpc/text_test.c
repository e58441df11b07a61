#include "base/error.h"
#include "grpc/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_timeouts(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int error;
        uint64_t ns;
    } cases[] = {
        {"1n", 0, 1},
        {"20u", 0, 20000},
        {"300m", 0, 300000000},
        {"5S", 0, 5000000000},
        {"2M", 0, 120000000000},
        {"1H", 0, 3600000000000},
        {"99999999H", 0, INT64_MAX},
        {"00000001S", 0, 1000000000},
        {"", ERR_INVALID, 0},
        {"S", ERR_INVALID, 0},
        {"5", ERR_INVALID, 0},
        {"5s", ERR_INVALID, 0},
        {"-5S", ERR_INVALID, 0},
        {"123456789S", ERR_INVALID, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ns = 0;
        assert_int_equal(text_timeout(bytes_str(cases[i].text), &ns), cases[i].error);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void test_timeouts_are_written_in_the_smallest_unit_that_holds_them(void **state)
{
    (void)state;
    const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{1, "1m"},
                 {5000, "5000m"},
                 {99999999, "99999999m"},
                 {100000000, "100000S"},
                 {100000001, "100001S"},
                 {UINT64_MAX / 2, "99999999H"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[16];
        size_t len = text_put_timeout(text, cases[i].ms);
        text[len] = 0;
        assert_string_equal(text, cases[i].text);
    }
}

static void assert_bytes(struct bytes got, const char *expected)
{
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)got.len, (const char *)got.data);
    assert_string_equal(text, expected);
}

static void test_percent_coding(void **state)
{
    struct arena arena = {0};
    (void)state;
    assert_bytes(text_percent_encode(bytes_str("plain ~text"), &arena), "plain ~text");
    assert_bytes(text_percent_encode(bytes_str("100% \n\xc3\xa9\x7f"), &arena), "100%25 %0A%C3%A9%7F");
    assert_bytes(text_percent_decode(bytes_str("100%25 %0a%C3%A9%7F"), &arena), "100% \n\xc3\xa9\x7f");
    assert_bytes(text_percent_decode(bytes_str("%"), &arena), "%");
    assert_bytes(text_percent_decode(bytes_str("%4"), &arena), "%4");
    assert_bytes(text_percent_decode(bytes_str("%zz%41"), &arena), "%zzA");
    arena_free(&arena);
}

static void test_quoting_is_gos(void **state)
{
    struct arena arena = {0};
    (void)state;
    assert_bytes(text_quote(bytes_str("a\"b\\c\n\x01"), &arena), "\"a\\\"b\\\\c\\n\\x01\"");
    assert_bytes(text_quote(bytes_str("caf\xc3\xa9"), &arena), "\"caf\xc3\xa9\"");
    assert_bytes(text_quote(bytes_str("\xff"), &arena), "\"\\xff\"");
    assert_bytes(text_quote((struct bytes){0}, &arena), "\"\"");
    assert_bytes(text_quote(bytes_str("\xff\xc3\xa9\xe2\x80\x8b"), &arena), "\"\\xff\xc3\xa9\\u200b\"");
    arena_free(&arena);
}

/* The offsets are what etcd 3.7.1 names. */
static void test_binary_metadata_is_base64_with_padding_or_without(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int fault;
    } rows[] = {{"", -1},    {"YQ==", -1}, {"YQ", -1},       {"YWJj", -1}, {"YQ=", 2},  {"!!", 0},
                {"====", 0}, {"a", 0},     {"YWJj,YWJj", 4}, {"YW-_", 2},  {"Y===", 1}, {"YQ=a", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(text_binary_fault(bytes_str(rows[i].value)), rows[i].fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_timeouts_are_written_in_the_smallest_unit_that_holds_them),
        cmocka_unit_test(test_percent_coding),
        cmocka_unit_test(test_quoting_is_gos),
        cmocka_unit_test(test_binary_metadata_is_base64_with_padding_or_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
