#include "grpc/contest.h"

#include "base/check.h"
#include "kv/raft_internal.pb-c.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SESSION_TTL_S 60 /* limits.tsv "election session TTL" */

/* --- requests --- */

static ProtobufCBinaryData binary(struct bytes b)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)b.data, .len = b.len};
}

void contest_clear(struct contest *c)
{
    arena_reset(&c->scratch);
}

/* The prefix ends in '/'. */
struct bytes contest_prefix_end(struct contest *c)
{
    struct bytes end = arena_copy(&c->scratch, c->prefix);
    ((uint8_t *)(uintptr_t)end.data)[end.len - 1]++;
    return end;
}

static Etcdserverpb__RequestOp *range_op(struct contest *c, struct bytes key, struct bytes end)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&c->scratch, sizeof *op);
    Etcdserverpb__RangeRequest *range = arena_alloc(&c->scratch, sizeof *range);
    etcdserverpb__request_op__init(op);
    etcdserverpb__range_request__init(range);
    range->key = binary(key);
    range->range_end = binary(end);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
    return op;
}

Etcdserverpb__RequestOp *contest_get(struct contest *c, struct bytes key)
{
    return range_op(c, key, (struct bytes){0});
}

Etcdserverpb__RequestOp *contest_oldest(struct contest *c)
{
    Etcdserverpb__RequestOp *op = range_op(c, c->prefix, contest_prefix_end(c));
    op->request_range->limit = 1;
    op->request_range->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    op->request_range->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    return op;
}

/* Whom the own key stands behind. */
static Etcdserverpb__RequestOp *predecessor(struct contest *c)
{
    Etcdserverpb__RequestOp *op = contest_oldest(c);
    op->request_range->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    op->request_range->max_create_revision = c->revision - 1;
    return op;
}

Etcdserverpb__RequestOp *contest_put(struct contest *c, struct bytes key, struct bytes value)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&c->scratch, sizeof *op);
    Etcdserverpb__PutRequest *put = arena_alloc(&c->scratch, sizeof *put);
    etcdserverpb__request_op__init(op);
    etcdserverpb__put_request__init(put);
    put->key = binary(key);
    put->value = binary(value);
    put->lease = c->lease;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
    return op;
}

Etcdserverpb__RequestOp *contest_delete_op(struct contest *c, struct bytes key)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&c->scratch, sizeof *op);
    Etcdserverpb__DeleteRangeRequest *del = arena_alloc(&c->scratch, sizeof *del);
    etcdserverpb__request_op__init(op);
    etcdserverpb__delete_range_request__init(del);
    del->key = binary(key);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = del;
    return op;
}

Etcdserverpb__Compare *contest_created_at(struct contest *c, struct bytes key, int64_t revision)
{
    Etcdserverpb__Compare *compare = arena_alloc(&c->scratch, sizeof *compare);
    etcdserverpb__compare__init(compare);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare->key = binary(key);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare->create_revision = revision;
    return compare;
}

/* --- answers --- */

const Mvccpb__KeyValue *contest_found(const ProtobufCMessage *message, size_t n)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)message;
    if (n >= response->n_responses ||
        response->responses[n]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ||
        response->responses[n]->response_range->n_kvs == 0) {
        return NULL;
    }
    return response->responses[n]->response_range->kvs[0];
}

bool contest_succeeded(const ProtobufCMessage *response)
{
    return ((const Etcdserverpb__TxnResponse *)response)->succeeded;
}

Etcdserverpb__ResponseHeader *contest_header(const ProtobufCMessage *response)
{
    return ((const Etcdserverpb__TxnResponse *)response)->header;
}

/* --- taking the key back --- */

static void withdrawn(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)error;
    (void)response;
    free(request);
}

