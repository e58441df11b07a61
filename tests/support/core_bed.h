/* A core on a store in memory and a log in an array, for tests: time stands still until it is moved, and jobs end when
 * they are told to. */
#ifndef TESTS_SUPPORT_CORE_BED_H
#define TESTS_SUPPORT_CORE_BED_H

#include "core/core.h"

struct watch_hub;
struct cluster_bed; /* tests/support/cluster_bed.h */

struct core_bed {
    struct core_env env; /* first */
    /* Of a cluster (all 0: alone): this member, and how many there are (ids 1, 2, …) */
    uint64_t id;
    size_t members;
    struct cluster_bed *cluster;
    void (*attach)(struct core_bed *bed); /* fills the env's half that speaks to others */
    size_t members_changes;
    struct core_config config;
    struct core *core;
    struct kv *kv;
    struct raft *raft;
    struct backend *backend;
    struct watch_hub *hub;
    size_t raft_log_bytes; /* how much of the log stays in memory; 0 = raft's own */
    int64_t quota_bytes;
    uint64_t lease_checkpoint_ms; /* 0 = leases have no checkpoints */
    uint64_t now_ms;

    /* Jobs that were started and are not done: they are carried out by core_bed_turn unless their queue is held. */
    struct list log_jobs, store_jobs, work_jobs;
    bool log_held, store_held, work_held;
    bool log_full; /* saves find no space: they wait, or come back with ERR_STOPPED once giving_up */
    bool giving_up;
    bool commits_full; /* commits end with ERR_DISK_FULL */
    bool defragment_held;
    struct core_space space;
    size_t checkpoints, commits, full_commits, views, repacks, log_reads, defragments; /* carried out */
    struct raft_position checkpoint;                                                   /* the last one's */

    /* What is durable in the log. */
    struct raft_entry *entries;
    size_t entry_count, entry_capacity;
    struct raft_hard_state hard_state;
    struct raft_position log_base; /* entries follow it */
    bool forgets_log;              /* checkpoints leave nothing before them */
    uint64_t log_first;            /* older ones cannot be read any more */

    /* Images (core_bed_image.c) */
    struct buffer image;                /* the last one that arrived: what CORE_INSTALL installs */
    size_t installed, refused, retired; /* how many */
    struct arena arena;
};

int core_bed_install(struct core_bed *bed, struct core_install *install);
void core_bed_retire(struct core_env *env, struct kv *kv);
/* Exports a view as members get it. */
void core_bed_export(struct backend_read *view, struct buffer *out);

/* A new member, alone, that has not had a turn yet; core_bed_ready then brings it to where clients are served. Fields
 * that are to differ from their defaults are set in the zeroed bed before. */
void core_bed_open(struct core_bed *bed);
void core_bed_ready(struct core_bed *bed);
void core_bed_close(struct core_bed *bed); /* stops first, if that was not done */
/* The process dies: what the log and the store have durable stays. */
void core_bed_crash(struct core_bed *bed);

/* One turn, then the jobs of the queues that are not held. True: there is more at once. */
bool core_bed_turn(struct core_bed *bed);
/* Until nothing happens any more without time going on. Fails if that never comes. */
void core_bed_run(struct core_bed *bed);
/* Moves time on, from deadline to deadline. Returns the number of turns: a core that spins takes too many. */
size_t core_bed_advance(struct core_bed *bed, uint64_t ms);
/* The next job of a queue is carried out, though the queue is held. */
void core_bed_one(struct core_bed *bed, struct list *queue);
void core_bed_stop(struct core_bed *bed);

/* --- requests --- */
struct bed_request {
    struct core_request request;
    struct core_bed *bed;
    unsigned ended; /* how often done was called */
    int error;
    int64_t revision, number; /* of the answer's header; what else it says (deleted) */
};

int core_bed_propose(struct core_bed *bed, struct bed_request *request, Etcdserverpb__InternalRaftRequest *internal);
int core_bed_put(struct core_bed *bed, struct bed_request *request, const char *key, const char *value, int64_t lease);
int core_bed_put_bytes(struct core_bed *bed, struct bed_request *request, const char *key, size_t value_bytes);
int core_bed_delete(struct core_bed *bed, struct bed_request *request, const char *key);
int core_bed_grant(struct core_bed *bed, struct bed_request *request, int64_t id, int64_t ttl);
int core_bed_compact(struct core_bed *bed, struct bed_request *request, int64_t revision);
int core_bed_defragment(struct core_bed *bed, struct bed_request *request);
int core_bed_alarm(struct core_bed *bed, struct bed_request *request, int action, int type);
int core_bed_barrier(struct core_bed *bed, struct bed_request *request);
int core_bed_remove(struct core_bed *bed, struct bed_request *request, uint64_t id);
int core_bed_transfer(struct core_bed *bed, struct bed_request *request, uint64_t to);

struct bed_range {
    struct core_range range;
    Etcdserverpb__RangeRequest request;
    unsigned ended;
    int error;
};
int core_bed_range(struct core_bed *bed, struct bed_range *range, const char *key, const char *end, bool serializable);

struct bed_hash { /* outlives the core's struct */
    struct core_hash *hash;
    unsigned ended;
    int error;
    struct kv_hash_result result;
};
int core_bed_hash(struct core_bed *bed, struct bed_hash *hash, enum kv_hash_kind kind, int64_t revision);

/* The value that a key has now, "" if it has none. */
const char *core_bed_value(struct core_bed *bed, const char *key);

#endif
