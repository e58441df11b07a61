/* Random requests, on the state machine in small slices and on its dumb twin: every answer must be the same, at every
 * revision, over compactions and crashes. */
#include "base/check.h"
#include "base/random.h"
#include "tests/support/kv_bed.h"
#include "tests/support/kv_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MAX_ROWS 4096

struct run {
    struct random random;
    struct kv_bed bed;
    struct kv_model model;
    uint64_t seed;
    unsigned step;
};

static uint64_t below(struct run *r, uint64_t n)
{
    return random_below(&r->random, n);
}

static char *text(struct run *r, const char *format, uint64_t n)
{
    return arena_printf(&r->bed.arena, format, (unsigned long long)n);
}

static char *random_key(struct run *r)
{
    char *key = text(r, "a%llu", below(r, 8));
    key[0] = (char)('a' + below(r, 6));
    key[1] = below(r, 2) ? key[1] : 0;
    return key;
}

static ProtobufCBinaryData random_end(struct run *r)
{
    switch (below(r, 4)) {
    case 0:
        return (ProtobufCBinaryData){0};
    case 1:
        return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)""};
    default:
        return kv_bed_bytes(random_key(r));
    }
}

static int64_t random_lease(struct run *r)
{
    return below(r, 3) > 0 ? 0 : 1 + (int64_t)below(r, 6);
}

/* --- comparing --- */

static void expect_kv(struct run *r, const Mvccpb__KeyValue *got, const struct model_row *want, bool key_only)
{
    const char *value = key_only ? "" : want->value;
    if (got->key.len != strlen(want->key) || memcmp(got->key.data, want->key, got->key.len) != 0 ||
        !bytes_equal(bytes_of(got->value.data, got->value.len), bytes_str(value)) ||
        got->create_revision != want->created || got->mod_revision != want->main || got->version != want->version ||
        (!key_only && got->lease != want->lease)) {
        fail_msg("seed %llu step %u: got %.*s=%.*s (%lld %lld %lld %lld), expected %s=%s (%lld %lld %lld %lld)",
                 (unsigned long long)r->seed, r->step, (int)got->key.len, got->key.data, (int)got->value.len,
                 got->value.data, (long long)got->create_revision, (long long)got->mod_revision,
                 (long long)got->version, (long long)got->lease, want->key, value, (long long)want->created,
                 (long long)want->main, (long long)want->version, (long long)want->lease);
    }
}

static const Etcdserverpb__RangeRequest *sorting; /* for qsort */

static int64_t sort_number(const struct model_row *row)
{
    switch (sorting->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return row->version;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return row->created;
    default:
        return row->main;
    }
}

static int sort_rows(const void *a, const void *b)
{
    const struct model_row *x = *(const struct model_row *const *)a, *y = *(const struct model_row *const *)b;
    int c;
    if (sorting->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY) {
        c = strcmp(x->key, y->key);
    } else if (sorting->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE) {
        c = strcmp(x->value, y->value);
    } else {
        c = (sort_number(x) > sort_number(y)) - (sort_number(x) < sort_number(y));
    }
    c = sorting->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ? -c : c;
    return c != 0 ? c : strcmp(x->key, y->key);
}

static bool filtered(const Etcdserverpb__RangeRequest *q, const struct model_row *row)
{
    return (q->max_mod_revision != 0 && row->main > q->max_mod_revision) ||
           (q->min_mod_revision != 0 && row->main < q->min_mod_revision) ||
           (q->max_create_revision != 0 && row->created > q->max_create_revision) ||
           (q->min_create_revision != 0 && row->created < q->min_create_revision);
}

/* What etcd does, step by step. */
static size_t model_range(struct run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                          const struct model_row **rows, int64_t *count, bool *more)
{
    int64_t revision = q->revision > 0 ? q->revision : now;
    size_t n = kv_model_list(&r->model, (const char *)q->key.data, (const char *)q->range_end.data, q->range_end.len,
                             revision, rows, MAX_ROWS);
    *count = (int64_t)n;
    *more = false;
    if (q->count_only) {
        return 0;
    }
    bool any_filter = q->max_mod_revision || q->min_mod_revision || q->max_create_revision || q->min_create_revision;
    if (q->limit > 0 && q->sort_order == 0 && !any_filter && n > (size_t)q->limit + 1) {
        n = (size_t)q->limit + 1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!filtered(q, rows[i])) {
            rows[kept++] = rows[i];
        }
    }
    sorting = q;
    if (q->sort_order != 0 || q->sort_target != 0) {
        qsort(rows, kept, sizeof rows[0], sort_rows);
    }
    if (q->limit > 0 && kept > (size_t)q->limit) {
        *more = true;
        kept = (size_t)q->limit;
    }
    return kept;
}