/* It goes if it is still the one that was made here. Nobody waits for the answer. */
static void withdraw(struct contest *c)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__Compare *compare = contest_created_at(c, c->key, c->revision);
    Etcdserverpb__RequestOp *op = contest_delete_op(c, c->key);
    txn.n_compare = txn.n_success = 1;
    txn.compare = &compare;
    txn.success = &op;
    internal.txn = &txn;
    struct core_request *request = mem_zalloc(sizeof *request);
    request->done = withdrawn;
    if (core_propose(c->services->core, request, &internal) != 0) {
        free(request);
    }
}

/* --- the end --- */

/* What the contest holds; what it was in is given back in *scratch. */
static void release(struct contest *c, struct arena *scratch)
{
    list_remove(&c->node);
    local_watch_close(&c->watch);
    *scratch = c->scratch;
    c->scratch = (struct arena){0};
}

void contest_reply(struct contest *c, const ProtobufCMessage *message)
{
    struct arena scratch;
    release(c, &scratch);
    call_reply(c->call, message);
    arena_free(&scratch);
}

static void fail(struct contest *c, enum grpc_code code, const char *text)
{
    struct arena scratch;
    if (c->placed) {
        withdraw(c);
    }
    release(c, &scratch);
    call_finish(c->call, code, text);
    arena_free(&scratch);
}

void contest_fail_text(struct contest *c, const char *text)
{
    fail(c, GRPC_UNKNOWN, text);
}

void contest_fail(struct contest *c, int error)
{
    contest_fail_text(c, error_text(error));
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct contest *c = call->state;
    struct arena scratch;
    core_cancel(c->services->core, &c->write);
    core_txn_read_cancel(&c->read);
    if (c->placed) {
        withdraw(c);
    }
    release(c, &scratch);
    arena_free(&scratch);
}

static void writable(struct call *call)
{
    struct contest *c = call->state;
    if (c->on_writable != NULL) {
        c->on_writable(call);
    }
}

struct contest *contest_new(struct services *services, struct call *call, ProtobufCBinaryData name)
{
    static const struct call_handler handler = {.on_writable = writable, .on_cancel = cancelled};
    struct contest *c = arena_zalloc(&call->arena, sizeof *c);
    uint8_t *prefix = arena_alloc(&call->arena, name.len + 1);
    if (name.len > 0) {
        memcpy(prefix, name.data, name.len);
    }
    prefix[name.len] = '/';
    c->call = call;
    c->services = services;
    c->prefix = bytes_of(prefix, name.len + 1);
    list_push_back(&services->contests, &c->node);
    call->state = c;
    call->handler = &handler;
    return c;
}

/* --- steps --- */

static void written(struct core_request *request, int error, ProtobufCMessage *response)
{
    struct contest *c = request->owner;
    if (error != 0) {
        contest_fail(c, error);
    } else {
        c->then(c, response);
    }
}

static void propose(struct contest *c, Etcdserverpb__InternalRaftRequest *internal, contest_step *then)
{
    c->then = then;
    c->write = (struct core_request){.done = written, .owner = c};
    int error = core_propose(c->services->core, &c->write, internal);
    if (error != 0) {
        contest_fail(c, error);
    }
}

void contest_txn(struct contest *c, const Etcdserverpb__TxnRequest *request, contest_step *then)
{
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    int error = kv_check_txn(request, c->services->max_txn_ops);
    internal.txn = (Etcdserverpb__TxnRequest *)(uintptr_t)request;
    if (error != 0) {
        contest_fail(c, error);
    } else {
        propose(c, &internal, then);
    }
}

void contest_delete(struct contest *c, const Etcdserverpb__DeleteRangeRequest *request, contest_step *then)
{
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    int error = kv_check_delete_range(request);
    internal.delete_range = (Etcdserverpb__DeleteRangeRequest *)(uintptr_t)request;
    if (error != 0) {
        contest_fail(c, error);
    } else {
        propose(c, &internal, then);
    }
}

static void was_read(struct core_txn_read *read, int error, Etcdserverpb__TxnResponse *response)
{
    struct contest *c = read->owner;
    if (error != 0) {
        contest_fail(c, error);
    } else {
        c->then(c, &response->base);
    }
}

