/* What the files of core/ share. Nobody outside includes this. */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "core/core.h"
#include "kv/lease.h"
#include "kv/watch.h"
#include <stdlib.h>

/* In-flight proposals by request id. Ids ascend by one, so the low bits spread them without hashing. */
#define CORE_TABLE_BUCKETS 4096

/* Beyond this many committed entries that are not applied yet, proposals are refused (limits.tsv). */
#define CORE_MAX_UNAPPLIED 5000
/* Above this much that the store has not taken yet, apply pauses; entries stay in the log (design.md "Credit"). */
#define CORE_MAX_PENDING_BYTES ((size_t)64 << 20)
/* A batch for the store closes early when it has this much. */
#define CORE_BATCH_BYTES ((size_t)16 << 20)
/* What one turn does at most of each kind of work: entries applied, and KV_BUDGET steps of the long ones. About a
 * millisecond of CPU together. */
#define CORE_TURN_ENTRIES 256
#define CORE_TURN_STEPS 2
#define CORE_WATCH_BUDGET 2000

enum request_state {
    REQUEST_NONE,       /* not open */
    REQUEST_PROPOSED,   /* in the table and in a timeout list */
    REQUEST_WAITING,    /* proposal kept until there is a leader; in the timeout list and the queue */
    REQUEST_READING,    /* barrier; in a read batch */
    REQUEST_COMPACTED,  /* waits for a physical compaction */
    REQUEST_TRANSFER,   /* waits for another leader */
    REQUEST_DEFRAGMENT, /* waits for the store's copy */
    REQUEST_PROMOTE,    /* waits for the leader's answer: in core->promotes */
};

/* A proposal that waits for a leader. */
struct core_waiting {
    struct list node;
    struct core_request *request;
    struct shared *data;
};

/* Barriers that share one read index. */
struct core_read_batch {
    struct list node;
    struct list requests;
    uint64_t context;
    uint64_t index; /* known once answered */
    uint64_t begun_ms, asked_ms;
    bool answered;
    bool asked; /* and not answered */
    bool lost;  /* the question has to be put again */
};

/* Where a proposal of the core's own stands (publishing, alarms). */
struct core_own {
    struct core_request request;
    struct core *core;
    uint64_t retry_ms; /* not before */
    bool in_flight;
};

struct core {
    struct core_config config;
    struct core_env *env;
    struct raft *raft;
    struct kv *kv;
    struct watch_hub *hub;
    uint64_t now_ms;
    int64_t wall_ms;
    bool stopping;
    struct core_stats stats;
    size_t jobs_out;

    /* request ids (mvcc.md): high 16 bits from the member's id, then a millisecond clock, then a counter */
    uint64_t next_id;

    /* proposals */
    struct core_request *table[CORE_TABLE_BUCKETS];
    struct list fresh;    /* of core_request.node: came since the last turn; their time begins with the next one */
    struct list timeouts; /* of core_request.node, in order of expires_ms: all have the same time limit */
    struct list doubtful; /* the same, of those that were on their way when another leader came */
    struct list waiting;  /* of core_waiting */
    struct list held;     /* other members' proposals that nobody can take now (core/forwarded.c) */
    size_t held_count, held_bytes;
    struct raft_message stand; /* a leader's wish that this member takes over, while much is to be applied first */
    bool stand_waits;
    uint64_t leader, term;
    uint64_t elected_ms, elected_term; /* when a leader became known last, and of which term it was */
    bool leader_news;                  /* that has still to be told to those who wait */
    enum raft_role role;
    bool leading; /* leader of this term whose own empty entry was applied */
    uint64_t raft_deadline_ms;

    /* members */
    struct list conf_waiting; /* of core_waiting: changes that wait for the one under way */
    uint64_t conf_id;         /* of that one */
    struct raft_position conf_at;
    uint64_t conf_applied; /* index of the last change that was applied here */
    struct list transfers; /* core_request.node; .id = who shall lead */
    struct list promotes;  /* of core_promote.node */

    /* log */
    struct core_job *free_saves;           /* a small pool */
    struct raft_hard_state unsaved_commit; /* commit-only state that rides on the next save */
    bool unsaved;
    bool log_refused; /* stopping, and there was no space in the log for the last saves */
    bool log_read_out;
    struct core_job log_read;

    /* apply */
    uint64_t commit, applied;
    bool applying; /* apply is under way, between two steps */
    struct kv_apply apply;
    struct arena apply_arena;
    struct arena spent; /* freed a few blocks a turn */
    const struct raft_entry *apply_entry;
    struct shared *apply_data;
    enum raft_entry_type apply_type;

