/* What the checkers know. They see what members write, send, apply and answer, and change nothing. */
#ifndef CHAOS_SIM_CHECK_H
#define CHAOS_SIM_CHECK_H

#include "chaos/sim/model.h"
#include "chaos/sim/table.h"
#include "kv/kv.h"
#include "raft/raft.h"

struct sim;
struct sim_member;
struct sim_client;
struct sim_watch;

/* --- logs ----------------------------------------------------------------------------------------------------------
 */

struct sim_shadow_entry {
    uint64_t term, digest;
    enum raft_entry_type type;
    struct shared *data; /* dropped once it was applied here */
};

/* A member's log as it was given to the disk. */
struct sim_shadow {
    struct sim_shadow_entry *entries; /* [i] = entry i + 1 */
    size_t count, capacity;
    uint64_t durable;                  /* entries up to here are synced and were not replaced since */
    uint64_t applied;                  /* compared with the others */
    struct raft_hard_state hard_state; /* synced */
    uint64_t led_term, commit;         /* of the newest term that it led: commit index known then */
};

void sim_shadow_free(struct sim_shadow *shadow);
/* A save is on its way to the disk; it is synced. */
void sim_check_saving(struct sim_member *m, const struct raft_entry *entries, size_t count);
void sim_check_synced(struct sim_member *m, const struct raft_entry *entries, size_t count,
                      const struct raft_hard_state *state);
/* At a start: each entry that the log still has, then its end. The log must have all that was synced. */
void sim_check_recovered(struct sim_member *m, const struct raft_entry *entry);
void sim_check_recovered_all(struct sim_member *m, uint64_t last_index, struct raft_hard_state state);
/* An image is sent: what is told of the members beside it is of the same moment. */
void sim_check_image_sent(struct sim_member *m, const struct raft_conf_state *conf);
/* An image has taken the place of the log up to `at`. */
void sim_check_image(struct sim_member *m, struct raft_position at);

/* --- leaders -------------------------------------------------------------------------------------------------------
 */

void sim_check_role(struct sim_member *m); /* after each turn */
void sim_check_sending(struct sim_member *m, const struct raft_message *message);

/* --- what was committed --------------------------------------------------------------------------------------------
 */

/* An entry that somebody has applied. */
struct sim_entry {
    uint64_t term, digest;
    int64_t revision, compacted; /* of the model after it */
};

/* Voters as of an applied index. */
struct sim_voters {
    uint64_t index;
    uint64_t ids[16];
    size_t count;
};

/* A change that a client proposed. */
struct sim_op {
    uint64_t id, digest;  /* of the request's bytes */
    uint64_t floor_index; /* highest entry whose effect was known to somebody when it began */
    int64_t floor;        /* the same as a revision */
    uint64_t index;       /* its entry; 0 = not met yet */
    bool acknowledged;
    struct model_outcome told, is;
};

void sim_check_applied(struct sim_member *m); /* after each turn */

/* --- what clients were told ----------------------------------------------------------------------------------------
 */

/* A read: the state at a revision. */
struct sim_read {
    int64_t revision;
    int lo, hi;
    uint64_t digest;
    size_t count;
};

void sim_check_proposed(struct sim *s, uint64_t id, uint64_t digest);
void sim_check_acknowledged(struct sim *s, uint64_t id, const struct model_outcome *told);
void sim_check_answered(struct sim *s); /* after each turn: what was acknowledged is in the log */
void sim_check_read(struct sim *s, struct sim_read read, int64_t floor);
/* From check_commit.c: an entry with this request was applied. false = nobody proposed it. */
bool sim_check_logged(struct sim *s, Etcdserverpb__InternalRaftRequest *request, uint64_t index,
                      const struct model_outcome *is);
uint64_t sim_request_digest(Etcdserverpb__InternalRaftRequest *request); /* without its header */
int64_t sim_check_floor(const struct sim *s);

/* --- leases --------------------------------------------------------------------------------------------------------
 */

void sim_check_lease_told(struct sim *s, int64_t id, uint64_t until_ms);
void sim_check_lease_revoked(struct sim *s, int64_t id); /* by a member itself, applied now */

/* --- state ---------------------------------------------------------------------------------------------------------
 */

bool sim_check_current(const struct sim_member *m); /* it has applied all that anybody has */
void sim_check_state(struct sim_member *m);         /* a current one: rows, leases, revisions */
void sim_check_hash(struct sim_member *m, const struct kv_hash_result *hash);

/* --- watches -------------------------------------------------------------------------------------------------------
 */

struct sim_event {
    int64_t rev;
    int key;
    bool dead, has_prev;
    uint64_t digest, prev_digest;
};

void sim_check_event(struct sim *s, struct sim_watch *w, const struct sim_event *e);
void sim_check_progress(struct sim *s, struct sim_watch *w, int64_t rev);
void sim_check_cancelled(struct sim *s, struct sim_watch *w, int64_t compact_revision);
void sim_check_watches_complete(struct sim *s); /* nothing may be missing */

/* --- healing -------------------------------------------------------------------------------------------------------
 */

void sim_check_healed(struct sim *s, uint64_t within_ms); /* calm begins */
void sim_check_heal_over(struct sim *s);                  /* the next storm begins */
void sim_check_heal(struct sim *s);                       /* after each moment */

struct sim_check {
    struct model model;
    struct sim_entry *log; /* [i] = entry i + 1, as it was applied */
    size_t log_count, log_capacity;
    struct sim_table known;   /* (index, term) of each entry that was ever saved: its digest */
    struct sim_table leaders; /* term: id */
    struct sim_table votes;   /* (term, voter's serial): for whom */
    struct sim_voters *voters;
    size_t voters_count;

    struct sim_op *ops;
    size_t op_count, op_capacity;
    struct sim_table op_of; /* request id: position in ops + 1 */
    uint64_t unlogged;      /* acknowledged and not in the log: must be in it when the turn is over */
    size_t last_acknowledged;
    int64_t floor;        /* highest revision that anybody was told */
    uint64_t floor_index; /* highest entry whose effect anybody was told */

    uint64_t *told; /* [i] = lease i + 1 lasts at least until then, its holder was told */
    size_t told_count;

    uint64_t heal_from_ms, heal_until_ms; /* 0 = not waiting */
    size_t heal_log_count;
};

void sim_check_init(struct sim *s);
void sim_check_free(struct sim *s);

#endif
