/* A message from another member: is it for us, what does its term say (Raft thesis 3.3; raft.md "Term and vote
 * handling"), and whose is it. */
#include "base/check.h"
#include "raft/raft_impl.h"

/* Nobody lives to see it. A log with terms near the end of the numbers could not go on, nor be read again. */
#define TERM_END (UINT64_C(1) << 62)

static bool has_no_term(const struct raft_message *m)
{
    return m->type == RAFT_MSG_PROPOSE || m->type == RAFT_MSG_READ_INDEX ||
           (m->type == RAFT_MSG_TRANSFER_LEADER && m->term == 0);
}

static bool from_leader(const struct raft_message *m)
{
    return m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAPSHOT;
}

static bool is_vote_request(const struct raft_message *m)
{
    return m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE;
}

static bool is_response(const struct raft_message *m)
{
    return m->type == RAFT_MSG_APPEND_RESPONSE || m->type == RAFT_MSG_HEARTBEAT_RESPONSE ||
           m->type == RAFT_MSG_VOTE_RESPONSE || m->type == RAFT_MSG_PRE_VOTE_RESPONSE ||
           m->type == RAFT_MSG_READ_INDEX_RESPONSE;
}

/* Terms never descend from entry to entry, and none is later than its leader's. */
static bool entries_fit(const struct raft_message *m)
{
    uint64_t index = m->index, term = m->log_term;
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (e->index != ++index || e->term < term || e->term > m->term || e->type > RAFT_ENTRY_CONF_CHANGE_V2) {
            return false;
        }
        term = e->term;
    }
    return index < UINT64_MAX / 2;
}

static bool valid(const struct raft *r, const struct raft_message *m)
{
    if (m->to != r->id || m->from == RAFT_NONE || (m->term == 0 && !has_no_term(m)) || m->term >= TERM_END) {
        return false;
    }
    if (m->from == r->id && m->type != RAFT_MSG_PROPOSE) {
        return false;
    }
    if (is_response(m) && raft_member(r, m->from) == NULL && m->type != RAFT_MSG_READ_INDEX_RESPONSE) {
        return false;
    }
    switch (m->type) {
    case RAFT_MSG_APPEND:
        return entries_fit(m);
    case RAFT_MSG_SNAPSHOT:
        return m->snapshot.index > 0 && m->snapshot.term <= m->term && m->snapshot_conf != NULL;
    case RAFT_MSG_READ_INDEX:
    case RAFT_MSG_READ_INDEX_RESPONSE:
        return m->entry_count == 1 && m->entries[0].data != NULL;
    default:
        return true;
    }
}

/* Raft thesis 4.2.3: who hears from a leader doesn't help to depose it, or a member that was removed and doesn't know
 * could disturb for ever. A leader that hands over says so to its heir (3.10), and the heir to the others. */
static bool disregarded(const struct raft *r, const struct raft_message *m)
{
    static const char transfer[] = "CampaignTransfer";
    bool forced = m->context_len == sizeof transfer - 1 && memcmp(m->context, transfer, m->context_len) == 0;
    return is_vote_request(m) && raft_in_lease(r) && !forced;
}

/* Raft thesis 3.3: a later term makes anybody a follower. Pre-vote speaks of a term that nobody has begun. */
static void later_term(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_MSG_PRE_VOTE || (m->type == RAFT_MSG_PRE_VOTE_RESPONSE && !m->reject)) {
        return;
    }
    raft_become_follower(r, m->term, from_leader(m) ? m->from : RAFT_NONE);
}

/* Raft thesis 3.3: a request of an earlier term is refused with the own one. A deposed leader must hear of it: under
 * check quorum and pre-vote this member asks nobody for a later term (raft.md). */
static void earlier_term(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT) {
        raft_message_durable(r, RAFT_MSG_APPEND_RESPONSE, m->from);
    } else if (m->type == RAFT_MSG_PRE_VOTE) {
        raft_message_durable(r, RAFT_MSG_PRE_VOTE_RESPONSE, m->from)->reject = true;
    }
}

/* A leader of the own term: a candidate has lost. Two leaders of one term can't be; who claims it isn't believed. */
static bool accept_leader(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER) {
        return false;
    }
    if (r->role != RAFT_FOLLOWER) {
        raft_become_follower(r, m->term, m->from);
    } else {
        raft_leader_heard(r, m->from);
    }
    return true;
}

static void dispatch(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_APPEND:
        raft_step_append(r, m);
        break;
    case RAFT_MSG_HEARTBEAT:
        raft_step_heartbeat(r, m);
        break;
    case RAFT_MSG_SNAPSHOT:
        raft_step_snapshot(r, m);
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        raft_step_append_response(r, m);
        break;
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        raft_step_heartbeat_response(r, m);
        break;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_PRE_VOTE_RESPONSE:
        raft_step_vote(r, m);
        break;
    case RAFT_MSG_PROPOSE:
        raft_step_propose(r, m);
        break;
    case RAFT_MSG_READ_INDEX:
        raft_step_read_index(r, m);
        break;
    case RAFT_MSG_READ_INDEX_RESPONSE:
        raft_step_read_index_response(r, m);
        break;
    case RAFT_MSG_TRANSFER_LEADER:
        raft_step_transfer(r, m);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_step_timeout_now(r, m);
        break;
    }
}

void raft_step(struct raft *r, const struct raft_message *m)
{
    raft_event(r);
    if (!valid(r, m)) {
        return;
    }
    r->dirty = true;
    if (!has_no_term(m)) {
        if (m->term > r->term) {
            if (disregarded(r, m)) {
                return;
            }
            later_term(r, m);
        } else if (m->term < r->term) {
            earlier_term(r, m);
            return;
        }
    }
    struct member *from = raft_member(r, m->from);
    if (from != NULL) {
        from->heard = true;
        from->heard_ms = r->now_ms;
    }
    if (!from_leader(m) || accept_leader(r, m)) {
        dispatch(r, m);
    }
}
