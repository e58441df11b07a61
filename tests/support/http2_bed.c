#include "tests/support/http2_bed.h"

#include "base/check.h"
#include "kv/rpc.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.count = 1;
    call_reply(call, &response.base);
}

static void on_cancel(struct call *call, int reason)
{
    struct http2_bed *f = call->state;
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

static void range_stream(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service, (void)message;
    call_finish(call, GRPC_OK, "");
}

static const struct call_route routes[] = {
    {"/etcdserverpb.KV/RangeStream", CALL_SERVER_STREAM, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, range_stream, NULL},
    {"/etcdserverpb.KV/Range", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, range, NULL},
    {"/etcdserverpb.KV/Put", CALL_UNARY, CALL_NORMAL, &etcdserverpb__put_request__descriptor,
     &etcdserverpb__put_response__descriptor, put, NULL},
    {"/etcdserverpb.Watch/Watch", CALL_STREAM, CALL_CONTROL, &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_response__descriptor, NULL, watch},
};

int http2_bed_open(void **state, struct server_options options)
{
    struct http2_bed *f = mem_zalloc(sizeof *f);
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

int http2_bed_open_plain(void **state)
{
    return http2_bed_open(state, (struct server_options){0});
}

int http2_bed_close(void **state)
{
    struct http2_bed *f = *state;
    raw_http2_close(&f->raw);
    if (f->server != NULL) {
        server_free(f->server);
        loop_close(&f->loop);
    }
    free(f);
    return 0;
}

void http2_bed_expect(struct http2_bed *f, const char *expected)
{
    const char *got = raw_http2_receive(&f->raw, QUIET_MS);
    if (getenv("KEDGE_RAW_PORT") != NULL && strcmp(got, expected) != 0) {
        print_message("--- expected\n%s--- got\n%s", expected, got);
        return;
    }
    assert_string_equal(got, expected);
}

void http2_bed_ask(struct http2_bed *f, const char *head, const char *data, size_t len, uint8_t data_flags)
{
    raw_http2_greet(&f->raw);
    raw_http2_headers(&f->raw, 1, data == NULL ? END : 0, head);
    if (data != NULL) {
        raw_http2_frame(&f->raw, NGHTTP2_DATA, data_flags, 1, data, len);
    }
}

void http2_bed_serves_others(struct http2_bed *f)
{
    struct raw_http2 other;
    raw_http2_open(&other, f->port, &f->loop);
    raw_http2_greet(&other);
    raw_http2_headers(&other, 1, 0, RANGE GRPC);
    raw_http2_message(&other, 1, END, "\x0a\1x", 3);
    assert_non_null(strstr(raw_http2_receive(&other, QUIET_MS), "grpc-status=0"));
    raw_http2_close(&other);
}

size_t http2_bed_streams(struct http2_bed *f)
{
    struct server_stats stats;
    server_stats(f->server, &stats);
    return stats.streams;
}
