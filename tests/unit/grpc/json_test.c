/* JSON of the gateway: what is accepted, what is refused and in which words, and that printing and reading agree. The
 * texts are etcd 3.7.1's. */
#include "base/error.h"
#include "base/pb.h"
#include "grpc/json.h"
#include "grpc/json_scan.h"
#include "kv/rpc.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define P "proto:\xc2\xa0" /* etcd writes a no-break space */

static const ProtobufCMessageDescriptor *const range = &etcdserverpb__range_request__descriptor;
static const ProtobufCMessageDescriptor *const txn = &etcdserverpb__txn_request__descriptor;

/* Reads the text and prints what was understood, or says why it was refused; both in the arena. */
static const char *read_back(const ProtobufCMessageDescriptor *type, struct bytes text, struct arena *arena)
{
    struct buffer encoded = {0}, printed = {0};
    const char *reason = "no reason";
    if (json_parse_message(type, text, &encoded, arena, &reason) != 0) {
        buffer_free(&encoded);
        return reason;
    }
    const ProtobufCMessage *message = pb_unpack(type, buffer_bytes(&encoded), arena, NULL);
    assert_non_null(message);
    json_print_message(message, &printed);
    const char *result = arena_printf(arena, "%.*s", (int)printed.len, (const char *)printed.data);
    buffer_free(&encoded);
    buffer_free(&printed);
    return result;
}

struct row {
    const char *text, *result;
};

static void check_rows(const ProtobufCMessageDescriptor *type, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena arena = {0};
        /* a copy of the exact size: the sanitizer sees a read behind it */
        size_t len = strlen(rows[i].text);
        uint8_t *copy = mem_alloc(len + (len == 0));
        memcpy(copy, rows[i].text, len);
        const char *got = read_back(type, bytes_of(copy, len), &arena);
        if (strcmp(got, rows[i].result) != 0) {
            fail_msg("%s\nexpected %s\n     got %s", rows[i].text, rows[i].result, got);
        }
        free(copy);
        arena_free(&arena);
    }
}
#define CHECK_ROWS(type, rows) check_rows((type), (rows), sizeof(rows) / sizeof((rows)[0]))

static void test_what_clients_may_write(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "{}"},
        {" \n\t", "{}"},
        {"{}", "{}"},
        {"{\"key\":\"YQ==\",\"range_end\":\"eg==\",\"count_only\":true}",
         "{\"key\":\"YQ==\",\"range_end\":\"eg==\",\"count_only\":true}"},
        {"{\"key\":\"YQ==\",\"rangeEnd\":\"eg==\",\"countOnly\":true}",
         "{\"key\":\"YQ==\",\"range_end\":\"eg==\",\"count_only\":true}"},
        {"{\"limit\":\"1\"}", "{\"limit\":\"1\"}"},
        {"{\"limit\":1}", "{\"limit\":\"1\"}"},
        {"{\"limit\":1.0}", "{\"limit\":\"1\"}"},
        {"{\"limit\":1e1}", "{\"limit\":\"10\"}"},
        {"{\"limit\":\"12.50e1\"}", "{\"limit\":\"125\"}"},
        {"{\"limit\":100e-2}", "{\"limit\":\"1\"}"},
        {"{\"limit\":-0}", "{}"},
        {"{\"limit\":0e99999999999999999999}", "{}"},
        {"{\"limit\":9223372036854775807}", "{\"limit\":\"9223372036854775807\"}"},
        {"{\"limit\":-9223372036854775808}", "{\"limit\":\"-9223372036854775808\"}"},
        {"{\"limit\":9007199254740993.0}", "{\"limit\":\"9007199254740993\"}"}, /* exactly, not by way of a double */
        {"{\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\"}",
         "{\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\"}"},
        {"{\"sort_order\":2,\"sort_target\":3}", "{\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\"}"},
        {"{\"sort_order\":7}", "{\"sort_order\":7}"},
        {"{\"sort_order\":\"NOSUCH\",\"sort_target\":\"mod\"}", "{}"},
        {"{\"nosuch\":{\"a\":[1,{\"b\":null},\"\\\"]}\"]},\"limit\":2}", "{\"limit\":\"2\"}"},
        {"{\"KEY\":\"YQ==\"}", "{}"},
        {"{\"key\":null,\"limit\":null,\"sort_order\":null}", "{}"},
        {"{\"key\":\"YQ==\"} x", "{\"key\":\"YQ==\"}"}, /* what follows the value is not looked at */
        {"{\"key\":\"YQ==\"}{", "{\"key\":\"YQ==\"}"},
        {"{\"key\":\"YQ\"}", "{\"key\":\"YQ==\"}"}, /* without padding */
        {"{\"key\":\"_-8=\"}", "{\"key\":\"/+8=\"}"},
        {"{\"key\":\"+/8=\"}", "{\"key\":\"+/8=\"}"},
        {"{\"key\":\"Y\\u0051==\"}", "{\"key\":\"YQ==\"}"},
        {"{\"k\\u0065y\":\"YQ==\"}", "{\"key\":\"YQ==\"}"},
        {"{\"key\":\"\"}", "{}"},
    };
    CHECK_ROWS(range, rows);
}

