/* The state machine: a store of keys with their history, leases, members, alarms and cluster facts, changed only by
 * entries of the log, in their order (mvcc.md, backend.md). This header is its whole face towards core/ and chaos/sim.
 *
 * One `struct kv` is a generation: {backend, index, leases, members, alarms} as of one applied index. It is built from
 * a backend by kv_open, on any thread; then one thread (the core) owns it. Exceptions are named: hash jobs run
 * elsewhere, a closed batch is read by the store thread.
 *
 * Nothing here asks the operating system for time, randomness or I/O other than through `struct backend`; the same
 * entries give the same state, the same answers and the same bytes in the store.
 *
 * Long work is a job with a *_step(job, budget) function. budget counts keys, rows or changes touched (about 0.1 to 1
 * us each; rows that must be read from the backend count more). KV_BUDGET keeps a step well under a millisecond. A step
 * returns KV_DONE, KV_MORE (call again), or a negative error. */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/arena.h"
#include "base/error.h"
#include "base/list.h"
#include "kv/backend.h"
#include "kv/lease.h"
#include "kv/raft_internal.pb-c.h"
#include "kv/row.h"
#include "kv/rpc.pb-c.h"
#include "kv/watch.h"

struct kv;

enum kv_progress { KV_DONE = 0, KV_MORE = 1 };
#define KV_BUDGET 1000
/* Of rows that a step only looks at: so many bytes cost as much as a key, so that 256 KiB end a step of KV_BUDGET. */
#define KV_BUDGET_BYTES 256

/* --- generation --- */

#define KV_NO_LEARNERS UINT32_MAX

struct kv_config {
    uint64_t member_id;         /* ours: the one a NOSPACE alarm is raised for */
    int64_t quota_bytes;        /* --quota-backend-bytes: 0 = 2 GiB, negative = no limit */
    uint32_t max_txn_ops;       /* 0 = 128 */
    uint32_t max_request_bytes; /* 0 = 1.5 MiB */
    uint32_t max_learners;      /* 0 = 1; KV_NO_LEARNERS = none */
    struct lease_config lease;
    struct watch_hub *watch; /* gets the events of each write transaction; NULL = nobody watches (kv_set_watch) */
};

/* Builds the generation by scanning the backend (an empty backend becomes an empty store at revision 1). The backend
 * stays the caller's and must outlive kv. *reason (may be NULL) gets a heap text for the log when it fails; the caller
 * frees it. 0, ERR_CORRUPT_DATA, ERR_IO. */
int kv_open(const struct kv_config *config, struct backend *backend, struct kv **out, char **reason);
/* No batch may be out and no job open. The backend is not closed. */
void kv_close(struct kv *kv);

struct kv_stats {
    uint64_t applied_index, applied_term;                /* of the last entry applied */
    uint64_t stored_index, stored_term;                  /* of the last batch that the backend made durable */
    int64_t revision;                                    /* current */
    int64_t compact_revision;                            /* -1 = never compacted */
    uint64_t size_bytes, size_in_use_bytes, quota_bytes; /* Status; quota 0 = no limit */
    size_t pending_bytes; /* rows and changes that are not stored yet: above 64 MiB apply should pause */
    uint64_t keys;        /* live now */
    uint64_t revisions;   /* changes in the index, tombstones included */
};
struct kv_stats kv_stats(const struct kv *kv);
int64_t kv_revision(const struct kv *kv);
int64_t kv_compact_revision(const struct kv *kv);
uint64_t kv_applied_index(const struct kv *kv);
size_t kv_pending_bytes(const struct kv *kv);

struct lease_table *kv_leases(struct kv *kv); /* the lease clock (keepalive, expiry, promote) is driven by core */

/* The hub reads history from this generation, and this generation publishes to the hub. After a change of generation:
 * kv_set_watch on the new one, a source of the new one, watch_restore. */
struct watch_source kv_watch_source(struct kv *kv);
void kv_set_watch(struct kv *kv, struct watch_hub *hub);

/* Is this generation, which is not applied to any more, read by nobody? No range or txn is open, no view, no batch out.
 */
bool kv_unused(const struct kv *kv);
struct backend *kv_backend(const struct kv *kv);
/* The same rows in another file: from now on they are read from there. No batch may be out. Returns the one before,
 * which may still be read from. */
struct backend *kv_replace_backend(struct kv *kv, struct backend *backend);

/* --- requests before proposing --- */

/* What etcd checks before it proposes or reads: 0 or the error with etcd's text (errors.tsv). */
int kv_check_range(const Etcdserverpb__RangeRequest *request);
int kv_check_put(const Etcdserverpb__PutRequest *request);
int kv_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request);
int kv_check_txn(const Etcdserverpb__TxnRequest *request, uint32_t max_ops);
/* RangeStream: kv_check_range, and ERR_STREAM_SORTED, ERR_STREAM_FILTERED for what it does not do (sort order,
 * filters). */
