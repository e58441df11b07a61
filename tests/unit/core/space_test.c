/* Lack of space: the quota's alarm is the operator's to end, the full disk's ends by itself. */
#include "tests/support/cluster_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOSPACE ETCDSERVERPB__ALARM_TYPE__NOSPACE
#define ACTIVATE ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE
#define DEACTIVATE ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE

static int put(struct core_bed *bed, const char *key)
{
    struct bed_request request;
    int error = core_bed_put(bed, &request, key, "v", 0);
    if (error != 0) {
        return error;
    }
    core_bed_run(bed);
    assert_int_equal(request.ended, 1);
    return request.error;
}

static void full(struct core_bed *bed, bool is)
{
    bed->space = is ? (struct core_space){0, 1000000} : (struct core_space){UINT64_MAX, UINT64_MAX};
    bed->commits_full = is;
}

static void test_a_full_disk_raises_the_alarm_and_space_clears_it(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_range range;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    assert_int_equal(put(&bed, "a"), 0);
    full(&bed, true);
    assert_int_equal(put(&bed, "b"), ERR_NO_SPACE);
    core_bed_run(&bed);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    struct bed_request delete_range;
    assert_int_equal(core_bed_delete(&bed, &delete_range, "a"), 0); /* makes room */
    core_bed_range(&bed, &range, "a", "", false);
    assert_in_range(core_bed_advance(&bed, 10000), 0, 500);
    assert_int_equal(delete_range.ended, 1);
    assert_int_equal(range.ended, 1); /* reads go on */
    kv_range_end(&range.range.range);
    assert_int_equal(put(&bed, "b"), ERR_NO_SPACE);
    full(&bed, false);
    core_bed_advance(&bed, 3000);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(put(&bed, "b"), 0);
    core_bed_close(&bed);
}

static void test_a_commit_that_finds_no_space_raises_it_too_and_is_tried_again(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_advance(&bed, 1000);
    bed.commits_full = true;
    assert_int_equal(put(&bed, "a"), 0); /* the log has room */
    core_bed_advance(&bed, 3000);
    assert_in_range(bed.full_commits, 2, 5);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(put(&bed, "b"), ERR_NO_SPACE);
    bed.commits_full = false;
    core_bed_advance(&bed, 4000);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
}

static void test_reads_and_the_alarm_go_on_when_a_full_disk_meets_full_memory(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    static struct bed_request puts[80];
    struct bed_request barrier;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_advance(&bed, 1000);
    bed.commits_full = true;
    for (size_t i = 0; i < 80; i++) { /* more than may wait for the store, admitted before anybody knows of the disk */
        char key[16];
        snprintf(key, sizeof key, "k%zu", i);
        assert_int_equal(core_bed_put_bytes(&bed, &puts[i], key, 1000000), 0);
    }
    core_bed_advance(&bed, 3000);
    assert_int_equal(puts[79].ended, 1);
    assert_int_equal(puts[79].error, 0);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(core_bed_barrier(&bed, &barrier), 0);
    core_bed_run(&bed);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, 0);
    bed.commits_full = false;
    core_bed_advance(&bed, 4000);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    core_bed_close(&bed);
}

static void test_an_alarm_that_was_on_before_the_disk_was_full_stays(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request alarm;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    assert_int_equal(core_bed_alarm(&bed, &alarm, ACTIVATE, NOSPACE), 0);
    core_bed_run(&bed);
    full(&bed, true);
    assert_int_equal(put(&bed, "b"), ERR_NO_SPACE);
    core_bed_advance(&bed, 3000);
    full(&bed, false);
    core_bed_advance(&bed, 5000);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(core_bed_alarm(&bed, &alarm, DEACTIVATE, NOSPACE), 0);
    core_bed_run(&bed);
    assert_int_equal(put(&bed, "b"), 0);
    core_bed_close(&bed);
}

static void test_an_alarm_that_is_disarmed_while_the_disk_is_full_comes_back(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request alarm;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    full(&bed, true);
    put(&bed, "a");
    core_bed_run(&bed);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(core_bed_alarm(&bed, &alarm, DEACTIVATE, NOSPACE), 0);
    core_bed_run(&bed);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    core_bed_advance(&bed, 3000);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    full(&bed, false);
    core_bed_advance(&bed, 5000);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    core_bed_close(&bed);
}

