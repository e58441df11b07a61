/* What the server answers to bare frames: grpc.md's table of faults, HTTP/2's own rules, floods. The texts are what
 * etcd 3.7.1 sends; with KEDGE_RAW_PORT=2379 the same dialogues run against whatever listens there (the floods do not).
 */
#include "base/check.h"
#include "grpc/server.h"
#include "kv/rpc.pb-c.h"
#include "tests/support/raw_http2.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct server *server;
    struct raw_http2 raw;
    int port;
    unsigned cancels;
};

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.count = 1;
    call_reply(call, &response.base);
}

static void on_cancel(struct call *call, int reason)
{
    struct fixture *f = call->state;
    (void)reason;
    f->cancels++;
}

static void half_closed(struct call *call)
{
    call_finish(call, GRPC_OK, "");
}

static const struct call_handler watch_handler = {.on_cancel = on_cancel, .on_half_close = half_closed};

static void watch(void *service, struct call *call)
{
    call->handler = &watch_handler;
    call->state = service;
}

static void put(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)message;
    call->handler = &watch_handler;
    call->state = service;
}

static const struct call_route routes[] = {
    {"/etcdserverpb.KV/Range", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, range, NULL},
    {"/etcdserverpb.KV/Put", CALL_UNARY, CALL_NORMAL, &etcdserverpb__put_request__descriptor,
     &etcdserverpb__put_response__descriptor, put, NULL},
    {"/etcdserverpb.Watch/Watch", CALL_STREAM, CALL_CONTROL, &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_response__descriptor, NULL, watch},
};

static int set_up_with(void **state, struct server_options options)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char reason[256];
    const char *other = getenv("KEDGE_RAW_PORT");
    *state = f;
    if (other != NULL) {
        f->port = atoi(other);
        raw_http2_open(&f->raw, f->port, NULL);
        return 0;
    }
    assert_int_equal(loop_init(&f->loop), 0);
    f->server = server_new(&f->loop, &options);
    server_route(f->server, routes, sizeof routes / sizeof routes[0], f);
    f->port = server_listen(f->server, "127.0.0.1", 0, SERVER_BOTH, reason, sizeof reason);
    server_start(f->server);
    raw_http2_open(&f->raw, f->port, &f->loop);
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, (struct server_options){0});
}

static int set_up_limited(void **state)
{
    return set_up_with(state, (struct server_options){.max_concurrent_streams = 2});
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    raw_http2_close(&f->raw);
    if (f->server != NULL) {
        server_free(f->server);
        loop_close(&f->loop);
    }
    free(f);
    return 0;
}

#define QUIET_MS (getenv("KEDGE_RAW_PORT") == NULL ? 20 : 300)

#define POST_TO(path) ":method: POST\n:scheme: http\n:path: " path "\n:authority: a\n"
#define GRPC "content-type: application/grpc\nte: trailers\n"
#define RANGE POST_TO("/etcdserverpb.KV/Range")
#define END NGHTTP2_FLAG_END_STREAM

static void expect(struct fixture *f, const char *expected)
{
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    if (getenv("KEDGE_RAW_PORT") != NULL && strcmp(got, expected) != 0) {
        print_message("--- expected\n%s--- got\n%s", expected, got);
        return;
    }
    assert_string_equal(got, expected);
}

/* One request of this head and these DATA bytes (NULL = END_STREAM is on the HEADERS). */
static void ask(struct fixture *f, const char *head, const char *data, size_t len, uint8_t data_flags)
{
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, data == NULL ? END : 0, head);
    if (data != NULL) {
        raw_http2_frame(&f->raw, NGHTTP2_DATA, data_flags, 1, data, len);
    }
}

#define EMPTY_MESSAGE "\0\0\0\0\0", 5, END

static void refused(void **state, const char *head, const char *answer)
{
    struct fixture *f = *state;
    ask(f, head, EMPTY_MESSAGE);
    expect(f, answer);
}