void contest_read(struct contest *c, Etcdserverpb__RequestOp *range, contest_step *then)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(&c->scratch, sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    txn->success = arena_alloc(&c->scratch, sizeof *txn->success);
    txn->success[0] = range;
    txn->n_success = 1;
    c->then = then;
    c->read = (struct core_txn_read){.done = was_read, .owner = c};
    int error = core_txn_read(c->services->core, &c->read, txn, &c->scratch);
    if (error != 0) {
        contest_fail(c, error);
    }
}

/* --- the contender --- */

static void granted(struct contest *c, const ProtobufCMessage *response)
{
    (void)response;
    c->next(c);
}

void contest_session(struct contest *c, int64_t lease, contest_next *next)
{
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    c->lease = lease;
    if (lease != 0) {
        next(c);
        return;
    }
    while (c->lease == 0) {
        c->lease = (int64_t)(core_next_id(c->services->core) & INT64_MAX);
    }
    grant.id = c->lease;
    grant.ttl = SESSION_TTL_S;
    internal.lease_grant = &grant;
    c->next = next;
    propose(c, &internal, granted);
}

/* Go's %x of a signed number: a sign, and the digits of its absolute value. */
void contest_name_key(struct contest *c)
{
    char digits[32];
    uint64_t number = c->lease < 0 ? -(uint64_t)c->lease : (uint64_t)c->lease;
    int len = snprintf(digits, sizeof digits, "%s%" PRIx64, c->lease < 0 ? "-" : "", number);
    uint8_t *key = arena_alloc(&c->call->arena, c->prefix.len + (size_t)len);
    memcpy(key, c->prefix.data, c->prefix.len);
    memcpy(key + c->prefix.len, digits, (size_t)len);
    c->key = bytes_of(key, c->prefix.len + (size_t)len);
}

/* --- the wait --- */

void contest_watch(struct contest *c, const struct watch_request *request,
                   void (*on_response)(struct local_watch *, const Etcdserverpb__WatchResponse *))
{
    if (c->services->stopping) {
        fail(c, error_code(ERR_STOPPED), error_text(ERR_STOPPED));
        return;
    }
    c->watch.on_response = on_response;
    call_wait(c->call);
    local_watch_open(&c->watch, c->services, request);
    local_watch_hold(&c->watch, c->call->route->kind != CALL_UNARY && !call_writable(c->call));
}

void contest_stop_all(struct services *services)
{
    struct list all, *node;
    list_init(&all);
    list_splice(&all, &services->contests);
    while ((node = list_pop_front(&all)) != NULL) {
        struct contest *c = container_of(node, struct contest, node);
        list_push_back(&services->contests, node);
        if (c->watch.stream != NULL) {
            fail(c, error_code(ERR_STOPPED), error_text(ERR_STOPPED));
        }
    }
}

static void looked(struct contest *c, const ProtobufCMessage *response);

static void look(struct contest *c)
{
    contest_clear(c);
    contest_read(c, predecessor(c), looked);
}

/* Whatever it is: something has changed, and is looked at anew. */
static void woken(struct local_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    struct contest *c = container_of(watch, struct contest, watch);
    if (response->n_events > 0 || response->canceled) {
        local_watch_close(watch);
        look(c);
    }
}

static void looked(struct contest *c, const ProtobufCMessage *response)
{
    const Mvccpb__KeyValue *before = contest_found(response, 0);
    if (before == NULL) {
        c->placed = false;
        c->next(c);
        return;
    }
    const struct watch_request request = {
        .key = bytes_of(before->key.data, before->key.len),
        .start_revision = contest_header(response)->revision + 1,
        .no_put = true,
    };
    contest_watch(c, &request, woken);
}

void contest_wait(struct contest *c, contest_next *next)
{
    c->next = next;
    c->placed = true;
    look(c);
}
