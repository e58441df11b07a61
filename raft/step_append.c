/* AppendEntries at a follower (Raft thesis 3.5, figure 3.1 "Receiver implementation"; raft.md "Appending"). */
#include "base/check.h"
#include "raft/raft_impl.h"

/* Figure 3.1, step 2: the log has no such previous entry. The answer tells where it is worth trying again (3.5: one
 * round trip a term, not one an entry). */
static void reject(struct raft *r, const struct raft_message *m)
{
    uint64_t hint = m->index < r->log.last ? m->index : r->log.last;
    hint = raft_log_last_of_term(&r->log, hint, m->log_term);
    struct raft_message *answer = raft_message_durable(r, RAFT_MSG_APPEND_RESPONSE, m->from);
    answer->reject = true;
    answer->index = m->index;
    answer->reject_hint = hint;
    answer->log_term = raft_log_term(&r->log, hint);
}

/* Figure 3.1, steps 3 and 4. An entry that is there already stays: the message may be an old one, and what follows in
 * the log was perhaps acknowledged since. */
static void append(struct raft *r, const struct raft_message *m)
{
    size_t i = 0;
    while (i < m->entry_count && m->entries[i].index <= r->log.last &&
           raft_log_term(&r->log, m->entries[i].index) == m->entries[i].term) {
        i++;
    }
    if (i < m->entry_count && m->entries[i].index <= r->log.last) {
        CHECK(m->entries[i].index > r->commit, "entry %lu of term %lu contradicts a committed one of term %lu",
              (unsigned long)m->entries[i].index, (unsigned long)m->entries[i].term,
              (unsigned long)raft_log_term(&r->log, m->entries[i].index));
        raft_log_cut(r, m->entries[i].index);
    }
    for (; i < m->entry_count; i++) {
        raft_log_append(&r->log, &m->entries[i]);
    }
}

void raft_step_append(struct raft *r, const struct raft_message *m)
{
    if (r->installing) {
        return; /* an image is about to replace the log; the leader tries again */
    }
    if (m->index < r->commit) {
        /* What is committed agrees with every later leader (3.6.3). */
        raft_owe_ack(r, m->from, r->commit);
        return;
    }
    if (m->index > r->log.last || raft_log_term(&r->log, m->index) != m->log_term) {
        reject(r, m);
        return;
    }
    append(r, m);
    /* Figure 3.1, step 5: only what this message has shown to agree may be committed. */
    uint64_t last = m->index + m->entry_count;
    raft_commit_to(r, m->commit < last ? m->commit : last);
    raft_owe_ack(r, m->from, last);
}
