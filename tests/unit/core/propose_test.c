/* Proposals: acknowledged when durable and applied, each ended exactly once, whatever happens meanwhile. */
#include "tests/support/core_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* etcd#14370: with one voter, too. */
static void test_a_put_is_acknowledged_only_once_it_is_durable(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.log_held = true;
    assert_int_equal(core_bed_put(&bed, &put, "k", "v", 0), 0);
    core_bed_advance(&bed, 300);
    assert_int_equal(put.ended, 0);
    assert_string_equal(core_bed_value(&bed, "k"), "");
    bed.log_held = false;
    core_bed_turn(&bed);
    assert_int_equal(bed.entries[bed.entry_count - 1].index, core_raft_status(bed.core).last_index);
    core_bed_run(&bed);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, 0);
    assert_int_equal(put.revision, 2);
    assert_string_equal(core_bed_value(&bed, "k"), "v");
    core_bed_close(&bed);
}

static void test_what_was_acknowledged_is_there_after_a_crash(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request acknowledged, lost;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.store_held = true;
    core_bed_put(&bed, &acknowledged, "a", "1", 0);
    core_bed_run(&bed);
    assert_int_equal(acknowledged.ended, 1);
    bed.log_held = true;
    core_bed_put(&bed, &lost, "b", "2", 0);
    core_bed_run(&bed);
    core_bed_crash(&bed);
    assert_int_equal(lost.ended, 1);
    assert_int_equal(lost.error, ERR_STOPPED);
    core_bed_ready(&bed);
    assert_string_equal(core_bed_value(&bed, "a"), "1");
    assert_string_equal(core_bed_value(&bed, "b"), "");
    core_bed_close(&bed);
}

static void test_proposals_of_one_turn_go_to_the_log_together(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request puts[100];
    core_bed_open(&bed);
    core_bed_ready(&bed);
    uint64_t saves = core_stats(bed.core).saves_total;
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(core_bed_put(&bed, &puts[i], "k", "v", 0), 0);
    }
    core_bed_run(&bed);
    assert_int_equal(core_stats(bed.core).saves_total - saves, 1);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(puts[i].ended, 1);
        assert_int_equal(puts[i].revision, 2 + i);
    }
    core_bed_close(&bed);
}

static void test_a_proposal_times_out_after_seven_seconds_and_counts_all_the_same(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.log_held = true;
    core_bed_put(&bed, &put, "k", "v", 0);
    core_bed_advance(&bed, 6999);
    assert_int_equal(put.ended, 0);
    core_bed_advance(&bed, 1);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, ERR_TIMEOUT);
    bed.log_held = false;
    core_bed_run(&bed);
    assert_int_equal(put.ended, 1);
    assert_string_equal(core_bed_value(&bed, "k"), "v");
    core_bed_close(&bed);
}

static void test_many_that_time_out_at_once_take_several_turns(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct core_bed bed = {0};
    struct bed_request *puts = calloc(COUNT, sizeof *puts);
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.log_held = true;
    for (size_t i = 0; i < COUNT; i++) {
        core_bed_put(&bed, &puts[i], "k", "v", 0);
    }
    core_bed_run(&bed);
    bed.now_ms += 7000;
    assert_true(core_bed_turn(&bed));
    unsigned ended = 0;
    for (size_t i = 0; i < COUNT; i++) {
        ended += puts[i].ended;
    }
    assert_in_range(ended, 1, 1000);
    core_bed_run(&bed);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(puts[i].ended, 1);
    }
    core_bed_close(&bed);
    free(puts);
}

/* Before the first election nobody leads. */
static void test_without_a_leader_a_proposal_waits_and_ends_as_its_context(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    struct bed_request put;
    core_bed_open(&bed);
    assert_int_equal(core_bed_put(&bed, &put, "k", "v", 0), 0);
    core_bed_advance(&bed, 6999);
    assert_int_equal(put.ended, 0);
    core_bed_advance(&bed, 1);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, ERR_CONTEXT_DEADLINE_EXCEEDED);
    core_bed_close(&bed);
}

static void test_what_waited_for_a_leader_is_proposed_once_there_is_one(void **state)
{
    (void)state;
    struct core_bed bed = {.log_held = true};
    struct bed_request put, cancelled;
    core_bed_open(&bed);
    assert_int_equal(core_bed_put(&bed, &put, "k", "v", 0), 0);
    assert_int_equal(core_bed_put(&bed, &cancelled, "c", "v", 0), 0);
    core_bed_run(&bed);
    core_cancel(bed.core, &cancelled.request);
    bed.log_held = false;
    core_bed_ready(&bed);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, 0);
    assert_int_equal(cancelled.ended, 0);
    assert_string_equal(core_bed_value(&bed, "k"), "v");
    assert_string_equal(core_bed_value(&bed, "c"), "");
    core_bed_close(&bed);
}

static void test_a_cancelled_proposal_is_applied_but_not_answered(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.log_held = true;
    core_bed_put(&bed, &put, "k", "v", 0);
    core_bed_run(&bed);
    core_cancel(bed.core, &put.request);
    core_cancel(bed.core, &put.request);
    bed.log_held = false;
    core_bed_run(&bed);
    assert_int_equal(put.ended, 0);
    assert_string_equal(core_bed_value(&bed, "k"), "v");
    core_cancel(bed.core, &put.request);
    assert_int_equal(core_stats(bed.core).proposals_pending, 0);
    core_bed_close(&bed);
}

