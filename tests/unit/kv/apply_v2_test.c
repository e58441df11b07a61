/* Requests to etcd's v2 store: the two that concern kedge become what later etcds propose, the rest nothing, and what
 * is none is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pb.h"
#include "kv/apply_v2.h"
#include "kv/v2_request.pb-c.h"

static bool read_v2(struct arena *arena, const char *method, const char *path, const char *val,
                    const Etcdserverpb__InternalRaftRequest **out)
{
    V2pb__Request v2 = V2PB__REQUEST__INIT;
    v2.has_id = true;
    v2.id = 77;
    v2.method = (char *)(uintptr_t)method;
    v2.path = (char *)(uintptr_t)path;
    v2.val = (char *)(uintptr_t)val;
    return apply_v2_read(pb_pack(&v2.base, arena), arena, out);
}

static void test_a_published_member_gets_its_attributes(void **state)
{
    (void)state;
    struct arena arena = {0};
    const Etcdserverpb__InternalRaftRequest *r;
    assert_true(read_v2(&arena, "PUT", "/0/members/8e9e05c52164694D/attributes",
                        "{\"name\":\"one\",\"clientURLs\":[\"http://a:1\",\"http://b:2\"]}", &r));
    assert_non_null(r);
    assert_int_equal(r->cluster_member_attr_set->member_id, 0x8e9e05c52164694d);
    assert_string_equal(r->cluster_member_attr_set->member_attributes->name, "one");
    assert_int_equal(r->cluster_member_attr_set->member_attributes->n_client_urls, 2);
    assert_string_equal(r->cluster_member_attr_set->member_attributes->client_urls[1], "http://b:2");
    arena_free(&arena);
}

static void test_the_version_is_set(void **state)
{
    (void)state;
    struct arena arena = {0};
    const Etcdserverpb__InternalRaftRequest *r;
    assert_true(read_v2(&arena, "PUT", "/0/version", "3.5.0", &r));
    assert_string_equal(r->cluster_version_set->ver, "3.5.0");
    arena_free(&arena);
}

static void test_the_rest_has_no_effect(void **state)
{
    (void)state;
    static const char *const requests[][3] = {
        {"SYNC", "", ""},
        {"PUT", "/1/key", "value"},
        {"DELETE", "/0/members/1/attributes", ""},
        {"PUT", "/0/members//attributes", "{}"},
        {"PUT", "/0/members/8e9e05c52164694d0/attributes", "{}"},
        {"PUT", "/0/members/1/attributes", "no json"},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct arena arena = {0};
        const Etcdserverpb__InternalRaftRequest *r;
        assert_true(read_v2(&arena, requests[i][0], requests[i][1], requests[i][2], &r));
        assert_null(r);
        arena_free(&arena);
    }
}

static void test_what_is_none_is_not_taken_for_one(void **state)
{
    (void)state;
    struct arena arena = {0};
    const Etcdserverpb__InternalRaftRequest *r;
    assert_false(read_v2(&arena, "WHAT", "/0/version", "3.5.0", &r));
    assert_false(apply_v2_read(bytes_str("\xff\xff\xff"), &arena, &r));
    assert_false(apply_v2_read(bytes_str("\x08\x01"), &arena, &r));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_published_member_gets_its_attributes),
        cmocka_unit_test(test_the_version_is_set),
        cmocka_unit_test(test_the_rest_has_no_effect),
        cmocka_unit_test(test_what_is_none_is_not_taken_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
