/* Two and three transports on one loop, over real sockets. */
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "tests/support/peer_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define A (&bed->members[0])
#define B (&bed->members[1])

static int set_up(void **state)
{
    struct peer_bed *bed = mem_zalloc(sizeof *bed);
    peer_bed_open(bed, 2);
    *state = bed;
    return 0;
}

static int set_up_connected(void **state)
{
    set_up(state);
    struct peer_bed *bed = *state;
    peer_bed_introduce(bed, 0, 1);
    peer_bed_introduce(bed, 1, 0);
    assert_true(peer_bed_connected(bed, 0, 1));
    return 0;
}

static int tear_down(void **state)
{
    peer_bed_close(*state);
    free(*state);
    return 0;
}

static struct raft_message heartbeat(uint64_t from, uint64_t to, uint64_t commit)
{
    return (struct raft_message){.type = RAFT_MSG_HEARTBEAT, .from = from, .to = to, .term = 3, .commit = commit};
}

/* --- messages -------------------------------------------------------------------------------------------------------
 */

static void test_messages_reach_the_other_member_by_streams(void **state)
{
    struct peer_bed *bed = *state;
    for (uint64_t i = 1; i <= 100; i++) {
        struct raft_message m = heartbeat(1, 2, i);
        peer_send(A->transport, &m, 1);
    }
    assert_true(peer_bed_until(bed, 2000, B->messages == 100));
    assert_int_equal(B->last.commit, 100);
    assert_int_equal(A->unreachable, 0);
}

static void send_append(struct peer_bed *bed, uint64_t after, size_t count, struct shared *data)
{
    struct raft_entry *entries = mem_zalloc((count + 1) * sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        entries[i] = (struct raft_entry){.index = after + 1 + i, .term = 3, .data = data};
    }
    struct raft_message m = {.type = RAFT_MSG_APPEND,
                             .from = 1,
                             .to = 2,
                             .term = 3,
                             .log_term = 3,
                             .index = after,
                             .entries = entries,
                             .entry_count = count,
                             .commit = after};
    peer_send(A->transport, &m, 1);
    free(entries);
}

static void test_appends_keep_their_order_and_their_data(void **state)
{
    struct peer_bed *bed = *state;
    struct shared *data = shared_new(300);
    memset(data->data, 'd', 300);
    for (uint64_t i = 0; i < 500; i++) {
        send_append(bed, i * 7, 7, data);
    }
    assert_true(peer_bed_until(bed, 2000, B->entries == 3500));
    assert_int_equal(B->last_entry, 3500);
    assert_int_equal(B->entry_bytes, 3500 * 300);
    assert_int_equal(atomic_load(&data->refs), 1 + 0); /* the queue gave its references back */
    shared_unref(data);
}

static void test_an_entry_larger_than_any_buffer_arrives(void **state)
{
    struct peer_bed *bed = *state;
    struct shared *data = shared_new((size_t)9 << 20);
    memset(data->data, 'x', data->len);
    send_append(bed, 1, 1, data);
    assert_true(peer_bed_until(bed, 5000, B->entries == 1));
    assert_int_equal(B->entry_bytes, 9 << 20);
    assert_int_equal(A->unreachable, 0);
    shared_unref(data);
}

static void test_before_streams_stand_messages_go_by_post(void **state)
{
    struct peer_bed *bed = *state;
    peer_bed_introduce(bed, 0, 1); /* only a knows b: b never asks for streams */
    struct raft_message m = heartbeat(1, 2, 7);
    for (int i = 0; i < 10; i++) {
        peer_send(A->transport, &m, 1);
    }
    assert_true(peer_bed_until(bed, 2000, B->messages == 10));
    assert_int_equal(A->unreachable, 0);
    assert_true(peer_active_since_ms(A->transport, 2) != 0);
}

static void test_an_append_too_large_for_other_requests_goes_by_post(void **state)
{
    struct peer_bed *bed = *state;
    struct shared *data = shared_new((size_t)9 << 20);
    memset(data->data, 'x', data->len);
    peer_bed_introduce(bed, 0, 1);
    send_append(bed, 1, 1, data);
    assert_true(peer_bed_until(bed, 5000, B->entries == 1));
    assert_int_equal(B->entry_bytes, 9 << 20);
    assert_int_equal(A->unreachable, 0);
    shared_unref(data);
}

