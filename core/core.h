/* The core: consensus and the state machine put together, one deterministic function of its events. Requests, time and
 * completed jobs come in; answers and jobs (core/job.h) go out. It knows nothing of the network and of the operating
 * system: the server and chaos/sim run the same object.
 *
 * The caller's loop: requests (core_propose, core_barrier, …) and core_job_done in any number, then core_turn once.
 * A turn does a bounded slice of what is to be done and says whether there is more at once.
 *
 * Requests are owned by the caller, embedded in a struct of its own. Each ends exactly once: either the function that
 * starts it returns an error and nothing else happens, or `done` is called later (never from inside that function), or
 * core_cancel takes it back. In `done` the request may be freed and others may be started.
 *
 * One thread. Times are milliseconds of a monotonic clock; wall time is only used for request ids. */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "base/heap.h"
#include "core/job.h"
#include "kv/kv.h"
#include "kv/lease.h"
#include <stdatomic.h>

struct core;
struct watch_hub;

struct core_config {
    uint64_t member_id, cluster_id;
    uint64_t seed;
    uint32_t heartbeat_ms, election_ms; /* 0 = 100, 1000 */
    uint32_t request_timeout_ms;        /* 0 = 5 s + 2 x election timeout (limits.tsv) */
    uint32_t batch_interval_ms;         /* 0 = 100: how long an applied change may wait for its commit to the store */
    uint64_t snapshot_count;            /* 0 = 10,000: applied entries between two checkpoints on disk */
    uint32_t expiry_interval_ms;        /* 0 = 500: how often expired leases are looked for */
    bool strict_reconfig;               /* --strict-reconfig-check */
    const char *name;                   /* published through the log at start; must outlive the core */
    const char *const *client_urls;
    size_t client_url_count;
};

/* Puts the parts together. raft (started, its log restored) and kv (opened) become the core's; hub and env stay the
 * caller's and outlive it. checkpoint_index: of the newest checkpoint in the log. */
struct core *core_new(const struct core_config *config, struct raft *raft, struct kv *kv, struct watch_hub *hub,
                      struct core_env *env, uint64_t checkpoint_index, uint64_t now_ms, int64_t wall_ms);
/* No job may be out (core_idle) and no request open. Frees raft and kv too. */
void core_free(struct core *core);

/* Does a slice of everything that is due. True: call again without waiting. */
bool core_turn(struct core *core, uint64_t now_ms, int64_t wall_ms);
/* When to call core_turn again at the latest if nothing else happens. */
uint64_t core_deadline(const struct core *core);
void core_job_done(struct core *core, struct core_job *job);

/* --- other members (core_env.send is the other direction) --- */

/* A message has come in: before a turn, as requests do. Its entries' data is referenced, everything else is copied. A
 * RAFT_MSG_SNAPSHOT comes after its image has been received and is durable beside the store. */
void core_step(struct core *core, const struct raft_message *message);
/* The transport could not deliver something to a member. */
void core_unreachable(struct core *core, uint64_t id);
/* How core_env.send_image ended: the other member has taken the image, or not. */
void core_snapshot_reported(struct core *core, uint64_t id, bool taken);

/* The first election after a start comes so much earlier, unless there is a leader (limits.tsv "initial tick advance").
 */
void core_advance_election(struct core *core, uint64_t by_ms);

/* Stop: everything that is open ends with ERR_STOPPED (inside this function, or soon if a job has it), new requests are
 * refused with it, what is applied goes to the store. core_stopped says when all jobs are back and nothing waits for
 * the store; a store without space is tried once more and then left as it is: the log has it all. */
void core_stop(struct core *core);
bool core_stopped(const struct core *core);

/* Has this member published itself and is the cluster's version known? Only then clients are served. */
bool core_ready(const struct core *core);
/* Called once when core_ready becomes true. */
void core_on_ready(struct core *core, void (*ready)(void *arg), void *arg);