static void expect_range(struct run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                         const Etcdserverpb__RangeResponse *got)
{
    static const struct model_row *rows[MAX_ROWS];
    int64_t count;
    bool more;
    size_t n = model_range(r, q, now, rows, &count, &more);
    if (got->count != count || got->more != more || got->n_kvs != n) {
        fail_msg("seed %llu step %u: got %zu of %lld, more %d; expected %zu of %lld, more %d",
                 (unsigned long long)r->seed, r->step, got->n_kvs, (long long)got->count, got->more, n,
                 (long long)count, more);
    }
    bool leases_lost = q->keys_only && q->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    for (size_t i = 0; i < n; i++) {
        expect_kv(r, got->kvs[i], rows[i], q->keys_only);
        if (q->keys_only) {
            assert_int_equal(got->kvs[i]->lease, leases_lost ? 0 : rows[i]->lease);
        }
    }
}

/* --------------------------------------------------------------------------------------------------------- requests
 * --- */

static int64_t random_revision(struct run *r)
{
    return r->model.revision - 30 + (int64_t)below(r, 32);
}

static Etcdserverpb__RangeRequest *random_range(struct run *r)
{
    Etcdserverpb__RangeRequest *q = kv_bed_range_request(&r->bed, random_key(r), random_end(r));
    q->limit = below(r, 2) ? (int64_t)below(r, 10) : 0;
    q->revision = below(r, 2) ? random_revision(r) : 0;
    q->keys_only = below(r, 3) == 0;
    q->count_only = below(r, 6) == 0;
    if (below(r, 3) == 0) {
        q->sort_order = (Etcdserverpb__RangeRequest__SortOrder)below(r, 3);
        q->sort_target = (Etcdserverpb__RangeRequest__SortTarget)below(r, 5);
    }
    if (below(r, 4) == 0) {
        q->min_mod_revision = random_revision(r);
        q->max_create_revision = below(r, 2) ? random_revision(r) : 0;
    }
    return q;
}

static int range_error(const struct run *r, const Etcdserverpb__RangeRequest *q)
{
    if (q->revision > r->model.revision) {
        return ERR_FUTURE_REV;
    }
    return q->revision > 0 && q->revision < r->model.compact_revision ? ERR_COMPACTED : 0;
}

static void do_range(struct run *r)
{
    int error;
    const Etcdserverpb__RangeRequest *q = random_range(r);
    Etcdserverpb__RangeResponse *got = kv_bed_range(&r->bed, q, &error);
    assert_int_equal(error, range_error(r, q));
    if (error == 0) {
        expect_range(r, q, r->model.revision, got);
    }
}

static Etcdserverpb__PutRequest *random_put(struct run *r)
{
    Etcdserverpb__PutRequest *put = arena_alloc(&r->bed.arena, sizeof *put);
    etcdserverpb__put_request__init(put);
    put->key = kv_bed_bytes(random_key(r));
    put->prev_kv = below(r, 2) != 0;
    put->ignore_value = below(r, 8) == 0;
    put->ignore_lease = below(r, 8) == 0;
    put->value = kv_bed_bytes(put->ignore_value ? "" : text(r, "value-%llu", below(r, 5000)));
    put->lease = put->ignore_lease ? 0 : random_lease(r);
    return put;
}

static int put_error(const struct run *r, const Etcdserverpb__PutRequest *put, int64_t now)
{
    if (put->lease != 0 && !kv_model_has_lease(&r->model, put->lease)) {
        return ERR_LEASE_NOT_FOUND;
    }
    bool absent = kv_model_at(&r->model, (const char *)put->key.data, now) == NULL;
    return (put->ignore_value || put->ignore_lease) && absent ? ERR_KEY_NOT_FOUND : 0;
}

