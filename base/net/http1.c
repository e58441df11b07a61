/* One HTTP/1 connection: head, body, handler, answer, and again. Input goes on being read (up to a bound) while a
 * handler works, so that a client that goes away is noticed. */
#include "base/check.h"
#include "base/net/http1_impl.h"
#include <stdlib.h>

#define AHEAD_BYTES ((size_t)64 * 1024) /* input kept while a request is being answered */

void http1_set_timer(struct http1 *h, uint64_t ms, uint64_t otherwise)
{
    struct loop *loop = h->connection->loop;
    loop_timer_set(loop, &h->timer, loop_now_ms(loop) + (ms == 0 ? otherwise : ms));
}

/* --- requests -------------------------------------------------------------------------------------------------------
 */

struct bytes http1_header(const struct http1_request *request, const char *name)
{
    return http1_find_header(request->headers, request->header_count, name);
}

bool http1_method_is(const struct http1_request *request, const char *method)
{
    return bytes_equal(request->method, bytes_str(method));
}

struct bytes http1_query(struct http1_request *request, const char *name, size_t nth)
{
    struct bytes rest = request->query;
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        struct bytes pair = bytes_of(rest.data, len);
        size_t used = end == NULL ? len : len + 1;
        rest = bytes_of(rest.data + used, rest.len - used);
        const uint8_t *equals = pair.len == 0 ? NULL : memchr(pair.data, '=', pair.len);
        size_t key_len = equals == NULL ? pair.len : (size_t)(equals - pair.data);
        struct bytes key, value = bytes_str("");
        if (!http1_unescape(bytes_of(pair.data, key_len), true, &request->arena, &key) ||
            !bytes_equal(key, bytes_str(name))) {
            continue;
        }
        if (equals != NULL &&
            !http1_unescape(bytes_of(equals + 1, pair.len - key_len - 1), true, &request->arena, &value)) {
            continue;
        }
        if (nth-- == 0) {
            return value;
        }
    }
    return (struct bytes){0};
}

/* --- input ----------------------------------------------------------------------------------------------------------
 */

/* A refusal before there is a request, in net/http's form: the reason, which begins with the status, is the first
 * line's end and the body, but for one; the connection ends. */
static void refuse(struct http1 *h, const char *reason)
{
    const char *body = strcmp(reason, HTTP1_OTHER_CODING) == 0 ? "Unsupported transfer encoding" : reason;
    buffer_printf(&h->out, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s",
                  reason, body);
    h->phase = HTTP1_LAST;
    h->in.len = 0;
    loop_timer_stop(h->connection->loop, &h->timer);
    connection_close_when_drained(h->connection);
}

static bool split_target(struct http1 *h)
{
    struct http1_request *r = &h->request;
    struct bytes target = h->head.target;
    static const char scheme[] = "http://";
    if (target.len > sizeof scheme - 1 && memcmp(target.data, scheme, sizeof scheme - 1) == 0) { /* absolute form */
        const uint8_t *slash = memchr(target.data + 7, '/', target.len - 7);
        target = slash == NULL ? bytes_str("/") : bytes_of(slash, target.len - (size_t)(slash - target.data));
    }
    const uint8_t *mark = memchr(target.data, '?', target.len);
    size_t path_len = mark == NULL ? target.len : (size_t)(mark - target.data);
    r->query = mark == NULL ? (struct bytes){0} : bytes_of(mark + 1, target.len - path_len - 1);
    bool star = target.len == 1 && target.data[0] == '*';
    return (star || (path_len > 0 && target.data[0] == '/')) &&
           http1_unescape(bytes_of(target.data, path_len), false, &r->arena, &r->path);
}

static void run_handler(struct http1 *h)
{
    struct http1_request *r = &h->request;
    h->phase = HTTP1_HANDLER;
    loop_timer_stop(h->connection->loop, &h->timer);
    r->body = buffer_bytes(&h->body);
    h->in_handler = true;
    h->options->handle(h->options->owner, r);
    h->in_handler = false;
}

static void begin_request(struct http1 *h)
{
    struct http1_request *r = &h->request;
    r->method = h->head.method;
    r->target = h->head.target;
    r->host = h->head.host;
    r->headers = h->head.headers;
    r->header_count = h->head.header_count;
    r->state = NULL;
    r->on_abort = NULL;
    r->on_writable = NULL;
    r->on_body = NULL;
    r->on_body_end = NULL;
    r->on_room = NULL;
    r->body = (struct bytes){0};
    h->paused = false;
    h->body_given = 0;
    h->no_body = bytes_equal(r->method, bytes_str("HEAD"));
    h->keep_alive = h->head.minor == 1 ? !h->head.close : h->head.keep_alive && !h->head.close;
    h->chunks = (struct http1_chunks){.state = HTTP1_SIZE};
    h->was_full = false;
}

