/* One HTTP/1 connection: head, body, handler, answer, and again. Input goes on being read (up to a bound) while a
 * handler works, so that a client that goes away is noticed. */
#include "base/net/http1.h"
#include "base/check.h"
#include "base/net/http1_parse.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define QUEUE_BYTES ((size_t)64 * 1024)
#define AHEAD_BYTES ((size_t)64 * 1024) /* input kept while a request is being answered */

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_HANDLER, PHASE_LAST };

struct http1 {
    struct http1_request request; /* first */
    struct connection *connection;
    const struct http1_options *options;
    enum phase phase;
    struct buffer in, out, body, answer_head;
    struct http1_head head;
    struct http1_chunks chunks;
    size_t max_body;
    struct loop_timer timer;
    bool keep_alive, streaming, no_body, was_full, peer_ended, in_handler, served;
};

static void advance(struct http1 *h);

static struct http1 *of(struct http1_request *request)
{
    return container_of(request, struct http1, request);
}

static uint64_t or_else(uint64_t option, uint64_t otherwise)
{
    return option == 0 ? otherwise : option;
}

static void set_timer(struct http1 *h, uint64_t ms)
{
    loop_timer_set(h->connection->loop, &h->timer, loop_now_ms(h->connection->loop) + ms);
}

/* --- requests -------------------------------------------------------------------------------------------------------
 */

struct bytes http1_header(const struct http1_request *request, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http1_header *h = &request->headers[i];
        if (h->name.len == len && strncasecmp((const char *)h->name.data, name, len) == 0) {
            return h->value;
        }
    }
    return (struct bytes){0};
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

/* --- answers --------------------------------------------------------------------------------------------------------
 */

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *text;
    } phrases[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, ""},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status) {
            return phrases[i].text;
        }
    }
    return "";
}

/* "Date", made once a second. */
static const char *date(void)
{
    static _Thread_local char text[40];
    static _Thread_local time_t made;
    time_t now = time(NULL);
    if (now != made) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        made = now;
    }
    return text;
}

void http1_set(struct http1_request *request, const char *name, const char *value)
{
    buffer_printf(&of(request)->answer_head, "%s: %s\r\n", name, value);
}

void http1_last(struct http1_request *request)
{
    of(request)->keep_alive = false;
}

static void put_head(struct http1 *h, int status, const char *content_type)
{
    buffer_printf(&h->out, "HTTP/1.%d %d %s\r\n", h->head.minor, status, reason_phrase(status));
    buffer_append(&h->out, h->answer_head.data, h->answer_head.len);
    h->answer_head.len = 0;
    if (content_type != NULL) {
        buffer_printf(&h->out, "Content-Type: %s\r\n", content_type);
    }
    buffer_printf(&h->out, "Date: %s\r\n", date());
    if (!h->keep_alive && h->head.minor == 1) {
        buffer_printf(&h->out, "Connection: close\r\n");
    } else if (h->keep_alive && h->head.minor == 0) {
        buffer_printf(&h->out, "Connection: keep-alive\r\n");
    }
}

/* The answer is complete: the next request, or the end. */
static void answered(struct http1 *h)
{
    h->request.on_abort = NULL;
    h->request.on_writable = NULL;
    h->streaming = false;
    buffer_free(&h->body);
    arena_reset(&h->request.arena);
    connection_flush(h->connection);
    if (!h->keep_alive || (h->peer_ended && h->in.len == 0)) {
        h->phase = PHASE_LAST;
        loop_timer_stop(h->connection->loop, &h->timer);
        connection_close_when_drained(h->connection);
        return;
    }
    h->phase = PHASE_HEAD;
    h->served = true;
    set_timer(h, or_else(h->options->idle_timeout_ms, 180000));
    if (!h->in_handler) {
        advance(h);
    }
}

void http1_respond(struct http1_request *request, int status, const char *content_type, struct bytes body)
{
    struct http1 *h = of(request);
    CHECK(h->phase == PHASE_HANDLER && !h->streaming, "answered twice");
    put_head(h, status, content_type);
    if (status != 204 && status >= 200) {
        buffer_printf(&h->out, "Content-Length: %zu\r\n", body.len);
    }
    buffer_append(&h->out, "\r\n", 2);
    if (!h->no_body && body.len > 0) {
        buffer_append(&h->out, body.data, body.len);
    }
    answered(h);
}

void http1_respond_text(struct http1_request *request, int status, const char *content_type, const char *body)
{
    http1_respond(request, status, content_type, bytes_str(body));
}

void http1_error(struct http1_request *request, int status, const char *text)
{
    http1_set(request, "X-Content-Type-Options", "nosniff");
    http1_respond_text(request, status, "text/plain; charset=utf-8", arena_printf(&request->arena, "%s\n", text));
}

void http1_not_found(struct http1_request *request)
{
    http1_error(request, 404, "404 page not found");
}

