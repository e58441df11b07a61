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

/* Until it leads: member 2, which is not there, is said to have voted for it. */
static void win(struct raft_bed_member *m, uint64_t term)
{
    while (m->role != RAFT_CANDIDATE) {
        raft_bed_pass(m, 10);
        raft_bed_settle(m);
    }
    raft_bed_disk(m, SIZE_MAX);
    const struct raft_message grant = {.type = RAFT_MSG_VOTE_RESPONSE, .from = 2, .to = 1, .term = term};
    raft_step(m->raft, &grant);
    raft_bed_settle(m);
    assert_int_equal(m->role, RAFT_LEADER);
}

/* Another leader's entries 2 to 10, in term 2. */
static void replace_entries(struct raft_bed_member *m, struct shared *data)
{
    struct raft_entry entries[9];
    for (uint64_t i = 0; i < 9; i++) {
        entries[i] = (struct raft_entry){.index = 2 + i, .term = 2, .data = data};
    }
    const struct raft_message app = {.type = RAFT_MSG_APPEND,
                                     .from = 2,
                                     .to = 1,
                                     .term = 2,
                                     .index = 1,
                                     .log_term = 1,
                                     .entries = entries,
                                     .entry_count = 9};
    raft_step(m->raft, &app);
    raft_bed_settle(m);
    raft_bed_disk(m, SIZE_MAX);
}

static void assert_terms_sent(const struct raft_bed *bed)
{
    for (size_t i = 0; i < bed->packet_count; i++) {
        const struct raft_message *p = &bed->packets[i]->message;
        for (size_t k = 0; p->term == 3 && k < p->entry_count; k++) {
            uint64_t index = p->entries[k].index;
            assert_int_equal(p->entries[k].term, index == 1 ? 1 : index <= 10 ? 2 : 3);
        }
    }
}

/* A read of the log may be answered when this member was deposed and leads again: what was replaced meanwhile isn't
 * sent. The read is of entries that memory dropped before they were committed. */
static void test_entries_that_were_replaced_while_they_were_read_are_not_sent(void **state)
{
    (void)state;
    struct raft_bed *bed = raft_bed_new(3);
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    raft_ids_add(&conf.voters, 2);
    struct raft_bed_member *m = raft_bed_add_plain(bed, 1, &conf);
    raft_conf_state_free(&conf);
    m->config.log_bytes = 100;
    m->config.pre_vote = false;
    raft_bed_start(m);
    win(m, 1);
    struct raft_position at;
    for (int i = 0; i < 10; i++) {
        raft_bed_propose(m, "this is longer than a tenth of what memory takes", &at);
    }
    raft_bed_settle(m);
    raft_bed_disk(m, SIZE_MAX);
    const struct raft_message has_nothing = {.type = RAFT_MSG_APPEND_RESPONSE, .from = 2, .to = 1, .term = 1};
    raft_step(m->raft, &has_nothing);
    raft_bed_settle(m);
    assert_true(m->log_read_out);
    const struct raft_entry old = {.index = m->log_read_from, .term = 1};

    struct shared *data = shared_copy(bytes_str("as long as what it replaces, and from another leader"));
    replace_entries(m, data);
    win(m, 3);
    m->log_read_out = false;
    raft_log_entries(m->raft, old.index, &old, 1, 0);
    const struct raft_message lacks = {.type = RAFT_MSG_APPEND_RESPONSE,
                                       .from = 2,
                                       .to = 1,
                                       .term = 3,
                                       .index = 10,
                                       .reject = true,
                                       .reject_hint = old.index - 1,
                                       .log_term = old.index == 2 ? 1 : 2};
    raft_step(m->raft, &lacks);
    raft_bed_settle(m);
    assert_terms_sent(bed);
    assert_true(m->log_read_out); /* asked for again */
    shared_unref(data);
    raft_bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_members_elect_and_replicate),
        cmocka_unit_test(test_a_follower_forwards_proposals_and_reads),
        cmocka_unit_test(test_another_leads_when_the_leader_is_gone),
        cmocka_unit_test(test_entries_that_were_replaced_while_they_were_read_are_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
