/* Late commits and checkpoints. */
#include "tests/support/core_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void put(struct core_bed *bed, const char *key)
{
    struct bed_request request;
    assert_int_equal(core_bed_put(bed, &request, key, "v", 0), 0);
    core_bed_run(bed);
    assert_int_equal(request.ended, 1);
    assert_int_equal(request.error, 0);
}

static void settle(struct core_bed *bed)
{
    core_bed_open(bed);
    core_bed_ready(bed);
    core_bed_advance(bed, 1000);
    assert_int_equal(kv_stats(bed->kv).stored_index, kv_applied_index(bed->kv));
}

static void test_what_is_applied_is_stored_within_the_batch_interval(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    settle(&bed);
    size_t commits = bed.commits;
    for (unsigned i = 0; i < 50; i++) {
        put(&bed, "k");
    }
    core_bed_advance(&bed, 99);
    assert_int_equal(bed.commits, commits);
    core_bed_advance(&bed, 1);
    assert_int_equal(bed.commits, commits + 1);
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
}

static void test_a_big_batch_does_not_wait(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request puts[20];
    settle(&bed);
    size_t commits = bed.commits;
    for (unsigned i = 0; i < 20; i++) {
        core_bed_put_bytes(&bed, &puts[i], "k", 1000000);
    }
    core_bed_run(&bed);
    assert_in_range(bed.commits, commits + 1, commits + 5);
    core_bed_close(&bed);
}

/* Repacking and commits share the store's thread; what came due meanwhile must not be forgotten. */
static void test_a_commit_that_came_due_during_repacking_is_made_after_it(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request compact;
    settle(&bed);
    for (unsigned i = 0; i < 10; i++) {
        put(&bed, "k");
    }
    core_bed_compact(&bed, &compact, 8);
    for (unsigned i = 0; i < 2000; i++) { /* to where the repacking is asked for */
        core_bed_turn(&bed);
        bed.now_ms++;
        if (!list_empty(&bed.store_jobs)) {
            break;
        }
        bed.store_held = kv_compact_state(bed.kv) == KV_COMPACT_IDLE;
    }
    bed.store_held = true;
    core_bed_run(&bed);
    while (!list_empty(&bed.store_jobs) && list_first(&bed.store_jobs, struct core_job, node)->kind != CORE_REPACK) {
        core_bed_one(&bed, &bed.store_jobs);
        core_bed_run(&bed);
    }
    assert_false(list_empty(&bed.store_jobs)); /* repacking is under way */
    put(&bed, "late");
    assert_in_range(core_bed_advance(&bed, 1000), 0, 100); /* due, and nothing can be done: it doesn't spin */
    bed.store_held = false;
    core_bed_run(&bed);
    core_bed_advance(&bed, 200);
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
}

/* What was deleted is gone first; while the store is copied nothing is committed, and what came due then is not
 * forgotten. */
static void test_defragmenting_waits_for_the_compaction_and_holds_commits_back(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request puts[8], compact, defragment, late;
    settle(&bed);
    for (unsigned i = 0; i < 8; i++) {
        core_bed_put_bytes(&bed, &puts[i], "k", 100000);
    }
    core_bed_advance(&bed, 500);
    core_bed_compact(&bed, &compact, kv_revision(bed.kv));
    core_bed_run(&bed);
    assert_int_equal(core_bed_defragment(&bed, &defragment), 0);
    bed.defragment_held = true;
    core_bed_advance(&bed, 3000);
    assert_false(list_empty(&bed.store_jobs)); /* it is under way */
    struct kv_stats stats = kv_stats(bed.kv);
    assert_in_range(stats.size_in_use_bytes, 1, stats.size_bytes / 2); /* all but one value is deleted */
    size_t commits = bed.commits;
    core_bed_put(&bed, &late, "late", "v", 0);
    assert_in_range(core_bed_advance(&bed, 1000), 0, 100);
    assert_int_equal(late.ended, 1); /* it does not wait for the store */
    assert_int_equal(defragment.ended, 0);
    assert_int_equal(bed.commits, commits);
    bed.defragment_held = false;
    core_bed_advance(&bed, 1000);
    assert_int_equal(bed.defragments, 1);
    assert_int_equal(defragment.ended, 1);
    assert_int_equal(defragment.error, 0);
    assert_int_equal(kv_stats(bed.kv).stored_index, kv_applied_index(bed.kv));
    core_bed_close(&bed);
}

