/* Calls over a real socket: what a service and a caller see. */
#include "tests/support/call_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- unary --- */

static void test_unary_call_is_answered(void **state)
{
    struct call_bed *s = *state;
    for (int64_t i = 0; i < 100; i++) {
        Etcdserverpb__RangeResponse *response;
        struct client_status status = call_bed_range(s, "a", i, 0, &response);
        assert_int_equal(status.code, GRPC_OK);
        assert_int_equal(response->count, i + 1);
    }
}

static void test_error_travels_with_code_and_text(void **state)
{
    Etcdserverpb__RangeResponse *response;
    struct client_status status = call_bed_range(*state, "fail", 0, 0, &response);
    assert_int_equal(status.code, GRPC_OUT_OF_RANGE);
    assert_string_equal(status.text, "etcdserver: mvcc: required revision has been compacted");
    status = call_bed_range(*state, "text\n", 0, 0, &response);
    assert_int_equal(status.code, GRPC_UNKNOWN);
    assert_string_equal(status.text, "100% of caf\xc3\xa9\n");
}

static void test_unknown_method_and_service(void **state)
{
    struct call_bed *s = *state;
    const struct {
        const char *path, *text;
    } cases[] = {
        {"/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"},
        {"/no.Such/Nope", "unknown service no.Such"},
        {"/nope", "malformed method name: \"/nope\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        ProtobufCMessage *response;
        struct client_status status;
        client_unary(s->client, cases[i].path, 0, &request.base, &etcdserverpb__range_response__descriptor, &s->arena,
                     &response, &status);
        assert_int_equal(status.code, GRPC_UNIMPLEMENTED);
        assert_string_equal(status.text, cases[i].text);
    }
}

static void test_service_sees_metadata(void **state)
{
    struct call_bed *s = *state;
    struct client_metadata token = {"token", bytes_str("secret.7")};
    client_set_metadata(s->client, &token, 1);
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_bed_range(s, "token", 0, 0, &response).code, GRPC_OK);
    assert_string_equal(s->token, "secret.7");
}

static void test_deadline_ends_the_call_on_both_sides(void **state)
{
    struct call_bed *s = *state;
    Etcdserverpb__RangeResponse *response;
    struct client_status status = call_bed_range(s, "hold", 0, 50, &response);
    assert_int_equal(status.code, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(status.text, "context deadline exceeded");
    call_bed_step_until(s, call_bed_is_observed);
    assert_int_equal(s->cancels, 1);
}

static bool is_cancelled(struct call_bed *s)
{
    return s->cancels > 0;
}

static void test_cancel_of_the_client_reaches_the_service(void **state)
{
    struct call_bed *s = *state;
    client_cancel(call_bed_open_held(s));
    call_bed_step_until(s, is_cancelled);
    assert_int_equal(s->cancel_reason, ERR_CONTEXT_CANCELED);
}

static void test_lost_connection_cancels(void **state)
{
    struct call_bed *s = *state;
    call_bed_open_held(s);
    client_free(s->client);
    s->client = NULL;
    call_bed_step_until(s, is_cancelled);
    assert_int_equal(s->cancels, 1);
}

/* A request with so many (unknown) fields that another thread unpacks it. */
static struct client_call *open_long(struct call_bed *s, const char *key, const struct client_handler *handler)
{
    static uint8_t one[] = {1};
    static ProtobufCMessageUnknownField fields[100000];
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        fields[i] = (ProtobufCMessageUnknownField){.tag = 1000, .len = 1, .data = one};
    }
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = strlen(key)};
    request.base.unknown_fields = fields;
    request.base.n_unknown_fields = sizeof fields / sizeof fields[0];
    struct client_call *call = client_open(s->client, "/etcdserverpb.KV/Range", handler, NULL);
    client_send_message(call, &request.base);
    client_half_close(call);
    return call;
}