static void test_unknown_service(void **state)
{
    refused(
        state, POST_TO("/no.Such/Do") GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=unknown service "
        "no.Such\n");
}

static void test_unknown_method(void **state)
{
    refused(
        state, POST_TO("/etcdserverpb.KV/Do") GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=unknown method Do "
        "for service etcdserverpb.KV\n");
}

static void test_path_of_one_part(void **state)
{
    refused(
        state, POST_TO("/nothing") GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=malformed method "
        "name: \"/nothing\"\n");
}

static void test_path_without_slash(void **state)
{
    refused(
        state, POST_TO("nothing") GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=malformed method "
        "name: \"nothing\"\n");
}

static void test_no_path(void **state)
{
    refused(
        state, ":method: POST\n:scheme: http\n:authority: a\n" GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=malformed method "
        "name: \"\"\n");
}

static void test_content_type_of_something_else(void **state)
{
    refused(state, RANGE "content-type: application/json\n",
            "HEADERS 1 END_STREAM :status=415 content-type=application/grpc grpc-status=3 grpc-message=invalid gRPC "
            "request "
            "content-type \"application/json\"\n");
}

static void test_content_type_missing(void **state)
{
    refused(state, RANGE,
            "HEADERS 1 END_STREAM :status=415 content-type=application/grpc grpc-status=3 grpc-message=invalid gRPC "
            "request "
            "content-type \"\"\n");
}

static void test_content_type_with_subtype_comes_back(void **state)
{
    refused(state, RANGE "content-type: application/grpc+proto\n",
            "HEADERS 1 :status=200 content-type=application/grpc+proto\nDATA 1 7 bytes\n"
            "HEADERS 1 END_STREAM grpc-status=0 grpc-message=\n");
}

static void test_method_get(void **state)
{
    refused(
        state, ":method: GET\n:scheme: http\n:path: /etcdserverpb.KV/Range\n:authority: a\n" GRPC,
        "HEADERS 1 END_STREAM :status=405 content-type=application/grpc grpc-status=13 grpc-message=Received a HEADERS "
        "frame with :method \"GET\" which should be POST\n");
}

static void test_refusal_of_a_request_that_goes_on_is_reset(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE "content-type: text/html\n", "", 0, 0);
    expect(f, "HEADERS 1 END_STREAM :status=415 content-type=application/grpc grpc-status=3 grpc-message=invalid gRPC "
              "request "
              "content-type \"text/html\"\nRST_STREAM 1 NO_ERROR\n");
}

static void test_bad_timeout(void **state)
{
    refused(state, RANGE GRPC "grpc-timeout: 5x\n",
            "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=malformed "
            "grpc-timeout: transport: timeout unit is not recognized: \"5x\"\n");
}

static void test_timeout_too_long(void **state)
{
    refused(state, RANGE GRPC "grpc-timeout: 123456789S\n",
            "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=malformed "
            "grpc-timeout: transport: timeout string is too long: \"123456789S\"\n");
}

static void test_timeout_without_number(void **state)
{
    refused(state, RANGE GRPC "grpc-timeout: S\n",
            "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=malformed "
            "grpc-timeout: transport: timeout string is too short: \"S\"\n");
}

static void test_timeout_that_is_no_number(void **state)
{
    refused(state, RANGE GRPC "grpc-timeout: 1.5S\n",
            "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=malformed "
            "grpc-timeout: strconv.ParseUint: parsing \"1.5\": invalid syntax\n");
}

static void test_timeout_of_zero(void **state)
{
    refused(
        state, RANGE GRPC "grpc-timeout: 0S\n",
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=4 grpc-message=context deadline "
        "exceeded\n");
}

static void test_unknown_encoding(void **state)
{
    refused(
        state, RANGE GRPC "grpc-encoding: snappy\n",
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=grpc: Decompressor "
        "is not installed for grpc-encoding \"snappy\"\n");
}

