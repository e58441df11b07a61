/* Strings and bytes as Go's encoding/json writes them. */
#include "base/gojson.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(void (*print)(struct buffer *out, struct bytes in), struct bytes in, const char *want)
{
    struct buffer out = {0};
    print(&out, in);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, want);
    buffer_free(&out);
}

static void test_strings_are_escaped_as_go_escapes_them(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\""},
        {"plain \x7f", "\"plain \x7f\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x01\x1f", "\"\\u0001\\u001f\""},
        {"<a href=\"&\">", "\"\\u003ca href=\\\"\\u0026\\\"\\u003e\""},
        {"\u00e4\u20ac\U0001f600", "\"\u00e4\u20ac\U0001f600\""},
        {"\u2028\u2029\u202a", "\"\\u2028\\u2029\u202a\""},
        {"a\xff\xe2\x82z", "\"a\\ufffd\\ufffd\\ufffdz\""}, /* cut off, and none at all */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},     /* half of a pair */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                /* longer than it must be */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(gojson_string, bytes_str(cases[i][0]), cases[i][1]);
    }
    expect(gojson_string, bytes_of("a\0b", 3), "\"a\\u0000b\"");
}

static void test_bytes_are_base64(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\""}, {"f", "\"Zg==\""}, {"fo", "\"Zm8=\""}, {"foo", "\"Zm9v\""}, {"\xff\xfe\xfd\xfc", "\"//79/A==\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(gojson_bytes, bytes_str(cases[i][0]), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_are_escaped_as_go_escapes_them),
        cmocka_unit_test(test_bytes_are_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