static void test_long_request_is_unpacked_elsewhere_and_answered(void **state)
{
    struct call_bed *s = *state;
    open_long(s, "a", &call_bed_ignoring);
    struct call *kept = NULL;
    open_long(s, "hold", &call_bed_ignoring);
    call_bed_step_until(s, call_bed_is_kept);
    kept = s->kept;
    assert_int_equal(kept->encoded.len, kept->request_bytes);
    assert_int_equal(kept->request_bytes, 300000 + 6);
    call_bed_step_until(s, call_bed_is_observed);
    assert_int_equal(s->observed_code, GRPC_OK);
    assert_int_equal(s->observed, 1);
}

static int check(const void *owner, const ProtobufCMessage *request)
{
    (void)owner;
    return ((const Etcdserverpb__RangeRequest *)request)->limit == 0 ? ERR_COMPACTED : 0;
}

static int set_up_checked(void **state)
{
    return call_bed_open(state, &(struct server_options){.check = check}, (struct client_options){0});
}

static void test_what_the_check_refuses_never_comes_to_the_service(void **state)
{
    struct call_bed *s = *state;
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_bed_range(s, "hold", 0, 5000, &response).code, GRPC_OUT_OF_RANGE);
    assert_int_equal(call_bed_range(s, "a", 1, 5000, &response).code, GRPC_OK);
    s->observed = 0;
    open_long(s, "hold", &call_bed_ignoring);
    call_bed_step_until(s, call_bed_is_observed);
    assert_int_equal(s->observed_code, GRPC_OUT_OF_RANGE);
    assert_null(s->kept);
}

/* The client goes away at each of the moments: before, while and after the other thread has the request. */
static void test_long_request_whose_client_is_gone_is_dropped(void **state)
{
    struct call_bed *s = *state;
    for (int steps = 0; steps < 40; steps++) {
        struct client_call *call = open_long(s, "hold", &call_bed_ignoring);
        for (int i = 0; i < steps; i++) {
            loop_step(&s->loop, 0);
        }
        client_cancel(call);
    }
    client_free(s->client);
    s->client = NULL;
}

static void test_late_answer_is_delivered(void **state)
{
    struct call_bed *s = *state;
    call_bed_open_held(s);
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(s->kept, &response.base);
    call_bed_step_until(s, call_bed_is_observed);
    assert_int_equal(s->observed_code, GRPC_OK);
    assert_int_equal(s->cancels, 0);
}

static struct client_status call_put(struct call_bed *s, uint64_t answer_bytes, bool pauses)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.lease = (int64_t)answer_bytes;
    request.prev_kv = pauses;
    ProtobufCMessage *response;
    struct client_status status;
    client_unary(s->client, "/etcdserverpb.KV/Put", 0, &request.base, &etcdserverpb__put_response__descriptor,
                 &s->arena, &response, &status);
    return status;
}

static void test_answer_from_a_source_is_sent_whole(void **state)
{
    struct call_bed *s = *state;
    /* 'v' = 0x76: field 14, wire type 6, which no message may hold: the client received it all and refuses it. */
    struct client_status status = call_put(s, 5u << 20, false);
    assert_int_equal(status.code, GRPC_INTERNAL);
    assert_int_equal(s->source.ended, 1);
    assert_int_equal(s->source.left, 0);
    assert_int_equal(call_put(s, 0, false).code, GRPC_OK);
    assert_int_equal(s->source.ended, 1);
}