static void test_compressed_flag_without_encoding(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\1\0\0\0\1x", 6, END);
    expect(
        f,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: compressed "
        "flag set with identity or empty encoding\n");
}

static void test_unknown_flag(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\2\0\0\0\1x", 6, END);
    expect(f,
           "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: received "
           "unexpected payload format 2\n");
}

static void test_end_inside_a_message(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\0\0\0\0\5ab", 7, END);
    expect(
        f,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=unexpected EOF\n");
}

static void test_end_inside_a_prefix(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\0\0\0", 3, END);
    expect(f, "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=EOF\n");
}

/* etcd says nothing here until the deadline. */
static void test_end_without_a_message(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, NULL, 0, 0);
    expect(f, "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=EOF\n");
}

static void test_message_longer_than_the_limit_is_refused_by_its_prefix(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\0\0\x20\0\1", 5, 0);
    expect(f,
           "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=8 grpc-message=grpc: received "
           "message larger than max (2097153 vs. 2097152)\nRST_STREAM 1 NO_ERROR\n");
}

static void test_unparsable_message(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\0\0\0\0\2\xff\xff", 7, END);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    const char *expected = "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 "
                           "grpc-message=grpc: error unmarshalling request: ";
    if (getenv("KEDGE_RAW_PORT") != NULL) {
        print_message("--- got\n%s", got);
    }
    assert_memory_equal(got, expected, strlen(expected));
}

static void test_answer_before_the_request_ends_stops_the_client(void **state)
{
    struct fixture *f = *state;
    ask(f, RANGE GRPC, "\0\0\0\0\3\x0a\1x", 8, 0);
    expect(f, "HEADERS 1 :status=200 content-type=application/grpc\nDATA 1 7 bytes\n"
              "HEADERS 1 END_STREAM grpc-status=0 grpc-message=\nRST_STREAM 1 NO_ERROR\n");
}

static void test_message_in_pieces(void **state)
{
    struct fixture *f = *state;
    const char *data = "\0\0\0\0\3\x0a\1x";
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, 0, RANGE GRPC);
    for (size_t i = 0; i < 8; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_DATA, 0, 1, data + i, 1);
    }
    raw_http2_frame(&f->raw, NGHTTP2_DATA, END, 1, NULL, 0);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "DATA 1 7 bytes\nHEADERS 1 END_STREAM grpc-status=0 grpc-message=\n"));
}

static void test_upper_case_header_name(void **state)
{
    refused(state, RANGE GRPC "Token: x\n", "RST_STREAM 1 PROTOCOL_ERROR\n");
}

static void test_connection_header(void **state)
{
    refused(state, RANGE GRPC "connection: close\n", "RST_STREAM 1 PROTOCOL_ERROR\n");
}

static void test_pseudo_header_after_others(void **state)
{
    refused(state, GRPC RANGE, "RST_STREAM 1 PROTOCOL_ERROR\n");
}

static void test_unary_call_of_a_method_that_streams(void **state)
{
    struct fixture *f = *state;
    ask(f, POST_TO("/etcdserverpb.Watch/Watch") GRPC, NULL, 0, 0);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "grpc-status=0"));
}

/* --- the connection -------------------------------------------------------------------------------------------------
 */

static void test_settings_are_etcds(void **state)
{
    struct fixture *f = *state;
    f->raw.all = true;
    raw_http2_greet(&f->raw);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    const char *expected = "SETTINGS 5=16384\n";
    assert_memory_equal(got, expected, strlen(expected));
    assert_null(strstr(got + 1, "SETTINGS"));
}

static void test_fourth_rapid_ping_without_a_stream_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 4; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_PING, 0, 0, "pingpong", 8);
    }
    expect(f, "PING ACK\nPING ACK\nPING ACK\nPING ACK\nGOAWAY 0 ENHANCE_YOUR_CALM too_many_pings\nEOF\n");
}

