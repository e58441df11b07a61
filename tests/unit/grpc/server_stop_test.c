/* What becomes of calls and streams when the server stops. */
#include "tests/support/call_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void stopped(void *owner)
{
    *(bool *)owner = true;
}

static void step_until_stopped(struct call_bed *s, const bool *is_stopped)
{
    for (int i = 0; i < 400 && !*is_stopped; i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(*is_stopped);
}

static void test_stop_lets_running_calls_end_and_refuses_new_ones(void **state)
{
    struct call_bed *s = *state;
    bool is_stopped = false;
    call_bed_open_held(s);
    server_stop(s->server, 5000, stopped, &is_stopped);
    for (int i = 0; i < 20; i++) {
        loop_step(&s->loop, 5);
    }
    assert_false(is_stopped);
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(s->kept, &answer.base);
    step_until_stopped(s, &is_stopped);
    assert_int_equal(s->observed_code, GRPC_OK);
    assert_int_equal(s->cancels, 0);
}

static void test_stop_cancels_what_outlasts_the_grace(void **state)
{
    struct call_bed *s = *state;
    bool is_stopped = false;
    call_bed_open_held(s);
    server_stop(s->server, 20, stopped, &is_stopped);
    step_until_stopped(s, &is_stopped);
    assert_int_equal(s->cancel_reason, ERR_STOPPED);
}

/* A watch would outlast any grace: its client hears at once that it has to go elsewhere, after what was queued for it.
 */
static void test_stop_ends_streams_at_once_after_what_they_have_queued(void **state)
{
    struct call_bed *s = *state;
    bool is_stopped = false;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    call_bed_send_cancel(stream, 1);
    assert_int_equal(call_bed_receive(s, stream)->watch_id, 1);
    Etcdserverpb__WatchResponse last = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    last.watch_id = 2;
    call_send_message(s->kept, &last.base);
    uint64_t begin = loop_now_ms(&s->loop);
    server_stop(s->server, 5000, stopped, &is_stopped);
    assert_int_equal(s->cancel_reason, ERR_STOPPED);
    assert_int_equal(call_bed_receive(s, stream)->watch_id, 2);
    struct client_status status = call_bed_receive_end(s, stream);
    assert_int_equal(status.code, GRPC_UNAVAILABLE);
    assert_string_equal(status.text, "etcdserver: server stopped");
    client_stream_close(stream);
    step_until_stopped(s, &is_stopped);
    assert_true(loop_now_ms(&s->loop) - begin < 4000);
    assert_int_equal(s->cancels, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, call_bed_open_plain, call_bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_stop_lets_running_calls_end_and_refuses_new_ones),
        TEST(test_stop_cancels_what_outlasts_the_grace),
        TEST(test_stop_ends_streams_at_once_after_what_they_have_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
