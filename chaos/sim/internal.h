/* What the files of the simulator share. The checkers' part is chaos/sim/check.h.
 *
 *   run.c          virtual time: storms, calm, the quiet end
 *   life.c         a member put together from its disk, taken apart by a crash
 *   member.c       a member's clock, its turn, who is there
 *   jobs.c         the core's world: log, store and worker, each late by a random while
 *   net.c          messages on their way, links that are cut
 *   image.c        images on their way, and generations built from them
 *   peer_call.c    requests to another member's peer port
 *   nemesis.c      faults
 *   reshape.c      members added, promoted, removed; leadership handed over
 *   client*.c      clients that write, read, hold leases, compact
 *   watcher.c      clients that watch, and resume where they stopped */
#ifndef CHAOS_SIM_INTERNAL_H
#define CHAOS_SIM_INTERNAL_H

#include "base/arena.h"
#include "base/heap.h"
#include "base/random.h"
#include "chaos/sim/check.h"
#include "chaos/sim/sim.h"
#include "core/core.h"
#include "kv/watch.h"
#include "raft/raft.h"
#include "raft/wal/wal.h"

enum { SIM_CLIENTS = 6, SIM_CROWD = 40, SIM_WATCHERS = 3, SIM_WATCHES = 4 };
#define SIM_NEVER UINT64_MAX
#define SIM_HEARTBEAT_MS 100
#define SIM_ELECTION_MS 1000
/* Speed of clocks, in thousandths. */
#define SIM_RATE_MIN 900
#define SIM_RATE_MAX 1100

/* --- clients -------------------------------------------------------------------------------------------------------
 */

enum sim_client_state { SIM_IDLE, SIM_BUSY, SIM_HOLDING };

struct sim_client {
    struct sim *sim;
    struct sim_member *at; /* whom it asks; NULL = to be chosen */
    enum sim_client_state state;
    uint64_t due_ms, started_ms;
    struct core_request request;
    struct core_lease_call keepalive;
    struct core_txn_read txn_read;
    bool asking;        /* txn_read is open */
    struct arena arena; /* of the keepalive, of txn_read */
    bool proposed;      /* request is open */
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

struct sim_watch {
    int lo, hi;
    bool single, from_key, prev_kv, progress;
    int64_t resume; /* the next start_revision; 0 = never created */
    bool alive, created;
    /* judged: */
    int64_t position; /* sees changes from here on */
    size_t next;      /* in the model's changes */
};

struct sim_watcher {
    struct sim *sim;
    struct sim_member *at;
    struct watch_stream *stream;
    uint64_t due_ms, move_ms; /* pulls; tries to find a member, or goes to another one */
    struct watch_out out;
    struct sim_watch watches[SIM_WATCHES];
};

/* --- a member ------------------------------------------------------------------------------------------------------
 */

struct sim_queue {
    struct list jobs;
    uint64_t due_ms;
};

struct sim_finished {
    struct core_job *job;
    uint64_t due_ms;
};

enum sim_member_state {
    SIM_ABSENT, /* never was, or was removed from the cluster and has ended */
    SIM_DOWN,   /* starts again at start_ms */
    SIM_UP,
};

/* An image that was received: durable. */
struct sim_image_file {
    struct raft_position at;
    struct buffer bytes;
};

struct sim_member {
    struct sim *sim;
    unsigned slot;
    uint64_t id, serial; /* serial: one of its own, also among those that were removed */
    enum sim_member_state state;
    bool first;   /* one of those that the cluster began with */
    bool leaving; /* it was removed: to be stopped */
    uint64_t start_ms;
    struct memory_fs *disk;
    struct backend *backend;
    size_t commits_told; /* commits that the core knows to be durable */
    struct sim_image_file *images;
    size_t image_count;
    struct backend *built; /* from an image, not in its place yet */
    bool imaged;           /* entries before an image may be others than those that were committed */
    struct sim_shadow shadow;