static void test_rapid_pings_beside_answers_are_forgiven(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 20; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, RANGE GRPC);
        raw_http2_message(&f->raw, 2 * i + 1, END, "\x0a\1x", 3);
        raw_http2_receive(&f->raw, QUIET_MS / 4);
        raw_http2_frame(&f->raw, NGHTTP2_PING, 0, 0, "pingpong", 8);
        assert_null(strstr(raw_http2_receive(&f->raw, QUIET_MS / 4), "GOAWAY"));
    }
}

static void test_preface_that_goes_wrong_is_no_http2(void **state)
{
    struct fixture *f = *state;
    raw_http2_send(&f->raw, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24);
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
}

static void test_first_frame_must_be_settings(void **state)
{
    struct fixture *f = *state;
    raw_http2_send(&f->raw, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_http2_frame(&f->raw, NGHTTP2_PING, 0, 0, "pingpong", 8);
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
}

static void test_too_many_streams_are_refused(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 3; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, POST_TO("/etcdserverpb.Watch/Watch") GRPC);
    }
    expect(f, "RST_STREAM 5 REFUSED_STREAM\n");
}

static void test_data_after_the_end_resets(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, 0, POST_TO("/etcdserverpb.KV/Put") GRPC);
    raw_http2_message(&f->raw, 1, END, "", 0);
    raw_http2_message(&f->raw, 1, END, "", 0);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "STREAM_CLOSED"));
    assert_int_equal(f->cancels, 1);
}

/* --- floods: bounded memory, the connection ends, others go on ------------------------------------------------------
 */

static void assert_others_are_served(struct fixture *f)
{
    struct raw_http2 other;
    raw_http2_open(&other, f->port, &f->loop);
    raw_http2_greet(&other);
    raw_http2_headers(&other, 1, 0, RANGE GRPC);
    raw_http2_message(&other, 1, END, "\x0a\1x", 3);
    assert_non_null(strstr(raw_http2_receive(&other, QUIET_MS), "grpc-status=0"));
    raw_http2_close(&other);
}

static size_t streams_of(struct fixture *f)
{
    struct server_stats stats;
    server_stats(f->server, &stats);
    return stats.streams;
}

static void test_thousands_of_resets_are_ordinary_work(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 5000; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, POST_TO("/etcdserverpb.KV/Put") GRPC);
        raw_http2_message(&f->raw, 2 * i + 1, END, "", 0);
        raw_http2_frame(&f->raw, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
    }
    for (int i = 0; i < 1000 && f->cancels < 5000; i++) {
        assert_string_equal(raw_http2_receive(&f->raw, 5), "");
    }
    assert_int_equal(f->cancels, 5000);
    assert_int_equal(streams_of(f), 0);
}

static void test_reset_flood_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 200000 && !f->raw.ended; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, END, POST_TO("/etcdserverpb.KV/Put") GRPC);
        raw_http2_frame(&f->raw, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
        if (i % 64 == 0) {
            raw_http2_receive(&f->raw, 0);
        }
    }
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
    assert_int_equal(streams_of(f), 0);
    assert_others_are_served(f);
}

static void test_continuation_flood_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_HEADERS, 0, 1, NULL, 0);
    for (int i = 0; i < 10000 && !f->raw.ended; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
        raw_http2_receive(&f->raw, 0);
    }
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
    assert_others_are_served(f);
}

static void test_large_headers_are_refused(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    char *head = mem_alloc(16000);
    snprintf(head, 16000, "%sx-long: %015000d\n", RANGE GRPC, 0);
    uint8_t *block = mem_alloc(40000);
    size_t len = raw_http2_block(block, head);
    raw_http2_frame(&f->raw, NGHTTP2_HEADERS, 0, 1, block, len);
    snprintf(head, 16000, "x-long: %015000d\n", 0);
    len = raw_http2_block(block, head);
    for (int i = 0; i < 5; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_CONTINUATION, i == 4 ? NGHTTP2_FLAG_END_HEADERS : 0, 1, block, len);
    }
    expect(f, "RST_STREAM 1 FRAME_SIZE_ERROR\n");
    assert_int_equal(streams_of(f), 0);
    assert_others_are_served(f);
    free(head);
    free(block);
}