static void test_who_speaks_to_a_member_that_knows_nobody_gets_an_answer(void **state)
{
    struct peer_bed *bed = *state;
    peer_bed_introduce(bed, 0, 1);
    struct raft_message m = heartbeat(1, 2, 7);
    peer_send(A->transport, &m, 1);
    assert_true(peer_bed_until(bed, 2000, B->messages == 1));
    assert_false(peer_known(B->transport, 1)); /* a remote */
    struct raft_message answer = {.type = RAFT_MSG_HEARTBEAT_RESPONSE, .from = 2, .to = 1, .term = 3};
    peer_send(B->transport, &answer, 1);
    assert_true(peer_bed_until(bed, 2000, A->messages == 1));
    assert_int_equal(A->last.type, RAFT_MSG_HEARTBEAT_RESPONSE);
}

static void test_messages_to_nobody_are_dropped(void **state)
{
    struct peer_bed *bed = *state;
    struct raft_message m = heartbeat(1, 0, 1), other = heartbeat(1, 77, 1);
    peer_send(A->transport, &m, 1);
    peer_send(A->transport, &other, 1);
    peer_bed_run(bed, 20);
    assert_int_equal(A->unreachable, 0);
}

/* --- connections that break -----------------------------------------------------------------------------------------
 */

static void test_an_unreachable_member_is_reported_and_found_again(void **state)
{
    struct peer_bed *bed = *state;
    struct raft_message m = heartbeat(1, 2, 1);
    peer_remove(B->transport, 1); /* b's connections to a and its port: all that a dead process loses */
    peer_bed_deafen(B);
    assert_true(peer_bed_until(bed, 1000, A->unreachable > 0 && peer_active_since_ms(A->transport, 2) == 0));
    unsigned before = A->unreachable;
    peer_send(A->transport, &m, 1);
    assert_true(peer_bed_until(bed, 1000, A->unreachable > before));
    peer_bed_listen(B);
    peer_bed_introduce(bed, 1, 0);
    assert_true(peer_bed_connected(bed, 0, 1));
    uint64_t heard = B->messages;
    peer_send(A->transport, &m, 1);
    assert_true(peer_bed_until(bed, 1000, B->messages > heard));
}

static void test_posts_that_fail_are_reported_once_a_turn(void **state)
{
    struct peer_bed *bed = *state;
    peer_add(A->transport, 9, "http://127.0.0.1:1");
    struct raft_message m = heartbeat(1, 9, 1);
    for (int i = 0; i < 200; i++) {
        peer_send(A->transport, &m, 1); /* 64 wait, 4 are on their way */
    }
    loop_step(&bed->loop, 0);
    loop_step(&bed->loop, 0);
    assert_in_range(A->unreachable, 1, 2);
    assert_true(peer_bed_until(bed, 2000, A->unreachable > 5));
    assert_int_equal(peer_active_since_ms(A->transport, 9), 0);
}

static void test_urls_that_need_tls_are_never_spoken_to(void **state)
{
    struct peer_bed *bed = *state;
    peer_add(A->transport, 9, "https://127.0.0.1:1");
    assert_false(peer_known(A->transport, 9));
    peer_add(A->transport, 9, "https://127.0.0.1:1,http://127.0.0.1:2");
    assert_true(peer_known(A->transport, 9));
    peer_add(A->transport, 9, "unixs://127.0.0.1:1"); /* what was there stays */
    assert_true(peer_known(A->transport, 9));
    peer_remove(A->transport, 9);
}

static void test_another_url_is_tried_after_a_failure(void **state)
{
    struct peer_bed *bed = *state;
    char urls[256];
    snprintf(urls, sizeof urls, "http://127.0.0.1:1,http://nosuchname.invalid:1,%s", B->url);
    peer_add(A->transport, 2, urls);
    peer_bed_introduce(bed, 1, 0);
    assert_true(peer_bed_until(bed, 5000, peer_active_since_ms(A->transport, 2) != 0));
}

static void test_names_are_resolved(void **state)
{
    struct peer_bed *bed = *state;
    char urls[256];
    snprintf(urls, sizeof urls, "http://localhost:%s", strrchr(B->url, ':') + 1);
    peer_add(A->transport, 2, urls);
    peer_bed_introduce(bed, 1, 0);
    assert_true(peer_bed_until(bed, 5000, peer_active_since_ms(A->transport, 2) != 0));
}

