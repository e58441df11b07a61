/* The client for programs that do one thing after another: the loop runs inside the function. */
#include "base/check.h"
#include "base/pb.h"
#include "grpc/client_state.h"
#include <stdlib.h>

/* --- unary ----------------------------------------------------------------------------------------------------------
 */

struct unary {
    struct arena *arena;
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *response;
    struct client_status *status;
    const char *fault;
    bool done;
};

static void unary_message(struct client_call *call, struct bytes message)
{
    struct unary *u = client_call_state(call);
    struct pb_fault fault = {.reason = ""};
    u->response = pb_unpack(u->type, message, u->arena, &fault);
    if (u->response == NULL) {
        u->fault = fault.reason;
    }
}

static void unary_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct unary *u = client_call_state(call);
    u->done = true;
    if (code == GRPC_OK && u->response == NULL) {
        code = GRPC_INTERNAL;
        text = u->fault == NULL
                   ? "cardinality violation: received no response message from non-server-streaming RPC"
                   : arena_printf(u->arena, "grpc: failed to unmarshal the received message: %s", u->fault);
    }
    u->status->code = code;
    u->status->text = arena_printf(u->arena, "%s", text);
}

enum grpc_code client_unary(struct client *client, const char *path, uint64_t timeout_ms,
                            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response_type,
                            struct arena *arena, ProtobufCMessage **response, struct client_status *status)
{
    static const struct client_handler handler = {.on_message = unary_message, .on_end = unary_end};
    struct unary u = {.arena = arena, .type = response_type, .status = status};
    struct client_call_options options = {.timeout_ms = timeout_ms, .state = &u};
    struct client_call *call = client_open(client, path, &handler, &options);
    client_send_message(call, request);
    client_half_close(call);
    while (!u.done) {
        loop_step(client->loop, -1);
    }
    *response = status->code == GRPC_OK ? u.response : NULL;
    return status->code;
}

/* --- streams --------------------------------------------------------------------------------------------------------
 */

struct received {
    struct list node;
    struct shared *message;
};

struct client_stream {
    struct client *client;
    struct client_call *call; /* NULL once it is over */
    struct list received;
    size_t received_bytes;
    enum grpc_code code;
    char *text;
};

/* Messages that nobody took yet; above it the stream is not read. */
#define RECEIVED_BYTES ((size_t)4 * 1024 * 1024)

static void stream_message(struct client_call *call, struct bytes message)
{
    struct client_stream *s = client_call_state(call);
    struct received *r = mem_zalloc(sizeof *r);
    r->message = shared_copy(message);
    list_push_back(&s->received, &r->node);
    s->received_bytes += message.len;
    if (s->received_bytes > RECEIVED_BYTES) {
        client_hold(call, true);
    }
}

static void stream_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct client_stream *s = client_call_state(call);
    s->call = NULL;
    s->code = code;
    s->text = mem_strdup(text);
}

struct client_stream *client_stream_open(struct client *client, const char *path, uint64_t timeout_ms)
{
    static const struct client_handler handler = {.on_message = stream_message, .on_end = stream_end};
    struct client_stream *s = mem_zalloc(sizeof *s);
    struct client_call_options options = {.timeout_ms = timeout_ms, .state = s};
    s->client = client;
    list_init(&s->received);
    s->call = client_open(client, path, &handler, &options);
    return s;
}

void client_stream_send(struct client_stream *s, const ProtobufCMessage *message)
{
    while (s->call != NULL && !client_writable(s->call)) {
        loop_step(s->client->loop, -1);
    }
    if (s->call != NULL) {
        client_send_message(s->call, message);
    }
}

void client_stream_half_close(struct client_stream *s)
{
    if (s->call != NULL) {
        client_half_close(s->call);
    }
}

static struct shared *take_received(struct client_stream *s)
{
    struct list *node = list_pop_front(&s->received);
    if (node == NULL) {
        return NULL;
    }
    struct received *r = container_of(node, struct received, node);
    struct shared *message = r->message;
    s->received_bytes -= message->len;
    free(r);
    if (s->call != NULL && s->call->held && s->received_bytes < RECEIVED_BYTES / 2) {
        client_hold(s->call, false);
    }
    return message;
}

static int unpack(struct client_stream *s, struct shared *packed, const ProtobufCMessageDescriptor *type,
                  struct arena *arena, ProtobufCMessage **message, struct client_status *status)
{
    struct pb_fault fault = {.reason = ""};
    *message = pb_unpack(type, shared_bytes(packed), arena, &fault);
    shared_unref(packed);
    if (*message != NULL) {
        return 1;
    }
    status->code = GRPC_INTERNAL;
    status->text = arena_printf(arena, "grpc: failed to unmarshal the received message: %s", fault.reason);
    if (s->call != NULL) {
        client_cancel(s->call);
    }
    return -1;
}

int client_stream_receive(struct client_stream *s, int64_t wait_ms, const ProtobufCMessageDescriptor *type,
                          struct arena *arena, ProtobufCMessage **message, struct client_status *status)
{
    uint64_t until = loop_clock_ns() / 1000000 + (uint64_t)(wait_ms < 0 ? 0 : wait_ms);
    for (;;) {
        struct shared *packed = take_received(s);
        if (packed != NULL) {
            return unpack(s, packed, type, arena, message, status);
        }
        if (s->call == NULL) {
            status->code = s->code;
            status->text = arena_printf(arena, "%s", s->text);
            return -1;
        }
        uint64_t now = loop_clock_ns() / 1000000;
        if (wait_ms >= 0 && now >= until) {
            loop_step(s->client->loop, 0);
            if (list_empty(&s->received) && s->call != NULL) {
                return 0;
            }
            continue;
        }
        loop_step(s->client->loop, wait_ms < 0 ? -1 : (int64_t)(until - now));
    }
}

void client_stream_close(struct client_stream *s)
{
    if (s->call != NULL) {
        client_cancel(s->call);
    }
    struct list *node;
    while ((node = list_pop_front(&s->received)) != NULL) {
        struct received *r = container_of(node, struct received, node);
        shared_unref(r->message);
        free(r);
    }
    free(s->text);
    free(s);
}