    /* clock: local time passed clock_base when true time was clock_from, and runs at rate thousandths */
    uint64_t clock_base, clock_from, rate;
    int64_t wall_ms; /* the wall clock is ahead by so much */

    /* this life */
    unsigned life;
    bool crashed, dying, checked, dirty; /* checked: its state after the start; dirty: a turn is due */
    uint64_t crash_ms;                   /* planned */
    uint64_t paused_ms, stalled_ms;      /* stands still until then; the disk does */
    bool full;                           /* the disk is */
    struct wal *wal;
    struct wal_contents contents;
    struct kv *kv;
    struct watch_hub *hub;
    struct core *core;
    struct raft *raft; /* the core's */
    struct core_env env;
    struct sim_queue log_queue, store_queue, work_queue;
    struct sim_finished *finished;
    size_t finished_count, finished_capacity;
    uint64_t recovered;                         /* last entry of the log at this start */
    uint64_t reached_since_ms[SIM_MEMBERS_MAX]; /* by slot; 0 = not reached */
    bool unreachable[SIM_MEMBERS_MAX];          /* to be told */
    struct core_hash *hash;                     /* asked for */
};

/* --- the network ---------------------------------------------------------------------------------------------------
 */

struct sim_net {
    struct heap packets;
    uint64_t sequence;
    bool cut[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX]; /* [from][to] */
    uint64_t last_due[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX];
    unsigned loss, doubling, reordering; /* per mille */
    uint64_t latency_ms;                 /* at most */
};

struct sim_nemesis {
    uint64_t next_ms; /* the next thing to do */
    bool storm;
    uint64_t turn_ms;   /* when storm and calm change over */
    uint32_t allowed;   /* kinds that this seed has, bits of enum sim_fault */
    uint64_t heal_ms;   /* a partition ends */
    uint64_t settle_ms; /* the messages' trouble ends */
};

/* A wish for another shape of the cluster. */
struct sim_reshape {
    bool open;
    struct sim_member *at; /* who was asked */
    enum sim_fault wish;
    struct core_request request;
    uint64_t look_ms; /* when the administrator looks next */
};

struct sim {
    struct sim_config config;
    struct sim_result *result;
    struct random random;
    uint64_t now_ms;
    bool short_logs;        /* segments and checkpoints of a few entries: who was away for a moment needs an image */
    bool lease_checkpoints; /* etcd's gate LeaseCheckpoint */
    struct sim_member members[SIM_MEMBERS_MAX];
    unsigned member_count; /* slots that were ever used */
    struct sim_table born; /* ids of members that were ever started: 1 */
    uint64_t serials_given, urls_given;
    uint64_t first_ids[SIM_MEMBERS_MAX];
    struct sim_net net;
    struct list calls;  /* of struct sim_call */
    struct list images; /* of struct sim_image */
    struct sim_nemesis nemesis;
    struct sim_reshape reshape;
    bool ending; /* nothing goes wrong any more */
    bool quiet;  /* no new work; leases run out */
    bool idle;   /* clients and watchers rest */

    struct sim_client clients[SIM_CROWD];
    int client_count; /* few; with short logs a crowd: who leads alone takes many entries that nobody else gets */
    struct sim_watcher watchers[SIM_WATCHERS];
    int64_t next_lease;
    uint64_t values;
    struct sim_check check;
};

/* The first failure wins; everything stops then. */
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *s, const char *what, uint64_t a, uint64_t b);
void sim_fault(struct sim *s, enum sim_fault fault, uint64_t a, uint64_t b);
bool sim_chance(struct sim *s, uint64_t of);                     /* one in `of` */
uint64_t sim_between(struct sim *s, uint64_t from, uint64_t to); /* both included */

/* run.c */
void sim_tell(struct sim *s); /* where everybody stands, if the story is told */
/* Lets time pass until `until`, or until `enough` says so (then true). */
bool sim_pass(struct sim *s, uint64_t until, bool (*enough)(struct sim *s));

