/* A client's connection: dialing, the HTTP/2 session, and the calls on it. */
#include "base/check.h"
#include "grpc/client_state.h"
#include "grpc/gzip.h"
#include "grpc/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MOST_MS 120000
#define QUEUE_BYTES ((size_t)256 * 1024)

static uint64_t now_ms(const struct client_link *link)
{
    return loop_now_ms(link->client->loop);
}

/* --- messages and status of a call ----------------------------------------------------------------------------------
 */

static void fail_call(struct client_call *call, enum grpc_code code, const char *text)
{
    client_link_forget(call);
    client_end(call, code, text);
}

static void read_messages(struct client_call *call, struct bytes in)
{
    while (!call->ended && !call->held) {
        struct bytes message;
        bool compressed;
        enum frame_result result = frame_read(&call->reader, &in, &message, &compressed);
        if (result == FRAME_MORE) {
            return;
        }
        if (result == FRAME_TOO_LONG) {
            fail_call(call, GRPC_RESOURCE_EXHAUSTED,
                      arena_printf(&call->arena, "grpc: received message larger than max (%u vs. %zu)",
                                   call->reader.length, call->reader.limit));
            return;
        }
        if (result == FRAME_BAD_FLAG) {
            fail_call(call, GRPC_INTERNAL,
                      arena_printf(&call->arena, "grpc: received unexpected payload format %u", call->reader.head[0]));
            return;
        }
        struct buffer unpacked = {0};
        if (compressed && gzip_unpack(message, call->reader.limit, &unpacked, NULL, NULL) != 0) {
            buffer_free(&unpacked);
            fail_call(call, GRPC_INTERNAL, "grpc: failed to decompress the received message");
            return;
        }
        if (call->handler->on_message != NULL) {
            call->handler->on_message(call, compressed ? buffer_bytes(&unpacked) : message);
        }
        buffer_free(&unpacked);
    }
    if (call->held && !call->ended) {
        buffer_append(&call->backlog, in.data, in.len);
    }
}

/* RFC-less but common: what an HTTP status means when there is no grpc-status. */
static enum grpc_code code_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static void stream_over(struct client_call *call, uint32_t error_code)
{
    if (call->has_status) {
        struct bytes text = text_percent_decode(call->text, &call->arena);
        client_end(call, call->code, arena_printf(&call->arena, "%.*s", (int)text.len, text.data));
    } else if (call->http_status != 0 && call->http_status != 200) {
        client_end(
            call, code_of_http(call->http_status),
            arena_printf(&call->arena, "unexpected HTTP status code received from server: %u", call->http_status));
    } else if (error_code == NGHTTP2_REFUSED_STREAM) {
        client_end(call, GRPC_UNAVAILABLE, "stream terminated by RST_STREAM with error code: REFUSED_STREAM");
    } else if (error_code == NGHTTP2_CANCEL) {
        client_end(call, GRPC_CANCELLED, "stream terminated by RST_STREAM with error code: CANCEL");
    } else if (error_code != NGHTTP2_NO_ERROR) {
        client_end(call, GRPC_INTERNAL,
                   arena_printf(&call->arena, "stream terminated by RST_STREAM with error code: %s",
                                nghttp2_http2_strerror(error_code)));
    } else {
        client_end(call, GRPC_INTERNAL, "server closed the stream without sending trailers");
    }
}

void client_hold(struct client_call *call, bool hold)
{
    call->held = hold;
    if (hold || call->backlog.len == 0) {
        return;
    }
    struct buffer backlog = call->backlog;
    call->backlog = (struct buffer){0};
    bool outer = call->in_callback;
    call->in_callback = true;
    client_link_consume(call, backlog.len);
    read_messages(call, buffer_bytes(&backlog));
    buffer_free(&backlog);
    if (call->over && call->backlog.len == 0) {
        stream_over(call, call->over_code);
    }
    call->in_callback = outer;
    if (!outer) {
        client_call_released(call);
    }
}