/* One entry of 3 KiB in the dynamic table, then thousands of references to it, a byte each. */
static void test_header_bomb_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    uint8_t block[16384];
    raw_http2_greet(&f->raw);
    size_t n = raw_http2_block(block, RANGE GRPC);
    block[n++] = 0x40;
    memcpy(block + n, "\1x\x7f\x81\x16", 5); /* name "x", value of 127 + 1 + 22*128 = 2944 bytes */
    n += 5;
    memset(block + n, 'v', 2944);
    n += 2944;
    memset(block + n, 0x80 | 62, sizeof block - n);
    raw_http2_frame(&f->raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block, sizeof block);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended || strstr(got, "RST_STREAM 1") != NULL);
    assert_others_are_served(f);
}

static void test_settings_flood_ends_the_connection_of_a_peer_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 3000; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    }
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_others_are_served(f);
}

static void test_window_overflow_is_an_error(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "FLOW_CONTROL_ERROR"));
    assert_true(f->raw.ended);
}

/* --- keepalive, answers that nobody takes, stopping -----------------------------------------------------------------
 */

static int set_up_impatient(void **state)
{
    return set_up_with(state, (struct server_options){.keepalive_interval_ms = 30, .keepalive_timeout_ms = 30});
}

static int set_up_impatient_for_answers(void **state)
{
    return set_up_with(state, (struct server_options){.answer_timeout_ms = 100});
}

static void test_peer_that_answers_no_ping_is_dropped(void **state)
{
    struct fixture *f = *state;
    f->raw.deaf = f->raw.all = true;
    raw_http2_greet(&f->raw);
    const char *got = raw_http2_receive(&f->raw, 1000);
    assert_non_null(strstr(got, "PING\nEOF\n"));
}

static void test_peer_that_answers_pings_stays(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 10; i++) {
        raw_http2_receive(&f->raw, 20);
        assert_false(f->raw.ended);
    }
}

/* SETTINGS_INITIAL_WINDOW_SIZE = 0: no DATA may be sent. */
static void close_windows(struct fixture *f)
{
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
}

static void test_answer_that_nobody_takes_is_given_up(void **state)
{
    struct fixture *f = *state;
    close_windows(f);
    raw_http2_headers(&f->raw, 1, 0, RANGE GRPC);
    raw_http2_message(&f->raw, 1, END, "\x0a\1x", 3);
    assert_string_equal(raw_http2_receive(&f->raw, 1000),
                        "HEADERS 1 :status=200 content-type=application/grpc\nRST_STREAM 1 CANCEL\n");
    assert_int_equal(streams_of(f), 0);
    assert_false(f->raw.ended);
}

static void test_client_that_takes_no_answers_gets_no_more_streams(void **state)
{
    struct fixture *f = *state;
    close_windows(f);
    for (int32_t i = 0; i < 10000; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, RANGE GRPC);
        raw_http2_message(&f->raw, 2 * i + 1, END, "\x0a\1x", 3);
        if (i % 100 == 0) {
            raw_http2_receive(&f->raw, 0);
        }
    }
    assert_non_null(strstr(raw_http2_receive(&f->raw, QUIET_MS), "REFUSED_STREAM"));
    assert_true(streams_of(f) <= 8192);
    assert_others_are_served(f);
}

/* Each stream sends 60 KB of a message of 2 MB and then nothing: together more than a connection may keep. */
static void test_unfinished_requests_beyond_the_bound_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *part = mem_zalloc(60000);
    bool refused_one = false;
    part[2] = 0x1f;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 1300 && !refused_one; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, RANGE GRPC);
        for (size_t at = 0; at < 60000; at += 15000) {
            raw_http2_frame(&f->raw, NGHTTP2_DATA, 0, 2 * i + 1, part + at, 15000);
        }
        refused_one = strstr(raw_http2_receive(&f->raw, 1), "grpc-status=8") != NULL;
    }
    assert_true(refused_one);
    assert_false(f->raw.ended);
    assert_others_are_served(f);
    free(part);
}

