/* What a call costs in the transport alone: sockets, HTTP/2, protobuf, with a service that answers at once. The server
 * runs on a thread of its own, whose CPU time is measured; the client is the project's own.
 *
 *     build/bench/call [CONNECTIONS [CALLS A CONNECTION AT A TIME [SECONDS]]]
 *
 * With many connections and few calls on each, what costs is memory that has left the processor's cache; count it with
 *     valgrind --tool=cachegrind --cache-sim=yes --LL=1048576,16,64 build/bench/call 1000 1 20
 * for two lengths, and divide the difference by the difference in calls. */
#include "base/check.h"
#include "grpc/client.h"
#include "grpc/server.h"
#include "kv/rpc.pb-c.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void range(void *service, struct call *call, const ProtobufCMessage *message)
{
    static uint8_t value[256];
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)message;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT, *kvs[] = {&kv};
    header.cluster_id = header.member_id = 0x123456789abcdef0;
    header.revision = kv.mod_revision = kv.create_revision = 1000;
    header.raft_term = 2;
    kv.key = request->key;
    kv.value = (ProtobufCBinaryData){.data = value, .len = sizeof value};
    kv.version = 1;
    response.header = &header;
    response.kvs = kvs;
    response.n_kvs = 1;
    response.count = 1;
    ++*(uint64_t *)service;
    call_reply(call, &response.base);
}

static const struct call_route route = {"/etcdserverpb.KV/Range",
                                        CALL_UNARY,
                                        CALL_NORMAL,
                                        &etcdserverpb__range_request__descriptor,
                                        &etcdserverpb__range_response__descriptor,
                                        range,
                                        NULL};

/* --- the server's thread --- */

struct service {
    struct loop loop;
    struct server *server;
    uint64_t calls;
    double cpu_us;
};

static void *serve(void *arg)
{
    struct service *s = arg;
    struct timespec cpu;
    loop_run(&s->loop);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    s->cpu_us = (double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3;
    server_free(s->server);
    loop_close(&s->loop);
    return NULL;
}

static int start(struct service *s)
{
    static const struct server_options options;
    char reason[256];
    CHECK(loop_init(&s->loop) == 0);
    s->server = server_new(&s->loop, &options);
    server_route(s->server, &route, 1, &s->calls);
    int port = server_listen(s->server, "127.0.0.1", 0, SERVER_BOTH, reason, sizeof reason);
    CHECK(port > 0, "%s", reason);
    server_start(s->server);
    return port;
}

/* --- the client's --- */

struct load {
    struct client *client;
    struct bytes request;
    uint64_t done, open;
    bool over;
};

static void next_call(struct load *load);

static void on_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct load *load = client_call_state(call);
    CHECK(code == GRPC_OK, "%s", text);
    load->done++;
    load->open--;
    if (!load->over) {
        next_call(load);
    }
}

static void next_call(struct load *load)
{
    static const struct client_handler handler = {.on_end = on_end};
    struct client_call_options options = {.timeout_ms = 60000, .state = load};
    struct client_call *call = client_open(load->client, route.path, &handler, &options);
    client_send(call, load->request);
    client_half_close(call);
    load->open++;
}

static double drive(int port, unsigned connections, unsigned calls, double seconds)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", port);
    struct client_options options = {.endpoints = (const char *const[]){endpoint, NULL}, .connections = connections};
    struct load load = {.client = client_new(NULL, &options), .request = bytes_str("\x0a\x08some-key")};
    struct loop *loop = client_loop(load.client);
    uint64_t begin = loop_clock_ns();
    for (unsigned i = 0; i < connections * calls; i++) {
        next_call(&load);
    }
    while (load.open > 0) {
        loop_step(loop, -1);
        load.over = (double)(loop_clock_ns() - begin) / 1e9 >= seconds;
    }
    double took = (double)(loop_clock_ns() - begin) / 1e9;
    client_free(load.client);
    return took;
}

int main(int argc, char **argv)
{
    unsigned connections = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    unsigned calls = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    double seconds = argc > 3 ? atof(argv[3]) : 5;
    struct service service = {.calls = 0};
    pthread_t thread;
    int port = start(&service);
    pthread_create(&thread, NULL, serve, &service);
    double took = drive(port, connections, calls, seconds);
    loop_stop(&service.loop);
    pthread_join(thread, NULL);
    printf("%u connections x %u: %.0f calls/s, %.2f us of the server's CPU a call\n", connections, calls,
           (double)service.calls / took, service.cpu_us / (double)service.calls);
    return 0;
}
