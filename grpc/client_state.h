/* What the files of the client share: client.c (calls, endpoints, who waits for what), client_link.c (a connection and
 * its HTTP/2 session), client_blocking.c. Nothing else includes this. */
#ifndef GRPC_CLIENT_STATE_H
#define GRPC_CLIENT_STATE_H

#include "base/net/connection.h"
#include "base/net/dial.h"
#include "grpc/client.h"
#include "grpc/frame.h"
#include "grpc/outgoing.h"
#include "grpc/pump.h"
#include <nghttp2/nghttp2.h>

struct client_endpoint {
    char *host; /* or a path */
    int port;   /* -1 = Unix socket */
    char *authority;
};

enum client_link_phase { LINK_IDLE, LINK_DIALING, LINK_READY, LINK_BACKOFF };

/* One connection to one endpoint; made again when it breaks. */
struct client_link {
    struct client *client;
    const struct client_endpoint *endpoint;
    int endpoint_index;
    enum client_link_phase phase;
    struct dial dial;
    struct connection *connection;
    nghttp2_session *session;
    struct pump pump;
    struct list calls; /* of client_call.node */
    size_t call_count;
    struct loop_timer timer; /* backoff; keepalive */
    uint64_t last_read_ms, backoff_ms;
    bool ping_sent, draining, greeted; /* greeted: the server's SETTINGS came */
};

struct client_header {
    struct client_header *next;
    struct bytes name, value;
};

struct client {
    struct loop *loop;
    bool own_loop;
    struct client_options options;
    struct client_endpoint *endpoints;
    size_t endpoint_count;
    struct client_link *links;
    size_t link_count, next_link;
    struct list waiting; /* of client_call.node: calls without a connection */
    char *user_agent;
    struct arena metadata_arena;
    struct client_header *metadata;
    char *last_failure; /* "dial tcp …", NULL when none */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *session_options;
    bool freeing;
};

struct client_call {
    struct client *client;
    struct client_link *link; /* NULL while it waits */
    int32_t id;
    const struct client_handler *handler;
    void *state;
    struct list node;
    struct arena arena;
    const char *path;
    struct client_header *metadata;
    struct loop_timer deadline;
    uint64_t deadline_ms; /* 0 = none */
    struct outgoing out;
    struct frame_reader reader;
    struct buffer backlog;
    bool half_close, deferred, held, was_full, ended, in_callback, headers_told;
    bool has_status;
    bool over; /* the stream has ended, and there is a backlog to be read before the call does */
    uint32_t over_code;
    enum grpc_code code;
    unsigned http_status;
    struct bytes text;
};

/* --- client.c --- */
void client_end(struct client_call *call, enum grpc_code code, const char *text);
void client_call_released(struct client_call *call); /* after in_callback: frees it if it ended meanwhile */
void client_link_ready(struct client_link *link);
void client_link_failed(struct client_link *link, const char *failure);

/* --- client_link.c --- */
void client_link_globals(struct client *client);
void client_link_dial(struct client_link *link);
void client_link_close(struct client_link *link);
void client_link_start(struct client_link *link, struct client_call *call);
void client_link_wake(struct client_call *call);   /* more to send */
void client_link_forget(struct client_call *call); /* RST_STREAM, no more callbacks */
void client_link_consume(struct client_call *call, size_t n);

#endif
