/* One voter, event by event. The number in brackets is the section of the Raft thesis. */
#include "base/error.h"
#include "raft/raft.h"
#include "tests/support/wal_support.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SELF = 0xa1, OTHER = 0xb2 };

struct fixture {
    struct raft_config config;
    struct raft *r;
    struct raft_save last; /* the last job given out */
    struct buffer text;    /* what updates said, since it was last compared */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->config = (struct raft_config){.id = SELF, .seed = 1, .now_ms = 1000};
    raft_ids_add(&f->config.conf.voters, SELF);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    raft_free(f->r);
    raft_conf_state_free(&f->config.conf);
    buffer_free(&f->text);
    free(f);
    return 0;
}

/* Starts on a log of empty entries with these terms (0 ends). */
static void start(struct fixture *f, const uint64_t *terms)
{
    f->r = raft_new(&f->config);
    for (uint64_t i = 0; terms != NULL && terms[i] != 0; i++) {
        struct raft_entry e = {.index = f->config.snapshot.index + 1 + i, .term = terms[i]};
        raft_restore_entry(f->r, &e);
    }
    raft_start(f->r);
}

/* Takes one update and writes down what it asks for. */
static void update(struct fixture *f)
{
    if (!raft_update_pending(f->r)) {
        return;
    }
    const struct raft_update *u = raft_update(f->r);
    struct buffer *t = &f->text;
    if (u->soft_changed) {
        buffer_printf(t, "%s in term %" PRIu64 ", ", raft_role_name(u->role), u->term);
    }
    for (size_t i = 0; i < u->append_count; i++) {
        buffer_printf(t, "append %" PRIu64 "/%" PRIu64 ", ", u->append[i].index, u->append[i].term);
    }
    if (u->hard_state_changed) {
        buffer_printf(t, "state %" PRIu64 " %" PRIx64 " %" PRIu64 "%s, ", u->hard_state.term, u->hard_state.vote,
                      u->hard_state.commit, u->must_sync ? "" : " (no sync)");
    }
    if (u->commit_changed) {
        buffer_printf(t, "commit %" PRIu64 ", ", u->commit);
    }
    for (size_t i = 0; i < u->read_count; i++) {
        buffer_printf(t, "read %" PRIu64 " at %" PRIu64 "%s, ", u->reads[i].context, u->reads[i].index,
                      u->reads[i].error == 0 ? "" : " again");
    }
    if (u->log_read.wanted) {
        buffer_printf(t, "log read %" PRIu64 "..%" PRIu64 ", ", u->log_read.from, u->log_read.to);
    }
    f->last = u->save;
    raft_update_done(f->r);
}

static void expect_(struct fixture *f, const char *want, const char *file, int line)
{
    update(f);
    buffer_append(&f->text, "", 1);
    char *got = (char *)f->text.data;
    if (f->text.len > 2) {
        got[f->text.len - 3] = '\0';
    }
    _assert_string_equal(got, want, file, line);
    f->text.len = 0;
    buffer_free(&f->text);
}
#define expect(f, want) expect_(f, want, __FILE__, __LINE__)

static void durable(struct fixture *f)
{
    raft_durable(f->r, f->last);
}

/* Until it leads in term 1 with entry 1 committed and applied. */
static void lead(struct fixture *f)
{
    start(f, NULL);
    expect(f, "candidate in term 1, state 1 a1 0");
    durable(f);
    expect(f, "leader in term 1, append 1/1");
    durable(f);
    expect(f, "state 1 a1 1 (no sync), commit 1");
    raft_applied(f->r, 1);
}

static struct raft_position propose(struct fixture *f, const char *text)
{
    struct raft_position at;
    struct shared *data = shared_copy(bytes_str(text));
    assert_int_equal(raft_propose(f->r, RAFT_ENTRY_NORMAL, data, &at), 0);
    shared_unref(data);
    return at;
}

/* --- elections --- */

static void test_the_only_voter_leads_once_its_vote_is_durable_3_4(void **state)
{
    struct fixture *f = *state;
    start(f, NULL);
    expect(f, "candidate in term 1, state 1 a1 0");
    expect(f, "");
    assert_int_equal(raft_status(f->r).leader, RAFT_NONE);
    durable(f);
    expect(f, "leader in term 1, append 1/1");
    assert_int_equal(raft_status(f->r).leader, SELF);
}

