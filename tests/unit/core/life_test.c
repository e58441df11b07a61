/* Start, leases, stop. */
#include "tests/support/core_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- start --- */

static void note(void *arg)
{
    (*(unsigned *)arg)++;
}

static void test_it_publishes_itself_then_the_clusters_version_then_it_is_ready(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    unsigned told = 0, at_told = 0;
    core_bed_open(&bed);
    core_on_ready(bed.core, note, &told);
    while (!core_ready(bed.core)) {
        const struct kv_member *member = kv_member(bed.kv, core_member_id(bed.core));
        if (kv_cluster_version(bed.kv) != NULL) {
            assert_string_equal(member->name, "one");
            assert_int_equal(member->client_url_count, 1);
        }
        at_told = told;
        core_bed_turn(&bed);
        bed.now_ms++;
        assert_in_range(bed.now_ms, 1000000, 1001000);
    }
    assert_int_equal(at_told, 0);
    assert_int_equal(told, 1);
    assert_string_equal(kv_cluster_version(bed.kv), "3.7.0");
    core_bed_advance(&bed, 10000);
    assert_int_equal(told, 1);
    core_bed_close(&bed);
}

static void test_it_is_ready_again_after_a_crash(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    core_bed_open(&bed);
    for (unsigned i = 0; i < 5; i++) {
        core_bed_ready(&bed);
        core_bed_crash(&bed);
        assert_false(core_ready(bed.core));
    }
    core_bed_close(&bed);
}

static void test_a_failed_publishing_is_tried_again(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    core_bed_open(&bed);
    core_bed_advance(&bed, 8000);
    assert_false(core_ready(bed.core));
    bed.log_held = false;
    core_bed_advance(&bed, 3000);
    assert_true(core_ready(bed.core));
    core_bed_close(&bed);
}

/* --- leases --- */

static void test_a_lease_ends_by_an_entry_of_the_log_not_before_its_time(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request grant, put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_grant(&bed, &grant, 7, 10);
    core_bed_run(&bed);
    core_bed_put(&bed, &put, "k", "v", 7);
    core_bed_run(&bed);
    assert_int_equal(put.error, 0);
    core_bed_advance(&bed, 9900);
    assert_string_equal(core_bed_value(&bed, "k"), "v");
    bed.log_held = true;
    core_bed_advance(&bed, 1000);
    assert_string_equal(core_bed_value(&bed, "k"), "v"); /* its revoke is not durable yet */
    bed.log_held = false;
    core_bed_run(&bed);
    assert_string_equal(core_bed_value(&bed, "k"), "");
    assert_false(lease_exists(kv_leases(bed.kv), 7));
    assert_int_equal(core_stats(bed.core).expired_leases_total, 1);
    core_bed_close(&bed);
}

static void test_after_a_restart_a_lease_gets_its_whole_time_again(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request grant;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_grant(&bed, &grant, 7, 10);
    core_bed_advance(&bed, 9000);
    core_bed_crash(&bed);
    core_bed_ready(&bed);
    core_bed_advance(&bed, 9900);
    assert_true(lease_exists(kv_leases(bed.kv), 7));
    core_bed_advance(&bed, 3000);
    assert_false(lease_exists(kv_leases(bed.kv), 7));
    core_bed_close(&bed);
}

static void test_many_leases_that_end_at_once_are_revoked_sixteen_at_a_time(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct core_bed bed = {0};
    struct bed_request *grants = calloc(COUNT, sizeof *grants);
    core_bed_open(&bed);
    core_bed_ready(&bed);
    for (int i = 0; i < COUNT; i++) {
        core_bed_grant(&bed, &grants[i], 100 + i, 5);
    }
    core_bed_run(&bed);
    bed.log_held = true;
    assert_in_range(core_bed_advance(&bed, 6000), 0, 300);
    assert_int_equal(core_stats(bed.core).proposals_pending, 16);
    bed.log_held = false;
    core_bed_advance(&bed, 10000);
    assert_int_equal(lease_count(kv_leases(bed.kv)), 0);
    core_bed_close(&bed);
    free(grants);
}

/* --- stop --- */

