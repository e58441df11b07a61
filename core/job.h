/* What the core asks others to do: the commands of the design's law 3. The core fills a job and starts it through
 * core_env.start; whoever carries it out (the server's threads, the simulator) gives it back with core_job_done on the
 * core's thread. Jobs of one queue are carried out in the order in which they were started.
 *
 * Owner: the core before start and after done; the environment in between, which may use `node`. */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "base/list.h"
#include "kv/backend.h"
#include "raft/raft.h"

enum core_job_kind {
    /* Queue of the write-ahead log: */
    CORE_SAVE,       /* append entries and hard state; durable before done unless !must_sync */
    CORE_CHECKPOINT, /* .snap file, snapshot record, release of old segments */
    CORE_LOG_READ,   /* entries that memory has dropped */
    /* Queue of the store: */
    CORE_COMMIT,     /* make a batch durable */
    CORE_VIEW,       /* open a view */
    CORE_REPACK,     /* one slice of repacking */
    CORE_PLACE,      /* make a generation that CORE_INSTALL built the member's: what it is after a crash, too */
    CORE_DEFRAGMENT, /* the store's rows in a new file of the same name, opened */
    /* No queue, any thread: */
    CORE_WORK,    /* work.run(&job) */
    CORE_INSTALL, /* build a generation from an image that has arrived; takes seconds */
};

struct core_save {
    struct raft_entry *entries; /* each with a reference to its data, dropped by the core after done */
    size_t count, capacity;
    struct raft_hard_state hard_state; /* all zero: none to write */
    bool must_sync;
    struct raft_save save;
};

struct core_checkpoint {
    struct raft_position at;
    struct raft_conf_state conf;
    struct bytes data;        /* the .snap file's data (the v2 JSON): the environment's to make, in start */
    struct buffer data_owner; /* holds it; freed by the core */
    const struct kv *kv;      /* whose members the data tells; NULL = the core's */
    uint64_t first_index;     /* out: the oldest entry that the log still has */
};

struct kv;

/* An image that was received at this position becomes a generation beside the one in use (core/install.c). */
struct core_install {
    struct raft_position at;
    struct kv *kv; /* CORE_INSTALL: out, CORE_PLACE: in. Its backend is the environment's, found by it */
};

struct core_defragment {
    struct backend *store; /* out: the new one; NULL: the old one stays */
    int error;             /* out: why; the job itself only fails when it is not known what a crash would leave */
};

struct core_log_read {
    uint64_t from, to;
    size_t max_bytes;
    struct raft_entry *entries; /* out: heap array, freed by the core, with a reference to each entry's data */
    size_t count;
};

struct core_work {
    int (*run)(void *arg); /* its result becomes job->error */
    void *arg;
};

struct core_job {
    struct list node;
    enum core_job_kind kind;
    int error; /* out: 0 or an error of base/error.h. ERR_DISK_FULL only where noted in core_env */
    /* Called by core_job_done. */
    void (*done)(struct core_job *job);
    void *owner;
    union {
        struct core_save save;
        struct core_checkpoint checkpoint;
        struct core_log_read log_read;
        struct backend_batch commit;
        struct backend_read *view; /* out */
        struct {
            size_t budget_bytes;
            struct buffer cursor;
        } repack;
        struct core_work work;
        struct core_install install;
        struct core_defragment defragment;
    };
};

/* May it go before saves that wait for space? Checkpoints and log reads are about what is durable already, and a
 * checkpoint is what makes room; but the record of an image (core/install.c) ends the log that was here before. */
static inline bool core_job_passes_saves(const struct core_job *job)
{
    return job->kind != CORE_SAVE && (job->kind != CORE_CHECKPOINT || job->checkpoint.kv == NULL);
}

/* Room for what can still be written to the log, as wal_space tells it: admission looks at it. */
struct core_space {
    uint64_t ordinary_bytes, total_bytes; /* UINT64_MAX = no lack is known */
};

/* The world around a core. Failures: a job that fails with anything but ERR_DISK_FULL (CORE_COMMIT, CORE_REPACK) or
 * ERR_ABSENT (CORE_LOG_READ) ends the member; the environment ends it itself, because it knows file and offset. Only
 * CORE_INSTALL may fail with whatever it likes: the image was of no use, or there is no space for it. A CORE_SAVE that
 * finds no space is kept by the environment and tried again until it succeeds; once the member stops (the environment
 * learns of it before core_stop) it may come back with ERR_STOPPED instead, and then so do all after it. */
struct core_view; /* core/core.h */

/* A request to another member's peer port: POST /leases, POST /members/promote/ID, GET /version … (peer.md
 * "Endpoints"). The caller owns it and fills the first part, which lives until done. */
struct core_peer_call {
    uint64_t to;
    const char *method, *path;
    const char *content_type; /* NULL: there is no body */
    struct bytes body;
    uint32_t timeout_ms;
    size_t max_answer_bytes; /* 0 = 1 MiB; a longer one is ERR_UNHEALTHY */
    void (*done)(
        struct core_peer_call *call); /* not from inside peer_call; the call may be freed or used again in it */
    void *owner;

    /* out, valid inside done */
    int error;             /* 0: there is an answer; ERR_TIMEOUT; ERR_UNHEALTHY: no such member, or it is not reached */
    int status;            /* of HTTP */
    struct bytes response; /* the body */

    void *work; /* the environment's */
};

struct core_env {
    void (*start)(struct core_env *env, struct core_job *job);
    struct core_space (*space)(struct core_env *env);
    /* Nobody uses this generation any more (another took its place, or it never came to be used): close it and its
     * backend, on whatever thread. Never the core's last one, which core_free closes. */
    void (*retire)(struct core_env *env, struct kv *kv);
    /* A store that another file took the place of, and nobody reads from: to be closed, on whatever thread. NULL if
     * there is no CORE_DEFRAGMENT. */
    void (*close_store)(struct core_env *env, struct backend *store);
    /* The image that arrived at this position is of no use (any more): another one is being installed, the log has what
     * it holds, or it could not be installed. NULL = nothing is to be done. */
    void (*drop_image)(struct core_env *env, struct raft_position at);

    /* --- other members. A member that is always alone leaves these NULL. None of them may call the core back before it
     * returns. --- */

    /* Hands messages to the transport, in this order; what it cannot send it drops, and says so by core_unreachable.
     * It copies them and takes references to their entries' data before it returns. Never RAFT_MSG_SNAPSHOT. */
    void (*send)(struct core_env *env, const struct raft_message *messages, size_t count);
    /* A RAFT_MSG_SNAPSHOT: message->snapshot is the view's position, message->snapshot_conf the configuration at it
     * (copied before it returns). snapshot_data is the environment's to make (the v2 JSON). The view is the
     * environment's, which sets its callbacks, closes it, and frees it (heap) in `closed`; core_snapshot_reported
     * follows exactly once. */
    void (*send_image)(struct core_env *env, const struct raft_message *message, struct core_view *view);
    /* kv_members changed (an applied change of members, an installed image): connections are to be aligned with it. */
    void (*members_changed)(struct core_env *env);
    /* Since when this member reaches another one without interruption, on the clock of core_turn; 0 = it does not. */
    uint64_t (*active_since_ms)(struct core_env *env, uint64_t id);
    /* At least four of them may be open at a time. peer_call_cancel: done will not come. */
    void (*peer_call)(struct core_env *env, struct core_peer_call *call);
    void (*peer_call_cancel)(struct core_env *env, struct core_peer_call *call);
};

#endif