static void test_the_bootstrap_of_etcds_sample(void **state)
{
    /* samples/wal-dump.txt: STATE{1,0,1}, STATE{2,self,1}, ENTRY 2/2, … */
    struct fixture *f = *state;
    raft_conf_state_free(&f->config.conf);
    f->config.hard_state = (struct raft_hard_state){.term = 1, .commit = 1};
    f->r = raft_new(&f->config);
    struct raft_entry add = wal_test_entry(1, 1, "x");
    add.type = RAFT_ENTRY_CONF_CHANGE;
    raft_restore_entry(f->r, &add);
    shared_unref(add.data);
    raft_start(f->r);
    expect(f, "commit 1");
    assert_int_equal(raft_entry(f->r, 1)->type, RAFT_ENTRY_CONF_CHANGE);
    struct raft_conf_state after;
    struct raft_conf_change change = {.type = RAFT_ADD_NODE, .node_id = SELF};
    raft_apply_conf_change(f->r, &change, &after);
    assert_true(raft_ids_has(&after.voters, SELF));
    raft_conf_state_free(&after);
    raft_applied(f->r, 1);
    expect(f, "candidate in term 2, state 2 a1 1");
    durable(f);
    expect(f, "leader in term 2, append 2/2");
}

static void test_a_restart_votes_in_a_new_term(void **state)
{
    struct fixture *f = *state;
    f->config.hard_state = (struct raft_hard_state){.term = 5, .vote = SELF, .commit = 2};
    f->config.applied = 1;
    start(f, (uint64_t[]){1, 5, 5, 0});
    expect(f, "candidate in term 6, state 6 a1 2, commit 2");
    durable(f);
    expect(f, "leader in term 6, append 4/6");
    durable(f);
    expect(f, "state 6 a1 4 (no sync), commit 4");
}

static void test_a_state_that_a_torn_write_lost_is_made_up_from_the_entries(void **state)
{
    struct fixture *f = *state;
    f->config.hard_state = (struct raft_hard_state){.term = 2, .vote = OTHER, .commit = 1};
    start(f, (uint64_t[]){1, 4, 0});
    expect(f, "candidate in term 5, state 5 a1 1, commit 1");
}

static void test_a_commit_below_what_is_applied_is_raised(void **state)
{
    struct fixture *f = *state;
    f->config.hard_state = (struct raft_hard_state){.term = 1, .vote = SELF, .commit = 1};
    f->config.applied = 3;
    start(f, (uint64_t[]){1, 1, 1, 0});
    expect(f, "candidate in term 2, state 2 a1 3, commit 3");
}

static void test_nobody_else_standing_in_the_way_means_no_deadline(void **state)
{
    struct fixture *f = *state;
    lead(f);
    propose(f, "x");
    const struct raft_update *u = raft_update(f->r);
    assert_int_equal(u->deadline_ms, UINT64_MAX);
    raft_update_done(f->r);
    raft_tick(f->r, 1000000);
    assert_false(raft_update_pending(f->r));
}

static void test_a_member_that_has_no_vote_does_not_stand(void **state)
{
    struct fixture *f = *state;
    raft_ids_remove(&f->config.conf.voters, SELF);
    raft_ids_add(&f->config.conf.voters, OTHER);
    raft_ids_add(&f->config.conf.learners, SELF);
    start(f, NULL);
    raft_tick(f->r, 100000);
    expect(f, "");
    struct raft_position at;
    assert_int_equal(raft_propose(f->r, RAFT_ENTRY_NORMAL, NULL, &at), ERR_NO_LEADER);
}

/* Somebody who isn't in the configuration claims to lead: it is believed for as long as it is heard, as in etcd. */
static void test_the_only_voter_stands_again_when_it_was_deposed(void **state)
{
    struct fixture *f = *state;
    lead(f);
    const struct raft_message claim = {.type = RAFT_MSG_HEARTBEAT, .from = OTHER, .to = SELF, .term = 5};
    raft_step(f->r, &claim);
    expect(f, "follower in term 5, state 5 0 1");
    durable(f);
    raft_tick(f->r, 1500);
    assert_int_equal(raft_status(f->r).role, RAFT_FOLLOWER);
    raft_tick(f->r, 3000);
    raft_tick(f->r, 3200); /* the first one came late */
    expect(f, "candidate in term 6, state 6 a1 1");
    durable(f);
    expect(f, "leader in term 6, append 2/6");
}