static void stopped(void *owner)
{
    (void)owner;
}

static void test_stop_is_told_with_two_goaways(void **state)
{
    struct fixture *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, 0, POST_TO("/etcdserverpb.Watch/Watch") GRPC);
    expect(f, "");
    server_stop(f->server, 5000, stopped, NULL);
    expect(f, "GOAWAY 2147483647 NO_ERROR \nGOAWAY 1 NO_ERROR \n");
    raw_http2_frame(&f->raw, NGHTTP2_DATA, END, 1, NULL, 0);
    expect(
        f,
        "HEADERS 1 :status=200 content-type=application/grpc\nHEADERS 1 END_STREAM grpc-status=0 grpc-message=\nEOF\n");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest dialogues[] = {
        TEST(test_unknown_service),
        TEST(test_unknown_method),
        TEST(test_path_of_one_part),
        TEST(test_path_without_slash),
        TEST(test_no_path),
        TEST(test_content_type_of_something_else),
        TEST(test_content_type_missing),
        TEST(test_content_type_with_subtype_comes_back),
        TEST(test_method_get),
        TEST(test_refusal_of_a_request_that_goes_on_is_reset),
        TEST(test_bad_timeout),
        TEST(test_timeout_too_long),
        TEST(test_timeout_without_number),
        TEST(test_timeout_that_is_no_number),
        TEST(test_timeout_of_zero),
        TEST(test_unknown_encoding),
        TEST(test_compressed_flag_without_encoding),
        TEST(test_unknown_flag),
        TEST(test_end_inside_a_message),
        TEST(test_end_inside_a_prefix),
        TEST(test_end_without_a_message),
        TEST(test_message_longer_than_the_limit_is_refused_by_its_prefix),
        TEST(test_unparsable_message),
        TEST(test_answer_before_the_request_ends_stops_the_client),
        TEST(test_message_in_pieces),
        TEST(test_upper_case_header_name),
        TEST(test_connection_header),
        TEST(test_pseudo_header_after_others),
        TEST(test_unary_call_of_a_method_that_streams),
        TEST(test_settings_are_etcds),
        TEST(test_fourth_rapid_ping_without_a_stream_ends_the_connection),
        TEST(test_rapid_pings_beside_answers_are_forgiven),
        TEST(test_preface_that_goes_wrong_is_no_http2),
        TEST(test_first_frame_must_be_settings),
    };
    const struct CMUnitTest floods[] = {
        cmocka_unit_test_setup_teardown(test_too_many_streams_are_refused, set_up_limited, tear_down),
        TEST(test_data_after_the_end_resets),
        TEST(test_thousands_of_resets_are_ordinary_work),
        TEST(test_reset_flood_ends_the_connection),
        TEST(test_continuation_flood_ends_the_connection),
        TEST(test_large_headers_are_refused),
        TEST(test_header_bomb_ends_the_connection),
        TEST(test_settings_flood_ends_the_connection_of_a_peer_that_does_not_read),
        TEST(test_window_overflow_is_an_error),
        cmocka_unit_test_setup_teardown(test_peer_that_answers_no_ping_is_dropped, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(test_peer_that_answers_pings_stays, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(test_answer_that_nobody_takes_is_given_up, set_up_impatient_for_answers,
                                        tear_down),
        TEST(test_client_that_takes_no_answers_gets_no_more_streams),
        TEST(test_unfinished_requests_beyond_the_bound_are_refused),
        TEST(test_stop_is_told_with_two_goaways),
    };
    int failed = cmocka_run_group_tests(dialogues, NULL, NULL);
    return getenv("KEDGE_RAW_PORT") != NULL ? failed : failed + cmocka_run_group_tests(floods, NULL, NULL);
}