    /* reads */
    struct core_read_batch *gathering; /* takes new barriers until the turn asks for an index */
    struct list read_batches;          /* asked or answered, oldest first */
    unsigned reads_asked;              /* batches that wait for their index */
    uint64_t next_context;
    uint64_t read_check_ms; /* when the next of them is to be asked again */
    struct list resolving;  /* core_range.node */
    struct list txn_reads;  /* core_txn_read.node */

    /* store */
    struct core_job commit_job;
    bool commit_out, commit_wanted;
    uint64_t commit_due_ms;   /* 0 = nothing waits */
    uint64_t commit_retry_ms; /* after a full disk */
    bool given_up;            /* stopping, and there was no space for the rest */
    struct list view_waits;   /* core_view.node: not open yet */
    struct list views;        /* core_view.node: open, or a job has them */
    size_t views_out, client_views_out;
    struct core_job checkpoint_job;
    bool checkpoint_out;
    uint64_t checkpoint_index;
    uint64_t checkpoint_wanted_index; /* one at this entry or a later one does not wait for snapshot_count of them */
    struct core_job repack_job;
    bool repack_out, repack_wanted;

    /* giving space back (defragment.c) */
    struct list defragment_waits; /* core_request.node */
    struct core_job defragment_job;
    bool defragment_out, defragment_next; /* next: nothing else goes to the store any more */
    uint64_t defragment_at_ms;
    struct backend **old_stores; /* replaced by a copy, and still read from */
    size_t old_store_count;

    /* images that are installed here (install.c) */
    struct {
        uint8_t stage;
        struct core_job job;
        struct raft_position at;
        struct raft_conf_state conf;
        struct kv *kv; /* built */
    } install;
    struct kv **retired; /* generations that somebody still reads from */
    size_t retired_count;

    /* compaction */
    struct core_hash *compact_hash;
    struct list compact_waits; /* core_request.node */
    struct list hash_waits;    /* core_hash.node: until a compaction is over */
    struct list hashes;        /* core_hash.node: with a view, or waiting for one */

    /* leases */
    uint64_t expiry_due_ms;
    size_t expiries_out;
    struct core_request confirm; /* a read round before leases are revoked: is this member still the leader? */
    bool confirming;
    uint64_t confirmed_ms; /* 0 = not */
    struct core_own lease_checkpoint;
    struct list lease_calls, lease_calls_delayed, lease_calls_out, lease_calls_held; /* of core_lease_call.node */
    unsigned lease_calls_asking;

    /* disk full */
    bool disk_full;    /* the store's last commit found no space */
    bool lacking;      /* a lack was seen and is not known to be over */
    bool raised_by_us; /* the alarm is on for that lack alone: it is cleared when there is space again */
    bool alarm_judged; /* the one that was on when this member started */
    bool raise_open;   /* nobody knows whether the alarm that was proposed comes yet */
    struct core_own alarm_raise, alarm_clear;

    /* publishing */
    struct core_own publish;
    bool published, ready;
    uint64_t space_check_ms;
    uint64_t compact_check_ms; /* while compaction waits for a pin */
    void (*on_ready)(void *arg);
    void *on_ready_arg;
    uint64_t version_check_ms;

    /* the cluster's version, decided by the leader */
    struct core_own version;
    struct core_version_round *version_round; /* the others are being asked */
    uint64_t version_due_ms;
};

/* core.c */
void core_job_start(struct core *core, struct core_job *job);

/* propose.c */
void propose_init(struct core *core);
/* ADMITTED: a client's, checked against quota and room first. OWN: the core's. LEADING: only as the leader of this
 * moment: it never waits for another one and is never forwarded (ERR_NOT_LEADER). */
enum propose_kind { PROPOSE_ADMITTED, PROPOSE_OWN, PROPOSE_LEADING };
int propose_internal(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal,
                     enum propose_kind kind);
/* Enters a request that waits in `queue` with its entry (whose reference it takes over) until somebody proposes it. */
void propose_queue(struct core *core, struct core_request *request, struct shared *data, struct list *queue);
void propose_unqueue(struct core_waiting *waiting);                /* the request goes on without */
struct core_request *propose_find(struct core *core, uint64_t id); /* NULL if unknown */
struct core_request *propose_take(struct core *core, uint64_t id); /* the same, and removes it from the table */
void propose_stamp(struct core *core);          /* the time of what came since the last turn begins */
bool propose_timeouts(struct core *core);       /* true: more are due */
void propose_waiting(struct core *core);        /* there is a leader now */
void propose_leader_changed(struct core *core); /* another one */
void propose_end_lost(struct core *core);       /* after something was applied */
void propose_fail_all(struct core *core, int error);
uint64_t propose_deadline(const struct core *core);
/* A proposal of the core's own; repeated until it was applied. `on` is called with the result. */
void own_propose(struct core *core, struct core_own *own, Etcdserverpb__InternalRaftRequest *internal,
                 enum propose_kind kind,
                 void (*done)(struct core_request *request, int error, ProtobufCMessage *response));