/* --- nghttp2's callbacks --------------------------------------------------------------------------------------------
 */

static struct client_call *call_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct client_call *call = call_of(session, frame->hd.stream_id);
    struct bytes n = bytes_of(name, name_len), v = bytes_of(value, value_len);
    (void)flags, (void)user;
    if (call == NULL) {
        return 0;
    }
    if (bytes_equal(n, bytes_str("grpc-status"))) {
        unsigned code = 0;
        for (size_t i = 0; i < v.len && i < 4; i++) {
            code = code * 10 + (unsigned)(v.data[i] - '0');
        }
        call->has_status = true;
        call->code = code > GRPC_UNAUTHENTICATED ? GRPC_UNKNOWN : (enum grpc_code)code;
    } else if (bytes_equal(n, bytes_str("grpc-message"))) {
        call->text = arena_copy(&call->arena, v);
    } else if (bytes_equal(n, bytes_str(":status")) && v.len == 3) {
        call->http_status = (unsigned)((v.data[0] - '0') * 100 + (v.data[1] - '0') * 10 + (v.data[2] - '0'));
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct client_link *link = user;
    if (frame->hd.type == NGHTTP2_SETTINGS) {
        link->greeted = true;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        link->draining = true;
    } else if (frame->hd.type == NGHTTP2_HEADERS) {
        struct client_call *call = call_of(session, frame->hd.stream_id);
        if (call != NULL && !call->headers_told) {
            call->headers_told = true;
            if (call->handler->on_headers != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
                call->in_callback = true;
                call->handler->on_headers(call);
                client_call_released(call);
            }
        }
    }
    return 0;
}

void client_link_consume(struct client_call *call, size_t n)
{
    if (call->link != NULL && call->id != 0 && n > 0) {
        nghttp2_session_consume_stream(call->link->session, call->id, n);
        connection_flush(call->link->connection);
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct client_call *call = call_of(session, id);
    (void)flags, (void)user;
    nghttp2_session_consume_connection(session, len);
    if (call == NULL) {
        return 0;
    }
    if (call->held || call->backlog.len > 0) {
        buffer_append(&call->backlog, data, len);
        return 0;
    }
    call->in_callback = true;
    read_messages(call, bytes_of(data, len));
    if (!call->ended) {
        client_link_consume(call, len - call->backlog.len);
    }
    client_call_released(call);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct client_call *call = call_of(session, id);
    struct client_link *link = user;
    link->call_count--;
    if (call != NULL) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        call->id = 0;
        call->over = call->backlog.len > 0;
        call->over_code = error_code;
        if (!call->over) {
            stream_over(call, error_code);
        }
    }
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user)
{
    struct client_link *link = user;
    (void)session, (void)frame, (void)source;
    pump_head(&link->pump, head, len);
    return 0;
}

static ssize_t read_payload(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *user)
{
    struct client_link *link = user;
    struct client_call *call = call_of(session, id);
    (void)buf, (void)source;
    if (call == NULL) {
        return NGHTTP2_ERR_DEFERRED; /* forgotten: its reset is under way */
    }
    uint8_t *payload = pump_payload(&link->pump, length);
    if (payload == NULL) {
        return NGHTTP2_ERR_PAUSE;
    }
    size_t n = outgoing_take(&call->out, payload, length);
    if (call->was_full && call->out.total < QUEUE_BYTES / 2) {
        call->was_full = false;
        if (call->handler->on_writable != NULL) {
            call->handler->on_writable(call);
        }
    }
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (call->half_close && call->out.total == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

void client_link_globals(struct client *client)
{
    nghttp2_session_callbacks *c;
    CHECK(nghttp2_session_callbacks_new(&c) == 0 && nghttp2_option_new(&client->session_options) == 0);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    client->callbacks = c;
    nghttp2_option_set_no_auto_window_update(client->session_options, 1);
    nghttp2_option_set_no_http_messaging(client->session_options, 1);
}

/* --- calls on the connection ----------------------------------------------------------------------------------------
 */

static nghttp2_nv nv(struct bytes name, struct bytes value, uint8_t flags)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data, name.len, value.len, flags};
}

