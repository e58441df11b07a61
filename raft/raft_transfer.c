/* Leadership handed over (Raft thesis 3.10): the leader takes no more proposals, brings its heir up to date and tells
 * it to stand for election at once. If that hasn't worked within an election timeout, it goes on leading. */
#include "base/error.h"
#include "raft/raft_impl.h"

static void tell_to_stand(struct raft *r, uint64_t to)
{
    raft_message_now(r, RAFT_MSG_TIMEOUT_NOW, to);
}

static void begin(struct raft *r, struct member *to)
{
    r->transferee = to->progress.id;
    r->transfer_due_ms = r->now_ms + r->election_ms;
    if (r->check_due_ms != RAFT_NEVER) {
        r->check_due_ms = r->now_ms + r->election_ms;
    }
    if (to->progress.match == r->log.last) {
        tell_to_stand(r, r->transferee);
    } else {
        to->append_wanted = true;
    }
    r->dirty = true;
}

/* Another one who asks takes the place of the first; asking again for the same changes nothing. */
static int request(struct raft *r, uint64_t id)
{
    struct member *to = raft_member(r, id);
    if (to == NULL || to->progress.learner) {
        return ERR_BAD_LEADER_TRANSFEREE;
    }
    if (id == r->transferee) {
        return 0;
    }
    r->transferee = RAFT_NONE;
    if (id != r->id) {
        begin(r, to);
    }
    return 0;
}

/* The voter that has most of the log, of those that were heard of lately. */
static struct member *best_heir(struct raft *r)
{
    struct member *best = NULL;
    for (size_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->members[i];
        if (m->progress.id == r->id || m->progress.learner || r->now_ms >= m->heard_ms + r->election_ms) {
            continue;
        }
        if (best == NULL || m->progress.match > best->progress.match) {
            best = m;
        }
    }
    return best;
}

int raft_transfer(struct raft *r, uint64_t to)
{
    raft_event(r);
    if (r->role != RAFT_LEADER) {
        if (r->leader == RAFT_NONE) {
            return ERR_NO_LEADER;
        }
        if (to != RAFT_NONE) {
            raft_message_now(r, RAFT_MSG_TRANSFER_LEADER, r->leader)->from = to;
        }
        return to == RAFT_NONE ? ERR_BAD_LEADER_TRANSFEREE : 0;
    }
    if (to == RAFT_NONE) {
        const struct member *heir = best_heir(r);
        to = heir == NULL ? RAFT_NONE : heir->progress.id;
    }
    return request(r, to);
}

void raft_step_transfer(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER) {
        (void)request(r, m->from);
    } else if (r->role == RAFT_FOLLOWER && r->leader != RAFT_NONE && r->leader != m->from) {
        raft_message_now(r, RAFT_MSG_TRANSFER_LEADER, r->leader)->from = m->from;
    }
}

void raft_transfer_progress(struct raft *r, struct member *m)
{
    if (m->progress.id == r->transferee && m->progress.match == r->log.last) {
        tell_to_stand(r, r->transferee);
    }
}

/* Who is told to stand doesn't ask first whether it could win (3.10; no pre-vote). */
void raft_step_timeout_now(struct raft *r, const struct raft_message *m)
{
    (void)m;
    if (r->role == RAFT_FOLLOWER) {
        raft_campaign(r, CAMPAIGN_TRANSFER);
    }
}

/* --- a leader whose disk hangs --- */

/* No answer for an election timeout, though one is owed: nothing that this leader appends becomes durable here. The
 * others can commit without it, but every client that it serves alone waits (design.md "Heartbeats wait for no fsync").
 */
bool raft_disk_stalled(const struct raft *r)
{
    return r->disk_since_ms != RAFT_NEVER && r->now_ms >= r->disk_since_ms + r->election_ms;
}

void raft_disk_timeout(struct raft *r)
{
    struct member *heir = best_heir(r);
    if (heir != NULL) {
        begin(r, heir);
    } else {
        raft_become_follower(r, r->term, RAFT_NONE);
    }
}

void raft_transfer_timeout(struct raft *r)
{
    r->transferee = RAFT_NONE;
    r->dirty = true;
    if (raft_disk_stalled(r)) {
        raft_become_follower(r, r->term, RAFT_NONE);
    } else {
        raft_leave_joint(r); /* it may have stood in the way */
    }
}
