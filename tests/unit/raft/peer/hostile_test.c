/* A transport whose other side is a bare socket: what goes over the wire, and what nobody should send. Texts and order
 * of the checks are peer.md's. */
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "raft/peer/stream_codec.h"
#include "tests/support/loopback.h"
#include "tests/support/peer_bed.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define A (&bed->members[0])
#define CLUSTER "45f4d005b8294f66"

static int set_up(void **state)
{
    struct peer_bed *bed = mem_zalloc(sizeof *bed);
    peer_bed_open(bed, 1);
    *state = bed;
    return 0;
}

static int tear_down(void **state)
{
    peer_bed_close(*state);
    free(*state);
    return 0;
}

/* --- sockets --------------------------------------------------------------------------------------------------------
 */

static int dial(struct peer_bed *bed)
{
    return loopback_connect(loopback_port(A->url));
}

static void say(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* What comes until it is quiet for 30 ms, and for 20 turns of the loop, if the machine is busy; "EOF" at the end of the
 * connection. Without Date. */
static char *hear(struct peer_bed *bed, int fd, size_t *len)
{
    struct buffer got = {0};
    uint64_t until = loop_clock_ns() + 30000000;
    for (int quiet = 0; quiet < 20 || loop_clock_ns() < until; quiet++) {
        loop_step(&bed->loop, 1);
        ssize_t n = recv(fd, buffer_reserve(&got, 65536), 65536, 0);
        if (n > 0) {
            got.len += (size_t)n;
            quiet = 0;
            until = loop_clock_ns() + 30000000;
        } else if (n == 0 || errno != EAGAIN) {
            buffer_append(&got, "EOF", 3);
            break;
        }
    }
    buffer_append(&got, "", 1);
    char *date = strstr((char *)got.data, "Date: ");
    if (date != NULL) {
        char *end = strchr(date, '\n') + 1;
        memmove(date, end, (size_t)((char *)got.data + got.len - end));
        got.len -= (size_t)(end - date);
    }
    if (len != NULL) {
        *len = got.len - 1;
    }
    return (char *)got.data;
}

/* Says it on a new connection; the answer must be this. */
static void dialogue(struct peer_bed *bed, const char *request, const char *expected)
{
    int fd = dial(bed);
    say(fd, request, strlen(request));
    char *got = hear(bed, fd, NULL);
    assert_string_equal(got, expected);
    free(got);
    close(fd);
}

#define HEADERS(version, minimum, cluster)                                                                             \
    "Host: h\r\nX-Etcd-Cluster-Id: " cluster "\r\nX-Min-Cluster-Version: " minimum                                     \
    "\r\nX-Peerurls: http://127.0.0.1:9\r\nX-Server-From: 9\r\nX-Server-Version: " version "\r\n"
#define GOOD HEADERS("3.7.1", "3.0.0", CLUSTER)

#define ERROR(status, more, length, text)                                                                              \
    "HTTP/1.1 " status "\r\n" more "X-Etcd-Cluster-Id: " CLUSTER                                                       \
    "\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; "                                                \
    "charset=utf-8\r\nContent-Length: " length "\r\n\r\n" text "\n"
#define STREAM "X-Server-Version: 3.7.1\r\n"

/* --- who may ask for a stream ---------------------------------------------------------------------------------------
 */

static void test_streams_are_refused_in_etcds_order_and_words(void **state)
{
    struct peer_bed *bed = *state;
    A->removed_id = 8;
    dialogue(bed, "GET /raft/stream/nonsense HTTP/1.1\r\n" HEADERS("2.9.0", "3.0.0", "77") "\r\n",
             ERROR("412 Precondition Failed", STREAM, "21", "incompatible version"));
    dialogue(bed, "GET /raft/stream/message/9 HTTP/1.1\r\n" HEADERS("3.8.0", "3.8.0", CLUSTER) "\r\n",
             ERROR("412 Precondition Failed", STREAM, "21", "incompatible version"));
    dialogue(bed, "GET /raft/stream/message/9 HTTP/1.1\r\nHost: h\r\nX-Etcd-Cluster-Id: " CLUSTER "\r\n\r\n",
             ERROR("412 Precondition Failed", STREAM, "21", "incompatible version"));
    dialogue(bed, "GET /raft/stream/nonsense HTTP/1.1\r\n" HEADERS("3.7.1", "3.0.0", "77") "\r\n",
             ERROR("412 Precondition Failed", STREAM, "20", "cluster ID mismatch"));
    dialogue(bed, "GET /raft/stream/nonsense/9 HTTP/1.1\r\n" GOOD "\r\n",
             ERROR("404 Not Found", STREAM, "13", "invalid path"));
    dialogue(bed, "GET /raft/stream/message/xyz HTTP/1.1\r\n" GOOD "\r\n",
             ERROR("404 Not Found", STREAM, "13", "invalid from"));
    dialogue(bed, "GET /raft/stream/message/8 HTTP/1.1\r\n" GOOD "\r\n",
             ERROR("410 Gone", STREAM, "15", "removed member"));
    dialogue(bed, "GET /raft/stream/message/9 HTTP/1.1\r\n" GOOD "\r\n",
             ERROR("404 Not Found", STREAM, "23", "error sender not found"));
    peer_add(A->transport, 9, "http://127.0.0.1:9");
    dialogue(bed, "GET /raft/stream/message/9 HTTP/1.1\r\n" GOOD "X-Raft-To: 2\r\n\r\n",
             ERROR("412 Precondition Failed", STREAM, "18", "to field mismatch"));
    dialogue(bed, "POST /raft/stream/message/9 HTTP/1.1\r\n" GOOD "Content-Length: 0\r\n\r\n",
             "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nX-Content-Type-Options: nosniff\r\nContent-Type: "
             "text/plain; charset=utf-8\r\nContent-Length: 19\r\n\r\nMethod Not Allowed\n");
}

#define ESTABLISHED                                                                                                    \
    "HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nX-Etcd-Cluster-Id: " CLUSTER "\r\nTransfer-Encoding: "              \
    "chunked\r\n\r\n"

static int open_stream(struct peer_bed *bed, const char *kind)
{
    char request[512];
    int fd = dial(bed);
    snprintf(request, sizeof request, "GET /raft/stream/%s/9 HTTP/1.1\r\n" GOOD "X-Raft-To: 1\r\n\r\n", kind);
    say(fd, request, strlen(request));
    char *got = hear(bed, fd, NULL);
    assert_string_equal(got, ESTABLISHED);
    free(got);
    return fd;
}

static struct raft_message heartbeat(void)
{
    return (struct raft_message){.type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 9, .term = 3, .commit = 5};
}

static void test_a_stream_is_flushed_at_once_and_then_as_messages_come(void **state)
{
    struct peer_bed *bed = *state;
    peer_add(A->transport, 9, "http://127.0.0.1:9");
    int fd = open_stream(bed, "message");
    struct raft_message m[2] = {heartbeat(), heartbeat()};
    size_t len;
    peer_send(A->transport, m, 2);
    char *got = hear(bed, fd, &len);
    static const uint8_t expected[] = "000024\r\n\0\0\0\0\0\0\0\x0a\x08\x08\x10\x09\x18\x01\x20\x03\x40\x05"
                                      "\0\0\0\0\0\0\0\x0a\x08\x08\x10\x09\x18\x01\x20\x03\x40\x05\r\n";
    assert_int_equal(len, sizeof expected - 1); /* one chunk for both */
    assert_memory_equal(got, expected, len);
    free(got);
    close(fd);
    assert_true(peer_bed_until(bed, 1000, A->unreachable > 0));
}

static void test_a_newer_stream_replaces_the_older(void **state)
{
    struct peer_bed *bed = *state;
    peer_add(A->transport, 9, "http://127.0.0.1:9");
    int older = open_stream(bed, "message"), other = open_stream(bed, "msgapp"), newer = open_stream(bed, "message");
    char *got = hear(bed, older, NULL);
    assert_string_equal(got, "EOF");
    free(got);
    struct raft_message m = heartbeat();
    size_t len;
    peer_send(A->transport, &m, 1);
    got = hear(bed, newer, &len);
    assert_int_equal(len, 8 + 18 + 2);
    free(got);
    got = hear(bed, other, &len);
    assert_int_equal(len, 0);
    free(got);
    close(older);
    close(newer);
    close(other);
}

/* The queue and the kernel take some, the rest is dropped and reported; after 5 s the connection is cut. */
static void test_a_stream_that_nobody_reads_is_bounded_and_cut(void **state)
{
    struct peer_bed *bed = *state;
    peer_add(A->transport, 9, "http://127.0.0.1:9");
    int fd = open_stream(bed, "msgapp");
    struct shared *data = shared_new((size_t)1 << 20);
    memset(data->data, 'x', data->len);
    uint64_t began = loop_clock_ns();
    for (uint64_t i = 0; i < 2000; i++) {
        struct raft_entry e = {.index = i + 1, .term = 3, .data = data};
        struct raft_message m = {.type = RAFT_MSG_APPEND,
                                 .from = 1,
                                 .to = 9,
                                 .term = 3,
                                 .log_term = 3,
                                 .index = i,
                                 .entries = &e,
                                 .entry_count = 1};
        peer_send(A->transport, &m, 1);
        loop_step(&bed->loop, 0);
        assert_in_range(atomic_load(&data->refs), 1, 66);
    }
    assert_true(A->unreachable > 100);
    assert_true(peer_bed_until(bed, 9000, atomic_load(&data->refs) == 1));
    assert_in_range((loop_clock_ns() - began) / 1000000, 4900, 8900);
    close(fd);
    shared_unref(data);
}

/* --- posts ----------------------------------------------------------------------------------------------------------
 */

static void test_posts_are_taken_refused_or_cut_as_etcd_does_it(void **state)
{
    struct peer_bed *bed = *state;
    dialogue(bed, "POST /raft HTTP/1.1\r\n" GOOD "Content-Length: 8\r\n\r\n\x08\x08\x10\x01\x18\x09\x20\x03",
             "HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: " CLUSTER "\r\n\r\n");
    assert_int_equal(A->messages, 1);
    dialogue(bed, "POST /raft HTTP/1.1\r\n" GOOD "Content-Length: 3\r\n\r\nabc",
             ERROR("400 Bad Request", "", "33", "error unmarshalling raft message"));
    dialogue(bed, "POST /raft HTTP/1.1\r\n" GOOD "Content-Length: 8\r\n\r\n\x08\x08\x10\x02\x18\x09\x20\x03",
             "HTTP/1.1 500 Internal Server Error\r\nX-Etcd-Cluster-Id: " CLUSTER
             "\r\nX-Content-Type-Options: nosniff\r\nContent-Type: text/plain; "
             "charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\nerror processing raft message\n\r\nEOF");
    dialogue(bed, "POST /raft HTTP/1.1\r\n" HEADERS("3.7.1", "3.0.0", "77") "Content-Length: 0\r\n\r\n",
             ERROR("412 Precondition Failed", "", "20", "cluster ID mismatch"));
    dialogue(bed, "GET /raft HTTP/1.1\r\n" GOOD "\r\n",
             "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nX-Content-Type-Options: nosniff\r\nContent-Type: "
             "text/plain; charset=utf-8\r\nContent-Length: 19\r\n\r\nMethod Not Allowed\n");
    assert_int_equal(A->messages, 1);
}

/* Term 0 means "local" to raft; entries that do not follow one another would break the log. */
static void test_messages_that_make_no_sense_are_not_handed_on(void **state)
{
    struct peer_bed *bed = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x08\x01\x10\x01\x18\x09\x20\x03", 8},                                          /* a local type */
        {"\x08\x08\x10\x01\x18\x09", 6},                                                  /* no term */
        {"\x08\x08\x10\x01\x20\x03", 6},                                                  /* from nobody */
        {"\x08\x03\x10\x01\x18\x09\x20\x03\x30\x05\x3a\x04\x10\x03\x18\x07", 16},         /* a gap */
        {"\x08\x03\x10\x01\x18\x09\x20\x03\x30\x05\x3a\x04\x10\x04\x18\x06", 16},         /* an entry of a later term */
        {"\x08\x03\x10\x01\x18\x09\x20\x03\x28\x02\x30\x05\x3a\x04\x10\x01\x18\x06", 18}, /* a term that goes back */
        {"\x08\x07\x10\x01\x18\x09\x20\x03", 8}, /* a snapshot without its data */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char head[512];
        int fd = dial(bed);
        snprintf(head, sizeof head, "POST /raft HTTP/1.1\r\n" GOOD "Content-Length: %zu\r\n\r\n", bad[i].len);
        say(fd, head, strlen(head));
        say(fd, bad[i].bytes, bad[i].len);
        char *got = hear(bed, fd, NULL);
        assert_non_null(strstr(got, "500 Internal Server Error"));
        free(got);
        close(fd);
    }
    assert_int_equal(A->messages, 0);
}

