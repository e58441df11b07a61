/* Clients that change and read, one request at a time each, at any member. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/internal.h"
#include <stdio.h>
#include <stdlib.h>

#define PAUSE_MS 80
#define BUSY_PAUSE_MS 8     /* one seed in four */
#define CLUSTER_PAUSE_MS 55 /* about 50 requests a second together */

enum { OP_PUT, OP_DELETE, OP_TXN, OP_COMPACT, OP_GRANT, OP_REVOKE };

typedef Etcdserverpb__InternalRaftRequest Internal;

static struct random *rnd(struct sim_client *c)
{
    return &c->sim->random;
}

static ProtobufCBinaryData text(char *t)
{
    return (ProtobufCBinaryData){.len = strlen(t), .data = (uint8_t *)t};
}

static void rest(struct sim_client *c)
{
    c->state = SIM_IDLE;
    uint64_t pause = c->sim->config.members > 1     ? CLUSTER_PAUSE_MS
                     : c->sim->config.seed % 4 == 0 ? BUSY_PAUSE_MS
                                                    : PAUSE_MS;
    c->due_ms = c->sim->now_ms + random_below(rnd(c), pause);
}

static int64_t some_lease(struct sim_client *c)
{
    int64_t newest = c->sim->next_lease;
    return newest == 0 ? 0 : newest - (int64_t)random_below(rnd(c), newest < 6 ? (uint64_t)newest : 6);
}

/* --- changes -------------------------------------------------------------------------------------------------------
 */

static uint64_t digest_kvs(Mvccpb__KeyValue **kvs, size_t count)
{
    uint64_t digest = 1;
    for (size_t i = 0; i < count; i++) {
        struct row_fields row = {
            .key = bytes_of(kvs[i]->key.data, kvs[i]->key.len),
            .value = bytes_of(kvs[i]->value.data, kvs[i]->value.len),
            .create_revision = kvs[i]->create_revision,
            .mod_revision = kvs[i]->mod_revision,
            .version = kvs[i]->version,
            .lease = kvs[i]->lease,
        };
        digest = model_digest_row(digest, &row);
    }
    return digest;
}

static void told_txn(const Etcdserverpb__TxnResponse *response, struct model_outcome *told)
{
    told->revision = response->header->revision;
    told->succeeded = response->succeeded;
    for (size_t i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE) {
            told->deleted += op->response_delete_range->deleted;
        } else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) {
            told->digest ^= digest_kvs(op->response_range->kvs, op->response_range->n_kvs);
        }
    }
}

static struct model_outcome told_by(const struct sim_client *c, const ProtobufCMessage *response)
{
    struct model_outcome told = {0};
    switch (c->kind) {
    case OP_PUT:
        told.revision = ((const Etcdserverpb__PutResponse *)response)->header->revision;
        break;
    case OP_DELETE:
        told.revision = ((const Etcdserverpb__DeleteRangeResponse *)response)->header->revision;
        told.deleted = ((const Etcdserverpb__DeleteRangeResponse *)response)->deleted;
        break;
    case OP_TXN:
        told_txn((const Etcdserverpb__TxnResponse *)response, &told);
        break;
    default:
        break;
    }
    return told;
}

/* The state machine's own answers. After any other error nobody knows what became of the request. */
static bool decided(int error)
{
    return error == 0 || error == ERR_LEASE_NOT_FOUND || error == ERR_LEASE_EXIST || error == ERR_COMPACTED ||
           error == ERR_FUTURE_REV;
}

/* As the slowest clock of a holder may count. */
static uint64_t holds_until(const struct sim_client *c, int64_t ttl_s)
{
    return c->started_ms + (uint64_t)ttl_s * 1000 * 1000 / SIM_RATE_MAX;
}

static void changed(struct core_request *request, int error, ProtobufCMessage *response)
{
    struct sim_client *c = request->owner;
    c->proposed = false;
    sim_trace(c->sim, "answer", c->op_id, (uint64_t)(int64_t)error);
    if (decided(error)) {
        struct model_outcome told = {.error = error};
        if (error == 0) {
            told = told_by(c, response);
        }
        sim_check_acknowledged(c->sim, c->op_id, &told);
        if (error == 0 && c->kind == OP_GRANT) {
            int64_t ttl = ((const Etcdserverpb__LeaseGrantResponse *)response)->ttl;
            sim_check_lease_told(c->sim, c->lease, holds_until(c, ttl));
        }
    }
    rest(c);
}

