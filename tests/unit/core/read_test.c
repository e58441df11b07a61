/* Reads: linearizable ones wait for a read index and for apply; hashes; nothing is answered twice or forgotten. */
#include "tests/support/core_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void fill(struct core_bed *bed, unsigned keys)
{
    struct bed_request *puts = calloc(keys, sizeof *puts);
    for (unsigned i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%06u", i);
        assert_int_equal(core_bed_put(bed, &puts[i], key, "value", 0), 0);
    }
    core_bed_run(bed);
    assert_int_equal(puts[keys - 1].ended, 1);
    free(puts);
}

static void test_a_barrier_waits_for_the_first_entry_of_the_term(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    struct bed_request barrier;
    core_bed_open(&bed);
    core_bed_turn(&bed);
    while (!core_has_leader(bed.core)) { /* its vote becomes durable, and no more */
        core_bed_one(&bed, &bed.log_jobs);
        core_bed_turn(&bed);
    }
    assert_int_equal(core_bed_barrier(&bed, &barrier), 0);
    core_bed_advance(&bed, 2000);
    assert_int_equal(barrier.ended, 0);
    bed.log_held = false;
    core_bed_advance(&bed, 600);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, 0);
    core_bed_close(&bed);
}

/* As in etcd: whoever waits for an index while a leader is elected is told so, and asks again. */
static void test_a_barrier_from_before_the_election_ends_with_leader_changed(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    struct bed_request barrier;
    core_bed_open(&bed);
    assert_int_equal(core_bed_barrier(&bed, &barrier), 0);
    core_bed_advance(&bed, 2000);
    assert_int_equal(barrier.ended, 0);
    bed.log_held = false;
    core_bed_advance(&bed, 600);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, ERR_LEADER_CHANGED);
    core_bed_close(&bed);
}

static void test_barriers_time_out_and_do_not_spin_meanwhile(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    struct bed_request early, late;
    core_bed_open(&bed);
    core_bed_barrier(&bed, &early);
    core_bed_advance(&bed, 3000);
    core_bed_barrier(&bed, &late);
    assert_in_range(core_bed_advance(&bed, 3999), 0, 300);
    assert_int_equal(early.ended, 0);
    core_bed_advance(&bed, 1);
    assert_int_equal(early.ended, 1);
    assert_int_equal(early.error, ERR_TIMEOUT);
    assert_int_equal(late.ended, 0);
    core_bed_advance(&bed, 3000);
    assert_int_equal(late.ended, 1);
    core_bed_close(&bed);
}

/* The read index is known, but apply is held back by what the store does not take. */
static void test_a_read_waits_until_its_index_is_applied(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request puts[80], last, barrier;
    struct bed_range range;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.store_held = true;
    for (unsigned i = 0; i < 80; i++) {
        core_bed_put_bytes(&bed, &puts[i], "big", 1000000);
    }
    core_bed_put(&bed, &last, "last", "v", 0);
    core_bed_run(&bed);
    assert_int_equal(last.ended, 0);
    core_bed_barrier(&bed, &barrier);
    core_bed_range(&bed, &range, "last", "", false);
    assert_in_range(core_bed_advance(&bed, 2000), 0, 300);
    assert_int_equal(barrier.ended, 0);
    assert_int_equal(range.ended, 0);
    bed.store_held = false;
    core_bed_run(&bed);
    assert_int_equal(last.ended, 1);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(range.ended, 1);
    assert_int_equal(range.range.range.count, 1);
    kv_range_end(&range.range.range);
    core_bed_close(&bed);
}

