/* A connection that speaks HTTP/2: nghttp2's session on it, its floods and limits, keepalive, and the way down.
 *
 * nghttp2 parses frames, HPACK and flow control. HTTP's own rules about headers are checked in stream_head.c instead
 * (option no_http_messaging), because grpc-go answers some of what nghttp2 would reset. */
#include "base/check.h"
#include "grpc/server_state.h"
#include <stdlib.h>

/* Frames that wait behind a socket that takes nothing; above it the connection is not read. */
#define OUTBOUND_FRAMES 1000
/* Resets of streams that a client may do: cancelling is ordinary work, a flood of it isn't (CVE-2023-44487). */
#define RESET_BURST 20000
#define RESETS_A_SECOND 10000
#define CONTINUATIONS 16
#define MAX_PING_STRIKES 2                          /* grpc-go */
#define IDLE_PING_MS ((uint64_t)2 * 60 * 60 * 1000) /* pings without a stream: not closer than this */
#define DRAIN_MS 1000                               /* for the answer to the ping behind the first GOAWAY */

static const uint8_t keepalive_ping[8] = "kdgalive";
static const uint8_t drain_ping[8] = {1, 6, 1, 8, 0, 3, 3, 9}; /* grpc-go's */

void http2_flush(struct http2 *h)
{
    connection_flush(h->connection);
}

static uint64_t now_ms(const struct http2 *h)
{
    return loop_now_ms(h->server->loop);
}

/* --- time: keepalive, stalled answers, draining ---------------------------------------------------------------------
 */

/* How often stalled answers are looked for. */
static uint64_t check_ms(const struct http2 *h)
{
    return h->server->options.answer_timeout_ms / 3 + 1;
}

static void set_timer(struct http2 *h)
{
    const struct server_options *o = &h->server->options;
    uint64_t at = h->ping_deadline_ms != 0 ? h->ping_deadline_ms : h->last_read_ms + o->keepalive_interval_ms;
    uint64_t check = now_ms(h) + (h->draining ? DRAIN_MS : check_ms(h));
    if ((h->answering > 0 || h->draining) && check < at) {
        at = check;
    }
    loop_timer_set(h->server->loop, &h->timer, at);
}

/* Answers that the client takes nothing of hold memory, lane credit and pinned revisions. */
static void cut_stalled(struct http2 *h)
{
    uint64_t now = now_ms(h);
    list_each(node, &h->streams)
    {
        struct stream *s = container_of(node, struct stream, node);
        if (s->phase == STREAM_ENDED && !s->finished && now - s->progress_ms >= h->server->options.answer_timeout_ms) {
            stream_drop_source(s);
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
            http2_flush(h);
        }
    }
}

static void final_goaway(struct http2 *h)
{
    if (!h->goaway_final) {
        h->goaway_final = true;
        nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                              NGHTTP2_NO_ERROR, NULL, 0);
    }
    http2_flush(h);
}

static void on_timer(struct loop_timer *timer)
{
    struct http2 *h = container_of(timer, struct http2, timer);
    const struct server_options *o = &h->server->options;
    uint64_t now = now_ms(h);
    cut_stalled(h);
    if (h->draining) {
        final_goaway(h);
    }
    if (h->ping_deadline_ms != 0 && now >= h->ping_deadline_ms) {
        connection_close(h->connection);
        return;
    }
    if (h->ping_deadline_ms == 0 && now - h->last_read_ms >= o->keepalive_interval_ms) {
        h->ping_deadline_ms = now + o->keepalive_timeout_ms;
        nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, keepalive_ping);
        http2_flush(h);
    }
    set_timer(h);
}

/* A client's ping: too close ones are strikes (grpc.md, "Keepalive"). nghttp2 answers it. */
static void client_ping(struct http2 *h)
{
    uint64_t now = now_ms(h);
    uint64_t since = h->pinged ? now - h->last_ping_ms : UINT64_MAX;
    h->pinged = true;
    h->last_ping_ms = now;
    if (h->sent_since_ping) {
        h->sent_since_ping = false;
        h->strikes = 0;
        return;
    }
    uint64_t allowed = h->stream_count == 0 ? IDLE_PING_MS : h->server->options.keepalive_min_time_ms;
    if (since >= allowed || ++h->strikes <= MAX_PING_STRIKES) {
        return;
    }
    static const char debug[] = "too_many_pings";
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                          NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)debug, sizeof debug - 1);
    connection_close_when_drained(h->connection);
}

