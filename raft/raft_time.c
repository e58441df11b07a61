/* Time. Each role has a few due times; a tick looks which have come. */
#include "base/check.h"
#include "raft/raft_impl.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool others_vote(const struct raft *r)
{
    return !raft_alone(r);
}

uint64_t raft_deadline(const struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return r->election_due_ms;
    }
    uint64_t due = earlier(earlier(r->heartbeat_due_ms, r->check_due_ms), r->notice_due_ms);
    if (r->transferee != RAFT_NONE) {
        return earlier(due, r->transfer_due_ms);
    }
    return r->disk_since_ms == RAFT_NEVER || !others_vote(r) ? due : earlier(due, r->disk_since_ms + r->election_ms);
}

/* Random in [E, 1.5 E] (Raft thesis 3.4: so that split votes are rare). etcd draws up to 2E, in whole heartbeats, so
 * that two often draw the same; drawn in milliseconds half of that range is wide enough, and nobody leads for less
 * long. */
void raft_draw_election_timeout(struct raft *r)
{
    r->election_timeout_ms = r->election_ms + random_below(&r->random, r->election_ms / 2 + 1);
    r->election_due_ms = RAFT_NEVER;
    raft_arm_timers(r);
}

void raft_leader_heard(struct raft *r, uint64_t leader)
{
    r->leader_heard_ms = r->now_ms;
    r->lateness_forgiven = false;
    if (r->election_due_ms != RAFT_NEVER) {
        r->election_due_ms = r->now_ms + r->election_timeout_ms;
    }
    if (r->leader != leader) {
        CHECK(r->leader == RAFT_NONE, "two leaders in term %lu", (unsigned long)r->term);
        r->leader = leader;
        raft_reads_release(r);
    }
}

void raft_arm_timers(struct raft *r)
{
    bool leads = r->role == RAFT_LEADER;
    bool stands = !leads && raft_ids_has(&r->conf.voters, r->id);
    if (!stands && !leads) {
        stands = raft_ids_has(&r->conf.voters_outgoing, r->id);
    }
    if (!stands) {
        r->election_due_ms = RAFT_NEVER;
    } else if (r->election_due_ms == RAFT_NEVER) {
        r->election_due_ms = r->now_ms + r->election_timeout_ms;
        r->lateness_forgiven = false;
    }
    bool listened_to = leads && (r->member_count > 1 || raft_member(r, r->id) == NULL);
    if (!listened_to) {
        r->heartbeat_due_ms = RAFT_NEVER;
    } else if (r->heartbeat_due_ms == RAFT_NEVER) {
        r->heartbeat_due_ms = r->now_ms + r->heartbeat_ms;
    }
    if (!leads || !others_vote(r)) {
        r->check_due_ms = RAFT_NEVER;
    } else if (r->check_due_ms == RAFT_NEVER) {
        r->check_due_ms = r->now_ms + r->election_ms;
        r->lateness_forgiven = false;
    }
}

bool raft_in_lease(const struct raft *r)
{
    return r->role == RAFT_LEADER || (r->leader != RAFT_NONE && r->now_ms < r->leader_heard_ms + r->election_ms);
}

/* A tick that comes long after its due time means that this process didn't run, not that the others were silent: what
 * they sent waits in the sockets. They get a moment more, once. */
static bool forgive(struct raft *r, uint64_t *due_ms)
{
    uint64_t moment = r->heartbeat_ms;
    if (r->lateness_forgiven || r->now_ms < *due_ms + moment) {
        return false;
    }
    r->lateness_forgiven = true;
    *due_ms = r->now_ms + moment;
    return true;
}

static void election_timeout(struct raft *r)
{
    if (forgive(r, &r->election_due_ms)) {
        return;
    }
    raft_draw_election_timeout(r);
    /* Without a disk that answers it could neither vote for itself nor lead. */
    if (!raft_disk_stalled(r)) {
        raft_campaign(r, r->pre_vote ? CAMPAIGN_PRE : CAMPAIGN_ELECTION);
    }
}

/* Raft thesis 6.2: a leader that hasn't heard of a quorum for an election timeout steps down, so that its clients look
 * for another one. */
static void check_quorum(struct raft *r)
{
    if (forgive(r, &r->check_due_ms)) {
        return;
    }
    if (!raft_quorum_heard(r)) {
        raft_become_follower(r, r->term, RAFT_NONE);
        return;
    }
    for (size_t i = 0; i < r->member_count; i++) {
        r->members[i].heard = false;
    }
    r->check_due_ms = r->now_ms + r->election_ms;
    r->lateness_forgiven = false;
}

static void tick_leader(struct raft *r)
{
    if (r->now_ms >= r->heartbeat_due_ms) {
        r->heartbeat_wanted = true;
    }
    if (r->transferee != RAFT_NONE) {
        if (r->now_ms >= r->transfer_due_ms) {
            raft_transfer_timeout(r);
        }
    } else if (raft_disk_stalled(r) && others_vote(r)) {
        raft_disk_timeout(r);
    }
    if (r->role == RAFT_LEADER && r->now_ms >= r->check_due_ms) {
        check_quorum(r);
    }
}

void raft_tick(struct raft *r, uint64_t now_ms)
{
    raft_event(r);
    CHECK(now_ms >= r->now_ms, "time went from %lu to %lu", (unsigned long)r->now_ms, (unsigned long)now_ms);
    r->now_ms = now_ms;
    if (now_ms < raft_deadline(r)) {
        return;
    }
    r->dirty = true;
    if (r->role == RAFT_LEADER) {
        tick_leader(r);
    } else {
        election_timeout(r);
    }
}

void raft_advance_election(struct raft *r, uint64_t by_ms)
{
    raft_event(r);
    if (r->role == RAFT_LEADER || r->leader != RAFT_NONE || r->election_due_ms == RAFT_NEVER) {
        return;
    }
    uint64_t left = r->election_due_ms > r->now_ms ? r->election_due_ms - r->now_ms : 0;
    r->election_due_ms -= left < by_ms ? left : by_ms;
    r->dirty = true;
}