static void test_strangers_that_claim_many_ids_cost_a_bound(void **state)
{
    struct peer_bed *bed = *state;
    for (int i = 0; i < 300; i++) {
        char request[512];
        int fd = dial(bed);
        snprintf(request, sizeof request,
                 "POST /raft HTTP/1.1\r\nHost: h\r\nX-Etcd-Cluster-Id: " CLUSTER
                 "\r\nX-Peerurls: http://127.0.0.1:9\r\nX-Server-From: %x\r\nX-Server-Version: "
                 "3.7.1\r\nX-Min-Cluster-Version: 3.0.0\r\nConnection: close\r\nContent-Length: "
                 "8\r\n\r\n\x08\x08\x10\x01\x18\x09\x20\x03",
                 0x100 + i);
        say(fd, request, strlen(request));
        loop_step(&bed->loop, 1);
        loop_step(&bed->loop, 1);
        close(fd);
    }
    peer_bed_run(bed, 50);
    unsigned answered = 0;
    for (uint64_t id = 0x100; id < 0x100 + 300; id++) {
        struct raft_message m = {.type = RAFT_MSG_HEARTBEAT_RESPONSE, .from = 1, .to = id, .term = 3};
        peer_send(A->transport, &m, 1);
    }
    peer_bed_run(bed, 300);
    answered = A->unreachable; /* each remote's port is closed */
    assert_in_range(answered, 1, 64);
}

