/* Snapshots, one after another, each taken to its end and thrown away. */
#include "tests/bench/load/load.h"

#include <stdio.h>

struct run {
    const struct bench_options *options;
    struct bench_result *result;
    struct loop loop;
    struct client *client;
    uint64_t begun_ns, end_ns;
};

static void start(struct run *run);

static void on_message(struct client_call *call, struct bytes message)
{
    struct run *run = client_call_state(call);
    run->result->bytes += message.len;
    run->result->events++;
}

static void on_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct run *run = client_call_state(call);
    struct bench_result *result = run->result;
    uint64_t now = loop_clock_ns();
    if (code != GRPC_OK) {
        result->errors++;
        snprintf(result->error, sizeof result->error, "%d %s", (int)code, text);
        loop_stop(&run->loop);
        return;
    }
    result->calls++;
    histogram_add(result->latency, now - run->begun_ns);
    if (run->options->total > 0 ? result->calls < run->options->total : now < run->end_ns) {
        start(run);
    } else {
        loop_stop(&run->loop);
    }
}

static void start(struct run *run)
{
    static const struct client_handler handler = {.on_message = on_message, .on_end = on_end};
    const struct client_call_options options = {.state = run};
    run->begun_ns = loop_clock_ns();
    struct client_call *call = client_open(run->client, "/etcdserverpb.Maintenance/Snapshot", &handler, &options);
    client_send(call, bytes_of("", 0));
    client_half_close(call);
}

void bench_snapshot(const struct bench_options *options, struct bench_result *result)
{
    struct run run = {.options = options, .result = result};
    const struct client_options client_options = {.endpoints = options->endpoints};
    loop_init(&run.loop);
    run.client = client_new(&run.loop, &client_options);
    uint64_t begin_ns = loop_clock_ns();
    run.end_ns = begin_ns + (uint64_t)(options->seconds * 1e9);
    start(&run);
    loop_run(&run.loop);
    result->seconds = (double)(loop_clock_ns() - begin_ns) / 1e9;
    client_free(run.client);
    loop_close(&run.loop);
}
