/* The sending side of a call over an HTTP/2 stream: what a service does with its call.
 *
 * A unary answer is HEADERS, DATA, HEADERS (trailers); all but the DATA's payload is by reference to constants. */
#include "base/check.h"
#include "base/pb.h"
#include "grpc/gzip.h"
#include "grpc/server_state.h"
#include "grpc/text.h"
#include <stdarg.h>
#include <stdio.h>

/* A grpc-message longer than this is cut: it must fit a header. */
#define TEXT_BYTES ((size_t)4096)

#define CONSTANT (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

static nghttp2_nv nv(const char *name, struct bytes value, uint8_t flags)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value.data,
        .valuelen = value.len,
        .flags = flags,
    };
}

static const char *const code_digits[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                          "9", "10", "11", "12", "13", "14", "15", "16"};

static size_t put_status(const struct stream *s, nghttp2_nv *out)
{
    out[0] = nv("grpc-status", bytes_str(code_digits[s->code]), CONSTANT);
    uint8_t index = s->text.len == 0 ? CONSTANT : CONSTANT | NGHTTP2_NV_FLAG_NO_INDEX;
    out[1] = nv("grpc-message", s->text.data == NULL ? bytes_str("") : s->text, index);
    return 2;
}

/* "application/grpc", with what the request had behind it. */
static struct bytes answer_type(struct stream *s)
{
    if (s->content_type.len == 0) {
        return bytes_str("application/grpc");
    }
    struct bytes type = arena_copy(&s->call.arena, s->content_type);
    ((uint8_t *)(uintptr_t)type.data)[sizeof "application/grpc" - 1] = '+';
    return type;
}

static size_t put_head(struct stream *s, const char *http_status, nghttp2_nv *out)
{
    size_t n = 0;
    out[n++] = nv(":status", bytes_str(http_status), CONSTANT);
    out[n++] = nv("content-type", answer_type(s), CONSTANT);
    return n;
}

/* --- towards nghttp2 ------------------------------------------------------------------------------------------------
 */

static ssize_t read_payload(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                            nghttp2_data_source *data, void *user);

static void send_head(struct stream *s)
{
    nghttp2_nv head[3];
    size_t n = put_head(s, "200", head);
    if (s->gzip) {
        head[n++] = nv("grpc-encoding", bytes_str("gzip"), CONSTANT);
    }
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_payload};
    s->headers_sent = true;
    nghttp2_submit_response(s->http2->session, s->id, head, n, &provider);
    http2_flush(s->http2);
}

/* There is something new to send: gets the stream's DATA going (again). */
static void wake(struct stream *s)
{
    if (!s->headers_sent) {
        send_head(s);
        return;
    }
    if (s->deferred) {
        s->deferred = false;
        nghttp2_session_resume_data(s->http2->session, s->id);
    }
    http2_flush(s->http2);
}

static void send_trailers(struct stream *s)
{
    nghttp2_nv trailer[2];
    size_t n = put_status(s, trailer);
    s->trailers_sent = true;
    nghttp2_submit_trailer(s->http2->session, s->id, trailer, n);
}

/* The answer is in the write buffer: its credit is free. */
static void finished(struct stream *s)
{
    s->finished = true;
    s->http2->answering--;
    s->call.stage_ns[CALL_FLUSHED] = s->http2->server->loop->now_ns;
    lane_give(s);
}

static void source_broke(struct stream *s, int error)
{
    stream_drop_source(s);
    s->code = error_code(error);
    s->text = bytes_str(error_text(error));
}

/* At most cap bytes of what the source has. */
static size_t pull_source(struct stream *s, uint8_t *out, size_t cap)
{
    if (cap > s->source_left) {
        cap = (size_t)s->source_left;
    }
    ssize_t n = cap == 0 ? 0 : s->source->read(s->source, out, cap);
    if (n < 0) {
        source_broke(s, (int)n);
        return 0;
    }
    CHECK((size_t)n <= cap);
    s->source_left -= (uint64_t)n;
    if (s->source_left == 0) {
        stream_drop_source(s);
    }
    return (size_t)n;
}

static void tell_writable(struct stream *s)
{
    if (s->was_full && s->phase == STREAM_RUNNING && s->out.total < STREAM_QUEUE_BYTES / 2) {
        s->was_full = false;
        if (s->call.handler != NULL && s->call.handler->on_writable != NULL) {
            s->call.handler->on_writable(&s->call);
        }
    }
}

