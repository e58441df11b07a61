/* Floods: memory stays bounded, the connection that floods ends, others go on. */
#include "base/check.h"
#include "tests/support/http2_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_thousands_of_resets_are_ordinary_work(void **state)
{
    struct http2_bed *f = *state;
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
    assert_int_equal(http2_bed_streams(f), 0);
}

static void test_reset_flood_ends_the_connection(void **state)
{
    struct http2_bed *f = *state;
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
    assert_int_equal(http2_bed_streams(f), 0);
    http2_bed_serves_others(f);
}

static void test_continuation_flood_ends_the_connection(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_HEADERS, 0, 1, NULL, 0);
    for (int i = 0; i < 10000 && !f->raw.ended; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
        raw_http2_receive(&f->raw, 0);
    }
    raw_http2_receive(&f->raw, QUIET_MS);
    assert_true(f->raw.ended);
    http2_bed_serves_others(f);
}

static void test_large_headers_are_refused(void **state)
{
    struct http2_bed *f = *state;
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
    http2_bed_expect(f, "RST_STREAM 1 FRAME_SIZE_ERROR\n");
    assert_int_equal(http2_bed_streams(f), 0);
    http2_bed_serves_others(f);
    free(head);
    free(block);
}

/* One entry of 3 KiB in the dynamic table, then thousands of references to it, a byte each. */
static void test_header_bomb_ends_the_connection(void **state)
{
    struct http2_bed *f = *state;
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
    http2_bed_serves_others(f);
}

static void test_settings_flood_ends_the_connection_of_a_peer_that_does_not_read(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    for (int i = 0; i < 3000; i++) {
        raw_http2_frame(&f->raw, NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    }
    raw_http2_receive(&f->raw, QUIET_MS);
    http2_bed_serves_others(f);
}

static void test_window_overflow_is_an_error(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_greet(&f->raw);
    raw_http2_frame(&f->raw, NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "FLOW_CONTROL_ERROR"));
    assert_true(f->raw.ended);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, http2_bed_open_plain, http2_bed_close)
    const struct CMUnitTest floods[] = {
        TEST(test_thousands_of_resets_are_ordinary_work),
        TEST(test_reset_flood_ends_the_connection),
        TEST(test_continuation_flood_ends_the_connection),
        TEST(test_large_headers_are_refused),
        TEST(test_header_bomb_ends_the_connection),
        TEST(test_settings_flood_ends_the_connection_of_a_peer_that_does_not_read),
        TEST(test_window_overflow_is_an_error),
    };
    return getenv("KEDGE_RAW_PORT") != NULL ? 0 : cmocka_run_group_tests(floods, NULL, NULL);
}