/* --- images ---------------------------------------------------------------------------------------------------------
 */

static void post_image(struct peer_bed *bed, const void *body, size_t len, size_t claimed, const char *expected)
{
    char head[512];
    int fd = dial(bed);
    snprintf(head, sizeof head, "POST /raft/snapshot HTTP/1.1\r\n" GOOD "Content-Length: %zu\r\n\r\n", claimed);
    say(fd, head, strlen(head));
    for (size_t i = 0; i < len; i++) { /* byte by byte */
        if (send(fd, (const char *)body + i, 1, MSG_NOSIGNAL) != 1) {
            break;
        }
        loop_step(&bed->loop, 0);
    }
    if (claimed > len) {
        shutdown(fd, SHUT_WR);
    }
    char *got = hear(bed, fd, NULL);
    if (strstr(got, expected) == NULL) {
        fail_msg("expected %s, got %s", expected, got);
    }
    free(got);
    close(fd);
}

static void test_images_without_a_sensible_message_are_refused(void **state)
{
    struct peer_bed *bed = *state;
    post_image(bed, "", 0, 0, "failed to decode raft message (EOF)\n");
    post_image(bed, "\0\0\0", 3, 3, "failed to decode raft message (unexpected EOF)\n");
    post_image(bed, "\0\0\0\0\0\0\0\x09\x08\x07", 10, 10, "failed to decode raft message (unexpected EOF)\n");
    post_image(bed, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 8,
               "failed to decode raft message (rafthttp: error limit exceeded)\n");
    post_image(bed, "\0\0\0\0\0\0\0\2\xff\xff", 10, 10,
               "failed to decode raft message (proto: cannot parse invalid wire-format data)\n");
    post_image(bed, "\0\0\0\0\0\0\0\x02\x08\0", 10, 10, "wrong raft message type\n"); /* a type that never travels */
    post_image(bed, "\0\0\0\0\0\0\0\x08\x08\x08\x10\x01\x18\x09\x20\x03", 16, 16, "wrong raft message type\n");
    post_image(bed, "\0\0\0\0\0\0\0\x08\x08\x07\x10\x02\x18\x09\x20\x03", 16, 16, "error processing raft message\n");
    assert_int_equal(A->begun, 0);
}