static void ping_answered(struct http2 *h, const uint8_t *data)
{
    if (memcmp(data, drain_ping, sizeof drain_ping) == 0 && h->draining) {
        final_goaway(h);
    }
}

/* --- nghttp2's callbacks --------------------------------------------------------------------------------------------
 */

static uint32_t stream_limit(const struct server *server)
{
    uint32_t limit = server->options.max_concurrent_streams;
    return limit < HTTP2_STREAM_CEILING ? limit : HTTP2_STREAM_CEILING;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    h->block_bytes = 0;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    if (h->stream_count >= stream_limit(h->server) || h->answering >= HTTP2_ANSWERS) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream_new(h, frame->hd.stream_id));
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct http2 *h = user;
    (void)flags;
    h->block_bytes += name_len + value_len + 32;
    if (h->block_bytes > HTTP2_HEADER_BOMB_BYTES) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL || s->phase != STREAM_HEAD) {
        return 0; /* trailers of a request mean nothing to gRPC */
    }
    if (!stream_header(s, bytes_of(name, name_len), bytes_of(value, value_len))) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, s->reset_code);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static void frame_of_stream(struct stream *s, const nghttp2_frame *frame)
{
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS && s->phase == STREAM_HEAD) {
        s->half_closed = end; /* so that a refusal needs no reset */
        stream_headers_done(s);
    }
    if (end) {
        stream_end(s);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: {
        struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (s != NULL) {
            frame_of_stream(s, frame);
        }
        break;
    }
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            client_ping(h);
        } else {
            ping_answered(h, frame->ping.opaque_data);
        }
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct http2 *h = user;
    (void)flags;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s != NULL) {
        stream_data(s, bytes_of(data, len));
    }
    if (h->waiting > HTTP2_WAITING_BYTES) {
        h->unconsumed += len;
    } else {
        nghttp2_session_consume_connection(session, len);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    if (frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    h->sent_since_ping = true;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (s != NULL) {
            stream_sent_end(s);
        }
    }
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user)
{
    struct http2 *h = user;
    (void)session, (void)frame, (void)source;
    pump_head(&h->pump, head, len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    (void)error_code, (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s != NULL) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        stream_closed(s, ERR_CONTEXT_CANCELED);
    }
    return 0;
}

