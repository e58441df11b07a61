/* A load program for anything that speaks etcd's API: the same requests to kedge and to etcd. One thread, one loop; so
 * many clients at a time, each with one call under way (closed loop), or a fixed rate of calls (open loop, where
 * waiting for a slow server counts as latency). */
#ifndef TESTS_BENCH_LOAD_LOAD_H
#define TESTS_BENCH_LOAD_LOAD_H

#include "base/random.h"
#include "grpc/client.h"

enum bench_kind { BENCH_PUT, BENCH_GET, BENCH_LIST, BENCH_MIX, BENCH_TXN, BENCH_FILL, BENCH_WATCH, BENCH_SNAPSHOT };

struct bench_options {
    const char *const *endpoints;
    enum bench_kind kind;
    unsigned connections, clients, streams;
    uint64_t keys, key_from;
    size_t value_bytes;
    uint64_t total;         /* calls in all; 0 = until the time is over */
    double seconds;         /* 0 = until total */
    double rate;            /* calls a second, open loop; 0 = closed */
    uint64_t limit;         /* of a list */
    unsigned write_percent; /* of a mix */
    bool serializable;
    uint64_t seed;
};

struct bench_result {
    uint64_t calls, errors, events, bytes;
    double seconds;
    struct histogram *latency;
    char error[256]; /* the first one */
};

/* --- latencies: 1 us to 70 s in steps of 1 % --- */
struct histogram;
struct histogram *histogram_new(void);
void histogram_add(struct histogram *h, uint64_t ns);
uint64_t histogram_quantile(const struct histogram *h, double q); /* ns */
void histogram_free(struct histogram *h);

void bench_calls(const struct bench_options *options, struct bench_result *result);
/* clients watchers of one key on `streams` streams; total puts of that key, one after another. */
void bench_watch(const struct bench_options *options, struct bench_result *result);
/* total snapshots, or as many as begin within the time; latencies are those of whole ones. */
void bench_snapshot(const struct bench_options *options, struct bench_result *result);

/* Requests in protobuf encoding, appended to out. */
void bench_put_request(struct buffer *out, uint64_t key, size_t value_bytes, struct random *random);
void bench_range_request(struct buffer *out, uint64_t key, bool serializable);
void bench_list_request(struct buffer *out, uint64_t limit, bool serializable);
void bench_txn_request(struct buffer *out, uint64_t key, size_t value_bytes, struct random *random);

#endif
