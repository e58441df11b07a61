/* The server and the client against each other over a real socket on one loop: what a service and a caller see. */
#include "base/check.h"
#include "grpc/client.h"
#include "grpc/server.h"
#include "kv/rpc.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- a service whose methods do what the key says -------------------------------------------------------------------
 */

struct source {
    struct call_source base;
    struct call *call;
    uint64_t left;
    unsigned ended;
    bool pauses, paused;
};

struct service {
    struct loop loop;
    struct server *server;
    struct client *client;
    struct arena arena;
    int port;
    struct call *kept; /* of "hold" */
    int cancel_reason;
    unsigned cancels, half_closes, messages, writables, observed;
    enum grpc_code observed_code;
    bool hold_messages;
    struct source source;
    char token[32];
};

static void on_cancel(struct call *call, int reason)
{
    struct service *s = call->state;
    s->cancels++;
    s->cancel_reason = reason;
    s->kept = NULL;
}

static const struct call_handler kept_handler = {.on_cancel = on_cancel};

static ssize_t source_read(struct call_source *base, uint8_t *out, size_t cap)
{
    struct source *source = container_of(base, struct source, base);
    if (source->pauses && !source->paused) {
        source->paused = true;
        return 0;
    }
    source->paused = false;
    size_t n = source->left < cap ? (size_t)source->left : cap;
    memset(out, 'v', n);
    if (source->left > 0 && n > 0 && source->left == 8u << 20) { /* first piece: field 2 (kvs) is not needed: unknown */
        n = n < 16384 ? n : 16384;
    }
    source->left -= n;
    return (ssize_t)n;
}

static void source_end(struct call_source *base)
{
    container_of(base, struct source, base)->ended++;
}

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct service *s = service;
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)message;
    const char *key = (const char *)request->key.data;
    size_t len = request->key.len;
    if (len == 4 && memcmp(key, "hold", 4) == 0) {
        call->handler = &kept_handler;
        call->state = s;
        s->kept = call;
        return;
    }
    if (len == 4 && memcmp(key, "fail", 4) == 0) {
        call_fail(call, ERR_COMPACTED);
        return;
    }
    if (len == 5 && memcmp(key, "text\n", 5) == 0) {
        call_fail_text(call, GRPC_UNKNOWN, "100%% of caf\xc3\xa9\n");
        return;
    }
    if (len == 5 && memcmp(key, "token", 5) == 0) {
        struct bytes token = call_metadata(call, "token");
        snprintf(s->token, sizeof s->token, "%.*s", (int)token.len, (const char *)token.data);
    }
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.count = request->limit + 1;
    call_reply(call, &response.base);
}

/* An answer of limit bytes, made while it is sent: one KeyValue whose value is that long. */
static void put(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct service *s = service;
    const Etcdserverpb__PutRequest *request = (const Etcdserverpb__PutRequest *)message;
    s->source = (struct source){.base = {.read = source_read, .end = source_end},
                                .call = call,
                                .left = (uint64_t)request->lease,
                                .pauses = request->prev_kv};
    call_reply_stream(call, s->source.left, &s->source.base);
}

static void watch_message(struct call *call, const ProtobufCMessage *message)
{
    struct service *s = call->state;
    const Etcdserverpb__WatchRequest *request = (const Etcdserverpb__WatchRequest *)message;
    s->messages++;
    if (s->hold_messages) {
        call_hold(call);
        return;
    }
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.watch_id = request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST
                            ? request->cancel_request->watch_id
                            : -1;
    call_send_message(call, &response.base);
}

static void watch_half_close(struct call *call)
{
    struct service *s = call->state;
    s->half_closes++;
    call_finish(call, GRPC_OK, "");
}

static void watch_writable(struct call *call)
{
    struct service *s = call->state;
    s->writables++;
}

static const struct call_handler watch_handler = {.on_message = watch_message,
                                                  .on_half_close = watch_half_close,
                                                  .on_writable = watch_writable,
                                                  .on_cancel = on_cancel};

static void watch(void *service, struct call *call)
{
    struct service *s = service;
    call->handler = &watch_handler;
    call->state = service;
    s->kept = call;
    call_headers(call);
}

static const struct call_route routes[] = {
    {"/etcdserverpb.KV/Range", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, range, NULL},
    {"/etcdserverpb.KV/Put", CALL_UNARY, CALL_NORMAL, &etcdserverpb__put_request__descriptor,
     &etcdserverpb__put_response__descriptor, put, NULL},
    {"/etcdserverpb.Watch/Watch", CALL_STREAM, CALL_CONTROL, &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_response__descriptor, NULL, watch},
};

