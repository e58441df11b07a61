/* Elections (Raft thesis 3.4; async disk: 10.2.1). A vote counts, also the own one, only when it is durable. */
#include "base/check.h"
#include "raft/raft_impl.h"

bool raft_alone(const struct raft *r)
{
    return r->conf.voters.count == 1 && r->conf.voters.ids[0] == r->id && r->conf.voters_outgoing.count == 0;
}

/* Random in [E, 2E - 1 heartbeat] (raft.md "Parameters"). */
void raft_set_election_timer(struct raft *r)
{
    uint64_t spread = r->election_ms > r->heartbeat_ms ? r->election_ms - r->heartbeat_ms : 0;
    r->election_due_ms = raft_alone(r) || !raft_ids_has(&r->conf.voters, r->id)
                             ? UINT64_MAX
                             : r->now_ms + r->election_ms + random_below(&r->random, spread + 1);
}

/* Committed changes of members that aren't applied yet decide who votes: first they have their say. */
static bool conf_change_waits(const struct raft *r)
{
    for (uint64_t i = r->applied + 1; i <= r->commit; i++) {
        bool here;
        const struct raft_entry *e = raft_log_slot(&r->log, i, &here);
        if (e->type != RAFT_ENTRY_NORMAL) {
            return true;
        }
    }
    return false;
}

static void become_candidate(struct raft *r)
{
    r->term++;
    r->vote = r->id;
    r->leader = r->transferee = RAFT_NONE;
    r->role = RAFT_CANDIDATE;
    r->vote_waits = true;
    r->vote_sequence = 0;
    for (size_t i = 0; i < r->member_count; i++) {
        r->members[i].vote = VOTE_UNKNOWN;
    }
    raft_set_election_timer(r);
}

void raft_campaign_if_alone(struct raft *r)
{
    if (r->role == RAFT_FOLLOWER && raft_alone(r) && !conf_change_waits(r)) {
        become_candidate(r);
    }
}

/* Raft thesis 3.6.2: a new leader commits nothing of earlier terms before an entry of its own, so it begins with one.
 */
static void become_leader(struct raft *r)
{
    CHECK(r->role == RAFT_CANDIDATE);
    r->role = RAFT_LEADER;
    r->leader = r->id;
    r->election_due_ms = UINT64_MAX;
    r->pending_conf_index = r->log.last;
    for (size_t i = 0; i < r->member_count; i++) {
        struct raft_progress *p = &r->members[i].progress;
        p->match = 0;
        p->next = r->log.last + 1;
        p->state = p->id == r->id ? RAFT_REPLICATE : RAFT_PROBE;
    }
    raft_append_own(r, RAFT_ENTRY_NORMAL, NULL);
}

static bool has_majority(const struct raft *r, const struct raft_ids *voters)
{
    size_t granted = 0;
    for (size_t i = 0; i < voters->count; i++) {
        const struct member *m = raft_member(r, voters->ids[i]);
        granted += m != NULL && m->vote == VOTE_GRANTED;
    }
    return voters->count == 0 || granted > voters->count / 2;
}

void raft_own_vote_durable(struct raft *r)
{
    struct member *self = raft_member(r, r->id);
    if (r->role != RAFT_CANDIDATE || self == NULL) {
        return;
    }
    self->vote = VOTE_GRANTED;
    if (has_majority(r, &r->conf.voters) && has_majority(r, &r->conf.voters_outgoing)) {
        become_leader(r);
    }
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    CHECK(term >= r->term);
    if (term > r->term) {
        r->term = term;
        r->vote = RAFT_NONE;
    }
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->transferee = RAFT_NONE;
    r->vote_waits = false;
    raft_drop_held(r);
    raft_set_election_timer(r);
}

void raft_tick(struct raft *r, uint64_t now_ms)
{
    CHECK(r->started && !r->update_open);
    CHECK(now_ms >= r->now_ms, "time went from %lu to %lu", (unsigned long)r->now_ms, (unsigned long)now_ms);
    r->now_ms = now_ms;
}
