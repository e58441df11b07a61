/* The HTTP/1 client against a bare socket that says what the test wants. */
#include "base/check.h"
#include "base/net/http1_client.h"
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
    int listening, port, fd; /* fd: the server's end of the connection */
    struct http1_client client;
    struct http1_ask ask;
    struct buffer body;
    unsigned heads, done;
    char failure[128];
    bool failed, pause, close_in_head;
    size_t to_send; /* of a streamed body */
    bool starving;
};

static void on_head(struct http1_client *client)
{
    struct fixture *f = client->owner;
    f->heads++;
    if (f->close_in_head) {
        http1_client_close(client);
    }
}

static void on_data(struct http1_client *client, struct bytes data)
{
    struct fixture *f = client->owner;
    buffer_append(&f->body, data.data, data.len);
    if (f->pause) {
        http1_client_pause(client);
    }
}

static ssize_t on_room(struct http1_client *client, uint8_t *out, size_t cap)
{
    struct fixture *f = client->owner;
    if (f->starving) {
        return 0;
    }
    size_t n = f->to_send < cap ? f->to_send : cap;
    memset(out, 'b', n);
    f->to_send -= n;
    return n == 0 ? -1 : (ssize_t)n;
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct fixture *f = client->owner;
    f->done++;
    f->failed = failure != NULL;
    snprintf(f->failure, sizeof f->failure, "%s", failure == NULL ? "" : failure);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    assert_int_equal(loop_init(&f->loop), 0);
    f->listening = loopback_listen(&f->port);
    f->fd = -1;
    f->client = (struct http1_client){
        .loop = &f->loop, .owner = f, .on_head = on_head, .on_data = on_data, .on_room = on_room, .on_done = on_done};
    f->ask = (struct http1_ask){.host = "127.0.0.1",
                                .port = f->port,
                                .authority = "h",
                                .method = "GET",
                                .target = "/x",
                                .dial_ms = 1000,
                                .idle_ms = 2000};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http1_client_close(&f->client);
    loop_step(&f->loop, 0);
    close(f->fd);
    close(f->listening);
    buffer_free(&f->body);
    loop_close(&f->loop);
    free(f);
    return 0;
}

/* For so long, and 20 turns of the loop, if the machine is busy. */
static void run(struct fixture *f, int ms)
{
    uint64_t until = loop_clock_ns() + (uint64_t)ms * 1000000;
    for (int turns = 0; turns < 20 || loop_clock_ns() < until; turns++) {
        loop_step(&f->loop, 1);
    }
}

static void accept_one(struct fixture *f)
{
    close(f->fd);
    for (int i = 0; i < 1000 && (f->fd = accept4(f->listening, NULL, NULL, SOCK_NONBLOCK)) < 0; i++) {
        loop_step(&f->loop, 1);
    }
    assert_true(f->fd >= 0);
}

/* What the client says, until it is quiet for 20 ms. */
static char *hear(struct fixture *f)
{
    struct buffer got = {0};
    uint64_t until = loop_clock_ns() + 20000000;
    for (int quiet = 0; quiet < 20 || loop_clock_ns() < until; quiet++) {
        loop_step(&f->loop, 1);
        ssize_t n = recv(f->fd, buffer_reserve(&got, 65536), 65536, 0);
        if (n > 0) {
            got.len += (size_t)n;
            quiet = 0;
            until = loop_clock_ns() + 20000000;
        } else if (n == 0) {
            buffer_append(&got, "EOF", 3);
            break;
        }
    }
    buffer_append(&got, "", 1);
    return (char *)got.data;
}

static void expect(struct fixture *f, const char *text)
{
    char *got = hear(f);
    assert_string_equal(got, text);
    free(got);
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    run(f, 20);
}

static void start(struct fixture *f)
{
    f->done = 0;
    f->body.len = 0;
    http1_client_start(&f->client, &f->ask);
}

static void assert_answered(struct fixture *f, int status, const char *body)
{
    if (f->failed) {
        fail_msg("failed: %s", f->failure);
    }
    assert_int_equal(f->done, 1);
    assert_int_equal(f->client.status, status);
    assert_int_equal(f->body.len, strlen(body));
    assert_memory_equal(f->body.data == NULL ? (const void *)"" : f->body.data, body, f->body.len);
}

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

static void test_a_connection_is_used_again(void **state)
{
    struct fixture *f = *state;
    start(f);
    accept_one(f);
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: a b\r\n\r\nhello");
    assert_answered(f, 200, "hello");
    assert_true(bytes_equal(http1_client_header(&f->client, "x-own"), bytes_str("a b")));
    f->ask.method = "POST";
    f->ask.body = bytes_str("data");
    f->ask.headers = bytes_str("A: b\r\n");
    start(f);
    expect(f, "POST /x HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 4\r\n\r\ndata");
    say(f, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_answered(f, 204, "");
}

static void test_a_kept_connection_that_is_closed_meanwhile_costs_nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    accept_one(f);
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_answered(f, 200, "");
    start(f);
    expect(f, GET);
    accept_one(f); /* closes the first without a byte of an answer */
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    assert_answered(f, 200, "x");
}

static void test_a_new_connection_that_breaks_is_a_failure(void **state)
{
    struct fixture *f = *state;
    start(f);
    accept_one(f);
    expect(f, GET);
    close(f->fd);
    f->fd = -1;
    run(f, 50);
    assert_int_equal(f->done, 1);
    assert_string_equal(f->failure, "EOF");
}