static void model_put(struct run *r, const Etcdserverpb__PutRequest *put, const Etcdserverpb__PutResponse *got)
{
    const char *key = (const char *)put->key.data;
    const struct model_row *old = kv_model_at(&r->model, key, kv_model_now(&r->model));
    assert_int_equal(got->prev_kv != NULL, put->prev_kv && old != NULL);
    if (got->prev_kv != NULL) {
        expect_kv(r, got->prev_kv, old, false);
    }
    char value[24];
    snprintf(value, sizeof value, "%s",
             put->ignore_value ? (old == NULL ? "" : old->value) : (const char *)put->value.data);
    kv_model_put(&r->model, key, value, put->ignore_lease ? (old == NULL ? 0 : old->lease) : put->lease);
    assert_int_equal(got->header->revision, r->model.main);
}

static Etcdserverpb__DeleteRangeRequest *random_delete(struct run *r)
{
    Etcdserverpb__DeleteRangeRequest *del = arena_alloc(&r->bed.arena, sizeof *del);
    etcdserverpb__delete_range_request__init(del);
    del->key = kv_bed_bytes(random_key(r));
    del->range_end = random_end(r);
    del->prev_kv = below(r, 2) != 0;
    return del;
}

static void model_delete(struct run *r, const Etcdserverpb__DeleteRangeRequest *del,
                         const Etcdserverpb__DeleteRangeResponse *got)
{
    const struct model_row *rows[MAX_ROWS];
    size_t n = kv_model_list(&r->model, (const char *)del->key.data, (const char *)del->range_end.data,
                             del->range_end.len, kv_model_now(&r->model), rows, MAX_ROWS);
    assert_int_equal(got->deleted, n);
    assert_int_equal(got->n_prev_kvs, del->prev_kv ? n : 0);
    char(*keys)[8] = mem_alloc((n + 1) * sizeof keys[0]);
    for (size_t i = 0; i < n; i++) {
        memcpy(keys[i], rows[i]->key, sizeof keys[i]);
        if (del->prev_kv) {
            expect_kv(r, got->prev_kvs[i], rows[i], false);
        }
    }
    for (size_t i = 0; i < n; i++) {
        kv_model_delete(&r->model, keys[i]);
    }
    free(keys);
    assert_int_equal(got->header->revision, kv_model_now(&r->model));
}

static void do_put(struct run *r)
{
    int error;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.put = random_put(r);
    int want = put_error(r, request.put, r->model.revision);
    Etcdserverpb__PutResponse *got = (Etcdserverpb__PutResponse *)kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, want);
    if (error == 0) {
        kv_model_begin(&r->model);
        model_put(r, request.put, got);
        kv_model_end(&r->model);
    }
}

static void do_delete(struct run *r)
{
    int error;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.delete_range = random_delete(r);
    ProtobufCMessage *got = kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, 0);
    kv_model_begin(&r->model);
    model_delete(r, request.delete_range, (Etcdserverpb__DeleteRangeResponse *)got);
    kv_model_end(&r->model);
}

/* -------------------------------------------------------------------------------------------------------------- txn
 * --- */

static Etcdserverpb__TxnRequest *random_txn(struct run *r, unsigned depth);

static Etcdserverpb__RequestOp *random_op(struct run *r, unsigned depth)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&r->bed.arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    switch (below(r, depth > 0 ? 4 : 3)) {
    case 0:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = random_range(r);
        op->request_range->revision = below(r, 6) == 0 ? op->request_range->revision : 0;
        break;
    case 1:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = random_put(r);
        break;
    case 2:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = random_delete(r);
        break;
    default:
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = random_txn(r, depth - 1);
    }
    return op;
}

static Etcdserverpb__RequestOp **random_ops(struct run *r, unsigned depth, size_t *count)
{
    *count = below(r, 4);
    Etcdserverpb__RequestOp **ops = arena_alloc(&r->bed.arena, (*count + 1) * sizeof ops[0]);
    for (size_t i = 0; i < *count; i++) {
        ops[i] = random_op(r, depth);
    }
    return ops;
}

