/* Random requests, on the state machine in small slices and on its dumb twin: every answer must be the same, at every
 * revision, over compactions and crashes. */
#include "base/check.h"
#include "tests/support/kv_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void do_range(struct kv_run *r)
{
    int error;
    const Etcdserverpb__RangeRequest *q = kv_run_random_range(r);
    Etcdserverpb__RangeResponse *got = kv_bed_range(&r->bed, q, &error);
    assert_int_equal(error, kv_run_range_error(r, q));
    if (error == 0) {
        kv_run_expect_range(r, q, r->model.revision, got);
    }
}

static void do_put(struct kv_run *r)
{
    int error;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.put = kv_run_random_put(r);
    int want = kv_run_put_error(r, request.put, r->model.revision);
    Etcdserverpb__PutResponse *got = (Etcdserverpb__PutResponse *)kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, want);
    if (error == 0) {
        kv_model_begin(&r->model);
        kv_run_model_put(r, request.put, got);
        kv_model_end(&r->model);
    }
}

static void do_delete(struct kv_run *r)
{
    int error;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.delete_range = kv_run_random_delete(r);
    ProtobufCMessage *got = kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, 0);
    kv_model_begin(&r->model);
    kv_run_model_delete(r, request.delete_range, (Etcdserverpb__DeleteRangeResponse *)got);
    kv_model_end(&r->model);
}

static void do_txn(struct kv_run *r)
{
    int error;
    Etcdserverpb__TxnRequest *txn = kv_run_random_txn(r, 2);
    if (kv_check_txn(txn, 128) != 0) {
        return; /* a duplicate key */
    }
    int want = kv_run_model_txn_check(r, txn);
    Etcdserverpb__TxnResponse *got = kv_bed_txn(&r->bed, txn, &error);
    assert_int_equal(error, want);
    if (error != 0) {
        assert_null(got);
        return;
    }
    kv_run_expect_branches(r, txn, got);
    kv_model_begin(&r->model);
    kv_run_model_txn(r, txn, got);
    kv_model_end(&r->model);
    assert_int_equal(got->header->revision, r->model.revision);
}

static void do_grant(struct kv_run *r)
{
    int error;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    grant.id = 1 + (int64_t)kv_run_below(r, 6);
    grant.ttl = (int64_t)kv_run_below(r, 100);
    request.lease_grant = &grant;
    kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, kv_model_has_lease(&r->model, grant.id) ? ERR_LEASE_EXIST : 0);
    if (error == 0) {
        r->model.leases[r->model.lease_count++] = grant.id;
    }
}

