/* The transport between members: rafthttp as etcd 3.7 speaks it (peer.md), on the loop of the core's thread. Both ends
 * of it: what other members ask of the peer port (streams, /raft, /raft/snapshot), and what this member asks of theirs.
 *
 * Each member gets both streams (message, msgapp) from each other member, so there are four connections between two;
 * who asks receives, who answers sends. A message goes by the first of these that can take it (peer.md "Channels"):
 *
 *     MsgApp                msgapp stream, message stream, pipeline (a POST)
 *     MsgSnap               POST /raft/snapshot, with the database
 *     everything else       message stream, pipeline
 *
 * Queues are bounded in messages and bytes. What finds no room, or is lost with a broken connection, is dropped and
 * reported as unreachable: raft repeats it. Nothing blocks, names are resolved by other threads.
 *
 * A *remote* is a member that isn't in the configuration yet: it only gets answers, by POST. This is how a new member,
 * which knows nobody before the leader's log or image has come, answers to those who speak to it.
 *
 * Callbacks come from the loop's poll, timers or flush, never from inside a call of this header unless noted; a
 * callback may call anything here but peer_transport_free.
 *
 * Thread: the loop's. */
#ifndef RAFT_PEER_PEER_H
#define RAFT_PEER_PEER_H

#include "base/net/http1.h"
#include "raft/message.h"

struct peer_transport;
struct peer_image;

/* --- what the transport tells its owner ------------------------------------------------------------------------------
 * All get `owner`. None may be NULL.
 */
struct peer_events {
    /* A message for this member, from one that wasn't removed. The message and what it points to live until the
     * callback returns (raft takes references of its own). Never RAFT_MSG_SNAPSHOT: that is an image. */
    void (*message)(void *owner, const struct raft_message *message);
    /* Something for this member was dropped or lost. At most once for each member and turn. For core_unreachable. */
    void (*unreachable)(void *owner, uint64_t id);
    /* What became of an image that was given to peer_send_image: exactly once for each. */
    void (*snapshot_reported)(void *owner, uint64_t id, bool ok);
    /* Another member says that this one was removed from the cluster: it stops for good. May come several times. */
    void (*removed)(void *owner);
    /* Was this id once a member, and removed? */
    bool (*was_removed)(void *owner, uint64_t id);

    /* An image arrives (POST /raft/snapshot). begin: image->message is the MsgSnap; 0 = go on; an error (of
     * base/error.h) refuses it with 500. Then data as it comes, in order, valid during the call only; false = enough
     * for now, nothing comes until peer_image_more. When all is there, finish: save it (fsync, rename) and hand the
     * message to raft; call peer_image_done once that is done, in the callback or later. abort: the connection was lost
     * or the transport closes before peer_image_done: drop what was written; the image is gone when it returns. */
    int (*image_begin)(void *owner, struct peer_image *image);
    bool (*image_data)(void *owner, struct peer_image *image, struct bytes data);
    void (*image_finish)(void *owner, struct peer_image *image);
    void (*image_abort)(void *owner, struct peer_image *image);
};

/* An image on its way in. The transport's; gone after peer_image_done, or image_abort. */
struct peer_image {
    const struct raft_message *message; /* with position, configuration and the v2 JSON */
    uint64_t received_bytes;            /* of the database so far */
    void *state;                        /* the owner's */
};

void peer_image_more(struct peer_image *image); /* after image_data returned false: go on */
/* The end: 0 = saved and handed to raft: 204. Otherwise 500, at any time since image_begin returned 0. reason: what
 * could not be done ("no space left on device"), NULL = error_text(error). */
void peer_image_done(struct peer_image *image, int error, const char *reason);

/* --- the object ------------------------------------------------------------------------------------------------------
 */

struct peer_config {
    struct loop *loop;
    uint64_t member_id, cluster_id;
    const char *version;     /* "3.7.1"; lives as long as the transport */
    const char *min_version; /* "3.0.0" */
    const char *urls;        /* this member's peer URLs, comma-joined; copied (peer_set_urls changes them) */
    uint64_t election_ms;    /* --election-timeout: a dial has this and a second */
    const struct peer_events *events;
    void *owner;
};

struct peer_transport *peer_transport_new(const struct peer_config *config);
/* Closes all connections; images under way are reported or aborted, sources closed, calls end with ERR_STOPPED. The
 * connections' memory goes with the loop's turn. After it nothing is called back. */
void peer_transport_free(struct peer_transport *t);
void peer_set_urls(struct peer_transport *t, const char *urls);

/* Members other than this one. Adding a known one updates its URLs; connections are made at once. urls: comma-joined
 * ("http://127.0.0.1:2380,http://h:2380"); https and unixs are left out: there is no TLS here yet, and nothing goes to
 * them in plain text. A member that is removed is told so when it comes again (was_removed). */
