/* Watches: every change of the store, to everybody who asked for it, in order, once.
 *
 * The hub stands between apply and the transports. Apply publishes each revision's events once; the hub encodes an
 * event once and shares it between all watchers. A transport has one watch_stream for each client stream; the hub calls
 * `ready` when there is something to send, and the transport pulls bytes while its flow control lets it. What nobody
 * pulls is not built: a slow stream holds references to shared events up to its credit, then its watchers leave the
 * live set and are served again from the ring of recent events or from the store's history, together with other
 * laggards.
 *
 * Everything runs on the core thread. Long work (fan-out, catching up, closing big streams) is done by watch_step in
 * slices. Rules: mvcc.md "Watch", errors.tsv kind watch-cancel, limits.tsv area watch.
 *
 * Always-on invariants: each watcher sees ascending revisions, no gap, no repeat, all events of a revision in one
 * response (or its fragments); a progress revision is never above an event still to come. */
#ifndef KV_WATCH_H
#define KV_WATCH_H

#include "base/bytes.h"

/* --- what the hub needs of the store ------------------------------------------------------------------------------ */

/* A position in history: the first row not read yet. */
struct watch_position {
    int64_t main, sub;
};

/* One row of history: table key's row. `row` = the stored KeyValue bytes; of a tombstone only its key counts. Return
 * false to stop after this row. */
typedef bool watch_visit(void *arg, int64_t main, int64_t sub, bool tombstone, struct bytes row);

enum watch_rows { WATCH_ROWS_END, WATCH_ROWS_MORE, WATCH_ROWS_WAIT };

struct watch_source {
    /* The store's current and compacted revision, as of the last applied entry. A revision must have been published
     * before `revision` says it. */
    int64_t (*revision)(void *arg);
    int64_t (*compacted)(void *arg);
    /* Visits the rows from *from on, in order of (main, sub), main <= to_main, at most about `budget` of them (a byte
     * limit of the source's own is fine), and moves *from behind the last one visited. END: no more rows up to to_main.
     * WAIT: the rows are being fetched by a worker; the source calls watch_source_ready when it can go on. The hub
     * never asks for main < compacted. */
    enum watch_rows (*rows)(void *arg, struct watch_position *from, int64_t to_main, size_t budget, watch_visit *visit,
                            void *visit_arg);
    /* Appends the KeyValue bytes that `key` had at revision `rev` to out: 0, or ERR_ABSENT (no such key then), or
     * ERR_COMPACTED. For prev_kv only. */
    int (*key_at)(void *arg, struct bytes key, int64_t rev, struct buffer *out);
    void *arg;
};

/* --- the hub ------------------------------------------------------------------------------------------------------ */

struct watch_stream;

struct watch_config {
    uint64_t cluster_id, member_id;
    size_t max_request_bytes;      /* fragments when a response reaches this + 512 KiB; 0 = 1.5 MiB */
    uint64_t progress_interval_ms; /* --watch-progress-notify-interval; 0 = 10 minutes; plus up to 10 % jitter */
    size_t ring_bytes;             /* recent events kept; 0 = 16 MiB */
    size_t stream_credit_bytes;    /* events queued on one stream before its watchers lag; 0 = 1 MiB */
    size_t held_bytes;             /* events held by all streams together beyond the ring; 0 = 64 MiB */
    uint64_t seed;                 /* jitter, hash */
    struct watch_source source;
    /* The stream has something to pull. Called once; again only after a watch_pull has returned false. Called from
     * inside watch_step, watch_create, watch_cancel, watch_refuse, watch_progress: note it down, don't pull from
     * inside. */
    void (*ready)(struct watch_stream *s, void *stream_arg);
};

struct watch_hub;
struct watch_hub *watch_hub_new(const struct watch_config *config, uint64_t now_ms);
void watch_hub_free(struct watch_hub *h); /* streams that are still open are freed too */

/* The raft term in response headers. */
void watch_set_term(struct watch_hub *h, uint64_t term);

/* Publishing a revision, by apply, in order: begin, each change in order of sub, end. Nothing is copied when nobody
 * watches. Each revision must be published, with at least one event. `kv` = the row's KeyValue bytes of a put. `prev` =
 * the row before the transaction if the caller has it at hand (data == NULL: the hub asks key_at if somebody wants it).
 */
void watch_publish_begin(struct watch_hub *h, int64_t revision);
void watch_publish_put(struct watch_hub *h, struct bytes key, struct bytes kv, bool created, struct bytes prev);
void watch_publish_delete(struct watch_hub *h, struct bytes key, struct bytes prev);
void watch_publish_end(struct watch_hub *h);