static void expect_body(struct http1 *h)
{
    http1_set_timer(h, h->options->body_timeout_ms, 60000);
    if (h->head.expect_continue && (h->head.chunked || h->head.length > 0) && h->head.minor == 1) {
        buffer_printf(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
        connection_flush(h->connection);
    }
}

/* Does somebody want the body as it comes? */
static bool taken(struct http1 *h)
{
    if (h->options->take == NULL) {
        return false;
    }
    h->phase = HTTP1_TAKEN;
    h->in_handler = true;
    bool wanted = h->options->take(h->options->take_owner, &h->request);
    h->in_handler = false;
    if (!wanted) {
        h->phase = HTTP1_HEAD;
    } else if (h->phase == HTTP1_TAKEN) { /* else it was answered at once */
        expect_body(h);
    }
    return wanted;
}

/* True when a head was read and the body is next. */
static bool read_head(struct http1 *h)
{
    while (h->in.len > 0 && (h->in.data[0] == '\r' || h->in.data[0] == '\n')) {
        buffer_consume(&h->in, 1); /* empty lines before a request are skipped (RFC 9112, 2.2) */
    }
    if (h->in.len > 0 && h->served) {
        h->served = false; /* the first byte of another request: now it has the time of a head */
        http1_set_timer(h, h->options->header_timeout_ms, 10000);
    }
    size_t len = http1_head_length(buffer_bytes(&h->in));
    if (len > HTTP1_HEAD_BYTES || (len == 0 && h->in.len > HTTP1_HEAD_BYTES)) {
        refuse(h, "431 Request Header Fields Too Large");
        return false;
    }
    if (len == 0) {
        return false;
    }
    struct bytes text = arena_copy(&h->request.arena, bytes_of(h->in.data, len));
    buffer_consume(&h->in, len);
    const char *reason;
    int status = http1_parse_head(text, &h->request.arena, &h->head, &reason);
    if (status == 0) {
        begin_request(h);
    }
    if (status != 0 || !split_target(h)) {
        refuse(h, status == 0 ? "400 Bad Request" : reason);
        return false;
    }
    if (taken(h)) {
        return true;
    }
    if (h->head.has_length && h->head.length > h->max_body) {
        refuse(h, "413 Request Entity Too Large");
        return false;
    }
    h->phase = HTTP1_BODY;
    expect_body(h);
    return true;
}

/* True when the body is complete. */
static bool read_body(struct http1 *h)
{
    if (h->head.chunked) {
        struct bytes in = buffer_bytes(&h->in);
        int status = http1_dechunk(&h->chunks, &in, &h->body, h->max_body);
        buffer_consume(&h->in, h->in.len - in.len);
        if (status != 0) {
            refuse(h, status == 413 ? "413 Request Entity Too Large" : "400 Bad Request");
            return false;
        }
        return h->chunks.state == HTTP1_DONE;
    }
    size_t missing = h->head.length - h->body.len;
    size_t n = missing < h->in.len ? missing : h->in.len;
    buffer_append(&h->body, h->in.data, n);
    buffer_consume(&h->in, n);
    return h->body.len == h->head.length;
}

/* The next piece of a body that was taken, a view into *in. */
static int next_piece(struct http1 *h, struct bytes *in, struct bytes *piece)
{
    if (h->head.chunked) {
        return http1_dechunk_next(&h->chunks, in, piece);
    }
    uint64_t left = h->head.length - h->body_given;
    *piece = bytes_of(in->data, left < in->len ? (size_t)left : in->len);
    *in = bytes_skip(*in, piece->len);
    return 0;
}

static bool body_complete(const struct http1 *h)
{
    return h->head.chunked ? h->chunks.state == HTTP1_DONE : h->body_given == h->head.length;
}

/* A body that was taken ends in nonsense: nobody waits for an answer. */
static void abandon(struct http1 *h)
{
    if (h->request.on_abort != NULL) {
        h->request.on_abort(&h->request);
    }
    h->request.on_abort = NULL;
    h->phase = HTTP1_LAST;
    h->in.len = 0;
    loop_timer_stop(h->connection->loop, &h->timer);
    connection_close_when_drained(h->connection);
}

/* Gives a taken body out as far as it is there and wanted. True when that was all of it, or of the request. */
static bool give_body(struct http1 *h)
{
    struct bytes in = buffer_bytes(&h->in), piece;
    int status = 0;
    h->in_handler = true;
    while (h->phase == HTTP1_TAKEN && !h->paused) {
        status = next_piece(h, &in, &piece);
        if (status != 0 || piece.len == 0) {
            break;
        }
        h->body_given += piece.len;
        h->request.on_body(&h->request, piece);
    }
    if (h->phase == HTTP1_TAKEN) { /* else it was answered, and the rest is dropped */
        buffer_consume(&h->in, h->in.len - in.len);
        if (status != 0) {
            abandon(h);
        } else if (!h->paused && body_complete(h)) {
            h->phase = HTTP1_HANDLER;
            loop_timer_stop(h->connection->loop, &h->timer);
            h->request.on_body_end(&h->request);
        }
    }
    h->in_handler = false;
    return h->phase != HTTP1_TAKEN;
}

static bool step(struct http1 *h)
{
    switch (h->phase) {
    case HTTP1_HEAD:
        return read_head(h);
    case HTTP1_BODY:
        if (!read_body(h)) {
            return false;
        }
        run_handler(h);
        return true;
    case HTTP1_TAKEN:
        return give_body(h);
    default:
        return false;
    }
}

void http1_advance(struct http1 *h)
{
    while (step(h)) {
    }
    if (h->peer_ended && (h->phase == HTTP1_HEAD || h->phase == HTTP1_BODY)) {
        connection_close_when_drained(h->connection);
        h->phase = HTTP1_LAST;
    }
}

void http1_body_pause(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    h->paused = true;
    loop_timer_stop(h->connection->loop, &h->timer);
    connection_read_pause(h->connection);
}

void http1_body_resume(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    if (h->phase != HTTP1_TAKEN || !h->paused) {
        return;
    }
    h->paused = false;
    http1_set_timer(h, h->options->body_timeout_ms, 60000);
    connection_read_resume(h->connection);
    if (!h->in_handler) {
        http1_advance(h);
    }
}

static void on_read(struct connection *connection, struct bytes in)
{
    struct http1 *h = connection->state;
    if (h->phase == HTTP1_LAST) {
        return;
    }
    buffer_append(&h->in, in.data, in.len);
    if (h->phase == HTTP1_TAKEN) {
        http1_set_timer(h, h->options->body_timeout_ms, 60000);
    }
    http1_advance(h);
    if (h->phase == HTTP1_HANDLER && h->in.len > AHEAD_BYTES) {
        connection_read_pause(connection);
    }
}

static void on_end(struct connection *connection)
{
    struct http1 *h = connection->state;
    h->peer_ended = true;
    if (h->phase == HTTP1_TAKEN || h->streaming) {
        connection_close(connection);
    } else if (h->phase != HTTP1_HANDLER) { /* what was answered may still be on its way */
        connection_close_when_drained(connection);
    }
}

static void on_timer(struct loop_timer *timer)
{
    connection_close(container_of(timer, struct http1, timer)->connection);
}

/* Is there something to wait for that only more input brings? The request behind one that was answered may have begun
 * in what was read ahead, so this is not only between requests. */
static bool wants_input(const struct http1 *h)
{
    return h->phase == HTTP1_HEAD || h->phase == HTTP1_BODY || (h->phase == HTTP1_TAKEN && !h->paused);
}

static size_t produce(struct connection *connection, uint8_t *out, size_t cap)
{
    struct http1 *h = connection->state;
    size_t n = http1_produce(h, out, cap);
    if (h->was_full && h->out.len < HTTP1_QUEUE_BYTES / 2 && h->phase == HTTP1_HANDLER) {
        h->was_full = false;
        if (h->request.on_writable != NULL) {
            h->request.on_writable(&h->request);
        }
    }
    if (wants_input(h) && !connection->reading && !h->peer_ended) {
        connection_read_resume(connection);
    }
    return n;
}

static void on_close(struct connection *connection)
{
    struct http1 *h = connection->state;
    loop_timer_stop(connection->loop, &h->timer);
    if ((h->phase == HTTP1_HANDLER || h->phase == HTTP1_TAKEN) && h->request.on_abort != NULL) {
        h->request.on_abort(&h->request);
    }
    buffer_free(&h->in);
    buffer_free(&h->out);
    buffer_free(&h->body);
    buffer_free(&h->answer_head);
    arena_free(&h->request.arena);
    connection->state = NULL;
    free(h);
}

static const struct connection_protocol protocol = {
    .on_read = on_read,
    .on_end = on_end,
    .produce = produce,
    .on_close = on_close,
};

bool http1_idle(const struct connection *connection)
{
    const struct http1 *h = connection->state;
    return connection->protocol == &protocol && h != NULL && h->phase == HTTP1_HEAD;
}

void http1_serve(struct connection *connection, const struct http1_options *options, struct bytes already_read)
{
    struct http1 *h = mem_zalloc(sizeof *h);
    h->connection = connection;
    h->options = options;
    h->max_body = options->max_body_bytes == 0 ? (size_t)2621440 : options->max_body_bytes;
    h->request.peer = connection->peer;
    h->request.loop = connection->loop;
    h->timer.fire = on_timer;
    http1_set_timer(h, options->header_timeout_ms, 10000);
    connection_switch(connection, &protocol, h, already_read);
}
