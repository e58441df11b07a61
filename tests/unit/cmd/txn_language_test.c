#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>

static struct arena arena;

static void expect_words(const char *line, const char *const *expected)
{
    struct ops_words words;
    int i = 0;
    assert_true(ops_split(&arena, line, &words));
    for (; expected[i] != NULL; i++) {
        assert_true(i < words.count);
        assert_string_equal(words.texts[i], expected[i]);
    }
    assert_int_equal(words.count, i);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_lines_are_split_like_etcdctl_does_it(void **state)
{
    (void)state;
    expect_words("put key value", WORDS("put", "key", "value"));
    expect_words("put  k \"two words\"", WORDS("put", "k", "two words"));
    expect_words("put k 'it is \"so\"'", WORDS("put", "k", "it is \"so\""));
    expect_words("put k \"a\\tb\\x00\\u00e4\\n\"", WORDS("put", "k", "a\tb"));
    expect_words("a\"b c", WORDS("a\"b", "c"));
    expect_words("\"a\"b", WORDS("a", "b"));
    expect_words("put \"open", WORDS("put", "open"));
    expect_words("''", WORDS(""));
    expect_words("", (const char *const[]){NULL});
}

static void test_a_bad_escape_is_refused(void **state)
{
    (void)state;
    struct ops_words words;
    assert_false(ops_split(&arena, "put k \"\\q\"", &words));
    assert_false(ops_split(&arena, "put k \"\\xg0\"", &words));
    assert_false(ops_split(&arena, "put k \"\\ud800\"", &words));
    assert_false(ops_split(&arena, "put k \"\\400\"", &words));
}

static void test_all_kinds_of_compares(void **state)
{
    (void)state;
    Etcdserverpb__Compare c;
    assert_int_equal(ops_compare(&arena, "mod(\"k\\x01\") > \"7\"", &c), 0);
    assert_int_equal(c.target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
    assert_int_equal(c.result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
    assert_int_equal(c.target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
    assert_int_equal(c.mod_revision, 7);
    assert_int_equal(c.key.len, 2);
    assert_memory_equal(c.key.data, "k\x01", 2);
    assert_int_equal(ops_compare(&arena, "val(`k`) != \"\"", &c), 0);
    assert_int_equal(c.target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE);
    assert_int_equal(c.result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    assert_int_equal(c.value.len, 0);
    assert_int_equal(ops_compare(&arena, "c(\"k\") = \"0\"", &c), 0);
    assert_int_equal(c.target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION);
    assert_int_equal(ops_compare(&arena, "version(\"k\") < \"-1\"", &c), 0);
    assert_int_equal(c.version, -1);
    assert_int_equal(ops_compare(&arena, "lease(\"k\") = \"1f\"", &c), 0);
    assert_int_equal(c.lease, 0x1f);
}

static void test_malformed_compares_end_with_status_3(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "foo",          "foo(\"a\") = \"1\"", "mod(a) = \"1\"",     "mod(\"a\" = \"1\"", "mod(\"a\")=\"1\"",
        "mod(\"a\") =", "mod(\"a\") ~ \"1\"", "mod(\"a\") = \"x\"", "mod(\"a\") = 1",    "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Etcdserverpb__Compare c;
        assert_int_equal(ops_compare(&arena, bad[i], &c), 3);
    }
}

static void test_operations_take_the_flags_of_their_commands(void **state)
{
    (void)state;
    struct cli_call call = {.program = &kedgectl, .env = (char *[]){NULL}};
    Etcdserverpb__RequestOp op;
    assert_int_equal(ops_request(&call, "put k \"v w\" --lease=1f --prev-kv", &op), 0);
    assert_int_equal(op.request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_int_equal(op.request_put->lease, 0x1f);
    assert_int_equal(op.request_put->value.len, 3);
    assert_true(op.request_put->prev_kv);
    assert_int_equal(ops_request(&call, "get --prefix a --limit 3", &op), 0);
    assert_memory_equal(op.request_range->range_end.data, "b", 1);
    assert_int_equal(op.request_range->limit, 3);
    assert_int_equal(ops_request(&call, "del a --from-key", &op), 0);
    assert_int_equal(op.request_delete_range->range_end.len, 1);
    assert_int_equal(op.request_delete_range->range_end.data[0], 0);
    assert_int_equal(ops_request(&call, "put \"k\\x00\" \"a\\000b\"", &op), 0); /* zeros are bytes like others */
    assert_int_equal(op.request_put->key.len, 2);
    assert_memory_equal(op.request_put->key.data, "k\0", 2);
    assert_int_equal(op.request_put->value.len, 3);
    assert_memory_equal(op.request_put->value.data, "a\0b", 3);
    assert_int_equal(ops_request(&call, "get \"\\x00\" \"a\\x00\"", &op), 0);
    assert_int_equal(op.request_range->key.len, 1);
    assert_int_equal(op.request_range->range_end.len, 2);
    assert_int_equal(ops_request(&call, "frob x", &op), 3);
    assert_int_equal(ops_request(&call, "put", &op), 3);
    assert_int_equal(ops_request(&call, "put k v --nosuch", &op), 3);
    assert_int_equal(ops_request(&call, "put k", &op), 128);
    arena_free(&call.arena);
}

static void test_the_end_of_a_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *end;
        size_t prefix_len, end_len;
    } cases[] = {{"a", "b", 1, 1}, {"a\xff", "b", 2, 1}, {"\xff\xff", "\0", 2, 1}, {"a\0", "a\1", 2, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ProtobufCBinaryData end =
            ops_prefix_end(&arena, (ProtobufCBinaryData){cases[i].prefix_len, (uint8_t *)(uintptr_t)cases[i].prefix});
        assert_int_equal(end.len, cases[i].end_len);
        assert_memory_equal(end.data, cases[i].end, end.len);
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
        cmocka_unit_test(test_lines_are_split_like_etcdctl_does_it),
        cmocka_unit_test(test_a_bad_escape_is_refused),
        cmocka_unit_test(test_all_kinds_of_compares),
        cmocka_unit_test(test_malformed_compares_end_with_status_3),
        cmocka_unit_test(test_operations_take_the_flags_of_their_commands),
        cmocka_unit_test(test_the_end_of_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
