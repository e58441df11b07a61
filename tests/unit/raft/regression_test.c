/* What went wrong in etcd once, by the ids of tests/data/etcd/regressions.tsv: the rows that one member's consensus, or
 * several members', can show. */
#include "base/error.h"
#include "tests/support/raft_bed.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct raft_conf_state voters_of(size_t count)
{
    struct raft_conf_state conf = {0};
    for (uint64_t id = 1; id <= count; id++) {
        raft_ids_add(&conf.voters, id);
    }
    return conf;
}

static struct raft_bed *cluster(size_t voters, size_t log_bytes)
{
    struct raft_bed *bed = raft_bed_new(11);
    struct raft_conf_state conf = voters_of(voters);
    for (uint64_t id = 1; id <= voters; id++) {
        struct raft_bed_member *m = raft_bed_add(bed, id, &conf);
        m->config.log_bytes = log_bytes;
        raft_bed_start(m);
    }
    raft_conf_state_free(&conf);
    return bed;
}

static struct raft_bed_member *another(struct raft_bed *bed, const struct raft_bed_member *than)
{
    return &bed->members[than == &bed->members[0] ? 1 : 0];
}

/* A member of no cluster yet, with an empty log. */
static struct raft_bed_member *newcomer(struct raft_bed *bed, uint64_t id)
{
    struct raft_bed_member *m = raft_bed_add(bed, id, NULL);
    raft_bed_start(m);
    raft_bed_settle(m);
    return m;
}

/* --- messages that nobody should believe --- */

/* PR17813: another member has the address now. */
static void test_a_message_for_another_id_changes_nothing(void **state)
{
    (void)state;
    struct raft_bed *bed = cluster(3, 0);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000), *m = another(bed, leader);
    raft_bed_quiesce(bed);
    static const enum raft_message_type types[] = {
        RAFT_MSG_PROPOSE,  RAFT_MSG_APPEND,    RAFT_MSG_APPEND_RESPONSE,    RAFT_MSG_VOTE,
        RAFT_MSG_SNAPSHOT, RAFT_MSG_HEARTBEAT, RAFT_MSG_HEARTBEAT_RESPONSE, RAFT_MSG_TIMEOUT_NOW,
    };
    struct raft_conf_state conf = voters_of(3);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct raft_status before = raft_status(m->raft);
        const struct raft_message message = {
            .type = types[i],
            .to = 99,
            .from = leader->id,
            .term = before.term + 5,
            .snapshot = {.index = before.last_index + 10, .term = before.term},
            .snapshot_conf = &conf,
        };
        raft_step(m->raft, &message);
        assert_false(raft_update_pending(m->raft));
        struct raft_status after = raft_status(m->raft);
        assert_int_equal(after.term, before.term);
        assert_int_equal(after.last_index, before.last_index);
        assert_int_equal(after.commit, before.commit);
        assert_int_equal(after.leader, before.leader);
    }
    raft_conf_state_free(&conf);
    raft_bed_free(bed);
}

/* PR12106: an index above int64 is a number like another, and one that no log has. */
static void test_indexes_above_int64_hurt_nobody(void **state)
{
    (void)state;
    static const uint64_t indexes[] = {UINT64_C(1) << 63, (UINT64_C(1) << 63) + 7, UINT64_MAX - 1, UINT64_MAX};
    struct raft_bed *bed = cluster(3, 0);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000), *follower = another(bed, leader);
    raft_bed_quiesce(bed);
    uint64_t last = raft_status(leader->raft).last_index, term = raft_status(leader->raft).term;
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
        uint64_t index = indexes[i];
        struct raft_entry entry = {.index = index + 1, .term = term};
        const struct raft_message messages[] = {
            {RAFT_MSG_APPEND, .index = index, .log_term = term, .commit = index, .entries = &entry, .entry_count = 1},
            {RAFT_MSG_APPEND, .index = index, .log_term = term, .commit = index},
            {RAFT_MSG_APPEND, .index = last, .log_term = term, .commit = index},
            {RAFT_MSG_HEARTBEAT, .commit = index},
            {RAFT_MSG_VOTE, .index = index, .log_term = term},
        };
        for (size_t k = 0; k < sizeof messages / sizeof messages[0]; k++) {
            struct raft_message message = messages[k];
            message.to = follower->id;
            message.from = leader->id;
            message.term = term;
            raft_step(follower->raft, &message);
            raft_bed_settle(follower);
            assert_int_equal(raft_status(follower->raft).commit, last);
            assert_int_equal(raft_status(follower->raft).last_index, last);
        }
        struct raft_message answer = {RAFT_MSG_APPEND_RESPONSE, .to = leader->id, .from = follower->id, .term = term};
        answer.index = answer.reject_hint = index;
        answer.reject = i % 2 == 0;
        raft_step(leader->raft, &answer);
        raft_bed_settle(leader);
        assert_int_equal(raft_term_at(leader->raft, index), 0);
    }
    struct raft_position at;
    raft_bed_propose(leader, "goes on", &at);
    raft_bed_quiesce(bed);
    assert_int_equal(raft_status(leader->raft).commit, at.index);
    raft_bed_free(bed);
}