static void test_request_longer_than_the_limit_is_refused(void **state)
{
    struct call_bed *s = *state;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct client_status status;
    ProtobufCMessage *response;
    request.value.len = 2097152;
    request.value.data = mem_zalloc(request.value.len);
    client_unary(s->client, "/etcdserverpb.KV/Put", 0, &request.base, &etcdserverpb__put_response__descriptor,
                 &s->arena, &response, &status);
    assert_int_equal(status.code, GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(status.text, "grpc: received message larger than max (2097157 vs. 2097152)");
    request.value.len = 2097152 - 5;
    client_unary(s->client, "/etcdserverpb.KV/Put", 0, &request.base, &etcdserverpb__put_response__descriptor,
                 &s->arena, &response, &status);
    assert_int_equal(status.code, GRPC_OK);
    free(request.value.data);
}

/* Together far more than the connection's window, each more than a stream's: both must be renewed. */
static void test_long_requests_one_after_another(void **state)
{
    struct call_bed *s = *state;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.value.len = 300000;
    request.value.data = mem_zalloc(request.value.len);
    for (int i = 0; i < 60; i++) {
        struct client_status status;
        ProtobufCMessage *response;
        client_unary(s->client, "/etcdserverpb.KV/Put", 5000, &request.base, &etcdserverpb__put_response__descriptor,
                     &s->arena, &response, &status);
        assert_int_equal(status.code, GRPC_OK);
    }
    free(request.value.data);
}

/* --- streams --- */

static void test_stream_carries_messages_both_ways_until_half_close(void **state)
{
    struct call_bed *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    for (int64_t i = 0; i < 50; i++) {
        call_bed_send_cancel(stream, i);
        assert_int_equal(call_bed_receive(s, stream)->watch_id, i);
    }
    client_stream_half_close(stream);
    assert_int_equal(call_bed_receive_end(s, stream).code, GRPC_OK);
    assert_int_equal(s->half_closes, 1);
    client_stream_close(stream);
}

static bool one_message(struct call_bed *s)
{
    return s->messages >= 1;
}

static bool three_messages(struct call_bed *s)
{
    return s->messages >= 3;
}

static void test_held_stream_delivers_nothing_until_resumed(void **state)
{
    struct call_bed *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    s->hold_messages = true;
    for (int64_t i = 0; i < 3; i++) {
        call_bed_send_cancel(stream, i);
    }
    client_stream_half_close(stream);
    call_bed_step_until(s, one_message);
    for (int i = 0; i < 20; i++) {
        loop_step(&s->loop, 1);
    }
    assert_int_equal(s->messages, 1);
    assert_int_equal(s->half_closes, 0);
    s->hold_messages = false;
    call_resume(s->kept);
    call_bed_step_until(s, three_messages);
    assert_int_equal(call_bed_receive(s, stream)->watch_id, 1);
    assert_int_equal(call_bed_receive(s, stream)->watch_id, 2);
    assert_int_equal(s->half_closes, 1);
    client_stream_close(stream);
}

static void test_writer_is_told_when_the_client_does_not_read_and_when_it_does(void **state)
{
    struct call_bed *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    call_bed_step_until(s, call_bed_is_kept);
    struct shared *event = shared_new(60000);
    memset(event->data, 0, event->len);
    memcpy(event->data, "\x7a\xdc\xd4\x03", 4); /* field 15, 59996 bytes: unknown to WatchResponse */
    struct call_part part = {.bytes = shared_bytes(event), .owner = event};
    size_t sent = 0;
    while (call_writable(s->kept)) {
        call_send(s->kept, &part, 1);
        sent++;
        loop_step(&s->loop, 0);
        assert_true(sent < 100000);
    }
    assert_int_equal(s->writables, 0);
    for (size_t i = 0; i < sent; i++) {
        ProtobufCMessage *message;
        struct client_status status;
        int result = client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message,
                                           &status);
        assert_true(result != 0);
        if (result < 0) {
            fail_msg("message %zu: %s", i, status.text);
        }
        arena_reset(&s->arena);
    }
    for (int i = 0; i < 50 && s->writables == 0; i++) {
        loop_step(&s->loop, 5);
    }
    assert_int_equal(s->writables, 1);
    assert_int_equal(call_queued(s->kept), 0);
    client_stream_close(stream);
    shared_unref(event);
}

/* A long message that makes the client's queue full, and the stream's end right behind it: what lies between is kept.
 */
