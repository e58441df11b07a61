#include "base/check.h"
#include "tests/support/kv_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_kv(struct kv_run *r, const Mvccpb__KeyValue *got, const struct model_row *want, bool key_only)
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
size_t kv_run_model_range(struct kv_run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                          const struct model_row **rows, int64_t *count, bool *more)
{
    int64_t revision = q->revision > 0 ? q->revision : now;
    size_t n = kv_model_list(&r->model, (const char *)q->key.data, (const char *)q->range_end.data, q->range_end.len,
                             revision, rows, KV_RUN_MAX_ROWS);
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

void kv_run_expect_range(struct kv_run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                         const Etcdserverpb__RangeResponse *got)
{
    static const struct model_row *rows[KV_RUN_MAX_ROWS];
    int64_t count;
    bool more;
    size_t n = kv_run_model_range(r, q, now, rows, &count, &more);
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

int kv_run_range_error(const struct kv_run *r, const Etcdserverpb__RangeRequest *q)
{
    if (q->revision > r->model.revision) {
        return ERR_FUTURE_REV;
    }
    return q->revision > 0 && q->revision < r->model.compact_revision ? ERR_COMPACTED : 0;
}

int kv_run_put_error(const struct kv_run *r, const Etcdserverpb__PutRequest *put, int64_t now)
{
    if (put->lease != 0 && !kv_model_has_lease(&r->model, put->lease)) {
        return ERR_LEASE_NOT_FOUND;
    }
    bool absent = kv_model_at(&r->model, (const char *)put->key.data, now) == NULL;
    return (put->ignore_value || put->ignore_lease) && absent ? ERR_KEY_NOT_FOUND : 0;
}

void kv_run_model_put(struct kv_run *r, const Etcdserverpb__PutRequest *put, const Etcdserverpb__PutResponse *got)
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

void kv_run_model_delete(struct kv_run *r, const Etcdserverpb__DeleteRangeRequest *del,
                         const Etcdserverpb__DeleteRangeResponse *got)
{
    const struct model_row *rows[KV_RUN_MAX_ROWS];
    size_t n = kv_model_list(&r->model, (const char *)del->key.data, (const char *)del->range_end.data,
                             del->range_end.len, kv_model_now(&r->model), rows, KV_RUN_MAX_ROWS);
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

static bool model_compare(struct kv_run *r, const Etcdserverpb__Compare *c)
{
    static const struct model_row *rows[KV_RUN_MAX_ROWS];
    struct model_row none = {0};
    size_t n = kv_model_list(&r->model, (const char *)c->key.data, (const char *)c->range_end.data, c->range_end.len,
                             r->model.revision, rows, KV_RUN_MAX_ROWS);
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

static bool model_branch(struct kv_run *r, const Etcdserverpb__TxnRequest *txn, Etcdserverpb__RequestOp ***ops,
                         size_t *n)
{
    bool succeeded = true;
    for (size_t i = 0; i < txn->n_compare; i++) {
        succeeded = succeeded && model_compare(r, txn->compare[i]);
    }
    *ops = succeeded ? txn->success : txn->failure;
    *n = succeeded ? txn->n_success : txn->n_failure;
    return succeeded;
}

int kv_run_model_txn_check(struct kv_run *r, const Etcdserverpb__TxnRequest *txn)
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
            error = kv_run_put_error(r, ops[i]->request_put, r->model.revision);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            error = kv_run_model_txn_check(r, ops[i]->request_txn);
        }
    }
    return error;
}

/* The compares see the state before, so all branches are chosen before anything is done: succeeded is read from the
 * answer here, after a first pass checked it. */
void kv_run_expect_branches(struct kv_run *r, const Etcdserverpb__TxnRequest *txn, const Etcdserverpb__TxnResponse *got)
{
    Etcdserverpb__RequestOp **ops;
    size_t n;
    assert_int_equal(got->succeeded, model_branch(r, txn, &ops, &n));
    assert_int_equal(got->n_responses, n);
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            kv_run_expect_branches(r, ops[i]->request_txn, got->responses[i]->response_txn);
        }
    }
}

void kv_run_model_txn(struct kv_run *r, const Etcdserverpb__TxnRequest *txn, const Etcdserverpb__TxnResponse *got)
{
    Etcdserverpb__RequestOp **ops = got->succeeded ? txn->success : txn->failure;
    for (size_t i = 0; i < got->n_responses; i++) {
        const Etcdserverpb__ResponseOp *answer = got->responses[i];
        switch (ops[i]->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            assert_int_equal(answer->response_range->header->revision, kv_model_now(&r->model));
            kv_run_expect_range(r, ops[i]->request_range, kv_model_now(&r->model), answer->response_range);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            kv_run_model_put(r, ops[i]->request_put, answer->response_put);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            kv_run_model_delete(r, ops[i]->request_delete_range, answer->response_delete_range);
            break;
        default:
            assert_int_equal(answer->response_txn->header->revision, 0);
            kv_run_model_txn(r, ops[i]->request_txn, answer->response_txn);
        }
    }
}