/* etcd#21178: removed, added again as a learner with an empty log, and the leader still knows what it once had. */
static void test_a_heartbeats_commit_beyond_the_own_log_is_capped(void **state)
{
    (void)state;
    struct raft_bed *bed = raft_bed_new(1);
    struct raft_bed_member *m = newcomer(bed, 4);
    const struct raft_message heartbeat = {RAFT_MSG_HEARTBEAT, .to = 4, .from = 1, .term = 7, .commit = 1000};
    raft_step(m->raft, &heartbeat);
    raft_bed_settle(m);
    assert_int_equal(raft_status(m->raft).term, 7);
    assert_int_equal(raft_status(m->raft).commit, 0);
    struct raft_entry entry = {.index = 1, .term = 7};
    const struct raft_message append = {RAFT_MSG_APPEND, .to = 4,           .from = 1,       .term = 7,
                                        .commit = 1000,  .entries = &entry, .entry_count = 1};
    raft_step(m->raft, &append);
    raft_bed_settle(m);
    assert_int_equal(raft_status(m->raft).commit, 1);
    raft_bed_free(bed);
}

/* --- images --- */

static void send_image_at(struct raft_bed_member *m, uint64_t index, const struct raft_conf_state *conf)
{
    const struct raft_message image = {
        RAFT_MSG_SNAPSHOT,    .to = m->id, .from = 1, .term = 3, .snapshot = {.index = index, .term = 2},
        .snapshot_conf = conf};
    raft_step(m->raft, &image);
}

/* What the update says is to be installed; 0 = nothing. */
static uint64_t asked_to_install(struct raft_bed_member *m)
{
    const struct raft_update *u = raft_update(m->raft);
    uint64_t index = u->snapshot == NULL ? 0 : u->snapshot->snapshot.index;
    raft_update_done(m->raft);
    return index;
}

static void installed(struct raft_bed_member *m, uint64_t index, const struct raft_conf_state *conf)
{
    raft_snapshot_done(m->raft, (struct raft_position){.index = index, .term = 2}, conf);
    assert_int_equal(raft_status(m->raft).commit, index);
    assert_int_equal(raft_status(m->raft).last_index, index);
    assert_true(raft_conf_state_equal(raft_conf(m->raft), conf));
}

/* etcd#21610 */
static void test_an_image_from_before_a_learner_was_added_leaves_it_waiting_for_the_next(void **state)
{
    (void)state;
    struct raft_bed *bed = raft_bed_new(1);
    struct raft_bed_member *m = newcomer(bed, 4);
    struct raft_conf_state conf = voters_of(3);
    send_image_at(m, 10, &conf);
    assert_int_equal(asked_to_install(m), 0);
    assert_false(raft_status(m->raft).installing);
    raft_ids_add(&conf.learners, 4);
    send_image_at(m, 11, &conf);
    assert_int_equal(asked_to_install(m), 11);
    installed(m, 11, &conf);
    assert_true(raft_status(m->raft).learner);
    raft_conf_state_free(&conf);
    raft_bed_free(bed);
}

/* etcd#18055, etcd#20271 / PR20553: the first is still being opened when the second comes. */
static void test_of_several_images_one_is_put_in_place_at_a_time_and_the_latest_counts(void **state)
{
    (void)state;
    struct raft_bed *bed = raft_bed_new(1);
    struct raft_bed_member *m = newcomer(bed, 4);
    struct raft_conf_state conf = voters_of(4);
    send_image_at(m, 10, &conf);
    assert_int_equal(asked_to_install(m), 10);
    send_image_at(m, 20, &conf);
    send_image_at(m, 5, &conf);
    assert_int_equal(asked_to_install(m), 0);
    installed(m, 10, &conf);
    assert_int_equal(asked_to_install(m), 0); /* what came meanwhile is gone: the leader sends it again */
    send_image_at(m, 20, &conf);
    assert_int_equal(asked_to_install(m), 20);
    raft_snapshot_failed(m->raft);
    assert_int_equal(raft_status(m->raft).commit, 10);
    send_image_at(m, 20, &conf);
    assert_int_equal(asked_to_install(m), 20);
    installed(m, 20, &conf);
    send_image_at(m, 15, &conf);
    assert_int_equal(asked_to_install(m), 0);
    assert_int_equal(raft_status(m->raft).commit, 20);
    raft_conf_state_free(&conf);
    raft_bed_free(bed);
}