static void test_a_store_without_free_space_is_not_copied(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request defragment;
    settle(&bed);
    put(&bed, "k");
    core_bed_advance(&bed, 500);
    assert_int_equal(core_bed_defragment(&bed, &defragment), 0);
    core_bed_advance(&bed, 500);
    assert_int_equal(defragment.ended, 1);
    assert_int_equal(defragment.error, 0);
    assert_int_equal(bed.defragments, 0);
    core_bed_close(&bed);
}

static void test_a_checkpoint_is_made_after_snapshot_count_entries_at_what_is_stored(void **state)
{
    (void)state;
    struct core_bed bed = {.config = {.snapshot_count = 100}};
    settle(&bed);
    for (unsigned i = 0; i < 99; i++) {
        put(&bed, "k");
    }
    core_bed_advance(&bed, 200);
    size_t before = bed.checkpoints;
    bed.store_held = true;
    for (unsigned i = 0; i < 100; i++) {
        put(&bed, "k");
    }
    core_bed_advance(&bed, 200);
    assert_int_equal(bed.checkpoints, before); /* nothing of it is stored */
    bed.store_held = false;
    core_bed_advance(&bed, 200);
    assert_int_equal(bed.checkpoints, before + 1);
    assert_int_equal(bed.checkpoint.index, kv_stats(bed.kv).stored_index);
    assert_int_equal(bed.checkpoint.term, kv_stats(bed.kv).stored_term);
    assert_in_range(bed.hard_state.commit, bed.checkpoint.index, UINT64_MAX);
    core_bed_close(&bed);
}

static void set_downgrade(struct core_bed *bed)
{
    struct bed_request request;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    set.enabled = true;
    set.ver = (char *)(uintptr_t) "3.6.0";
    internal.downgrade_info_set = &set;
    assert_int_equal(core_bed_propose(bed, &request, &internal), 0);
    core_bed_run(bed);
    assert_int_equal(request.error, 0);
}

/* mvcc.md "Cluster version and downgrade": an etcd 3.6 does not start from a log whose end says 3.7. */
static void test_a_lower_cluster_version_forces_a_checkpoint(void **state)
{
    (void)state;
    struct core_bed bed = {.config = {.snapshot_count = 1000}};
    settle(&bed);
    assert_string_equal(kv_cluster_version(bed.kv), "3.7.0");
    size_t before = bed.checkpoints;
    set_downgrade(&bed);
    core_bed_advance(&bed, 10000);
    assert_string_equal(kv_cluster_version(bed.kv), "3.6.0");
    assert_int_equal(bed.checkpoints, before + 1);
    assert_int_equal(bed.checkpoint.index, kv_stats(bed.kv).stored_index);
    put(&bed, "k");
    core_bed_advance(&bed, 1000);
    assert_int_equal(bed.checkpoints, before + 1);
    core_bed_close(&bed);
}

static void test_an_idle_member_takes_few_turns(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    settle(&bed);
    put(&bed, "k");
    core_bed_advance(&bed, 1000);
    assert_in_range(core_bed_advance(&bed, 60000), 0, 200);
    core_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_applied_is_stored_within_the_batch_interval),
        cmocka_unit_test(test_a_big_batch_does_not_wait),
        cmocka_unit_test(test_a_commit_that_came_due_during_repacking_is_made_after_it),
        cmocka_unit_test(test_defragmenting_waits_for_the_compaction_and_holds_commits_back),
        cmocka_unit_test(test_a_store_without_free_space_is_not_copied),
        cmocka_unit_test(test_a_checkpoint_is_made_after_snapshot_count_entries_at_what_is_stored),
        cmocka_unit_test(test_a_lower_cluster_version_forces_a_checkpoint),
        cmocka_unit_test(test_an_idle_member_takes_few_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