/* --- requests --- */
struct core_request {
    /* response: the request's response type with its header complete, valid until done returns; NULL for an error, and
     * for core_barrier. */
    void (*done)(struct core_request *request, int error, ProtobufCMessage *response);
    void *owner; /* the caller's */
    /* core_propose of a txn: its encoded bytes, if the caller has them, so that they are not made again. Valid until
     * core_propose returns. */
    struct bytes encoded_txn;
    /* For done, with a response: where it lies. It may be taken over (copied, and this one zeroed), so that the
     * response outlives done. */
    struct arena *arena;

    /* private */
    struct list node;
    struct core_request *next_in_table;
    struct core_waiting *waiting; /* while there is no leader */
    uint64_t id;
    uint64_t expires_ms;
    uint64_t begun_ms;
    uint64_t index; /* of its entry, if this member led when it was proposed; 0 = it was forwarded */
    uint8_t state;
    bool reached; /* of a transfer: the other member was taken for active since it began */
};

/* Proposes a change. `set` puts the request into its field of the internal request: internal->put = message. It was
 * checked before (kv_check_…). 0 = done comes; ERR_NO_SPACE, ERR_TOO_MANY_REQUESTS, ERR_REQUEST_TOO_LARGE, ERR_CORRUPT,
 * ERR_STOPPED. A follower forwards it. While there is no leader, or leadership is being handed over, the proposal waits
 * until its time is over (ERR_CONTEXT_DEADLINE_EXCEEDED, grpc.md).
 * Of a proposal that is on its way nobody knows whether it will be applied: it ends with one of the ERR_TIMEOUT errors,
 * which clients take as that. ERR_TIMEOUT_DUE_TO_LEADER_FAIL comes early, an election timeout after there is a new
 * leader, or at once when another entry was applied in its place. */
int core_propose(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal);

/* done comes with 0 once a read made now would be linearizable; ERR_TIMEOUT, ERR_LEADER_CHANGED (a leader was elected
 * while it waited: ask again), ERR_STOPPED. */
int core_barrier(struct core *core, struct core_request *request);

/* --- members: what Cluster.MemberAdd … and Maintenance.MoveLeader ask for (mvcc.md "Membership") ---
 *
 * Each checks as etcd does before it proposes; done comes (response NULL) with what was decided when the change was
 * applied here: kv_members then has it. One change is under way at a time, the others wait for it: raft would drop
 * them. Errors at once or in done: ERR_MEMBER_NOT_FOUND, ERR_MEMBER_EXIST, ERR_PEER_URL_EXIST, ERR_TOO_MANY_LEARNERS,
 * ERR_MEMBER_NOT_LEARNER, ERR_LEARNER_NOT_READY; with core_config.strict_reconfig ERR_NOT_ENOUGH_STARTED_MEMBERS and
 * ERR_UNHEALTHY (core_env.active_since_ms); ERR_TIMEOUT, ERR_STOPPED. */

/* *id: the new member's, from its URLs and the time. */
int core_member_add(struct core *core, struct core_request *request, char *const *peer_urls, size_t peer_url_count,
                    bool learner, uint64_t *id);
int core_member_update(struct core *core, struct core_request *request, uint64_t id, char *const *peer_urls,
                       size_t peer_url_count);
int core_member_remove(struct core *core, struct core_request *request, uint64_t id);
/* Only the leader knows how far a learner is. forward: another member asks the leader (POST /members/promote/ID on its
 * peer port) until it has an answer; done then comes when it was applied here too. Otherwise ERR_NOT_LEADER. */
int core_member_promote(struct core *core, struct core_request *request, uint64_t id, bool forward);

/* Hands leadership over; done with 0 once this member sees `to` lead. ERR_NOT_LEADER, ERR_BAD_LEADER_TRANSFEREE,
 * ERR_TIMEOUT_LEADER_TRANSFER. */
int core_transfer(struct core *core, struct core_request *request, uint64_t to);

/* Takes a request back (its caller is gone): done will not come. What was proposed is applied all the same. No effect
 * on one that is not open (zeroed, or done). */
void core_cancel(struct core *core, struct core_request *request);

