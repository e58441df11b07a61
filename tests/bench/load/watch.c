/* Fan-out: many watchers of one key on some streams, and puts of that key one after another. Latency is from the put's
 * start to the last watcher's event. */
#include "tests/bench/load/load.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/rpc.pb-c.h"
#include <stdio.h>
#include <stdlib.h>

struct fan {
    const struct bench_options *options;
    struct bench_result *result;
    struct loop loop;
    struct client *client;
    struct random random;
    struct buffer request;
    struct client_call **streams;
    uint64_t created, received, puts, put_ns, begin_ns;
    bool put_done;
};

static void next_put(struct fan *fan);

static void put_ended(struct client_call *call, enum grpc_code code, const char *text)
{
    struct fan *fan = client_call_state(call);
    CHECK(code == GRPC_OK, "put: %s", text);
    fan->put_done = true;
    if (fan->received == (uint64_t)fan->options->clients * fan->puts) {
        next_put(fan);
    }
}

static void next_put(struct fan *fan)
{
    static const struct client_handler handler = {.on_end = put_ended};
    uint64_t now = loop_clock_ns();
    if (fan->puts > 0) {
        histogram_add(fan->result->latency, now - fan->put_ns);
        fan->result->calls++;
    }
    if (fan->puts == fan->options->total) {
        loop_stop(&fan->loop);
        return;
    }
    fan->puts++;
    fan->put_ns = now;
    fan->put_done = false;
    fan->request.len = 0;
    bench_put_request(&fan->request, 1, fan->options->value_bytes, &fan->random);
    const struct client_call_options options = {.state = fan};
    struct client_call *call = client_open(fan->client, "/etcdserverpb.KV/Put", &handler, &options);
    client_send(call, buffer_bytes(&fan->request));
    client_half_close(call);
}

static void on_response(struct client_call *call, struct bytes message)
{
    struct fan *fan = client_call_state(call);
    struct arena arena = {0};
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)pb_unpack(
        &etcdserverpb__watch_response__descriptor, message, &arena, NULL);
    CHECK(response != NULL && !response->canceled);
    fan->result->bytes += message.len;
    if (response->created && ++fan->created == fan->options->clients) {
        fan->begin_ns = loop_clock_ns();
        next_put(fan);
    }
    fan->received += response->n_events;
    fan->result->events += response->n_events;
    if (response->n_events > 0 && fan->put_done && fan->received == (uint64_t)fan->options->clients * fan->puts) {
        next_put(fan);
    }
    arena_free(&arena);
}

static void stream_ended(struct client_call *call, enum grpc_code code, const char *text)
{
    struct fan *fan = client_call_state(call);
    if (code != GRPC_CANCELLED && fan->result->errors++ == 0) {
        snprintf(fan->result->error, sizeof fan->result->error, "%d %s", (int)code, text);
        loop_stop(&fan->loop);
    }
}

static void open_streams(struct fan *fan)
{
    static const struct client_handler handler = {.on_message = on_response, .on_end = stream_ended};
    char key[40];
    int len = snprintf(key, sizeof key, "/registry/bench/%016llu", 1ULL);
    for (unsigned i = 0; i < fan->options->streams; i++) {
        const struct client_call_options options = {.state = fan};
        fan->streams[i] = client_open(fan->client, "/etcdserverpb.Watch/Watch", &handler, &options);
    }
    CHECK(fan->options->streams > 0);
    for (unsigned i = 0; i < fan->options->clients; i++) {
        Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
        create.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = (size_t)len};
        Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
        request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
        request.create_request = &create;
        client_send_message(fan->streams[i % fan->options->streams], &request.base);
    }
}

void bench_watch(const struct bench_options *options, struct bench_result *result)
{
    struct fan *fan = mem_zalloc(sizeof *fan);
    fan->options = options;
    fan->result = result;
    random_seed(&fan->random, options->seed);
    loop_init(&fan->loop);
    const struct client_options client_options = {.endpoints = options->endpoints, .connections = options->connections};
    fan->client = client_new(&fan->loop, &client_options);
    fan->streams = mem_zalloc(options->streams * sizeof(struct client_call *));
    open_streams(fan);
    loop_run(&fan->loop);
    result->seconds = (double)(loop_clock_ns() - fan->begin_ns) / 1e9;
    for (unsigned i = 0; i < options->streams && result->errors == 0; i++) {
        client_cancel(fan->streams[i]);
    }
    client_free(fan->client);
    loop_close(&fan->loop);
    buffer_free(&fan->request);
    free(fan->streams);
    free(fan);
}