static void test_syntax_errors_in_gos_words(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{", "unexpected EOF"},
        {"{\"key\":", "unexpected EOF"},
        {"{\"key\":\"YQ==", "unexpected EOF"},
        {"{\"key\":\"YQ==\",}", "invalid character '}' looking for beginning of object key string"},
        {"{,", "invalid character ',' looking for beginning of object key string"},
        {"{'key'", "invalid character '\\'' looking for beginning of object key string"},
        {"{\"key\" \"a\"", "invalid character '\"' after object key"},
        {"{\"limit\":01}", "invalid character '1' after object key:value pair"},
        {"{\"limit\":1 \"key\"", "invalid character '\"' after object key:value pair"},
        {"{\"key\":\"YQ==\"\x01}", "invalid character '\\x01' after object key:value pair"},
        {"{\"x\":[1 2]}", "invalid character '2' after array element"},
        {"{\"x\":[1,]}", "invalid character ']' looking for beginning of value"},
        {"{\"x\":.5}", "invalid character '.' looking for beginning of value"},
        {"{\"x\":NaN}", "invalid character 'N' looking for beginning of value"},
        {"\xef\xbb\xbf{}", "invalid character '\xc3\xaf' looking for beginning of value"},
        {"{\"x\":tru}", "invalid character '}' in literal true (expecting 'e')"},
        {"{\"x\":-}", "invalid character '}' in numeric literal"},
        {"{\"x\":1.}", "invalid character '}' after decimal point in numeric literal"},
        {"{\"x\":1e}", "invalid character '}' in exponent of numeric literal"},
        {"{\"x\":\"\x01\"}", "invalid character '\\x01' in string literal"},
        {"{\"x\":\"\n\"}", "invalid character '\\n' in string literal"},
        {"{\"x\":\"\\q\"}", "invalid character 'q' in string escape code"},
        {"{\"x\":\"\\u00g0\"}", "invalid character 'g' in \\u hexadecimal character escape"},
    };
    CHECK_ROWS(range, rows);
}