/* --- ranges: barrier if it is linearizable, then resolve in slices --- */
struct core_range {
    struct kv_range range; /* open when done comes with 0: the caller reads from it and calls kv_range_end */
    void (*done)(struct core_range *range, int error);
    void *owner;

    /* private */
    const Etcdserverpb__RangeRequest *request;
    struct core_request barrier;
    struct core *core;
    struct list node;
    uint8_t state;
};

/* request was checked (kv_check_range) and lives until kv_range_end. */
int core_range(struct core *core, struct core_range *range, const Etcdserverpb__RangeRequest *request);
void core_range_cancel(struct core_range *range); /* before done */

/* --- read-only txns --- */
struct core_txn_read {
    struct kv_txn_read read;
    void (*done)(struct core_txn_read *txn, int error, Etcdserverpb__TxnResponse *response); /* header complete */
    void *owner;

    /* private */
    struct core_request barrier;
    struct core *core;
    struct kv *kv; /* read from, once it runs */
    struct list node;
    uint8_t state;
};

/* request was checked, kv_txn_read_only is true; the response is built in the arena. */
int core_txn_read(struct core *core, struct core_txn_read *txn, const Etcdserverpb__TxnRequest *request,
                  struct arena *arena);
void core_txn_read_cancel(struct core_txn_read *txn);

/* --- leases: what only the leader's clock knows; a follower asks the leader (mvcc.md "Leases") --- */
struct core_lease_call {
    /* 0; ERR_LEASE_NOT_FOUND (the RPCs answer TTL 0, or -1); ERR_NO_LEADER, ERR_TIMEOUT, ERR_STOPPED. A keepalive of a
     * lease that has expired and is not revoked yet waits for what becomes of it. */
    void (*done)(struct core_lease_call *call, int error);
    void *owner;
    int64_t id;
    bool with_keys;      /* of a question: the keys too */
    struct arena *arena; /* for what travels and for the keys; lives until done */

    /* out */
    int64_t ttl_s, granted_ttl_s;
    bool keys_here; /* with_keys, and this member leads: the keys are not copied, ask its table (kv/lease_query.h) */
    struct bytes *keys;
    size_t key_count;

    /* private */
    struct core *core;
    struct list node;
    struct core_request request;
    struct lease_waiter waiter;
    struct core_peer_call peer;
    uint64_t expires_ms, retry_ms;
    bool question, confirmed, passed_on;
    uint8_t state;
};

/* 0: done comes in a later turn. ERR_STOPPED. */
int core_lease_renew(struct core *core, struct core_lease_call *call);
/* The same for one that another member passed on: ERR_NOT_PRIMARY if this one does not lead. */
int core_lease_renew_passed_on(struct core *core, struct core_lease_call *call);
int core_lease_time_to_live(struct core *core, struct core_lease_call *call);
/* done does not come. No effect on one that is not open (zeroed, or done). */
void core_lease_cancel(struct core_lease_call *call);

/* --- compaction: core_propose, and for `physical` this afterwards: done comes when its deletes are stored --- */
void core_wait_compacted(struct core *core, struct core_request *request, int64_t revision);

/* Gives free space of the store's file back to the file system: done with 0 (also when there was little to give), or
 * ERR_DISK_FULL, ERR_IO, ERR_CORRUPT_DATA, ERR_STOPPED; the store is unharmed by all of them. */
int core_defragment(struct core *core, struct core_request *request);

/* --- views: the whole store at one position of the log, for work that lasts (hash, snapshot, images for members) ---
 */

/* Owned by the caller, embedded in a struct of its own that lives until `closed` is called. Zeroed before the open. Any
 * callback may close the view, and may start other requests. */
struct core_view {
    /* 0: open, and all of `out` is filled. Else (ERR_STOPPED) nothing is, and core_view_close has still to be called.
     */
    void (*opened)(struct core_view *view, int error);
    /* The view has to be given up: ERR_TIMEOUT after 30 s without progress, ERR_STOPPED. The owner closes it, soon.
     * NULL = it is never cut (work that waits for nobody). */
    void (*cut)(struct core_view *view, int reason);
    void (*closed)(struct core_view *view); /* the last one: nobody uses the struct any more. NULL = nothing */
    void *owner;
    bool for_client; /* of these only one is open at a time, so that clients cannot keep images from members */

