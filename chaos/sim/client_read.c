/* Reads: ranges, whose answers are sometimes held for a while, and txns that only read; linearizable ones and others.
 */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/client.h"
#include <stdio.h>
#include <stdlib.h>

static struct random *rnd(struct sim_client *c)
{
    return &c->sim->random;
}

/* --- ranges --------------------------------------------------------------------------------------------------------
 */

static void judge_rows(struct sim_client *c)
{
    struct sim_read read = {.revision = c->range.range.revision, .lo = c->lo, .hi = c->hi, .digest = 1};
    struct bytes in = buffer_bytes(&c->rows);
    while (in.len > 0) {
        uint64_t len = 0;
        size_t n = in.data[0] == 0x12 ? varint_get(bytes_of(in.data + 1, in.len - 1), &len) : 0;
        struct row_fields row;
        if (n == 0 || len > in.len - 1 - n || row_decode(bytes_of(in.data + 1 + n, len), &row) != 0) {
            sim_fail(c->sim, "the rows of an answer are unreadable");
            return;
        }
        read.digest = model_digest_row(read.digest, &row);
        read.count++;
        in = bytes_of(in.data + 1 + n + len, in.len - 1 - n - len);
    }
    if (read.count != (size_t)c->range.range.count) {
        sim_fail(c->sim, "a range counts %lld and has %zu rows", (long long)c->range.range.count, read.count);
    }
    sim_trace(c->sim, "read", (uint64_t)read.revision, read.digest);
    sim_check_read(c->sim, read, c->floor);
}

void sim_client_finish_read(struct sim_client *c)
{
    int result = KV_MORE;
    while (result == KV_MORE) {
        size_t n = 0;
        result = kv_range_read(&c->range.range, buffer_reserve(&c->rows, 64), 64, &n);
        c->rows.len += n;
    }
    if (result != KV_DONE) {
        sim_fail(c->sim, "a range cannot be read: %s", error_name(result));
    }
    judge_rows(c);
    kv_range_end(&c->range.range);
    c->open = false;
    sim_client_rest(c);
}

/* Some answers are held: their pins must keep compaction away from their rows. */
static void ranged(struct core_range *range, int error)
{
    struct sim_client *c = range->owner;
    c->ranging = false;
    if (error != 0) {
        sim_client_rest(c);
        return;
    }
    c->open = true;
    c->rows.len = 0;
    c->state = SIM_HOLDING;
    c->due_ms = c->sim->now_ms + (random_below(rnd(c), 4) == 0 ? random_below(rnd(c), 500) : 0);
}

static void do_range(struct sim_client *c)
{
    sim_client_key(c);
    etcdserverpb__range_request__init(&c->range_request);
    c->range_request.key = sim_client_text(c->key);
    c->range_request.range_end = sim_client_end(c, MODEL_KEYS);
    c->range_request.serializable = random_below(rnd(c), 3) == 0;
    c->floor = c->range_request.serializable ? 0 : sim_check_floor(c->sim);
    c->range = (struct core_range){.done = ranged, .owner = c};
    if (core_range(c->at->core, &c->range, &c->range_request) != 0) {
        sim_client_rest(c);
        return;
    }
    c->ranging = true;
    sim_client_wait(c);
}

/* --- txns that only read: two ranges of one moment -----------------------------------------------------------------
 */

static void txn_answered(struct core_txn_read *txn, int error, Etcdserverpb__TxnResponse *response)
{
    struct sim_client *c = txn->owner;
    c->asking = false;
    c->at->kv = core_kv(c->at->core);
    sim_check_applied(c->at); /* in the midst of a turn: what it saw may have been applied just now */
    for (size_t i = 0; error == 0 && i < response->n_responses; i++) {
        const Etcdserverpb__RangeResponse *range = response->responses[i]->response_range;
        const struct sim_read read = {.revision = response->header->revision,
                                      .lo = i == 0 ? c->lo : 0,
                                      .hi = i == 0 ? c->hi : MODEL_KEYS,
                                      .digest = sim_client_digest(range->kvs, range->n_kvs),
                                      .count = range->n_kvs};
        sim_trace(c->sim, "txn read", (uint64_t)read.revision, read.digest);
        sim_check_read(c->sim, read, c->floor);
    }
    sim_client_rest(c);
}

static void do_txn_read(struct sim_client *c)
{
    static char first[] = "k00";
    bool serializable = sim_chance(c->sim, 3);
    arena_reset(&c->arena);
    Etcdserverpb__TxnRequest *txn = arena_alloc(&c->arena, sizeof *txn);
    Etcdserverpb__RequestOp *ops = arena_alloc(&c->arena, 2 * sizeof *ops);
    Etcdserverpb__RangeRequest *ranges = arena_alloc(&c->arena, 2 * sizeof *ranges);
    Etcdserverpb__RequestOp **list = arena_alloc(&c->arena, 2 * sizeof *list);
    etcdserverpb__txn_request__init(txn);
    for (size_t i = 0; i < 2; i++) {
        etcdserverpb__request_op__init(&ops[i]);
        etcdserverpb__range_request__init(&ranges[i]);
        ranges[i].serializable = serializable;
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        ops[i].request_range = &ranges[i];
        list[i] = &ops[i];
    }
    sim_client_key(c);
    ranges[0].key = sim_client_text(c->key);
    ranges[0].range_end = sim_client_end(c, MODEL_KEYS);
    ranges[1].key = sim_client_text(first);
    ranges[1].range_end = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) "\0"};
    txn->success = list;
    txn->n_success = 2;
    c->floor = serializable ? 0 : sim_check_floor(c->sim);
    c->txn_read = (struct core_txn_read){.done = txn_answered, .owner = c};
    if (core_txn_read(c->at->core, &c->txn_read, txn, &c->arena) != 0) {
        sim_client_rest(c);
        return;
    }
    c->asking = true;
    sim_client_wait(c);
}

/* --- */

void sim_client_read(struct sim_client *c)
{
    if (sim_chance(c->sim, 4)) {
        do_txn_read(c);
    } else {
        do_range(c);
    }
}