static void test_messages_behind_a_full_queue_outlive_the_stream(void **state)
{
    enum { LONG = 5 << 20, SHORT = 3 };
    struct call_bed *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    call_bed_step_until(s, call_bed_is_kept);
    struct shared *event = shared_new(LONG);
    memset(event->data, 0, event->len);
    memcpy(event->data, "\x7a\xfb\xff\xbf\x02", 5); /* field 15 with all the rest: unknown to WatchResponse */
    struct call_part part = {.bytes = shared_bytes(event), .owner = event};
    call_send(s->kept, &part, 1);
    for (int64_t i = 1; i <= SHORT; i++) {
        Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
        response.watch_id = i;
        call_send_message(s->kept, &response.base);
    }
    call_finish(s->kept, GRPC_OK, "");
    for (int i = 0; i < 2000; i++) { /* all of it comes before the first is taken */
        loop_step(&s->loop, 0);
    }
    for (int64_t i = 0; i <= SHORT; i++) {
        assert_int_equal(call_bed_receive(s, stream)->watch_id, i);
    }
    assert_int_equal(call_bed_receive_end(s, stream).code, GRPC_OK);
    client_stream_close(stream);
    shared_unref(event);
}

/* --- lanes --- */

static int set_up_narrow(void **state)
{
    struct server_options options = {.lanes = {[CALL_NORMAL] = {.operations = 1}}};
    return call_bed_open(state, &options, (struct client_options){0});
}

static void test_full_lane_lets_the_next_call_wait(void **state)
{
    struct call_bed *s = *state;
    struct client_call *first = call_bed_open_held(s);
    struct call *held = s->kept;
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_bed_range(s, "a", 0, 50, &response).code, GRPC_DEADLINE_EXCEEDED);
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(held, &answer.base);
    assert_int_equal(call_bed_range(s, "a", 0, 5000, &response).code, GRPC_OK);
    (void)first;
}

/* --- the client alone --- */

static void test_connection_refused_in_grpc_go_words(void **state)
{
    (void)state;
    struct client_options options = {.endpoints = (const char *const[]){"127.0.0.1:1", NULL}, .fail_fast = true};
    struct client *client = client_new(NULL, &options);
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct arena arena = {0};
    ProtobufCMessage *response;
    struct client_status status;
    client_unary(client, "/etcdserverpb.KV/Range", 3000, &request.base, &etcdserverpb__range_response__descriptor,
                 &arena, &response, &status);
    assert_int_equal(status.code, GRPC_UNAVAILABLE);
    assert_string_equal(status.text, "connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:1: "
                                     "connect: connection refused\"");
    client_free(client);
    options.fail_fast = false;
    client = client_new(NULL, &options);
    client_unary(client, "/etcdserverpb.KV/Range", 100, &request.base, &etcdserverpb__range_response__descriptor,
                 &arena, &response, &status);
    assert_int_equal(status.code, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(status.text,
                        "latest balancer error: connection error: desc = \"transport: Error while dialing: "
                        "dial tcp 127.0.0.1:1: connect: connection refused\"");
    client_free(client);
    arena_free(&arena);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, call_bed_open_plain, call_bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_unary_call_is_answered),
        TEST(test_error_travels_with_code_and_text),
        TEST(test_unknown_method_and_service),
        TEST(test_service_sees_metadata),
        TEST(test_deadline_ends_the_call_on_both_sides),
        TEST(test_cancel_of_the_client_reaches_the_service),
        TEST(test_lost_connection_cancels),
        TEST(test_long_request_is_unpacked_elsewhere_and_answered),
        cmocka_unit_test_setup_teardown(test_what_the_check_refuses_never_comes_to_the_service, set_up_checked,
                                        call_bed_close),
        TEST(test_long_request_whose_client_is_gone_is_dropped),
        TEST(test_late_answer_is_delivered),
        TEST(test_answer_from_a_source_is_sent_whole),
        TEST(test_request_longer_than_the_limit_is_refused),
        TEST(test_long_requests_one_after_another),
        TEST(test_stream_carries_messages_both_ways_until_half_close),
        TEST(test_held_stream_delivers_nothing_until_resumed),
        TEST(test_writer_is_told_when_the_client_does_not_read_and_when_it_does),
        TEST(test_messages_behind_a_full_queue_outlive_the_stream),
        cmocka_unit_test_setup_teardown(test_full_lane_lets_the_next_call_wait, set_up_narrow, call_bed_close),
        cmocka_unit_test(test_connection_refused_in_grpc_go_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