/* PR11003 */
static void test_an_image_of_a_joint_configuration_restores_both_halves(void **state)
{
    (void)state;
    struct raft_bed *bed = raft_bed_new(1);
    struct raft_bed_member *m = newcomer(bed, 4);
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    raft_ids_add(&conf.voters, 2);
    raft_ids_add(&conf.voters, 4);
    raft_ids_add(&conf.voters_outgoing, 1);
    raft_ids_add(&conf.voters_outgoing, 3);
    raft_ids_add(&conf.voters_outgoing, 5);
    raft_ids_add(&conf.learners, 6);
    raft_ids_add(&conf.learners_next, 3);
    conf.auto_leave = true;
    send_image_at(m, 10, &conf);
    assert_int_equal(asked_to_install(m), 10);
    installed(m, 10, &conf);
    assert_true(raft_status(m->raft).voter);
    raft_conf_state_free(&conf);
    raft_bed_free(bed);
}

/* --- entries in pages --- */

/* PR10063: the log gives committed entries out by bytes; entries just below, at and above the bound of a page, applied
 * a few at a time. raft_bed checks that each member applies what the others apply, in order, once. */
static void test_committed_entries_near_the_bound_of_memory_are_applied_once_each(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 2, 62, 64, 64};
    struct raft_bed *bed = cluster(3, 64);
    struct raft_bed_member *leader = raft_bed_elect(bed, 5000);
    raft_bed_quiesce(bed);
    bed->apply_by_hand = true;
    struct raft_position at;
    for (int i = 0; i < 300; i++) {
        char text[256];
        snprintf(text, sizeof text, "%0*d", sizes[(i * 7 + i / 16) % 16], i);
        assert_int_equal(raft_bed_propose(leader, text, &at), 0);
        raft_bed_quiesce(bed);
        for (size_t k = 0; k < 3; k++) {
            raft_bed_apply(&bed->members[k], bed->members[k].applied + (uint64_t)(i % 3));
        }
    }
    for (int round = 0; round < 1000; round++) {
        raft_bed_quiesce(bed);
        for (size_t k = 0; k < 3; k++) {
            raft_bed_apply(&bed->members[k], bed->members[k].applied + 1);
        }
    }
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(bed->members[k].applied, at.index);
        assert_int_equal(bed->members[k].hash, leader->hash);
    }
    raft_bed_free(bed);
}

/* --- reads --- */

/* PR14258: what earlier leaders had committed, a new one knows only once it has committed an entry of its own. */
static void test_a_read_through_a_new_leader_waits_for_its_first_commit(void **state)
{
    (void)state;
    struct raft_bed *bed = cluster(3, 0);
    struct raft_bed_member *old = raft_bed_elect(bed, 5000);
    struct raft_position at;
    raft_bed_propose(old, "x", &at);
    raft_bed_quiesce(bed);
    raft_bed_crash(old, 0);
    struct raft_bed_member *leader = NULL;
    while (leader == NULL) { /* votes travel, but nothing that a leader sends */
        raft_bed_tick(bed, 50);
        for (size_t i = 0; i < bed->member_count; i++) {
            struct raft_bed_member *m = &bed->members[i];
            if (m->raft != NULL) {
                raft_bed_settle(m);
                raft_bed_disk(m, SIZE_MAX);
                raft_bed_settle(m);
                leader = m->role == RAFT_LEADER ? m : leader;
            }
        }
        while (bed->packet_count > 0) {
            enum raft_message_type type = bed->packets[0]->message.type;
            if (type == RAFT_MSG_APPEND || type == RAFT_MSG_HEARTBEAT) {
                raft_bed_drop(bed, 0);
            } else {
                raft_bed_deliver(bed, 0);
            }
        }
    }
    assert_ptr_not_equal(leader, old);
    raft_read_index(leader->raft, 5);
    raft_bed_settle(leader);
    assert_int_equal(raft_status(leader->raft).commit, at.index);
    assert_int_equal(leader->answer_count, 0);
    for (int i = 0; i < 20 && leader->answer_count == 0; i++) {
        raft_bed_tick(bed, 100);
        raft_bed_quiesce(bed);
    }
    assert_int_equal(leader->answer_count, 1);
    assert_int_equal(leader->answers[0].error, 0);
    assert_true(leader->answers[0].index > at.index);
    raft_bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_for_another_id_changes_nothing),
        cmocka_unit_test(test_indexes_above_int64_hurt_nobody),
        cmocka_unit_test(test_a_heartbeats_commit_beyond_the_own_log_is_capped),
        cmocka_unit_test(test_an_image_from_before_a_learner_was_added_leaves_it_waiting_for_the_next),
        cmocka_unit_test(test_of_several_images_one_is_put_in_place_at_a_time_and_the_latest_counts),
        cmocka_unit_test(test_an_image_of_a_joint_configuration_restores_both_halves),
        cmocka_unit_test(test_committed_entries_near_the_bound_of_memory_are_applied_once_each),
        cmocka_unit_test(test_a_read_through_a_new_leader_waits_for_its_first_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