static ssize_t read_payload(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                            nghttp2_data_source *data, void *user)
{
    struct stream *s = data->ptr;
    struct http2 *h = s->http2;
    (void)session, (void)id, (void)buf, (void)user;
    if (s->source != NULL && h->pump.len > 0 && loop_late(h->server->loop, LOOP_WRITE_NS)) {
        h->late = true; /* many small rows: the rest goes out in the next turn */
        return NGHTTP2_ERR_PAUSE;
    }
    uint8_t *payload = pump_payload(&h->pump, length);
    if (payload == NULL) {
        return NGHTTP2_ERR_PAUSE;
    }
    size_t n = outgoing_take(&s->out, payload, length);
    if (n < length && s->source != NULL) {
        n += pull_source(s, payload + n, length - n);
    }
    tell_writable(s);
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (s->phase == STREAM_ENDED && s->out.total == 0 && s->source == NULL) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        send_trailers(s);
        finished(s);
    } else if (n == 0) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    s->progress_ms = loop_now_ms(h->server->loop);
    h->sent_since_ping = true;
    return (ssize_t)n;
}

/* END_STREAM is out. A client that still sends is told to stop, as grpc-go does. */
void stream_sent_end(struct stream *s)
{
    if (!s->half_closed) {
        nghttp2_submit_rst_stream(s->http2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    }
}

/* --- ends -----------------------------------------------------------------------------------------------------------
 */

/* The service's part is over; what was queued and the status are still to go. */
static void end_call(struct stream *s, enum grpc_code code, struct bytes text)
{
    CHECK(s->phase != STREAM_ENDED, "a call is ended twice: %s", s->call.route == NULL ? "" : s->call.route->path);
    s->phase = STREAM_ENDED;
    s->answered = true;
    s->http2->answering++;
    s->call.handler = NULL;
    s->call.stage_ns[CALL_ANSWERED] = s->http2->server->loop->now_ns;
    s->progress_ms = loop_now_ms(s->http2->server->loop);
    s->code = code;
    s->text = text;
    if (s->source == NULL) {
        lane_give(s); /* what is left is small, and its number bounded (HTTP2_ANSWERS): a client that doesn't read its
                         answers must not keep credit from others */
    }
    if (s->reader.body.len > 0 || s->backlog.len > 0) { /* no more messages are read */
        buffer_free(&s->reader.body);
        buffer_free(&s->backlog);
    }
}

static void trailers_only(struct stream *s, const char *http_status)
{
    nghttp2_nv head[4];
    size_t n = put_head(s, http_status, head);
    n += put_status(s, head + n);
    s->headers_sent = s->trailers_sent = true;
    nghttp2_submit_response(s->http2->session, s->id, head, n, NULL);
    finished(s);
    http2_flush(s->http2);
}

static struct bytes header_text(struct stream *s, struct bytes text)
{
    if (text.len == 0) {
        return (struct bytes){0};
    }
    struct bytes copy = arena_copy(&s->call.arena, bytes_of(text.data, text.len < TEXT_BYTES ? text.len : TEXT_BYTES));
    return text_percent_encode(copy, &s->call.arena);
}

void stream_refuse(struct stream *s, const char *http_status, enum grpc_code code, struct bytes text)
{
    end_call(s, code, header_text(s, text));
    trailers_only(s, http_status);
}

void stream_finish(struct stream *s, enum grpc_code code, struct bytes text)
{
    end_call(s, code, header_text(s, text));
    if (s->headers_sent || s->out.total > 0 || code == GRPC_OK) {
        wake(s);
    } else {
        trailers_only(s, "200");
    }
}

void stream_fail_text(struct stream *s, enum grpc_code code, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    stream_finish(s, code, bytes_str(text));
}

/* --- what a service calls -------------------------------------------------------------------------------------------
 */

static struct stream *of(struct call *call)
{
    struct stream *s = container_of(call, struct stream, call);
    CHECK(s->phase == STREAM_RUNNING, "%s: the call is not the service's", call->route->path);
    return s;
}

static void queue_packed(struct stream *s, struct bytes message)
{
    struct buffer packed = {0};
    buffer_reserve(&packed, FRAME_HEAD);
    packed.len = FRAME_HEAD;
    gzip_pack(message, &packed);
    frame_put_head(packed.data, true, (uint32_t)(packed.len - FRAME_HEAD));
    s->sent_bytes += packed.len;
    outgoing_copy(&s->out, buffer_bytes(&packed));
    buffer_free(&packed);
}

static void reply(struct call *call, const ProtobufCMessage *message)
{
    struct stream *s = of(call);
    size_t size = pb_size(message);
    uint8_t *framed = arena_alloc(&call->arena, FRAME_HEAD + size);
    pb_write(message, framed + FRAME_HEAD, size);
    if (s->gzip && size > 0) {
        queue_packed(s, bytes_of(framed + FRAME_HEAD, size));
    } else {
        frame_put_head(framed, false, (uint32_t)size);
        s->sent_bytes += FRAME_HEAD + size;
        outgoing_borrow(&s->out, bytes_of(framed, FRAME_HEAD + size));
    }
    end_call(s, GRPC_OK, (struct bytes){0});
    wake(s);
}

static void reply_encoded(struct call *call, struct bytes encoded, bool copied)
{
    struct stream *s = of(call);
    if (s->gzip) {
        queue_packed(s, encoded);
    } else {
        frame_put_head(outgoing_room(&s->out, FRAME_HEAD), false, (uint32_t)encoded.len);
        if (copied) {
            outgoing_copy(&s->out, encoded);
        } else {
            outgoing_borrow(&s->out, encoded);
        }
        s->sent_bytes += FRAME_HEAD + encoded.len;
    }
    end_call(s, GRPC_OK, (struct bytes){0});
    wake(s);
}

/* Streamed answers go uncompressed, also to a client that packed its request: the flag is a message's own. */
static void reply_stream(struct call *call, uint64_t length, struct call_source *source)
{
    struct stream *s = of(call);
    CHECK(length <= INT32_MAX, "an answer of %llu bytes", (unsigned long long)length);
    frame_put_head(outgoing_room(&s->out, FRAME_HEAD), false, (uint32_t)length);
    s->sent_bytes += FRAME_HEAD + length;
    s->source = source;
    s->source_left = length;
    end_call(s, GRPC_OK, (struct bytes){0});
    if (length == 0) {
        stream_drop_source(s);
    }
    wake(s);
}

static void source_ready(struct call *call)
{
    struct stream *s = container_of(call, struct stream, call);
    if (s->source != NULL) {
        wake(s);
    }
}

static void finish(struct call *call, enum grpc_code code, const char *text)
{
    stream_finish(of(call), code, bytes_str(text));
}

static void send_parts(struct call *call, const struct call_part *parts, size_t count)
{
    struct stream *s = of(call);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += parts[i].bytes.len;
    }
    if (s->gzip && length > 0) {
        struct buffer whole = {0};
        for (size_t i = 0; i < count; i++) {
            buffer_append(&whole, parts[i].bytes.data, parts[i].bytes.len);
        }
        queue_packed(s, buffer_bytes(&whole));
        buffer_free(&whole);
    } else {
        frame_put_head(outgoing_room(&s->out, FRAME_HEAD), false, (uint32_t)length);
        for (size_t i = 0; i < count; i++) {
            outgoing_share(&s->out, parts[i].bytes, parts[i].owner);
        }
        s->sent_bytes += FRAME_HEAD + length;
    }
    wake(s);
}

