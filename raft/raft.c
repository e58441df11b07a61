/* The frame of consensus: its life, the log's comings and goings, and the update. What is decided stands in the files
 * beside (raft_impl.h lists them). */
#include "raft/raft.h"
#include "base/check.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

enum {
    HEARTBEAT_MS = 100,
    ELECTION_MS = 1000,
    MESSAGE_BYTES = 1 << 20,
    LOG_BYTES = 64 << 20,
};

/* --- life --- */

struct raft *raft_new(const struct raft_config *config)
{
    struct raft *r = mem_zalloc(sizeof *r);
    r->id = config->id;
    r->notice_ms = config->notice_ms;
    r->heartbeat_ms = config->heartbeat_ms == 0 ? HEARTBEAT_MS : config->heartbeat_ms;
    r->election_ms = config->election_ms == 0 ? ELECTION_MS : config->election_ms;
    r->message_bytes = config->message_bytes == 0 ? MESSAGE_BYTES : config->message_bytes;
    r->pre_vote = config->pre_vote;
    r->now_ms = config->now_ms;
    random_seed(&r->random, config->seed);
    r->term = config->hard_state.term;
    r->vote = config->hard_state.vote;
    r->commit = config->hard_state.commit > config->applied ? config->hard_state.commit : config->applied;
    r->applied = config->applied;
    r->saved_state = config->hard_state;
    r->role = r->shown_role = RAFT_FOLLOWER;
    raft_log_init(&r->log, config->snapshot, config->log_bytes == 0 ? LOG_BYTES : config->log_bytes);
    raft_conf_state_copy(&r->conf, &config->conf);
    raft_build_members(r);
    r->election_due_ms = r->heartbeat_due_ms = r->notice_due_ms = r->check_due_ms = r->transfer_due_ms =
        r->disk_since_ms = RAFT_NEVER;
    r->next_read_id = random_next(&r->random);
    return r;
}

/* What an image replaced may still stand in the WAL behind the image's position. It is of an earlier term than the
 * image: the leader that the image came from would have replaced it. Nothing that was saved later follows it. */
static bool left_over(struct raft *r, const struct raft_entry *entry)
{
    r->left_over = r->left_over || entry->term < raft_log_term(&r->log, r->log.last);
    return r->left_over;
}

void raft_restore_entry(struct raft *r, const struct raft_entry *entry)
{
    CHECK(!r->started);
    if (left_over(r, entry)) {
        return;
    }
    raft_log_append(&r->log, entry);
    r->log.saved = r->log.durable = r->log.last;
    raft_log_trim(&r->log, r->applied);
}

void raft_start(struct raft *r)
{
    CHECK(!r->started);
    CHECK(r->applied >= r->log.start.index && r->commit <= r->log.last, "applied %lu, commit %lu, log %lu..%lu",
          (unsigned long)r->applied, (unsigned long)r->commit, (unsigned long)r->log.first, (unsigned long)r->log.last);
    /* A torn write may have kept a leader's entries and lost the state that belongs to them. A vote in that term can't
     * have been lost with it: it would have been durable before. */
    uint64_t last_term = raft_log_term(&r->log, r->log.last);
    if (r->term < last_term) {
        r->term = last_term;
        r->vote = RAFT_NONE;
    }
    r->started = r->dirty = true;
    r->shown_term = r->term;
    r->save = (struct raft_save){.term = r->term, .index = r->log.last};
    r->ack.to = RAFT_NONE;
    raft_draw_election_timeout(r);
    raft_campaign_if_alone(r);
}

void raft_free(struct raft *r)
{
    if (r == NULL) {
        return;
    }
    raft_log_free(&r->log);
    raft_reads_free(r);
    raft_out_free(r);
    raft_free_members(r);
    raft_conf_state_free(&r->conf);
    raft_conf_state_free(&r->install_conf);
    free(r);
}

/* --- the log's events --- */

void raft_event(const struct raft *r)
{
    CHECK(r->started && !r->update_open);
}

bool raft_state_durable(const struct raft *r)
{
    return r->term == r->saved_state.term && r->vote == r->saved_state.vote && r->durable_sequence >= r->state_sequence;
}

/* Jobs that are under way may hold entries that are replaced now: what they say about those isn't true any more. A new
 * job always follows, with what replaces them. */
void raft_log_cut(struct raft *r, uint64_t from)
{
    bool earlier_cut = r->cut_sequence > r->durable_sequence + 1;
    r->cut_index = earlier_cut && r->cut_index < from ? r->cut_index : from;
    r->cut_sequence = r->save.sequence + 1;
    raft_log_truncate(&r->log, from);
}

void raft_commit_to(struct raft *r, uint64_t index)
{
    if (index > r->log.last) {
        index = r->log.last;
    }
    if (index > r->commit && !r->installing) {
        r->commit = index;
    }
}

static void log_durable(struct raft *r, struct raft_save save)
{
    uint64_t index = save.index;
    if (save.sequence < r->cut_sequence && index >= r->cut_index) {
        index = r->cut_index - 1;
    }
    if (index > r->log.durable) {
        r->log.durable = index;
    }
    raft_log_trim(&r->log, r->applied);
}

/* Raft thesis 10.2.1: a leader may write to its own disk while its followers write to theirs, if it counts itself only
 * once that is done. */
