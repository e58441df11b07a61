/* What the server answers to requests in bare frames: grpc.md's table of faults. The texts are what etcd 3.7.1 sends;
 * with KEDGE_RAW_PORT=2379 the same dialogues run against whatever listens there. */
#include "base/check.h"
#include "tests/support/http2_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void refused(void **state, const char *head, const char *answer)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, head, EMPTY_MESSAGE);
    http2_bed_expect(f, answer);
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

static void test_path_of_a_method_without_slash(void **state)
{
    refused(
        state, POST_TO("etcdserverpb.KV/Range") GRPC,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=12 grpc-message=malformed method "
        "name: \"etcdserverpb.KV/Range\"\n");
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
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE "content-type: text/html\n", "", 0, 0);
    http2_bed_expect(
        f, "HEADERS 1 END_STREAM :status=415 content-type=application/grpc grpc-status=3 grpc-message=invalid gRPC "
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

static void test_empty_encoding_is_none(void **state)
{
    refused(state, RANGE GRPC "grpc-encoding: \n",
            "HEADERS 1 :status=200 content-type=application/grpc\nDATA 1 7 bytes\n"
            "HEADERS 1 END_STREAM grpc-status=0 grpc-message=\n");
}

static void test_binary_metadata_that_is_no_base64(void **state)
{
    refused(
        state, RANGE GRPC "grpc-timeout: x\nfoo-bin: YQ=\n", /* the last fault is told */
        "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=malformed binary "
        "metadata \"YQ=\" in header \"foo-bin\": illegal base64 data at input byte 2\n");
}

static void test_two_hosts(void **state)
{
    refused(state, RANGE "content-type: text/html\nhost: a\nhost: a\n",
            "HEADERS 1 END_STREAM :status=400 content-type=application/grpc grpc-status=13 grpc-message=num values of "
            ":authority: 1, num values of host: 2, both must only have 1 value as per HTTP/2 spec\n");
}

static void test_compressed_flag_without_encoding(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\1\0\0\0\1x", 6, END);
    http2_bed_expect(
        f,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: compressed "
        "flag set with identity or empty encoding\n");
}

static void test_unknown_flag(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\2\0\0\0\1x", 6, END);
    http2_bed_expect(
        f, "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=grpc: received "
           "unexpected payload format 2\n");
}

static void test_end_inside_a_message(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\0\0\0\0\5ab", 7, END);
    http2_bed_expect(
        f,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=unexpected EOF\n");
}

static void test_end_inside_a_prefix(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\0\0\0", 3, END);
    http2_bed_expect(f,
                     "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=EOF\n");
}

/* etcd says nothing here until the deadline. */
static void test_end_without_a_message(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, NULL, 0, 0);
    http2_bed_expect(f,
                     "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=2 grpc-message=EOF\n");
}

/* --- one request, many answers --- */

#define RANGE_STREAM POST_TO("/etcdserverpb.KV/RangeStream") GRPC
#define CARDINALITY                                                                                                    \
    "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=cardinality "          \
    "violation: received "

static void test_one_request_for_many_answers(void **state)
{
    refused(state, RANGE_STREAM,
            "HEADERS 1 :status=200 content-type=application/grpc\nHEADERS 1 END_STREAM grpc-status=0 grpc-message=\n");
}

static void test_no_request_for_many_answers(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE_STREAM, "\0", 1, END);
    http2_bed_expect(f, CARDINALITY "no request message from non-client-streaming RPC\n");
}

static void test_two_requests_for_many_answers(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE_STREAM, "\0\0\0\0\0\0\0\0\0\0", 10, 0);
    http2_bed_expect(f, CARDINALITY "multiple request messages for non-client-streaming RPC\nRST_STREAM 1 NO_ERROR\n");
}

static void test_half_a_request_for_many_answers(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE_STREAM, "\0\0\0\0\5ab", 7, END);
    http2_bed_expect(
        f,
        "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=13 grpc-message=unexpected EOF\n");
}

/* Until its end more may come: nothing is begun. */
static void test_request_for_many_answers_that_goes_on(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE_STREAM, "\0\0\0\0\0", 5, 0);
    http2_bed_expect(f, "");
}

static void test_end_of_a_stream_inside_a_prefix_is_an_end(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, POST_TO("/etcdserverpb.Watch/Watch") GRPC, "\0\0", 2, END);
    assert_non_null(strstr(raw_http2_receive(&f->raw, QUIET_MS), "grpc-status=0"));
}

static void test_message_longer_than_the_limit_is_refused_by_its_prefix(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\0\0\x20\0\1", 5, 0);
    http2_bed_expect(
        f, "HEADERS 1 END_STREAM :status=200 content-type=application/grpc grpc-status=8 grpc-message=grpc: received "
           "message larger than max (2097153 vs. 2097152)\nRST_STREAM 1 NO_ERROR\n");
}

static void test_unparsable_message(void **state)
{
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\0\0\0\0\2\xff\xff", 7, END);
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
    struct http2_bed *f = *state;
    http2_bed_ask(f, RANGE GRPC, "\0\0\0\0\3\x0a\1x", 8, 0);
    http2_bed_expect(f, "HEADERS 1 :status=200 content-type=application/grpc\nDATA 1 7 bytes\n"
                        "HEADERS 1 END_STREAM grpc-status=0 grpc-message=\nRST_STREAM 1 NO_ERROR\n");
}

static void test_message_in_pieces(void **state)
{
    struct http2_bed *f = *state;
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
    struct http2_bed *f = *state;
    http2_bed_ask(f, POST_TO("/etcdserverpb.Watch/Watch") GRPC, NULL, 0, 0);
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    assert_non_null(strstr(got, "grpc-status=0"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, http2_bed_open_plain, http2_bed_close)
    const struct CMUnitTest dialogues[] = {
        TEST(test_unknown_service),
        TEST(test_unknown_method),
        TEST(test_path_of_one_part),
        TEST(test_path_without_slash),
        TEST(test_path_of_a_method_without_slash),
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
        TEST(test_empty_encoding_is_none),
        TEST(test_binary_metadata_that_is_no_base64),
        TEST(test_two_hosts),
        TEST(test_one_request_for_many_answers),
        TEST(test_no_request_for_many_answers),
        TEST(test_two_requests_for_many_answers),
        TEST(test_half_a_request_for_many_answers),
        TEST(test_request_for_many_answers_that_goes_on),
        TEST(test_end_of_a_stream_inside_a_prefix_is_an_end),
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
    };
    return cmocka_run_group_tests(dialogues, NULL, NULL);
}
