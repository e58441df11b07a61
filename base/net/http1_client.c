#include "base/net/http1_client.h"
#include "base/check.h"
#include <stdio.h>
#include <stdlib.h>

/* A timer that fires so late says that this process was stopped, not that the other side was silent. */
#define STOPPED_MS 1000

static const struct connection_protocol protocol;

static void drop_connection(struct http1_client *c)
{
    if (c->connection != NULL) {
        struct connection *connection = c->connection;
        c->connection = NULL;
        connection->state = NULL;
        connection_close(connection);
    }
}

static void forget_answer(struct http1_client *c)
{
    arena_reset(&c->arena);
    c->headers = NULL;
    c->header_count = 0;
}

/* --- the end of a request -------------------------------------------------------------------------------------------
 */

static void finish(struct http1_client *c, const char *failure)
{
    loop_timer_stop(c->loop, &c->idle_timer);
    loop_timer_stop(c->loop, &c->total_timer);
    dial_cancel(&c->dial);
    if (failure != NULL || !c->keep || !c->request_done || c->in.len > 0) {
        drop_connection(c);
    }
    c->phase = HTTP1_CLIENT_IDLE;
    c->on_done(c, failure);
}

static void begin_dial(struct http1_client *c);

/* The connection is lost. */
static void broken(struct http1_client *c, const char *failure)
{
    if (c->phase == HTTP1_CLIENT_IDLE) {
        return;
    }
    if (c->reused && !c->answered && c->in.len == 0 && !c->ask.streamed) {
        begin_dial(c);
        return;
    }
    finish(c, failure);
}

static void on_total(struct loop_timer *timer)
{
    finish(container_of(timer, struct http1_client, total_timer), "timeout");
}

static uint64_t idle_limit(const struct http1_client *c)
{
    return c->request_done && c->ask.answer_ms != 0 && !c->answered ? c->ask.answer_ms : c->ask.idle_ms;
}

/* The timer isn't moved with each byte; when it fires, it looks when the last one was. */
static void watch_idle(struct http1_client *c)
{
    uint64_t limit = idle_limit(c);
    if (limit != 0) {
        loop_timer_set(c->loop, &c->idle_timer, c->active_ms + limit);
    }
}

static void on_idle(struct loop_timer *timer)
{
    struct http1_client *c = container_of(timer, struct http1_client, idle_timer);
    uint64_t now = loop_now_ms(c->loop);
    if (c->starved || (c->connection != NULL && !c->connection->reading)) {
        c->active_ms = now; /* it is this side that makes the pause */
    }
    uint64_t due = c->active_ms + idle_limit(c);
    if (now >= due + STOPPED_MS && !c->spared) { /* what came meanwhile is still to be read */
        c->spared = true;
        loop_timer_set(c->loop, &c->idle_timer, now + STOPPED_MS / 4);
    } else if (now >= due) {
        finish(c, "i/o timeout");
    } else {
        c->spared = false;
        watch_idle(c);
    }
}

/* --- sending --------------------------------------------------------------------------------------------------------
 */

static size_t put(const void *data, size_t len, size_t *sent, uint8_t *out, size_t cap)
{
    size_t n = len - *sent < cap ? len - *sent : cap;
    if (n > 0) {
        memcpy(out, (const uint8_t *)data + *sent, n);
        *sent += n;
    }
    return n;
}

static void body_sent(struct http1_client *c)
{
    c->request_done = true;
    c->active_ms = loop_now_ms(c->loop);
    watch_idle(c);
}

/* The end of a streamed body; false when it isn't as long as was said. */
static size_t end_of_stream(struct http1_client *c, uint8_t *out)
{
    if (c->ask.length_known) {
        if (c->streamed_bytes != c->ask.length) {
            broken(c, "the body is shorter than its length");
            return 0;
        }
        body_sent(c);
        return 0;
    }
    body_sent(c);
    memcpy(out, "0\r\n\r\n", 5);
    return 5;
}

static size_t put_streamed(struct http1_client *c, uint8_t *out, size_t cap)
{
    bool chunked = !c->ask.length_known;
    size_t before = chunked ? HTTP1_CHUNK_FRONT : 0;
    size_t room = cap - (chunked ? HTTP1_CHUNK_FRONT + HTTP1_CHUNK_BACK : 0);
    ssize_t n = c->on_room(c, out + before, room);
    c->starved = n == 0;
    if (n == -1) {
        return end_of_stream(c, out);
    }
    if (n < 0 || (c->ask.length_known && (uint64_t)n > c->ask.length - c->streamed_bytes)) {
        broken(c, n < 0 ? "the body cannot be had" : "the body is longer than its length");
        return 0;
    }
    c->streamed_bytes += (uint64_t)n;
    if (n > 0) {
        c->active_ms = loop_now_ms(c->loop);
        connection_flush(c->connection); /* there is more, or the end */
    }
    return n == 0 || !chunked ? (size_t)n : http1_enchunk(out, (size_t)n);
}