static void test_a_queue_that_nobody_empties_is_bounded(void **state)
{
    struct peer_bed *bed = *state;
    struct shared *data = shared_new((size_t)1 << 20);
    memset(data->data, 'x', data->len);
    for (uint64_t i = 0; i < 500; i++) { /* no turn in between: nothing is sent */
        send_append(bed, i, 1, data);
    }
    assert_in_range(atomic_load(&data->refs), 2, 65);
    assert_true(peer_bed_until(bed, 5000, A->unreachable == 1 && B->entries >= 60));
    assert_true(B->entries < 65);
    shared_unref(data);
}

static void test_a_member_that_was_removed_is_told(void **state)
{
    struct peer_bed *bed = *state;
    B->removed_id = 1;
    peer_bed_introduce(bed, 0, 1);
    assert_true(peer_bed_until(bed, 2000, A->removed > 0));
    assert_int_equal(B->removed, 0);
}

static void test_messages_of_a_removed_member_are_not_heard(void **state)
{
    struct peer_bed *bed = *state;
    B->removed_id = 1;
    struct raft_message m = heartbeat(1, 2, 1);
    peer_send(A->transport, &m, 1);
    peer_bed_run(bed, 100);
    assert_int_equal(B->messages, 0);
}

static void test_a_member_that_was_taken_out_hears_and_says_nothing_more(void **state)
{
    struct peer_bed *bed = *state;
    peer_remove(A->transport, 2);
    assert_false(peer_known(A->transport, 2));
    struct raft_message m = heartbeat(1, 2, 1);
    peer_send(A->transport, &m, 1);
    peer_bed_run(bed, 300);
    assert_int_equal(B->messages, 0);
    assert_int_equal(peer_active_since_ms(A->transport, 2), 0);
}

static void test_probes_measure_round_trips(void **state)
{
    struct peer_bed *bed = *state;
    assert_true(peer_bed_until(bed, 6000, peer_round_trip_ns(A->transport, 2) != 0));
    assert_true(peer_round_trip_ns(A->transport, 2) < 1000000000);
}

/* --- images ---------------------------------------------------------------------------------------------------------
 */

static const struct raft_conf_state *conf(void)
{
    static uint64_t ids[] = {1, 2};
    static struct raft_conf_state c = {.voters = {.ids = ids, .count = 2}};
    return &c;
}

static struct raft_message snapshot(void)
{
    return (struct raft_message){.type = RAFT_MSG_SNAPSHOT,
                                 .from = 1,
                                 .to = 2,
                                 .term = 3,
                                 .snapshot = {.index = 343, .term = 2},
                                 .snapshot_conf = conf(),
                                 .snapshot_data = bytes_str("{\"Root\":{}}")};
}

static void assert_pattern(const struct buffer *got, size_t size)
{
    assert_int_equal(got->len, size);
    for (size_t i = 0; i < size; i++) {
        if (got->data[i] != peer_bed_pattern(i)) {
            fail_msg("byte %zu differs", i);
        }
    }
}

static void send_image(struct peer_bed *bed, struct peer_bed_source *s)
{
    struct raft_message m = snapshot();
    peer_send_image(A->transport, &m, &s->source);
}

static void test_an_image_arrives_whole(void **state)
{
    struct peer_bed *bed = *state;
    static const size_t sizes[] = {0, 1, 69632, 5000000};
    for (unsigned i = 0; i < 4; i++) {
        for (int chunked = 0; chunked < 2; chunked++) {
            struct peer_bed_source s;
            unsigned before = A->reported_ok;
            peer_bed_source(&s, sizes[i]);
            s.source.size_known = !chunked;
            B->hold = true;
            send_image(bed, &s);
            assert_true(peer_bed_until(bed, 5000, B->image != NULL && B->finished > 2 * i + (unsigned)chunked));
            assert_int_equal(B->image->message->snapshot.index, 343);
            assert_int_equal(B->image->message->snapshot_conf->voters.count, 2);
            assert_int_equal(B->image->received_bytes, sizes[i]);
            assert_pattern(&B->image_bytes, sizes[i]);
            assert_int_equal(A->reported_ok, before); /* not before it is saved */
            peer_image_done(B->image, 0, NULL);
            B->image = NULL;
            assert_true(peer_bed_until(bed, 1000, A->reported_ok == before + 1));
            assert_int_equal(s.closed, 1);
        }
    }
    assert_int_equal(A->reported_failed, 0);
}