/* For the answer, as long as its patience lasts. */
static void wait(struct sim_client *c)
{
    c->state = SIM_BUSY;
    c->started_ms = c->sim->now_ms;
    c->due_ms = c->sim->config.members == 1 ? SIM_NEVER : c->sim->now_ms + sim_between(c->sim, 300, 9000);
}

static void propose(struct sim_client *c, int kind, Internal *internal)
{
    c->kind = kind;
    c->request = (struct core_request){.done = changed, .owner = c};
    int error = core_propose(c->at->core, &c->request, internal);
    if (error != 0) {
        rest(c);
        return;
    }
    wait(c);
    c->proposed = true;
    c->op_id = c->request.id;
    sim_check_proposed(c->sim, c->op_id, sim_request_digest(internal));
    sim_trace(c->sim, "propose", c->op_id, (uint64_t)kind);
}

static void some_key(struct sim_client *c)
{
    c->lo = (int)random_below(rnd(c), MODEL_KEYS);
    c->hi = c->lo + 1;
    model_key_name(c->lo, c->key);
}

/* A range: [key, end), or all from the key on. */
static ProtobufCBinaryData some_end(struct sim_client *c, uint64_t widest)
{
    c->hi = c->lo + 1 + (int)random_below(rnd(c), widest);
    if (c->hi >= MODEL_KEYS) {
        c->hi = MODEL_KEYS;
        c->end[0] = '\0';
        return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)c->end};
    }
    if (c->hi == c->lo + 1) {
        return (ProtobufCBinaryData){0};
    }
    model_key_name(c->hi, c->end);
    return text(c->end);
}

static void do_put(struct sim_client *c, bool leased)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    char value[MODEL_VALUE_MAX];
    some_key(c);
    snprintf(value, sizeof value, "v%llu", (unsigned long long)++c->sim->values);
    put.key = text(c->key);
    put.value = text(value);
    put.lease = leased ? some_lease(c) : 0;
    internal.put = &put;
    propose(c, OP_PUT, &internal);
}

static void do_delete(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    some_key(c);
    request.key = text(c->key);
    if (random_below(rnd(c), 3) == 0) {
        request.range_end = some_end(c, 6);
    }
    internal.delete_range = &request;
    propose(c, OP_DELETE, &internal);
}

/* If the key has the revision that the client remembers of it (or doesn't exist): put two keys and read around them,
 * otherwise delete some and read. */
static void do_txn(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest erase = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp a = ETCDSERVERPB__REQUEST_OP__INIT, b = a, d = a;
    Etcdserverpb__RequestOp *success[] = {&a, &b}, *failure[] = {&d, &b};
    char value[MODEL_VALUE_MAX];
    some_key(c);
    snprintf(value, sizeof value, "t%llu", (unsigned long long)++c->sim->values);
    compare.key = put.key = range.key = erase.key = text(c->key);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    struct buffer row = {0};
    struct row_fields fields = {0};
    if (kv_row_at(c->at->kv, bytes_str(c->key), kv_revision(c->at->kv), &row) == 0) {
        row_decode(buffer_bytes(&row), &fields);
    }
    compare.mod_revision = random_below(rnd(c), 4) == 0 ? 0 : fields.mod_revision;
    buffer_free(&row);
    put.value = text(value);
    range.range_end = erase.range_end = some_end(c, 4);
    a.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    a.request_put = &put;
    b.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    b.request_range = &range;
    d.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    d.request_delete_range = &erase;
    txn.compare = compares;
    txn.n_compare = 1;
    txn.success = success;
    txn.n_success = 2;
    txn.failure = failure;
    txn.n_failure = 2;
    internal.txn = &txn;
    propose(c, OP_TXN, &internal);
}

static void do_compact(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = kv_revision(c->at->kv) + 1 - (int64_t)random_below(rnd(c), 30);
    internal.compaction = &request;
    if (request.revision < 1) {
        rest(c);
        return;
    }
    propose(c, OP_COMPACT, &internal);
}

static void do_grant(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    c->lease = ++c->sim->next_lease;
    request.id = c->lease;
    request.ttl = 1 + (int64_t)random_below(rnd(c), 6);
    internal.lease_grant = &request;
    propose(c, OP_GRANT, &internal);
}

static void do_revoke(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = some_lease(c);
    internal.lease_revoke = &request;
    propose(c, OP_REVOKE, &internal);
}

