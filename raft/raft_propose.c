#include "base/check.h"
#include "base/error.h"
#include "raft/raft_impl.h"

struct raft_position raft_append_own(struct raft *r, enum raft_entry_type type, struct shared *data)
{
    struct raft_entry e = {.index = r->log.last + 1, .term = r->term, .type = type, .data = data};
    raft_log_append(&r->log, &e);
    return (struct raft_position){.index = e.index, .term = e.term};
}

int raft_propose(struct raft *r, enum raft_entry_type type, struct shared *data, struct raft_position *at)
{
    CHECK(r->started && !r->update_open);
    *at = (struct raft_position){0};
    if (r->role != RAFT_LEADER) {
        return ERR_NO_LEADER;
    }
    if (r->transferee != RAFT_NONE || raft_member(r, r->id) == NULL) {
        return ERR_PROPOSAL_DROPPED;
    }
    if (type != RAFT_ENTRY_NORMAL) {
        /* One change at a time (Raft thesis 4.1); the rest are voided (raft.md "Configuration changes"). */
        if (r->pending_conf_index > r->applied) {
            type = RAFT_ENTRY_NORMAL;
            data = NULL;
        } else {
            r->pending_conf_index = r->log.last + 1;
        }
    }
    *at = raft_append_own(r, type, data);
    return 0;
}
