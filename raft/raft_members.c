/* Who is in the cluster, and what this member knows of them (Raft thesis 4). */
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
        to[*count] = known != NULL ? *known
                                   : (struct member){
                                         .progress = {.id = ids->ids[i], .next = r->log.last > 1 ? r->log.last : 1},
                                         .heard = true,
                                         .heard_ms = r->now_ms,
                                     };
        to[*count].progress.learner = learner;
        ++*count;
    }
}

/* Those that are not in the new list let go of what they hold. */
static void release_members(struct raft *r, const struct member *stay, size_t count)
{
    for (size_t i = 0; i < r->member_count; i++) {
        bool stays = false;
        for (size_t k = 0; k < count; k++) {
            stays |= stay[k].progress.id == r->members[i].progress.id;
        }
        if (!stays) {
            inflight_free(&r->members[i].inflight);
            fetched_clear(&r->members[i].fetched);
        }
    }
    free(r->members);
    free(r->quorum_room);
}

void raft_build_members(struct raft *r)
{
    const struct raft_conf_state *c = &r->conf;
    size_t count = 0, most = c->voters.count + c->voters_outgoing.count + c->learners.count + 1;
    struct member *members = mem_zalloc(most * sizeof *members);
    add_members(r, members, &count, &c->voters, false);
    add_members(r, members, &count, &c->voters_outgoing, false);
    add_members(r, members, &count, &c->learners, true);
    qsort(members, count, sizeof *members, by_id);
    release_members(r, members, count);
    r->members = members;
    r->member_count = count;
    r->quorum_room = mem_alloc(most * sizeof *r->quorum_room);
    r->fetch_next = 0;
}

void raft_free_members(struct raft *r)
{
    release_members(r, NULL, 0);
}

bool raft_progress(const struct raft *r, uint64_t id, struct raft_progress *out)
{
    const struct member *m = r->role == RAFT_LEADER ? raft_member(r, id) : NULL;
    if (m == NULL) {
        return false;
    }
    *out = m->progress;
    out->active = m->progress.id == r->id || r->now_ms < m->heard_ms + r->election_ms;
    return true;
}