/* members.c */
void members_init(struct core *core);
void members_slice(struct core *core);
uint64_t members_deadline(const struct core *core);
void members_fail_all(struct core *core, int error);
int members_promote(struct core *core, struct core_request *request, uint64_t id); /* on the leader */

/* promote.c: asking the leader to promote a learner */
void promote_slice(struct core *core);
uint64_t promote_deadline(const struct core *core);
void promote_fail_all(struct core *core, int error);
void promote_cancel(struct core *core, struct core_request *request);

/* forwarded.c */
bool forwarded_hold(struct core *core, const struct raft_message *message); /* true: it was taken */
void forwarded_release(struct core *core);
void forwarded_drop_all(struct core *core);
bool forwarded_hold_stand(struct core *core, const struct raft_message *message);
void forwarded_stand(struct core *core); /* after something was applied */

/* log.c: raft's updates */
void log_carry_out(struct core *core);
void log_flush_commit(struct core *core);

/* install.c */
void install_begin(struct core *core, const struct raft_message *message);
void install_slice(struct core *core);
void install_step(struct core *core, const struct raft_message *message); /* raft_step of one that has an image */
bool install_holds(const struct core *core); /* nothing is applied, committed or deleted: the store is being replaced */
uint64_t install_commit(const struct core *core); /* no hard state may be saved with a commit index below this */
bool install_idle(const struct core *core);
uint64_t install_deadline(const struct core *core);
void install_free(struct core *core);

/* image.c */
void image_wanted(struct core *core, const struct raft_message *message);

/* apply.c */
bool apply_slice(struct core *core);

/* read.c */
void read_init(struct core *core);
void read_ask(struct core *core);
void read_answered(struct core *core, const struct raft_read *read);
void read_leader_changed(struct core *core);
void read_ask_again(struct core *core); /* what was lost, now that somebody can answer */
bool read_serve(struct core *core);
bool read_retry(struct core *core); /* true: more have timed out */
void read_fail_all(struct core *core, int error);
uint64_t read_deadline(const struct core *core);

/* store.c */
void store_slice(struct core *core);
void store_applied(struct core *core); /* something was applied: a commit is due in a while */
uint64_t store_deadline(const struct core *core);
bool store_idle(const struct core *core);

/* defragment.c */
void defragment_slice(struct core *core);
void defragment_patience(struct core *core);    /* it has waited long enough: it is next */
bool defragment_holds(const struct core *core); /* nothing is committed or repacked */
uint64_t defragment_deadline(const struct core *core);
void defragment_fail_all(struct core *core, int error);
void defragment_free(struct core *core);

/* view.c */
void view_slice(struct core *core);
void view_fail_all(struct core *core, int error); /* those that are open are cut */
uint64_t view_deadline(const struct core *core);

/* hash.c */
void hash_start(struct core *core, struct core_hash *hash);
void hash_fail_all(struct core *core, int error);
void hash_compaction_over(struct core *core); /* serves those who waited for a compaction */

/* compact.c */
bool compact_slice(struct core *core);
void compact_fail_all(struct core *core, int error);
uint64_t compact_deadline(const struct core *core);

/* clock.c: the leader's lease clock */
void clock_leader_changed(struct core *core, bool leader);
bool clock_slice(struct core *core);
uint64_t clock_deadline(const struct core *core);

/* lease_call.c */
void lease_call_init(struct core *core);
bool lease_call_slice(struct core *core);
void lease_call_leader_changed(struct core *core);
void lease_call_fail_all(struct core *core, int error);
uint64_t lease_call_deadline(const struct core *core);

/* space.c */
void space_started(struct core *core);   /* all that the log had before this start is applied */
void space_disk_full(struct core *core); /* a commit found no space */
void space_slice(struct core *core);
int space_admit(struct core *core, const Etcdserverpb__InternalRaftRequest *internal, size_t bytes);
void space_raise(struct core *core); /* the quota is exceeded */
uint64_t space_deadline(const struct core *core);

/* publish.c */
void publish_slice(struct core *core);
uint64_t publish_deadline(const struct core *core);

/* cluster_version.c */
void version_leading(struct core *core); /* the own term's first entry was applied */
void version_slice(struct core *core);
uint64_t version_deadline(const struct core *core);
void version_stop(struct core *core); /* nobody is asked any more */

#endif