static Etcdserverpb__Compare *random_compare(struct run *r)
{
    Etcdserverpb__Compare *c = arena_alloc(&r->bed.arena, sizeof *c);
    etcdserverpb__compare__init(c);
    c->key = kv_bed_bytes(random_key(r));
    c->range_end = below(r, 2) ? (ProtobufCBinaryData){0} : random_end(r);
    c->result = (Etcdserverpb__Compare__CompareResult)below(r, 4);
    c->target = (Etcdserverpb__Compare__CompareTarget)below(r, 5);
    switch (below(r, 6)) {
    case 0:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        c->version = (int64_t)below(r, 4);
        break;
    case 1:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        c->mod_revision = random_revision(r);
        break;
    case 2:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c->create_revision = random_revision(r);
        break;
    case 3:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        c->value = kv_bed_bytes(text(r, "value-%llu", below(r, 5000)));
        break;
    case 4:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        c->lease = (int64_t)below(r, 6);
        break;
    default:
        break;
    }
    return c;
}

static Etcdserverpb__TxnRequest *random_txn(struct run *r, unsigned depth)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(&r->bed.arena, sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    txn->n_compare = below(r, 3);
    txn->compare = arena_alloc(&r->bed.arena, 3 * sizeof txn->compare[0]);
    for (size_t i = 0; i < txn->n_compare; i++) {
        txn->compare[i] = random_compare(r);
    }
    txn->success = random_ops(r, depth, &txn->n_success);
    txn->failure = random_ops(r, depth, &txn->n_failure);
    return txn;
}

static bool model_holds(const Etcdserverpb__Compare *c, const struct model_row *row)
{
    int64_t have = 0, want = 0;
    int order;
    unsigned target = (unsigned)c->target;
    if (target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE) {
        bool given = c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        order = strcmp(row->value, given ? (const char *)c->value.data : "");
    } else {
        const int64_t haves[] = {row->version, row->created, row->main, 0, row->lease};
        const int cases[] = {
            ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
            ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, 0, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE};
        have = haves[target];
        if ((int)c->target_union_case == cases[target]) {
            want = target == 0   ? c->version
                   : target == 1 ? c->create_revision
                   : target == 2 ? c->mod_revision
                                 : c->lease;
        }
        order = (have > want) - (have < want);
    }
    const bool results[] = {order == 0, order > 0, order < 0, order != 0};
    return results[c->result];
}

static bool model_compare(struct run *r, const Etcdserverpb__Compare *c)
{
    static const struct model_row *rows[MAX_ROWS];
    struct model_row none = {0};
    size_t n = kv_model_list(&r->model, (const char *)c->key.data, (const char *)c->range_end.data, c->range_end.len,
                             r->model.revision, rows, MAX_ROWS);
    if (n == 0) {
        return c->target != ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE && model_holds(c, &none);
    }
    for (size_t i = 0; i < n; i++) {
        if (!model_holds(c, rows[i])) {
            return false;
        }
    }
    return true;
}

static bool model_branch(struct run *r, const Etcdserverpb__TxnRequest *txn, Etcdserverpb__RequestOp ***ops, size_t *n)
{
    bool succeeded = true;
    for (size_t i = 0; i < txn->n_compare; i++) {
        succeeded = succeeded && model_compare(r, txn->compare[i]);
    }
    *ops = succeeded ? txn->success : txn->failure;
    *n = succeeded ? txn->n_success : txn->n_failure;
    return succeeded;
}

static int model_txn_check(struct run *r, const Etcdserverpb__TxnRequest *txn)
{
    Etcdserverpb__RequestOp **ops;
    size_t n;
    int error = 0;
    model_branch(r, txn, &ops, &n);
    for (size_t i = 0; i < n && error == 0; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            int64_t rev = ops[i]->request_range->revision;
            error = rev == 0                          ? 0
                    : rev > r->model.revision         ? ERR_FUTURE_REV
                    : rev < r->model.compact_revision ? ERR_COMPACTED
                                                      : 0;
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            error = put_error(r, ops[i]->request_put, r->model.revision);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            error = model_txn_check(r, ops[i]->request_txn);
        }
    }
    return error;
}

/* The compares see the state before, so all branches are chosen before anything is done: succeeded is read from the
 * answer here, after a first pass checked it. */
