/* The HTTP/1 server over a real socket: what comes back for these bytes. The Date header is cut out of what is
 * compared. */
#include "base/check.h"
#include "base/net/http1.h"
#include "base/net/listener.h"
#include "tests/support/loopback.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct listener listener;
    struct http1_options options;
    struct http1_request *kept;
    struct buffer seen;
    unsigned aborts, writables;
    int fd;
    bool gone;
};

static void on_abort(struct http1_request *request)
{
    struct fixture *f = request->state;
    f->aborts++;
    f->kept = NULL;
}

static void on_writable(struct http1_request *request)
{
    struct fixture *f = request->state;
    f->writables++;
}

static void echo(struct fixture *f, struct http1_request *r)
{
    struct bytes q = http1_query(r, "q", 0);
    struct bytes second = http1_query(r, "q", 1);
    struct bytes token = http1_header(r, "token");
    f->seen.len = 0;
    buffer_printf(&f->seen, "%.*s %.*s q=%.*s,%.*s token=%.*s body=%.*s", (int)r->method.len, r->method.data,
                  (int)r->path.len, r->path.data, (int)q.len, q.data, (int)second.len, second.data, (int)token.len,
                  token.data, (int)r->body.len, r->body.data);
    http1_respond(r, 200, "text/plain", buffer_bytes(&f->seen));
}

static void handle(void *owner, struct http1_request *r)
{
    struct fixture *f = owner;
    r->state = f;
    r->on_abort = on_abort;
    r->on_writable = on_writable;
    if (bytes_equal(r->path, bytes_str("/keep"))) {
        f->kept = r;
    } else if (bytes_equal(r->path, bytes_str("/stream"))) {
        f->kept = r;
        http1_stream_begin(r, 200, "application/json");
    } else if (bytes_equal(r->path, bytes_str("/none"))) {
        http1_not_found(r);
    } else {
        http1_set(r, "X-Own", "1");
        echo(f, r);
    }
}

static void on_accept(struct listener *listener, struct connection *connection)
{
    struct fixture *f = listener->owner;
    http1_serve(connection, &f->options, (struct bytes){0});
}