int kv_check_range_stream(const Etcdserverpb__RangeRequest *request);

/* Every op of both top-level lists is a range: the txn never goes through the log; kv_txn_read answers it. It needs a
 * read index first unless kv_txn_serializable. */
bool kv_txn_read_only(const Etcdserverpb__TxnRequest *request);
bool kv_txn_serializable(const Etcdserverpb__TxnRequest *request);

/* What the request would add to the database by etcd's reckoning (mvcc.md "Quota"); 0 = always passes. */
uint64_t kv_request_cost(const Etcdserverpb__InternalRaftRequest *request);
/* May this request be proposed now? ERR_NO_SPACE (*raise_no_space = the alarm is not on yet: propose kv_no_space_alarm
 * as well), ERR_CORRUPT, or 0. Encoded size is the caller's to check: kv_check_size. */
int kv_admit(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *request, bool *raise_no_space);
int kv_check_size(const struct kv *kv, size_t encoded_bytes); /* ERR_REQUEST_TOO_LARGE */

/* --- apply --- */

enum kv_entry_type { KV_ENTRY_NORMAL, KV_ENTRY_CONF_CHANGE };

/* What an applied entry asks of core besides the answer. */
enum kv_effect {
    KV_EFFECT_RAISE_NO_SPACE = 1,  /* over quota at apply: propose kv_no_space_alarm */
    KV_EFFECT_ALARMS = 2,          /* the set of alarms changed */
    KV_EFFECT_CLUSTER_VERSION = 4, /* kv_cluster_version changed */
    KV_EFFECT_MEMBERS = 8,         /* members or their attributes changed */
    KV_EFFECT_CONF_CHANGE = 16,    /* apply->conf_change is to be handed to raft */
    KV_EFFECT_COMPACTION = 32,     /* kv_compact_step has work */
    KV_EFFECT_LEASES = 64,         /* leases granted or revoked: the lease clock may have a new deadline */
    KV_EFFECT_DOWNGRADE = 128,     /* kv_downgrade changed */
    KV_EFFECT_CHECKPOINT = 256,    /* the log's entries up to this one are not for who starts here later */
};

/* ConfChangeType of raft.proto */
struct kv_conf_change {
    int type;
    uint64_t node_id; /* 0 = voided: refused at apply, raft takes it as nothing */
};

/* One entry on its way through the state machine; owned by the caller, who zeroes it and fills the first part. */
struct kv_apply {
    /* in */
    uint64_t index, term;
    enum kv_entry_type type;
    struct bytes data;   /* of the entry; valid until the apply is done */
    struct arena *arena; /* the request is decoded and the response built in it: keep it until the answer is encoded */
    bool wanted;         /* somebody waits here: to be set between two steps as soon as request_id is known */
    uint64_t now_ms;     /* monotonic, for the lease clock */

    /* out, after begin, or of a long entry after some steps, of which none has changed anything: */
    uint64_t request_id;                              /* whom to wake; 0 for an empty entry */
    const Etcdserverpb__InternalRaftRequest *request; /* NULL for empty and conf change entries */

    /* out, when step said KV_DONE: */
    int error; /* 0, or what the waiter is told */
    /* The request's response type (put -> PutResponse, …) or NULL. header is set with revision alone; core adds the ids
     * and the term. May be set beside error == ERR_NO_SPACE (executed over quota: etcd answers the error). */
    ProtobufCMessage *response;
    unsigned effects; /* enum kv_effect */
    struct kv_conf_change conf_change;

    /* private */
    int state;
    void *work;
};

/* Decodes the entry. An entry that no etcd would have written ends the process (CHECK), as etcd panics. */
void kv_apply_begin(struct kv *kv, struct kv_apply *apply);
/* Entries in index order, one at a time: the next one begins when this one said KV_DONE. Readers that come between the
 * steps see the state before the entry. Entries at or below the stored index only have etcd's in-memory effects. */
int kv_apply_step(struct kv *kv, struct kv_apply *apply, size_t budget);

/* The request that raises this member's NOSPACE alarm, for core to propose (header.ID is core's to fill). */
Etcdserverpb__InternalRaftRequest *kv_no_space_alarm(const struct kv *kv, struct arena *arena);

/* --- to the store --- */

/* Is anything there that a commit would make durable? (A batch that only moves the applied index counts.) */
bool kv_batch_wanted(const struct kv *kv);
/* Closes the open batch (or takes the oldest one that was closed for its size) and lends it to the store thread. False
 * if there is nothing, or one is out already. Everything in it stays valid until kv_batch_done. */
