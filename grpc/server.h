/* The client port: one listener for HTTP/2 gRPC and HTTP/1.1 alike (grpc.md, "Ports and protocol choice"), the table of
 * routes, and the limits that hold for all connections.
 *
 *     struct server *server = server_new(loop, &options);
 *     server_route(server, kv_routes, kv_route_count, kv_service);
 *     error = server_listen(server, "127.0.0.1", 2379, SERVER_BOTH, reason, sizeof reason);
 *
 * Thread: the loop's. */
#ifndef GRPC_SERVER_H
#define GRPC_SERVER_H

#include "base/net/http1.h"
#include "base/net/loop.h"
#include "grpc/call.h"

struct server;

struct server_lane {
    size_t operations; /* calls of the lane that services hold at the same time; 0 = no limit */
    size_t bytes;      /* their requests' encoded bytes; 0 = no limit */
};

/* A zeroed struct means etcd's defaults. */
struct server_options {
    uint32_t max_concurrent_streams; /* a connection's; 0 or UINT32_MAX = not announced */
    size_t max_receive_bytes;        /* longest request message; 0 = 2,097,152 */
    uint64_t keepalive_min_time_ms;  /* client pings closer than this are strikes; 0 = 5 s */
    uint64_t keepalive_interval_ms;  /* server PING after this idle time; 0 = 2 h */
    uint64_t keepalive_timeout_ms;   /* connection closed if that is unanswered; 0 = 20 s */
    uint64_t answer_timeout_ms;      /* a client takes nothing of its answer for so long: given up; 0 = 30 s */
    size_t max_connections;          /* 0 = no limit */
    struct server_lane lanes[CALL_LANES];
    struct http1_options http1; /* handle: for everything that is not gRPC; NULL = 404 */
    /* Called with each call before its service (unary: after decoding, as grpc-go's interceptors): 0, or an error that
     * ends the call. For capability, learner, client-api-version, hasleader. May be NULL. */
    int (*intercept)(void *owner, struct call *call);
    /* Of a unary call, after that: what it fails with, or 0. For checks that take long with a long request: called on
     * any thread, so it looks at nothing but the request and what never changes. May be NULL. */
    int (*check)(const void *owner, const ProtobufCMessage *request);
    /* Called when a call is over, its stages complete: metrics, tracing, slow log. code is what the client was told;
     * sent_bytes counts messages. May be NULL. */
    void (*observe)(void *owner, const struct call *call, enum grpc_code code, size_t sent_bytes);
    void *owner;
};

struct server *server_new(struct loop *loop, const struct server_options *options);

/* Adds methods. The table is kept, not copied. A path that is there already is a CHECK. */
void server_route(struct server *server, const struct call_route *routes, size_t count, void *service);
/* The route of a path and its service, for the gateway and callers inside the process. NULL if there is none. */
const struct call_route *server_find(const struct server *server, struct bytes path, void **service);

enum server_protocols { SERVER_BOTH, SERVER_GRPC_ONLY, SERVER_HTTP_ONLY };

/* Binds and listens (host, port, reason as listener_open). May be called for several addresses. Accepting begins with
 * server_start: etcd answers clients only after the member has published itself. Returns the bound port, 0 for a Unix
 * socket, or a negative errno. */
int server_listen(struct server *server, const char *host, int port, enum server_protocols protocols, char *reason,
                  size_t reason_size);
void server_start(struct server *server);

/* Graceful stop: no more connections, GOAWAY to each. Streams of messages (watches, keepalives), which would not end by
 * themselves, are cancelled with ERR_STOPPED at once, after what they have queued; other calls may run on until
 * grace_ms, then they are cancelled too and the connections closed. on_stopped when nothing is left. (etcd lets its
 * streams be until its grace of 7 s is over, and closes their connections then: clients see Unavailable as well.) */
void server_stop(struct server *server, uint64_t grace_ms, void (*on_stopped)(void *owner), void *owner);
/* Ends the streams for which `wanted` is true, after what they have queued, with this error; on_cancel tells their
 * services. */
void server_cut_streams(struct server *server, bool (*wanted)(const struct call *call), int error);
void server_free(struct server *server); /* after on_stopped, or closes everything hard */

struct server_stats {
    size_t connections, streams, calls[CALL_LANES], waiting[CALL_LANES];
    uint64_t calls_total, received_bytes, sent_bytes;
};
void server_stats(const struct server *server, struct server_stats *out);
/* How much work (loop_work) other threads do for calls; whoever starts some counts it here, server_free waits for it.
 */
size_t *server_work_count(struct server *server);

#endif