/* member.c */
struct sim_member *sim_member_of(struct sim *s, uint64_t id); /* NULL if there is none */
/* In a free slot, down; NULL if there is none. id 0: one of those that the cluster begins with. */
struct sim_member *sim_member_new(struct sim *s, uint64_t id);
void sim_member_leave(struct sim_member *m); /* it was removed: it ends, soon */
uint64_t sim_member_clock(const struct sim_member *m);
int64_t sim_member_wall(const struct sim_member *m);
uint64_t sim_member_true_ms(const struct sim_member *m, uint64_t local_ms);
void sim_member_set_rate(struct sim_member *m, uint64_t rate);
uint64_t sim_member_due(const struct sim_member *m);
void sim_member_hash(struct sim_member *m); /* asks for HashKV, which is then checked */
void sim_member_run(struct sim_member *m);  /* what is due: jobs, then turns */
bool sim_member_serves(const struct sim_member *m);
bool sim_member_awake(const struct sim_member *m); /* up and not paused */
struct sim_member *sim_leader(struct sim *s);      /* of the highest term; NULL if nobody thinks that it leads */
void sim_member_quiet(struct sim_member *m);       /* nothing will happen to it any more of what is planned */

/* life.c */
struct kv_config sim_kv_config(const struct sim_member *m);
void sim_life_start(struct sim_member *m); /* m->crashed when the disk gave out; failures are reported */
void sim_life_crash(struct sim_member *m);
void sim_life_stop(struct sim_member *m); /* an orderly end, after core_stopped */
void sim_life_end(struct sim_member *m);  /* removed from the cluster: its disk goes too */
bool sim_disk_dead(const struct sim_member *m);

/* jobs.c */
void sim_jobs_init(struct sim_member *m);
bool sim_jobs_run(struct sim_member *m); /* what is due now; true: the core got something back */
uint64_t sim_jobs_due(const struct sim_member *m);
void sim_jobs_abandon(struct sim_member *m); /* gives all jobs back undone; the core is to be freed */

/* net.c */
void sim_net_env(struct core_env *env);
void sim_net_run(struct sim *s); /* delivers what is due */
uint64_t sim_net_due(const struct sim *s);
void sim_net_cut(struct sim *s, unsigned from, unsigned to, bool cut);
void sim_net_heal(struct sim *s);
void sim_net_links(struct sim *s); /* who reaches whom has changed */
void sim_net_free(struct sim *s);

/* nemesis.c */
void sim_nemesis_init(struct sim *s);
void sim_nemesis_run(struct sim *s);
uint64_t sim_nemesis_due(const struct sim *s);
void sim_nemesis_life(struct sim_member *m);            /* plans the end of a life that begins */
void sim_nemesis_fill(struct sim_member *m, bool full); /* its disk, or makes space */
void sim_nemesis_imaged(struct sim_member *m);          /* an image has arrived there */
void sim_nemesis_healed(struct sim *s);                 /* something was committed since calm began */
void sim_nemesis_end(struct sim *s);                    /* all is mended, for good */

/* reshape.c */
void sim_reshape_transfer(struct sim *s);   /* leadership to somebody else */
void sim_reshape_members(struct sim *s);    /* somebody is added, promoted or removed */
void sim_reshape_cut(struct sim_member *m); /* what was asked of this member is forgotten */
void sim_reshape_look(struct sim *s);       /* members that are to be started or stopped */

/* peer_call.c */
void sim_calls_env(struct core_env *env);
void sim_calls_run(struct sim *s);
uint64_t sim_calls_due(struct sim *s);
void sim_calls_cut(struct sim_member *m);
void sim_calls_free(struct sim *s);

/* client.c, watcher.c */
void sim_client_run(struct sim_client *c);
void sim_client_cut(struct sim_client *c); /* the member is gone */
void sim_watch_init(struct sim_watcher *w);
void sim_watcher_run(struct sim_watcher *w);
void sim_watcher_cut(struct sim_watcher *w);
uint64_t sim_watcher_due(const struct sim_watcher *w);
void sim_watch_ready(struct watch_stream *stream, void *arg);

#endif
