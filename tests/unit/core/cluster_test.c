/* Several members: what one is told when leadership moves, whoever was asked. */
#include "tests/support/cluster_bed.h"

#include "kv/watch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t other(const struct cluster_bed *c, size_t not_this)
{
    return (not_this + 1) % c->count;
}

/* --- all is well --- */

static void test_three_members_elect_a_leader_publish_themselves_and_get_ready(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c);
    assert_int_not_equal(leader, CLUSTER_BED_NONE);
    cluster_bed_advance(&c, 300);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(core_raft_status(c.beds[i].core).leader, leader + 1);
        size_t count;
        const struct kv_member *members = kv_members(c.beds[i].kv, &count);
        assert_int_equal(count, 3);
        assert_int_equal(members[2].client_url_count, 1);
        assert_int_equal(c.beds[i].members_changes, 3);
    }
    cluster_bed_close(&c);
}

static void test_a_put_through_any_member_is_acknowledged_and_applied_everywhere(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request puts[3];
    cluster_bed_open(&c, 3);
    cluster_bed_ready(&c);
    for (size_t i = 0; i < 3; i++) {
        const char *keys[] = {"a", "b", "c"};
        assert_int_equal(core_bed_put(&c.beds[i], &puts[i], keys[i], "v", 0), 0);
    }
    cluster_bed_advance(&c, 300);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(puts[i].ended, 1);
        assert_int_equal(puts[i].error, 0);
        assert_string_equal(core_bed_value(&c.beds[i], "a"), "v");
        assert_string_equal(core_bed_value(&c.beds[i], "b"), "v");
        assert_string_equal(core_bed_value(&c.beds[i], "c"), "v");
    }
    cluster_bed_close(&c);
}

static void test_a_barrier_through_any_member_sees_what_was_acknowledged(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 5};
    struct bed_request put, barriers[3];
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c);
    core_bed_put(&c.beds[leader], &put, "k", "v", 0);
    while (put.ended == 0) {
        cluster_bed_advance(&c, 1);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(core_bed_barrier(&c.beds[i], &barriers[i]), 0);
    }
    for (unsigned ms = 0; ms < 100; ms++) {
        for (size_t i = 0; i < 3; i++) {
            if (barriers[i].ended == 1) {
                assert_int_equal(barriers[i].error, 0);
                assert_string_equal(core_bed_value(&c.beds[i], "k"), "v");
            }
        }
        cluster_bed_advance(&c, 1);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(barriers[i].ended, 1);
    }
    cluster_bed_close(&c);
}

/* --- no leader, another leader --- */

static void test_a_leader_that_is_cut_off_is_replaced_and_its_proposals_end_as_unknown(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request lost, kept;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    cluster_bed_isolate(&c, old, true);
    assert_int_equal(core_bed_put(&c.beds[old], &lost, "k", "lost", 0), 0);
    size_t leader = cluster_bed_elect(&c, old);
    assert_int_equal(core_bed_put(&c.beds[leader], &kept, "k", "kept", 0), 0);
    cluster_bed_advance(&c, 100);
    assert_int_equal(kept.error, 0);
    assert_int_equal(lost.ended, 0);
    cluster_bed_isolate(&c, old, false);
    cluster_bed_advance(&c, 3000);
    assert_int_equal(lost.ended, 1);
    assert_int_equal(lost.error, ERR_TIMEOUT_DUE_TO_LEADER_FAIL);
    assert_string_equal(core_bed_value(&c.beds[old], "k"), "kept");
    cluster_bed_close(&c);
}

static void test_a_proposal_without_leader_waits_for_the_next_one(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c), asked = other(&c, old);
    cluster_bed_isolate(&c, old, true);
    while (core_has_leader(c.beds[asked].core)) {
        cluster_bed_advance(&c, 1);
    }
    assert_int_equal(core_bed_put(&c.beds[asked], &put, "k", "v", 0), 0);
    cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 300);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, 0);
    cluster_bed_close(&c);
}

