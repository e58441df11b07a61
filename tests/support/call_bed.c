#include "tests/support/call_bed.h"

#include "base/check.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- the service --- */

static void on_cancel(struct call *call, int reason)
{
    struct call_bed *s = call->state;
    s->cancels++;
    s->cancel_reason = reason;
    s->kept = NULL;
}

static const struct call_handler kept_handler = {.on_cancel = on_cancel};

static ssize_t source_read(struct call_source *base, uint8_t *out, size_t cap)
{
    struct call_bed_source *source = container_of(base, struct call_bed_source, base);
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
    container_of(base, struct call_bed_source, base)->ended++;
}

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct call_bed *s = service;
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
    struct call_bed *s = service;
    const Etcdserverpb__PutRequest *request = (const Etcdserverpb__PutRequest *)message;
    s->source = (struct call_bed_source){.base = {.read = source_read, .end = source_end},
                                         .call = call,
                                         .left = (uint64_t)request->lease,
                                         .pauses = request->prev_kv};
    call_reply_stream(call, s->source.left, &s->source.base);
}

static void watch_message(struct call *call, const ProtobufCMessage *message)
{
    struct call_bed *s = call->state;
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
    struct call_bed *s = call->state;
    s->half_closes++;
    call_finish(call, GRPC_OK, "");
}

static void watch_writable(struct call *call)
{
    struct call_bed *s = call->state;
    s->writables++;
}

static const struct call_handler watch_handler = {.on_message = watch_message,
                                                  .on_half_close = watch_half_close,
                                                  .on_writable = watch_writable,
                                                  .on_cancel = on_cancel};

static void watch(void *service, struct call *call)
{
    struct call_bed *s = service;
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

/* --- the bed --- */

static void observe(void *owner, const struct call *call, enum grpc_code code, size_t sent_bytes)
{
    struct call_bed *s = owner;
    (void)call, (void)sent_bytes;
    s->observed++;
    s->observed_code = code;
}

int call_bed_open(void **state, const struct server_options *given, struct client_options client)
{
    struct call_bed *s = mem_zalloc(sizeof *s);
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

int call_bed_open_plain(void **state)
{
    return call_bed_open(state, &(struct server_options){0}, (struct client_options){0});
}

int call_bed_close(void **state)
{
    struct call_bed *s = *state;
    if (s->client != NULL) {
        client_free(s->client);
    }
    server_free(s->server);
    loop_close(&s->loop);
    arena_free(&s->arena);
    free(s);
    return 0;
}

/* --- callers --- */

struct client_status call_bed_range(struct call_bed *s, const char *key, int64_t limit, uint64_t timeout_ms,
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

void call_bed_step_until(struct call_bed *s, bool (*done)(struct call_bed *s))
{
    for (int i = 0; i < 2000 && !done(s); i++) {
        loop_step(&s->loop, 5);
    }
    assert_true(done(s));
}

bool call_bed_is_observed(struct call_bed *s)
{
    return s->observed > 0;
}

bool call_bed_is_kept(struct call_bed *s)
{
    return s->kept != NULL;
}

static void ignore_end(struct client_call *call, enum grpc_code code, const char *text)
{
    (void)call, (void)code, (void)text;
}

const struct client_handler call_bed_ignoring = {.on_end = ignore_end};

struct client_call *call_bed_open_held(struct call_bed *s)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "hold", .len = 4};
    struct client_call *call = client_open(s->client, "/etcdserverpb.KV/Range", &call_bed_ignoring, NULL);
    client_send_message(call, &request.base);
    client_half_close(call);
    call_bed_step_until(s, call_bed_is_kept);
    return call;
}

Etcdserverpb__WatchResponse *call_bed_receive(struct call_bed *s, struct client_stream *stream)
{
    ProtobufCMessage *message;
    struct client_status status;
    int result =
        client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message, &status);
    assert_int_equal(result, 1);
    return (Etcdserverpb__WatchResponse *)message;
}

struct client_status call_bed_receive_end(struct call_bed *s, struct client_stream *stream)
{
    ProtobufCMessage *message;
    struct client_status status;
    int result =
        client_stream_receive(stream, 5000, &etcdserverpb__watch_response__descriptor, &s->arena, &message, &status);
    assert_int_equal(result, -1);
    return status;
}

void call_bed_send_cancel(struct client_stream *stream, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    client_stream_send(stream, &request.base);
}