static void test_wrong_types_in_protojsons_words(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"null", P "syntax error (line 1:1): unexpected token null"},
        {"[]", P "syntax error (line 1:1): unexpected token ["},
        {"\"a\"", P "syntax error (line 1:1): unexpected token \"a\""},
        {"1", P "syntax error (line 1:1): unexpected token 1"},
        {"{\"key\":1}", P "(line 1:8): invalid value for bytes field key: 1"},
        {"\n {\"key\":\n  {}}", P "(line 3:3): invalid value for bytes field key: {"},
        {"{\"key\":\"YQ=\"}", P "(line 1:8): invalid value for bytes field key: \"YQ=\""},
        {"{\"key\":\"Y\"}", P "(line 1:8): invalid value for bytes field key: \"Y\""},
        {"{\"key\":\"Y!==\"}", P "(line 1:8): invalid value for bytes field key: \"Y!==\""},
        {"{\"key\":\"YQ==\\n\"}", P "(line 1:8): invalid value for bytes field key: \"YQ==\\n\""},
        {"{\"key\":\"-/8=\"}", P "(line 1:8): invalid value for bytes field key: \"-/8=\""},
        {"{\"limit\":\"x\"}", P "(line 1:10): invalid value for int64 field limit: \"x\""},
        {"{\"limit\":1.5}", P "(line 1:10): invalid value for int64 field limit: 1.5"},
        {"{\"limit\":\" 1\"}", P "(line 1:10): invalid value for int64 field limit: \" 1\""},
        {"{\"limit\":\"1 \"}", P "(line 1:10): invalid value for int64 field limit: \"1 \""},
        {"{\"limit\":\"1\\n\"}", P "(line 1:10): invalid value for int64 field limit: \"1\\n\""},
        {"{\"limit\":\"\"}", P "(line 1:10): invalid value for int64 field limit: \"\""},
        {"{\"limit\":\"+1\"}", P "(line 1:10): invalid value for int64 field limit: \"+1\""},
        {"{\"limit\":\"01\"}", P "(line 1:10): invalid value for int64 field limit: \"01\""},
        {"{\"limit\":9223372036854775808}", P "(line 1:10): invalid value for int64 field limit: 9223372036854775808"},
        {"{\"limit\":1e30}", P "(line 1:10): invalid value for int64 field limit: 1e30"},
        {"{\"limit\":true}", P "(line 1:10): invalid value for int64 field limit: true"},
        {"{\"serializable\":\"true\"}", P "(line 1:17): invalid value for bool field serializable: \"true\""},
        {"{\"sort_order\":[]}", P "(line 1:15): invalid value for enum field sortOrder: ["},
        {"{\"limit\":1,\"limit\":2}", P "(line 1:12): duplicate field \"limit\""},
        {"{\"range_end\":null,\"rangeEnd\":\"eg==\"}", P "(line 1:19): duplicate field \"rangeEnd\""},
        {"{\"x\":\"\xff\"}", P "syntax error (line 1:6): invalid UTF-8 in string"},
        {"{\"x\":\"\\ud800\"}", P "unexpected EOF"},
        {"{\"x\":\"\\ud800abcdefgh\"}", P "syntax error (line 1:6): invalid escape code \"abcdef\" in string"},
    };
    CHECK_ROWS(range, rows);
}

static void test_nested_messages_and_oneofs(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{\"success\":[{\"requestPut\":{\"key\":\"YQ==\",\"lease\":\"-1\"}},{\"request_range\":{}}]}",
         "{\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"lease\":\"-1\"}},{\"request_range\":{}}]}"},
        {"{\"compare\":[{\"result\":\"GREATER\",\"target\":\"MOD\",\"mod_revision\":\"0\",\"key\":\"YQ==\"}]}",
         "{\"compare\":[{\"result\":\"GREATER\",\"target\":\"MOD\",\"key\":\"YQ==\",\"mod_revision\":\"0\"}]}"},
        {"{\"compare\":[{\"value\":\"\"}]}", "{\"compare\":[{\"value\":\"\"}]}"}, /* set, though empty */
        {"{\"compare\":[{\"value\":null,\"version\":1}]}", "{\"compare\":[{\"version\":\"1\"}]}"},
        {"{\"compare\":[],\"success\":null}", "{}"},
        {"{\"success\":[{}]}", "{\"success\":[{}]}"},
        {"{\"success\":[null]}", P "syntax error (line 1:13): unexpected token null"},
        {"{\"success\":{}}", P "syntax error (line 1:12): unexpected token {"},
        {"{\"success\":[{\"request_range\":{},\"request_put\":{}}]}",
         P "(line 1:33): error parsing \"request_put\", oneof etcdserverpb.RequestOp.request is already set"},
        {"{\"compare\":[{\"version\":1,\"value\":\"\"}]}",
         P "(line 1:26): error parsing \"value\", oneof etcdserverpb.Compare.target_union is already set"},
    };
    CHECK_ROWS(txn, rows);
}