bool kv_batch_close(struct kv *kv, struct backend_batch *batch);
/* The commit's result. 0: its rows leave pending. ERR_DISK_FULL: nothing was stored, the next kv_batch_close lends the
 * same batch again. Other errors end the member: they are not for here. */
void kv_batch_done(struct kv *kv, int error);
/* Gives memory of what was stored back, a slice a call. True = there is more. */
bool kv_tidy(struct kv *kv);

/* --- range --- */

/* A reader's hold on a revision. Private to kv/. */
struct kv_pin {
    struct list node;
    int64_t revision;
};

/* A range read: start, resolve in slices, then count, more and the exact length of all encoded kvs are known, and the
 * bytes are pulled in slices. While it is open its revision is pinned: compaction's deletes wait for kv_range_end. The
 * caller ends it after 30 s without progress (kv_range_read then would have answered from a pin that blocks space).
 * Owned by the caller; zeroed before the start. */
struct kv_range {
    /* out, after start: */
    int64_t header_revision; /* current revision at the read */
    int64_t revision;        /* the revision read at */
    /* out, when resolve said KV_DONE: */
    int64_t count; /* keys that match at that revision, before filters and limit */
    bool more;
    uint64_t kvs;       /* how many kvs come */
    uint64_t kvs_bytes; /* exact length of all `kvs` fields: tag 0x12, varint length, KeyValue, one after the other */

    /* private */
    struct kv *kv;
    struct kv_pin pin;
    struct kv_range_work *work;
};

/* request (key, range_end) must live until kv_range_end. 0, ERR_COMPACTED, ERR_FUTURE_REV. After an error nothing is
 * open. */
int kv_range_start(struct kv *kv, const Etcdserverpb__RangeRequest *request, struct kv_range *range);
int kv_range_resolve(struct kv_range *range, size_t budget); /* KV_DONE, KV_MORE, ERR_CORRUPT_DATA */
/* Copies the next bytes of the kvs stream, at most cap, at most 64 KiB of rows from the backend a call. *n is what was
 * written; KV_DONE when it was the last of the stream (or of the chunk), else KV_MORE. ERR_CORRUPT_DATA ends the
 * member. */
int kv_range_read(struct kv_range *range, uint8_t *out, size_t cap, size_t *n);
void kv_range_end(struct kv_range *range);

/* RangeStream: cuts the next chunk off the stream: at most `rows` kvs, and fewer as soon as they have max_bytes. When
 * it says KV_DONE, *chunk_rows and *chunk_bytes say what is in it; kv_range_read then ends with KV_DONE at the chunk's
 * end. *chunk_rows 0 = the stream was at its end. */
int kv_range_chunk(struct kv_range *range, uint64_t rows, uint64_t max_bytes, size_t budget, uint64_t *chunk_rows,
                   uint64_t *chunk_bytes);

/* A get of one key at the current revision, all in one call: for the hot path and small answers. Fills response (kvs in
 * the arena, header.revision). False = not that simple (a range, a sort, a filter …): use kv_range. */
bool kv_get(struct kv *kv, const Etcdserverpb__RangeRequest *request, struct arena *arena,
            Etcdserverpb__RangeResponse **response, int *error);

/* A read-only txn, answered from the current state as a job: apply-like, with index 0. */
struct kv_txn_read {
    const Etcdserverpb__TxnRequest *request;
    struct arena *arena;
    int error;
    Etcdserverpb__TxnResponse *response;
    /* private */
    struct kv_pin pin;
    void *work;
};
int kv_txn_read_step(struct kv *kv, struct kv_txn_read *read,
                     size_t budget);                              /* first call starts; KV_DONE or KV_MORE */
void kv_txn_read_cancel(struct kv *kv, struct kv_txn_read *read); /* instead of further steps */

/* --- compaction --- */

/* Physical compaction: one at a time, first in first out, the last ones merged. What to do next: */
enum kv_compact_state {
    KV_COMPACT_IDLE,
    KV_COMPACT_WAIT, /* an older pin is left, or pending is full: call kv_compact_step again later */
    KV_COMPACT_HASH, /* run a kv_hash job of kind KV_HASH_COMPACTION (revision kv_compact_next, over a view with at
                        least kv_compact_index applied), then tell kv_compact_hashed */
    KV_COMPACT_RUN,  /* call kv_compact_step */
};
enum kv_compact_state kv_compact_state(struct kv *kv);
/* The compaction at work (or next): its revision, and the log index a view must have for its hash. */
int64_t kv_compact_next(const struct kv *kv);
uint64_t kv_compact_index(const struct kv *kv);
void kv_compact_hashed(struct kv *kv, bool ok, uint32_t hash); /* ok false = no hash could be made: go on without */
/* Deletes a slice's worth. KV_MORE while there is more for now (state RUN), KV_DONE when it is not. */
int kv_compact_step(struct kv *kv, size_t budget);
/* Has the compaction at `revision` finished and been stored? (For CompactionRequest.physical.) */
bool kv_compact_finished(const struct kv *kv, int64_t revision);
/* True once after a compaction finished that may have left leaves half empty: run backend_repack on the store thread.
 */