void http1_stream_begin(struct http1_request *request, int status, const char *content_type)
{
    struct http1 *h = of(request);
    CHECK(h->phase == PHASE_HANDLER && !h->streaming, "answered twice");
    if (h->head.minor == 0) {
        h->keep_alive = false;
    }
    put_head(h, status, content_type);
    buffer_printf(&h->out, h->head.minor == 1 ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    h->streaming = true;
    connection_flush(h->connection);
}

void http1_stream_write(struct http1_request *request, struct bytes data)
{
    struct http1 *h = of(request);
    CHECK(h->streaming);
    if (h->no_body || data.len == 0) {
        return;
    }
    if (h->head.minor == 1) {
        buffer_printf(&h->out, "%zx\r\n", data.len);
    }
    buffer_append(&h->out, data.data, data.len);
    if (h->head.minor == 1) {
        buffer_append(&h->out, "\r\n", 2);
    }
    connection_flush(h->connection);
}

bool http1_writable(struct http1_request *request)
{
    struct http1 *h = of(request);
    h->was_full |= h->out.len >= QUEUE_BYTES;
    return h->out.len < QUEUE_BYTES;
}

void http1_stream_end(struct http1_request *request)
{
    struct http1 *h = of(request);
    CHECK(h->streaming);
    if (h->head.minor == 1 && !h->no_body) {
        buffer_append(&h->out, "0\r\n\r\n", 5);
    }
    answered(h);
}

void http1_stream_abort(struct http1_request *request)
{
    struct http1 *h = of(request);
    h->request.on_abort = NULL;
    h->keep_alive = false;
    answered(h);
}

/* --- input ----------------------------------------------------------------------------------------------------------
 */

/* A refusal before there is a request, in net/http's form: the reason is the body, the connection ends. */
static void refuse(struct http1 *h, int status, const char *reason)
{
    buffer_printf(&h->out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s",
                  status, reason_phrase(status), reason);
    h->phase = PHASE_LAST;
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
    h->phase = PHASE_HANDLER;
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
    h->no_body = bytes_equal(r->method, bytes_str("HEAD"));
    h->keep_alive = h->head.minor == 1 ? !h->head.close : h->head.keep_alive && !h->head.close;
    h->chunks = (struct http1_chunks){.state = HTTP1_SIZE};
    h->was_full = false;
}

/* True when a head was read and the body is next. */
static bool read_head(struct http1 *h)
{
    while (h->in.len > 0 && (h->in.data[0] == '\r' || h->in.data[0] == '\n')) {
        buffer_consume(&h->in, 1); /* empty lines before a request are skipped (RFC 9112, 2.2) */
    }
    if (h->in.len > 0 && h->served) {
        h->served = false; /* the first byte of another request: now it has the time of a head */
        set_timer(h, or_else(h->options->header_timeout_ms, 10000));
    }
    size_t len = http1_head_length(buffer_bytes(&h->in));
    if (len > HTTP1_HEAD_BYTES || (len == 0 && h->in.len > HTTP1_HEAD_BYTES)) {
        refuse(h, 431, "431 Request Header Fields Too Large");
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
        refuse(h, status == 0 ? 400 : status, status == 0 ? "400 Bad Request" : reason);
        return false;
    }
    if (h->head.has_length && h->head.length > h->max_body) {
        refuse(h, 413, "413 Request Entity Too Large");
        return false;
    }
    h->phase = PHASE_BODY;
    set_timer(h, or_else(h->options->body_timeout_ms, 60000));
    if (h->head.expect_continue && (h->head.chunked || h->head.length > 0) && h->head.minor == 1) {
        buffer_printf(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
        connection_flush(h->connection);
    }
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
            refuse(h, status, status == 413 ? "413 Request Entity Too Large" : "400 Bad Request");
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

static void advance(struct http1 *h)
{
    while (h->phase == PHASE_HEAD || h->phase == PHASE_BODY) {
        if (h->phase == PHASE_HEAD && !read_head(h)) {
            break;
        }
        if (h->phase == PHASE_BODY && !read_body(h)) {
            break;
        }
        run_handler(h);
    }
    if (h->peer_ended && (h->phase == PHASE_HEAD || h->phase == PHASE_BODY)) {
        connection_close_when_drained(h->connection);
        h->phase = PHASE_LAST;
    }
}

static void on_read(struct connection *connection, struct bytes in)
{
    struct http1 *h = connection->state;
    if (h->phase == PHASE_LAST) {
        return;
    }
    buffer_append(&h->in, in.data, in.len);
    advance(h);
    if (h->phase == PHASE_HANDLER && h->in.len > AHEAD_BYTES) {
        connection_read_pause(connection);
    }
}

static void on_end(struct connection *connection)
{
    struct http1 *h = connection->state;
    h->peer_ended = true;
    if (h->phase != PHASE_HANDLER || h->streaming) {
        connection_close(connection);
    }
}

static void on_timer(struct loop_timer *timer)
{
    connection_close(container_of(timer, struct http1, timer)->connection);
}

static size_t produce(struct connection *connection, uint8_t *out, size_t cap)
{
    struct http1 *h = connection->state;
    size_t n = h->out.len < cap ? h->out.len : cap;
    if (n > 0) {
        memcpy(out, h->out.data, n);
    }
    if (n == h->out.len) {
        buffer_free(&h->out);
    } else {
        buffer_consume(&h->out, n);
    }
    if (h->was_full && h->out.len < QUEUE_BYTES / 2 && h->phase == PHASE_HANDLER) {
        h->was_full = false;
        if (h->request.on_writable != NULL) {
            h->request.on_writable(&h->request);
        }
    }
    if (h->phase == PHASE_HEAD && !connection->reading && !h->peer_ended) {
        connection_read_resume(connection);
    }
    return n;
}

static void on_close(struct connection *connection)
{
    struct http1 *h = connection->state;
    loop_timer_stop(connection->loop, &h->timer);
    if (h->phase == PHASE_HANDLER && h->request.on_abort != NULL) {
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
    return connection->protocol == &protocol && h != NULL && h->phase == PHASE_HEAD;
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
    set_timer(h, or_else(options->header_timeout_ms, 10000));
    connection_switch(connection, &protocol, h, already_read);
}
