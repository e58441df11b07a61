/* The transport's parts, between the files that make it up:
 *
 *     transport.c    the object, its members, which way a message goes, what is reported
 *     queue.c        messages that wait, bounded
 *     stream_out.c   a stream that another member has asked for: this one writes
 *     stream_in.c    a stream that this member has asked for: it dials, reads and dials again
 *     pipeline.c     POST /raft
 *     post_in.c      the other side of it
 *     image_out.c    POST /raft/snapshot, sending
 *     image_in.c     POST /raft/snapshot, receiving
 *     probe.c        GET /raft/probing
 *     call.c         whatever else is asked of other members
 *     admit.c        headers and versions, both ways
 *     routes.c       the paths of the peer port
 */
#ifndef RAFT_PEER_PEER_IMPL_H
#define RAFT_PEER_PEER_IMPL_H

#include "base/log.h"
#include "base/net/http1_client.h"
#include "base/url.h"
#include "raft/peer/peer.h"
#include "raft/peer/stream_codec.h"

/* limits.tsv and peer.md "Sizes and timing" */
#define PEER_STREAM_QUEUE 4096
#define PEER_PIPELINE_QUEUE 64
#define PEER_PIPELINE_SLOTS 4
#define PEER_QUEUE_BYTES ((size_t)64 << 20) /* of entries in one queue; a larger message goes if it is alone */
#define PEER_IMAGES_MAX 16
#define PEER_REMOTES_MAX 64
#define PEER_REDIAL_MS 100
#define PEER_DEADLINE_MS 5000
#define PEER_LINK_HEARTBEAT_MS 1666
#define PEER_PROBE_MS 4000
#define PEER_IMAGE_IDLE_MS 30000
#define PEER_ENVELOPE_BYTES ((uint64_t)64 << 20) /* of the message before a database */

struct peer;

/* --- queue.c --- */

struct peer_item {
    struct list node;
    struct raft_message message;
    struct raft_message_owner owner;
    size_t bytes;
};

struct peer_queue {
    struct list items;
    size_t count, bytes;
};

/* Items that are free, so that a message on its way costs no allocation. */
struct peer_pool {
    struct list spare;
    size_t count;
};

void peer_pool_init(struct peer_pool *pool);
void peer_pool_free(struct peer_pool *pool);
void peer_item_free(struct peer_pool *pool, struct peer_item *item); /* NULL is allowed */
void peer_queue_init(struct peer_queue *queue);
/* False: no room. */
bool peer_queue_push(struct peer_queue *queue, struct peer_pool *pool, const struct raft_message *message,
                     size_t limit);
struct peer_item *peer_queue_pop(struct peer_queue *queue);                /* NULL = empty */
size_t peer_queue_clear(struct peer_queue *queue, struct peer_pool *pool); /* how many were dropped */

/* --- stream_out.c --- */

struct stream_out {
    struct peer *peer;
    enum stream_kind kind;
    struct http1_request *request; /* who asked for it; NULL = nobody */
    struct peer_queue queue;
    struct stream_writer writer;
    struct peer_item *item; /* the writer's */
    bool beat;              /* a heartbeat is due */
    bool said;              /* something was written since the last one */
    struct loop_timer timer;
    uint64_t sent_bytes; /* when the timer last looked, */
    uint64_t looked_ms;  /* which was then */
    uint64_t moved_ms;   /* when the other side last took something */
};

void stream_out_init(struct stream_out *out, struct peer *peer, enum stream_kind kind);
void stream_out_attach(struct stream_out *out, struct http1_request *request); /* answers it; an older one is closed */
void stream_out_close(struct stream_out *out);
/* False: nobody has asked for the stream. What finds no room is dropped and reported. */
bool stream_out_send(struct stream_out *out, const struct raft_message *message);

/* --- stream_in.c --- */

struct stream_in {
    struct peer *peer;
    enum stream_kind kind;
    struct http1_client client;
    struct stream_reader reader;
    struct loop_timer redial;
    uint64_t tried_ms;
    bool closed, refused, established;
    char answer[256]; /* the text of a refusal */
    size_t answer_len;
};

void stream_in_start(struct stream_in *in, struct peer *peer, enum stream_kind kind);
void stream_in_close(struct stream_in *in);
void stream_in_free(struct stream_in *in); /* when no message of it is looked at any more */

/* --- pipeline.c --- */

