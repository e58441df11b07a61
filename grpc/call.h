/* A call: what a service sees of a request, whoever made it. gRPC streams, the JSON gateway and callers inside the
 * process all make calls; a service never sees an HTTP/2 stream.
 *
 * Thread: everything here belongs to the loop's thread (with --io-threads=0 that is the core).
 *
 * Life of a call. The transport makes it, finds the route, decodes the request and hands it over. From then on exactly
 * one of these ends it for the service, and the service must not touch the call afterwards:
 *
 *   - the service ends it: call_reply, call_reply_encoded, call_reply_stream, call_finish, call_fail, call_fail_text;
 *   - the transport ends it: the handler's on_cancel runs once (deadline, RST_STREAM, lost connection, server stop).
 *
 * on_cancel is never called from inside a function that the service calls on the same call, and never after the
 * service has ended the call. Ending functions may be called from inside the service's own callbacks. What the service
 * keeps for a call (call->state) it frees in whichever of the two places comes.
 *
 * Unary, in full:
 *
 *     static void put(void *service, struct call *call, const ProtobufCMessage *request)
 *     {
 *         call->handler = &put_handler;            // on_cancel: take the request out of the in-flight table
 *         call->state = in_flight_add(service, call);
 *     }
 *     ... later ...   call_reply(call, &response.base);
 *
 * A streaming service gets `open`, sets call->handler and then sees on_message for each message. */
#ifndef GRPC_CALL_H
#define GRPC_CALL_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include <protobuf-c/protobuf-c.h>
#include <sys/types.h>

struct call;

#define CALL_NO_DEADLINE UINT64_MAX

/* Admission lanes (design.md, "Credit"): control is health, lease, compaction, members; normal is all the rest. A call
 * that finds its lane full waits before it reaches its service, and its stream is not read meanwhile. */
enum call_lane { CALL_CONTROL, CALL_NORMAL, CALL_LANES };

/* When a call passed which point, in nanoseconds of the monotonic clock, 0 = not passed. The transport fills the first
 * two and the last two, the core those between. Times are those of the loop's turn, not finer. */
enum call_stage {
    CALL_RECEIVED, /* headers complete */
    CALL_STARTED,  /* request decoded and handed to the service */
    CALL_PROPOSED,
    CALL_COMMITTED,
    CALL_APPLIED,
    CALL_ANSWERED, /* the service ended it */
    CALL_FLUSHED,  /* the last byte was given to the socket */
    CALL_STAGES,
};

/* --- what a service offers ------------------------------------------------------------------------------------------
 */

enum call_kind {
    CALL_UNARY,         /* one message in, one out: `unary` is called */
    CALL_SERVER_STREAM, /* one in, many out: `unary` is called too; answers go by call_send, the end by call_finish */
    CALL_STREAM,        /* many in, many out: `open` is called, then the handler's on_message */
};

/* One method. Constant and usually static; `service` is given when the routes are registered (grpc/server.h). */
struct call_route {
    const char *path; /* "/etcdserverpb.KV/Range" */
    enum call_kind kind;
    enum call_lane lane;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    /* The request is in call->arena and lives as long as the call. */
    void (*unary)(void *service, struct call *call, const ProtobufCMessage *request);
    void (*open)(void *service, struct call *call);
};

/* What the transport tells a service about a call that it holds. Every member may be NULL. */
struct call_handler {
    /* A message of a stream, valid until the function returns (it lies in call->message_arena). */
    void (*on_message)(struct call *call, const ProtobufCMessage *message);
    /* The client sends nothing more (END_STREAM). The service still may, and still has to end the call. */
    void (*on_half_close)(struct call *call);
    /* After call_writable was false: there is room again. */
    void (*on_writable)(struct call *call);
    /* The call is over and was not ended by the service. reason: ERR_CONTEXT_CANCELED, ERR_CONTEXT_DEADLINE_EXCEEDED
     * or ERR_STOPPED. The call is gone when this returns. */
    void (*on_cancel)(struct call *call, int reason);
};

/* --- the call -------------------------------------------------------------------------------------------------------
 */

struct call_ops; /* what a transport implements; at the end of this file */

struct call {
    const struct call_ops *ops;
    const struct call_route *route;
    void *service;    /* as registered with the route */
    const char *peer; /* "127.0.0.1:53412", "@" for a Unix socket, "" inside the process; lives as long as the call */
    uint64_t deadline_ms; /* monotonic, CALL_NO_DEADLINE if the client gave none (grpc-timeout) */
    enum call_lane lane;
    struct arena arena;         /* lives as long as the call: the request, the answer, whatever the service likes */
    struct arena message_arena; /* the message that on_message is given; reset before the next */
    uint64_t stage_ns[CALL_STAGES];
    struct {
        uint8_t trace_id[16], span_id[8]; /* W3C traceparent of the client, all zero without one */
        uint8_t flags;
    } trace;
    size_t request_bytes; /* encoded size of the (first) request message */
    struct bytes encoded; /* a long request's bytes as they came; lives as long as the call. data NULL for others */

