/* A connection's own rules: settings, pings, the preface, keepalive, answers that nobody takes, stopping. What etcd
 * 3.7.1 does too can be tried there with KEDGE_RAW_PORT=2379. */
#include "base/check.h"
#include "tests/support/http2_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up_limited(void **state)
{
    return http2_bed_open(state, (struct server_options){.max_concurrent_streams = 2});
}

static int set_up_impatient(void **state)
{
    return http2_bed_open(state, (struct server_options){.keepalive_interval_ms = 30, .keepalive_timeout_ms = 30});
}

static int set_up_impatient_for_answers(void **state)
{
    return http2_bed_open(state, (struct server_options){.answer_timeout_ms = 100});
}

static void test_settings_are_etcds(void **state)
{
    struct http2_bed *f = *state;
    f->raw.all = true;
    raw_http2_greet(&f->raw);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    const char *expected = "SETTINGS 5=16384\n";
    assert_memory_equal(got, expected, strlen(expected));
    assert_null(strstr(got + 1, "SETTINGS"));
}

static void test_fourth_rapid_ping_without_a_stream_ends_the_connection(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 4; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_PING, 0, 0, "pingpong", 8);
    }
    http2_bed_expect(f, "PING ACK\nPING ACK\nPING ACK\nPING ACK\nGOAWAY 0 ENHANCE_YOUR_CALM too_many_pings\nEOF\n");
}

static void test_rapid_pings_beside_answers_are_forgiven(void **state)
{
    struct http2_bed *f = *state;
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
    struct http2_bed *f = *state;
    raw_http2_send(&f->raw, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24);
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
}

static void test_first_frame_must_be_settings(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_send(&f->raw, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_http2_frame(&f->raw, NGHTTP2_PING, 0, 0, "pingpong", 8);
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
}

static void test_too_many_streams_are_refused(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    for (int32_t i = 0; i < 3; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, POST_TO("/etcdserverpb.Watch/Watch") GRPC);
    }
    http2_bed_expect(f, "RST_STREAM 5 REFUSED_STREAM\n");
}

static void test_data_after_the_end_resets(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, 0, POST_TO("/etcdserverpb.KV/Put") GRPC);
    raw_http2_message(&f->raw, 1, END, "", 0);
    raw_http2_message(&f->raw, 1, END, "", 0);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "STREAM_CLOSED"));
    assert_int_equal(f->cancels, 1);
}

static void test_peer_that_answers_no_ping_is_dropped(void **state)
{
    struct http2_bed *f = *state;
    f->raw.deaf = f->raw.all = true;
    raw_http2_greet(&f->raw);
    const char *got = raw_http2_receive(&f->raw, 1000);
    assert_non_null(strstr(got, "PING\nEOF\n"));
}

static void test_peer_that_answers_pings_stays(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 10; i++) {
        raw_http2_receive(&f->raw, 20);
        assert_false(f->raw.ended);
    }
}

/* SETTINGS_INITIAL_WINDOW_SIZE = 0: no DATA may be sent. */
static void close_windows(struct http2_bed *f)
{
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
}

static void test_answer_that_nobody_takes_is_given_up(void **state)
{
    struct http2_bed *f = *state;
    close_windows(f);
    raw_http2_headers(&f->raw, 1, 0, RANGE GRPC);
    raw_http2_message(&f->raw, 1, END, "\x0a\1x", 3);
    assert_string_equal(raw_http2_receive(&f->raw, 1000),
                        "HEADERS 1 :status=200 content-type=application/grpc\nRST_STREAM 1 CANCEL\n");
    assert_int_equal(http2_bed_streams(f), 0);
    assert_false(f->raw.ended);
}

static void test_client_that_takes_no_answers_gets_no_more_streams(void **state)
{
    struct http2_bed *f = *state;
    close_windows(f);
    for (int32_t i = 0; i < 10000; i++) {
        raw_http2_headers(&f->raw, 2 * i + 1, 0, RANGE GRPC);
        raw_http2_message(&f->raw, 2 * i + 1, END, "\x0a\1x", 3);
        if (i % 100 == 0) {
            raw_http2_receive(&f->raw, 0);
        }
    }
    assert_non_null(strstr(raw_http2_receive(&f->raw, QUIET_MS), "REFUSED_STREAM"));
    assert_true(http2_bed_streams(f) <= 8192);
    http2_bed_serves_others(f);
}

/* Each stream sends 60 KB of a message of 2 MB and then nothing: together more than a connection may keep. */
static void test_unfinished_requests_beyond_the_bound_are_refused(void **state)
{
    struct http2_bed *f = *state;
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
    http2_bed_serves_others(f);
    free(part);
}

static void stopped(void *owner)
{
    (void)owner;
}

/* The watch would never end by itself; the put may. */
static void test_stop_is_told_with_two_goaways_and_ends_streams_of_messages(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, 0, POST_TO("/etcdserverpb.Watch/Watch") GRPC);
    raw_http2_headers(&f->raw, 3, 0, POST_TO("/etcdserverpb.KV/Put") GRPC);
    raw_http2_message(&f->raw, 3, END, "\x0a\1x", 3);
    http2_bed_expect(f, "");
    server_stop(f->server, 5000, stopped, NULL);
    http2_bed_expect(f, "GOAWAY 2147483647 NO_ERROR \n"
                        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=14 "
                        "grpc-message=etcdserver: server stopped\n"
                        "RST_STREAM 1 NO_ERROR\n"
                        "GOAWAY 3 NO_ERROR \n");
    raw_http2_frame(&f->raw, NGHTTP2_RST_STREAM, 0, 3, "\0\0\0\x08", 4);
    http2_bed_expect(f, "EOF\n");
    assert_int_equal(f->cancels, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, http2_bed_open_plain, http2_bed_close)
    const struct CMUnitTest dialogues[] = {
        TEST(test_settings_are_etcds),
        TEST(test_fourth_rapid_ping_without_a_stream_ends_the_connection),
        TEST(test_rapid_pings_beside_answers_are_forgiven),
        TEST(test_preface_that_goes_wrong_is_no_http2),
        TEST(test_first_frame_must_be_settings),
    };
    const struct CMUnitTest floods[] = {
        cmocka_unit_test_setup_teardown(test_too_many_streams_are_refused, set_up_limited, http2_bed_close),
        TEST(test_data_after_the_end_resets),
        cmocka_unit_test_setup_teardown(test_peer_that_answers_no_ping_is_dropped, set_up_impatient, http2_bed_close),
        cmocka_unit_test_setup_teardown(test_peer_that_answers_pings_stays, set_up_impatient, http2_bed_close),
        cmocka_unit_test_setup_teardown(test_answer_that_nobody_takes_is_given_up, set_up_impatient_for_answers,
                                        http2_bed_close),
        TEST(test_client_that_takes_no_answers_gets_no_more_streams),
        TEST(test_unfinished_requests_beyond_the_bound_are_refused),
        TEST(test_stop_is_told_with_two_goaways_and_ends_streams_of_messages),
    };
    int failed = cmocka_run_group_tests(dialogues, NULL, NULL);
    return getenv("KEDGE_RAW_PORT") != NULL ? failed : failed + cmocka_run_group_tests(floods, NULL, NULL);
}
