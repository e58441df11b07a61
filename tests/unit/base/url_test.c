#include "base/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct arena arena;

static const char *parse(const char *text, struct url_list *out)
{
    return url_list_parse(&arena, text, out);
}

static void test_lists_are_sorted_and_without_doubles(void **state)
{
    (void)state;
    struct url_list urls;
    assert_null(parse("http://b:2, http://a:10,http://b:2 ,HTTP://a:1", &urls));
    assert_string_equal(url_list_text(&arena, &urls), "http://a:1,http://a:10,http://b:2");
    assert_int_equal(urls.items[1].port, 10);
    assert_string_equal(urls.items[2].host, "b");
    assert_int_equal(urls.items[0].scheme, URL_HTTP);
}

static void test_addresses_of_all_kinds(void **state)
{
    (void)state;
    struct url_list urls;
    assert_null(parse("https://[::1]:2379", &urls));
    assert_string_equal(urls.items[0].host, "::1");
    assert_int_equal(urls.items[0].port, 2379);
    assert_true(url_can_bind(&urls.items[0]));
    assert_null(parse("unix:///run/kedge.sock", &urls));
    assert_string_equal(urls.items[0].host, "/run/kedge.sock");
    assert_true(url_can_bind(&urls.items[0]));
    assert_null(parse("http://:2379", &urls));
    assert_string_equal(urls.items[0].host, "");
    assert_false(url_can_bind(&urls.items[0]));
    assert_null(parse("http://localhost:0", &urls));
    assert_true(url_can_bind(&urls.items[0]));
    assert_null(parse("http://example.org:2379", &urls));
    assert_false(url_can_bind(&urls.items[0]));
}

static void test_bad_urls_have_etcd_s_words(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "URL scheme must be http, https, unix, or unixs: "},
        {"foo", "URL scheme must be http, https, unix, or unixs: foo"},
        {"foo:bar", "URL scheme must be http, https, unix, or unixs: foo:bar"},
        {"localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"},
        {"127.0.0.1:2379", "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"},
        {"http://foo", "URL address does not have the form \"host:port\": http://foo"},
        {"http:", "URL address does not have the form \"host:port\": http:"},
        {"http://::1:2379", "parse \"http://::1:2379\": invalid port \"::1:2379\" after host"},
        {"http://a:b", "parse \"http://a:b\": invalid port \":b\" after host"},
        {"http://a:65536", "parse \"http://a:65536\": invalid port \":65536\" after host"},
        {"http://[::1:1", "parse \"http://[::1:1\": missing ']' in host"},
        {"http://a:1/", "URL must not contain a path: http://a:1/"},
        {"http://a:1,,http://b:1", "URL scheme must be http, https, unix, or unixs: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct url_list urls;
        const char *error = parse(bad[i][0], &urls);
        assert_non_null(error);
        assert_string_equal(error, bad[i][1]);
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
        cmocka_unit_test(test_lists_are_sorted_and_without_doubles),
        cmocka_unit_test(test_addresses_of_all_kinds),
        cmocka_unit_test(test_bad_urls_have_etcd_s_words),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