static void test_many_barriers_are_let_through_in_several_turns(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct core_bed bed = {0};
    struct bed_request *barriers = calloc(COUNT, sizeof *barriers);
    core_bed_open(&bed);
    core_bed_ready(&bed);
    for (unsigned i = 0; i < COUNT; i++) {
        core_bed_barrier(&bed, &barriers[i]);
    }
    unsigned ended = 0;
    assert_true(core_bed_turn(&bed));
    for (unsigned i = 0; i < COUNT; i++) {
        ended += barriers[i].ended;
    }
    assert_in_range(ended, 1, 500);
    core_bed_run(&bed);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(barriers[i].ended, 1);
    }
    assert_int_equal(core_stats(bed.core).reads_pending, 0);
    core_bed_close(&bed);
    free(barriers);
}

static void test_a_read_can_be_taken_back_at_each_stage(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_range range;
    struct bed_request barrier;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 5000);

    core_bed_barrier(&bed, &barrier); /* before the turn that asks */
    core_cancel(bed.core, &barrier.request);
    core_bed_range(&bed, &range, "key", "l", false);
    core_range_cancel(&range.range);
    core_bed_run(&bed);
    assert_int_equal(barrier.ended + range.ended, 0);

    core_bed_range(&bed, &range, "key", "l", true); /* ready */
    core_range_cancel(&range.range);
    core_bed_run(&bed);
    assert_int_equal(range.ended, 0);

    core_bed_range(&bed, &range, "key", "l", true);
    range.request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    range.request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    core_bed_turn(&bed); /* a slice of it */
    assert_int_equal(range.ended, 0);
    core_range_cancel(&range.range);
    core_bed_run(&bed);
    assert_int_equal(range.ended, 0);
    core_range_cancel(&range.range);
    core_bed_close(&bed); /* no pin was left: the store's checks at the end say so */
}

static void test_long_ranges_take_turns_with_writes(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_range ranges[20];
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 20000);
    for (unsigned i = 0; i < 20; i++) {
        core_bed_range(&bed, &ranges[i], "key", "l", true);
        ranges[i].request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
        ranges[i].request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    }
    core_bed_put(&bed, &put, "other", "v", 0);
    for (unsigned i = 0; i < 4; i++) {
        core_bed_turn(&bed);
    }
    assert_int_equal(put.ended, 1);
    assert_int_equal(ranges[19].ended, 0);
    core_bed_run(&bed);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(ranges[i].ended, 1);
        assert_int_equal(ranges[i].range.range.count, 20000);
        kv_range_end(&ranges[i].range.range);
    }
    core_bed_close(&bed);
}

/* --- hashes --- */

static void test_a_hash_is_of_what_was_applied_when_it_was_asked_for(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_hash hash, again;
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 10);
    assert_int_equal(core_bed_hash(&bed, &hash, KV_HASH_KV, 0), 0);
    core_bed_run(&bed);
    assert_int_equal(hash.ended, 1);
    assert_int_equal(hash.error, 0);
    assert_int_equal(hash.result.hash_revision, 11);
    core_bed_put(&bed, &put, "k", "v", 0);
    core_bed_run(&bed);
    assert_int_equal(core_bed_hash(&bed, &again, KV_HASH_KV, 11), 0);
    core_bed_run(&bed);
    assert_int_equal(again.ended, 1);
    assert_int_equal(again.result.hash, hash.result.hash);
    core_bed_close(&bed);
}

static void test_a_hash_waits_for_the_compaction_at_work(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request compact;
    struct bed_hash hash;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 10);
    bed.work_held = true; /* the compaction's own hash */
    core_bed_compact(&bed, &compact, 8);
    core_bed_run(&bed);
    assert_int_equal(compact.ended, 1);
    assert_int_equal(core_bed_hash(&bed, &hash, KV_HASH_KV, 8), 0);
    assert_in_range(core_bed_advance(&bed, 1000), 0, 200);
    assert_int_equal(hash.ended, 0);
    bed.work_held = false;
    core_bed_run(&bed);
    assert_int_equal(hash.ended, 1);
    assert_int_equal(hash.error, 0);
    assert_int_equal(hash.result.compact_revision, -1); /* of the compaction's hash: what was kept before it */
    core_bed_close(&bed);
}

