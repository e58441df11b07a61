#include "tests/bench/load/load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: load KIND [options]\n"
    "  KIND  put | get | list | mix | txn | fill | watch | snapshot\n"
    "  --endpoint=HOST:PORT   may be given more than once (127.0.0.1:2379)\n"
    "  --connections=N        in all (100)          --clients=N      calls, or watchers, at a time (1000)\n"
    "  --keys=N               in use (10000)        --key-from=N     the first of them (0)\n"
    "  --size=BYTES           of a value (256)      --limit=N        of a list (0: none)\n"
    "  --total=N              calls in all          --seconds=S      time, if no total is given (10)\n"
    "  --rate=R               calls a second, open loop\n"
    "  --writes=PERCENT       of a mix (10)         --serializable\n"
    "  --streams=N            of the watchers (100) --seed=N\n"
    "Prints one line of JSON: calls, errors, seconds, rate, latencies in microseconds.\n";

static enum bench_kind kind_of(const char *name)
{
    static const char *const names[] = {"put", "get", "list", "mix", "txn", "fill", "watch", "snapshot"};
    for (int i = 0; i < 8; i++) {
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

#define ENDPOINTS_MAX 15

static bool take_unsigned(unsigned *out)
{
    *out = (unsigned)atoi(optarg);
    return true;
}

static bool take_number(uint64_t *out)
{
    *out = strtoull(optarg, NULL, 10);
    return true;
}

/* The flag's value into the options; false for a flag that there isn't. */
static bool take_flag(struct bench_options *o, const char **endpoints, int flag)
{
    switch (flag) {
    case 'e':
        for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
            if (endpoints[i] == NULL) {
                endpoints[i] = optarg;
                break;
            }
        }
        return true;
    case 'c':
        return take_unsigned(&o->connections);
    case 'n':
        return take_unsigned(&o->clients);
    case 'S':
        return take_unsigned(&o->streams);
    case 'w':
        return take_unsigned(&o->write_percent);
    case 'k':
        return take_number(&o->keys);
    case 'f':
        return take_number(&o->key_from);
    case 's':
        o->value_bytes = strtoull(optarg, NULL, 10);
        return true;
    case 'l':
        return take_number(&o->limit);
    case 't':
        return take_number(&o->total);
    case 'x':
        return take_number(&o->seed);
    case 'T':
        o->seconds = atof(optarg);
        return true;
    case 'r':
        o->rate = atof(optarg);
        return true;
    case 'z':
        return o->serializable = true;
    default:
        return false;
    }
}

/* Flags, then the kind of work. */
static bool take_arguments(int argc, char **argv, struct bench_options *o, const char **endpoints)
{
    static const struct option flags[] = {
        {"endpoint", 1, 0, 'e'}, {"connections", 1, 0, 'c'}, {"clients", 1, 0, 'n'},
        {"keys", 1, 0, 'k'},     {"key-from", 1, 0, 'f'},    {"size", 1, 0, 's'},
        {"limit", 1, 0, 'l'},    {"total", 1, 0, 't'},       {"seconds", 1, 0, 'T'},
        {"rate", 1, 0, 'r'},     {"writes", 1, 0, 'w'},      {"serializable", 0, 0, 'z'},
        {"streams", 1, 0, 'S'},  {"seed", 1, 0, 'x'},        {0}};
    for (int c; (c = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        if (!take_flag(o, endpoints, c)) {
            return false;
        }
    }
    if (endpoints[0] == NULL) {
        endpoints[0] = "127.0.0.1:2379";
    }
    if (o->total == 0 && o->seconds <= 0) {
        o->seconds = 10;
    }
    return optind + 1 == argc;
}

int main(int argc, char **argv)
{
    const char *endpoints[ENDPOINTS_MAX + 1] = {NULL};
    struct bench_options o = {.endpoints = endpoints,
                              .connections = 100,
                              .clients = 1000,
                              .streams = 100,
                              .keys = 10000,
                              .value_bytes = 256,
                              .write_percent = 10,
                              .seed = 1};
    if (!take_arguments(argc, argv, &o, endpoints)) {
        fputs(usage, stderr);
        return 2;
    }
    o.kind = kind_of(argv[optind]);
    struct bench_result result = {.latency = histogram_new()};
    if (o.kind == BENCH_WATCH) {
        bench_watch(&o, &result);
    } else if (o.kind == BENCH_SNAPSHOT) {
        bench_snapshot(&o, &result);
    } else {
        bench_calls(&o, &result);
    }
    print(argv[optind], &result);
    histogram_free(result.latency);
    return result.errors == 0 ? 0 : 1;
}
