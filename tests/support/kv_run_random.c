#include "base/check.h"
#include "tests/support/kv_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static char *text(struct kv_run *r, const char *format, uint64_t n)
{
    return arena_printf(&r->bed.arena, format, (unsigned long long)n);
}

char *kv_run_random_key(struct kv_run *r)
{
    char *key = text(r, "a%llu", kv_run_below(r, 8));
    key[0] = (char)('a' + kv_run_below(r, 6));
    key[1] = kv_run_below(r, 2) ? key[1] : 0;
    return key;
}

ProtobufCBinaryData kv_run_random_end(struct kv_run *r)
{
    switch (kv_run_below(r, 4)) {
    case 0:
        return (ProtobufCBinaryData){0};
    case 1:
        return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)""};
    default:
        return kv_bed_bytes(kv_run_random_key(r));
    }
}

static int64_t random_lease(struct kv_run *r)
{
    return kv_run_below(r, 3) > 0 ? 0 : 1 + (int64_t)kv_run_below(r, 6);
}

int64_t kv_run_random_revision(struct kv_run *r)
{
    return r->model.revision - 30 + (int64_t)kv_run_below(r, 32);
}

Etcdserverpb__RangeRequest *kv_run_random_range(struct kv_run *r)
{
    Etcdserverpb__RangeRequest *q = kv_bed_range_request(&r->bed, kv_run_random_key(r), kv_run_random_end(r));
    q->limit = kv_run_below(r, 2) ? (int64_t)kv_run_below(r, 10) : 0;
    q->revision = kv_run_below(r, 2) ? kv_run_random_revision(r) : 0;
    q->keys_only = kv_run_below(r, 3) == 0;
    q->count_only = kv_run_below(r, 6) == 0;
    if (kv_run_below(r, 3) == 0) {
        q->sort_order = (Etcdserverpb__RangeRequest__SortOrder)kv_run_below(r, 3);
        q->sort_target = (Etcdserverpb__RangeRequest__SortTarget)kv_run_below(r, 5);
    }
    if (kv_run_below(r, 4) == 0) {
        q->min_mod_revision = kv_run_random_revision(r);
        q->max_create_revision = kv_run_below(r, 2) ? kv_run_random_revision(r) : 0;
    }
    return q;
}

Etcdserverpb__PutRequest *kv_run_random_put(struct kv_run *r)
{
    Etcdserverpb__PutRequest *put = arena_alloc(&r->bed.arena, sizeof *put);
    etcdserverpb__put_request__init(put);
    put->key = kv_bed_bytes(kv_run_random_key(r));
    put->prev_kv = kv_run_below(r, 2) != 0;
    put->ignore_value = kv_run_below(r, 8) == 0;
    put->ignore_lease = kv_run_below(r, 8) == 0;
    put->value = kv_bed_bytes(put->ignore_value ? "" : text(r, "value-%llu", kv_run_below(r, 5000)));
    put->lease = put->ignore_lease ? 0 : random_lease(r);
    return put;
}

Etcdserverpb__DeleteRangeRequest *kv_run_random_delete(struct kv_run *r)
{
    Etcdserverpb__DeleteRangeRequest *del = arena_alloc(&r->bed.arena, sizeof *del);
    etcdserverpb__delete_range_request__init(del);
    del->key = kv_bed_bytes(kv_run_random_key(r));
    del->range_end = kv_run_random_end(r);
    del->prev_kv = kv_run_below(r, 2) != 0;
    return del;
}

static Etcdserverpb__RequestOp *random_op(struct kv_run *r, unsigned depth)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&r->bed.arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    switch (kv_run_below(r, depth > 0 ? 4 : 3)) {
    case 0:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = kv_run_random_range(r);
        op->request_range->revision = kv_run_below(r, 6) == 0 ? op->request_range->revision : 0;
        break;
    case 1:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = kv_run_random_put(r);
        break;
    case 2:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = kv_run_random_delete(r);
        break;
    default:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = kv_run_random_txn(r, depth - 1);
    }
    return op;
}

static Etcdserverpb__RequestOp **random_ops(struct kv_run *r, unsigned depth, size_t *count)
{
    *count = kv_run_below(r, 4);
    Etcdserverpb__RequestOp **ops = arena_alloc(&r->bed.arena, (*count + 1) * sizeof ops[0]);
    for (size_t i = 0; i < *count; i++) {
        ops[i] = random_op(r, depth);
    }
    return ops;
}

static Etcdserverpb__Compare *random_compare(struct kv_run *r)
{
    Etcdserverpb__Compare *c = arena_alloc(&r->bed.arena, sizeof *c);
    etcdserverpb__compare__init(c);
    c->key = kv_bed_bytes(kv_run_random_key(r));
    c->range_end = kv_run_below(r, 2) ? (ProtobufCBinaryData){0} : kv_run_random_end(r);
    c->result = (Etcdserverpb__Compare__CompareResult)kv_run_below(r, 4);
    c->target = (Etcdserverpb__Compare__CompareTarget)kv_run_below(r, 5);
    switch (kv_run_below(r, 6)) {
    case 0:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        c->version = (int64_t)kv_run_below(r, 4);
        break;
    case 1:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        c->mod_revision = kv_run_random_revision(r);
        break;
    case 2:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c->create_revision = kv_run_random_revision(r);
        break;
    case 3:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        c->value = kv_bed_bytes(text(r, "value-%llu", kv_run_below(r, 5000)));
        break;
    case 4:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        c->lease = (int64_t)kv_run_below(r, 6);
        break;
    default:
        break;
    }
    return c;
}

Etcdserverpb__TxnRequest *kv_run_random_txn(struct kv_run *r, unsigned depth)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(&r->bed.arena, sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    txn->n_compare = kv_run_below(r, 3);
    txn->compare = arena_alloc(&r->bed.arena, 3 * sizeof txn->compare[0]);
    for (size_t i = 0; i < txn->n_compare; i++) {
        txn->compare[i] = random_compare(r);
    }
    txn->success = random_ops(r, depth, &txn->n_success);
    txn->failure = random_ops(r, depth, &txn->n_failure);
    return txn;
}