static void test_without_a_quorum_a_proposal_ends_as_its_context_and_a_barrier_with_a_timeout(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put, barrier;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c), alone = other(&c, old);
    cluster_bed_isolate(&c, alone, true);
    cluster_bed_advance(&c, 3000);
    assert_false(core_has_leader(c.beds[alone].core));
    assert_int_equal(core_bed_put(&c.beds[alone], &put, "k", "v", 0), 0);
    assert_int_equal(core_bed_barrier(&c.beds[alone], &barrier), 0);
    cluster_bed_advance(&c, 6900);
    assert_int_equal(put.ended + barrier.ended, 0);
    cluster_bed_advance(&c, 200);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, ERR_CONTEXT_DEADLINE_EXCEEDED);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, ERR_TIMEOUT);
    cluster_bed_close(&c);
}

/* PR21378 */
static void test_a_barrier_that_waits_when_a_leader_is_elected_is_told_so(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request barrier;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c), asked = other(&c, old);
    cluster_bed_isolate(&c, old, true);
    assert_int_equal(core_bed_barrier(&c.beds[asked], &barrier), 0);
    cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 100);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, ERR_LEADER_CHANGED);
    cluster_bed_close(&c);
}

static void test_a_leader_that_is_cut_off_answers_no_linearizable_read(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request barrier;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    cluster_bed_isolate(&c, old, true);
    assert_int_equal(core_bed_barrier(&c.beds[old], &barrier), 0);
    cluster_bed_advance(&c, 6900);
    assert_int_equal(barrier.ended, 0);
    cluster_bed_advance(&c, 200);
    assert_int_equal(barrier.error, ERR_TIMEOUT);
    cluster_bed_close(&c);
}

static bool loses_proposals(const struct raft_message *message)
{
    return message->type == RAFT_MSG_PROPOSE;
}

static void test_a_forwarded_proposal_that_got_lost_times_out(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put;
    cluster_bed_open(&c, 3);
    size_t asked = other(&c, cluster_bed_ready(&c));
    cluster_bed_advance(&c, 3000);
    c.drop = loses_proposals;
    core_bed_put(&c.beds[asked], &put, "k", "v", 0);
    cluster_bed_advance(&c, 6999);
    assert_int_equal(put.ended, 0);
    cluster_bed_advance(&c, 1);
    assert_int_equal(put.error, ERR_TIMEOUT);
    cluster_bed_close(&c);
}

static void test_a_timeout_says_so_when_the_connection_to_the_leader_was_lost_meanwhile(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), asked = other(&c, leader);
    cluster_bed_advance(&c, 3000);
    c.drop = loses_proposals;
    core_bed_put(&c.beds[asked], &put, "k", "v", 0);
    cluster_bed_advance(&c, 1000);
    c.active_ms[leader] = c.now_ms;
    cluster_bed_advance(&c, 6000);
    assert_int_equal(put.error, ERR_TIMEOUT_DUE_TO_CONNECTION_LOST);
    cluster_bed_close(&c);
}

/* --- leases --- */

struct renewal {
    struct core_lease_call call;
    struct arena arena;
    unsigned ended;
    int error;
};

static void renewed(struct core_lease_call *call, int error)
{
    struct renewal *renewal = container_of(call, struct renewal, call);
    renewal->ended++;
    renewal->error = error;
}

static void renew(struct core_bed *bed, struct renewal *renewal, int64_t id)
{
    *renewal = (struct renewal){.call = {.done = renewed, .id = id}};
    renewal->call.arena = &renewal->arena;
    assert_int_equal(core_lease_renew(bed->core, &renewal->call), 0);
}

