/* The answer to an App at the leader (Raft thesis 3.5; raft.md "Leader per-peer progress"). */
#include "raft/raft_impl.h"

/* Raft thesis 3.5: the logs part somewhere below; the follower has said where its terms become small enough, and the
 * leader goes on down to where its own do. */
static void rejected(struct raft *r, const struct raft_message *m, struct member *from)
{
    uint64_t hint = m->reject_hint;
    if (m->log_term > 0 && hint <= r->log.last) {
        hint = raft_log_last_of_term(&r->log, hint, m->log_term);
    }
    if (!progress_rejected(from, m->index, hint)) {
        return;
    }
    if (from->progress.state == RAFT_REPLICATE) {
        progress_probe(from);
    }
    from->append_wanted = true;
}

static void accepted(struct raft *r, const struct raft_message *m, struct member *from)
{
    struct raft_progress *p = &from->progress;
    bool news = progress_acknowledged(from, m->index);
    if (!news && !(p->match == m->index && p->state == RAFT_PROBE)) {
        return;
    }
    switch (p->state) {
    case RAFT_PROBE:
        progress_replicate(from);
        break;
    case RAFT_SNAPSHOT:
        if (p->match >= r->log.start.index) {
            progress_replicate(from);
        }
        break;
    case RAFT_REPLICATE:
        inflight_acknowledge(&from->inflight, m->index);
        break;
    }
    raft_maybe_commit(r);
    raft_transfer_progress(r, from);
}

void raft_step_append_response(struct raft *r, const struct raft_message *m)
{
    struct member *from = raft_member(r, m->from);
    if (r->role != RAFT_LEADER || from == NULL) {
        return;
    }
    if (m->reject) {
        rejected(r, m, from);
    } else if (m->index <= r->log.last) { /* nobody can have more than the leader of its term */
        accepted(r, m, from);
    }
}
