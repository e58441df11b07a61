/* Entries into the log: a leader appends, a follower sends them on to its leader (Raft thesis 6.2). */
#include "base/check.h"
#include "base/error.h"
#include "raft/codec.h"
#include "raft/raft_impl.h"

struct raft_position raft_append_own(struct raft *r, enum raft_entry_type type, struct shared *data)
{
    struct raft_entry e = {.index = r->log.last + 1, .term = r->term, .type = type, .data = data};
    raft_log_append(&r->log, &e);
    return (struct raft_position){.index = e.index, .term = e.term};
}

/* Does an empty change of members leave a joint configuration? */
static bool leaves_joint(enum raft_entry_type type, struct shared *data)
{
    struct raft_conf_change_v2 change;
    return type == RAFT_ENTRY_CONF_CHANGE_V2 && raft_conf_change_v2_decode(shared_bytes(data), &change) == 0 &&
           change.change_count == 0 && change.transition == RAFT_TRANSITION_AUTO;
}

/* One change at a time (Raft thesis 4.1): not while one may be unapplied, none but the leaving one while joint (4.3).
 */
static bool change_allowed(const struct raft *r, enum raft_entry_type type, struct shared *data)
{
    bool joint = r->conf.voters_outgoing.count > 0;
    return r->pending_conf_index <= r->applied && joint == leaves_joint(type, data);
}

static int append(struct raft *r, enum raft_entry_type type, struct shared *data, struct raft_position *at)
{
    if (r->transferee != RAFT_NONE || raft_member(r, r->id) == NULL) {
        return ERR_PROPOSAL_DROPPED;
    }
    if (type != RAFT_ENTRY_NORMAL) {
        /* One that may not be is voided (raft.md "Configuration changes"). */
        if (change_allowed(r, type, data)) {
            r->pending_conf_index = r->log.last + 1;
        } else {
            type = RAFT_ENTRY_NORMAL;
            data = NULL;
        }
    }
    *at = raft_append_own(r, type, data);
    return 0;
}

int raft_propose(struct raft *r, enum raft_entry_type type, struct shared *data, struct raft_position *at)
{
    raft_event(r);
    *at = (struct raft_position){0};
    if (r->role == RAFT_LEADER) {
        return append(r, type, data, at);
    }
    if (r->role != RAFT_FOLLOWER || r->leader == RAFT_NONE) {
        return ERR_NO_LEADER;
    }
    raft_forward(r, RAFT_MSG_PROPOSE, r->id, &(struct raft_entry){.type = type, .data = data});
    return 0;
}

/* A proposal of another member. Nobody is told if it can't be taken: it is lost like a message. */
void raft_step_propose(struct raft *r, const struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        struct raft_position at;
        if (e->type > RAFT_ENTRY_CONF_CHANGE_V2) {
            continue;
        }
        if (r->role == RAFT_LEADER) {
            (void)append(r, e->type, e->data, &at);
            raft_commit_awaited(r, m->from, r->log.last);
        } else if (r->role == RAFT_FOLLOWER && r->leader != RAFT_NONE && m->from != r->leader) {
            raft_forward(r, RAFT_MSG_PROPOSE, m->from, e);
        }
    }
}

/* Raft thesis 4.3: the joint configuration is left by a second entry. Tried again at each entry that is applied, should
 * a transfer of leadership stand in the way. */
void raft_leave_joint(struct raft *r)
{
    struct raft_position at;
    if (r->role == RAFT_LEADER && r->conf.auto_leave && r->applied >= r->pending_conf_index) {
        (void)append(r, RAFT_ENTRY_CONF_CHANGE_V2, NULL, &at);
    }
}