static void test_a_keepalive_through_any_member_reaches_the_leaders_clock(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c);
    core_bed_grant(&c.beds[other(&c, leader)], &grant, 7, 5);
    cluster_bed_advance(&c, 100);
    assert_int_equal(grant.error, 0);
    for (unsigned i = 0; i < 12; i++) {
        struct renewal renewal;
        cluster_bed_advance(&c, 3000);
        renew(&c.beds[i % 3], &renewal, 7);
        cluster_bed_advance(&c, 100);
        assert_int_equal(renewal.ended, 1);
        assert_int_equal(renewal.error, 0);
        assert_int_equal(renewal.call.ttl_s, 5);
        arena_free(&renewal.arena);
    }
    assert_int_equal(c.lease_calls, 8);
    cluster_bed_advance(&c, 6000);
    for (size_t i = 0; i < 3; i++) {
        assert_false(lease_exists(kv_leases(c.beds[i].kv), 7));
    }
    cluster_bed_close(&c);
}

static void test_many_keepalives_at_a_follower_ask_the_leader_some_at_a_time(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct cluster_bed c = {0};
    struct bed_request grant;
    struct renewal *renewals = calloc(COUNT, sizeof *renewals);
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), asked = other(&c, leader);
    core_bed_grant(&c.beds[leader], &grant, 7, 5);
    cluster_bed_advance(&c, 100);
    for (unsigned i = 0; i < COUNT; i++) {
        renew(&c.beds[asked], &renewals[i], 7);
    }
    core_lease_cancel(&renewals[0].call);
    core_lease_cancel(&renewals[COUNT - 1].call);
    cluster_bed_advance(&c, 1);
    assert_in_range(c.calls_open, 1, 32);
    core_lease_cancel(&renewals[1].call);
    cluster_bed_advance(&c, 100);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(renewals[i].ended, i > 1 && i < COUNT - 1);
        assert_int_equal(renewals[i].error, 0);
        arena_free(&renewals[i].arena);
    }
    cluster_bed_close(&c);
    free(renewals);
}

static void test_a_keepalive_waits_for_the_next_leader(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant;
    struct renewal renewal;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c), asked = other(&c, old);
    core_bed_grant(&c.beds[old], &grant, 7, 5);
    cluster_bed_advance(&c, 100);
    cluster_bed_isolate(&c, old, true);
    renew(&c.beds[asked], &renewal, 7);
    cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 300);
    assert_int_equal(renewal.ended, 1);
    assert_int_equal(renewal.error, 0);
    arena_free(&renewal.arena);
    cluster_bed_close(&c);
}

static void test_a_leader_that_is_cut_off_revokes_nothing_and_a_new_one_gives_leases_their_whole_time(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    core_bed_grant(&c.beds[old], &grant, 7, 5);
    cluster_bed_advance(&c, 4000);
    cluster_bed_isolate(&c, old, true);
    size_t leader = cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 3000);
    cluster_bed_isolate(&c, old, false);
    cluster_bed_advance(&c, 2000); /* an election timeout more than its time, from the election on */
    assert_true(lease_exists(kv_leases(c.beds[leader].kv), 7));
    assert_true(lease_exists(kv_leases(c.beds[old].kv), 7));
    cluster_bed_advance(&c, 3000);
    assert_false(lease_exists(kv_leases(c.beds[leader].kv), 7));
    assert_false(lease_exists(kv_leases(c.beds[old].kv), 7));
    cluster_bed_close(&c);
}

/* The holder has renewed elsewhere, and then asks a leader that does not know yet that it was deposed: what that one
 * told would be longer than what the new one keeps. */
static void test_a_leader_that_is_cut_off_renews_nothing(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant;
    struct renewal renewal;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    core_bed_grant(&c.beds[old], &grant, 7, 5);
    cluster_bed_advance(&c, 100);
    cluster_bed_isolate(&c, old, true);
    renew(&c.beds[old], &renewal, 7);
    cluster_bed_advance(&c, 500);
    assert_int_equal(renewal.ended, 0);
    cluster_bed_isolate(&c, old, false);
    cluster_bed_advance(&c, 3000);
    assert_int_equal(renewal.ended, 1);
    assert_int_equal(renewal.error, 0);
    arena_free(&renewal.arena);
    cluster_bed_close(&c);
}