static void test_a_source_that_is_not_ready_is_waited_for(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    peer_bed_source(&s, 200000);
    s.starving = true;
    send_image(bed, &s);
    peer_bed_run(bed, 100);
    assert_int_equal(B->begun, 1); /* the message is there */
    assert_int_equal(B->image_bytes.len, 0);
    s.starving = false;
    s.piece = 1000;
    peer_source_ready(&s.source);
    while (A->reported_ok == 0 && B->image_bytes.len < 200000) {
        peer_source_ready(&s.source);
        loop_step(&bed->loop, 5);
    }
    assert_true(peer_bed_until(bed, 2000, A->reported_ok == 1));
    assert_pattern(&B->image_bytes, 200000);
}

/* 20 MiB, of which the receiver has taken what it wants for now. */
static void send_to_slow(struct peer_bed *bed, struct peer_bed_source *s)
{
    peer_bed_source(s, (uint64_t)20 << 20);
    B->slow = true;
    send_image(bed, s);
    assert_true(peer_bed_until(bed, 2000, B->image_bytes.len > 0));
    peer_bed_run(bed, 200);
}

static void test_a_receiver_takes_an_image_at_its_own_pace(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    send_to_slow(bed, &s);
    assert_true(B->image_bytes.len <= 65536); /* what was read when it said enough */
    assert_true(s.at < (uint64_t)16 << 20);   /* the rest waits in the sender and the kernel */
    while (B->image != NULL && B->finished == 0) {
        peer_image_more(B->image);
        loop_step(&bed->loop, 1);
    }
    assert_true(peer_bed_until(bed, 2000, A->reported_ok == 1));
    assert_pattern(&B->image_bytes, (size_t)20 << 20);
}

static void test_a_source_gives_up_while_the_receiver_takes_nothing(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    send_to_slow(bed, &s);
    peer_source_give_up(&s.source);
    assert_int_equal(s.closed, 0); /* not inside the call */
    assert_true(peer_bed_until(bed, 2000, A->reported_failed == 1));
    assert_int_equal(s.closed, 1);
}

static void test_a_source_that_breaks_is_no_image(void **state)
{
    struct peer_bed *bed = *state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct peer_bed_source s;
        peer_bed_source(&s, 500000);
        s.source.size_known = !chunked;
        s.broken = 300000;
        send_image(bed, &s);
        assert_true(peer_bed_until(bed, 2000, A->reported_failed == (unsigned)chunked + 1));
        assert_true(peer_bed_until(bed, 2000, B->aborted == (unsigned)chunked + 1));
        assert_int_equal(s.closed, 1);
    }
    assert_int_equal(B->finished, 0);
    assert_true(A->unreachable > 0);
}

static void test_a_source_shorter_than_it_said_is_no_image(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    peer_bed_source(&s, 500000);
    s.source.size_bytes = 600000;
    send_image(bed, &s);
    assert_true(peer_bed_until(bed, 2000, A->reported_failed == 1 && B->aborted == 1));
    assert_int_equal(B->finished, 0);
}

static void test_a_receiver_may_refuse_at_any_time(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    B->begin_error = ERR_DISK_FULL;
    peer_bed_source(&s, 5000000);
    send_image(bed, &s);
    assert_true(peer_bed_until(bed, 2000, A->reported_failed == 1));
    B->begin_error = 0;
    B->slow = true;
    peer_bed_source(&s, (uint64_t)20 << 20);
    send_image(bed, &s);
    assert_true(peer_bed_until(bed, 2000, B->image_bytes.len > 0));
    peer_image_done(B->image, ERR_IO, "input/output error");
    assert_true(peer_bed_until(bed, 2000, A->reported_failed == 2));
    B->slow = false;
    B->done_error = ERR_IO;
    peer_bed_source(&s, 1000);
    send_image(bed, &s);
    assert_true(peer_bed_until(bed, 2000, A->reported_failed == 3));
    assert_int_equal(A->reported_ok, 0);
    assert_int_equal(B->aborted, 0);
}

