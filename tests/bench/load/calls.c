/* Unary calls, one after another for each of many clients. */
#include "tests/bench/load/load.h"

#include "base/check.h"
#include <stdio.h>
#include <stdlib.h>

struct caller {
    struct run *run;
    struct client *client;
    uint64_t begun_ns;
};

struct run {
    const struct bench_options *options;
    struct bench_result *result;
    struct loop loop;
    struct client **clients; /* one for each connection; each caller stays with its own, as in etcd's load program */
    struct random random;
    struct buffer request;
    struct caller *callers;
    struct caller **idle; /* open loop: those without a call */
    size_t idle_count;
    struct loop_hook pace;
    struct loop_timer tick;
    uint64_t started, finished, begin_ns, end_ns, next_key;
};

static bool over(const struct run *run)
{
    const struct bench_options *options = run->options;
    return (options->total > 0 && run->started >= options->total) ||
           (options->seconds > 0 && loop_clock_ns() >= run->end_ns);
}

static const char *make_request(struct run *run)
{
    const struct bench_options *options = run->options;
    uint64_t key = options->key_from + random_below(&run->random, options->keys);
    enum bench_kind kind = options->kind;
    run->request.len = 0;
    if (kind == BENCH_MIX) {
        kind = random_below(&run->random, 100) < options->write_percent ? BENCH_PUT : BENCH_GET;
    }
    switch (kind) {
    case BENCH_FILL:
        key = options->key_from + run->next_key++ % options->keys;
        bench_put_request(&run->request, key, options->value_bytes, &run->random);
        return "/etcdserverpb.KV/Put";
    case BENCH_PUT:
        bench_put_request(&run->request, key, options->value_bytes, &run->random);
        return "/etcdserverpb.KV/Put";
    case BENCH_TXN:
        bench_txn_request(&run->request, key, options->value_bytes, &run->random);
        return "/etcdserverpb.KV/Txn";
    case BENCH_LIST:
        bench_list_request(&run->request, options->limit, options->serializable);
        return "/etcdserverpb.KV/Range";
    default:
        bench_range_request(&run->request, key, options->serializable);
        return "/etcdserverpb.KV/Range";
    }
}

static void start(struct caller *caller, uint64_t begun_ns);

static void on_message(struct client_call *call, struct bytes message)
{
    struct caller *caller = client_call_state(call);
    caller->run->result->bytes += message.len;
}

static void on_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct caller *caller = client_call_state(call);
    struct run *run = caller->run;
    uint64_t now = loop_clock_ns();
    run->finished++;
    if (code != GRPC_OK) {
        if (run->result->errors++ == 0) {
            snprintf(run->result->error, sizeof run->result->error, "%d %s", (int)code, text);
        }
    } else {
        run->result->calls++;
        histogram_add(run->result->latency, now - caller->begun_ns);
    }
    if (over(run)) {
        if (run->finished == run->started) {
            loop_stop(&run->loop);
        }
    } else if (run->options->rate > 0) {
        run->idle[run->idle_count++] = caller;
    } else {
        start(caller, now);
    }
}

static void start(struct caller *caller, uint64_t begun_ns)
{
    static const struct client_handler handler = {.on_message = on_message, .on_end = on_end};
    struct run *run = caller->run;
    const char *path = make_request(run);
    const struct client_call_options options = {.state = caller};
    caller->begun_ns = begun_ns;
    run->started++;
    struct client_call *call = client_open(caller->client, path, &handler, &options);
    client_send(call, buffer_bytes(&run->request));
    client_half_close(call);
}

/* Open loop: what is due starts, dated when it was due, so that a server that falls behind shows in the latencies. */
static bool pace(struct loop_hook *hook)
{
    struct run *run = container_of(hook, struct run, pace);
    uint64_t now = loop_clock_ns();
    while (!over(run) && run->idle_count > 0) {
        uint64_t due = run->begin_ns + (uint64_t)((double)run->started / run->options->rate * 1e9);
        if (due > now) {
            break;
        }
        start(run->idle[--run->idle_count], due);
    }
    if (over(run) && run->finished == run->started) {
        loop_stop(&run->loop);
    }
    loop_timer_set(&run->loop, &run->tick, now / 1000000 + 1);
    return false;
}

static void ticked(struct loop_timer *timer)
{
    (void)timer;
}

/* Each connection goes to one endpoint, the next to the next: so all get the same number of them. */
static void connect_all(struct run *run)
{
    const struct bench_options *options = run->options;
    size_t endpoints = 0;
    while (options->endpoints[endpoints] != NULL) {
        endpoints++;
    }
    CHECK(endpoints > 0 && options->connections > 0);
    run->clients = mem_zalloc(options->connections * sizeof(struct client *));
    for (unsigned i = 0; i < options->connections; i++) {
        const char *own[] = {options->endpoints[i % endpoints], NULL};
        const struct client_options client_options = {.endpoints = own, .connections = 1};
        run->clients[i] = client_new(&run->loop, &client_options);
    }
}

void bench_calls(const struct bench_options *options, struct bench_result *result)
{
    struct run *run = mem_zalloc(sizeof *run);
    run->options = options;
    run->result = result;
    random_seed(&run->random, options->seed);
    loop_init(&run->loop);
    connect_all(run);
    run->callers = mem_zalloc(options->clients * sizeof *run->callers);
    run->idle = mem_zalloc(options->clients * sizeof(struct caller *));
    run->begin_ns = loop_clock_ns();
    run->end_ns = run->begin_ns + (uint64_t)(options->seconds * 1e9);
    for (unsigned i = 0; i < options->clients; i++) {
        run->callers[i].run = run;
        run->callers[i].client = run->clients[i % options->connections];
        if (options->rate > 0) {
            run->idle[run->idle_count++] = &run->callers[i];
        } else if (!over(run)) {
            start(&run->callers[i], run->begin_ns);
        }
    }
    if (options->rate > 0) {
        run->pace.run = pace;
        run->tick.fire = ticked;
        loop_hook_add(&run->loop, &run->pace);
        loop_timer_set(&run->loop, &run->tick, 0);
    }
    loop_run(&run->loop);
    result->seconds = (double)(loop_clock_ns() - run->begin_ns) / 1e9;
    if (options->rate > 0) {
        loop_hook_remove(&run->loop, &run->pace);
        loop_timer_stop(&run->loop, &run->tick);
    }
    for (unsigned i = 0; i < options->connections; i++) {
        client_free(run->clients[i]);
    }
    free(run->clients);
    loop_close(&run->loop);
    buffer_free(&run->request);
    free(run->callers);
    free(run->idle);
    free(run);
}
