/* The gateway in front of a service that does what the key says, over a real socket: answers, errors, and that a call
 * ends exactly once however it ends. */
#include "base/check.h"
#include "base/net/listener.h"
#include "grpc/gateway.h"
#include "kv/rpc.pb-c.h"
#include "tests/support/loopback.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct listener listener;
    struct http1_options options;
    struct gateway gateway;
    struct call *kept;
    struct call_source source;
    uint64_t left;
    struct call *streaming;
    size_t at, reads;
    unsigned cancels, ended;
    int cancel_reason, intercepted;
    char metadata[64];
    int fd;
    bool gone;
};

/* --- the service --- */

static void on_cancel(struct call *call, int reason)
{
    struct fixture *f = call->state;
    f->cancels++;
    f->cancel_reason = reason;
    f->kept = NULL;
}

static bool is(const ProtobufCBinaryData *key, const char *text)
{
    return bytes_equal(bytes_of(key->data, key->len), bytes_str(text));
}

/* kvs, each with 7 bytes of key, then a count: cut anywhere between two reads, which give what is asked for, less, or
 * nothing for now. */
static ssize_t source_read(struct call_source *source, uint8_t *out, size_t cap)
{
    struct fixture *f = container_of(source, struct fixture, source);
    static const uint8_t row[] = {0x12, 9, 0x0a, 7, 'a', 'b', 'c', 'd', 'e', 'f', 'g'}, count[] = {0x20, 5};
    if (++f->reads % 5 == 0) {
        return 0;
    }
    cap = f->reads % 3 == 0 ? 7 : cap;
    size_t n = 0;
    for (; n < cap && f->left > 0; n++, f->left--) {
        out[n] = f->left > 2 ? row[f->at++ % sizeof row] : count[2 - f->left];
    }
    return (ssize_t)n;
}

static void source_end(struct call_source *source)
{
    struct fixture *f = container_of(source, struct fixture, source);
    f->ended++;
    f->streaming = NULL;
}

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = on_cancel};
    struct fixture *f = service;
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)message;
    if (is(&request->key, "hold")) {
        call->state = f;
        call->handler = &handler;
        f->kept = call;
    } else if (is(&request->key, "fail")) {
        call_fail_text(call, GRPC_ABORTED, "a \"quoted\"\n%s", "caf\xc3\xa9");
    } else if (is(&request->key, "long")) {
        f->left = 11 * 20000 + 2;
        f->streaming = call;
        f->source = (struct call_source){.read = source_read, .end = source_end};
        call_reply_stream(call, f->left, &f->source);
    } else {
        struct bytes a = call_metadata(call, "authorization"), b = call_metadata(call, "hasleader");
        snprintf(f->metadata, sizeof f->metadata, "%.*s|%.*s|%s", (int)a.len, (const char *)a.data, (int)b.len,
                 (const char *)b.data, call_metadata(call, "cookie").data == NULL ? "" : "cookie");
        Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
        response.count = request->limit;
        call_reply(call, &response.base);
    }
}

static const struct call_route routes[] = {
    {"/etcdserverpb.KV/Range", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, range, NULL},
};

static int intercept(void *owner, struct call *call)
{
    (void)call;
    return ((struct fixture *)owner)->intercepted;
}

/* --- the fixture --- */

static void handle(void *owner, struct http1_request *request)
{
    struct fixture *f = owner;
    if (!gateway_handle(&f->gateway, request)) {
        http1_not_found(request);
    }
}

static void on_accept(struct listener *listener, struct connection *connection)
{
    struct fixture *f = listener->owner;
    http1_serve(connection, &f->options, (struct bytes){0});
}

static void on_gone(struct listener *listener)
{
    ((struct fixture *)listener->owner)->gone = true;
}

