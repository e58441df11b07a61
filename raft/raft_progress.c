/* What a leader knows of a follower's log, as three states (raft.md "Leader per-peer progress"): where the logs part is
 * looked for one message at a time; then messages follow each other without waiting; or an image is under way. */
#include "base/check.h"
#include "raft/raft_impl.h"

static void enter(struct member *m, enum raft_progress_state state)
{
    m->progress.state = state;
    m->paused = false;
    m->pending_snapshot = 0;
    inflight_clear(&m->inflight);
}

void progress_reset(struct raft *r, struct member *m)
{
    enter(m, RAFT_PROBE);
    m->progress.match = 0;
    m->progress.next = r->log.last + 1;
    m->sent_commit = m->commit_awaited = 0;
    m->read_ack = 0;
    m->append_wanted = false;
    m->heard = false;
    fetched_clear(&m->fetched);
}

static void forget_sent_commit(struct member *m)
{
    uint64_t sent = m->progress.next - 1;
    m->sent_commit = m->sent_commit < sent ? m->sent_commit : sent;
}

void progress_probe(struct member *m)
{
    /* An image that was taken is a place to start from. */
    uint64_t from = m->progress.match;
    if (m->progress.state == RAFT_SNAPSHOT && m->pending_snapshot > from) {
        from = m->pending_snapshot;
    }
    enter(m, RAFT_PROBE);
    m->progress.next = from + 1;
    forget_sent_commit(m);
}

void progress_replicate(struct member *m)
{
    enter(m, RAFT_REPLICATE);
    m->progress.next = m->progress.match + 1;
}

void progress_snapshot(struct member *m, uint64_t index)
{
    enter(m, RAFT_SNAPSHOT);
    m->pending_snapshot = index;
    m->progress.next = index + 1;
    m->sent_commit = index;
}

bool progress_acknowledged(struct member *m, uint64_t index)
{
    struct raft_progress *p = &m->progress;
    if (index <= p->match) {
        return false;
    }
    p->match = index;
    if (p->next <= index) {
        p->next = index + 1;
    }
    m->paused = false;
    return true;
}

/* False: the rejection is an old one. */
bool progress_rejected(struct member *m, uint64_t rejected, uint64_t hint)
{
    struct raft_progress *p = &m->progress;
    switch (p->state) {
    case RAFT_REPLICATE:
        if (rejected <= p->match) {
            return false;
        }
        p->next = p->match + 1;
        break;
    case RAFT_PROBE:
        if (rejected + 1 != p->next) {
            return false;
        }
        p->next = rejected < hint + 1 ? rejected : hint + 1;
        if (p->next <= p->match) {
            p->next = p->match + 1;
        }
        m->paused = false;
        break;
    case RAFT_SNAPSHOT:
        return false;
    }
    forget_sent_commit(m);
    return true;
}

/* Replicating, the follower is taken to have what was sent; a full window is a probe again: only an empty App after
 * each answer to a heartbeat, should all of it be lost. */
void progress_sent(struct member *m, size_t entries, size_t bytes)
{
    if (m->progress.state == RAFT_PROBE) {
        m->paused = true;
        return;
    }
    CHECK(m->progress.state == RAFT_REPLICATE);
    if (entries > 0) {
        m->progress.next += entries;
        inflight_add(&m->inflight, m->progress.next - 1, bytes);
    }
    m->paused = inflight_full(&m->inflight);
}