static void do_revoke(struct kv_run *r)
{
    int error;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    revoke.id = 1 + (int64_t)kv_run_below(r, 6);
    request.lease_revoke = &revoke;
    kv_bed_apply(&r->bed, &request, &error);
    assert_int_equal(error, kv_model_has_lease(&r->model, revoke.id) ? 0 : ERR_LEASE_NOT_FOUND);
    if (error != 0) {
        return;
    }
    static const struct model_row *rows[KV_RUN_MAX_ROWS];
    size_t n = kv_model_list(&r->model, "", "", 1, r->model.revision, rows, KV_RUN_MAX_ROWS);
    char keys[KV_RUN_MAX_ROWS][8];
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

static void do_compact(struct kv_run *r)
{
    int64_t at = r->model.revision - (int64_t)kv_run_below(r, 25);
    int want = at <= r->model.compact_revision ? ERR_COMPACTED : 0;
    assert_int_equal(kv_bed_compact(&r->bed, at), want);
    if (want == 0) {
        r->model.compact_revision = at;
    }
    if (kv_run_below(r, 2)) {
        kv_bed_compact_run(&r->bed);
    }
}

static void do_hash(struct kv_run *r)
{
    struct kv_hash_result result;
    int64_t at = kv_run_random_revision(r);
    int error = kv_bed_hashkv(&r->bed, at, &result);
    int want = at > r->model.revision ? ERR_FUTURE_REV : at > 0 && at < r->model.compact_revision ? ERR_COMPACTED : 0;
    if (want != ERR_COMPACTED || error != 0) { /* a finished compaction's own hash outlives the next ones */
        assert_int_equal(error, want);
    }
    if (error == 0) {
        at = at == 0 ? r->model.revision : at; /* a negative one is below all that there is */
        assert_int_equal(result.hash_revision, at);
        uint32_t hash = kv_model_hash(&r->model, at, result.compact_revision);
        const struct model_row *rows[KV_RUN_MAX_ROWS];
        size_t live = kv_model_list(&r->model, "", "", 1, at, rows, KV_RUN_MAX_ROWS);
        /* With nothing alive etcd's hash takes in whatever old rows are left: that depends on the deletes' progress. */
        if (result.hash != hash && live > 0) {
            fail_msg("seed %llu step %u: HashKV(%lld) at compact revision %lld: got %u, expected %u, %zu live keys",
                     (unsigned long long)r->seed, r->step, (long long)at, (long long)result.compact_revision,
                     result.hash, hash, live);
        }
    }
}

/* A range that stays open while other things happen. */
static void do_pinned_range(struct kv_run *r)
{
    Etcdserverpb__RangeRequest *q = kv_run_random_range(r);
    struct kv_range range = {0};
    if (kv_range_start(r->bed.kv, q, &range) != 0) {
        return;
    }
    static const struct model_row *rows[KV_RUN_MAX_ROWS];
    int64_t count;
    bool more;
    size_t n = kv_run_model_range(r, q, r->model.revision, rows, &count, &more);
    int64_t expected_keys[KV_RUN_MAX_ROWS];
    for (size_t i = 0; i < n; i++) {
        expected_keys[i] = rows[i] - r->model.rows;
    }
    for (int i = 0; i < 4; i++) {
        (kv_run_below(r, 2) ? do_put : do_delete)(r);
        kv_range_resolve(&range, 3);
        if (kv_run_below(r, 3) == 0) {
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
        if (kv_run_below(r, 4) == 0) {
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
static void do_chunks(struct kv_run *r)
{
    Etcdserverpb__RangeRequest *q = kv_bed_range_request(&r->bed, kv_run_random_key(r), kv_run_random_end(r));
    struct kv_range range = {0};
    uint64_t rows, bytes, all_rows = 0, all_bytes = 0;
    q->keys_only = kv_run_below(r, 2) != 0;
    q->limit = (int64_t)kv_run_below(r, 20);
    assert_int_equal(kv_range_start(r->bed.kv, q, &range), 0);
    while (kv_range_resolve(&range, r->bed.budget) == KV_MORE) {
    }
    do {
        uint64_t want = 1 + kv_run_below(r, 5), most = kv_run_below(r, 2) != 0 ? UINT64_MAX : 1 + kv_run_below(r, 100);
        while (kv_range_chunk(&range, want, most, 1 + kv_run_below(r, 3), &rows, &bytes) == KV_MORE) {
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
    struct kv_run *run;
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
    return kv_run_below(h->run, 20) > 0;
}

static void do_history(struct kv_run *r)
{
    struct watch_source source = kv_watch_source(r->bed.kv);
    struct history history = {.run = r};
    struct watch_position from = {.main = r->model.compact_revision + 1};
    from.main += (int64_t)kv_run_below(r, (uint64_t)(r->model.revision - r->model.compact_revision + 1));
    int64_t to = from.main + (int64_t)kv_run_below(r, 50);
    size_t end = 0;
    for (size_t i = 0; i < r->model.count; i++) {
        history.at += r->model.rows[i].main < from.main;
        end += r->model.rows[i].main < from.main || r->model.rows[i].main <= to;
    }
    while (source.rows(source.arg, &from, to, 1 + kv_run_below(r, 9), next_change, &history) == WATCH_ROWS_MORE) {
        if (kv_run_below(r, 5) == 0) {
            kv_bed_commit(&r->bed);
        }
    }
    assert_int_equal(history.at, end);
}

static void do_txn_read(struct kv_run *r)
{
    struct kv_txn_read read = {.arena = &r->bed.arena};
    Etcdserverpb__TxnRequest *txn = kv_run_random_txn(r, 0);
    if (!kv_txn_read_only(txn)) {
        return;
    }
    int want = kv_run_model_txn_check(r, txn);
    read.request = txn;
    while (kv_txn_read_step(r->bed.kv, &read, r->bed.budget) == KV_MORE) {
    }
    assert_int_equal(read.error, want);
    if (want == 0) {
        kv_run_expect_branches(r, txn, read.response);
        kv_run_model_txn(r, txn, read.response);
        assert_int_equal(read.response->header->revision, r->model.revision);
    }
}

static void do_crash(struct kv_run *r)
{
    if (kv_run_below(r, 2)) {
        kv_bed_commit(&r->bed);
    }
    kv_bed_crash(&r->bed, kv_run_below(r, 4));
    kv_bed_replay(&r->bed);
    assert_int_equal(kv_revision(r->bed.kv), r->model.revision);
    assert_int_equal(kv_compact_revision(r->bed.kv), r->model.compact_revision);
}

static void one_step(struct kv_run *r)
{
    uint64_t which = kv_run_below(r, 100);
    r->bed.budget = 1 + kv_run_below(r, 30);
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
    struct kv_run r = {.seed = seed, .model = {.revision = 1, .compact_revision = -1}};
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