static void test_a_compaction_that_waits_for_a_reader_does_not_spin_afterwards(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request compact, wait = {0};
    struct bed_range range;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 10);
    core_bed_range(&bed, &range, "key", "l", true);
    core_bed_run(&bed); /* pinned from here on */
    assert_int_equal(range.ended, 1);
    fill(&bed, 10);
    core_bed_compact(&bed, &compact, 15);
    core_bed_run(&bed);
    struct bed_request second;
    core_bed_compact(&bed, &second, 18);
    core_bed_advance(&bed, 1000);
    bed.work_held = true;
    kv_range_end(&range.range.range);
    core_bed_advance(&bed, 100);
    assert_in_range(core_bed_advance(&bed, 1000), 0, 200);
    bed.work_held = false;
    core_bed_advance(&bed, 1000);
    (void)wait;
    assert_int_equal(kv_compact_state(bed.kv), KV_COMPACT_IDLE);
    core_bed_close(&bed);
}

static void test_a_hash_can_be_taken_back_at_each_stage(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_hash waiting, opening, running;
    struct bed_request compact;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 10);

    bed.store_held = true;
    core_bed_hash(&bed, &opening, KV_HASH_ALL, 0);
    core_bed_run(&bed);
    bed.store_held = false;
    core_bed_hash(&bed, &waiting, KV_HASH_ALL, 0);
    core_hash_cancel(waiting.hash);
    core_hash_cancel(opening.hash);
    core_bed_run(&bed);

    bed.work_held = true;
    core_bed_hash(&bed, &running, KV_HASH_KV, 0);
    core_bed_run(&bed);
    core_hash_cancel(running.hash);
    core_bed_compact(&bed, &compact, 8);
    core_bed_run(&bed);
    core_bed_hash(&bed, &waiting, KV_HASH_KV, 8); /* for the compaction */
    core_hash_cancel(waiting.hash);
    bed.work_held = false;
    core_bed_run(&bed);
    assert_int_equal(waiting.ended + opening.ended + running.ended, 0);
    core_bed_close(&bed);
}

static void test_a_physical_compaction_is_told_when_its_deletes_are_stored(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request compact, wait = {.request = {0}}, put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    fill(&bed, 10);
    core_bed_put(&bed, &put, "key000001", "new", 0);
    core_bed_run(&bed);
    core_bed_compact(&bed, &compact, 12);
    core_bed_run(&bed);
    assert_int_equal(compact.ended, 1);
    core_bed_advance(&bed, 1000);
    core_bed_barrier(&bed, &wait);
    core_cancel(bed.core, &wait.request); /* only for its done */
    core_wait_compacted(bed.core, &wait.request, 12);
    core_bed_run(&bed);
    assert_int_equal(wait.ended, 1);
    assert_int_equal(wait.error, 0);
    core_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_barrier_waits_for_the_first_entry_of_the_term),
        cmocka_unit_test(test_a_barrier_from_before_the_election_ends_with_leader_changed),
        cmocka_unit_test(test_barriers_time_out_and_do_not_spin_meanwhile),
        cmocka_unit_test(test_a_read_waits_until_its_index_is_applied),
        cmocka_unit_test(test_many_barriers_are_let_through_in_several_turns),
        cmocka_unit_test(test_a_read_can_be_taken_back_at_each_stage),
        cmocka_unit_test(test_long_ranges_take_turns_with_writes),
        cmocka_unit_test(test_a_hash_is_of_what_was_applied_when_it_was_asked_for),
        cmocka_unit_test(test_a_hash_waits_for_the_compaction_at_work),
        cmocka_unit_test(test_a_compaction_that_waits_for_a_reader_does_not_spin_afterwards),
        cmocka_unit_test(test_a_hash_can_be_taken_back_at_each_stage),
        cmocka_unit_test(test_a_physical_compaction_is_told_when_its_deletes_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