    /* out, until it is closed */
    struct backend_read *read;   /* for `run` of core_view_work; on the core's thread only a few rows */
    struct raft_position at;     /* the last entry applied in it */
    struct raft_conf_state conf; /* the configuration at that entry */
    int64_t revision, compact_revision;
    const char *storage_version; /* "3.7.0", "" if not set yet */

    /* private */
    struct core *core;
    struct list node;
    struct core_job job;
    struct arena arena;
    uint64_t index;
    uint64_t progress_ms;
    void (*work_done)(struct core_view *view, int result);
    uint8_t state;
    bool closing;
};

/* Opens a view that has at least the entries up to index applied (0 = all that are applied now): a commit is forced,
 * and at most two views are open, so this may wait. ERR_STOPPED, or 0: `opened` comes. */
int core_view_open(struct core *core, struct core_view *view, uint64_t index);
/* Runs run(arg) on a worker, one at a time; it may read from view->read, and should take no more than some
 * milliseconds: other work waits behind it. done(view, result) comes unless the view was closed meanwhile; then run's
 * arg is in use until `closed`. Counts as progress. */
void core_view_work(struct core_view *view, int (*run)(void *arg), void *arg,
                    void (*done)(struct core_view *view, int result));
/* Whoever waits for it took something: 30 s more. */
void core_view_progress(struct core_view *view);
/* At any time after core_view_open returned 0, once. `closed` comes inside of it, or when the job that has it is back.
 */
void core_view_close(struct core_view *view);

/* --- hashes --- */
struct core_hash {
    void (*done)(struct core_hash *hash, int error);
    void *owner;
    struct kv_hash_result result;

    /* private */
    struct core *core;
    struct core_view view;
    struct list node;
    struct kv_hash *work;
    uint64_t index;
    int64_t revision;
    int64_t previous;
    enum kv_hash_kind kind;
    int error;
    uint8_t state;
    bool cancelled;      /* nobody waits for it any more: the core frees it */
    atomic_bool give_up; /* read by the worker */
};

/* kind KV_HASH_ALL or KV_HASH_KV (revision 0 = current). `hash` is heap memory of the caller's and is freed by the core
 * itself if it was cancelled while a worker had it: allocate it with mem_zalloc. */
#define CORE_READY 1 /* result is filled already, done does not come */
int core_hash(struct core *core, struct core_hash *hash, enum kv_hash_kind kind, int64_t revision);
void core_hash_cancel(struct core_hash *hash);

/* --- facts --- */
struct kv *core_kv(struct core *core);
struct watch_hub *core_watch(struct core *core);
struct raft_status core_raft_status(const struct core *core);
uint64_t core_now_ms(const struct core *core);
uint64_t core_member_id(const struct core *core);
uint64_t core_cluster_id(const struct core *core);
bool core_has_leader(const struct core *core);
uint64_t core_next_id(struct core *core); /* a fresh request id (mvcc.md "What goes through raft") */
/* Fills ids and term; revision too if `revision` is true. */
void core_header(const struct core *core, Etcdserverpb__ResponseHeader *header, bool revision);

struct core_stats {
    uint64_t proposals_pending, reads_pending, applied_total, commits_total, saves_total, turns_total;
    uint64_t checkpoints_total, expired_leases_total, images_installed_total;
    uint64_t leader_changes_total; /* that were seen: a leader became known that was not the one before */
    uint64_t proposals_failed_total, proposals_committed; /* the latter: the commit index */
    uint64_t reads_failed_total, reads_slow_total;        /* read rounds: ended by a new leader; by their time */
    uint64_t lease_checkpoints_total;
    uint64_t defragments_total;
    uint64_t terms_led; /* of which the own first entry was applied */
};
struct core_stats core_stats(const struct core *core);

/* Aborts if an invariant does not hold. Called by each turn. */
void core_check(const struct core *core);

#endif