static size_t put_metadata(const struct client_header *h, nghttp2_nv *out, size_t room)
{
    size_t n = 0;
    for (; h != NULL && n < room; h = h->next) {
        out[n++] = nv(h->name, h->value, NGHTTP2_NV_FLAG_NONE);
    }
    return n;
}

void client_link_start(struct client_link *link, struct client_call *call)
{
    enum { MOST = 64 };
    nghttp2_nv head[MOST];
    char timeout[16];
    size_t n = 0;
    head[n++] = nv(bytes_str(":method"), bytes_str("POST"), 0);
    head[n++] = nv(bytes_str(":scheme"), bytes_str("http"), 0);
    head[n++] = nv(bytes_str(":path"), bytes_str(call->path), 0);
    head[n++] = nv(bytes_str(":authority"), bytes_str(link->endpoint->authority), 0);
    head[n++] = nv(bytes_str("content-type"), bytes_str("application/grpc"), 0);
    head[n++] = nv(bytes_str("user-agent"), bytes_str(link->client->user_agent), 0);
    head[n++] = nv(bytes_str("te"), bytes_str("trailers"), 0);
    if (call->deadline_ms != 0) {
        uint64_t now = loop_clock_ns() / 1000000;
        size_t len = text_put_timeout(timeout, call->deadline_ms > now ? call->deadline_ms - now : 1);
        head[n++] = nv(bytes_str("grpc-timeout"), bytes_of(timeout, len), NGHTTP2_NV_FLAG_NO_INDEX);
    }
    n += put_metadata(link->client->metadata, head + n, MOST - n);
    n += put_metadata(call->metadata, head + n, MOST - n);
    call->link = link;
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_payload};
    call->id = nghttp2_submit_request(link->session, NULL, head, n, &provider, call);
    CHECK(call->id > 0, "request: %s", nghttp2_strerror(call->id));
    list_push_back(&link->calls, &call->node);
    link->call_count++;
    connection_flush(link->connection);
}

void client_link_wake(struct client_call *call)
{
    if (call->link == NULL || call->id == 0) {
        return;
    }
    if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(call->link->session, call->id);
    }
    connection_flush(call->link->connection);
}

void client_link_forget(struct client_call *call)
{
    if (call->link == NULL || call->id == 0) {
        return;
    }
    nghttp2_session *session = call->link->session;
    nghttp2_session_set_stream_user_data(session, call->id, NULL);
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
    connection_flush(call->link->connection);
    call->id = 0;
}

/* --- the connection -------------------------------------------------------------------------------------------------
 */

static void set_keepalive(struct client_link *link)
{
    const struct client_options *o = &link->client->options;
    if (o->keepalive_time_ms != 0) {
        uint64_t wait = link->ping_sent ? o->keepalive_timeout_ms : o->keepalive_time_ms;
        loop_timer_set(link->client->loop, &link->timer, now_ms(link) + wait);
    }
}

static void on_read(struct connection *connection, struct bytes in)
{
    struct client_link *link = connection->state;
    link->last_read_ms = now_ms(link);
    link->ping_sent = false;
    ssize_t n = nghttp2_session_mem_recv(link->session, in.data, in.len);
    if (n < 0 || (link->draining && list_empty(&link->calls))) {
        connection_close(connection);
        return;
    }
    connection_flush(connection);
}

static size_t produce(struct connection *connection, uint8_t *out, size_t cap)
{
    struct client_link *link = connection->state;
    ssize_t n = pump_run(&link->pump, link->session, out, cap);
    if (n < 0) {
        connection_close(connection);
        return 0;
    }
    return (size_t)n;
}