static void send_framed(struct call *call, const struct call_part *parts, size_t count)
{
    struct stream *s = of(call);
    for (size_t i = 0; i < count; i++) {
        outgoing_share(&s->out, parts[i].bytes, parts[i].owner);
        s->sent_bytes += parts[i].bytes.len;
    }
    wake(s);
}

static void send_headers(struct call *call)
{
    struct stream *s = of(call);
    if (!s->headers_sent) {
        send_head(s);
    }
}

static bool writable(struct call *call)
{
    struct stream *s = container_of(call, struct stream, call);
    s->was_full |= s->out.total >= STREAM_QUEUE_BYTES;
    return s->out.total < STREAM_QUEUE_BYTES;
}

static size_t queued(const struct call *call)
{
    return container_of(call, struct stream, call)->out.total;
}

static void hold(struct call *call)
{
    of(call)->held = true;
}

static void resume(struct call *call)
{
    struct stream *s = of(call);
    s->held = false;
    if (list_empty(&s->resume_node)) {
        list_push_back(&s->http2->server->resumed, &s->resume_node);
        loop_again(s->http2->server->loop);
    }
}

static void give_lane(struct call *call)
{
    lane_give(of(call));
}

static struct bytes metadata(const struct call *call, const char *name)
{
    const struct stream *s = container_of(call, struct stream, call);
    size_t len = strlen(name);
    for (const struct stream_header *h = s->headers; h != NULL; h = h->next) {
        if (h->name.len == len && memcmp(h->name.data, name, len) == 0) {
            return h->value;
        }
    }
    return (struct bytes){0};
}

const struct call_ops stream_ops = {
    .metadata = metadata,
    .reply = reply,
    .reply_encoded = reply_encoded,
    .reply_stream = reply_stream,
    .source_ready = source_ready,
    .finish = finish,
    .send = send_parts,
    .send_framed = send_framed,
    .headers = send_headers,
    .writable = writable,
    .queued = queued,
    .hold = hold,
    .resume = resume,
    .wait = give_lane,
};
