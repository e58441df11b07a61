/* Messages and configurations as a reader wants to see them: "1->2 App term 2 prev 3/1 entries 4/2 5/2 commit 3". Only
 * what a message of its type carries. */
#include "tests/support/raft_bed_impl.h"
#include <inttypes.h>

static void describe_entries(struct buffer *out, const struct raft_message *m)
{
    static const char *const types[] = {"", "c", "C"};
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (i == 4 && m->entry_count > 6) {
            buffer_printf(out, " ..");
            i = m->entry_count - 2;
            continue;
        }
        buffer_printf(out, " %" PRIu64 "/%" PRIu64 "%s", e->index, e->term, types[e->type]);
    }
}

static void describe_context(struct buffer *out, const struct raft_message *m)
{
    if (m->context_len == 8) {
        buffer_printf(out, " reads %" PRIu64, get_le64(m->context));
    } else if (m->context_len > 0) {
        buffer_printf(out, " %.*s", m->context_len, (const char *)m->context);
    }
}

void raft_bed_describe(struct buffer *out, const struct raft_message *m)
{
    const char *name = raft_message_type_name(m->type);
    buffer_printf(out, "%" PRIx64 "->%" PRIx64 " %s", m->from, m->to, strncmp(name, "Msg", 3) == 0 ? name + 3 : name);
    if (m->term != 0) {
        buffer_printf(out, " term %" PRIu64, m->term);
    }
    switch (m->type) {
    case RAFT_MSG_APPEND:
        buffer_printf(out, " prev %" PRIu64 "/%" PRIu64, m->index, m->log_term);
        if (m->entry_count > 0) {
            buffer_printf(out, " entries");
            describe_entries(out, m);
        }
        buffer_printf(out, " commit %" PRIu64, m->commit);
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        if (m->reject) {
            buffer_printf(out, " rejects %" PRIu64 ", hint %" PRIu64 "/%" PRIu64, m->index, m->reject_hint,
                          m->log_term);
        } else {
            buffer_printf(out, " index %" PRIu64, m->index);
        }
        break;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        buffer_printf(out, " last %" PRIu64 "/%" PRIu64, m->index, m->log_term);
        break;
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_PRE_VOTE_RESPONSE:
        buffer_printf(out, m->reject ? " rejects" : " grants");
        break;
    case RAFT_MSG_SNAPSHOT:
        buffer_printf(out, " at %" PRIu64 "/%" PRIu64, m->snapshot.index, m->snapshot.term);
        break;
    case RAFT_MSG_HEARTBEAT:
        buffer_printf(out, " commit %" PRIu64, m->commit);
        break;
    case RAFT_MSG_READ_INDEX_RESPONSE:
        buffer_printf(out, " index %" PRIu64, m->index);
        break;
    case RAFT_MSG_PROPOSE:
        buffer_printf(out, " %zu", m->entry_count);
        break;
    default:
        break;
    }
    describe_context(out, m);
    buffer_printf(out, "\n");
}

static void describe_ids(struct buffer *out, const char *name, const struct raft_ids *set)
{
    if (set->count == 0) {
        return;
    }
    buffer_printf(out, "%s(", name);
    for (size_t i = 0; i < set->count; i++) {
        buffer_printf(out, "%s%" PRIx64, i == 0 ? "" : " ", set->ids[i]);
    }
    buffer_printf(out, ")");
}

void raft_bed_describe_conf(struct buffer *out, const struct raft_conf_state *c)
{
    describe_ids(out, "voters", &c->voters);
    describe_ids(out, " outgoing", &c->voters_outgoing);
    describe_ids(out, " learners", &c->learners);
    describe_ids(out, " next", &c->learners_next);
    if (c->auto_leave) {
        buffer_printf(out, " auto");
    }
}

void bed_write_down(struct raft_bed_member *m, const struct raft_update *u)
{
    struct buffer *t = m->bed->text;
    if (t == NULL) {
        return;
    }
    if (u->soft_changed) {
        buffer_printf(t, "%" PRIx64 ": %s in term %" PRIu64, m->id, raft_role_name(u->role), u->term);
        if (u->leader != RAFT_NONE && u->leader != m->id) {
            buffer_printf(t, ", leader %" PRIx64, u->leader);
        }
        buffer_printf(t, "\n");
    }
    if (u->append_count > 0) {
        const struct raft_entry *first = &u->append[0], *last = &u->append[u->append_count - 1];
        buffer_printf(t, "%" PRIx64 ": saves %" PRIu64 "/%" PRIu64, m->id, first->index, first->term);
        if (last != first) {
            buffer_printf(t, "..%" PRIu64 "/%" PRIu64, last->index, last->term);
        }
        buffer_printf(t, "\n");
    }
    if (u->hard_state_changed && (u->hard_state.term != m->term || u->hard_state.vote != m->vote)) {
        buffer_printf(t, "%" PRIx64 ": saves term %" PRIu64 " vote %" PRIx64 "\n", m->id, u->hard_state.term,
                      u->hard_state.vote);
    }
    if (u->commit_changed) {
        buffer_printf(t, "%" PRIx64 ": commit %" PRIu64 "\n", m->id, u->commit);
    }
    for (size_t i = 0; i < u->message_count; i++) {
        raft_bed_describe(t, &u->messages[i]);
    }
    for (size_t i = 0; i < u->image_count; i++) {
        raft_bed_describe(t, &u->images[i]);
    }
    for (size_t i = 0; i < u->read_count; i++) {
        if (u->reads[i].error == 0) {
            buffer_printf(t, "%" PRIx64 ": read %" PRIu64 " at %" PRIu64 "\n", m->id, u->reads[i].context,
                          u->reads[i].index);
        } else {
            buffer_printf(t, "%" PRIx64 ": read %" PRIu64 " again\n", m->id, u->reads[i].context);
        }
    }
    if (u->log_read.wanted) {
        buffer_printf(t, "%" PRIx64 ": log read %" PRIu64 "..%" PRIu64 "\n", m->id, u->log_read.from, u->log_read.to);
    }
    if (u->snapshot != NULL) {
        buffer_printf(t, "%" PRIx64 ": installs an image at %" PRIu64 "/%" PRIu64 "\n", m->id,
                      u->snapshot->snapshot.index, u->snapshot->snapshot.term);
    }
}