static void expect_branches(struct run *r, const Etcdserverpb__TxnRequest *txn, const Etcdserverpb__TxnResponse *got)
{
    Etcdserverpb__RequestOp **ops;
    size_t n;
    assert_int_equal(got->succeeded, model_branch(r, txn, &ops, &n));
    assert_int_equal(got->n_responses, n);
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            expect_branches(r, ops[i]->request_txn, got->responses[i]->response_txn);
        }
    }
}

static void model_txn(struct run *r, const Etcdserverpb__TxnRequest *txn, const Etcdserverpb__TxnResponse *got)
{
    Etcdserverpb__RequestOp **ops = got->succeeded ? txn->success : txn->failure;
    for (size_t i = 0; i < got->n_responses; i++) {
        const Etcdserverpb__ResponseOp *answer = got->responses[i];
        switch (ops[i]->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            assert_int_equal(answer->response_range->header->revision, kv_model_now(&r->model));
            expect_range(r, ops[i]->request_range, kv_model_now(&r->model), answer->response_range);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            model_put(r, ops[i]->request_put, answer->response_put);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            model_delete(r, ops[i]->request_delete_range, answer->response_delete_range);
            break;
        default:
            assert_int_equal(answer->response_txn->header->revision, 0);
            model_txn(r, ops[i]->request_txn, answer->response_txn);
        }
    }
}

static void do_txn(struct run *r)
{
    int error;
    Etcdserverpb__TxnRequest *txn = random_txn(r, 2);
    if (kv_check_txn(txn, 128) != 0) {
        return; /* a duplicate key */
    }
    int want = model_txn_check(r, txn);
    Etcdserverpb__TxnResponse *got = kv_bed_txn(&r->bed, txn, &error);
    assert_int_equal(error, want);
    if (error != 0) {
        assert_null(got);
        return;
    }
    expect_branches(r, txn, got);
    kv_model_begin(&r->model);
    model_txn(r, txn, got);
    kv_model_end(&r->model);
    assert_int_equal(got->header->revision, r->model.revision);
}

/* ----------------------------------------------------------------------------------------------- leases, the rest ---
 */

static void do_grant(struct run *r)
{
    int error;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    grant.id = 1 + (int64_t)below(r, 6);
    grant.ttl = (int64_t)below(r, 100);
    request.lease_grant = &grant;
    kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, kv_model_has_lease(&r->model, grant.id) ? ERR_LEASE_EXIST : 0);
    if (error == 0) {
        r->model.leases[r->model.lease_count++] = grant.id;
    }
}

static void do_revoke(struct run *r)
{
    int error;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    revoke.id = 1 + (int64_t)below(r, 6);
    request.lease_revoke = &revoke;
    kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, kv_model_has_lease(&r->model, revoke.id) ? 0 : ERR_LEASE_NOT_FOUND);
    if (error != 0) {
        return;
    }
    static const struct model_row *rows[MAX_ROWS];
    size_t n = kv_model_list(&r->model, "", "", 1, r->model.revision, rows, MAX_ROWS);
    char keys[MAX_ROWS][8];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i]->lease == revoke.id) {
            memcpy(keys[count++], rows[i]->key, 8);
        }
    }
    kv_model_begin(&r->model);
    for (size_t i = 0; i < count; i++) {
        kv_model_delete(&r->model, keys[i]);
    }
    kv_model_end(&r->model);
    for (size_t i = 0; i < r->model.lease_count; i++) {
        if (r->model.leases[i] == revoke.id) {
            r->model.leases[i] = r->model.leases[--r->model.lease_count];
        }
    }
}

static void do_compact(struct run *r)
{
    int64_t at = r->model.revision - (int64_t)below(r, 25);
    int want = at <= r->model.compact_revision ? ERR_COMPACTED : 0;
    assert_int_equal(kv_bed_compact(&r->bed, at), want);
    if (want == 0) {
        r->model.compact_revision = at;
    }
    if (below(r, 2)) {
        kv_bed_compact_run(&r->bed);
    }
}