static void end_calls(struct client_link *link)
{
    while (!list_empty(&link->calls)) {
        struct client_call *call = list_first(&link->calls, struct client_call, node);
        call->id = 0;
        call->link = NULL;
        if (link->client->freeing) {
            client_end(call, GRPC_CANCELLED, "context canceled");
        } else if (!link->greeted) {
            client_end(call, GRPC_UNAVAILABLE, "connection error: desc = \"error reading server preface: EOF\"");
        } else {
            client_end(call, GRPC_UNAVAILABLE, "error reading from server: EOF");
        }
    }
}

static void on_close(struct connection *connection)
{
    struct client_link *link = connection->state;
    link->phase = LINK_IDLE;
    link->connection = NULL;
    loop_timer_stop(link->client->loop, &link->timer);
    end_calls(link);
    nghttp2_session_del(link->session);
    link->session = NULL;
    pump_free(&link->pump);
    link->pump = (struct pump){0};
    if (!list_empty(&link->client->waiting) && link->phase == LINK_IDLE && !link->client->freeing) {
        client_link_dial(link);
    }
}

static const struct connection_protocol protocol = {
    .on_read = on_read,
    .produce = produce,
    .on_close = on_close,
};

static void greet(struct client_link *link)
{
    uint32_t window = link->client->options.window_bytes;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
    };
    nghttp2_session_client_new2(&link->session, link->client->callbacks, link, link->client->session_options);
    nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings, 2);
    if (window > 65535) {
        uint64_t whole = (uint64_t)window * 4;
        nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0,
                                              whole > INT32_MAX ? INT32_MAX : (int32_t)whole);
    }
}

static void back_off(struct client_link *link)
{
    link->phase = LINK_BACKOFF;
    link->backoff_ms = link->backoff_ms == 0 ? BACKOFF_FIRST_MS : link->backoff_ms * 8 / 5;
    if (link->backoff_ms > BACKOFF_MOST_MS) {
        link->backoff_ms = BACKOFF_MOST_MS;
    }
    loop_timer_set(link->client->loop, &link->timer, loop_clock_ns() / 1000000 + link->backoff_ms);
}

static void on_dialed(struct dial *dial, int fd, const char *failure)
{
    struct client_link *link = dial->owner;
    if (fd < 0) {
        back_off(link);
        client_link_failed(link, failure);
        return;
    }
    link->backoff_ms = 0;
    link->phase = LINK_READY;
    link->draining = link->greeted = link->ping_sent = false;
    link->call_count = 0;
    greet(link);
    link->connection = connection_new(link->client->loop, fd, &protocol, link);
    connection_flush(link->connection);
    set_keepalive(link);
    client_link_ready(link);
}

static void keep_alive(struct client_link *link)
{
    uint64_t idle = now_ms(link) - link->last_read_ms;
    if (link->ping_sent) {
        connection_close(link->connection);
        return;
    }
    if (idle >= link->client->options.keepalive_time_ms) {
        link->ping_sent = true;
        nghttp2_submit_ping(link->session, NGHTTP2_FLAG_NONE, NULL);
        connection_flush(link->connection);
    }
    set_keepalive(link);
}

static void on_timer(struct loop_timer *timer)
{
    struct client_link *link = container_of(timer, struct client_link, timer);
    if (link->phase == LINK_READY) {
        keep_alive(link);
    } else {
        link->phase = LINK_IDLE;
        if (!list_empty(&link->client->waiting)) {
            client_link_dial(link);
        }
    }
}

void client_link_dial(struct client_link *link)
{
    link->phase = LINK_DIALING;
    link->timer.fire = on_timer;
    link->dial.on_done = on_dialed;
    link->dial.owner = link;
    dial_start(&link->dial, link->client->loop, link->endpoint->host, link->endpoint->port,
               link->client->options.dial_timeout_ms);
}

void client_link_close(struct client_link *link)
{
    dial_cancel(&link->dial);
    loop_timer_stop(link->client->loop, &link->timer);
    if (link->connection != NULL) {
        connection_close(link->connection);
    }
}
