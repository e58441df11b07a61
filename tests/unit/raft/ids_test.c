#include "raft/ids.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Expected values: samples/README.md of the etcd runs that they were taken from. */

static void test_the_ids_of_the_sample_member_and_its_cluster(void **state)
{
    (void)state;
    uint64_t id = ids_member((const char *[]){"http://127.0.0.1:23801"}, 1, "tok-formats");
    assert_int_equal(id, UINT64_C(0x856d959d1c1723aa));
    assert_int_equal(ids_cluster(&id, 1), UINT64_C(0x7944bcb175f37f6e));
}

static void test_the_ids_of_a_restored_cluster_of_two(void **state)
{
    (void)state;
    uint64_t n1 = ids_member((const char *[]){"http://127.0.0.1:23811"}, 1, "tk");
    uint64_t n2 = ids_member((const char *[]){"http://127.0.0.1:23812"}, 1, "tk");
    assert_int_equal(n1, UINT64_C(0x3ed2fcada8485e79));
    assert_int_equal(n2, UINT64_C(0xce429389a9ca9007));
    assert_int_equal(ids_cluster((uint64_t[]){n2, n1}, 2), UINT64_C(0x3a5277f5e2c2f4ac));
}

static void test_the_order_in_which_urls_are_given_does_not_matter(void **state)
{
    (void)state;
    assert_int_equal(ids_member((const char *[]){"http://b:1", "http://a:1"}, 2, "t"),
                     ids_member((const char *[]){"http://a:1", "http://b:1"}, 2, "t"));
}

static void test_the_time_makes_an_added_member_another_one(void **state)
{
    (void)state;
    const char *url[] = {"http://a:1"};
    assert_int_not_equal(ids_member_added(url, 1, "", 1), ids_member_added(url, 1, "", 2));
    assert_int_equal(ids_member_added(url, 1, "", 12), ids_member(url, 1, "12"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_ids_of_the_sample_member_and_its_cluster),
        cmocka_unit_test(test_the_ids_of_a_restored_cluster_of_two),
        cmocka_unit_test(test_the_order_in_which_urls_are_given_does_not_matter),
        cmocka_unit_test(test_the_time_makes_an_added_member_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