static void do_hash(struct run *r)
{
    struct kv_hash_result result;
    int64_t at = random_revision(r);
    int error = kv_bed_hashkv(&r->bed, at, &result);
    int want = at > r->model.revision ? ERR_FUTURE_REV : at > 0 && at < r->model.compact_revision ? ERR_COMPACTED : 0;
    if (want != ERR_COMPACTED || error != 0) { /* a finished compaction's own hash outlives the next ones */
        assert_int_equal(error, want);
    }
    if (error == 0) {
        at = at == 0 ? r->model.revision : at; /* a negative one is below all that there is */
        assert_int_equal(result.hash_revision, at);
        uint32_t hash = kv_model_hash(&r->model, at, result.compact_revision);
        const struct model_row *rows[MAX_ROWS];
        size_t live = kv_model_list(&r->model, "", "", 1, at, rows, MAX_ROWS);
        /* With nothing alive etcd's hash takes in whatever old rows are left: that depends on the deletes' progress. */
        if (result.hash != hash && live > 0) {
            fail_msg("seed %llu step %u: HashKV(%lld) at compact revision %lld: got %u, expected %u, %zu live keys",
                     (unsigned long long)r->seed, r->step, (long long)at, (long long)result.compact_revision,
                     result.hash, hash, live);
        }
    }
}

/* A range that stays open while other things happen. */
static void do_pinned_range(struct run *r)
{
    Etcdserverpb__RangeRequest *q = random_range(r);
    struct kv_range range = {0};
    if (kv_range_start(r->bed.kv, q, &range) != 0) {
        return;
    }
    static const struct model_row *rows[MAX_ROWS];
    int64_t count;
    bool more;
    size_t n = model_range(r, q, r->model.revision, rows, &count, &more);
    int64_t expected_keys[MAX_ROWS];
    for (size_t i = 0; i < n; i++) {
        expected_keys[i] = rows[i] - r->model.rows;
    }
    for (int i = 0; i < 4; i++) {
        (below(r, 2) ? do_put : do_delete)(r);
        kv_range_resolve(&range, 3);
        if (below(r, 3) == 0) {
            do_compact(r);
            kv_compact_step(r->bed.kv, 4);
        }
    }
    while (kv_range_resolve(&range, 5) == KV_MORE) {
    }
    assert_int_equal(range.count, count);
    assert_int_equal(range.kvs, n);
    uint64_t total = 0;
    for (int progress = KV_MORE; progress == KV_MORE;) {
        uint8_t out[16];
        size_t got;
        progress = kv_range_read(&range, out, sizeof out, &got);
        total += got;
        if (below(r, 4) == 0) {
            kv_compact_step(r->bed.kv, 4);
            kv_bed_commit(&r->bed);
            do_put(r);
        }
    }
    assert_int_equal(total, range.kvs_bytes);
    (void)expected_keys;
    kv_range_end(&range);
}

/* The stream in chunks, as RangeStream sends it: each chunk is as long as was told, all of them are the answer. */
static void do_chunks(struct run *r)
{
    Etcdserverpb__RangeRequest *q = kv_bed_range_request(&r->bed, random_key(r), random_end(r));
    struct kv_range range = {0};
    uint64_t rows, bytes, all_rows = 0, all_bytes = 0;
    q->keys_only = below(r, 2) != 0;
    q->limit = (int64_t)below(r, 20);
    assert_int_equal(kv_range_start(r->bed.kv, q, &range), 0);
    while (kv_range_resolve(&range, r->bed.budget) == KV_MORE) {
    }
    do {
        uint64_t want = 1 + below(r, 5), most = below(r, 2) != 0 ? UINT64_MAX : 1 + below(r, 100);
        while (kv_range_chunk(&range, want, most, 1 + below(r, 3), &rows, &bytes) == KV_MORE) {
        }
        assert_true(rows <= want);
        uint64_t got = 0;
        for (int progress = KV_MORE; progress == KV_MORE && rows > 0;) {
            uint8_t out[32];
            size_t n;
            progress = kv_range_read(&range, out, sizeof out, &n);
            got += n;
        }
        assert_int_equal(got, bytes);
        all_rows += rows;
        all_bytes += bytes;
    } while (rows > 0);
    assert_int_equal(all_rows, range.kvs);
    assert_int_equal(all_bytes, range.kvs_bytes);
    kv_range_end(&range);
}

/* What watches read: each change once, in order, wherever it stands. */
struct history {
    struct run *run;
    size_t at;
};