static void connect_to(struct fixture *f)
{
    f->fd = loopback_connect(loopback_port(f->listener.address));
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char reason[256];
    assert_int_equal(loop_init(&f->loop), 0);
    f->gateway = (struct gateway){.server = server_new(&f->loop, &(struct server_options){0}),
                                  .max_receive_bytes = 1000,
                                  .intercept = intercept,
                                  .owner = f};
    server_route(f->gateway.server, routes, sizeof routes / sizeof routes[0], f);
    f->options = (struct http1_options){.handle = handle, .owner = f};
    f->listener = (struct listener){.on_accept = on_accept, .on_gone = on_gone, .owner = f};
    assert_int_equal(listener_open(&f->listener, &f->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    connect_to(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->fd >= 0) {
        close(f->fd);
    }
    listener_close(&f->listener);
    while (!f->gone) {
        loop_step(&f->loop, 2);
    }
    server_free(f->gateway.server);
    loop_close(&f->loop);
    free(f);
    return 0;
}

static void send_request(struct fixture *f, const char *path, const char *headers, const char *body)
{
    char *text =
        mem_printf("POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n%s", path, headers, strlen(body), body);
    assert_int_equal(write(f->fd, text, strlen(text)), (ssize_t)strlen(text));
    free(text);
}

/* What comes back, "STATUS BODY"; waits for a body of the length that the head names. */
static const char *answer(struct fixture *f)
{
    static char text[4096], result[4096];
    size_t len = 0, wanted = SIZE_MAX;
    while (len < wanted) {
        loop_step(&f->loop, 2);
        ssize_t n = read(f->fd, text + len, sizeof text - 1 - len);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end != NULL && length != NULL) {
            wanted = (size_t)(end + 4 - text) + (size_t)atoi(length + 16);
        }
    }
    snprintf(result, sizeof result, "%.3s %s", text + 9, strstr(text, "\r\n\r\n") + 4);
    return result;
}

static const char *ask(struct fixture *f, const char *headers, const char *body)
{
    send_request(f, "/v3/kv/range", headers, body);
    return answer(f);
}

/* --- tests --- */

static void test_a_call_is_answered_as_json(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(ask(f, "", "{\"limit\":12}"), "200 {\"count\":\"12\"}");
    assert_string_equal(ask(f, "", ""), "200 {}");
    send_request(f, "/v3beta/kv/range", "", "{\"limit\":\"3\"}");
    assert_string_equal(answer(f), "200 {\"count\":\"3\"}");
}

static void test_errors_have_status_code_and_escaped_text(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(ask(f, "", "{\"key\":\"ZmFpbA==\"}"),
                        "409 {\"code\":10,\"message\":\"a \\\"quoted\\\"\\ncaf\xc3\xa9\"}");
    assert_string_equal(ask(f, "", "{"), "400 {\"code\":3,\"message\":\"unexpected EOF\"}");
    f->intercepted = ERR_NO_LEADER;
    assert_string_equal(ask(f, "", "{}"), "503 {\"code\":14,\"message\":\"etcdserver: no leader\"}");
    send_request(f, "/v3/watch", "", "{}");
    assert_string_equal(answer(f), "501 {\"code\":12,\"message\":\"etcdserverpb.Watch/Watch is not supported by kedge "
                                   "yet\"}");
    send_request(f, "/v3/nosuch", "", "{}");
    assert_string_equal(answer(f), "404 {\"code\":5,\"message\":\"Not Found\"}");
}

static void test_a_request_is_at_most_as_long_as_grpc_takes_it(void **state)
{
    struct fixture *f = *state;
    char body[2000] = "{\"range_end\":\"";
    size_t len = strlen(body);
    memset(body + len, 'A', 1336); /* 1,002 bytes, and 3 of tag and length */
    memcpy(body + len + 1336, "\"}", 3);
    assert_string_equal(ask(f, "", body),
                        "429 {\"code\":8,\"message\":\"grpc: received message larger than max (1005 vs. 1000)\"}");
}

static void test_only_some_headers_become_metadata(void **state)
{
    struct fixture *f = *state;
    ask(f, "Authorization: t\r\nGrpc-Metadata-HasLeader: true\r\nCookie: c\r\n", "{}");
    assert_string_equal(f->metadata, "t|true|");
    ask(f, "hasleader: true\r\n", "{}");
    assert_string_equal(f->metadata, "||");
    ask(f, "Grpc-Metadata-HasLeader: \xff\r\n", "{}");
    assert_string_equal(f->metadata, "||");
}

/* One turn and what came in it; the source that said "nothing yet" has something again after each. */
static bool receive(struct fixture *f, struct buffer *out)
{
    loop_step(&f->loop, 1);
    if (f->streaming != NULL) {
        call_source_ready(f->streaming);
    }
    ssize_t n = read(f->fd, buffer_reserve(out, 65536), 65536);
    out->len += n > 0 ? (size_t)n : 0;
    return n != 0;
}

/* Takes the chunks apart. */
static struct buffer chunks(struct buffer *raw)
{
    struct buffer body = {0};
    buffer_append(raw, "", 1);
    char *at = strstr((char *)raw->data, "\r\n\r\n") + 4, *end;
    for (size_t size; (size = strtoul(at, &end, 16)) > 0; at = end + 4 + size) {
        buffer_append(&body, end + 2, size);
    }
    return body;
}

static void test_a_large_answer_is_written_while_it_is_made(void **state)
{
    struct fixture *f = *state;
    struct buffer raw = {0}, expected = {0};
    send_request(f, "/v3/kv/range", "Connection: close\r\n", "{\"key\":\"bG9uZw==\"}");
    while (receive(f, &raw)) {
    }
    assert_int_equal(f->ended, 1);
    struct buffer body = chunks(&raw);
    for (int i = 0; i < 20000; i++) {
        buffer_printf(&expected, "%s{\"key\":\"YWJjZGVmZw==\"}", i == 0 ? "{\"kvs\":[" : ",");
    }
    buffer_printf(&expected, "],\"count\":\"5\"}");
    assert_int_equal(body.len, expected.len);
    assert_memory_equal(body.data, expected.data, expected.len);
    assert_non_null(strstr((char *)raw.data, "Grpc-Metadata-Content-Type: application/grpc\r\n"));
    buffer_free(&raw);
    buffer_free(&body);
    buffer_free(&expected);
}

static void test_a_reader_that_goes_away_ends_the_source(void **state)
{
    struct fixture *f = *state;
    struct buffer raw = {0};
    send_request(f, "/v3/kv/range", "", "{\"key\":\"bG9uZw==\"}");
    while (raw.len < 1000) {
        receive(f, &raw);
    }
    assert_int_equal(f->ended, 0);
    buffer_free(&raw);
    struct linger linger = {.l_onoff = 1};
    setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(f->fd);
    f->fd = -1;
    while (f->ended == 0) {
        loop_step(&f->loop, 1);
        if (f->streaming != NULL) {
            call_source_ready(f->streaming);
        }
    }
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->cancels, 0);
}