/* Otherwise a lease that is never renewed would live as often as there are leaders (gate LeaseCheckpoint). */
static void test_with_checkpoints_a_new_leader_gives_leases_what_was_left(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grants[2];
    struct renewal renewal;
    c.beds[0].lease_checkpoint_ms = c.beds[1].lease_checkpoint_ms = c.beds[2].lease_checkpoint_ms = 5000;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    core_bed_grant(&c.beds[old], &grants[0], 7, 60);
    core_bed_grant(&c.beds[old], &grants[1], 8, 60);
    cluster_bed_advance(&c, 41000);
    renew(&c.beds[old], &renewal, 8);
    cluster_bed_advance(&c, 1000);
    assert_int_equal(renewal.error, 0);
    assert_in_range(core_stats(c.beds[old].core).lease_checkpoints_total, 8, 30);
    cluster_bed_isolate(&c, old, true);
    size_t leader = cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 10000);
    assert_true(lease_exists(kv_leases(c.beds[leader].kv), 7));
    cluster_bed_advance(&c, 15000);
    assert_false(lease_exists(kv_leases(c.beds[leader].kv), 7));
    assert_true(lease_exists(kv_leases(c.beds[leader].kv), 8));
    arena_free(&renewal.arena);
    cluster_bed_isolate(&c, old, false);
    cluster_bed_close(&c);
}

static bool has_checkpoint(struct core_bed *bed, int64_t id)
{
    struct lease_row row;
    assert_true(lease_row(kv_leases(bed->kv), id, &row));
    return memchr(row.value, 0x18, row.value_len) !=
           NULL; /* RemainingTTL; ids and times of these tests have no such byte */
}

/* It is refused, and must not reach the next leader later: that one gives the lease its time anew, and may have renewed
 * it before a checkpoint of what was left before is applied. */
static void test_a_checkpoint_that_is_due_while_leadership_is_handed_over_is_given_up(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 100};
    struct bed_request grant, transfer = {.ended = 0};
    c.beds[0].lease_checkpoint_ms = c.beds[1].lease_checkpoint_ms = c.beds[2].lease_checkpoint_ms = 5000;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c), to = other(&c, old);
    cluster_bed_advance(&c, 1000);
    core_bed_grant(&c.beds[old], &grant, 7, 600);
    while (grant.ended == 0) {
        cluster_bed_advance(&c, 1);
    }
    cluster_bed_advance(&c, 4900);
    assert_int_equal(core_stats(c.beds[old].core).lease_checkpoints_total, 0);
    core_bed_transfer(&c.beds[old], &transfer, to + 1);
    cluster_bed_advance(&c, 3000);
    assert_int_equal(cluster_bed_leader(&c), to);
    assert_int_equal(core_stats(c.beds[old].core).lease_checkpoints_total, 0);
    assert_false(has_checkpoint(&c.beds[to], 7));
    cluster_bed_close(&c);
}

/* Most clients ask a member that does not lead: what they are told must hold too. */
static void test_a_renewal_that_was_passed_on_clears_the_checkpoint(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant;
    struct renewal renewal = {.call = {.done = renewed, .id = 7}};
    renewal.call.arena = &renewal.arena;
    c.beds[0].lease_checkpoint_ms = c.beds[1].lease_checkpoint_ms = c.beds[2].lease_checkpoint_ms = 5000;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), follower = other(&c, leader);
    core_bed_grant(&c.beds[leader], &grant, 7, 60);
    cluster_bed_advance(&c, 7000);
    assert_true(has_checkpoint(&c.beds[follower], 7));
    assert_int_equal(core_lease_renew_passed_on(c.beds[follower].core, &renewal.call), 0);
    cluster_bed_advance(&c, 100);
    assert_int_equal(renewal.ended, 1);
    assert_int_equal(renewal.error, ERR_NOT_PRIMARY);
    assert_int_equal(core_lease_renew_passed_on(c.beds[leader].core, &renewal.call), 0);
    cluster_bed_advance(&c, 100);
    assert_int_equal(renewal.ended, 2);
    assert_int_equal(renewal.error, 0);
    assert_int_equal(renewal.call.ttl_s, 60);
    assert_false(has_checkpoint(&c.beds[follower], 7));
    arena_free(&renewal.arena);
    cluster_bed_close(&c);
}

