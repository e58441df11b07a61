/* The frame of consensus: its life, the log's comings and goings, and the update. What a role decides stands in the
 * files beside: raft_election.c, raft_propose.c, raft_commit.c, raft_read.c, raft_members.c. */
#include "raft/raft.h"
#include "base/check.h"
#include "base/error.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

enum {
    HEARTBEAT_MS = 100,
    ELECTION_MS = 1000,
    LOG_BYTES = 64 << 20,
};

/* --- life --- */

struct raft *raft_new(const struct raft_config *config)
{
    struct raft *r = mem_zalloc(sizeof *r);
    r->id = config->id;
    r->heartbeat_ms = config->heartbeat_ms == 0 ? HEARTBEAT_MS : config->heartbeat_ms;
    r->election_ms = config->election_ms == 0 ? ELECTION_MS : config->election_ms;
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
    return r;
}

void raft_restore_entry(struct raft *r, const struct raft_entry *entry)
{
    CHECK(!r->started);
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
    r->pending_conf_index = r->log.last;
    raft_set_election_timer(r);
    raft_campaign_if_alone(r);
}

void raft_free(struct raft *r)
{
    if (r == NULL) {
        return;
    }
    raft_log_free(&r->log);
    raft_conf_state_free(&r->conf);
    free(r->members);
    free(r->held);
    free(r->reads);
    free(r);
}

/* --- the log's events --- */

static void event(const struct raft *r)
{
    CHECK(r->started && !r->update_open);
}

void raft_durable(struct raft *r, struct raft_save save)
{
    event(r);
    if (save.sequence <= r->durable_sequence) {
        return;
    }
    CHECK(save.sequence <= r->save.sequence);
    r->durable_sequence = save.sequence;
    uint64_t index = save.index;
    if (save.sequence < r->cut_sequence && index >= r->cut_index) {
        index = r->cut_index - 1;
    }
    if (index > r->log.durable) {
        r->log.durable = index;
    }
    raft_log_trim(&r->log, r->applied);
    if (r->vote_waits && r->vote_sequence != 0 && save.sequence >= r->vote_sequence) {
        r->vote_waits = false;
        raft_own_vote_durable(r);
    }
    if (r->role == RAFT_LEADER && save.term == r->term) {
        struct member *self = raft_member(r, r->id);
        if (self != NULL) {
            self->progress.match = r->log.durable;
        }
        raft_maybe_commit(r);
    }
}

void raft_log_entries(struct raft *r, uint64_t from, const struct raft_entry *entries, size_t count, int error)
{
    event(r);
    CHECK(r->log_read == READ_ASKED);
    CHECK(error == 0 || count == 0);
    r->log_read = READ_IDLE;
    for (size_t i = 0; i < count; i++) {
        CHECK(entries[i].index == from + i);
        if (!raft_log_fill(&r->log, &entries[i])) {
            break;
        }
    }
    raft_log_trim(&r->log, r->applied);
    r->dirty = true;
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
    if (r->log_read == READ_IDLE) {
        r->log_read = READ_WANTED;
        r->log_read_from = index;
        r->dirty = true;
    }
    return NULL;
}

void raft_applied(struct raft *r, uint64_t index)
{
    event(r);
    CHECK(index >= r->applied && index <= r->commit);
    r->applied = index;
    raft_log_trim(&r->log, r->applied);
    raft_campaign_if_alone(r);
}

void raft_compact(struct raft *r, uint64_t index)
{
    event(r);
    CHECK(index <= r->applied);
    raft_log_compact(&r->log, index);
}

void raft_snapshot_done(struct raft *r, struct raft_position at, const struct raft_conf_state *conf)
{
    event(r);
    CHECK(at.index >= r->commit);
    size_t bytes_max = r->log.bytes_max;
    raft_log_free(&r->log);
    raft_log_init(&r->log, at, bytes_max);
    raft_conf_state_free(&r->conf);
    raft_conf_state_copy(&r->conf, conf);
    raft_build_members(r);
    r->commit = r->applied = at.index;
    r->dirty = true;
}

/* --- the update --- */

bool raft_update_pending(const struct raft *r)
{
    struct raft_hard_state state = {r->term, r->vote, r->commit};
    return r->dirty || r->read_count > 0 || r->log.saved < r->log.last || r->commit != r->shown_commit ||
           !raft_hard_state_equal(state, r->saved_state) || r->log_read == READ_WANTED ||
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
        if (r->vote_waits && r->vote_sequence == 0) {
            r->vote_sequence = r->save.sequence;
        }
    }
    u->save = r->save;
}

static void fill_log_read(struct raft *r, struct raft_update *u)
{
    if (r->log_read == READ_WANTED) {
        uint64_t to = r->log.hollow_to - 1;
        u->log_read.wanted = true;
        u->log_read.from = r->log_read_from;
        u->log_read.to = to < r->commit ? to : r->commit;
        u->log_read.max_bytes = r->log.bytes_max / 4;
    }
}

const struct raft_update *raft_update(struct raft *r)
{
    event(r);
    raft_check(r);
    struct raft_update *u = &r->update;
    *u = (struct raft_update){.commit = r->commit,
                              .commit_changed = r->commit != r->shown_commit,
                              .reads = r->reads,
                              .read_count = r->read_count,
                              .leader = r->leader,
                              .term = r->term,
                              .role = r->role,
                              .deadline_ms = r->election_due_ms};
    u->soft_changed = r->leader != r->shown_leader || r->term != r->shown_term || r->role != r->shown_role;
    fill_save(r, u);
    fill_log_read(r, u);
    r->update_open = true;
    return u;
}

void raft_update_done(struct raft *r)
{
    CHECK(r->update_open);
    const struct raft_update *u = &r->update;
    r->update_open = r->dirty = false;
    r->log.saved = r->log.last;
    r->saved_state = u->hard_state;
    r->read_count = 0;
    r->shown_commit = u->commit;
    r->shown_leader = u->leader;
    r->shown_term = u->term;
    r->shown_role = u->role;
    if (u->log_read.wanted) {
        r->log_read = READ_ASKED;
    }
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
                                .transferee = r->transferee,
                                .pending_reads = r->held_count,
                                .log_bytes = r->log.bytes};
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return names[role];
}

void raft_check(const struct raft *r)
{
    const struct raft_log *l = &r->log;
    CHECK(l->start.index <= r->applied && r->applied <= r->commit && r->commit <= l->last);
    CHECK(l->start.index < l->first && l->first <= l->last + 1 && l->first <= r->applied + 1);
    CHECK(l->durable <= l->saved && l->saved <= l->last);
    CHECK(l->hollow_from <= l->hollow_to && l->hollow_to <= l->durable + 1);
    CHECK(l->hollow_from == l->hollow_to || l->hollow_from > r->applied);
    CHECK(r->term >= raft_log_term(l, l->last));
    CHECK((r->role == RAFT_LEADER) == (r->leader == r->id));
    /* A commit that a leader alone reached is on its own disk (Raft thesis 10.2.1). */
    CHECK(r->role != RAFT_LEADER || !raft_alone(r) || r->commit <= l->durable);
}