void raft_durable(struct raft *r, struct raft_save save)
{
    raft_event(r);
    if (save.sequence <= r->durable_sequence) {
        return;
    }
    CHECK(save.sequence <= r->save.sequence);
    r->durable_sequence = save.sequence;
    r->disk_since_ms = r->durable_sequence >= r->sync_sequence ? RAFT_NEVER : r->now_ms;
    r->dirty = r->dirty || r->member_count > 1 || r->held_count > 0 || r->ack.owed; /* what waited may leave */
    log_durable(r, save);
    if (r->role == RAFT_CANDIDATE) {
        raft_own_vote_durable(r);
    } else if (r->role == RAFT_LEADER) {
        struct member *self = raft_member(r, r->id);
        if (self != NULL && self->progress.match < r->log.durable) {
            self->progress.match = r->log.durable;
            self->progress.next = r->log.last + 1;
        }
        raft_maybe_commit(r);
    }
}

const struct raft_entry *raft_entry(struct raft *r, uint64_t index)
{
    bool here;
    CHECK(index > r->applied && index <= r->commit, "entry %lu of %lu..%lu", (unsigned long)index,
          (unsigned long)r->applied, (unsigned long)r->commit);
    const struct raft_entry *e = raft_log_slot(&r->log, index, &here);
    CHECK(e != NULL);
    if (here) {
        return e;
    }
    r->apply_wants = index;
    return NULL;
}

void raft_applied(struct raft *r, uint64_t index)
{
    raft_event(r);
    CHECK(index >= r->applied && index <= r->commit);
    r->applied = index;
    raft_log_trim(&r->log, r->applied);
    raft_leave_joint(r);
    raft_campaign_if_alone(r);
}

void raft_compact(struct raft *r, uint64_t index)
{
    raft_event(r);
    CHECK(index <= r->applied);
    raft_log_compact(&r->log, index);
}

/* --- the update --- */

bool raft_update_pending(const struct raft *r)
{
    struct raft_hard_state state = {r->term, r->vote, r->commit};
    return r->dirty || r->read_count > 0 || r->log.saved < r->log.last || r->commit != r->shown_commit ||
           !raft_hard_state_equal(state, r->saved_state) || (r->apply_wants != 0 && !r->fetch_out) ||
           r->leader != r->shown_leader || r->term != r->shown_term || r->role != r->shown_role;
}

static void fill_save(struct raft *r, struct raft_update *u)
{
    bool here;
    u->append_count = (size_t)(r->log.last - r->log.saved);
    u->append = u->append_count == 0 ? NULL : raft_log_slot(&r->log, r->log.saved + 1, &here);
    u->hard_state = (struct raft_hard_state){r->term, r->vote, r->commit};
    u->hard_state_changed = !raft_hard_state_equal(u->hard_state, r->saved_state);
    u->must_sync = u->append_count > 0 || r->term != r->saved_state.term || r->vote != r->saved_state.vote;
    if (u->append_count > 0 || u->hard_state_changed) {
        r->save = (struct raft_save){.sequence = r->save.sequence + 1, .term = r->term, .index = r->log.last};
    }
    if (u->must_sync) {
        r->sync_sequence = r->save.sequence;
        if (r->disk_since_ms == RAFT_NEVER) {
            r->disk_since_ms = r->now_ms;
        }
    }
    if (r->term != r->saved_state.term || r->vote != r->saved_state.vote) {
        r->state_sequence = r->save.sequence;
    }
    r->saved_state = u->hard_state;
    u->save = r->save;
}

static void fill_messages(struct raft *r, struct raft_update *u)
{
    raft_out_release(r);
    raft_replicate(r);
    u->messages = r->out;
    u->message_count = r->out_count;
    u->images = r->images;
    u->image_count = r->image_count;
}

const struct raft_update *raft_update(struct raft *r)
{
    raft_event(r);
    raft_check(r);
    struct raft_update *u = &r->update;
    *u = (struct raft_update){.commit = r->commit,
                              .commit_changed = r->commit != r->shown_commit,
                              .reads = r->reads,
                              .read_count = r->read_count,
                              .leader = r->leader,
                              .term = r->term,
                              .role = r->role,
                              .snapshot = r->installing && !r->install_shown ? &r->install : NULL};
    u->soft_changed = r->leader != r->shown_leader || r->term != r->shown_term || r->role != r->shown_role;
    fill_save(r, u);
    fill_messages(r, u);
    raft_fetch_fill(r, u);
    u->deadline_ms = raft_deadline(r);
    r->update_open = true;
    return u;
}

void raft_update_done(struct raft *r)
{
    CHECK(r->update_open);
    const struct raft_update *u = &r->update;
    r->update_open = r->dirty = false;
    r->log.saved = r->log.last;
    r->read_count = 0;
    r->shown_commit = u->commit;
    r->shown_leader = u->leader;
    r->shown_term = u->term;
    r->shown_role = u->role;
    r->fetch_out = r->fetch_out || u->log_read.wanted;
    r->install_shown = r->installing;
    raft_out_done(r);
    raft_fetched_drop_sent(r);
}

/* --- queries --- */

uint64_t raft_last_index(const struct raft *r)
{
    return r->log.last;
}

uint64_t raft_first_index(const struct raft *r)
{
    return r->log.start.index + 1;
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    return raft_log_term(&r->log, index);
}

const struct raft_conf_state *raft_conf(const struct raft *r)
{
    return &r->conf;
}

struct raft_status raft_status(const struct raft *r)
{
    return (struct raft_status){.id = r->id,
                                .leader = r->leader,
                                .term = r->term,
                                .vote = r->vote,
                                .commit = r->commit,
                                .applied = r->applied,
                                .last_index = r->log.last,
                                .durable_index = r->log.durable,
                                .role = r->role,
                                .voter = raft_is_voter(r, r->id),
                                .learner = raft_ids_has(&r->conf.learners, r->id),
                                .installing = r->installing,
                                .transferee = r->transferee,
                                .pending_reads = r->held_reads.count + r->confirming.count + r->asked.count,
                                .log_bytes = r->log.bytes};
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return names[role];
}