static void test_after_a_crash_with_a_full_disk_the_alarm_ends_by_itself(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_advance(&bed, 1000);
    full(&bed, true);
    put(&bed, "a");
    core_bed_advance(&bed, 1000);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    full(&bed, false);
    core_bed_crash(&bed);
    core_bed_advance(&bed, 8000);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    core_bed_close(&bed);
}

/* Who doesn't lead afterwards doesn't forget either that it was its own disk. */
static void test_after_a_crash_of_a_follower_its_alarm_ends_by_itself(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put = {0};
    cluster_bed_open(&c, 3);
    struct core_bed *leader = &c.beds[cluster_bed_ready(&c)], *other = &c.beds[leader == &c.beds[0] ? 1 : 0];
    other->commits_full = true;
    assert_int_equal(core_bed_put(leader, &put, "k", "v", 0), 0);
    cluster_bed_advance(&c, 2000);
    assert_true(kv_alarm(leader->kv, NOSPACE));
    core_bed_crash(other);
    cluster_bed_advance(&c, 5000);
    assert_false(kv_alarm(leader->kv, NOSPACE));
    cluster_bed_close(&c);
}

static void test_the_quotas_alarm_stays(void **state)
{
    (void)state;
    struct core_bed bed = {.quota_bytes = 100000};
    struct bed_request puts[200], alarm;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    int refused = 0;
    for (unsigned i = 0; i < 200 && refused == 0; i++) {
        refused = core_bed_put_bytes(&bed, &puts[i], "k", 10000);
        core_bed_advance(&bed, 200);
    }
    assert_int_equal(refused, ERR_NO_SPACE);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    core_bed_advance(&bed, 20000);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    core_bed_crash(&bed);
    core_bed_advance(&bed, 20000);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    assert_int_equal(core_bed_alarm(&bed, &alarm, DEACTIVATE, NOSPACE), 0);
    core_bed_run(&bed);
    assert_false(kv_alarm(bed.kv, NOSPACE));
    struct bed_request big;
    assert_int_equal(core_bed_put_bytes(&bed, &big, "k", 10000), ERR_NO_SPACE); /* and raises it again */
    core_bed_advance(&bed, 1000);
    assert_int_equal(core_bed_put_bytes(&bed, &big, "k", 10000), ERR_NO_SPACE);
    core_bed_advance(&bed, 100);
    assert_true(kv_alarm(bed.kv, NOSPACE));
    core_bed_close(&bed);
}

static void test_over_quota_is_said_before_too_large(void **state)
{
    (void)state;
    struct core_bed bed = {.quota_bytes = 1000000};
    struct bed_request big;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    assert_int_equal(core_bed_put_bytes(&bed, &big, "k", 2000000), ERR_NO_SPACE);
    core_bed_close(&bed);
}

static void test_deletes_leave_room_for_what_makes_more(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request delete_range, compact;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    assert_int_equal(put(&bed, "a"), 0);
    bed.space = (struct core_space){0, 1000};
    assert_int_equal(core_bed_delete(&bed, &delete_range, "a"), ERR_NO_SPACE);
    assert_int_equal(core_bed_compact(&bed, &compact, 2), 0);
    core_bed_run(&bed);
    assert_int_equal(compact.error, 0);
    bed.space.total_bytes = 5;
    assert_int_equal(core_bed_compact(&bed, &compact, 2), ERR_NO_SPACE);
    bed.space = (struct core_space){UINT64_MAX, UINT64_MAX};
    core_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_raises_the_alarm_and_space_clears_it),
        cmocka_unit_test(test_a_commit_that_finds_no_space_raises_it_too_and_is_tried_again),
        cmocka_unit_test(test_reads_and_the_alarm_go_on_when_a_full_disk_meets_full_memory),
        cmocka_unit_test(test_an_alarm_that_was_on_before_the_disk_was_full_stays),
        cmocka_unit_test(test_an_alarm_that_is_disarmed_while_the_disk_is_full_comes_back),
        cmocka_unit_test(test_after_a_crash_with_a_full_disk_the_alarm_ends_by_itself),
        cmocka_unit_test(test_after_a_crash_of_a_follower_its_alarm_ends_by_itself),
        cmocka_unit_test(test_the_quotas_alarm_stays),
        cmocka_unit_test(test_over_quota_is_said_before_too_large),
        cmocka_unit_test(test_deletes_leave_room_for_what_makes_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