void peer_add(struct peer_transport *t, uint64_t id, const char *urls);
void peer_remove(struct peer_transport *t, uint64_t id);
bool peer_known(const struct peer_transport *t, uint64_t id);
/* A remote. No effect on a member. Members that speak to this one and are unknown become remotes by themselves. */
void peer_add_remote(struct peer_transport *t, uint64_t id, const char *urls);

/* Sends messages in this order; references to entries' data are taken, the rest is copied. Never RAFT_MSG_SNAPSHOT.
 * Messages to nobody (0), to this member or to an unknown one are dropped silently, as etcd does. */
void peer_send(struct peer_transport *t, const struct raft_message *messages, size_t count);

/* Since when this member reaches it without interruption: monotonic milliseconds of the loop (loop_now_ms), 0 = it does
 * not. From the first stream or POST that succeeded until a failure (peer.md). */
uint64_t peer_active_since_ms(const struct peer_transport *t, uint64_t id);
/* Round trip of the last probe in nanoseconds, 0 = none yet. */
uint64_t peer_round_trip_ns(const struct peer_transport *t, uint64_t id);

/* --- sending an image ------------------------------------------------------------------------------------------------
 */

/* Where a database file's bytes come from. Embedded in its owner, zeroed, then the first four set. */
struct peer_source {
    /* Up to cap bytes into out: > 0 how many; 0 = the end; ERR_AGAIN = a worker is still at it: peer_source_ready says
     * when; another error breaks the transfer off. Called on the loop as the connection takes them. */
    ssize_t (*read)(struct peer_source *source, uint8_t *out, size_t cap);
    /* The transport is done with it, for better or worse. Exactly once, maybe inside peer_send_image or
     * peer_transport_free; snapshot_reported comes after it. */
    void (*close)(struct peer_source *source);
    bool size_known;
    uint64_t size_bytes; /* of the whole, if known; fewer or more bytes break the transfer off */
    void *transfer;      /* the transport's */
};

/* message: a RAFT_MSG_SNAPSHOT, copied. The source stays until close; snapshot_reported follows once. At most 16 at a
 * time (peer.md); more, or to a member that is not there, are reported as failed in the next turn. A receiver that
 * takes nothing for 30 s, or doesn't answer within 5 s after the last byte, has failed. */
void peer_send_image(struct peer_transport *t, const struct raft_message *message, struct peer_source *source);
void peer_source_ready(struct peer_source *source);
/* Breaks the transfer off in the next turn, whether or not the receiver takes anything. */
void peer_source_give_up(struct peer_source *source);

/* --- asking another member's peer port -------------------------------------------------------------------------------
 * POST /leases, /leases/internal, /members/promote/ID; GET /members, /version, /downgrade/enabled.
 */
struct peer_call {
    /* Set by the caller; the texts and the body stay valid until done. */
    uint64_t to;              /* a member of the transport (its URLs are tried one after the other) … */
    const char *urls;         /* … or, if not NULL, these, whoever is there */
    struct loop *loop;        /* with urls, before there is a transport (bootstrap): t may be NULL then */
    const char *method;       /* "GET" */
    const char *path;         /* "/leases" */
    const char *content_type; /* NULL = none */
    const char *token;        /* Authorization; NULL = none */
    struct bytes body;
    uint64_t timeout_ms;   /* for all of it */
    size_t max_body_bytes; /* of the answer; 0 = 1 MiB */
    /* error 0: an answer came, whatever its status. ERR_TIMEOUT, ERR_ABSENT (no such member), ERR_IO (failure says
     * what), ERR_STOPPED (transport freed). Answer and failure are valid until it returns; the call is the caller's
     * again. Comes in a later turn than peer_call_start. */
    void (*done)(struct peer_call *call, int error);
    void *owner;

    /* The answer. */
    int status;
    struct bytes answer;
    uint64_t cluster_id; /* its X-Etcd-Cluster-Id; 0 = none */
    const char *failure; /* of ERR_IO: "dial tcp 127.0.0.1:2380: connect: connection refused" */

    void *exchange; /* the transport's */
};

void peer_call_start(struct peer_transport *t, struct peer_call *call);
void peer_call_cancel(struct peer_call *call); /* done does not come; no effect when none is under way */

/* --- the peer port ---------------------------------------------------------------------------------------------------
 */

/* For http1_options.take: requests whose bodies may be large (POST /raft, /raft/snapshot). owner is the transport. */
bool peer_take(void *owner, struct http1_request *request);
/* /raft, /raft/snapshot, /raft/stream/KIND/ID; false if the path is none of these. owner is the transport. */
bool peer_handle(void *owner, struct http1_request *request);

#endif