/* depth times `open`, then depth times `close` */
static struct buffer tower(unsigned depth, const char *open, const char *inner, const char *close)
{
    struct buffer text = {0};
    for (unsigned i = 0; i < depth; i++) {
        buffer_append(&text, open, strlen(open));
    }
    buffer_append(&text, inner, strlen(inner));
    for (unsigned i = 0; i < depth; i++) {
        buffer_append(&text, close, strlen(close));
    }
    return text;
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    static const struct {
        unsigned depth;
        const char *open, *close, *result;
    } towers[] = {
        {9999, "[", "]", "{}"},
        {10000, "[", "]", "invalid character '[' exceeded max depth"},
        {1000000, "[", "]", "invalid character '[' exceeded max depth"},
        {1000000, "{\"a\":", "}", "invalid character '{' exceeded max depth"},
    };
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++) {
        struct arena arena = {0};
        struct buffer inner = tower(towers[i].depth, towers[i].open, "1", towers[i].close), text = {0};
        buffer_append(&text, "{\"x\":", 5);
        buffer_append(&text, inner.data, inner.len);
        buffer_append(&text, "}", 1);
        assert_string_equal(read_back(range, buffer_bytes(&text), &arena), towers[i].result);
        buffer_free(&inner);
        buffer_free(&text);
        arena_free(&arena);
    }
    struct arena arena = {0};
    struct buffer text = tower(200, "{\"success\":[{\"request_txn\":", "{}", "}]}");
    assert_string_equal(read_back(txn, buffer_bytes(&text), &arena), P "exceeded max recursion depth");
    buffer_free(&text);
    text = tower(40, "{\"success\":[{\"request_txn\":", "{}", "}]}");
    const char *back = read_back(txn, buffer_bytes(&text), &arena);
    assert_true(bytes_equal(bytes_str(back), buffer_bytes(&text)));
    buffer_free(&text);
    arena_free(&arena);
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"compare\":[{\"target\":1,\"key\":\"YQ==\",\"version\":\"-12.0e1\"}],\"success\":"
                               "[{\"request_put\":{\"key\":\"\\u0059Q==\",\"prev_kv\":true,\"x\":[null,false]}}]}";
    for (size_t len = 1; len < sizeof text - 1; len++) {
        struct arena arena = {0};
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, text, len);
        const char *got = read_back(txn, bytes_of(copy, len), &arena);
        if (strcmp(got, "unexpected EOF") != 0) {
            fail_msg("cut at %zu: %s", len, got);
        }
        free(copy);
        arena_free(&arena);
    }
}

static void test_scan_finds_the_end_of_the_first_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
    } rows[] = {{"  ", 0}, {" 12 ", 3}, {"12", 2}, {"{} {}", 2}, {"[[],{}]]", 7}, {"\"a\\\"b\"c", 6}, {"nullx", 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arena arena = {0};
        const char *reason;
        size_t length;
        assert_int_equal(json_scan(bytes_str(rows[i].text), &arena, &length, &reason), 0);
        assert_int_equal(length, rows[i].length);
        arena_free(&arena);
    }
}

static void test_printing_leaves_defaults_out_and_escapes(void **state)
{
    (void)state;
    char *urls[] = {"http://a/\"\\\n\t\b\f\r\x01", "\xc3\xa4"};
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT, *members[] = {&member};
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.member_id = UINT64_MAX;
    header.revision = INT64_MIN;
    member.peerurls = urls;
    member.n_peerurls = 2;
    member.islearner = true;
    response.header = &header;
    response.members = members;
    response.n_members = 1;
    struct buffer out = {0};
    json_print_message(&response.base, &out);
    buffer_append(&out, "", 1);
    assert_string_equal((char *)out.data,
                        "{\"header\":{\"member_id\":\"18446744073709551615\",\"revision\":\"-9223372036854775808\"},"
                        "\"members\":[{\"peerURLs\":[\"http://a/\\\"\\\\\\n\\t\\b\\f\\r\\u0001\",\"\xc3\xa4\"],"
                        "\"isLearner\":true}]}");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_clients_may_write),
        cmocka_unit_test(test_syntax_errors_in_gos_words),
        cmocka_unit_test(test_wrong_types_in_protojsons_words),
        cmocka_unit_test(test_nested_messages_and_oneofs),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_scan_finds_the_end_of_the_first_value),
        cmocka_unit_test(test_printing_leaves_defaults_out_and_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
