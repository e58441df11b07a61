/* Changes that clients ask for, and leases that they hold. */
#include "base/error.h"
#include "chaos/sim/client.h"
#include <stdio.h>
#include <stdlib.h>

enum { OP_PUT, OP_DELETE, OP_TXN, OP_COMPACT, OP_GRANT, OP_REVOKE };

typedef Etcdserverpb__InternalRaftRequest Internal;

static struct random *rnd(struct sim_client *c)
{
    return &c->sim->random;
}

static int64_t some_lease(struct sim_client *c)
{
    int64_t newest = c->sim->next_lease;
    return newest == 0 ? 0 : newest - (int64_t)random_below(rnd(c), newest < 6 ? (uint64_t)newest : 6);
}

/* --- changes -------------------------------------------------------------------------------------------------------
 */

static void told_txn(const Etcdserverpb__TxnResponse *response, struct model_outcome *told)
{
    told->revision = response->header->revision;
    told->succeeded = response->succeeded;
    for (size_t i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE) {
            told->deleted += op->response_delete_range->deleted;
        } else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) {
            told->digest ^= sim_client_digest(op->response_range->kvs, op->response_range->n_kvs);
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
           error == ERR_FUTURE_REV || error == ERR_NO_SPACE;
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
    sim_client_rest(c);
}

static void propose(struct sim_client *c, int kind, Internal *internal)
{
    c->kind = kind;
    c->request = (struct core_request){.done = changed, .owner = c};
    int error = core_propose(c->at->core, &c->request, internal);
    if (error != 0) {
        c->sim->result->faults[SIM_REFUSED] += error == ERR_NO_SPACE;
        sim_client_rest(c);
        return;
    }
    sim_client_wait(c);
    c->proposed = true;
    c->op_id = c->request.id;
    sim_check_proposed(c->sim, c->op_id, sim_request_digest(internal));
    sim_trace(c->sim, "propose", c->op_id, (uint64_t)kind);
}

static void do_put(struct sim_client *c, bool leased)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    char value[MODEL_VALUE_MAX];
    sim_client_key(c);
    snprintf(value, sizeof value, "v%llu", (unsigned long long)++c->sim->values);
    put.key = sim_client_text(c->key);
    put.value = sim_client_text(value);
    put.lease = leased ? some_lease(c) : 0;
    internal.put = &put;
    propose(c, OP_PUT, &internal);
}

static void do_delete(struct sim_client *c)
{
    Internal internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    sim_client_key(c);
    request.key = sim_client_text(c->key);
    if (random_below(rnd(c), 3) == 0) {
        request.range_end = sim_client_end(c, 6);
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
    sim_client_key(c);
    snprintf(value, sizeof value, "t%llu", (unsigned long long)++c->sim->values);
    compare.key = put.key = range.key = erase.key = sim_client_text(c->key);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    struct buffer row = {0};
    struct row_fields fields = {0};
    if (kv_row_at(c->at->kv, bytes_str(c->key), kv_revision(c->at->kv), &row) == 0) {
        row_decode(buffer_bytes(&row), &fields);
    }
    compare.mod_revision = random_below(rnd(c), 4) == 0 ? 0 : fields.mod_revision;
    buffer_free(&row);
    put.value = sim_client_text(value);
    range.range_end = erase.range_end = sim_client_end(c, 4);
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
        sim_client_rest(c);
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
    sim_client_rest(c);
}

/* At any member: the leader's clock decides. */
static void do_keepalive(struct sim_client *c)
{
    c->lease = some_lease(c);
    arena_reset(&c->arena);
    c->keepalive = (struct core_lease_call){.done = renewed, .owner = c, .id = c->lease, .arena = &c->arena};
    if (c->lease == 0 || core_lease_renew(c->at->core, &c->keepalive) != 0) {
        sim_client_rest(c);
        return;
    }
    sim_client_wait(c);
}

/* --- */

void sim_client_change(struct sim_client *c, uint64_t what)
{
    if (what < 50) {
        do_put(c, what < 16);
    } else if (what < 61) {
        do_delete(c);
    } else if (what < 77) {
        do_txn(c);
    } else if (what < 81) {
        do_compact(c);
    } else if (what < 86) {
        do_grant(c);
    } else if (what < 89) {
        do_revoke(c);
    } else {
        do_keepalive(c);
    }
}