    /* The service's own: */
    const struct call_handler *handler;
    void *state;
    struct list node; /* for a queue of the service's; initialised, the transport never touches it */
};

/* Metadata of the request by lower-case name; the first of several. data is NULL when it is not there (an empty value
 * has data != NULL). Binary values ("-bin") are given undecoded. Lives as long as the call. */
struct bytes call_metadata(const struct call *call, const char *name);

/* Ends a unary call with this message. Packed before the function returns, so the message may lie on the stack. */
void call_reply(struct call *call, const ProtobufCMessage *message);

/* The same for an answer that is already encoded: bytes must live as long as the call (call->arena), or until the
 * function returns when copied is true. */
void call_reply_encoded(struct call *call, struct bytes encoded, bool copied);

/* An answer whose bytes are made while they are sent. Embed it in a struct of your own. */
struct call_source {
    /* Fills at most cap bytes and returns how many; cap is 16 KiB or less. 0 = nothing yet, call_source_ready comes
     * later. A negative error breaks the call off: nothing that was sent can be taken back, the client sees the status.
     * Called from the loop when flow control has room, never from inside call_reply_stream. */
    ssize_t (*read)(struct call_source *source, uint8_t *out, size_t cap);
    /* Exactly once, whatever happens: all bytes read, or the call was cancelled, or read failed. */
    void (*end)(struct call_source *source);
};

/* Ends a unary call, for the service, with a message of exactly `length` encoded bytes that come from `source`. From
 * here on only the source is used; on_cancel is not called, source->end is. read must give exactly `length` bytes. */
void call_reply_stream(struct call *call, uint64_t length, struct call_source *source);
/* After read had returned 0: there is something now. May be called from inside read's own completion, in any turn. */
void call_source_ready(struct call *call);

/* Ends a call: a stream after its last message (GRPC_OK, ""), or any call with an error. Text is copied. Messages that
 * call_send queued before go out first. */
void call_finish(struct call *call, enum grpc_code code, const char *text);
void call_fail(struct call *call, int error); /* code and text of base/error.h */
void call_fail_text(struct call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- streams --------------------------------------------------------------------------------------------------------
 */

/* A piece of an outgoing message. With an owner the transport takes its own reference and may send the bytes without
 * copying; without one it copies them at once. */
struct call_part {
    struct bytes bytes;
    struct shared *owner;
};

/* Queues one encoded message, the parts one after another. Never fails and never blocks: look at call_writable first,
 * and send at most a message or two beyond it. Response headers go out with the first message, or with call_headers. */
void call_send(struct call *call, const struct call_part *parts, size_t count);
void call_send_message(struct call *call, const ProtobufCMessage *message);
/* Bytes in which each message already has its prefix (u8 0, u32 BE length); a message may be cut between two calls. For
 * producers that encode many messages at once. Never compressed. */
void call_send_framed(struct call *call, const struct call_part *parts, size_t count);
/* Sends the response headers now (Watch: clients wait for them). No effect the second time. */
void call_headers(struct call *call);

/* The call waits for what other calls have to do first: it gives its lane's credit back, or they might never get in. */
void call_wait(struct call *call);

/* False when as much is queued as the stream may hold (64 KiB): wait for on_writable. */
bool call_writable(struct call *call);
size_t call_queued(const struct call *call); /* bytes that call_send queued and the socket has not taken yet */

/* Between the two no on_message comes, and the client's sending window is not renewed. on_half_close waits too. May be
 * nested in on_message; call_resume gives out what waits in a later turn, never inside the function. */
void call_hold(struct call *call);
void call_resume(struct call *call);

/* --- for transports -------------------------------------------------------------------------------------------------
 */

struct call_ops {
    struct bytes (*metadata)(const struct call *call, const char *name);
    void (*reply)(struct call *call, const ProtobufCMessage *message);
    void (*reply_encoded)(struct call *call, struct bytes encoded, bool copied);
    void (*reply_stream)(struct call *call, uint64_t length, struct call_source *source);
    void (*source_ready)(struct call *call);
    void (*finish)(struct call *call, enum grpc_code code, const char *text);
    void (*send)(struct call *call, const struct call_part *parts, size_t count);
    void (*send_framed)(struct call *call, const struct call_part *parts, size_t count);
    void (*headers)(struct call *call);
    bool (*writable)(struct call *call);
    size_t (*queued)(const struct call *call);
    void (*hold)(struct call *call);
    void (*resume)(struct call *call);
    void (*wait)(struct call *call); /* NULL: its calls take no credit */
};

#endif