static void observe(void *owner, const struct call *call, enum grpc_code code, size_t sent_bytes)
{
    struct service *s = owner;
    (void)call, (void)sent_bytes;
    s->observed++;
    s->observed_code = code;
}

static int set_up_with(void **state, const struct server_options *given, struct client_options client)
{
    struct service *s = mem_zalloc(sizeof *s);
    struct server_options options = *given;
    char reason[256], endpoint[64];
    assert_int_equal(loop_init(&s->loop), 0);
    options.observe = observe;
    options.owner = s;
    s->server = server_new(&s->loop, &options);
    server_route(s->server, routes, sizeof routes / sizeof routes[0], s);
    s->port = server_listen(s->server, "127.0.0.1", 0, SERVER_BOTH, reason, sizeof reason);
    assert_true(s->port > 0);
    server_start(s->server);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", s->port);
    client.endpoints = (const char *const[]){endpoint, NULL};
    s->client = client_new(&s->loop, &client);
    *state = s;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, &(struct server_options){0}, (struct client_options){0});
}

static int tear_down(void **state)
{
    struct service *s = *state;
    if (s->client != NULL) {
        client_free(s->client);
    }
    server_free(s->server);
    loop_close(&s->loop);
    arena_free(&s->arena);
    free(s);
    return 0;
}

static struct client_status call_range(struct service *s, const char *key, int64_t limit, uint64_t timeout_ms,
                                       Etcdserverpb__RangeResponse **response)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct client_status status;
    request.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = strlen(key)};
    request.limit = limit;
    client_unary(s->client, "/etcdserverpb.KV/Range", timeout_ms, &request.base,
                 &etcdserverpb__range_response__descriptor, &s->arena, (ProtobufCMessage **)response, &status);
    return status;
}

static void step_until(struct service *s, bool (*done)(struct service *s))
{
    for (int i = 0; i < 2000 && !done(s); i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(done(s));
}

/* --- unary ----------------------------------------------------------------------------------------------------------
 */

static void test_unary_call_is_answered(void **state)
{
    struct service *s = *state;
    for (int64_t i = 0; i < 100; i++) {
        Etcdserverpb__RangeResponse *response;
        struct client_status status = call_range(s, "a", i, 0, &response);
        assert_int_equal(status.code, GRPC_OK);
        assert_int_equal(response->count, i + 1);
    }
}

static void test_error_travels_with_code_and_text(void **state)
{
    Etcdserverpb__RangeResponse *response;
    struct client_status status = call_range(*state, "fail", 0, 0, &response);
    assert_int_equal(status.code, GRPC_OUT_OF_RANGE);
    assert_string_equal(status.text, "etcdserver: mvcc: required revision has been compacted");
    status = call_range(*state, "text\n", 0, 0, &response);
    assert_int_equal(status.code, GRPC_UNKNOWN);
    assert_string_equal(status.text, "100% of caf\xc3\xa9\n");
}

static void test_unknown_method_and_service(void **state)
{
    struct service *s = *state;
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
    struct service *s = *state;
    struct client_metadata token = {"token", bytes_str("secret.7")};
    client_set_metadata(s->client, &token, 1);
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_range(s, "token", 0, 0, &response).code, GRPC_OK);
    assert_string_equal(s->token, "secret.7");
}

static bool observed(struct service *s)
{
    return s->observed > 0;
}

static void test_deadline_ends_the_call_on_both_sides(void **state)
{
    struct service *s = *state;
    Etcdserverpb__RangeResponse *response;
    struct client_status status = call_range(s, "hold", 0, 50, &response);
    assert_int_equal(status.code, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(status.text, "context deadline exceeded");
    step_until(s, observed);
    assert_int_equal(s->cancels, 1);
}

static bool is_kept(struct service *s)
{
    return s->kept != NULL;
}

static bool is_cancelled(struct service *s)
{
    return s->cancels > 0;
}

static void ignore_end(struct client_call *call, enum grpc_code code, const char *text)
{
    (void)call, (void)code, (void)text;
}

static const struct client_handler ignoring = {.on_end = ignore_end};

static struct client_call *open_held(struct service *s)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "hold", .len = 4};
    struct client_call *call = client_open(s->client, "/etcdserverpb.KV/Range", &ignoring, NULL);
    client_send_message(call, &request.base);
    client_half_close(call);
    step_until(s, is_kept);
    return call;
}

