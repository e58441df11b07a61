/* Answers of the HTTP/1 server: whole, in pieces that are queued, or made in the place where they go out. */
#include "base/check.h"
#include "base/net/http1_impl.h"
#include <stdio.h>
#include <time.h>

#define ROOM_BYTES ((size_t)1024)

const char *http1_reason_phrase(int status)
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
    buffer_printf(&http1_of(request)->answer_head, "%s: %s\r\n", name, value);
}

void http1_last(struct http1_request *request)
{
    http1_of(request)->keep_alive = false;
}

static void put_head(struct http1 *h, int status, const char *content_type)
{
    buffer_printf(&h->out, "HTTP/1.%d %d %s\r\n", h->head.minor, status, http1_reason_phrase(status));
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

/* Of a body that somebody took but wants nothing of: did all of it come with the head? Then it can be skipped. */
static bool body_is_here(const struct http1 *h)
{
    return !h->head.chunked && h->body_given == 0 && h->head.length <= h->in.len;
}

/* The answer is complete: the next request, or the end. */
static void answered(struct http1 *h)
{
    h->request.on_abort = NULL;
    h->request.on_writable = NULL;
    h->request.on_room = NULL;
    h->streaming = h->asked = false;
    if (h->phase == HTTP1_TAKEN) { /* the rest of the body is of no use */
        buffer_consume(&h->in, body_is_here(h) ? (size_t)h->head.length : h->in.len);
    }
    buffer_free(&h->body);
    arena_reset(&h->request.arena);
    connection_flush(h->connection);
    if (!h->keep_alive || (h->peer_ended && h->in.len == 0)) {
        h->phase = HTTP1_LAST;
        loop_timer_stop(h->connection->loop, &h->timer);
        connection_close_when_drained(h->connection);
        return;
    }
    h->phase = HTTP1_HEAD;
    h->served = true;
    http1_set_timer(h, h->options->idle_timeout_ms, 180000);
    if (!h->in_handler) {
        http1_advance(h);
    }
}

void http1_respond(struct http1_request *request, int status, const char *content_type, struct bytes body)
{
    struct http1 *h = http1_of(request);
    CHECK((h->phase == HTTP1_HANDLER || h->phase == HTTP1_TAKEN) && !h->streaming, "answered twice");
    h->keep_alive = h->keep_alive && (h->phase == HTTP1_HANDLER || body_is_here(h));
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
    struct http1 *h = http1_of(request);
    CHECK((h->phase == HTTP1_HANDLER || h->phase == HTTP1_TAKEN) && !h->streaming, "answered twice");
    h->keep_alive = h->keep_alive && (h->phase == HTTP1_HANDLER || body_is_here(h));
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
    struct http1 *h = http1_of(request);
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

void http1_stream_ask(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    CHECK(h->streaming);
    h->asked = true;
    connection_flush(h->connection);
}

void http1_urgent(struct http1_request *request, unsigned give_up_ms)
{
    connection_urgent(http1_of(request)->connection, give_up_ms);
}

uint64_t http1_sent_bytes(const struct http1_request *request)
{
    return container_of(request, const struct http1, request)->connection->sent_bytes;
}

bool http1_blocked(const struct http1_request *request)
{
    return connection_blocked(container_of(request, const struct http1, request)->connection);
}

bool http1_writable(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    h->was_full |= h->out.len >= HTTP1_QUEUE_BYTES;
    return h->out.len < HTTP1_QUEUE_BYTES;
}

void http1_stream_end(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    CHECK(h->streaming);
    if (h->head.minor == 1 && !h->no_body) {
        buffer_append(&h->out, "0\r\n\r\n", 5);
    }
    answered(h);
}

void http1_stream_abort(struct http1_request *request)
{
    struct http1 *h = http1_of(request);
    h->request.on_abort = NULL;
    h->keep_alive = false;
    answered(h);
}

void http1_stream_cut(struct http1_request *request)
{
    request->on_abort = NULL;
    connection_close(http1_of(request)->connection);
}

/* --- what is sent ---------------------------------------------------------------------------------------------------
 */

/* An answer's next piece, made in the place where it goes out. */
static size_t fill_room(struct http1 *h, uint8_t *out, size_t cap)
{
    bool chunked = h->head.minor == 1;
    h->asked = false;
    size_t n = h->request.on_room(&h->request, out + (chunked ? HTTP1_CHUNK_FRONT : 0),
                                  cap - HTTP1_CHUNK_FRONT - HTTP1_CHUNK_BACK);
    return n == 0 || !chunked ? n : http1_enchunk(out, n);
}

static size_t put_queued(struct http1 *h, uint8_t *out, size_t cap)
{
    size_t n = h->out.len < cap ? h->out.len : cap;
    if (n > 0) {
        memcpy(out, h->out.data, n);
    }
    if (n == h->out.len) {
        buffer_free(&h->out);
    } else {
        buffer_consume(&h->out, n);
    }
    return n;
}

size_t http1_produce(struct http1 *h, uint8_t *out, size_t cap)
{
    size_t n = put_queued(h, out, cap);
    if (h->asked && h->streaming && !h->no_body && h->out.len == 0 && cap - n >= 2 * ROOM_BYTES) {
        n += fill_room(h, out + n, cap - n);
    }
    return n;
}