static size_t produce(struct connection *connection, uint8_t *out, size_t cap)
{
    struct http1_client *c = connection->state;
    if (c == NULL || c->phase == HTTP1_CLIENT_IDLE || c->request_done) {
        return 0;
    }
    size_t n = put(c->request.data, c->request.len, &c->request_sent, out, cap);
    if (!c->ask.streamed) {
        n += put(c->ask.body.data, c->ask.body.len, &c->body_sent, out + n, cap - n);
        if (c->request_sent == c->request.len && c->body_sent == c->ask.body.len) {
            body_sent(c);
        }
    }
    if (n > 0) {
        c->active_ms = loop_now_ms(c->loop);
    }
    if (c->ask.streamed && c->request_sent == c->request.len && cap - n >= 4096) {
        n += put_streamed(c, out + n, cap - n); /* may be the end of the request, and of the client */
    }
    return n;
}

/* --- the answer -----------------------------------------------------------------------------------------------------
 */

static void complete(struct http1_client *c)
{
    finish(c, NULL);
}

static bool without_body(const struct http1_client *c)
{
    return c->status == 204 || c->status == 304 || c->head_only;
}

/* True when the body is next. False: not all there, or the request is at its end. */
static bool read_head(struct http1_client *c)
{
    size_t len = http1_head_length(buffer_bytes(&c->in));
    if (len > HTTP1_HEAD_BYTES || (len == 0 && c->in.len > HTTP1_HEAD_BYTES)) {
        finish(c, "the answer's head is too long");
        return false;
    }
    if (len == 0) {
        return false;
    }
    struct bytes text = arena_copy(&c->arena, bytes_of(c->in.data, len));
    const char *reason;
    buffer_consume(&c->in, len);
    if (http1_parse_answer(text, &c->arena, &c->head, &reason) != 0) {
        finish(c, reason);
        return false;
    }
    if (c->head.status < 200) { /* 100 Continue */
        arena_reset(&c->arena);
        return c->head.status != 101 && c->in.len > 0 ? read_head(c) : false;
    }
    c->status = c->head.status;
    c->headers = c->head.headers;
    c->header_count = c->head.header_count;
    c->answered = true;
    c->phase = HTTP1_CLIENT_BODY;
    c->chunks = (struct http1_chunks){.state = HTTP1_SIZE};
    c->body_left = c->head.length;
    bool until_close = !c->head.chunked && !c->head.has_length && !without_body(c);
    c->keep = !c->head.close && !until_close && (c->head.minor == 1 || c->head.keep_alive);
    if (c->on_head != NULL) {
        c->on_head(c);
    }
    return c->phase == HTTP1_CLIENT_BODY;
}

static void give(struct http1_client *c, struct bytes piece)
{
    if (piece.len > 0 && c->on_data != NULL) {
        c->on_data(c, piece);
    }
}

/* Gives out what is there. in: read, not yet in c->in. */
static void read_chunked(struct http1_client *c, struct bytes in)
{
    struct connection *connection = c->connection;
    while (c->connection == connection && c->phase == HTTP1_CLIENT_BODY) {
        struct bytes piece;
        if (http1_dechunk_next(&c->chunks, &in, &piece) != 0) {
            finish(c, "malformed chunked encoding");
            return;
        }
        if (piece.len == 0) {
            break;
        }
        give(c, piece);
    }
    if (c->connection == connection && c->phase == HTTP1_CLIENT_BODY && c->chunks.state == HTTP1_DONE) {
        c->keep = c->keep && in.len == 0;
        complete(c);
    }
}

static void read_plain(struct http1_client *c, struct bytes in)
{
    struct connection *connection = c->connection;
    size_t n = c->head.has_length && c->body_left < in.len ? (size_t)c->body_left : in.len;
    c->keep = c->keep && n == in.len;
    if (c->head.has_length) {
        c->body_left -= n;
    }
    give(c, bytes_of(in.data, n));
    if (c->connection == connection && c->phase == HTTP1_CLIENT_BODY && c->head.has_length && c->body_left == 0) {
        complete(c);
    }
}

static void read_body(struct http1_client *c, struct bytes in)
{
    if (without_body(c)) {
        c->keep = c->keep && in.len == 0;
        complete(c);
    } else if (c->head.chunked) {
        read_chunked(c, in);
    } else {
        read_plain(c, in);
    }
}

static void on_read(struct connection *connection, struct bytes in)
{
    struct http1_client *c = connection->state;
    if (c == NULL) {
        return;
    }
    if (c->phase == HTTP1_CLIENT_IDLE) { /* nobody asked */
        drop_connection(c);
        return;
    }
    c->active_ms = loop_now_ms(c->loop);
    if (c->phase == HTTP1_CLIENT_BODY) {
        read_body(c, in);
        return;
    }
    buffer_append(&c->in, in.data, in.len);
    if (read_head(c)) {
        struct buffer rest = c->in; /* the body's first bytes */
        c->in = (struct buffer){0};
        read_body(c, buffer_bytes(&rest));
        buffer_free(&rest);
    }
}