/* No log gets to such a term, and none could be read again that did. */
static void test_a_term_that_nobody_can_have_reached_is_no_news(void **state)
{
    struct fixture *f = *state;
    lead(f);
    expect(f, "");
    static const uint64_t terms[] = {UINT64_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 62};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        const struct raft_message claim = {.type = RAFT_MSG_HEARTBEAT, .from = OTHER, .to = SELF, .term = terms[i]};
        raft_step(f->r, &claim);
        expect(f, "");
        assert_int_equal(raft_status(f->r).role, RAFT_LEADER);
    }
}

/* --- commit --- */

/* A member that joins knows nobody until its log has come; others may need its vote before that (two members, one of
 * them new). */
static void test_a_vote_leaves_when_it_is_durable_also_without_a_configuration_3_8(void **state)
{
    struct fixture *f = *state;
    raft_conf_state_free(&f->config.conf);
    start(f, NULL);
    const struct raft_message vote = {.type = RAFT_MSG_VOTE, .from = OTHER, .to = SELF, .term = 3};
    raft_step(f->r, &vote);
    const struct raft_update *u = raft_update(f->r);
    assert_int_equal(u->message_count, 0);
    assert_int_equal(u->hard_state.vote, OTHER);
    f->last = u->save;
    raft_update_done(f->r);
    durable(f);
    assert_true(raft_update_pending(f->r));
    u = raft_update(f->r);
    assert_int_equal(u->message_count, 1);
    assert_int_equal(u->messages[0].type, RAFT_MSG_VOTE_RESPONSE);
    assert_false(u->messages[0].reject);
    raft_update_done(f->r);
}

static void test_an_entry_commits_when_it_is_durable_3_5(void **state)
{
    struct fixture *f = *state;
    lead(f);
    struct raft_position at = propose(f, "a");
    assert_int_equal(at.index, 2);
    assert_int_equal(at.term, 1);
    expect(f, "append 2/1");
    expect(f, "");
    durable(f);
    expect(f, "state 1 a1 2 (no sync), commit 2");
    assert_memory_equal(raft_entry(f->r, 2)->data->data, "a", 1);
}

static void test_several_saves_may_be_under_way(void **state)
{
    struct fixture *f = *state;
    lead(f);
    propose(f, "a");
    expect(f, "append 2/1");
    struct raft_save first = f->last;
    propose(f, "b");
    propose(f, "c");
    expect(f, "append 3/1, append 4/1");
    raft_durable(f->r, first);
    expect(f, "state 1 a1 2 (no sync), commit 2");
    durable(f);
    expect(f, "state 1 a1 4 (no sync), commit 4");
    raft_durable(f->r, first); /* said twice: no harm */
    expect(f, "");
}

static void test_entries_of_an_earlier_term_commit_with_the_first_of_the_own_3_6_2(void **state)
{
    struct fixture *f = *state;
    f->config.hard_state = (struct raft_hard_state){.term = 1, .vote = SELF, .commit = 0};
    start(f, (uint64_t[]){1, 1, 0});
    expect(f, "candidate in term 2, state 2 a1 0");
    durable(f); /* entries 1 and 2 have been durable all the time, and are not committed by that */
    expect(f, "leader in term 2, append 3/2");
    assert_int_equal(raft_status(f->r).commit, 0);
    durable(f);
    expect(f, "state 2 a1 3 (no sync), commit 3");
}

/* --- reads --- */

static void test_a_read_is_answered_at_once_by_a_leader_alone_6_4(void **state)
{
    struct fixture *f = *state;
    lead(f);
    raft_read_index(f->r, 7);
    raft_read_index(f->r, 8);
    expect(f, "read 7 at 1, read 8 at 1");
    propose(f, "x");
    raft_read_index(f->r, 9); /* not yet durable, so not yet seen by anybody */
    expect(f, "append 2/1, read 9 at 1");
}

static void test_a_read_waits_for_an_entry_of_the_own_term_6_4(void **state)
{
    struct fixture *f = *state;
    f->config.hard_state = (struct raft_hard_state){.term = 1, .vote = SELF, .commit = 1};
    start(f, (uint64_t[]){1, 1, 0});
    raft_read_index(f->r, 7);
    expect(f, "candidate in term 2, state 2 a1 1, commit 1");
    durable(f);
    raft_read_index(f->r, 8);
    expect(f, "leader in term 2, append 3/2");
    assert_int_equal(raft_status(f->r).pending_reads, 2);
    durable(f);
    expect(f, "state 2 a1 3 (no sync), commit 3, read 7 at 3, read 8 at 3");
    assert_int_equal(raft_status(f->r).pending_reads, 0);
}