void http2_globals(struct server *server)
{
    nghttp2_session_callbacks *c;
    CHECK(nghttp2_session_callbacks_new(&c) == 0 && nghttp2_option_new(&server->session_options) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    server->callbacks = c;

    nghttp2_option *o = server->session_options;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_stream_reset_rate_limit(o, RESET_BURST, RESETS_A_SECOND);
    nghttp2_option_set_max_continuations(o, CONTINUATIONS);
    /* Answers without HPACK's dynamic table: some 50 bytes more on the wire, but a quarter less memory is touched for a
     * call, and with a thousand connections it is cold memory that costs (docs/performance.md). */
    nghttp2_option_set_max_deflate_dynamic_table_size(o, 0);
    nghttp2_option_set_max_outbound_ack(o, OUTBOUND_FRAMES);
}

/* --- the connection's side ------------------------------------------------------------------------------------------
 */

void http2_renew(struct http2 *h)
{
    if (h->unconsumed > 0 && h->waiting <= HTTP2_WAITING_BYTES) {
        nghttp2_session_consume_connection(h->session, h->unconsumed);
        h->unconsumed = 0;
        http2_flush(h);
    }
}

static void end_if_over(struct http2 *h)
{
    bool drained = h->goaway_final && h->stream_count == 0;
    bool dead = nghttp2_session_want_read(h->session) == 0 && nghttp2_session_want_write(h->session) == 0;
    if (drained || dead) {
        connection_close_when_drained(h->connection);
    }
}

static void on_read(struct connection *connection, struct bytes in)
{
    struct http2 *h = connection->state;
    h->last_read_ms = now_ms(h);
    h->ping_deadline_ms = 0;
    ssize_t n = nghttp2_session_mem_recv(h->session, in.data, in.len);
    if (n < 0) {
        /* A flood, a bomb or garbage: the client is told if it still listens. */
        nghttp2_session_terminate_session(h->session, n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR
                                                                                        : NGHTTP2_ENHANCE_YOUR_CALM);
        connection_close_when_drained(connection);
        return;
    }
    if (connection_blocked(connection) && nghttp2_session_get_outbound_queue_size(h->session) > OUTBOUND_FRAMES) {
        connection_read_pause(connection);
    }
    http2_flush(h);
}

static size_t produce(struct connection *connection, uint8_t *out, size_t cap)
{
    struct http2 *h = connection->state;
    h->late = false;
    ssize_t n = pump_run(&h->pump, h->session, out, cap);
    if (n < 0) {
        connection_close(connection);
        return 0;
    }
    if (h->answering > 0 && h->timer.node.key > now_ms(h) + check_ms(h)) {
        set_timer(h);
    }
    end_if_over(h);
    if (h->late) {
        connection_flush_more(connection);
    }
    return (size_t)n;
}

static void on_drained(struct connection *connection)
{
    if (!connection->reading) {
        connection_read_resume(connection);
    }
}

static void on_close(struct connection *connection)
{
    struct http2 *h = connection->state;
    struct server *server = h->server;
    while (!list_empty(&h->streams)) {
        struct stream *s = list_first(&h->streams, struct stream, node);
        stream_closed(s, server->stopping ? ERR_STOPPED : ERR_CONTEXT_CANCELED);
    }
    nghttp2_session_del(h->session);
    loop_timer_stop(server->loop, &h->timer);
    list_remove(&h->node);
    server->session_count--;
    server->received_bytes += connection->received_bytes;
    server->sent_bytes += connection->sent_bytes;
    pump_free(&h->pump);
    free(h);
    server_session_gone(server);
}

static const struct connection_protocol protocol = {
    .on_read = on_read,
    .produce = produce,
    .on_drained = on_drained,
    .on_close = on_close,
};

/* etcd announces the frame size, and the number of streams only if it is limited. */
static void send_settings(struct http2 *h)
{
    nghttp2_settings_entry settings[2] = {{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384}};
    size_t n = 1;
    if (h->server->options.max_concurrent_streams != UINT32_MAX) {
        settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                 h->server->options.max_concurrent_streams};
    }
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, n);
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONNECTION_WINDOW);
}

void http2_accept(struct server *server, struct connection *connection, struct bytes already_read)
{
    struct http2 *h = mem_zalloc(sizeof *h);
    h->server = server;
    h->connection = connection;
    h->last_read_ms = loop_now_ms(server->loop);
    h->timer.fire = on_timer;
    list_init(&h->streams);
    list_push_back(&server->sessions, &h->node);
    server->session_count++;
    CHECK(nghttp2_session_server_new3(&h->session, server->callbacks, h, server->session_options,
                                      pool_mem(&server->memory)) == 0);
    send_settings(h);
    set_timer(h);
    connection_switch(connection, &protocol, h, already_read);
    if (server->stopping && !connection->closing) {
        http2_drain(h);
    }
}

void http2_cut_streams(struct http2 *h, bool (*chosen)(const struct call *call), int error)
{
    list_each(node, &h->streams)
    {
        stream_cut(container_of(node, struct stream, node), chosen, error);
    }
    http2_flush(h);
}

void http2_drain(struct http2 *h)
{
    h->draining = true;
    nghttp2_submit_shutdown_notice(h->session);
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, drain_ping);
    list_each(node, &h->streams) /* after GOAWAY: their clients don't come again on this connection */
    {
        stream_stop(container_of(node, struct stream, node));
    }
    set_timer(h);
    http2_flush(h);
}
