/* A call over an HTTP/2 stream: its life, and the receiving side. */
#include "base/check.h"
#include "base/pb.h"
#include "grpc/gzip.h"
#include "grpc/server_state.h"
#include <stdlib.h>

/* Streams kept for later calls, with the smallest block of their arena. */
#define POOL_STREAMS 4096

static void on_deadline(struct loop_timer *timer);

static struct stream *from_pool(struct server *server)
{
    struct list *node = list_pop_front(&server->pool);
    if (node == NULL) {
        return mem_zalloc(sizeof(struct stream));
    }
    server->pool_count--;
    struct stream *s = container_of(node, struct stream, node);
    struct arena arena = s->call.arena;
    memset(s, 0, sizeof *s);
    s->call.arena = arena;
    return s;
}

/* Nobody waits for the thread that unpacks the request. */
static void drop_long_request(struct stream *s)
{
    if (s->long_request != NULL) {
        long_request_end(s->long_request);
        s->long_request = NULL;
    }
}

static void to_pool(struct server *server, struct stream *s)
{
    outgoing_clear(&s->out);
    frame_free(&s->reader);
    buffer_free(&s->backlog);
    buffer_free(&s->unpacked);
    buffer_free(&s->request);
    drop_long_request(s);
    arena_free(&s->call.message_arena);
    if (server->pool_count >= POOL_STREAMS) {
        arena_free(&s->call.arena);
        free(s);
        return;
    }
    arena_reset(&s->call.arena);
    list_push_front(&server->pool, &s->node);
    server->pool_count++;
}

void stream_pool_free(struct server *server)
{
    struct list *node;
    while ((node = list_pop_front(&server->pool)) != NULL) {
        struct stream *s = container_of(node, struct stream, node);
        arena_free(&s->call.arena);
        free(s);
    }
    server->pool_count = 0;
}

struct stream *stream_new(struct http2 *h, int32_t id)
{
    struct stream *s = from_pool(h->server);
    s->http2 = h;
    s->id = id;
    s->call.ops = &stream_ops;
    s->call.peer = h->connection->peer;
    s->call.deadline_ms = CALL_NO_DEADLINE;
    s->call.lane = CALL_NORMAL;
    s->reader.limit = h->server->options.max_receive_bytes;
    s->window = HTTP2_STREAM_WINDOW;
    s->deadline.fire = on_deadline;
    s->progress_ms = loop_now_ms(h->server->loop);
    list_init(&s->call.node);
    list_init(&s->lane_node);
    list_init(&s->resume_node);
    outgoing_init(&s->out);
    list_push_back(&h->streams, &s->node);
    h->stream_count++;
    h->server->stream_count++;
    h->server->calls_total++;
    return s;
}

/* Tells the connection how much this stream keeps of what it received. May be called at any time. */
static void recount(struct stream *s)
{
    struct http2 *h = s->http2;
    size_t partial = frame_buffered(&s->reader) + s->backlog.len + s->request.len;
    size_t waiting = s->phase == STREAM_WAITING ? s->unpacked.len : 0;
    h->partial = h->partial - s->partial + partial;
    h->waiting = h->waiting - s->waiting + waiting;
    s->partial = partial;
    s->waiting = waiting;
    http2_renew(h);
}

/* --- handing over to the service ------------------------------------------------------------------------------------
 */

static bool intercepted(struct stream *s)
{
    const struct server_options *options = &s->http2->server->options;
    int error = options->intercept == NULL ? 0 : options->intercept(options->owner, &s->call);
    if (error != 0) {
        stream_finish(s, error_code(error), bytes_str(error_text(error)));
    }
    return error != 0;
}

/* The request is there, and its check has said `error`. */
static void run_checked(struct stream *s, const ProtobufCMessage *request, const struct pb_fault *fault, int error)
{
    if (request == NULL) {
        const char *text = s->call.route->kind == CALL_UNARY ? "grpc: error unmarshalling request"
                                                             : "grpc: failed to unmarshal the received message";
        stream_fail_text(s, GRPC_INTERNAL, "%s: %s", text, fault->reason);
        return;
    }
    if (intercepted(s)) {
        return;
    }
    if (error != 0) {
        stream_finish(s, error_code(error), bytes_str(error_text(error)));
        return;
    }
    s->phase = STREAM_RUNNING;
    s->call.stage_ns[CALL_STARTED] = s->http2->server->loop->now_ns;
    s->call.route->unary(s->call.service, &s->call, request);
}