/* Each lease once an interval, however many there are (limits.tsv: 1,000 a second). */
static void test_checkpoints_of_many_leases_keep_to_their_interval(void **state)
{
    (void)state;
    enum { LEASES = 3000 };
    struct cluster_bed c = {0};
    struct bed_request *grants = calloc(LEASES, sizeof *grants);
    c.beds[0].lease_checkpoint_ms = 5000;
    cluster_bed_open(&c, 1);
    cluster_bed_ready(&c);
    for (int64_t i = 0; i < LEASES; i++) {
        core_bed_grant(&c.beds[0], &grants[i], 0x100 + i, 600);
    }
    cluster_bed_advance(&c, 9500);
    assert_int_equal(core_stats(c.beds[0].core).lease_checkpoints_total, (LEASES + 255) / 256);
    cluster_bed_close(&c);
    free(grants);
}

/* The process stands still while another member leads, revokes the lease, and somebody writes. What it reads first,
 * before its first turn, must not be answered as if no time had passed. etcd#20418 / PR21417: stopped while others
 * elect a leader and write, then it goes on. */
static void test_after_a_pause_an_old_leader_renews_nothing_and_reads_nothing_old(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request grant, put, barrier;
    struct renewal renewal;
    cluster_bed_open(&c, 3);
    size_t old = cluster_bed_ready(&c);
    core_bed_grant(&c.beds[old], &grant, 7, 5);
    cluster_bed_advance(&c, 100);
    c.paused[old] = true;
    size_t leader = cluster_bed_elect(&c, old);
    cluster_bed_advance(&c, 8000);
    assert_false(lease_exists(kv_leases(c.beds[leader].kv), 7));
    core_bed_put(&c.beds[leader], &put, "k", "v", 0);
    cluster_bed_advance(&c, 100);
    assert_int_equal(put.error, 0);
    renew(&c.beds[old], &renewal, 7);
    core_bed_barrier(&c.beds[old], &barrier);
    c.paused[old] = false;
    for (unsigned i = 0; i < 2000; i++) {
        cluster_bed_advance(&c, 1);
        if (barrier.ended == 1 && barrier.error == 0) {
            assert_string_equal(core_bed_value(&c.beds[old], "k"), "v");
        }
    }
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(renewal.ended, 1);
    assert_int_equal(renewal.error, ERR_LEASE_NOT_FOUND);
    arena_free(&renewal.arena);
    cluster_bed_close(&c);
}

/* --- leadership handed over --- */

/* Three members that have done nothing for a second; the leader, and one that follows it. */
static size_t open_calm(struct cluster_bed *c, size_t *follower)
{
    cluster_bed_open(c, 3);
    size_t leader = cluster_bed_ready(c);
    *follower = other(c, leader);
    cluster_bed_advance(c, 1000);
    return leader;
}

static void test_puts_go_on_while_leadership_is_handed_over(void **state)
{
    (void)state;
    enum { COUNT = 90 };
    struct cluster_bed c = {.delay_ms = 3};
    struct bed_request transfer = {.ended = 0}, puts[COUNT];
    size_t to, old = open_calm(&c, &to);
    core_bed_transfer(&c.beds[old], &transfer, to + 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(core_bed_put(&c.beds[i % 3], &puts[i], "k", "v", 0), 0);
        cluster_bed_advance(&c, 1);
    }
    cluster_bed_advance(&c, 1000);
    assert_int_equal(transfer.ended, 1);
    assert_int_equal(transfer.error, 0);
    assert_int_equal(cluster_bed_leader(&c), to);
    unsigned acknowledged = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(puts[i].ended, 1);
        acknowledged += puts[i].error == 0;
    }

    assert_int_equal(acknowledged, COUNT);
    cluster_bed_close(&c);
}