static bool next_change(void *arg, int64_t main, int64_t sub, bool tombstone, struct bytes bytes)
{
    struct history *h = arg;
    const struct model_row *want = &h->run->model.rows[h->at++];
    struct row_fields fields;
    assert_int_equal(main, want->main);
    assert_int_equal(sub, want->sub);
    assert_int_equal(tombstone, want->dead);
    assert_int_equal(row_decode(bytes, &fields), 0);
    assert_true(bytes_equal(fields.key, bytes_str(want->key)));
    return below(h->run, 20) > 0;
}

static void do_history(struct run *r)
{
    struct watch_source source = kv_watch_source(r->bed.kv);
    struct history history = {.run = r};
    struct watch_position from = {.main = r->model.compact_revision + 1};
    from.main += (int64_t)below(r, (uint64_t)(r->model.revision - r->model.compact_revision + 1));
    int64_t to = from.main + (int64_t)below(r, 50);
    size_t end = 0;
    for (size_t i = 0; i < r->model.count; i++) {
        history.at += r->model.rows[i].main < from.main;
        end += r->model.rows[i].main < from.main || r->model.rows[i].main <= to;
    }
    while (source.rows(source.arg, &from, to, 1 + below(r, 9), next_change, &history) == WATCH_ROWS_MORE) {
        if (below(r, 5) == 0) {
            kv_bed_commit(&r->bed);
        }
    }
    assert_int_equal(history.at, end);
}

static void do_txn_read(struct run *r)
{
    struct kv_txn_read read = {.arena = &r->bed.arena};
    Etcdserverpb__TxnRequest *txn = random_txn(r, 0);
    if (!kv_txn_read_only(txn)) {
        return;
    }
    int want = model_txn_check(r, txn);
    read.request = txn;
    while (kv_txn_read_step(r->bed.kv, &read, r->bed.budget) == KV_MORE) {
    }
    assert_int_equal(read.error, want);
    if (want == 0) {
        expect_branches(r, txn, read.response);
        model_txn(r, txn, read.response);
        assert_int_equal(read.response->header->revision, r->model.revision);
    }
}

static void do_crash(struct run *r)
{
    if (below(r, 2)) {
        kv_bed_commit(&r->bed);
    }
    kv_bed_crash(&r->bed, below(r, 4));
    kv_bed_replay(&r->bed);
    assert_int_equal(kv_revision(r->bed.kv), r->model.revision);
    assert_int_equal(kv_compact_revision(r->bed.kv), r->model.compact_revision);
}

static void one_step(struct run *r)
{
    uint64_t which = below(r, 100);
    r->bed.budget = 1 + below(r, 30);
    if (which < 30) {
        do_put(r);
    } else if (which < 40) {
        do_delete(r);
    } else if (which < 65) {
        do_range(r);
    } else if (which < 80) {
        do_txn(r);
    } else if (which < 84) {
        do_grant(r);
    } else if (which < 86) {
        do_revoke(r);
    } else if (which < 90) {
        do_compact(r);
    } else if (which < 93) {
        do_hash(r);
    } else if (which < 95) {
        do_pinned_range(r);
    } else if (which < 96) {
        do_chunks(r);
    } else if (which < 97) {
        do_history(r);
    } else if (which < 98) {
        do_txn_read(r);
    } else if (which < 99) {
        kv_bed_commit(&r->bed);
    } else {
        do_crash(r);
    }
    assert_int_equal(kv_revision(r->bed.kv), r->model.revision);
    kv_bed_forget(&r->bed);
}

static void run_seed(uint64_t seed, unsigned steps)
{
    struct run r = {.seed = seed, .model = {.revision = 1, .compact_revision = -1}};
    random_seed(&r.random, seed);
    kv_bed_open(&r.bed, NULL);
    for (r.step = 0; r.step < steps; r.step++) {
        one_step(&r);
    }
    kv_bed_close(&r.bed);
    kv_model_free(&r.model);
}

static void test_state_machine_agrees_with_a_plain_array(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    if (seed != NULL) {
        run_seed(strtoull(seed, NULL, 10), 2000);
        return;
    }
    for (uint64_t i = 1; i <= 20; i++) {
        run_seed(i, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_machine_agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
