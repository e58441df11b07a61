/* Roles and campaigns (Raft thesis 3.4; pre-vote: 9.6; asynchronous disk: 10.2.1). A vote counts, also the own one,
 * only when it is durable. */
#include "base/check.h"
#include "raft/raft_impl.h"

bool raft_alone(const struct raft *r)
{
    const struct raft_ids *in = &r->conf.voters, *out = &r->conf.voters_outgoing;
    return in->count == 1 && in->ids[0] == r->id && (out->count == 0 || (out->count == 1 && out->ids[0] == r->id));
}

bool raft_is_voter(const struct raft *r, uint64_t id)
{
    return raft_ids_has(&r->conf.voters, id) || raft_ids_has(&r->conf.voters_outgoing, id);
}

/* What belongs to one role in one term ends with it. */
static void reset(struct raft *r, uint64_t term)
{
    CHECK(term >= r->term);
    if (term > r->term) {
        r->term = term;
        r->vote = RAFT_NONE;
        raft_out_drop(r);
    }
    r->dirty = true;
    r->leader = r->transferee = RAFT_NONE;
    r->heartbeat_wanted = false;
    r->pending_conf_index = 0;
    r->ack.to = RAFT_NONE;
    r->ack.owed = false;
    for (size_t i = 0; i < r->member_count; i++) {
        r->members[i].vote = VOTE_UNKNOWN;
        progress_reset(r, &r->members[i]);
    }
    raft_reads_reset(r);
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

static bool may_stand(const struct raft *r)
{
    return raft_is_voter(r, r->id) && !r->installing && !conf_change_waits(r);
}

/* Raft thesis 9.6: the term stays, so that who can't win disturbs nobody. */
static void become_pre_candidate(struct raft *r)
{
    CHECK(r->role != RAFT_LEADER);
    r->role = RAFT_PRE_CANDIDATE;
    r->leader = RAFT_NONE;
    r->dirty = true;
    for (size_t i = 0; i < r->member_count; i++) {
        r->members[i].vote = VOTE_UNKNOWN;
    }
    raft_reads_reset(r);
}

static void become_candidate(struct raft *r)
{
    CHECK(r->role != RAFT_LEADER);
    reset(r, r->term + 1);
    r->role = RAFT_CANDIDATE;
    r->vote = r->id;
    raft_draw_election_timeout(r);
}

/* Requests rest on the disk like votes: they say what this member's log holds and that it voted for itself. */
static void ask_for_votes(struct raft *r, enum campaign kind)
{
    static const char transfer[] =
        "CampaignTransfer"; /* raft.md: overrides the lease of the leader that asked for it */
    for (size_t i = 0; i < r->member_count; i++) {
        uint64_t id = r->members[i].progress.id;
        if (id == r->id || !raft_is_voter(r, id)) {
            continue;
        }
        bool pre = kind == CAMPAIGN_PRE;
        struct raft_message *m = raft_message_durable(r, pre ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE, id);
        m->term = pre ? r->term + 1 : r->term;
        m->index = r->log.last;
        m->log_term = raft_log_term(&r->log, r->log.last);
        if (kind == CAMPAIGN_TRANSFER) {
            m->context_len = sizeof transfer - 1;
            memcpy(m->context, transfer, m->context_len);
        }
    }
}

static void campaign(struct raft *r, enum campaign kind)
{
    if (kind == CAMPAIGN_PRE) {
        become_pre_candidate(r);
        ask_for_votes(r, kind);
        raft_poll(r, r->id, true); /* rests on nothing new */
    } else {
        become_candidate(r);
        ask_for_votes(r, kind);
    }
}

void raft_campaign(struct raft *r, enum campaign kind)
{
    if (r->role != RAFT_LEADER && may_stand(r)) {
        campaign(r, kind);
    }
}

void raft_campaign_if_alone(struct raft *r)
{
    if (r->role == RAFT_FOLLOWER && raft_alone(r) && may_stand(r)) {
        campaign(r, CAMPAIGN_ELECTION);
    }
}

/* Raft thesis 3.6.2: a new leader commits nothing of earlier terms before an entry of its own, so it begins with one.
 * Any entry of its log may be a change of members that isn't applied yet (4.1). */
static void become_leader(struct raft *r)
{
    CHECK(r->role == RAFT_CANDIDATE);
    reset(r, r->term);
    r->role = RAFT_LEADER;
    r->leader = r->id;
    r->pending_conf_index = r->log.last;
    struct member *self = raft_member(r, r->id);
    if (self != NULL) {
        self->progress.match = r->log.durable;
        progress_replicate(self);
    }
    raft_arm_timers(r);
    raft_append_own(r, RAFT_ENTRY_NORMAL, NULL);
}

void raft_poll(struct raft *r, uint64_t from, bool granted)
{
    struct member *m = raft_member(r, from);
    if (m == NULL || m->vote != VOTE_UNKNOWN) {
        return;
    }
    m->vote = granted ? VOTE_GRANTED : VOTE_REJECTED;
    switch (raft_vote_outcome(r)) {
    case OUTCOME_WON:
        if (r->role == RAFT_PRE_CANDIDATE) {
            campaign(r, CAMPAIGN_ELECTION);
        } else {
            become_leader(r);
        }
        break;
    case OUTCOME_LOST:
        raft_become_follower(r, r->term, RAFT_NONE);
        break;
    case OUTCOME_OPEN:
        break;
    }
}

void raft_own_vote_durable(struct raft *r)
{
    if (r->role == RAFT_CANDIDATE && raft_state_durable(r)) {
        raft_poll(r, r->id, true);
    }
}

/* Raft thesis 3.4: what keeps a member from standing is a leader that it hears or a vote that it gives, not a term that
 * it hears of: otherwise those who can't win would hold up the one who can. */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    bool led = r->role == RAFT_LEADER;
    reset(r, term);
    r->role = RAFT_FOLLOWER;
    if (led || leader != RAFT_NONE) {
        raft_draw_election_timeout(r);
    }
    if (leader != RAFT_NONE) {
        raft_leader_heard(r, leader);
    }
}