static void on_gone(struct listener *listener)
{
    struct fixture *f = listener->owner;
    f->gone = true;
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
    f->options = (struct http1_options){
        .handle = handle, .owner = f, .max_body_bytes = 100, .header_timeout_ms = 500, .idle_timeout_ms = 500};
    f->listener = (struct listener){.on_accept = on_accept, .on_gone = on_gone, .owner = f};
    assert_int_equal(listener_open(&f->listener, &f->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    connect_to(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close(f->fd);
    listener_close(&f->listener);
    for (int i = 0; i < 1000 && !f->gone; i++) {
        loop_step(&f->loop, 5);
    }
    assert_true(f->gone);
    buffer_free(&f->seen);
    loop_close(&f->loop);
    free(f);
    return 0;
}

/* Cuts each "Date: …" line out. */
static void cut_dates(char *text)
{
    char *date;
    while ((date = strstr(text, "Date: ")) != NULL) {
        char *end = strchr(date, '\n') + 1;
        memmove(date, end, strlen(end) + 1);
    }
}

/* What came within quiet_ms of silence, "EOF" at the end if the server closed. */
static char *receive(struct fixture *f, int quiet_ms)
{
    struct buffer got = {0};
    uint64_t until = loop_clock_ns() + (uint64_t)quiet_ms * 1000000;
    while (loop_clock_ns() < until) {
        loop_step(&f->loop, 1);
        ssize_t n = recv(f->fd, buffer_reserve(&got, 65536), 65536, 0);
        if (n > 0) {
            got.len += (size_t)n;
            until = loop_clock_ns() + (uint64_t)quiet_ms * 1000000;
        } else if (n == 0 || errno != EAGAIN) {
            buffer_append(&got, "EOF", 3);
            break;
        }
    }
    buffer_append(&got, "", 1);
    cut_dates((char *)got.data);
    return (char *)got.data;
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_within(struct fixture *f, const char *expected, int quiet_ms)
{
    char *got = receive(f, quiet_ms);
    assert_string_equal(got, expected);
    free(got);
}

static void dialogue(void **state, const char *request, const char *answer)
{
    say(*state, request);
    expect_within(*state, answer, 20);
}

#define OK "HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Type: text/plain\r\n"
#define REFUSED(status, text)                                                                                          \
    "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" text "EOF"

/* --- requests -------------------------------------------------------------------------------------------------------
 */

static void test_get_with_query_and_header(void **state)
{
    dialogue(state, "GET /a%20b?x=1&q=one+two%21&q=3 HTTP/1.1\r\nHost: h\r\nToken:  t \r\n\r\n",
             OK "Content-Length: 35\r\n\r\nGET /a b q=one two!,3 token=t body=");
}

static void test_post_with_length(void **state)
{
    dialogue(state, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
             OK "Content-Length: 29\r\n\r\nPOST /p q=, token= body=hello");
}

static void test_chunked_body(void **state)
{
    dialogue(
        state,
        "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: v\r\n\r\n",
        OK "Content-Length: 29\r\n\r\nPOST /p q=, token= body=hello");
}

static void test_request_that_comes_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    const char *request = "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (const char *p = request; *p != 0; p++) {
        assert_int_equal(send(f->fd, p, 1, MSG_NOSIGNAL), 1);
        loop_step(&f->loop, 0);
    }
    expect_within(f, OK "Content-Length: 29\r\n\r\nPOST /p q=, token= body=hello", 20);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    dialogue(state, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
             OK "Content-Length: 23\r\n\r\nGET /1 q=, token= body=" OK
                "Connection: close\r\nContent-Length: 23\r\n\r\nGET /2 q=, token= body=EOF");
}

/* More than is read ahead waits behind a request that takes its time: reading goes on once that is answered. */
static void test_long_body_behind_a_slow_request_is_read(void **state)
{
    enum { BODY = 16 * LOOP_READ_BYTES };
    struct fixture *f = *state;
    struct buffer text = {0};
    f->options.max_body_bytes = BODY;
    buffer_printf(&text,
                  "GET /keep HTTP/1.1\r\nHost: h\r\n\r\nPOST /none HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                  BODY);
    memset(buffer_reserve(&text, BODY), 'x', BODY);
    text.len += BODY;
    for (size_t sent = 0, still = 0; still < 200; loop_step(&f->loop, 1), still++) {
        ssize_t n = sent < text.len ? send(f->fd, text.data + sent, text.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
    }
    buffer_free(&text);
    assert_non_null(f->kept);
    http1_respond_text(f->kept, 200, NULL, "late");
    expect_within(f,
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
                  "HTTP/1.1 404 Not Found\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; "
                  "charset=utf-8\r\nContent-Length: 19\r\n\r\n404 page not found\n",
                  100);
}

static void test_head_has_length_and_no_body(void **state)
{
    dialogue(state, "HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n", OK "Content-Length: 24\r\n\r\n");
}

static void test_http_1_0_closes_unless_asked(void **state)
{
    dialogue(state, "GET /1 HTTP/1.0\r\n\r\n",
             "HTTP/1.0 200 OK\r\nX-Own: 1\r\nContent-Type: text/plain\r\nContent-Length: 23\r\n\r\nGET /1 q=, token= "
             "body=EOF");
}

static void test_not_found_is_gos(void **state)
{
    dialogue(state, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n",
             "HTTP/1.1 404 Not Found\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\n"
             "Content-Length: 19\r\n\r\n404 page not found\n");
}

static void test_expect_continue(void **state)
{
    struct fixture *f = *state;
    say(f, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    expect_within(f, "HTTP/1.1 100 Continue\r\n\r\n", 20);
    say(f, "ab");
    expect_within(f, OK "Content-Length: 26\r\n\r\nPOST /p q=, token= body=ab", 20);
}

static void test_bare_line_feeds_are_lines(void **state)
{
    dialogue(state, "GET /1 HTTP/1.1\nHost: h\n\n", OK "Content-Length: 23\r\n\r\nGET /1 q=, token= body=");
}

/* --- refusals -------------------------------------------------------------------------------------------------------
 */

static void test_garbage(void **state)
{
    dialogue(state, "hello\r\n\r\n", REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_missing_host(void **state)
{
    dialogue(state, "GET / HTTP/1.1\r\n\r\n",
             REFUSED("400 Bad Request: missing required Host header", "400 Bad Request: missing required Host header"));
}

static void test_host_with_bytes_that_no_host_has(void **state)
{
    dialogue(state, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
             REFUSED("400 Bad Request: malformed Host header", "400 Bad Request: malformed Host header"));
}

static void test_two_hosts(void **state)
{
    dialogue(state, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_both_kinds_of_length(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_two_lengths(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
             REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_negative_length(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
             REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_blank_before_colon(void **state)
{
    dialogue(state, "GET / HTTP/1.1\r\nHost : h\r\n\r\n", REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_folded_line(void **state)
{
    dialogue(state, "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_other_transfer_coding(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
             REFUSED("501 Not Implemented", "Unsupported transfer encoding"));
}

static void test_other_version(void **state)
{
    dialogue(state, "GET / HTTP/3.0\r\nHost: h\r\n\r\n",
             REFUSED("505 HTTP Version Not Supported: unsupported protocol version",
                     "505 HTTP Version Not Supported: unsupported protocol version"));
}

static void test_body_beyond_the_limit(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n",
             REFUSED("413 Request Entity Too Large", "413 Request Entity Too Large"));
}

static void test_chunk_beyond_the_limit(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
             REFUSED("413 Request Entity Too Large", "413 Request Entity Too Large"));
}

static void test_chunk_size_that_is_none(void **state)
{
    dialogue(state, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
             REFUSED("400 Bad Request", "400 Bad Request"));
}

static void test_head_beyond_the_limit(void **state)
{
    struct fixture *f = *state;
    char line[1025];
    memset(line, 'x', sizeof line);
    line[1022] = '\r';
    line[1023] = '\n';
    line[1024] = 0;
    line[1] = ':';
    say(f, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 40; i++) {
        send(f->fd, line, 1024, MSG_NOSIGNAL);
        loop_step(&f->loop, 0);
    }
    char *got = receive(f, 20);
    assert_memory_equal(got, "HTTP/1.1 431 Request Header Fields Too Large", 44);
    free(got);
}

static void test_head_that_does_not_come(void **state)
{
    struct fixture *f = *state;
    say(f, "GET / HTTP/1.1\r\nHos");
    expect_within(f, "EOF", 2000);
}

static void test_idle_connection_is_closed(void **state)
{
    struct fixture *f = *state;
    say(f, "HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_within(f, OK "Content-Length: 24\r\n\r\nEOF", 2000);
}

/* --- answers in pieces ----------------------------------------------------------------------------------------------
 */

static void test_chunked_answer(void **state)
{
    struct fixture *f = *state;
    say(f, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_within(f, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", 20);
    http1_stream_write(f->kept, bytes_str("{\"result\":1}\n"));
    expect_within(f, "d\r\n{\"result\":1}\n\r\n", 20);
    http1_stream_end(f->kept);
    expect_within(f, "0\r\n\r\n", 20);
    dialogue(state, "HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n", OK "Content-Length: 24\r\n\r\n");
}

static void test_client_that_goes_away_aborts(void **state)
{
    struct fixture *f = *state;
    say(f, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    free(receive(f, 20));
    shutdown(f->fd, SHUT_WR);
    for (int i = 0; i < 100 && f->aborts == 0; i++) {
        loop_step(&f->loop, 5);
    }
    assert_int_equal(f->aborts, 1);
}

static void test_late_answer_after_half_close(void **state)
{
    struct fixture *f = *state;
    say(f, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(f->fd, SHUT_WR);
    expect_within(f, "", 20);
    assert_int_equal(f->aborts, 0);
    http1_respond_text(f->kept, 200, NULL, "late");
    expect_within(f, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlateEOF", 20);
}

/* A client that says at once that it sends no more gets what is on its way, however slowly it reads. */
static void test_long_answer_outlives_the_end_of_input(void **state)
{
    enum { LONG = 16 << 20 };
    struct fixture *f = *state;
    char *body = mem_zalloc(LONG + 1);
    f->options.idle_timeout_ms = 60000;
    memset(body, 'x', LONG);
    say(f, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 100 && f->kept == NULL; i++) {
        loop_step(&f->loop, 5);
    }
    http1_respond_text(f->kept, 200, NULL, body);
    loop_step(&f->loop, 0);
    shutdown(f->fd, SHUT_WR);
    for (int i = 0; i < 20; i++) {
        loop_step(&f->loop, 1);
    }
    char *got = receive(f, 200);
    assert_int_equal(strlen(got), strlen("HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n") + LONG + strlen("EOF"));
    free(got);
    free(body);
}

static void test_slow_reader_is_told_and_costs_a_bound(void **state)
{
    struct fixture *f = *state;
    uint8_t piece[4096];
    memset(piece, 'p', sizeof piece);
    say(f, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 20 && f->kept == NULL; i++) {
        loop_step(&f->loop, 5);
    }
    size_t sent = 0;
    for (int still = 0; still < 50; loop_step(&f->loop, 0)) {
        still = http1_writable(f->kept) ? 0 : still + 1;
        while (http1_writable(f->kept)) {
            http1_stream_write(f->kept, bytes_of(piece, sizeof piece));
            sent += sizeof piece;
        }
        assert_true(sent < 64u << 20);
    }
    http1_stream_end(f->kept);
    char *got = receive(f, 50);
    size_t count = 0;
    for (const char *p = got; *p != 0; p++) {
        count += *p == 'p';
    }
    assert_int_equal(count, sent + 3); /* and those of "Content-Type: application/json" */
    free(got);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_get_with_query_and_header),
        TEST(test_post_with_length),
        TEST(test_chunked_body),
        TEST(test_request_that_comes_byte_by_byte),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_long_body_behind_a_slow_request_is_read),
        TEST(test_head_has_length_and_no_body),
        TEST(test_http_1_0_closes_unless_asked),
        TEST(test_not_found_is_gos),
        TEST(test_expect_continue),
        TEST(test_bare_line_feeds_are_lines),
        TEST(test_garbage),
        TEST(test_missing_host),
        TEST(test_host_with_bytes_that_no_host_has),
        TEST(test_two_hosts),
        TEST(test_both_kinds_of_length),
        TEST(test_two_lengths),
        TEST(test_negative_length),
        TEST(test_blank_before_colon),
        TEST(test_folded_line),
        TEST(test_other_transfer_coding),
        TEST(test_other_version),
        TEST(test_body_beyond_the_limit),
        TEST(test_chunk_beyond_the_limit),
        TEST(test_chunk_size_that_is_none),
        TEST(test_head_beyond_the_limit),
        TEST(test_head_that_does_not_come),
        TEST(test_idle_connection_is_closed),
        TEST(test_chunked_answer),
        TEST(test_client_that_goes_away_aborts),
        TEST(test_late_answer_after_half_close),
        TEST(test_long_answer_outlives_the_end_of_input),
        TEST(test_slow_reader_is_told_and_costs_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
