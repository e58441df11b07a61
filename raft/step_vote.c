/* RequestVote, its pre-vote form, and the answers (Raft thesis 3.4, 3.6.1, 9.6; raft.md "Term and vote handling"). */
#include "base/canary.h"
#include "raft/raft_impl.h"

/* Raft thesis 3.6.1: the log with the later last term is more up to date; of equal terms, the longer one. */
static bool up_to_date(const struct raft *r, const struct raft_message *m)
{
    uint64_t last_term = raft_log_term(&r->log, r->log.last);
    return CANARY(STALE_CANDIDATE) || m->log_term > last_term || (m->log_term == last_term && m->index >= r->log.last);
}

/* Raft thesis 3.4: one vote a term, to whom asks first. Learners vote when asked: who asks may know of a promotion that
 * has not come through to them. */
static bool may_vote(const struct raft *r, const struct raft_message *m)
{
    return r->vote == m->from || (r->vote == RAFT_NONE && r->leader == RAFT_NONE) ||
           (m->type == RAFT_MSG_PRE_VOTE && m->term > r->term);
}

static void request(struct raft *r, const struct raft_message *m)
{
    bool pre = m->type == RAFT_MSG_PRE_VOTE;
    bool granted = may_vote(r, m) && up_to_date(r, m);
    struct raft_message *answer =
        raft_message_durable(r, pre ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE, m->from);
    answer->reject = !granted;
    if (granted) {
        answer->term = m->term; /* of a pre-vote: the term that it is for, not the own one */
        if (!pre) {
            r->vote = CANARY(FORGOTTEN_VOTE) ? RAFT_NONE : m->from;
            raft_draw_election_timeout(r);
        }
    }
}

void raft_step_vote(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        request(r, m);
        break;
    case RAFT_MSG_VOTE_RESPONSE:
        if (r->role == RAFT_CANDIDATE) {
            raft_poll(r, m->from, !m->reject);
        }
        break;
    default:
        /* A grant is for the term that was asked for; an older campaign's doesn't count. */
        if (r->role == RAFT_PRE_CANDIDATE && (m->reject || m->term == r->term + 1)) {
            raft_poll(r, m->from, !m->reject);
        }
        break;
    }
}