/* A member that was started a moment ago hears its leader before the leader has its connections. */
static void test_leadership_is_handed_to_a_member_that_is_not_taken_for_active_yet(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 3};
    struct bed_request transfer = {.ended = 0};
    size_t to, old = open_calm(&c, &to);
    c.silent[to] = true;
    core_bed_transfer(&c.beds[old], &transfer, to + 1);
    cluster_bed_advance(&c, 500);
    assert_int_equal(transfer.ended, 1);
    assert_int_equal(transfer.error, 0);
    assert_int_equal(cluster_bed_leader(&c), to);
    cluster_bed_close(&c);
}

static void test_handing_over_ends_when_the_other_member_goes_away(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 3};
    struct bed_request transfer = {.ended = 0};
    size_t to, old = open_calm(&c, &to);
    cluster_bed_isolate(&c, to, true);
    c.cut[old][to] = c.cut[to][old] = false; /* not noticed yet */
    c.paused[to] = true;
    core_bed_transfer(&c.beds[old], &transfer, to + 1);
    cluster_bed_advance(&c, 50);
    assert_int_equal(transfer.ended, 0);
    c.silent[to] = true;
    cluster_bed_advance(&c, 100);
    assert_int_equal(transfer.ended, 1);
    assert_int_equal(transfer.error, ERR_TIMEOUT_LEADER_TRANSFER);
    cluster_bed_close(&c);
}

static void test_a_leader_that_is_removed_hands_over_at_once(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 2};
    struct bed_request removal, put;
    size_t asked, old = open_calm(&c, &asked);
    core_bed_remove(&c.beds[asked], &removal, old + 1);
    cluster_bed_advance(&c, 60);
    assert_int_equal(removal.ended, 1);
    assert_int_equal(removal.error, 0);
    assert_int_equal(core_bed_put(&c.beds[asked], &put, "k", "v", 0), 0);
    cluster_bed_advance(&c, 60);
    assert_int_equal(put.ended, 1);
    assert_int_equal(put.error, 0);
    assert_int_not_equal(cluster_bed_leader(&c), old);
    cluster_bed_close(&c);
}

/* --- crashes --- */

static void test_a_member_that_was_down_catches_up(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct cluster_bed c = {0};
    struct bed_request *puts = calloc(COUNT, sizeof *puts);
    c.beds[0].raft_log_bytes = c.beds[1].raft_log_bytes = c.beds[2].raft_log_bytes = 4096;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), down = other(&c, leader);
    cluster_bed_isolate(&c, down, true);
    core_bed_crash(&c.beds[down]);
    for (unsigned i = 0; i < COUNT; i++) {
        core_bed_put_bytes(&c.beds[leader], &puts[i], i == COUNT - 1 ? "last" : "k", 1000);
        cluster_bed_advance(&c, 2);
    }
    cluster_bed_advance(&c, 2000);
    assert_int_equal(puts[COUNT - 1].ended, 1);
    assert_string_equal(core_bed_value(&c.beds[down], "last"), "");
    cluster_bed_isolate(&c, down, false);
    cluster_bed_advance(&c, 5000);
    uint64_t applied = core_raft_status(c.beds[leader].core).applied;
    assert_int_equal(core_raft_status(c.beds[down].core).applied, applied);
    assert_in_range(c.beds[leader].log_reads, 1, 1000);
    cluster_bed_close(&c);
    free(puts);
}

