/* Images: the wish for one at a leader, and a follower whose log gives way to one (Raft thesis 5; raft.md "Snapshots").
 * The image itself travels beside the messages and is installed by others; here it is a position. */
#include "base/check.h"
#include "raft/raft_impl.h"

/* Only to who was heard of lately: it is a lot of work. */
void raft_want_image(struct raft *r, struct member *m)
{
    if (r->now_ms >= m->heard_ms + r->election_ms) {
        return;
    }
    if (r->image_count == r->image_capacity) {
        r->image_capacity = r->image_capacity * 2 + 4;
        r->images = mem_realloc(r->images, r->image_capacity * sizeof *r->images);
    }
    r->images[r->image_count++] = (struct raft_message){
        .type = RAFT_MSG_SNAPSHOT,
        .to = m->progress.id,
        .from = r->id,
        .term = r->term,
        .snapshot = {.index = r->applied, .term = raft_log_term(&r->log, r->applied)},
    };
    progress_snapshot(m, r->applied);
}

void raft_snapshot_reported(struct raft *r, uint64_t id, bool success)
{
    raft_event(r);
    struct member *m = raft_member(r, id);
    if (r->role != RAFT_LEADER || m == NULL || m->progress.state != RAFT_SNAPSHOT) {
        return;
    }
    if (!success) {
        m->pending_snapshot = 0;
    }
    progress_probe(m);
    m->paused = true; /* until it answers a heartbeat: it may still be busy installing */
    r->dirty = true;
}

void raft_unreachable(struct raft *r, uint64_t id)
{
    raft_event(r);
    struct member *m = raft_member(r, id);
    /* What was sent without waiting is probably lost. */
    if (r->role == RAFT_LEADER && m != NULL && m->progress.state == RAFT_REPLICATE) {
        progress_probe(m);
        r->dirty = true;
    }
}

/* --- a follower --- */

static bool has_member(const struct raft_conf_state *c, uint64_t id)
{
    return raft_ids_has(&c->voters, id) || raft_ids_has(&c->learners, id) || raft_ids_has(&c->voters_outgoing, id);
}

void raft_step_snapshot(struct raft *r, const struct raft_message *m)
{
    struct raft_position at = m->snapshot;
    if (r->installing) {
        return;
    }
    /* One from before this member was added says nothing about it (raft.md). */
    if (at.index <= r->commit || !has_member(m->snapshot_conf, r->id)) {
        raft_owe_ack(r, m->from, r->commit);
        return;
    }
    /* Raft thesis 5.1: what the log has already needs no image. */
    if (at.index <= r->log.last && raft_log_term(&r->log, at.index) == at.term) {
        raft_commit_to(r, at.index);
        raft_owe_ack(r, m->from, at.index);
        return;
    }
    r->installing = true;
    r->install_shown = false;
    raft_conf_state_free(&r->install_conf);
    raft_conf_state_copy(&r->install_conf, m->snapshot_conf);
    r->install = (struct raft_message){
        .type = m->type,
        .to = m->to,
        .from = m->from,
        .term = m->term,
        .snapshot = at,
        .snapshot_conf = &r->install_conf,
    };
}

void raft_snapshot_failed(struct raft *r)
{
    raft_event(r);
    CHECK(r->installing);
    r->installing = false;
    r->dirty = true;
}

void raft_snapshot_done(struct raft *r, struct raft_position at, const struct raft_conf_state *conf)
{
    raft_event(r);
    CHECK(r->installing);
    CHECK(at.index >= r->commit);
    r->installing = false;
    size_t bytes_max = r->log.bytes_max;
    raft_log_cut(r, r->log.first);
    raft_log_free(&r->log);
    raft_log_init(&r->log, at, bytes_max);
    r->cut_index = at.index + 1;
    r->apply_wants = 0;
    raft_conf_state_free(&r->conf);
    raft_conf_state_copy(&r->conf, conf);
    r->commit = r->applied = at.index;
    raft_build_members(r);
    raft_arm_timers(r);
    if (r->leader != RAFT_NONE) {
        raft_owe_ack(r, r->leader, at.index);
    }
    r->dirty = true;
}