static void test_an_image_that_is_cut_leaves_nothing(void **state)
{
    struct peer_bed *bed = *state;
    struct peer_bed_source s;
    B->slow = true;
    peer_bed_source(&s, (uint64_t)20 << 20);
    send_image(bed, &s);
    assert_true(peer_bed_until(bed, 2000, B->image_bytes.len > 0));
    peer_remove(A->transport, 2);
    assert_int_equal(s.closed, 1);
    assert_int_equal(A->reported_failed, 1);
    peer_image_more(B->image);
    while (B->aborted == 0 && B->image != NULL) {
        peer_image_more(B->image);
        loop_step(&bed->loop, 5);
    }
    assert_int_equal(B->aborted, 1);
}

static void test_images_to_nobody_and_too_many_are_reported(void **state)
{
    struct peer_bed *bed = *state;
    static struct peer_bed_source s[18]; /* they outlive the test */
    struct raft_message m = snapshot();
    m.to = 77;
    peer_bed_source(&s[17], 10);
    peer_send_image(A->transport, &m, &s[17].source);
    assert_int_equal(A->reported_failed, 0); /* in the next turn */
    assert_true(peer_bed_until(bed, 1000, A->reported_failed == 1));
    for (int i = 0; i < 17; i++) {
        peer_bed_source(&s[i], 1000);
        s[i].starving = true;
        send_image(bed, &s[i]);
    }
    assert_true(peer_bed_until(bed, 1000, A->reported_failed == 2));
    assert_int_equal(s[16].closed, 1);
    peer_bed_run(bed, 50);
    assert_int_equal(A->reported_failed, 2);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

struct asked {
    struct peer_call call;
    unsigned done;
    int error, status;
    char answer[64], failure[256];
    uint64_t cluster_id;
};

static void on_done(struct peer_call *call, int error)
{
    struct asked *a = call->owner;
    a->done++;
    a->error = error;
    a->status = call->status;
    a->cluster_id = call->cluster_id;
    snprintf(a->answer, sizeof a->answer, "%.*s", (int)call->answer.len, (const char *)call->answer.data);
    snprintf(a->failure, sizeof a->failure, "%s", call->failure == NULL ? "" : call->failure);
}

static void start(struct peer_bed *bed, struct asked *a, uint64_t to, const char *path, uint64_t timeout_ms)
{
    memset(a, 0, sizeof *a);
    a->call = (struct peer_call){.to = to,
                                 .method = "POST",
                                 .path = path,
                                 .content_type = "application/protobuf",
                                 .body = bytes_str("hello"),
                                 .timeout_ms = timeout_ms,
                                 .done = on_done,
                                 .owner = a};
    peer_call_start(A->transport, &a->call);
}

static void test_other_members_can_be_asked(void **state)
{
    struct peer_bed *bed = *state;
    struct asked a;
    start(bed, &a, 2, "/echo", 1000);
    assert_int_equal(a.done, 0);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.error, 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.answer, "hello");
    assert_true(a.cluster_id == PEER_BED_CLUSTER);
    start(bed, &a, 2, "/none", 1000);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.status, 404);
    start(bed, &a, 5, "/echo", 1000);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.error, ERR_ABSENT);
}

static void test_calls_one_after_the_other_use_one_connection(void **state)
{
    struct peer_bed *bed = *state;
    struct asked a;
    size_t before = B->listener.count;
    for (int i = 0; i < 20; i++) {
        start(bed, &a, 2, "/echo", 1000);
        assert_true(peer_bed_until(bed, 2000, a.done == 1));
        assert_int_equal(a.status, 200);
    }
    assert_int_equal(B->listener.count, before + 1);
    struct asked many[30];
    for (int i = 0; i < 30; i++) {
        start(bed, &many[i], 2, "/echo", 2000);
    }
    for (int i = 0; i < 30; i++) {
        assert_true(peer_bed_until(bed, 2000, many[i].done == 1));
        assert_string_equal(many[i].answer, "hello");
    }
    peer_bed_run(bed, 20);
    assert_true(B->listener.count <= before + 16);
}