/* --- members --- */

static void test_one_change_of_members_at_a_time_4_1(void **state)
{
    struct fixture *f = *state;
    lead(f);
    struct raft_position at;
    struct shared *data = shared_copy(bytes_str("x"));
    assert_int_equal(raft_propose(f->r, RAFT_ENTRY_CONF_CHANGE, data, &at), 0);
    assert_int_equal(at.index, 2);
    assert_int_equal(raft_propose(f->r, RAFT_ENTRY_CONF_CHANGE, data, &at), 0);
    assert_int_equal(at.index, 3);
    expect(f, "append 2/1, append 3/1");
    durable(f);
    expect(f, "state 1 a1 3 (no sync), commit 3");
    assert_int_equal(raft_entry(f->r, 2)->type, RAFT_ENTRY_CONF_CHANGE);
    assert_int_equal(raft_entry(f->r, 3)->type, RAFT_ENTRY_NORMAL); /* voided */
    assert_null(raft_entry(f->r, 3)->data);
    raft_applied(f->r, 3);
    assert_int_equal(raft_propose(f->r, RAFT_ENTRY_CONF_CHANGE, data, &at), 0);
    expect(f, "append 4/1");
    durable(f);
    update(f);
    assert_int_equal(raft_entry(f->r, 4)->type, RAFT_ENTRY_CONF_CHANGE);
    shared_unref(data);
}

static void test_changes_of_members_as_etcd_applies_them(void **state)
{
    struct fixture *f = *state;
    struct raft_conf_state after;
    lead(f);
    raft_apply_conf_change(f->r, &(struct raft_conf_change){.type = RAFT_ADD_LEARNER, .node_id = OTHER}, &after);
    assert_true(raft_ids_has(&after.learners, OTHER));
    raft_conf_state_free(&after);
    struct raft_progress p;
    assert_true(raft_progress(f->r, OTHER, &p));
    assert_true(p.learner);
    assert_int_equal(p.match, 0);
    assert_int_equal(p.next, 1);
    raft_apply_conf_change(f->r, &(struct raft_conf_change){.type = RAFT_UPDATE_NODE, .node_id = OTHER}, NULL);
    raft_apply_conf_change(f->r, &(struct raft_conf_change){.type = RAFT_REMOVE_NODE, .node_id = 0}, NULL);
    assert_true(raft_ids_has(&raft_conf(f->r)->learners, OTHER));
    raft_apply_conf_change(f->r, &(struct raft_conf_change){.type = RAFT_ADD_NODE, .node_id = OTHER}, NULL);
    assert_false(raft_ids_has(&raft_conf(f->r)->learners, OTHER));
    assert_true(raft_ids_has(&raft_conf(f->r)->voters, OTHER));
    /* two voters, one of them silent: nothing commits, until it is gone */
    propose(f, "x");
    expect(f, "append 2/1");
    durable(f);
    expect(f, "");
    raft_apply_conf_change(f->r, &(struct raft_conf_change){.type = RAFT_REMOVE_NODE, .node_id = OTHER}, NULL);
    expect(f, "state 1 a1 2 (no sync), commit 2");
    assert_false(raft_progress(f->r, OTHER, &p));
}

/* --- bounded memory --- */

