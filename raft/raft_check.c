/* What must hold whenever an update is taken, in release builds too. */
#include "base/check.h"
#include "raft/raft_impl.h"

static void check_log(const struct raft *r)
{
    const struct raft_log *l = &r->log;
    CHECK(l->start.index <= r->applied && r->applied <= r->commit && r->commit <= l->last);
    CHECK(l->start.index < l->first && l->first <= l->last + 1 && l->first <= r->applied + 1);
    CHECK(l->durable <= l->saved && l->saved <= l->last);
    CHECK(l->hollow_from <= l->hollow_to && l->hollow_to <= l->durable + 1);
    CHECK(l->hollow_from == l->hollow_to || l->hollow_from > r->applied);
    CHECK(r->term >= raft_log_term(l, l->last));
    CHECK(r->durable_sequence <= r->save.sequence && r->sync_sequence <= r->save.sequence);
}

/* Raft thesis 3.4: who leads has voted for itself in this term and for nobody else. */
static void check_role(const struct raft *r)
{
    CHECK((r->role == RAFT_LEADER) == (r->leader == r->id));
    CHECK((r->role != RAFT_LEADER && r->role != RAFT_CANDIDATE) || r->vote == r->id);
    CHECK(r->role == RAFT_FOLLOWER || !r->installing);
    CHECK(r->transferee == RAFT_NONE || (r->role == RAFT_LEADER && r->transferee != r->id));
    CHECK(r->role == RAFT_LEADER || r->confirming.count == 0);
    CHECK(r->role != RAFT_LEADER || r->asked.count == 0);
    /* A commit that a leader alone reached is on its own disk (Raft thesis 10.2.1). */
    CHECK(r->role != RAFT_LEADER || !raft_alone(r) || r->commit <= r->log.durable);
}

static void check_progress(const struct raft *r)
{
    for (size_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        const struct raft_progress *p = &m->progress;
        CHECK(i == 0 || p->id > r->members[i - 1].progress.id);
        CHECK(p->match < p->next && p->match <= r->log.last, "%lx: match %lu, next %lu, last %lu", (unsigned long)p->id,
              (unsigned long)p->match, (unsigned long)p->next, (unsigned long)r->log.last);
        CHECK(p->id != r->id || p->match <= r->log.durable);
        CHECK(m->inflight.count <= INFLIGHT_MESSAGES_MAX);
        CHECK(p->state == RAFT_REPLICATE || m->inflight.count == 0);
        CHECK(m->sent_commit <= r->commit);
        CHECK(m->read_ack <= raft_reads_position(r));
    }
}

void raft_check(const struct raft *r)
{
    check_log(r);
    check_role(r);
    if (r->role == RAFT_LEADER) {
        check_progress(r);
    }
}
