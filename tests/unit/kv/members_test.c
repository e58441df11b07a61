/* Members: their JSON as Go writes and reads it, conf changes as etcd judges them. */
#include "kv/members_json.h"
#include "tests/support/kv_bed.h"
#include "tests/support/member_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ADD, REMOVE, UPDATE, ADD_LEARNER };

static void expect_read_written(const char *in, const char *out)
{
    struct arena arena = {0};
    struct members_json json;
    struct buffer text = {0};
    assert_int_equal(members_json_read(bytes_str(in), &arena, &json), 0);
    members_json_write(&text, &json.member);
    buffer_append(&text, "", 1);
    assert_string_equal((char *)text.data, out);
    buffer_free(&text);
    arena_free(&arena);
}

static void expect_refused(const char *in)
{
    struct arena arena = {0};
    struct members_json json;
    if (members_json_read(bytes_str(in), &arena, &json) == 0) {
        fail_msg("taken: %s", in);
    }
    arena_free(&arena);
}

static void test_json_is_written_as_go_writes_it(void **state)
{
    (void)state;
    expect_read_written("{\"id\":18446744073709551615,\"peerURLs\":[\"http://a:1\",\"http://b:2\"],\"isLearner\":true,"
                        "\"name\":\"n\",\"clientURLs\":[\"http://c\"]}",
                        "{\"id\":18446744073709551615,\"peerURLs\":[\"http://a:1\",\"http://b:2\"],\"isLearner\":true,"
                        "\"name\":\"n\",\"clientURLs\":[\"http://c\"]}");
    expect_read_written("{}", "{\"id\":0,\"peerURLs\":null}");
    expect_read_written("{\"id\":1,\"name\":\"<&>\\u2028\\u00e4\\ud83d\\ude00\\ud83d\\t\\u0001\\\"\"}",
                        "{\"id\":1,\"peerURLs\":null,\"name\":\"\\u003c\\u0026\\u003e\\u2028\xc3\xa4\xf0\x9f\x98\x80"
                        "\xef\xbf\xbd\\t\\u0001\\\"\"}");
}

static void test_json_is_read_as_go_reads_it(void **state)
{
    (void)state;
    expect_read_written(
        " { \"ID\" : 7 , \"x\" : [1,{\"y\":[]},\"z\",null,true,-1.5e3] , \"NAME\":\"a\", \"name\":\"b\" } ",
        "{\"id\":7,\"peerURLs\":null,\"name\":\"b\"}");
    expect_read_written("{\"id\":null,\"name\":null,\"peerURLs\":[\"x\"],\"clientURLs\":null,\"isLearner\":null}",
                        "{\"id\":0,\"peerURLs\":[\"x\"]}");
    expect_refused("");
    expect_refused("{");
    expect_refused("{\"id\":1");
    expect_refused("{\"id\":1}x");
    expect_refused("{\"id\":-1}");
    expect_refused("{\"id\":18446744073709551616}");
    expect_refused("{\"id\":\"1\"}");
    expect_refused("{\"name\":\"a}");
    expect_refused("{\"name\":\"\\x\"}");
    expect_refused("{\"peerURLs\":[\"a\",]}");
    expect_refused("{\"x\":[1,]}");
    expect_refused("{\"x\":{1:2}}");
    expect_refused("{\"isLearner\":1}");
}

/* ---------------------------------------------------------------------------------------------- conf changes --- */

#define MEMBER(id, url) "{\"id\":" #id ",\"peerURLs\":[\"" url "\"]}"
#define LEARNER(id, url) "{\"id\":" #id ",\"peerURLs\":[\"" url "\"],\"isLearner\":true}"

static void expect_row(struct kv_bed *bed, enum backend_table table, const char *key, const char *value)
{
    struct backend_read *read;
    struct bytes got = {0};
    kv_bed_commit(bed);
    assert_int_equal(backend_read_begin(bed->backend, &read), 0);
    int error = backend_get(read, table, bytes_str(key), &got);
    assert_int_equal(error, value == NULL ? ERR_ABSENT : 0);
    if (value != NULL && !bytes_equal(got, bytes_str(value))) {
        fail_msg("expected %s, got %.*s", value, (int)got.len, got.data);
    }
    backend_read_end(read);
}