/* Does slices of the waiting work: fan-out of what was published, catching up, progress notifications that are due,
 * freeing closed streams. budget: about so many watchers or rows are touched (2,000 are well below 1 ms). true = there
 * is more to do now. */
bool watch_step(struct watch_hub *h, uint64_t now_ms, size_t budget);
bool watch_busy(const struct watch_hub *h);            /* would watch_step do something now? */
uint64_t watch_deadline(const struct watch_hub *h);    /* ms of the next progress notification; UINT64_MAX = none */
size_t watch_backlog_bytes(const struct watch_hub *h); /* published, not yet fanned out: apply pauses above a limit */
void watch_source_ready(struct watch_hub *h);          /* after WATCH_ROWS_WAIT */

/* The store was replaced (snapshot installed): all watchers go on from where they are, out of the new history. The
 * source must answer for the new store already. */
void watch_restore(struct watch_hub *h);
/* Before it: from now on history is read from here. */
void watch_set_source(struct watch_hub *h, struct watch_source source);

/* --- streams ------------------------------------------------------------------------------------------------------ */

struct watch_stream *watch_stream_open(struct watch_hub *h, void *stream_arg, uint64_t now_ms);
/* The client is gone or the call ends (its status is the transport's business). `ready` is not called any more; the
 * memory is freed by watch_step in slices. */
void watch_stream_close(struct watch_stream *s);

struct watch_request {
    struct bytes key, range_end; /* exactly as in WatchCreateRequest: empty key and "\0" are understood here */
    int64_t start_revision;
    int64_t watch_id;
    bool prev_kv, progress_notify, fragment;
    bool no_put, no_delete; /* filters */
};
/* A WatchCreateRequest that the caller has authorized. Whatever is wrong with it becomes a response on the stream
 * (errors.tsv watch-cancel); the request's bytes are copied. */
void watch_create(struct watch_stream *s, const struct watch_request *request);
/* Answers a WatchCreateRequest with created + canceled, watch_id -1 and this reason (permission texts). */
void watch_refuse(struct watch_stream *s, const char *reason);
/* WatchCancelRequest: {id, canceled}; nothing for an unknown id. */
void watch_cancel(struct watch_stream *s, int64_t watch_id);
/* WatchProgressRequest: one response with id -1 if all watchers of the stream are synced and none starts in the future,
 * else nothing. */
void watch_progress(struct watch_stream *s);
/* Control answers pile up unread: stop reading requests from this stream until a pull has made it false. */
bool watch_stream_full(const struct watch_stream *s);

/* --- pulling ------------------------------------------------------------------------------------------------------ */

/* Encoded WatchResponses, each behind gRPC's 5-byte message prefix (0, big endian length), many in one go. Small events
 * are copied into `bytes`; big ones (WATCH_SHARE_BYTES and up) are cut in by reference: at each cut, in order, the
 * content of `content` belongs in front of bytes.data[at] (at == bytes.len: at the end). Each cut holds one reference
 * to `owner`. Zero-initialised is empty and valid; reuse it to save allocations. */
#define WATCH_SHARE_BYTES 4096
struct watch_cut {
    size_t at;
    struct bytes content;
    struct shared *owner;
};
struct watch_out {
    struct buffer bytes;
    struct watch_cut *cuts;
    size_t cut_count, cut_capacity;
    size_t total; /* bytes in all, cuts included */
    size_t messages;
};
void watch_out_reset(struct watch_out *out); /* drops the references and empties it; keeps memory for reuse */
void watch_out_free(struct watch_out *out);

/* Appends whole messages to out until it holds max_bytes or more in all, or nothing is left. true = more is ready now
 * (pull again when there is room); false = nothing more: `ready` will be called. */
bool watch_pull(struct watch_stream *s, struct watch_out *out, size_t max_bytes);

/* --- figures ------------------------------------------------------------------------------------------------------ */

struct watch_stats {
    size_t streams, watchers; /* etcd_debugging_mvcc_watch_stream_total, _watcher_total */
    size_t slow_watchers;     /* not in the live set: etcd_debugging_mvcc_slow_watcher_total */
    uint64_t events;          /* delivered: etcd_debugging_mvcc_events_total */
    uint64_t pending_events;  /* etcd_debugging_mvcc_pending_events_total */
    size_t held_bytes;        /* event bytes in memory, ring included */
};
struct watch_stats watch_stats(const struct watch_hub *h);

#endif
