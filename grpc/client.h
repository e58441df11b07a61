/* The project's own gRPC client: kedgectl, the load program, tests. Plain text HTTP/2 for now.
 *
 * Asynchronous on a loop, many calls at a time over one or several connections; with blocking functions at the end for
 * programs that do one thing after another.
 *
 * Failures are told as grpc-go tells them: a code and a text. What a client sees when nothing listens:
 *     14  connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"
 * and when the call's time runs out while connecting (calls wait for a connection unless fail_fast):
 *     4   latest balancer error: connection error: desc = "transport: …"
 * while an answer is awaited:
 *     4   context deadline exceeded
 *
 * Thread: the loop's. */
#ifndef GRPC_CLIENT_H
#define GRPC_CLIENT_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/net/loop.h"
#include <protobuf-c/protobuf-c.h>

struct client;
struct client_call;

struct client_metadata {
    const char *name; /* lower case */
    struct bytes value;
};

/* All strings are copied. */
struct client_options {
    const char *const *endpoints;           /* NULL-terminated: "127.0.0.1:2379", "http://host:port", "unix:///path" */
    const char *authority;                  /* NULL = host:port of the endpoint */
    const char *user_agent;                 /* NULL = "kedge" */
    unsigned connections;                   /* an endpoint; 0 = 1 */
    const struct client_metadata *metadata; /* sent with every call ("token" after authentication) */
    size_t metadata_count;
    uint64_t dial_timeout_ms;      /* one attempt to connect; 0 = 20 s */
    uint64_t keepalive_time_ms;    /* PING after this idle time; 0 = never */
    uint64_t keepalive_timeout_ms; /* 0 = 6 s */
    size_t max_receive_bytes;      /* 0 = 2^31 - 1 */
    uint32_t window_bytes;         /* receive window of a stream; 0 = 4 MiB */
    bool fail_fast;                /* a call fails with 14 when no endpoint can be reached, rather than wait */
};

/* loop NULL: the client makes one of its own, for the blocking functions. */
struct client *client_new(struct loop *loop, const struct client_options *options);
/* Cancels what still runs (on_end comes with code 1) and closes. */
void client_free(struct client *client);
/* The metadata of all later calls, replaced (token after a new authentication). */
void client_set_metadata(struct client *client, const struct client_metadata *metadata, size_t count);
struct loop *client_loop(struct client *client);

/* --- asynchronous ---------------------------------------------------------------------------------------------------
 */

struct client_handler {
    /* One message, without its length prefix; valid until it returns. May be NULL. */
    void (*on_message)(struct client_call *call, struct bytes message);
    /* Response headers have come (Watch: the stream is accepted). May be NULL. */
    void (*on_headers)(struct client_call *call);
    /* After client_writable was false. May be NULL. */
    void (*on_writable)(struct client_call *call);
    /* Exactly once, last: the status. text is valid until it returns, never NULL. The call is freed after it. */
    void (*on_end)(struct client_call *call, enum grpc_code code, const char *text);
};

struct client_call_options {
    uint64_t timeout_ms;                    /* 0 = none; sent as grpc-timeout and kept here too */
    const struct client_metadata *metadata; /* besides the client's */
    size_t metadata_count;
    void *state; /* client_call_state */
};

/* Starts a call ("/etcdserverpb.KV/Range"). Never NULL: failures come by on_end, in a later turn. options may be NULL.
 */
struct client_call *client_open(struct client *client, const char *path, const struct client_handler *handler,
                                const struct client_call_options *options);
void *client_call_state(const struct client_call *call);
void client_send(struct client_call *call, struct bytes message); /* copied */
void client_send_message(struct client_call *call, const ProtobufCMessage *message);
bool client_writable(const struct client_call *call); /* false above 256 KiB queued */
void client_half_close(struct client_call *call);     /* no more messages from here */
/* RST_STREAM CANCEL; on_end comes with code 1 "context canceled" before it returns. */
void client_cancel(struct client_call *call);
/* Reading credit: while held, on_message does not come and the window is not renewed. */
void client_hold(struct client_call *call, bool hold);

/* --- blocking -------------------------------------------------------------------------------------------------------
 */

struct client_status {
    enum grpc_code code;
    const char *text; /* in the arena, never NULL */
};

/* One call, start to end. Returns status->code. On GRPC_OK *response is unpacked into the arena. timeout_ms 0 = none.
 */
enum grpc_code client_unary(struct client *client, const char *path, uint64_t timeout_ms,
                            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
                            struct arena *arena, ProtobufCMessage **response, struct client_status *status);

/* A stream for programs that block. */
struct client_stream;
struct client_stream *client_stream_open(struct client *client, const char *path, uint64_t timeout_ms);
void client_stream_send(struct client_stream *stream, const ProtobufCMessage *message);
void client_stream_half_close(struct client_stream *stream);
/* Waits for the next message, at most wait_ms (-1 = as long as it takes).
 * 1: *message is unpacked into the arena. 0: nothing within wait_ms. -1: the stream is over, see *status (text in
 * arena). */
int client_stream_receive(struct client_stream *stream, int64_t wait_ms, const ProtobufCMessageDescriptor *type,
                          struct arena *arena, ProtobufCMessage **message, struct client_status *status);
void client_stream_close(struct client_stream *stream); /* cancels it if it still runs */

#endif