#define ENVELOPE "\0\0\0\0\0\0\0\x12\x08\x07\x10\x01\x18\x09\x20\x03\x4a\x08\x12\x06\x0a\x00\x10\x05\x18\x02"
#define ENVELOPE_LEN 26

static void test_an_image_that_trickles_in_is_taken_and_one_that_ends_early_dropped(void **state)
{
    struct peer_bed *bed = *state;
    post_image(bed, ENVELOPE "database", ENVELOPE_LEN + 8, ENVELOPE_LEN + 8, "204 No Content");
    assert_int_equal(A->finished, 1);
    assert_int_equal(A->image_bytes.len, 8);
    assert_memory_equal(A->image_bytes.data, "database", 8);
    post_image(bed, ENVELOPE "data", ENVELOPE_LEN + 4, ENVELOPE_LEN + 8, "EOF");
    assert_int_equal(A->begun, 2);
    assert_int_equal(A->finished, 1);
    assert_int_equal(A->aborted, 1);
}

static void test_a_chunked_image_with_a_broken_frame_is_dropped(void **state)
{
    struct peer_bed *bed = *state;
    static const char start[] = "POST /raft/snapshot HTTP/1.1\r\n" GOOD
                                "Transfer-Encoding: chunked\r\n\r\n1a\r\n" ENVELOPE "\r\n4\r\ndata\r\nzz\r\n";
    int fd = dial(bed);
    say(fd, start, sizeof start - 1);
    char *got = hear(bed, fd, NULL);
    assert_string_equal(got, "EOF");
    free(got);
    close(fd);
    assert_int_equal(A->aborted, 1);
}