static void test_a_member_that_does_not_answer_costs_the_time_that_was_given(void **state)
{
    struct peer_bed *bed = *state;
    struct asked a;
    start(bed, &a, 2, "/silence", 200);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.error, ERR_TIMEOUT);
    start(bed, &a, 2, "/silence", 5000);
    peer_bed_run(bed, 50);
    peer_call_cancel(&a.call);
    peer_bed_run(bed, 50);
    assert_int_equal(a.done, 0);
}

static void test_urls_can_be_asked_before_there_is_a_transport(void **state)
{
    struct peer_bed *bed = *state;
    struct asked a = {0};
    char urls[256];
    snprintf(urls, sizeof urls, "http://127.0.0.1:1,%s", B->url);
    a.call = (struct peer_call){.urls = urls,
                                .loop = &bed->loop,
                                .method = "GET",
                                .path = "/echo",
                                .timeout_ms = 2000,
                                .done = on_done,
                                .owner = &a};
    peer_call_start(NULL, &a.call);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.error, 0);
    assert_true(a.cluster_id == PEER_BED_CLUSTER);
    a.done = 0;
    a.call.urls = "http://127.0.0.1:1";
    peer_call_start(NULL, &a.call);
    assert_true(peer_bed_until(bed, 2000, a.done == 1));
    assert_int_equal(a.error, ERR_IO);
    assert_string_equal(a.failure, "dial tcp 127.0.0.1:1: connect: connection refused");
}

static void test_a_transport_that_is_freed_ends_what_is_under_way(void **state)
{
    struct peer_bed *bed = *state;
    struct asked a;
    struct peer_bed_source s;
    peer_bed_source(&s, (uint64_t)20 << 20);
    B->slow = true;
    send_image(bed, &s);
    start(bed, &a, 2, "/silence", 5000);
    assert_true(peer_bed_until(bed, 2000, B->image_bytes.len > 0));
    peer_transport_free(A->transport);
    peer_transport_free(B->transport);
    A->transport = B->transport = NULL;
    assert_int_equal(a.done, 1);
    assert_int_equal(a.error, ERR_STOPPED);
    assert_int_equal(s.closed, 1);
    assert_int_equal(A->reported_failed, 1);
    assert_int_equal(B->aborted, 1);
}

#define alone(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define connected(test) cmocka_unit_test_setup_teardown(test, set_up_connected, tear_down)

int main(void)
{
    log_configure(LOG_ERROR, LOG_CONSOLE);
    const struct CMUnitTest tests[] = {
        connected(test_messages_reach_the_other_member_by_streams),
        connected(test_appends_keep_their_order_and_their_data),
        connected(test_an_entry_larger_than_any_buffer_arrives),
        alone(test_before_streams_stand_messages_go_by_post),
        alone(test_an_append_too_large_for_other_requests_goes_by_post),
        alone(test_who_speaks_to_a_member_that_knows_nobody_gets_an_answer),
        alone(test_messages_to_nobody_are_dropped),
        connected(test_an_unreachable_member_is_reported_and_found_again),
        alone(test_posts_that_fail_are_reported_once_a_turn),
        alone(test_urls_that_need_tls_are_never_spoken_to),
        alone(test_another_url_is_tried_after_a_failure),
        alone(test_names_are_resolved),
        connected(test_a_queue_that_nobody_empties_is_bounded),
        alone(test_a_member_that_was_removed_is_told),
        connected(test_messages_of_a_removed_member_are_not_heard),
        connected(test_a_member_that_was_taken_out_hears_and_says_nothing_more),
        connected(test_probes_measure_round_trips),
        connected(test_an_image_arrives_whole),
        connected(test_a_source_that_is_not_ready_is_waited_for),
        connected(test_a_receiver_takes_an_image_at_its_own_pace),
        connected(test_a_source_gives_up_while_the_receiver_takes_nothing),
        connected(test_a_source_that_breaks_is_no_image),
        connected(test_a_source_shorter_than_it_said_is_no_image),
        connected(test_a_receiver_may_refuse_at_any_time),
        connected(test_an_image_that_is_cut_leaves_nothing),
        connected(test_images_to_nobody_and_too_many_are_reported),
        connected(test_other_members_can_be_asked),
        connected(test_calls_one_after_the_other_use_one_connection),
        connected(test_a_member_that_does_not_answer_costs_the_time_that_was_given),
        connected(test_urls_can_be_asked_before_there_is_a_transport),
        connected(test_a_transport_that_is_freed_ends_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
