/* Elections. One leader a term (Raft thesis 3.4); a member votes once a term, also over a crash, and answers only when
 * its vote is durable (3.8); who leads has everything that was committed before (3.6.3); what a leader commits by
 * counting is of its own term (3.6.2). */
#include "chaos/sim/internal.h"
#include <inttypes.h>

#define SERIAL_BITS 10

static void led_by(struct sim *s, uint64_t term, uint64_t id)
{
    uint64_t *leader = sim_table_at(&s->check.leaders, term);
    if (*leader == 0) {
        s->result->elections++;
        sim_trace(s, "leader", term, id);
    } else if (*leader != id) {
        sim_fail(s, "term %" PRIu64 " has two leaders, %" PRIx64 " and %" PRIx64, term, *leader, id);
    }
    *leader = id;
}

/* By log matching it is enough to look at the last one. */
static void check_complete(struct sim_member *m, uint64_t term)
{
    const struct sim_check *c = &m->sim->check;
    size_t n = c->log_count;
    if (n > 0 && c->log[n - 1].term < term &&
        (m->shadow.count < n || m->shadow.entries[n - 1].term != c->log[n - 1].term)) {
        sim_fail(m->sim, "member %u leads term %" PRIu64 " without entry %zu, which was committed before", m->slot,
                 term, n);
    }
}

void sim_check_role(struct sim_member *m)
{
    struct raft_status status = raft_status(m->raft);
    if (status.role != RAFT_LEADER) {
        return;
    }
    struct sim_shadow *shadow = &m->shadow;
    if (shadow->led_term != status.term) {
        led_by(m->sim, status.term, m->id);
        check_complete(m, status.term);
        shadow->led_term = status.term;
        shadow->commit = status.commit;
        if (raft_term_at(m->raft, status.commit) == status.term) {
            return; /* alone, and through already */
        }
    }
    if (status.commit > shadow->commit && raft_term_at(m->raft, status.commit) != status.term) {
        sim_fail(m->sim, "the leader of term %" PRIu64 " commits entry %" PRIu64 " of term %" PRIu64 " by counting",
                 status.term, status.commit, raft_term_at(m->raft, status.commit));
    }
    shadow->commit = status.commit;
}

static void check_vote(struct sim_member *m, const struct raft_message *message)
{
    struct sim *s = m->sim;
    uint64_t *vote = sim_table_at(&s->check.votes, message->term << SERIAL_BITS | m->serial);
    if (*vote != 0 && *vote != message->to) {
        sim_fail(s, "member %u votes twice in term %" PRIu64 ", for %" PRIx64 " and %" PRIx64, m->slot, message->term,
                 *vote, message->to);
    }
    *vote = message->to;
    const struct raft_hard_state *synced = &m->shadow.hard_state;
    if (synced->term < message->term || (synced->term == message->term && synced->vote != message->to)) {
        sim_fail(s, "member %u gives a vote of term %" PRIu64 " away that is not on its disk", m->slot, message->term);
    }
}

void sim_check_sending(struct sim_member *m, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
        led_by(m->sim, message->term, m->id);
        break;
    case RAFT_MSG_VOTE_RESPONSE:
        if (!message->reject) {
            check_vote(m, message);
        }
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        if (!message->reject && message->index > m->shadow.durable) {
            sim_fail(m->sim, "member %u says that it has entry %" PRIu64 ", synced is %" PRIu64, m->slot,
                     message->index, m->shadow.durable);
        }
        break;
    default:
        break;
    }
}