/* --- this side asks, and who answers is up to no good ---------------------------------------------------------------
 */

struct port {
    int fd;
    char url[64];
};

static struct port open_port(void)
{
    int number;
    struct port port = {.fd = loopback_listen(&number)};
    snprintf(port.url, sizeof port.url, "http://127.0.0.1:%d", number);
    return port;
}

static int accept_one(struct peer_bed *bed, const struct port *port)
{
    int fd;
    assert_true(peer_bed_until(bed, 2000, (fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0));
    return fd;
}

static void test_streams_are_asked_for_with_etcds_headers(void **state)
{
    struct peer_bed *bed = *state;
    struct port port = open_port();
    char expected[512];
    peer_add(A->transport, 0xb9d3709a52f967a3, port.url);
    int fd = accept_one(bed, &port);
    char *got = hear(bed, fd, NULL);
    snprintf(expected, sizeof expected,
             "GET /raft/stream/message/1 HTTP/1.1\r\nHost: %s\r\nUser-Agent: kedge\r\nX-Etcd-Cluster-Id: " CLUSTER
             "\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Peerurls: %s\r\nX-Server-From: 1\r\nX-Server-Version: "
             "3.7.1\r\nX-Raft-To: b9d3709a52f967a3\r\n\r\n",
             port.url + 7, A->url);
    assert_string_equal(got, expected);
    free(got);
    close(fd);
    close(port.fd);
}

/* How often a member dials within a second, when each connection is answered with this. */
static unsigned dials(struct peer_bed *bed, const char *answer, size_t len)
{
    struct port port = open_port();
    unsigned count = 0;
    peer_add(A->transport, 9, port.url);
    uint64_t until = loop_clock_ns() + 1000000000;
    while (loop_clock_ns() < until) {
        int fd = accept4(port.fd, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0) {
            count++;
            peer_bed_run(bed, 2);
            ssize_t n = send(fd, answer, len, MSG_NOSIGNAL);
            (void)n;
            peer_bed_run(bed, 5);
            close(fd);
        }
        loop_step(&bed->loop, 2);
    }
    peer_remove(A->transport, 9);
    close(port.fd);
    return count;
}

#define ANSWER(status, text) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" text
#define OPENED "HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_whatever_the_answer_a_reader_dials_at_most_each_100_ms(void **state)
{
    struct peer_bed *bed = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } answers[] = {
#define TRY(text) {text, sizeof(text) - 1}
        TRY(""),
        TRY("garbage\r\n\r\n"),
        TRY(ANSWER("404 Not Found", "error sender not found\n")),
        TRY(ANSWER("412 Precondition Failed", "cluster ID mismatch\n")),
        TRY("HTTP/1.1 200 OK\r\nX-Server-Version: 2.0.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        TRY(OPENED "8\r\n\xff\xff\xff\xff\xff\xff\xff\xff\r\n"),
        TRY(OPENED "a\r\n\0\0\0\0\0\0\0\2\x08\x01\r\n"),
        TRY(OPENED "zz\r\n"),
        TRY(OPENED "0\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        unsigned count = dials(bed, answers[i].bytes, answers[i].len);
        if (count < 4 || count > 22) { /* two readers */
            fail_msg("answer %zu: dialled %u times", i, count);
        }
    }
    assert_int_equal(A->messages, 0);
    assert_int_equal(A->removed, 0);
}

static void test_gone_means_removed(void **state)
{
    struct peer_bed *bed = *state;
    dials(bed, ANSWER("410 Gone", "removed member\n"), strlen(ANSWER("410 Gone", "removed member\n")));
    assert_true(A->removed > 0);
}

static void test_a_stream_that_falls_silent_is_dialled_again(void **state)
{
    struct peer_bed *bed = *state;
    struct port port = open_port();
    peer_add(A->transport, 9, port.url);
    int first = accept_one(bed, &port), second = accept_one(bed, &port);
    say(first, OPENED, strlen(OPENED));
    say(second, OPENED, strlen(OPENED));
    assert_true(peer_bed_until(bed, 1000, peer_active_since_ms(A->transport, 9) != 0));
    uint64_t began = loop_clock_ns();
    assert_true(peer_bed_until(bed, 7000, peer_active_since_ms(A->transport, 9) == 0));
    assert_in_range((loop_clock_ns() - began) / 1000000, 4500, 6900);
    int third = accept_one(bed, &port);
    close(first);
    close(second);
    close(third);
    close(port.fd);
}

static void test_a_flood_of_a_stream_is_taken_in_the_order_it_came(void **state)
{
    struct peer_bed *bed = *state;
    struct port port = open_port();
    peer_add(A->transport, 9, port.url);
    int fd = accept_one(bed, &port);
    say(fd, OPENED, strlen(OPENED));
    struct buffer flood = {0};
    for (int i = 0; i < 20000; i++) {
        static const char chunk[] = "12\r\n\0\0\0\0\0\0\0\x0a\x08\x08\x10\x01\x18\x09\x20\x03\x40\x05\r\n";
        buffer_append(&flood, chunk, sizeof chunk - 1);
    }
    size_t at = 0;
    while (at < flood.len) {
        ssize_t n = send(fd, flood.data + at, flood.len - at, MSG_NOSIGNAL);
        at += n > 0 ? (size_t)n : 0;
        loop_step(&bed->loop, 1);
    }
    assert_true(peer_bed_until(bed, 2000, A->messages == 20000));
    buffer_free(&flood);
    close(fd);
    close(port.fd);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_configure(LOG_FATAL, LOG_CONSOLE);
    const struct CMUnitTest tests[] = {
        test(test_streams_are_refused_in_etcds_order_and_words),
        test(test_a_stream_is_flushed_at_once_and_then_as_messages_come),
        test(test_a_newer_stream_replaces_the_older),
        test(test_a_stream_that_nobody_reads_is_bounded_and_cut),
        test(test_posts_are_taken_refused_or_cut_as_etcd_does_it),
        test(test_messages_that_make_no_sense_are_not_handed_on),
        test(test_strangers_that_claim_many_ids_cost_a_bound),
        test(test_images_without_a_sensible_message_are_refused),
        test(test_an_image_that_trickles_in_is_taken_and_one_that_ends_early_dropped),
        test(test_a_chunked_image_with_a_broken_frame_is_dropped),
        test(test_streams_are_asked_for_with_etcds_headers),
        test(test_whatever_the_answer_a_reader_dials_at_most_each_100_ms),
        test(test_gone_means_removed),
        test(test_a_stream_that_falls_silent_is_dialled_again),
        test(test_a_flood_of_a_stream_is_taken_in_the_order_it_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