static void test_a_stop_ends_everything_that_is_open_and_stores_what_is_applied(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request applied, pending, barrier, compact, wait = {0};
    struct bed_range range;
    struct bed_hash waiting, running;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    for (unsigned i = 0; i < 20; i++) {
        core_bed_put(&bed, &applied, "k", "v", 0);
        core_bed_run(&bed);
    }
    bed.work_held = true;
    core_bed_hash(&bed, &running, KV_HASH_ALL, 0);
    core_bed_run(&bed);
    core_bed_compact(&bed, &compact, 10);
    core_bed_run(&bed);
    core_bed_hash(&bed, &waiting, KV_HASH_KV, 10);
    core_bed_barrier(&bed, &wait);
    core_cancel(bed.core, &wait.request);
    core_wait_compacted(bed.core, &wait.request, 10);
    bed.log_held = bed.store_held = true;
    core_bed_put(&bed, &pending, "p", "v", 0);
    core_bed_range(&bed, &range, "k", "", false);
    core_bed_barrier(&bed, &barrier);
    core_stop(bed.core);
    assert_int_equal(pending.error, ERR_STOPPED);
    assert_int_equal(barrier.error, ERR_STOPPED);
    assert_int_equal(range.error, ERR_STOPPED);
    assert_int_equal(wait.error, ERR_STOPPED);
    assert_int_equal(waiting.error, ERR_STOPPED);
    assert_int_equal(pending.ended + barrier.ended + range.ended + wait.ended + waiting.ended, 5);
    assert_int_equal(core_bed_put(&bed, &pending, "p", "v", 0), ERR_STOPPED);
    core_bed_run(&bed);
    assert_false(core_stopped(bed.core));
    bed.log_held = bed.store_held = bed.work_held = false;
    core_bed_run(&bed);
    assert_true(core_stopped(bed.core));
    assert_int_equal(running.ended, 1);
    assert_int_equal(running.error, ERR_STOPPED); /* the worker doesn't read the table to its end */
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
}

static void test_a_stop_before_it_is_ready(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct core_bed bed = {0};
        core_bed_open(&bed);
        for (unsigned i = 0; i < turns; i++) {
            core_bed_turn(&bed);
        }
        core_bed_close(&bed);
    }
}

static void test_a_stop_with_a_full_disk_does_not_wait_for_space(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put, last;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    core_bed_advance(&bed, 1000);
    bed.commits_full = true;
    core_bed_put(&bed, &put, "k", "v", 0);
    core_bed_advance(&bed, 500);
    assert_int_equal(put.error, 0);
    bed.log_full = true;
    core_bed_delete(&bed, &last, "k");
    core_bed_advance(&bed, 500);
    assert_int_equal(last.ended, 0);
    core_bed_stop(&bed);
    assert_true(core_stopped(bed.core));
    assert_int_equal(last.ended, 1);
    assert_int_equal(last.error, ERR_STOPPED);
    core_bed_crash(&bed);
    core_bed_ready(&bed);
    assert_string_equal(core_bed_value(&bed, "k"), "v"); /* from the log */
    core_bed_close(&bed);
}

static void test_a_long_delete_is_finished_before_a_stop(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct core_bed bed = {0};
    struct bed_request *puts = calloc(COUNT, sizeof *puts), compact;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    for (unsigned i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        core_bed_put(&bed, &puts[i], key, "v", 0);
    }
    core_bed_run(&bed);
    struct bed_request all;
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_range.key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)"k"};
    delete_range.range_end = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)"l"};
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.delete_range = &delete_range;
    core_bed_barrier(&bed, &all);
    core_cancel(bed.core, &all.request);
    assert_int_equal(core_propose(bed.core, &all.request, &internal), 0);
    core_bed_turn(&bed);
    core_bed_turn(&bed);
    assert_int_equal(all.ended, 0); /* it takes some slices */
    (void)compact;
    core_bed_stop(&bed);
    assert_true(core_stopped(bed.core));
    assert_int_equal(all.ended, 1);
    assert_int_equal(kv_stats(bed.kv).keys, 0);
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
    free(puts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_publishes_itself_then_the_clusters_version_then_it_is_ready),
        cmocka_unit_test(test_it_is_ready_again_after_a_crash),
        cmocka_unit_test(test_a_failed_publishing_is_tried_again),
        cmocka_unit_test(test_a_lease_ends_by_an_entry_of_the_log_not_before_its_time),
        cmocka_unit_test(test_after_a_restart_a_lease_gets_its_whole_time_again),
        cmocka_unit_test(test_many_leases_that_end_at_once_are_revoked_sixteen_at_a_time),
        cmocka_unit_test(test_a_stop_ends_everything_that_is_open_and_stores_what_is_applied),
        cmocka_unit_test(test_a_stop_before_it_is_ready),
        cmocka_unit_test(test_a_stop_with_a_full_disk_does_not_wait_for_space),
        cmocka_unit_test(test_a_long_delete_is_finished_before_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