static void test_memory_is_bounded_and_the_log_comes_back_in_order(void **state)
{
    struct fixture *f = *state;
    f->config.log_bytes = 4000;
    lead(f);
    char text[101];
    memset(text, 'x', 100);
    text[100] = '\0';
    struct raft_entry saved[400] = {{0}};
    for (int i = 0; i < 300; i++) {
        struct raft_position at = propose(f, text);
        saved[at.index] = (struct raft_entry){.index = at.index, .term = at.term};
        if (i % 7 == 6) {
            update(f);
            durable(f);
        }
        assert_true(raft_status(f->r).log_bytes <= 4000 + 700);
    }
    update(f);
    durable(f);
    update(f);
    assert_int_equal(raft_status(f->r).commit, 301);
    int reads = 0;
    for (uint64_t i = 2; i <= 301;) {
        const struct raft_entry *e = raft_entry(f->r, i);
        if (e != NULL) {
            assert_int_equal(e->index, i);
            assert_int_equal(e->data->len, 100);
            raft_applied(f->r, i++);
            assert_true(raft_status(f->r).log_bytes <= 5000);
            continue;
        }
        assert_true(raft_update_pending(f->r));
        const struct raft_update *u = raft_update(f->r);
        assert_true(u->log_read.wanted);
        assert_int_equal(u->log_read.from, i);
        assert_true(u->log_read.to <= 301);
        uint64_t to = u->log_read.to;
        raft_update_done(f->r);
        size_t n = 0;
        struct raft_entry back[10];
        for (uint64_t k = i; k <= to && n < 10; k++, n++) {
            back[n] = saved[k];
            back[n].data = shared_copy(bytes_str(text));
        }
        raft_log_entries(f->r, i, back, n, 0);
        for (size_t k = 0; k < n; k++) {
            shared_unref(back[k].data);
        }
        reads++;
    }
    assert_true(reads >= 20 && reads <= 40);
    assert_int_equal(raft_term_at(f->r, 100), 1); /* terms stay */
    raft_compact(f->r, 200);
    assert_int_equal(raft_first_index(f->r), 201);
    assert_int_equal(raft_term_at(f->r, 199), 0);
    assert_int_equal(raft_term_at(f->r, 200), 1);
    raft_check(f->r);
}

static void test_a_long_log_is_restored_within_bounds(void **state)
{
    struct fixture *f = *state;
    f->config.log_bytes = 1000;
    f->config.snapshot = (struct raft_position){.index = 50, .term = 3};
    f->config.hard_state = (struct raft_hard_state){.term = 3, .vote = SELF, .commit = 150};
    f->config.applied = 100;
    f->r = raft_new(&f->config);
    struct shared *data = shared_new(100);
    memset(data->data, 'x', 100);
    for (uint64_t i = 51; i <= 150; i++) {
        struct raft_entry e = {.index = i, .term = 3, .data = data};
        raft_restore_entry(f->r, &e);
        assert_true(raft_status(f->r).log_bytes <= 1100);
    }
    shared_unref(data);
    raft_start(f->r);
    update(f);
    assert_non_null(raft_entry(f->r, 101));
    assert_int_equal(raft_term_at(f->r, 50), 3);
}

static void test_a_log_read_that_finds_nothing_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    f->config.log_bytes = 100;
    lead(f);
    char text[101];
    memset(text, 'x', 100);
    text[100] = '\0';
    for (int i = 0; i < 5; i++) {
        propose(f, text);
    }
    update(f);
    durable(f);
    update(f);
    f->text.len = 0;
    assert_non_null(raft_entry(f->r, 2));
    raft_applied(f->r, 2);
    assert_null(raft_entry(f->r, 3));
    assert_null(raft_entry(f->r, 3)); /* asked for once */
    expect(f, "log read 3..6");
    raft_log_entries(f->r, 3, NULL, 0, ERR_IO);
    assert_null(raft_entry(f->r, 3));
    expect(f, "log read 3..6");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_the_only_voter_leads_once_its_vote_is_durable_3_4),
        T(test_the_bootstrap_of_etcds_sample),
        T(test_a_restart_votes_in_a_new_term),
        T(test_a_state_that_a_torn_write_lost_is_made_up_from_the_entries),
        T(test_a_commit_below_what_is_applied_is_raised),
        T(test_nobody_else_standing_in_the_way_means_no_deadline),
        T(test_the_only_voter_stands_again_when_it_was_deposed),
        T(test_a_term_that_nobody_can_have_reached_is_no_news),
        T(test_a_member_that_has_no_vote_does_not_stand),
        T(test_a_vote_leaves_when_it_is_durable_also_without_a_configuration_3_8),
        T(test_an_entry_commits_when_it_is_durable_3_5),
        T(test_several_saves_may_be_under_way),
        T(test_entries_of_an_earlier_term_commit_with_the_first_of_the_own_3_6_2),
        T(test_a_read_is_answered_at_once_by_a_leader_alone_6_4),
        T(test_a_read_waits_for_an_entry_of_the_own_term_6_4),
        T(test_one_change_of_members_at_a_time_4_1),
        T(test_changes_of_members_as_etcd_applies_them),
        T(test_memory_is_bounded_and_the_log_comes_back_in_order),
        T(test_a_long_log_is_restored_within_bounds),
        T(test_a_log_read_that_finds_nothing_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