static void test_members_come_and_go_as_the_log_says(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    assert_int_equal(member_change(&bed, ADD, 17, MEMBER(17, "u17")), 0);
    assert_int_equal(member_change(&bed, ADD, 3, MEMBER(3, "u3")), 0);
    assert_int_equal(member_change(&bed, ADD_LEARNER, 9, LEARNER(9, "u9")), 0);
    member_change_expect(&bed, "3=u3 9L=u9 17=u17 ");
    expect_row(&bed, BACKEND_META, "confState", "{\"voters\":[3,17],\"learners\":[9],\"auto_leave\":false}");
    expect_row(&bed, BACKEND_MEMBERS, "9", "{\"id\":9,\"peerURLs\":[\"u9\"],\"isLearner\":true}");
    assert_int_equal(member_change(&bed, UPDATE, 9, MEMBER(9, "new9")),
                     0); /* no isLearner in there, and a learner still */
    expect_row(&bed, BACKEND_MEMBERS, "9", "{\"id\":9,\"peerURLs\":[\"new9\"],\"isLearner\":true}");
    assert_int_equal(member_change(&bed, UPDATE, 9, MEMBER(9, "u9")), 0);
    assert_int_equal(member_change(&bed, ADD, 9, "{\"id\":9,\"peerURLs\":null,\"isPromote\":true}"), 0);
    expect_row(&bed, BACKEND_MEMBERS, "9", "{\"id\":9,\"peerURLs\":[\"u9\"]}");
    assert_int_equal(member_change(&bed, UPDATE, 17, MEMBER(17, "new")), 0);
    expect_row(&bed, BACKEND_MEMBERS, "11", "{\"id\":17,\"peerURLs\":[\"new\"]}");
    assert_int_equal(member_change(&bed, REMOVE, 3, NULL), 0);
    member_change_expect(&bed, "9=u9 17=new ");
    expect_row(&bed, BACKEND_MEMBERS, "3", NULL);
    expect_row(&bed, BACKEND_MEMBERS_REMOVED, "3", "removed");
    kv_bed_crash(&bed, 0);
    member_change_expect(&bed, "9=u9 17=new ");
    assert_true(kv_member_removed(bed.kv, 3));
    kv_bed_close(&bed);
}

static void test_refused_changes_are_voided_and_change_nothing(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    member_change(&bed, ADD, 1, MEMBER(1, "u1"));
    member_change(&bed, ADD, 2, MEMBER(2, "u2"));
    member_change(&bed, ADD_LEARNER, 3, LEARNER(3, "u3"));
    member_change(&bed, REMOVE, 2, NULL);
    assert_int_equal(member_change(&bed, ADD, 1, MEMBER(1, "other")), ERR_MEMBER_EXIST);
    assert_int_equal(member_change(&bed, ADD, 2, MEMBER(2, "u2")),
                     ERR_MEMBER_NOT_FOUND); /* removed once: never again */
    assert_int_equal(member_change(&bed, ADD, 4, MEMBER(4, "u1")), ERR_PEER_URL_EXIST);
    assert_int_equal(member_change(&bed, ADD_LEARNER, 4, LEARNER(4, "u4")), ERR_TOO_MANY_LEARNERS);
    assert_int_equal(member_change(&bed, ADD, 1, "{\"id\":1,\"isPromote\":true}"), ERR_MEMBER_NOT_LEARNER);
    assert_int_equal(member_change(&bed, ADD, 8, "{\"id\":8,\"isPromote\":true}"), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(member_change(&bed, UPDATE, 8, MEMBER(8, "u8")), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(member_change(&bed, UPDATE, 1, MEMBER(1, "u3")), ERR_PEER_URL_EXIST);
    assert_int_equal(member_change(&bed, REMOVE, 8, NULL), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(member_change(&bed, REMOVE, 2, NULL), ERR_MEMBER_NOT_FOUND);
    member_change_expect(&bed, "1=u1 3L=u3 ");
    kv_bed_close(&bed);
}

static void test_bootstrap_entry_is_the_bytes_that_etcd_writes(void **state)
{
    (void)state;
    struct arena arena = {0};
    const char *urls[] = {"http://127.0.0.1:23801"};
    struct bytes data = kv_bootstrap_conf_change(9614505281519559594ULL, "s1", urls, 1, &arena);
    static const char json[] = "{\"id\":9614505281519559594,\"peerURLs\":[\"http://127.0.0.1:23801\"],\"name\":\"s1\"}";
    assert_memory_equal(data.data, "\x10\x00\x18", 3);
    assert_memory_equal(data.data + data.len - strlen(json), json, strlen(json));
    assert_int_equal(data.len, 3 + 10 + 2 + strlen(json));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_is_written_as_go_writes_it),
        cmocka_unit_test(test_json_is_read_as_go_reads_it),
        cmocka_unit_test(test_members_come_and_go_as_the_log_says),
        cmocka_unit_test(test_refused_changes_are_voided_and_change_nothing),
        cmocka_unit_test(test_bootstrap_entry_is_the_bytes_that_etcd_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