static void on_end(struct connection *connection)
{
    struct http1_client *c = connection->state;
    bool complete_now = c != NULL && c->phase == HTTP1_CLIENT_BODY && !c->head.chunked && !c->head.has_length;
    if (complete_now) {
        c->keep = false;
        complete(c);
    } else {
        connection_close(connection);
    }
}

static void on_close(struct connection *connection)
{
    struct http1_client *c = connection->state;
    connection->state = NULL;
    if (c != NULL) {
        c->connection = NULL;
        broken(c, c->in.len > 0 || c->answered ? "unexpected EOF" : "EOF");
    }
}

static const struct connection_protocol protocol = {
    .on_read = on_read,
    .on_end = on_end,
    .produce = produce,
    .on_close = on_close,
};

/* --- the beginning --------------------------------------------------------------------------------------------------
 */

static void begin_request(struct http1_client *c)
{
    forget_answer(c);
    c->in.len = 0;
    c->phase = HTTP1_CLIENT_HEAD;
    c->request_sent = c->body_sent = 0;
    c->streamed_bytes = 0;
    c->request_done = c->starved = c->answered = c->spared = false;
    c->status = 0;
    c->active_ms = loop_now_ms(c->loop);
    watch_idle(c);
    connection_flush(c->connection);
}

static void dialled(struct dial *dial, int fd, const char *failure)
{
    struct http1_client *c = dial->owner;
    if (fd < 0) {
        finish(c, failure);
        return;
    }
    c->connection = connection_new(c->loop, fd, &protocol, c);
    begin_request(c);
}

static void begin_dial(struct http1_client *c)
{
    c->phase = HTTP1_CLIENT_DIAL;
    c->reused = false;
    c->dial.on_done = dialled;
    c->dial.owner = c;
    loop_timer_stop(c->loop, &c->idle_timer);
    dial_start(&c->dial, c->loop, c->host, c->port, c->ask.dial_ms);
}

static void put_request(struct http1_client *c)
{
    const struct http1_ask *a = &c->ask;
    struct buffer *out = &c->request;
    out->len = 0;
    buffer_printf(out, "%s %s HTTP/1.1\r\nHost: ", a->method, a->target);
    if (a->authority != NULL || a->port < 0) {
        buffer_printf(out, "%s\r\n", a->authority != NULL ? a->authority : "localhost");
    } else {
        buffer_printf(out, strchr(a->host, ':') != NULL ? "[%s]:%d\r\n" : "%s:%d\r\n", a->host, a->port);
    }
    buffer_append(out, a->headers.data, a->headers.len);
    if (a->streamed && !a->length_known) {
        buffer_printf(out, "Transfer-Encoding: chunked\r\n");
    } else if (a->streamed || a->body.len > 0 || strcmp(a->method, "POST") == 0) {
        buffer_printf(out, "Content-Length: %llu\r\n", (unsigned long long)(a->streamed ? a->length : a->body.len));
    }
    buffer_append(out, "\r\n", 2);
}

void http1_client_start(struct http1_client *c, const struct http1_ask *ask)
{
    CHECK(c->phase == HTTP1_CLIENT_IDLE, "asked twice");
    c->ask = *ask;
    put_request(c);
    if (c->connection != NULL && (c->port != ask->port || strcmp(c->host, ask->host) != 0)) {
        drop_connection(c);
    }
    snprintf(c->host, sizeof c->host, "%s", ask->host);
    c->port = ask->port;
    c->head_only = strcmp(ask->method, "HEAD") == 0;
    c->idle_timer.fire = on_idle;
    c->total_timer.fire = on_total;
    if (ask->total_ms != 0) {
        loop_timer_set(c->loop, &c->total_timer, loop_now_ms(c->loop) + ask->total_ms);
    }
    if (c->connection == NULL) {
        begin_dial(c);
        return;
    }
    c->reused = true;
    begin_request(c);
}

void http1_client_more(struct http1_client *c)
{
    if (c->connection != NULL && c->phase != HTTP1_CLIENT_IDLE && c->phase != HTTP1_CLIENT_DIAL && !c->request_done) {
        connection_flush(c->connection);
    }
}

void http1_client_pause(struct http1_client *c)
{
    if (c->connection != NULL) {
        connection_read_pause(c->connection);
    }
}

void http1_client_resume(struct http1_client *c)
{
    if (c->connection != NULL) {
        connection_read_resume(c->connection);
    }
}

void http1_client_close(struct http1_client *c)
{
    if (c->loop == NULL) {
        return;
    }
    loop_timer_stop(c->loop, &c->idle_timer);
    loop_timer_stop(c->loop, &c->total_timer);
    dial_cancel(&c->dial);
    drop_connection(c);
    c->phase = HTTP1_CLIENT_IDLE;
    buffer_free(&c->request);
    buffer_free(&c->in);
    arena_free(&c->arena);
    c->headers = NULL;
    c->header_count = 0;
}

struct bytes http1_client_header(const struct http1_client *c, const char *name)
{
    return http1_find_header(c->headers, c->header_count, name);
}
