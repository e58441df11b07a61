/* Three members and more, without faults: what a user of consensus sees. The rules are in tests/data/raft/. */
#include "base/error.h"
#include "tests/support/raft_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct raft_bed *cluster(size_t voters)
{
    struct raft_bed *bed = raft_bed_new(7);
    struct raft_conf_state conf = {0};
    for (uint64_t id = 1; id <= voters; id++) {
        raft_ids_add(&conf.voters, id);
    }
    for (uint64_t id = 1; id <= voters; id++) {
        raft_bed_start(raft_bed_add(bed, id, &conf));
    }
    raft_conf_state_free(&conf);
    return bed;
}

static void test_three_members_elect_and_replicate(void **state)
{
    (void)state;
    struct raft_bed *bed = cluster(3);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000);
    assert_non_null(leader);
    struct raft_position at;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(raft_bed_propose(leader, "x", &at), 0);
    }
    raft_bed_quiesce(bed);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bed->members[i].applied, at.index);
        assert_int_equal(bed->members[i].hash, leader->hash);
        assert_int_equal(bed->members[i].leader, leader->id);
    }
    raft_bed_free(bed);
}

static void test_a_follower_forwards_proposals_and_reads(void **state)
{
    (void)state;
    struct raft_bed *bed = cluster(3);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000);
    raft_bed_quiesce(bed);
    struct raft_bed_member *follower = &bed->members[leader == &bed->members[0] ? 1 : 0];
    struct raft_position at;
    uint64_t before = leader->applied;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(raft_bed_propose(follower, "y", &at), 0);
    }
    raft_bed_quiesce(bed);
    assert_int_equal(follower->applied, before + 200);
    raft_read_index(follower->raft, 5);
    raft_bed_quiesce(bed);
    assert_int_equal(follower->answer_count, 1);
    assert_int_equal(follower->answers[0].context, 5);
    assert_int_equal(follower->answers[0].index, before + 200);
    raft_bed_free(bed);
}

static void test_another_leads_when_the_leader_is_gone(void **state)
{
    (void)state;
    struct raft_bed *bed = cluster(3);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000);
    struct raft_position at;
    raft_bed_propose(leader, "z", &at);
    raft_bed_quiesce(bed);
    raft_bed_crash(leader, 0);
    struct raft_bed_member *next = raft_bed_elect(bed, 5000);
    assert_non_null(next);
    assert_ptr_not_equal(next, leader);
    raft_bed_propose(next, "z", &at);
    raft_bed_quiesce(bed);
    raft_bed_start(leader);
    for (int i = 0; i < 50; i++) {
        raft_bed_tick(bed, 100);
        raft_bed_quiesce(bed);
    }
    assert_int_equal(leader->applied, next->applied);
    assert_int_equal(next->role, RAFT_LEADER);
    raft_bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_members_elect_and_replicate),
        cmocka_unit_test(test_a_follower_forwards_proposals_and_reads),
        cmocka_unit_test(test_another_leads_when_the_leader_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