static void test_cancel_of_the_client_reaches_the_service(void **state)
{
    struct service *s = *state;
    client_cancel(open_held(s));
    step_until(s, is_cancelled);
    assert_int_equal(s->cancel_reason, ERR_CONTEXT_CANCELED);
}

static void test_lost_connection_cancels(void **state)
{
    struct service *s = *state;
    open_held(s);
    client_free(s->client);
    s->client = NULL;
    step_until(s, is_cancelled);
    assert_int_equal(s->cancels, 1);
}

/* A request with so many (unknown) fields that another thread unpacks it. */
static struct client_call *open_long(struct service *s, const char *key, const struct client_handler *handler)
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
    struct service *s = *state;
    open_long(s, "a", &ignoring);
    struct call *kept = NULL;
    open_long(s, "hold", &ignoring);
    step_until(s, is_kept);
    kept = s->kept;
    assert_int_equal(kept->encoded.len, kept->request_bytes);
    assert_int_equal(kept->request_bytes, 300000 + 6);
    step_until(s, observed);
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
    return set_up_with(state, &(struct server_options){.check = check}, (struct client_options){0});
}

static void test_what_the_check_refuses_never_comes_to_the_service(void **state)
{
    struct service *s = *state;
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_range(s, "hold", 0, 5000, &response).code, GRPC_OUT_OF_RANGE);
    assert_int_equal(call_range(s, "a", 1, 5000, &response).code, GRPC_OK);
    s->observed = 0;
    open_long(s, "hold", &ignoring);
    step_until(s, observed);
    assert_int_equal(s->observed_code, GRPC_OUT_OF_RANGE);
    assert_null(s->kept);
}

/* The client goes away at each of the moments: before, while and after the other thread has the request. */
static void test_long_request_whose_client_is_gone_is_dropped(void **state)
{
    struct service *s = *state;
    for (int steps = 0; steps < 40; steps++) {
        struct client_call *call = open_long(s, "hold", &ignoring);
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
    struct service *s = *state;
    open_held(s);
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(s->kept, &response.base);
    step_until(s, observed);
    assert_int_equal(s->observed_code, GRPC_OK);
    assert_int_equal(s->cancels, 0);
}

static struct client_status call_put(struct service *s, uint64_t answer_bytes, bool pauses)
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
    struct service *s = *state;
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
    struct service *s = *state;
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
    struct service *s = *state;
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

/* --- streams --------------------------------------------------------------------------------------------------------
 */

static Etcdserverpb__WatchResponse *receive(struct service *s, struct client_stream *stream)
{
    ProtobufCMessage *message;
    struct client_status status;
    int result =
        client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message, &status);
    assert_int_equal(result, 1);
    return (Etcdserverpb__WatchResponse *)message;
}

static void send_cancel(struct client_stream *stream, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    client_stream_send(stream, &request.base);
}

static void test_stream_carries_messages_both_ways_until_half_close(void **state)
{
    struct service *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    for (int64_t i = 0; i < 50; i++) {
        send_cancel(stream, i);
        assert_int_equal(receive(s, stream)->watch_id, i);
    }
    client_stream_half_close(stream);
    ProtobufCMessage *message;
    struct client_status status;
    assert_int_equal(
        client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message, &status),
        -1);
    assert_int_equal(status.code, GRPC_OK);
    assert_int_equal(s->half_closes, 1);
    client_stream_close(stream);
}

static bool one_message(struct service *s)
{
    return s->messages >= 1;
}

static bool three_messages(struct service *s)
{
    return s->messages >= 3;
}

static void test_held_stream_delivers_nothing_until_resumed(void **state)
{
    struct service *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    s->hold_messages = true;
    for (int64_t i = 0; i < 3; i++) {
        send_cancel(stream, i);
    }
    client_stream_half_close(stream);
    step_until(s, one_message);
    for (int i = 0; i < 20; i++) {
        loop_step(&s->loop, 1);
    }
    assert_int_equal(s->messages, 1);
    assert_int_equal(s->half_closes, 0);
    s->hold_messages = false;
    call_resume(s->kept);
    step_until(s, three_messages);
    assert_int_equal(receive(s, stream)->watch_id, 1);
    assert_int_equal(receive(s, stream)->watch_id, 2);
    assert_int_equal(s->half_closes, 1);
    client_stream_close(stream);
}