static void renewed(struct core_lease_call *call, int error)
{
    struct sim_client *c = call->owner;
    sim_trace(c->sim, "keepalive", (uint64_t)c->lease, (uint64_t)(int64_t)error);
    if (error == 0) {
        sim_check_lease_told(c->sim, c->lease, holds_until(c, call->ttl_s));
    }
    rest(c);
}

/* At any member: the leader's clock decides. */
static void do_keepalive(struct sim_client *c)
{
    c->lease = some_lease(c);
    arena_reset(&c->arena);
    c->keepalive = (struct core_lease_call){.done = renewed, .owner = c, .id = c->lease, .arena = &c->arena};
    if (c->lease == 0 || core_lease_renew(c->at->core, &c->keepalive) != 0) {
        rest(c);
        return;
    }
    wait(c);
}

/* --- reads ---------------------------------------------------------------------------------------------------------
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

static void finish_read(struct sim_client *c)
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
    rest(c);
}

/* Some answers are held: their pins must keep compaction away from their rows. */
static void ranged(struct core_range *range, int error)
{
    struct sim_client *c = range->owner;
    c->ranging = false;
    if (error != 0) {
        rest(c);
        return;
    }
    c->open = true;
    c->rows.len = 0;
    c->state = SIM_HOLDING;
    c->due_ms = c->sim->now_ms + (random_below(rnd(c), 4) == 0 ? random_below(rnd(c), 500) : 0);
}

static void do_range(struct sim_client *c)
{
    some_key(c);
    etcdserverpb__range_request__init(&c->range_request);
    c->range_request.key = text(c->key);
    c->range_request.range_end = some_end(c, MODEL_KEYS);
    c->range_request.serializable = random_below(rnd(c), 3) == 0;
    c->floor = c->range_request.serializable ? 0 : sim_check_floor(c->sim);
    c->range = (struct core_range){.done = ranged, .owner = c};
    if (core_range(c->at->core, &c->range, &c->range_request) != 0) {
        rest(c);
        return;
    }
    c->ranging = true;
    wait(c);
}

/* --- */

static void begin(struct sim_client *c)
{
    uint64_t what = random_below(rnd(c), 100);
    if (what < 38) {
        do_put(c, what < 12);
    } else if (what < 46) {
        do_delete(c);
    } else if (what < 58) {
        do_txn(c);
    } else if (what < 84) {
        do_range(c);
    } else if (what < 87) {
        do_compact(c);
    } else if (what < 91) {
        do_grant(c);
    } else if (what < 93) {
        do_revoke(c);
    } else {
        do_keepalive(c);
    }
}

static bool stands_still(const struct sim_client *c)
{
    return c->at != NULL && c->at->state == SIM_UP && c->sim->now_ms < c->at->paused_ms;
}

/* Whom to ask: most often the same as before. Of a member that stands still some wait for the moment at which it wakes
 * up: what it believes then is old. False: nobody, for now. */
static bool choose(struct sim_client *c)
{
    struct sim *s = c->sim;
    if (stands_still(c) && sim_chance(s, 2)) {
        c->due_ms = c->at->paused_ms;
        return false;
    }
    c->due_ms = s->now_ms + sim_between(s, 5, 100);
    if (c->at == NULL || !sim_member_serves(c->at) || sim_chance(s, 30)) {
        c->at = &s->members[random_below(rnd(c), s->member_count)];
    }
    return sim_member_serves(c->at);
}

/* Leaves what it has asked for; nobody knows what becomes of it. */
static void give_up(struct sim_client *c)
{
    if (c->proposed) {
        core_cancel(c->at->core, &c->request);
    }
    if (c->ranging) {
        core_range_cancel(&c->range);
    }
    if (c->open) {
        kv_range_end(&c->range.range);
    }
    core_lease_cancel(&c->keepalive);
    c->proposed = c->ranging = c->open = false;
    rest(c);
}

void sim_client_run(struct sim_client *c)
{
    struct sim *s = c->sim;
    if (s->now_ms < c->due_ms) {
        return;
    }
    if (c->state == SIM_HOLDING) {
        finish_read(c);
    } else if (c->state == SIM_BUSY) {
        give_up(c);
        c->at = NULL;
    } else if (s->quiet || s->idle) {
        c->due_ms = SIM_NEVER;
    } else if (choose(c)) {
        begin(c);
        c->at->dirty = true;
    }
}

void sim_client_cut(struct sim_client *c)
{
    give_up(c);
    c->at = NULL;
}