/* Nobody waited any more for what the alarm's proposal became when a majority came back and took it. */
static void test_an_alarm_that_comes_after_its_time_is_taken_back_too(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), heard = other(&c, leader), away = 3 - leader - heard;
    cluster_bed_advance(&c, 1000);
    for (size_t i = 0; i < 3; i++) {
        cluster_bed_isolate(&c, i, true);
    }
    c.beds[leader].space = (struct core_space){0, 1000000};
    assert_int_equal(core_bed_put(&c.beds[leader], &put, "k", "v", 0), ERR_NO_SPACE);
    cluster_bed_advance(&c, 200);
    c.beds[leader].space = (struct core_space){UINT64_MAX, UINT64_MAX};
    cluster_bed_advance(&c, 20000);
    cluster_bed_isolate(&c, leader, false);
    cluster_bed_isolate(&c, heard, false);
    cluster_bed_isolate(&c, away, true);
    cluster_bed_advance(&c, 15000);
    assert_int_equal(cluster_bed_leader(&c), leader);
    assert_false(kv_alarm(c.beds[leader].kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    cluster_bed_isolate(&c, away, false);
    cluster_bed_close(&c);
}

static void test_all_members_crash_and_everything_acknowledged_is_there(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request put;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c);
    core_bed_put(&c.beds[leader], &put, "k", "v", 0);
    while (put.ended == 0) {
        cluster_bed_advance(&c, 1);
    }
    for (size_t i = 0; i < 3; i++) {
        core_bed_crash(&c.beds[i]);
    }
    cluster_bed_ready(&c);
    cluster_bed_advance(&c, 300);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(core_bed_value(&c.beds[i], "k"), "v");
    }
    cluster_bed_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_members_elect_a_leader_publish_themselves_and_get_ready),
        cmocka_unit_test(test_a_put_through_any_member_is_acknowledged_and_applied_everywhere),
        cmocka_unit_test(test_a_barrier_through_any_member_sees_what_was_acknowledged),
        cmocka_unit_test(test_a_leader_that_is_cut_off_is_replaced_and_its_proposals_end_as_unknown),
        cmocka_unit_test(test_a_proposal_without_leader_waits_for_the_next_one),
        cmocka_unit_test(test_without_a_quorum_a_proposal_ends_as_its_context_and_a_barrier_with_a_timeout),
        cmocka_unit_test(test_a_barrier_that_waits_when_a_leader_is_elected_is_told_so),
        cmocka_unit_test(test_a_leader_that_is_cut_off_answers_no_linearizable_read),
        cmocka_unit_test(test_a_forwarded_proposal_that_got_lost_times_out),
        cmocka_unit_test(test_a_timeout_says_so_when_the_connection_to_the_leader_was_lost_meanwhile),
        cmocka_unit_test(test_a_keepalive_through_any_member_reaches_the_leaders_clock),
        cmocka_unit_test(test_many_keepalives_at_a_follower_ask_the_leader_some_at_a_time),
        cmocka_unit_test(test_a_keepalive_waits_for_the_next_leader),
        cmocka_unit_test(test_a_leader_that_is_cut_off_renews_nothing),
        cmocka_unit_test(test_a_leader_that_is_cut_off_revokes_nothing_and_a_new_one_gives_leases_their_whole_time),
        cmocka_unit_test(test_with_checkpoints_a_new_leader_gives_leases_what_was_left),
        cmocka_unit_test(test_a_checkpoint_that_is_due_while_leadership_is_handed_over_is_given_up),
        cmocka_unit_test(test_a_renewal_that_was_passed_on_clears_the_checkpoint),
        cmocka_unit_test(test_checkpoints_of_many_leases_keep_to_their_interval),
        cmocka_unit_test(test_after_a_pause_an_old_leader_renews_nothing_and_reads_nothing_old),
        cmocka_unit_test(test_puts_go_on_while_leadership_is_handed_over),
        cmocka_unit_test(test_leadership_is_handed_to_a_member_that_is_not_taken_for_active_yet),
        cmocka_unit_test(test_handing_over_ends_when_the_other_member_goes_away),
        cmocka_unit_test(test_a_leader_that_is_removed_hands_over_at_once),
        cmocka_unit_test(test_a_member_that_was_down_catches_up),
        cmocka_unit_test(test_an_alarm_that_comes_after_its_time_is_taken_back_too),
        cmocka_unit_test(test_all_members_crash_and_everything_acknowledged_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