static void test_writer_is_told_when_the_client_does_not_read_and_when_it_does(void **state)
{
    struct service *s = *state;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    step_until(s, is_kept);
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

/* --- lanes, stopping ------------------------------------------------------------------------------------------------
 */

static int set_up_narrow(void **state)
{
    struct server_options options = {.lanes = {[CALL_NORMAL] = {.operations = 1}}};
    return set_up_with(state, &options, (struct client_options){0});
}

static void test_full_lane_lets_the_next_call_wait(void **state)
{
    struct service *s = *state;
    struct client_call *first = open_held(s);
    struct call *held = s->kept;
    Etcdserverpb__RangeResponse *response;
    assert_int_equal(call_range(s, "a", 0, 50, &response).code, GRPC_DEADLINE_EXCEEDED);
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(held, &answer.base);
    assert_int_equal(call_range(s, "a", 0, 5000, &response).code, GRPC_OK);
    (void)first;
}

static void stopped(void *owner)
{
    *(bool *)owner = true;
}

static void test_stop_lets_running_calls_end_and_refuses_new_ones(void **state)
{
    struct service *s = *state;
    bool is_stopped = false;
    open_held(s);
    server_stop(s->server, 5000, stopped, &is_stopped);
    for (int i = 0; i < 20; i++) {
        loop_step(&s->loop, 5);
    }
    assert_false(is_stopped);
    Etcdserverpb__RangeResponse answer = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    call_reply(s->kept, &answer.base);
    for (int i = 0; i < 400 && !is_stopped; i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(is_stopped);
    assert_int_equal(s->observed_code, GRPC_OK);
    assert_int_equal(s->cancels, 0);
}

static void test_stop_cancels_what_outlasts_the_grace(void **state)
{
    struct service *s = *state;
    bool is_stopped = false;
    open_held(s);
    server_stop(s->server, 20, stopped, &is_stopped);
    for (int i = 0; i < 400 && !is_stopped; i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(is_stopped);
    assert_int_equal(s->cancel_reason, ERR_STOPPED);
}

/* A watch would outlast any grace: its client hears at once that it has to go elsewhere, after what was queued for it.
 */
static void test_stop_ends_streams_at_once_after_what_they_have_queued(void **state)
{
    struct service *s = *state;
    bool is_stopped = false;
    struct client_stream *stream = client_stream_open(s->client, "/etcdserverpb.Watch/Watch", 0);
    send_cancel(stream, 1);
    assert_int_equal(receive(s, stream)->watch_id, 1);
    Etcdserverpb__WatchResponse last = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    last.watch_id = 2;
    call_send_message(s->kept, &last.base);
    uint64_t begin = loop_now_ms(&s->loop);
    server_stop(s->server, 5000, stopped, &is_stopped);
    assert_int_equal(s->cancel_reason, ERR_STOPPED);
    assert_int_equal(receive(s, stream)->watch_id, 2);
    ProtobufCMessage *message;
    struct client_status status;
    assert_int_equal(
        client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message, &status),
        -1);
    assert_int_equal(status.code, GRPC_UNAVAILABLE);
    assert_string_equal(status.text, "etcdserver: server stopped");
    client_stream_close(stream);
    for (int i = 0; i < 400 && !is_stopped; i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(is_stopped);
    assert_true(loop_now_ms(&s->loop) - begin < 4000);
    assert_int_equal(s->cancels, 1);
}

/* --- the client alone -----------------------------------------------------------------------------------------------
 */

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
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
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
                                        tear_down),
        TEST(test_long_request_whose_client_is_gone_is_dropped),
        TEST(test_late_answer_is_delivered),
        TEST(test_answer_from_a_source_is_sent_whole),
        TEST(test_request_longer_than_the_limit_is_refused),
        TEST(test_long_requests_one_after_another),
        TEST(test_stream_carries_messages_both_ways_until_half_close),
        TEST(test_held_stream_delivers_nothing_until_resumed),
        TEST(test_writer_is_told_when_the_client_does_not_read_and_when_it_does),
        cmocka_unit_test_setup_teardown(test_full_lane_lets_the_next_call_wait, set_up_narrow, tear_down),
        TEST(test_stop_lets_running_calls_end_and_refuses_new_ones),
        TEST(test_stop_cancels_what_outlasts_the_grace),
        TEST(test_stop_ends_streams_at_once_after_what_they_have_queued),
        cmocka_unit_test(test_connection_refused_in_grpc_go_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
