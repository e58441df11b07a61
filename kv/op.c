/* Requests before they are proposed: what etcd refuses at its door (errors.tsv), and what a request costs. */
#include "kv/op.h"
#include "kv/store.h"

#define DEFAULT_TXN_OPS 128
#define DEFAULT_REQUEST_BYTES 1572864
#define PUT_COST 256 /* quota.go's allowance for a put's revision and indexes (mvcc.md "Quota") */
#define LEASE_COST 64

int kv_check_range(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (request->sort_order < 0 || request->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ||
        request->sort_target < 0 || request->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE) {
        return ERR_INVALID_SORT_OPTION;
    }
    return 0;
}

int kv_check_range_stream(const Etcdserverpb__RangeRequest *request)
{
    int error = kv_check_range(request);
    if (error != 0) {
        return error;
    }
    /* A target without an order passes, and is then ignored. */
    bool by_key = request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
                  request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    bool sorted = request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE && !by_key;
    bool filtered = request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
                    request->min_create_revision != 0 || request->max_create_revision != 0;
    return sorted ? ERR_STREAM_SORTED : filtered ? ERR_STREAM_FILTERED : 0;
}

int kv_check_put(const Etcdserverpb__PutRequest *request)
{
    if (request->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (request->ignore_value && request->value.len != 0) {
        return ERR_VALUE_PROVIDED;
    }
    return request->ignore_lease && request->lease != 0 ? ERR_LEASE_PROVIDED : 0;
}

int kv_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request)
{
    return request->key.len == 0 ? ERR_EMPTY_KEY : 0;
}

bool kv_txn_read_only(const Etcdserverpb__TxnRequest *request)
{
    for (size_t i = 0; i < request->n_success; i++) {
        if (request->success[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            return false;
        }
    }
    for (size_t i = 0; i < request->n_failure; i++) {
        if (request->failure[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            return false;
        }
    }
    return true;
}

bool kv_txn_serializable(const Etcdserverpb__TxnRequest *request)
{
    for (size_t i = 0; i < request->n_success; i++) {
        if (request->success[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            !request->success[i]->request_range->serializable) {
            return false;
        }
    }
    for (size_t i = 0; i < request->n_failure; i++) {
        if (request->failure[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            !request->failure[i]->request_range->serializable) {
            return false;
        }
    }
    return true;
}

/* --- quota --- */

static uint64_t put_cost(const Etcdserverpb__PutRequest *put)
{
    return PUT_COST + put->key.len + put->value.len;
}

static uint64_t txn_cost(const Etcdserverpb__TxnRequest *txn);

static uint64_t ops_cost(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    uint64_t cost = 0;
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            cost += put_cost(ops[i]->request_put);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            cost += txn_cost(ops[i]->request_txn);
        }
    }
    return cost;
}

/* Depth is bounded by the scan that every message goes through before it is unpacked. */
static uint64_t txn_cost(const Etcdserverpb__TxnRequest *txn)
{
    uint64_t success = ops_cost(txn->success, txn->n_success);
    uint64_t failure = ops_cost(txn->failure, txn->n_failure);
    return success > failure ? success : failure;
}

uint64_t kv_request_cost(const Etcdserverpb__InternalRaftRequest *request)
{
    if (request->put != NULL) {
        return put_cost(request->put);
    }
    if (request->txn != NULL) {
        return txn_cost(request->txn);
    }
    return request->lease_grant != NULL ? LEASE_COST : 0;
}

/* What the CORRUPT layer stands before (mvcc.md "Applier layers"). */
static bool corrupt_refuses(const Etcdserverpb__InternalRaftRequest *request)
{
    return request->put != NULL || request->range != NULL || request->delete_range != NULL || request->txn != NULL ||
           request->compaction != NULL || request->lease_grant != NULL || request->lease_revoke != NULL;
}

int op_alarm_gate(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *request)
{
    if (kv->alarms.count == 0) {
        return 0;
    }
    if (alarm_any(&kv->alarms, ETCDSERVERPB__ALARM_TYPE__CORRUPT) && corrupt_refuses(request)) {
        return ERR_CORRUPT;
    }
    bool grows =
        request->put != NULL || request->lease_grant != NULL || (request->txn != NULL && txn_cost(request->txn) > 0);
    return grows && alarm_any(&kv->alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE) ? ERR_NO_SPACE : 0;
}

int kv_admit(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *request, bool *raise_no_space)
{
    *raise_no_space = false;
    int error = op_alarm_gate(kv, request);
    if (error != 0) {
        return error;
    }
    if (op_within_quota(kv, kv_request_cost(request))) {
        return 0;
    }
    *raise_no_space = true;
    return ERR_NO_SPACE;
}

int kv_check_size(const struct kv *kv, size_t encoded_bytes)
{
    size_t limit = kv->config.max_request_bytes == 0 ? DEFAULT_REQUEST_BYTES : kv->config.max_request_bytes;
    return encoded_bytes > limit ? ERR_REQUEST_TOO_LARGE : 0;
}

/* --- txn, shape --- */

static int check_op(const Etcdserverpb__RequestOp *op, uint32_t max_ops);

static int check_ops(Etcdserverpb__RequestOp *const *ops, size_t count, uint32_t max_ops)
{
    for (size_t i = 0; i < count; i++) {
        int error = check_op(ops[i], max_ops);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* The shape of one txn and of those in it; duplicates are looked for afterwards. */
static int check_shape(const Etcdserverpb__TxnRequest *txn, uint32_t max_ops)
{
    size_t ops = txn->n_compare;
    ops = txn->n_success > ops ? txn->n_success : ops;
    ops = txn->n_failure > ops ? txn->n_failure : ops;
    if (ops > max_ops) {
        return ERR_TOO_MANY_OPS;
    }
    for (size_t i = 0; i < txn->n_compare; i++) {
        if (txn->compare[i]->key.len == 0) {
            return ERR_EMPTY_KEY;
        }
    }
    uint32_t rest = max_ops - (uint32_t)ops;
    int error = check_ops(txn->success, txn->n_success, rest);
    return error != 0 ? error : check_ops(txn->failure, txn->n_failure, rest);
}

static int check_op(const Etcdserverpb__RequestOp *op, uint32_t max_ops)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return kv_check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return kv_check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return kv_check_delete_range(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_shape(op->request_txn, max_ops);
    default:
        return ERR_KEY_NOT_FOUND; /* etcd's answer to an op without a request */
    }
}

int kv_check_txn(const Etcdserverpb__TxnRequest *request, uint32_t max_ops)
{
    int error = check_shape(request, max_ops == 0 ? DEFAULT_TXN_OPS : max_ops);
    return error != 0 ? error : op_check_duplicates(request);
}