struct pipeline_slot {
    struct peer *peer;
    struct http1_client client;
    struct buffer body;
};

struct pipeline {
    struct peer_queue queue;
    struct pipeline_slot slots[PEER_PIPELINE_SLOTS];
};

void pipeline_init(struct pipeline *pipeline, struct peer *peer);
void pipeline_close(struct pipeline *pipeline);
void pipeline_send(struct pipeline *pipeline, const struct raft_message *message);

/* --- probe.c --- */

struct probe {
    struct peer *peer;
    struct http1_client client;
    uint64_t asked_ns;
    int64_t asked_wall_ns;
    char answer[128];
    size_t answer_len;
    bool unhealthy;
};

void probe_init(struct probe *probe, struct peer *peer);
void probe_send(struct probe *probe);
void probe_close(struct probe *probe);

/* --- a member, or a remote --- */

struct peer {
    struct list node;
    struct peer_transport *transport;
    uint64_t id;
    char hex[20];
    bool remote, gone;
    struct arena arena; /* of urls */
    struct url_list urls;
    char *urls_text;
    size_t url_at;                       /* which one is used now */
    struct stream_out out[STREAM_KINDS]; /* members only, as the next three */
    struct stream_in in[STREAM_KINDS];
    struct probe probe;
    struct pipeline pipeline;
    uint64_t active_since_ms, round_trip_ns;
    bool unreachable;    /* to be told */
    uint64_t refused_ms; /* when the log last told of a refusal */
    struct loop_later freeing;
};

struct peer_transport {
    struct peer_config config;
    char *urls;
    struct buffer headers; /* lines that every request carries */
    char cluster_hex[20];
    struct list peers;
    size_t remote_count;
    struct list images_out, images_in, posts_in, calls, spare_calls;
    size_t spare_call_count;
    size_t post_bytes; /* of bodies of /raft that are not all there yet */
    size_t image_out_count;
    struct peer_pool pool;
    struct loop_timer probe_timer;
    struct loop_later telling; /* what is unreachable */
    bool telling_queued;
    uint64_t refused_ms; /* when the log last told of a stranger */
};

/* transport.c */
struct peer *peer_find(const struct peer_transport *t, uint64_t id); /* members and remotes; NULL = unknown */
void peer_unreachable(struct peer *peer);                            /* told at the end of the turn */
void peer_active(struct peer *peer);
void peer_inactive(struct peer *peer, const char *action, const char *why);
/* A message has come, from whom `from` says, by the connection of somebody else maybe. 0, or ERR_MALFORMED: it makes no
 * sense; ERR_ABSENT: it isn't for this member, or from a removed one. */
int peer_deliver(struct peer_transport *t, const struct raft_message *message);
/* Somebody unknown speaks to this member: it becomes a remote. */
void peer_meet(struct peer_transport *t, const struct http1_request *request);

/* The URL in use, as http1_ask has it; the next one after a failure. */
void peer_address(const struct url *url, struct http1_ask *ask);
/* A member's comma-joined URLs, without those that need TLS. NULL, or why none can be used. */
const char *peer_parse_urls(struct arena *arena, const char *text, struct url_list *urls);
const struct url *peer_url(const struct peer *peer);
void peer_next_url(struct peer *peer);

/* admit.c */
/* Cluster and version (peer.md "Checks, in order" 2 and 3). False: refused and answered. Sets X-Etcd-Cluster-Id. */
bool peer_admit(struct peer_transport *t, struct http1_request *request);
void peer_make_headers(struct peer_transport *t);
/* Is what answers new enough to have the streams? */
bool peer_has_streams(struct bytes server_version);
bool peer_hexadecimal(struct bytes text, uint64_t *out);
/* Another member refuses this one for its version or its cluster: says so in the log. */
void peer_refusal(struct peer *peer, int status, const char *text);
/* etcd's 500 "error processing raft message", after which it cuts the connection in the midst of the body. */
void peer_not_processed(struct http1_request *request);

/* post_in.c */
bool post_in_take(struct peer_transport *t, struct http1_request *request);
void post_in_close_all(struct peer_transport *t);
/* image_in.c */
bool image_in_take(struct peer_transport *t, struct http1_request *request);
void image_in_close_all(struct peer_transport *t);
/* image_out.c; of a peer, NULL = all */
void image_out_close(struct peer_transport *t, const struct peer *peer);
/* call.c */
void call_close_all(struct peer_transport *t);

#endif