bool kv_repack_wanted(struct kv *kv);

/* --- hash --- */

enum kv_hash_kind { KV_HASH_ALL, KV_HASH_KV, KV_HASH_COMPACTION };

struct kv_hash_result {
    uint32_t hash;
    int64_t compact_revision;
    int64_t hash_revision;
    int64_t current_revision; /* header.revision */
};

/* HashKV from the cache of finished compactions, if it has this revision; revision checks first: 0 and *result filled,
 * ERR_COMPACTED, ERR_FUTURE_REV, or ERR_ABSENT = make a job. */
int kv_hash_cached(const struct kv *kv, int64_t revision, struct kv_hash_result *result);

/* A job over a view (backend_view_open, after a commit up to the current applied index), on any thread. It reads
 * nothing but the view. revision 0 = current (KV_HASH_KV); prev_compact is only for KV_HASH_COMPACTION:
 * kv_compact_previous. */
struct kv_hash;
struct kv_hash *kv_hash_new(enum kv_hash_kind kind, int64_t revision, int64_t prev_compact, struct backend_read *view);
/* Errors: ERR_COMPACTED, ERR_FUTURE_REV (as the view has it), ERR_CORRUPT_DATA. budget in rows. */
int kv_hash_step(struct kv_hash *hash, size_t budget);
struct kv_hash_result kv_hash_result(const struct kv_hash *hash);
void kv_hash_free(struct kv_hash *hash);
int64_t kv_compact_previous(const struct kv *kv); /* compact revision before the compaction at work */

/* --- members, alarms, versions --- */

struct kv_member {
    uint64_t id;
    const char *name; /* "" until it is known */
    char *const *peer_urls;
    size_t peer_url_count;
    char *const *client_urls;
    size_t client_url_count;
    bool learner;
};

/* By ascending id. The array and what it points to are valid until the next entry is applied. */
const struct kv_member *kv_members(const struct kv *kv, size_t *count);
const struct kv_member *kv_member(const struct kv *kv, uint64_t id); /* NULL if there is none */
bool kv_member_removed(const struct kv *kv, uint64_t id);
const uint64_t *kv_members_removed(const struct kv *kv, size_t *count); /* all of them, ascending; valid as long */
/* Member list as Cluster.MemberList, MemberAdd … answer it (no header). */
Etcdserverpb__Member **kv_member_list(const struct kv *kv, struct arena *arena, size_t *count);
/* The first members of a new cluster as conf change entries' data, in the log's order (wal.md): appended by core to an
 * empty log. The JSON is what goes into table members. */
struct bytes kv_bootstrap_conf_change(uint64_t id, const char *name, const char *const *peer_urls, size_t count,
                                      struct arena *arena);

bool kv_alarm(const struct kv *kv, Etcdserverpb__AlarmType alarm); /* any member has it */
/* Alarm GET, also answered locally by Status: the active ones of this type (NONE = all), ascending. */
Etcdserverpb__AlarmMember **kv_alarms(const struct kv *kv, Etcdserverpb__AlarmType alarm, struct arena *arena,
                                      size_t *count);

const char *kv_cluster_version(const struct kv *kv); /* "3.7.0"; NULL until set */
bool kv_cluster_too_new(const struct kv *kv);        /* later than this program's: this member must end */
const char *
kv_storage_version(const struct kv *kv); /* as Status shows it: "3.7.0", or "3.5.0" before the first migration */
/* Every 4 s and when the cluster version changed (backend.md "Storage version"): writes meta/storageVersion if it is
 * due. A local fact, not of the log. */
void kv_update_storage_version(struct kv *kv);
bool kv_downgrade(const struct kv *kv, const char **target_version); /* enabled? target "" if none */

/* Does the cluster demand users and permissions? Then this member, which cannot enforce them yet, must end. */
bool kv_auth_enabled(const struct kv *kv);

/* "3.7.1" of a field of another member's /version page ("etcdserver", "etcdcluster"): false if it has none such. */
bool kv_version_of_page(struct bytes page, const char *field, unsigned *major, unsigned *minor);

/* What raft starts from: voters and learners as table `members` has them, ascending. Arena arrays. */
void kv_conf_state(const struct kv *kv, struct arena *arena, uint64_t **voters, size_t *voter_count,
                   uint64_t **learners, size_t *learners_count);

/* --- for others --- */

/* The row of this key as of a revision (a put), appended to out. ERR_ABSENT, ERR_COMPACTED, ERR_CORRUPT_DATA. */
int kv_row_at(struct kv *kv, struct bytes key, int64_t revision, struct buffer *out);

#endif