struct chain {
    struct core_request request;
    struct core_bed *bed;
    unsigned left;
    struct bed_request *last;
};

static void next_link(struct core_request *request, int error, ProtobufCMessage *response)
{
    struct chain *chain = request->owner;
    (void)response;
    assert_int_equal(error, 0);
    struct core_bed *bed = chain->bed;
    struct bed_request *last = chain->last;
    unsigned left = chain->left;
    free(chain); /* a request may be freed in its own done */
    if (left == 0) {
        assert_int_equal(core_bed_put(bed, last, "last", "v", 0), 0);
        return;
    }
    struct chain *next = calloc(1, sizeof *next);
    *next = (struct chain){.bed = bed, .left = left - 1, .last = last};
    next->request = (struct core_request){.done = next_link, .owner = next};
    if (left % 2 == 0) {
        assert_int_equal(core_barrier(bed->core, &next->request), 0);
        return;
    }
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_range.key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)"x"};
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.delete_range = &delete_range;
    assert_int_equal(core_propose(bed->core, &next->request, &internal), 0);
}

static void test_done_may_free_its_request_and_start_others(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request last = {0};
    core_bed_open(&bed);
    core_bed_ready(&bed);
    struct chain *first = calloc(1, sizeof *first);
    *first = (struct chain){.bed = &bed, .left = 20, .last = &last};
    first->request = (struct core_request){.done = next_link, .owner = first};
    assert_int_equal(core_barrier(bed.core, &first->request), 0);
    core_bed_run(&bed);
    assert_int_equal(last.ended, 1);
    core_bed_close(&bed);
}

/* More than 5,000 committed entries that are not applied: apply is held back by what the store does not take. */
static void test_too_many_unapplied_entries_refuse_proposals_but_not_revokes(void **state)
{
    (void)state;
    enum { COUNT = 6000 };
    struct core_bed bed = {0};
    struct bed_request *puts = calloc(COUNT, sizeof *puts), big[80], one;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.store_held = true;
    for (size_t i = 0; i < 80; i++) {
        assert_int_equal(core_bed_put_bytes(&bed, &big[i], "big", 1000000), 0);
    }
    core_bed_run(&bed);
    assert_int_equal(big[0].ended, 1);
    assert_int_equal(big[79].ended, 0); /* 64 MiB are on their way to the store: apply pauses */
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(core_bed_put(&bed, &puts[i], "k", "v", 0), 0);
    }
    core_bed_run(&bed);
    assert_int_equal(core_bed_put(&bed, &one, "k", "v", 0), ERR_TOO_MANY_REQUESTS);
    assert_int_equal(core_bed_delete(&bed, &one, "k"), ERR_TOO_MANY_REQUESTS);
    assert_in_range(core_bed_advance(&bed, 1000), 0, 200); /* and it doesn't spin meanwhile */
    bed.store_held = false;
    core_bed_advance(&bed, 1000);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(puts[i].ended, 1);
    }
    assert_int_equal(core_bed_put(&bed, &one, "k", "v", 0), 0);
    core_bed_run(&bed);
    assert_int_equal(one.ended, 1);
    core_bed_close(&bed);
    free(puts);
}

static void test_a_request_that_is_too_large_is_refused(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put;
    core_bed_open(&bed);
    core_bed_ready(&bed);
    assert_int_equal(core_bed_put_bytes(&bed, &put, "k", 1600000), ERR_REQUEST_TOO_LARGE);
    assert_int_equal(put.ended, 0);
    core_bed_close(&bed);
}

static void test_entries_that_memory_dropped_come_back_from_the_log(void **state)
{
    (void)state;
    struct core_bed bed = {.raft_log_bytes = 10000};
    struct bed_request big[80], puts[200];
    core_bed_open(&bed);
    core_bed_ready(&bed);
    bed.store_held = true;
    for (size_t i = 0; i < 80; i++) {
        core_bed_put_bytes(&bed, &big[i], "big", 1000000);
    }
    core_bed_run(&bed);
    for (size_t i = 0; i < 200; i++) {
        core_bed_put_bytes(&bed, &puts[i], "k", 1000);
    }
    core_bed_run(&bed);
    bed.store_held = false;
    core_bed_advance(&bed, 1000);
    assert_in_range(bed.log_reads, 1, 1000);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(puts[i].ended, 1);
        assert_int_equal(puts[i].revision, 82 + i);
    }
    core_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_put_is_acknowledged_only_once_it_is_durable),
        cmocka_unit_test(test_what_was_acknowledged_is_there_after_a_crash),
        cmocka_unit_test(test_proposals_of_one_turn_go_to_the_log_together),
        cmocka_unit_test(test_a_proposal_times_out_after_seven_seconds_and_counts_all_the_same),
        cmocka_unit_test(test_many_that_time_out_at_once_take_several_turns),
        cmocka_unit_test(test_without_a_leader_a_proposal_waits_and_ends_as_its_context),
        cmocka_unit_test(test_what_waited_for_a_leader_is_proposed_once_there_is_one),
        cmocka_unit_test(test_a_cancelled_proposal_is_applied_but_not_answered),
        cmocka_unit_test(test_done_may_free_its_request_and_start_others),
        cmocka_unit_test(test_too_many_unapplied_entries_refuse_proposals_but_not_revokes),
        cmocka_unit_test(test_a_request_that_is_too_large_is_refused),
        cmocka_unit_test(test_entries_that_memory_dropped_come_back_from_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
