/* The load of check perf and check datascale: puts of random keys over many connections, each with one put under way.
 * All on one loop. */
#ifndef CMD_KEDGECTL_LOAD_H
#define CMD_KEDGECTL_LOAD_H

#include "cmd/kedgectl/load_bar.h"
#include "cmd/kedgectl/session.h"

struct load_options {
    const char *prefix;    /* of all keys */
    size_t key_bytes;      /* behind the prefix: a random number, then zero bytes */
    size_t value_bytes;    /* zero bytes */
    unsigned clients;      /* connections */
    unsigned rate;         /* puts a second, evenly; 0 = as fast as they are answered */
    uint64_t count;        /* puts in all; 0 = until the time is over */
    uint64_t seconds;      /* 0 = until all are done */
    bool (*stopped)(void); /* asked in each turn: true ends the load early; may be NULL */
};

struct load_error {
    const char *text; /* in the call's arena */
    uint64_t count;
    struct load_error *next;
};

struct load_result {
    uint64_t good;
    double per_second, slowest_s, deviation_s; /* of the good ones */
    struct load_error *errors;                 /* each text once; NULL = none */
};

/* Runs it to its end: what was begun is waited for. The bar counts seconds where there is a limit of time, else puts.
 */
struct load_result load_run(struct session *s, const struct load_options *options, struct load_bar *bar);

#endif
