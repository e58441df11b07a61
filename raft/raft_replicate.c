/* What a leader sends, made as an update is taken: heartbeats, Apps with what each follower lacks, or the wish for an
 * image (Raft thesis 3.5; raft.md "Appending"). All events of a turn travel in as few messages as they fit. */
#include "base/check.h"
#include "raft/raft_impl.h"

static void send_heartbeat(struct raft *r, struct member *m)
{
    struct raft_message *out = raft_message_now(r, RAFT_MSG_HEARTBEAT, m->progress.id);
    /* Only as far as the follower's log is known to agree. */
    out->commit = m->progress.match < r->commit ? m->progress.match : r->commit;
    if (m->sent_commit < out->commit) {
        m->sent_commit = out->commit;
    }
    if (r->confirming.count > 0) { /* 6.4: an echo of this confirms all that wait now */
        out->context_len = 8;
        put_le64(out->context, raft_reads_position(r));
    }
}

/* The entries that follow the previous one, from memory or from what came back from the WAL. NULL: they are not here
 * (or none are to be sent). */
static const struct raft_entry *next_entries(struct raft *r, struct member *m, size_t *count)
{
    uint64_t next = m->progress.next;
    *count = 0;
    if (next > r->log.last || (m->progress.state == RAFT_REPLICATE && inflight_full(&m->inflight))) {
        return NULL;
    }
    const struct raft_entry *entries = raft_log_view(&r->log, next, count);
    return entries != NULL ? entries : raft_fetched(r, m, count);
}

/* As many as fit into a message, at least one. */
static size_t fit(const struct raft *r, const struct raft_entry *entries, size_t count, size_t *bytes)
{
    enum { FRAME = 16 }; /* of an entry on the wire, about */
    size_t n = 0;
    *bytes = 0;
    while (n < count) {
        size_t size = raft_entry_bytes(&entries[n]) + FRAME;
        if (n > 0 && *bytes + size > r->message_bytes) {
            break;
        }
        *bytes += size;
        n++;
    }
    return n;
}

static void send_append(struct raft *r, struct member *m, const struct raft_entry *entries, size_t count)
{
    size_t bytes;
    struct raft_message *out = raft_message_now(r, RAFT_MSG_APPEND, m->progress.id);
    out->index = m->progress.next - 1;
    out->log_term = raft_log_term(&r->log, out->index);
    out->entry_count = fit(r, entries, count, &bytes);
    out->entries = out->entry_count == 0 ? NULL : entries;
    out->commit = r->commit;
    progress_sent(m, out->entry_count, bytes);
    m->sent_commit = r->commit;
    m->append_wanted = false;
}

/* The follower would commit more if it were told. */
static bool lacks_commit(const struct raft *r, const struct member *m)
{
    return m->sent_commit < r->commit && m->sent_commit + 1 < m->progress.next;
}

/* An App that tells nothing but a commit wakes the follower, and its answer the leader. The next entries tell it as
 * well and are often on their way, so it waits for them a moment, unless somebody waits for it at that follower, or it
 * is a change of members: who is removed by it is told nothing any more as soon as this leader has applied it. */
static bool tells_commit(struct raft *r, const struct member *m)
{
    if (!lacks_commit(r, m)) {
        return false;
    }
    bool awaited = m->commit_awaited > m->sent_commit || r->pending_conf_index > m->sent_commit;
    if (awaited || r->now_ms >= r->notice_due_ms || r->notice_ms == 0) {
        return true;
    }
    r->notice_held = true;
    return false;
}

static void send_appends(struct raft *r, struct member *m)
{
    while (!m->paused && m->progress.state != RAFT_SNAPSHOT) {
        if (m->progress.next <= r->log.start.index) {
            raft_want_image(r, m);
            return;
        }
        size_t count;
        const struct raft_entry *entries = next_entries(r, m, &count);
        if (count == 0 && !m->append_wanted && !tells_commit(r, m)) {
            return;
        }
        send_append(r, m, entries, count);
        if (count == 0) {
            return;
        }
    }
}

void raft_commit_awaited(struct raft *r, uint64_t member, uint64_t index)
{
    struct member *m = raft_member(r, member);
    if (m != NULL && m->commit_awaited < index) {
        m->commit_awaited = index;
    }
}

void raft_replicate(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return;
    }
    r->notice_held = false;
    for (size_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->members[i];
        if (m->progress.id == r->id) {
            continue;
        }
        if (r->heartbeat_wanted) {
            send_heartbeat(r, m);
        }
        send_appends(r, m);
    }
    if (!r->notice_held) {
        r->notice_due_ms = RAFT_NEVER;
    } else if (r->notice_due_ms == RAFT_NEVER) {
        r->notice_due_ms = r->now_ms + r->notice_ms;
    }
    if (r->heartbeat_wanted) {
        r->heartbeat_wanted = false;
        r->heartbeat_due_ms = r->heartbeat_due_ms == RAFT_NEVER ? RAFT_NEVER : r->now_ms + r->heartbeat_ms;
    }
}
