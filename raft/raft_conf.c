/* Changes of members, as they are applied (Raft thesis 4; raft.md "Configuration changes": they decide quorums from
 * then on, not from when they are appended as in 4.1). */
#include "base/check.h"
#include "raft/raft_impl.h"

static bool joint(const struct raft_conf_state *c)
{
    return c->voters_outgoing.count > 0;
}

static bool known(const struct raft_conf_state *c, uint64_t id)
{
    return raft_ids_has(&c->voters, id) || raft_ids_has(&c->voters_outgoing, id) || raft_ids_has(&c->learners, id);
}

static void remove_member(struct raft_conf_state *c, uint64_t id)
{
    raft_ids_remove(&c->voters, id);
    raft_ids_remove(&c->learners, id);
    raft_ids_remove(&c->learners_next, id);
}

/* A voter that becomes a learner waits until the outgoing half, in which it votes, is gone. */
static void add_learner(struct raft_conf_state *c, uint64_t id)
{
    if (raft_ids_has(&c->learners, id)) {
        return;
    }
    bool was_known = known(c, id);
    remove_member(c, id);
    if (was_known && raft_ids_has(&c->voters_outgoing, id)) {
        raft_ids_add(&c->learners_next, id);
    } else {
        raft_ids_add(&c->learners, id);
    }
}

static void change_one(struct raft_conf_state *c, enum raft_conf_change_type type, uint64_t id)
{
    if (id == RAFT_NONE) {
        return; /* voided */
    }
    switch (type) {
    case RAFT_ADD_NODE:
        raft_ids_remove(&c->learners, id);
        raft_ids_remove(&c->learners_next, id);
        raft_ids_add(&c->voters, id);
        break;
    case RAFT_ADD_LEARNER:
        add_learner(c, id);
        break;
    case RAFT_REMOVE_NODE:
        remove_member(c, id);
        break;
    case RAFT_UPDATE_NODE:
        break;
    }
}

static void change_all(struct raft_conf_state *c, const struct raft_conf_change_v2 *change)
{
    for (size_t i = 0; i < change->change_count; i++) {
        change_one(c, change->changes[i].type, change->changes[i].node_id);
    }
    CHECK(c->voters.count > 0, "the last voter was removed");
}

/* Raft thesis 4.3: from here on decisions need a majority of the old members and one of the new. */
static void enter_joint(struct raft_conf_state *c, const struct raft_conf_change_v2 *change)
{
    CHECK(!joint(c), "a joint configuration within one");
    CHECK(c->voters.count > 0);
    for (size_t i = 0; i < c->voters.count; i++) {
        raft_ids_add(&c->voters_outgoing, c->voters.ids[i]);
    }
    change_all(c, change);
    c->auto_leave = change->transition != RAFT_TRANSITION_EXPLICIT;
}

static void leave_joint(struct raft_conf_state *c)
{
    CHECK(joint(c), "there is no joint configuration to leave");
    for (size_t i = 0; i < c->learners_next.count; i++) {
        raft_ids_add(&c->learners, c->learners_next.ids[i]);
    }
    while (c->learners_next.count > 0) {
        raft_ids_remove(&c->learners_next, c->learners_next.ids[0]);
    }
    while (c->voters_outgoing.count > 0) {
        raft_ids_remove(&c->voters_outgoing, c->voters_outgoing.ids[0]);
    }
    c->auto_leave = false;
}

/* Raft thesis 4.1: of old and new majorities any two have a member in common, because only one voter comes or goes. */
static void change_simply(struct raft_conf_state *c, const struct raft_conf_change_v2 *change)
{
    CHECK(!joint(c), "a simple change in a joint configuration");
    struct raft_conf_state before;
    raft_conf_state_copy(&before, c);
    change_all(c, change);
    size_t differ = 0;
    for (size_t i = 0; i < before.voters.count; i++) {
        differ += !raft_ids_has(&c->voters, before.voters.ids[i]);
    }
    for (size_t i = 0; i < c->voters.count; i++) {
        differ += !raft_ids_has(&before.voters, c->voters.ids[i]);
    }
    raft_conf_state_free(&before);
    CHECK(differ <= 1, "more than one voter differs");
}

/* What depends on who is a member. A leader that is none any more goes on until it is stopped (raft.md): somebody has
 * to tell the others that it was removed. */
static void changed(struct raft *r)
{
    raft_build_members(r);
    raft_arm_timers(r);
    r->dirty = true;
    if (r->role != RAFT_LEADER) {
        return;
    }
    raft_maybe_commit(r); /* a smaller quorum may have what the larger one hadn't */
    raft_reads_confirm(r);
    if (r->transferee != RAFT_NONE && !raft_is_voter(r, r->transferee)) {
        r->transferee = RAFT_NONE;
    }
}

void raft_apply_conf_change_v2(struct raft *r, const struct raft_conf_change_v2 *change, struct raft_conf_state *after)
{
    raft_event(r);
    struct raft_conf_state *c = &r->conf;
    if (change->transition == RAFT_TRANSITION_AUTO && change->change_count == 0) {
        leave_joint(c);
    } else if (change->transition != RAFT_TRANSITION_AUTO || change->change_count > 1) {
        enter_joint(c, change);
    } else {
        change_simply(c, change);
    }
    changed(r);
    if (after != NULL) {
        raft_conf_state_copy(after, c);
    }
}

void raft_apply_conf_change(struct raft *r, const struct raft_conf_change *change, struct raft_conf_state *after)
{
    const struct raft_conf_change_v2 v2 = {.change_count = 1,
                                           .changes = {{.type = change->type, .node_id = change->node_id}}};
    if (change->node_id != RAFT_NONE) {
        raft_apply_conf_change_v2(r, &v2, after);
        return;
    }
    raft_event(r);
    if (after != NULL) {
        raft_conf_state_copy(after, &r->conf);
    }
}