static void test_bodies_of_every_kind(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *answer, *body;
        bool closes;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", false},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "", false},
        {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", "ab", false},
        {"HTTP/1.0 200 OK\r\n\r\nto the end", "to the end", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(f);
        if (i == 0) {
            accept_one(f);
        }
        expect(f, GET);
        for (const char *p = cases[i].answer; *p != '\0'; p++) { /* byte by byte */
            assert_int_equal(send(f->fd, p, 1, MSG_NOSIGNAL), 1);
            loop_step(&f->loop, 1);
        }
        if (cases[i].closes) {
            shutdown(f->fd, SHUT_WR);
        }
        run(f, 20);
        assert_answered(f, f->client.status, cases[i].body);
    }
}

static void test_answers_that_make_no_sense_are_failures(void **state)
{
    struct fixture *f = *state;
    static const char *const answers[] = {
        "hello\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2xx OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        start(f);
        accept_one(f);
        expect(f, GET);
        say(f, answers[i]);
        assert_int_equal(f->done, 1);
        assert_true(f->failed);
    }
}

static void test_a_head_without_end_is_bounded(void **state)
{
    struct fixture *f = *state;
    char line[1024];
    memset(line, 'x', sizeof line);
    start(f);
    accept_one(f);
    expect(f, GET);
    for (int i = 0; i < 40 && f->done == 0; i++) {
        ssize_t n = send(f->fd, line, sizeof line, MSG_NOSIGNAL);
        (void)n;
        run(f, 2);
    }
    assert_int_equal(f->done, 1);
    assert_string_equal(f->failure, "the answer's head is too long");
}

static void test_silence_ends_a_request(void **state)
{
    struct fixture *f = *state;
    f->ask.idle_ms = 100;
    start(f);
    accept_one(f);
    for (int i = 0; i < 5; i++) { /* a byte each 40 ms is no silence */
        assert_int_equal(send(f->fd, "H", 1, MSG_NOSIGNAL), 1);
        run(f, 40);
        assert_int_equal(f->done, 0);
    }
    run(f, 200);
    assert_int_equal(f->done, 1);
    assert_string_equal(f->failure, "i/o timeout");
    f->ask.idle_ms = 0;
    f->ask.total_ms = 60;
    start(f);
    run(f, 150);
    assert_int_equal(f->done, 1);
    assert_string_equal(f->failure, "timeout");
}

/* The process was stopped for longer than the limit: what came meanwhile counts. */
static void test_a_pause_of_this_process_is_no_silence(void **state)
{
    struct fixture *f = *state;
    f->ask.idle_ms = 100;
    start(f);
    accept_one(f);
    expect(f, GET);
    usleep(1300000);
    f->loop.now_ns = loop_clock_ns();
    f->client.idle_timer.fire(&f->client.idle_timer); /* as if it had come before the bytes */
    assert_int_equal(f->done, 0);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_answered(f, 200, "ok");
}

static void test_a_body_that_is_not_wanted_now_waits(void **state)
{
    struct fixture *f = *state;
    f->ask.idle_ms = 100;
    f->pause = true;
    start(f);
    accept_one(f);
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    say(f, "world");
    assert_int_equal(f->body.len, 5);
    run(f, 200); /* longer than the time without a byte */
    assert_int_equal(f->done, 0);
    f->pause = false;
    http1_client_resume(&f->client);
    run(f, 20);
    assert_answered(f, 200, "helloworld");
}

static void test_a_streamed_body_waits_for_its_source(void **state)
{
    struct fixture *f = *state;
    f->ask.method = "POST";
    f->ask.streamed = true;
    f->ask.idle_ms = 100;
    f->starving = true;
    f->to_send = 3;
    start(f);
    accept_one(f);
    expect(f, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    run(f, 200);
    assert_int_equal(f->done, 0);
    f->starving = false;
    http1_client_more(&f->client);
    expect(f, "000003\r\nbbb\r\n0\r\n\r\n");
    say(f, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_answered(f, 204, "");
}

static void test_an_answer_before_the_body_is_sent_ends_it(void **state)
{
    struct fixture *f = *state;
    f->ask.method = "POST";
    f->ask.streamed = true;
    f->ask.length_known = true;
    f->ask.length = f->to_send = (size_t)50 << 20;
    start(f);
    accept_one(f);
    run(f, 50);
    say(f, "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno");
    assert_answered(f, 412, "no");
    assert_true(f->to_send > 0);
    assert_null(f->client.connection); /* nobody could use it again */
}

static void test_a_client_may_be_closed_in_its_callbacks(void **state)
{
    struct fixture *f = *state;
    f->close_in_head = true;
    start(f);
    accept_one(f);
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(f->heads, 1);
    assert_int_equal(f->done, 0);
    assert_int_equal(f->body.len, 0);
    f->close_in_head = false;
    start(f);
    accept_one(f);
    expect(f, GET);
    say(f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_answered(f, 200, "hello");
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_connection_is_used_again),
        test(test_a_kept_connection_that_is_closed_meanwhile_costs_nothing),
        test(test_a_new_connection_that_breaks_is_a_failure),
        test(test_bodies_of_every_kind),
        test(test_answers_that_make_no_sense_are_failures),
        test(test_a_head_without_end_is_bounded),
        test(test_silence_ends_a_request),
        test(test_a_pause_of_this_process_is_no_silence),
        test(test_a_body_that_is_not_wanted_now_waits),
        test(test_a_streamed_body_waits_for_its_source),
        test(test_an_answer_before_the_body_is_sent_ends_it),
        test(test_a_client_may_be_closed_in_its_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