static void run_long(struct long_request *request)
{
    struct stream *s = request->owner;
    s->phase = STREAM_BODY;
    s->call.encoded = buffer_bytes(&request->encoded);
    run_checked(s, request->message, &request->fault, request->error);
}

/* The message's bytes, which are in one of the stream's buffers or in the input. */
static struct buffer take_over(struct stream *s, struct bytes message)
{
    struct buffer taken = {0};
    struct buffer *from = message.data == s->reader.body.data ? &s->reader.body
                          : message.data == s->unpacked.data  ? &s->unpacked
                                                              : NULL;
    if (from == NULL) {
        buffer_append(&taken, message.data, message.len);
    } else {
        taken = *from;
        *from = (struct buffer){0};
    }
    return taken;
}

static void unpack_long(struct stream *s, struct bytes message)
{
    struct server *server = s->http2->server;
    struct long_request *request = mem_zalloc(sizeof *request);
    request->loop = server->loop;
    request->open = &server->long_requests;
    request->type = s->call.route->request;
    request->check = server->options.check;
    request->check_owner = server->options.owner;
    request->encoded = take_over(s, message);
    request->done = run_long;
    request->owner = s;
    s->long_request = request;
    s->phase = STREAM_UNPACKING;
    if (long_request_begin(request)) {
        run_long(request);
    }
}

static void run_unary(struct stream *s, struct bytes message)
{
    const struct server_options *options = &s->http2->server->options;
    if (message.len > LONG_REQUEST_BYTES) {
        unpack_long(s, message);
        return;
    }
    struct pb_fault fault = {.reason = ""};
    ProtobufCMessage *request = pb_unpack(s->call.route->request, message, &s->call.arena, &fault);
    int error = request == NULL || options->check == NULL ? 0 : options->check(options->owner, request);
    run_checked(s, request, &fault, error);
}

void stream_start(struct stream *s)
{
    if (s->call.route->kind != CALL_STREAM) { /* it waited for its lane */
        s->phase = STREAM_BODY;
        run_unary(s, buffer_bytes(&s->unpacked));
        buffer_free(&s->unpacked);
        recount(s);
        return;
    }
    if (s->http2->server->stopping) {
        stream_finish(s, error_code(ERR_STOPPED), bytes_str(error_text(ERR_STOPPED)));
        return;
    }
    if (intercepted(s)) {
        return;
    }
    s->phase = STREAM_RUNNING;
    s->call.stage_ns[CALL_STARTED] = s->http2->server->loop->now_ns;
    s->in_message = true;
    s->call.route->open(s->call.service, &s->call);
    s->in_message = false;
}

/* A unary call's message: to the service, or into the lane's queue. */
static void unary_message(struct stream *s, struct bytes message)
{
    s->call.request_bytes = message.len;
    if (lane_take(s)) {
        run_unary(s, message);
        return;
    }
    s->phase = STREAM_WAITING;
    if (message.data == s->reader.body.data) { /* whole in the reader's buffer: that becomes the queue's */
        buffer_free(&s->unpacked);
        s->unpacked = s->reader.body;
        s->reader.body = (struct buffer){0};
    } else if (message.data != s->unpacked.data) {
        s->unpacked.len = 0;
        buffer_append(&s->unpacked, message.data, message.len);
    }
}

static void break_off(struct stream *s, enum grpc_code code, const char *text);

/* A call that is answered by many messages begins, as in grpc-go, when it is certain that the request is one. */
static void only_message(struct stream *s, struct bytes message)
{
    if (s->asked) {
        break_off(s, GRPC_INTERNAL,
                  "cardinality violation: received multiple request messages for non-client-streaming RPC");
        return;
    }
    s->asked = true;
    s->request = take_over(s, message);
}

static void only_message_ended(struct stream *s)
{
    if (s->reader.in_message) {
        stream_finish(s, GRPC_INTERNAL, bytes_str("unexpected EOF"));
    } else if (!s->asked) {
        stream_finish(s, GRPC_INTERNAL,
                      bytes_str("cardinality violation: received no request message from non-client-streaming RPC"));
    } else {
        struct buffer request = s->request;
        s->request = (struct buffer){0};
        unary_message(s, buffer_bytes(&request));
        buffer_free(&request);
        recount(s);
    }
}

