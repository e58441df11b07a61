/* Who is in the cluster, and what this member knows of them (Raft thesis 4). */
#include "base/check.h"
#include "base/error.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

struct member *raft_member(const struct raft *r, uint64_t id)
{
    for (size_t i = 0; i < r->member_count; i++) {
        if (r->members[i].progress.id == id) {
            return &r->members[i];
        }
    }
    return NULL;
}

static int by_id(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return x->progress.id < y->progress.id ? -1 : x->progress.id > y->progress.id;
}

/* New progress: match 0, next = max(last, 1), active (raft.md "Configuration changes"). */
static void add_members(struct raft *r, struct member *to, size_t *count, const struct raft_ids *ids, bool learner)
{
    for (size_t i = 0; i < ids->count; i++) {
        const struct member *known = raft_member(r, ids->ids[i]);
        bool twice = false;
        for (size_t k = 0; k < *count; k++) {
            twice |= to[k].progress.id == ids->ids[i];
        }
        if (twice) {
            continue;
        }
        to[*count] =
            known != NULL
                ? *known
                : (struct member){
                      .progress = {.id = ids->ids[i], .next = r->log.last > 1 ? r->log.last : 1, .active = true}};
        to[*count].progress.learner = learner;
        ++*count;
    }
}

void raft_build_members(struct raft *r)
{
    const struct raft_conf_state *c = &r->conf;
    size_t count = 0;
    struct member *members =
        mem_zalloc((c->voters.count + c->voters_outgoing.count + c->learners.count + 1) * sizeof *members);
    add_members(r, members, &count, &c->voters, false);
    add_members(r, members, &count, &c->voters_outgoing, false);
    add_members(r, members, &count, &c->learners, true);
    qsort(members, count, sizeof *members, by_id);
    free(r->members);
    r->members = members;
    r->member_count = count;
}

void raft_apply_conf_change(struct raft *r, const struct raft_conf_change *change, struct raft_conf_state *after)
{
    CHECK(r->started && !r->update_open);
    struct raft_conf_state *c = &r->conf;
    CHECK(c->voters_outgoing.count == 0, "a simple change in joint consensus");
    if (change->node_id != RAFT_NONE) {
        if (change->type == RAFT_ADD_NODE) {
            raft_ids_remove(&c->learners, change->node_id);
            raft_ids_add(&c->voters, change->node_id);
        } else if (change->type == RAFT_ADD_LEARNER) {
            raft_ids_remove(&c->voters, change->node_id);
            raft_ids_add(&c->learners, change->node_id);
        } else if (change->type == RAFT_REMOVE_NODE) {
            raft_ids_remove(&c->voters, change->node_id);
            raft_ids_remove(&c->learners, change->node_id);
        }
        CHECK(c->voters.count > 0, "the last voter was removed");
        raft_build_members(r);
        raft_set_election_timer(r);
        if (r->role == RAFT_LEADER) {
            r->election_due_ms = UINT64_MAX;
            raft_maybe_commit(r); /* a smaller quorum may have what the larger one hadn't */
        }
        r->dirty = true;
    }
    if (after != NULL) {
        raft_conf_state_copy(after, c);
    }
}

bool raft_progress(const struct raft *r, uint64_t id, struct raft_progress *out)
{
    const struct member *m = r->role == RAFT_LEADER ? raft_member(r, id) : NULL;
    if (m == NULL) {
        return false;
    }
    *out = m->progress;
    return true;
}

/* --- what other members say: a member alone has nobody to hear from --- */

void raft_step(struct raft *r, const struct raft_message *message)
{
    (void)r;
    (void)message;
}

void raft_unreachable(struct raft *r, uint64_t id)
{
    (void)r;
    (void)id;
}

void raft_snapshot_reported(struct raft *r, uint64_t id, bool success)
{
    (void)r;
    (void)id;
    (void)success;
}

int raft_transfer(struct raft *r, uint64_t to)
{
    if (r->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    return to == r->id ? 0 : ERR_BAD_LEADER_TRANSFEREE;
}

void raft_advance_election(struct raft *r, uint64_t by_ms)
{
    (void)r;
    (void)by_ms;
}

void raft_snapshot_failed(struct raft *r)
{
    (void)r;
}

void raft_apply_conf_change_v2(struct raft *r, const struct raft_conf_change_v2 *change, struct raft_conf_state *after)
{
    (void)r;
    (void)change;
    (void)after;
}
