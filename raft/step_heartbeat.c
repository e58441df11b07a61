/* Heartbeats and their answers. Neither waits for a disk: they say who leads, and what was durable before. */
#include "base/bytes.h"
#include "raft/raft_impl.h"

/* The leader has seen that the logs agree up to the commit index that it tells (raft.md: min(match, committed)). A
 * member that was emptied and has come back may hear an index beyond its log; it keeps to what it has. */
void raft_step_heartbeat(struct raft *r, const struct raft_message *m)
{
    raft_commit_to(r, m->commit);
    struct raft_message *answer = raft_message_now(r, RAFT_MSG_HEARTBEAT_RESPONSE, m->from);
    answer->context_len = m->context_len;
    memcpy(answer->context, m->context, m->context_len);
}

/* Raft thesis 6.4, step 3: an echo confirms all reads up to the number in it. What is no number of ours is none: a
 * leader counts its reads from one. */
static void confirm(struct raft *r, const struct raft_message *m, struct member *from)
{
    if (m->context_len != 8) {
        return;
    }
    uint64_t position = get_le64(m->context);
    if (position > from->read_ack && position <= raft_reads_position(r)) {
        from->read_ack = position;
        raft_reads_confirm(r);
    }
}

void raft_step_heartbeat_response(struct raft *r, const struct raft_message *m)
{
    struct member *from = raft_member(r, m->from);
    if (r->role != RAFT_LEADER || from == NULL) {
        return;
    }
    from->paused = false;
    if (from->progress.match < r->log.last || from->progress.state == RAFT_PROBE) {
        from->append_wanted = true; /* what was sent may be lost */
    }
    confirm(r, m, from);
}
