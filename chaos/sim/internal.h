/* What the files of the simulator share.
 *
 *   run.c          virtual time: lives, crashes, the last quiet life
 *   life.c         a member put together from its disk, taken apart by a crash
 *   jobs.c         the core's world: log, store and worker, each late by a random while
 *   client.c       clients that write, read, hold leases, compact
 *   watcher.c      clients that watch, and resume where they stopped
 *   check.c, check_watch.c    what must hold */
#ifndef CHAOS_SIM_INTERNAL_H
#define CHAOS_SIM_INTERNAL_H

#include "base/random.h"
#include "chaos/sim/model.h"
#include "chaos/sim/sim.h"
#include "core/core.h"
#include "kv/watch.h"
#include "raft/raft.h"
#include "raft/wal/wal.h"

struct sim;

enum { SIM_CLIENTS = 6, SIM_WATCHERS = 3, SIM_WATCHES = 4 };
#define SIM_NEVER UINT64_MAX

/* --- checkers ------------------------------------------------------------------------------------------------------
 */

/* A change that was proposed. What it was told is compared with the model when its entry is met in the log. */
struct sim_op {
    uint64_t id;
    bool acknowledged, logged;
    struct model_outcome told;
};

/* A read: the state at a revision, judged once the model is that far. */
struct sim_read {
    int64_t revision;
    int lo, hi;
    uint64_t digest;
    size_t count;
};

/* An entry that was synced, or that a start found in the log: there for good. */
struct sim_entry {
    uint64_t term;
    enum raft_entry_type type;
    struct shared *data;
};

struct sim_told_lease {
    int64_t id;
    uint64_t until_ms; /* the holder was told that it lasts at least so long */
};

struct sim_check {
    struct sim *sim;
    struct model model;
    struct sim_op *ops;
    size_t op_count, op_capacity, op_judged; /* ops below were acknowledged and found, or are unknown for good */
    struct sim_read *reads;
    size_t read_count, read_capacity;
    struct sim_entry *log; /* [i] = entry i + 1 */
    size_t log_count, log_capacity;
    size_t fed;
    struct sim_told_lease *told;
    size_t told_count;
    int64_t floor; /* highest revision that anybody was told */
};

/* --- clients -------------------------------------------------------------------------------------------------------
 */

enum sim_client_state { SIM_IDLE, SIM_BUSY, SIM_HOLDING };

struct sim_client {
    struct sim *sim;
    enum sim_client_state state;
    uint64_t due_ms, started_ms;
    struct core_request request;
    bool proposed; /* request is open */
    uint64_t op_id;
    int kind;
    int64_t lease;
    struct core_range range;
    bool ranging, open; /* range asked for; range answered and not yet read to its end */
    Etcdserverpb__RangeRequest range_request;
    char key[8], end[8];
    int lo, hi;
    int64_t floor;
    struct buffer rows;
};

enum sim_record_kind { SIM_EVENT, SIM_PROGRESS, SIM_COMPACTED };

/* What a watch was sent, until the model can judge it. */
struct sim_record {
    enum sim_record_kind kind;
    int64_t rev;
    int key;
    bool dead, has_prev;
    uint64_t digest, prev_digest;
};

struct sim_watch {
    int lo, hi;
    bool single, from_key, prev_kv, progress;
    int64_t resume; /* the next start_revision; 0 = never created */
    bool alive, created;
    struct sim_record *records;
    size_t record_count, record_capacity;
    /* judged: */
    int64_t position; /* sees changes from here on */
    size_t next;      /* in the model's changes */
};

struct sim_watcher {
    struct sim *sim;
    struct watch_stream *stream;
    bool ready;
    uint64_t due_ms;
    struct watch_out out;
    struct sim_watch watches[SIM_WATCHES];
};

/* --- the member ----------------------------------------------------------------------------------------------------
 */

struct sim_queue {
    struct list jobs;
    uint64_t due_ms;
};

struct sim_finished {
    struct core_job *job;
    uint64_t due_ms;
};

struct sim {
    struct sim_config config;
    struct sim_result *result;
    struct random random;
    uint64_t now_ms;
    struct memory_fs *disk;
    struct backend *backend;
    size_t commits_told; /* commits that the core knows to be durable */

    /* this life */
    unsigned life;
    bool crashed, dying, quiet; /* quiet: no new work; leases run out */
    struct wal *wal;
    struct wal_contents contents;
    struct kv *kv;
    struct watch_hub *hub;
    struct core *core;
    struct core_env env;
    struct sim_queue log_queue, store_queue, work_queue;
    struct sim_finished finished[256];
    size_t finished_count;
    uint64_t recovered; /* last entry of the log at this start */
    struct core_hash *hash;
    bool hashed;

    struct sim_client clients[SIM_CLIENTS];
    struct sim_watcher watchers[SIM_WATCHERS];
    int64_t next_lease;
    uint64_t values;
    struct sim_check check;
};

/* The first failure wins; everything stops then. */
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *s, const char *what, uint64_t a, uint64_t b);
uint64_t sim_core_now(const struct sim *s); /* the member's clock */

/* life.c */
void sim_life_start(struct sim *s); /* s->crashed when the disk gave out; failures are reported */
void sim_life_crash(struct sim *s);
void sim_life_stop(struct sim *s); /* an orderly end, after core_stopped */
bool sim_disk_dead(const struct sim *s);

/* jobs.c */
void sim_jobs_init(struct sim *s);
void sim_jobs_run(struct sim *s); /* what is due now */
uint64_t sim_jobs_due(const struct sim *s);
void sim_jobs_abandon(struct sim *s); /* gives all jobs back undone; the core is to be freed */

/* client.c, watcher.c */
void sim_client_run(struct sim_client *c);
void sim_client_cut(struct sim_client *c); /* the member is gone */
void sim_watcher_start(struct sim_watcher *w);
void sim_watcher_run(struct sim_watcher *w);
void sim_watcher_cut(struct sim_watcher *w);
void sim_watch_ready(struct watch_stream *stream, void *arg);
void sim_watch_init(struct sim_watcher *w);

/* check.c */
void sim_check_init(struct sim *s);
void sim_check_free(struct sim_check *c);
void sim_check_proposed(struct sim_check *c, uint64_t id);
void sim_check_acknowledged(struct sim_check *c, uint64_t id, const struct model_outcome *told);
void sim_check_read(struct sim_check *c, struct sim_read read, int64_t floor);
void sim_check_lease_told(struct sim_check *c, int64_t id, uint64_t until_ms);
/* Entries on their way to the log: no lease may be revoked by the member itself before its time. */
void sim_check_saving(struct sim_check *c, const struct raft_entry *entry);
void sim_check_synced(struct sim_check *c, const struct raft_entry *entry);
/* At a start: the log must have all that was synced; entry by entry, then the model is fed and everything is judged. */
void sim_check_recovered(struct sim_check *c, const struct raft_entry *entry);
void sim_check_judge(struct sim_check *c, uint64_t last_index);
/* All of the log is applied and nobody has asked for anything since: the state must be the model's. */
void sim_check_state(struct sim_check *c);
void sim_check_hash(struct sim_check *c, const struct kv_hash_result *hash);

/* check_watch.c */
void sim_check_watches(struct sim *s, bool complete); /* complete: nothing may be missing */

#endif
