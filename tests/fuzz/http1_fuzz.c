/* Any bytes at the HTTP/1 server: whole and a byte at a time they are the same requests, and nothing else happens. */
#include "base/check.h"
#include "base/net/http1.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct buffer *told;

/* A request whose body is taken as it comes, with a pause after each piece. */
static struct taken {
    struct http1_request *request;
    uint64_t len, sum;
} taken;

static void handle(void *owner, struct http1_request *r)
{
    (void)owner;
    struct bytes q = http1_query(r, "q", 0);
    struct bytes type = http1_header(r, "content-type");
    CHECK(r->body.len <= 1000);
    buffer_printf(told, "[%.*s %.*s %.*s %.*s %zu %zu]", (int)r->method.len, r->method.data, (int)r->path.len,
                  r->path.data, (int)q.len, q.data, (int)type.len, type.data, r->header_count, r->body.len);
    http1_respond(r, 200, "text/plain", r->body);
}

static void on_body(struct http1_request *r, struct bytes data)
{
    CHECK(r == taken.request && data.len > 0);
    taken.len += data.len;
    for (size_t i = 0; i < data.len; i++) {
        taken.sum = taken.sum * 31 + data.data[i];
    }
    http1_body_pause(r);
}

static void on_body_end(struct http1_request *r)
{
    buffer_printf(told, "[taken %llu %llx]", (unsigned long long)taken.len, (unsigned long long)taken.sum);
    taken.request = NULL;
    http1_respond(r, 204, NULL, (struct bytes){0});
}

static void on_abort(struct http1_request *r)
{
    CHECK(r == taken.request);
    taken.request = NULL;
}

static bool take(void *owner, struct http1_request *r)
{
    (void)owner;
    if (r->path.len < 2 || r->path.data[1] != 't') {
        return false;
    }
    CHECK(taken.request == NULL);
    taken = (struct taken){.request = r};
    r->on_body = on_body;
    r->on_body_end = on_body_end;
    r->on_abort = on_abort;
    return true;
}

static void resume(void)
{
    while (taken.request != NULL) {
        uint64_t before = taken.len;
        http1_body_resume(taken.request);
        if (taken.len == before) {
            break;
        }
    }
}

static void converse(struct bytes in, size_t step, struct buffer *out)
{
    static const struct http1_options options = {.handle = handle, .take = take, .max_body_bytes = 1000};
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    told = out;
    struct connection *connection = connection_new(&loop, ends[0], NULL, NULL);
    http1_serve(connection, &options, (struct bytes){0});
    uint8_t answer[4096];
    for (size_t at = 0; at < in.len; at += step) {
        size_t n = in.len - at < step ? in.len - at : step;
        if (send(ends[1], in.data + at, n, MSG_NOSIGNAL) < 0) {
            break;
        }
        loop_step(&loop, 0);
        resume();
        while (read(ends[1], answer, sizeof answer) > 0) {
        }
    }
    loop_step(&loop, 0);
    resume();
    close(ends[1]);
    loop_step(&loop, 0);
    resume();
    loop_step(&loop, 0);
    loop_step(&loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, cut = {0};
    if (loop.read_buffer == NULL) {
        CHECK(loop_init(&loop) == 0);
    }
    if (size > 1 && size < 2000) {
        converse(bytes_of(data + 1, size - 1), size, &whole);
        converse(bytes_of(data + 1, size - 1), (size_t)data[0] % 16 + 1, &cut);
        CHECK(bytes_equal(buffer_bytes(&whole), buffer_bytes(&cut)));
    }
    buffer_free(&whole);
    buffer_free(&cut);
    return 0;
}
