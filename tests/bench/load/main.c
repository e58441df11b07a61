#include "tests/bench/load/load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: load KIND [options]\n"
    "  KIND  put | get | list | mix | txn | fill | watch\n"
    "  --endpoint=HOST:PORT   may be given more than once (127.0.0.1:2379)\n"
    "  --connections=N        an endpoint (100)     --clients=N      calls, or watchers, at a time (1000)\n"
    "  --keys=N               in use (10000)        --key-from=N     the first of them (0)\n"
    "  --size=BYTES           of a value (256)      --limit=N        of a list (0: none)\n"
    "  --total=N              calls in all          --seconds=S      time, if no total is given (10)\n"
    "  --rate=R               calls a second, open loop\n"
    "  --writes=PERCENT       of a mix (10)         --serializable\n"
    "  --streams=N            of the watchers (100) --seed=N\n"
    "Prints one line of JSON: calls, errors, seconds, rate, latencies in microseconds.\n";

static enum bench_kind kind_of(const char *name)
{
    static const char *const names[] = {"put", "get", "list", "mix", "txn", "fill", "watch"};
    for (int i = 0; i < 7; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum bench_kind)i;
        }
    }
    fprintf(stderr, "load: unknown kind \"%s\"\n%s", name, usage);
    exit(2);
}

static void print(const char *kind, const struct bench_result *result)
{
    printf(
        "{\"kind\":\"%s\",\"calls\":%llu,\"errors\":%llu,\"events\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"rate\":%.1f,"
        "\"p50_us\":%.1f,\"p95_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"error\":\"%s\"}\n",
        kind, (unsigned long long)result->calls, (unsigned long long)result->errors, (unsigned long long)result->events,
        (unsigned long long)result->bytes, result->seconds, (double)result->calls / result->seconds,
        (double)histogram_quantile(result->latency, 0.5) / 1000,
        (double)histogram_quantile(result->latency, 0.95) / 1000,
        (double)histogram_quantile(result->latency, 0.99) / 1000, (double)histogram_quantile(result->latency, 1) / 1000,
        result->error);
}

int main(int argc, char **argv)
{
    static const struct option flags[] = {
        {"endpoint", 1, 0, 'e'}, {"connections", 1, 0, 'c'}, {"clients", 1, 0, 'n'},
        {"keys", 1, 0, 'k'},     {"key-from", 1, 0, 'f'},    {"size", 1, 0, 's'},
        {"limit", 1, 0, 'l'},    {"total", 1, 0, 't'},       {"seconds", 1, 0, 'T'},
        {"rate", 1, 0, 'r'},     {"writes", 1, 0, 'w'},      {"serializable", 0, 0, 'z'},
        {"streams", 1, 0, 'S'},  {"seed", 1, 0, 'x'},        {0}};
    const char *endpoints[16] = {NULL};
    size_t endpoint_count = 0;
    struct bench_options o = {.endpoints = endpoints,
                              .connections = 100,
                              .clients = 1000,
                              .streams = 100,
                              .keys = 10000,
                              .value_bytes = 256,
                              .write_percent = 10,
                              .seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        switch (c) {
        case 'e':
            if (endpoint_count < 15) {
                endpoints[endpoint_count++] = optarg;
            }
            break;
        case 'c':
            o.connections = (unsigned)atoi(optarg);
            break;
        case 'n':
            o.clients = (unsigned)atoi(optarg);
            break;
        case 'k':
            o.keys = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            o.key_from = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.value_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            o.limit = strtoull(optarg, NULL, 10);
            break;
        case 't':
            o.total = strtoull(optarg, NULL, 10);
            break;
        case 'T':
            o.seconds = atof(optarg);
            break;
        case 'r':
            o.rate = atof(optarg);
            break;
        case 'w':
            o.write_percent = (unsigned)atoi(optarg);
            break;
        case 'z':
            o.serializable = true;
            break;
        case 'S':
            o.streams = (unsigned)atoi(optarg);
            break;
        case 'x':
            o.seed = strtoull(optarg, NULL, 10);
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (endpoint_count == 0) {
        endpoints[0] = "127.0.0.1:2379";
    }
    o.kind = kind_of(argv[optind]);
    if (o.total == 0 && o.seconds <= 0) {
        o.seconds = 10;
    }
    struct bench_result result = {.latency = histogram_new()};
    if (o.kind == BENCH_WATCH) {
        bench_watch(&o, &result);
    } else {
        bench_calls(&o, &result);
    }
    print(argv[optind], &result);
    histogram_free(result.latency);
    return result.errors == 0 ? 0 : 1;
}