static void stream_message(struct stream *s, struct bytes message)
{
    struct pb_fault fault = {.reason = ""};
    arena_reset(&s->call.message_arena);
    ProtobufCMessage *request = pb_unpack(s->call.route->request, message, &s->call.message_arena, &fault);
    if (request == NULL) {
        stream_cancel(s, ERR_CONTEXT_CANCELED);
        stream_fail_text(s, GRPC_INTERNAL, "grpc: failed to unmarshal the received message: %s", fault.reason);
        return;
    }
    if (s->call.request_bytes == 0) {
        s->call.request_bytes = message.len;
    }
    if (s->call.handler != NULL && s->call.handler->on_message != NULL) {
        s->in_message = true;
        s->call.handler->on_message(&s->call, request);
        s->in_message = false;
    }
}

/* Ends a call for a fault of the client's that a running service has to hear of. */
static void break_off(struct stream *s, enum grpc_code code, const char *text)
{
    if (s->phase == STREAM_RUNNING) {
        stream_cancel(s, ERR_CONTEXT_CANCELED);
    }
    stream_finish(s, code, bytes_str(text));
}

static void deliver(struct stream *s, struct bytes message, bool compressed)
{
    size_t limit = s->reader.limit;
    if (compressed && !s->gzip) {
        break_off(s, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
        return;
    }
    if (compressed) {
        const char *reason;
        s->unpacked.len = 0;
        int error = gzip_unpack(message, limit, &s->unpacked, &s->call.arena, &reason);
        if (error == ERR_REQUEST_TOO_LARGE) {
            break_off(
                s, GRPC_RESOURCE_EXHAUSTED,
                arena_printf(&s->call.arena, "grpc: received message after decompression larger than max %zu", limit));
            return;
        }
        if (error != 0) {
            break_off(s, GRPC_INTERNAL, reason);
            return;
        }
        message = buffer_bytes(&s->unpacked);
    }
    switch (s->call.route->kind) {
    case CALL_UNARY:
        unary_message(s, message);
        break;
    case CALL_SERVER_STREAM:
        only_message(s, message);
        break;
    case CALL_STREAM:
        stream_message(s, message);
        break;
    }
    if (s->phase != STREAM_WAITING) {
        buffer_free(&s->unpacked);
    }
    if (s->call.route->kind != CALL_STREAM) {
        buffer_free(&s->reader.body); /* the request was unpacked, or is in the queue: no second copy while it runs */
    }
}

/* --- bytes ----------------------------------------------------------------------------------------------------------
 */

static bool takes_messages(const struct stream *s)
{
    return s->phase == STREAM_BODY || (s->phase == STREAM_RUNNING && s->call.route->kind == CALL_STREAM);
}

/* A long message has announced itself: let it come in one go instead of 64 KiB a round trip. */
static void widen(struct stream *s)
{
    int64_t wanted = (int64_t)s->reader.length + FRAME_HEAD;
    if (wanted > s->window && s->http2->partial + s->reader.length <= HTTP2_PARTIAL_BYTES && !s->half_closed) {
        s->window = (int32_t)wanted;
        nghttp2_session_set_local_window_size(s->http2->session, NGHTTP2_FLAG_NONE, s->id, s->window);
    }
}

/* Reads messages until the input is used up, the service holds, or the call is over. Returns what is left. */
static struct bytes read_messages(struct stream *s, struct bytes in)
{
    while (takes_messages(s) && !s->held) {
        struct bytes message;
        bool compressed;
        switch (frame_read(&s->reader, &in, &message, &compressed)) {
        case FRAME_MORE:
            if (s->reader.in_message) {
                widen(s);
            }
            return in;
        case FRAME_MESSAGE:
            deliver(s, message, compressed);
            break;
        case FRAME_TOO_LONG:
            break_off(s, GRPC_RESOURCE_EXHAUSTED,
                      arena_printf(&s->call.arena, "grpc: received message larger than max (%u vs. %zu)",
                                   s->reader.length, s->reader.limit));
            break;
        case FRAME_BAD_FLAG:
            break_off(s, GRPC_INTERNAL,
                      arena_printf(&s->call.arena, "grpc: received unexpected payload format %u", s->reader.head[0]));
            break;
        }
    }
    return in;
}

static void consume(struct stream *s, size_t n)
{
    if (n > 0 && !s->half_closed && s->phase != STREAM_ENDED) {
        nghttp2_session_consume_stream(s->http2->session, s->id, n);
    }
}

/* END_STREAM, once all messages before it are delivered. */
static void tell_end(struct stream *s)
{
    if (s->end_told || !s->half_closed || s->held || s->backlog.len > 0 || !takes_messages(s)) {
        return;
    }
    s->end_told = true;
    if (s->phase == STREAM_BODY && s->call.route->kind == CALL_SERVER_STREAM) {
        only_message_ended(s);
    } else if (s->phase == STREAM_BODY) {
        stream_finish(s, GRPC_UNKNOWN, bytes_str(s->reader.in_message ? "unexpected EOF" : "EOF"));
    } else if (s->reader.in_message) { /* an end inside a prefix is one to grpc-go */
        break_off(s, GRPC_INTERNAL, "unexpected EOF");
    } else if (s->call.handler != NULL && s->call.handler->on_half_close != NULL) {
        s->call.handler->on_half_close(&s->call);
    }
}

void stream_data(struct stream *s, struct bytes in)
{
    if (s->http2->partial + in.len > HTTP2_PARTIAL_BYTES && takes_messages(s)) {
        break_off(s, GRPC_RESOURCE_EXHAUSTED, "too many bytes of unfinished requests on one connection");
    } else if (s->held || s->backlog.len > 0) {
        buffer_append(&s->backlog, in.data, in.len);
    } else {
        struct bytes rest = read_messages(s, in);
        if (takes_messages(s)) {
            consume(s, in.len - rest.len);
            buffer_append(&s->backlog, rest.data, rest.len);
        }
    }
    recount(s);
}

void stream_end(struct stream *s)
{
    s->half_closed = true;
    tell_end(s);
}

void stream_resume(struct stream *s)
{
    if (s->held) {
        return;
    }
    struct buffer backlog = s->backlog;
    s->backlog = (struct buffer){0};
    struct bytes rest = read_messages(s, buffer_bytes(&backlog));
    if (takes_messages(s)) {
        consume(s, backlog.len - rest.len);
        buffer_append(&s->backlog, rest.data, rest.len);
    }
    buffer_free(&backlog);
    recount(s);
    tell_end(s);
}

/* --- the end --------------------------------------------------------------------------------------------------------
 */

void stream_drop_source(struct stream *s)
{
    struct call_source *source = s->source;
    s->source = NULL;
    if (source != NULL) {
        source->end(source);
    }
}

/* Takes the call from the service. It is not answered yet. */
void stream_cancel(struct stream *s, int reason)
{
    CHECK(s->phase == STREAM_RUNNING);
    s->phase = STREAM_BODY;
    if (s->call.handler != NULL && s->call.handler->on_cancel != NULL) {
        s->call.handler->on_cancel(&s->call, reason);
    }
    s->call.handler = NULL;
}

static void cut(struct stream *s, int error)
{
    stream_cancel(s, error);
    stream_finish(s, error_code(error), bytes_str(error_text(error)));
}

void stream_stop(struct stream *s)
{
    if (s->phase == STREAM_RUNNING && s->call.route->kind == CALL_STREAM) {
        cut(s, ERR_STOPPED);
    }
}

void stream_cut(struct stream *s, bool (*chosen)(const struct call *call), int error)
{
    if (s->phase == STREAM_RUNNING && s->call.route->kind != CALL_UNARY && chosen(&s->call)) {
        cut(s, error);
    }
}

static void on_deadline(struct loop_timer *timer)
{
    struct stream *s = container_of(timer, struct stream, deadline);
    if (s->phase == STREAM_UNPACKING) {
        drop_long_request(s);
    }
    if (s->phase == STREAM_RUNNING) {
        stream_cancel(s, ERR_CONTEXT_DEADLINE_EXCEEDED);
    }
    if (s->phase == STREAM_ENDED) { /* an answer that is under way is broken off */
        nghttp2_submit_rst_stream(s->http2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
        http2_flush(s->http2);
        return;
    }
    stream_finish(s, GRPC_DEADLINE_EXCEEDED, bytes_str("context deadline exceeded"));
}

void stream_closed(struct stream *s, int reason)
{
    struct http2 *h = s->http2;
    struct server *server = h->server;
    if (s->phase == STREAM_RUNNING) {
        stream_cancel(s, reason);
        s->code = error_code(reason);
    }
    stream_drop_source(s);
    lane_give(s);
    loop_timer_stop(server->loop, &s->deadline);
    list_remove(&s->resume_node);
    if (server->options.observe != NULL && s->call.route != NULL) {
        server->options.observe(server->options.owner, &s->call, s->code, s->sent_bytes);
    }
    if (s->answered && !s->finished) {
        h->answering--;
    }
    h->partial -= s->partial;
    h->waiting -= s->waiting;
    list_remove(&s->node);
    h->stream_count--;
    server->stream_count--;
    to_pool(server, s);
    http2_renew(h);
}