static void test_a_lost_connection_cancels_once(void **state)
{
    struct fixture *f = *state;
    send_request(f, "/v3/kv/range", "", "{\"key\":\"aG9sZA==\"}");
    while (f->kept == NULL) {
        loop_step(&f->loop, 2);
    }
    struct linger linger = {.l_onoff = 1};
    setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(f->fd); /* a reset */
    f->fd = -1;
    while (f->cancels == 0) {
        loop_step(&f->loop, 2);
    }
    assert_int_equal(f->cancel_reason, ERR_CONTEXT_CANCELED);
    assert_int_equal(f->cancels, 1);
}

static void test_a_deadline_cancels_once_and_is_told(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(ask(f, "Grpc-Timeout: 20m\r\n", "{\"key\":\"aG9sZA==\"}"),
                        "504 {\"code\":4,\"message\":\"context deadline exceeded\"}");
    assert_int_equal(f->cancel_reason, ERR_CONTEXT_DEADLINE_EXCEEDED);
    assert_int_equal(f->cancels, 1);
    assert_string_equal(ask(f, "Grpc-Timeout: 1M\r\n", "{\"limit\":1}"), "200 {\"count\":\"1\"}");
    assert_string_equal(ask(f, "Grpc-Timeout: 0m\r\n", "{\"limit\":1}"), "200 {\"count\":\"1\"}");
    assert_string_equal(ask(f, "Grpc-Timeout: 1n\r\n", "{\"limit\":1}"),
                        "504 {\"code\":4,\"message\":\"context deadline exceeded\"}");
    assert_string_equal(ask(f, "Grpc-Timeout: 1.5S\r\n", "{\"limit\":1}"),
                        "400 {\"code\":3,\"message\":\"invalid grpc-timeout: 1.5S\"}");
}

static void test_each_code_has_its_status(void **state)
{
    (void)state;
    static const int statuses[] = {200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401};
    for (int code = 0; code < (int)(sizeof statuses / sizeof statuses[0]); code++) {
        assert_int_equal(gateway_status((enum grpc_code)code), statuses[code]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_call_is_answered_as_json),
        TEST(test_errors_have_status_code_and_escaped_text),
        TEST(test_a_request_is_at_most_as_long_as_grpc_takes_it),
        TEST(test_only_some_headers_become_metadata),
        TEST(test_a_large_answer_is_written_while_it_is_made),
        TEST(test_a_reader_that_goes_away_ends_the_source),
        TEST(test_a_lost_connection_cancels_once),
        TEST(test_a_deadline_cancels_once_and_is_told),
        cmocka_unit_test(test_each_code_has_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
