/* Entries of the log, applied: alarms and quota, what is skipped after a restart, crashes with commits lost, slices. */
#include "base/crc32c.h"
#include "tests/support/kv_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static Etcdserverpb__AlarmResponse *alarm(struct kv_bed *bed, int action, uint64_t member, int type)
{
    int error;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    alarm.action = (Etcdserverpb__AlarmRequest__AlarmAction)action;
    alarm.memberid = member;
    alarm.alarm = (Etcdserverpb__AlarmType)type;
    request.alarm = &alarm;
    ProtobufCMessage *answer = kv_bed_apply(bed, &request, &error);
    assert_int_equal(error, 0);
    return (Etcdserverpb__AlarmResponse *)answer;
}

static int try_put(struct kv_bed *bed, const char *key, const char *value)
{
    int error;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    put.key = kv_bed_bytes(key);
    put.value = kv_bed_bytes(value);
    request.put = &put;
    kv_bed_apply(bed, &request, &error);
    return error;
}

static int try_revoke(struct kv_bed *bed, int64_t id)
{
    int error;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    revoke.id = id;
    request.lease_revoke = &revoke;
    kv_bed_apply(bed, &request, &error);
    return error;
}

static int try_grant(struct kv_bed *bed, int64_t id, int64_t ttl_s)
{
    int error;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    grant.id = id;
    grant.ttl = ttl_s;
    request.lease_grant = &grant;
    kv_bed_apply(bed, &request, &error);
    return error;
}

static void test_alarms_are_answered_as_etcd_does_and_survive_a_restart(void **state)
{
    (void)state;
    struct kv_bed bed;
    size_t count;
    kv_bed_open(&bed, NULL);
    assert_int_equal(alarm(&bed, 1, 5, 0)->n_alarms, 0); /* NONE cannot be raised */
    assert_int_equal(alarm(&bed, 1, 5, 1)->n_alarms, 1);
    assert_true(bed.apply.effects & KV_EFFECT_ALARMS);
    assert_int_equal(alarm(&bed, 1, 5, 1)->n_alarms, 1); /* again: the same row, nothing changed */
    assert_false(bed.apply.effects & KV_EFFECT_ALARMS);
    assert_int_equal(alarm(&bed, 1, 0, 2)->n_alarms, 1);
    assert_int_equal(alarm(&bed, 0, 0, 0)->n_alarms, 2);
    assert_int_equal(alarm(&bed, 0, 0, 2)->n_alarms, 1);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_true(kv_alarm(bed.kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    Etcdserverpb__AlarmMember **list = kv_alarms(bed.kv, ETCDSERVERPB__ALARM_TYPE__NONE, &bed.arena, &count);
    assert_int_equal(count, 2);
    assert_int_equal(list[0]->memberid, 5);
    assert_int_equal(list[1]->memberid, 0);
    assert_int_equal(alarm(&bed, 2, 5, 1)->n_alarms, 1);
    assert_int_equal(alarm(&bed, 2, 5, 1)->n_alarms, 0);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_false(kv_alarm(bed.kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE));
    kv_bed_close(&bed);
}

static void test_no_space_stops_what_grows_and_lets_the_rest_pass(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    assert_int_equal(try_grant(&bed, 7, 10), 0);
    alarm(&bed, 1, 5, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    assert_int_equal(try_put(&bed, "b", "1"), ERR_NO_SPACE);
    assert_int_equal(try_grant(&bed, 8, 10), ERR_NO_SPACE);
    assert_int_equal(kv_bed_delete(&bed, "a", (ProtobufCBinaryData){0}), 1);
    assert_int_equal(try_revoke(&bed, 7), 0);
    assert_int_equal(kv_bed_compact(&bed, 2), 0);
    alarm(&bed, 2, 5, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    assert_int_equal(try_put(&bed, "b", "1"), 0);
    kv_bed_close(&bed);
}

static void test_corrupt_stops_all_changes_of_keys_and_leases(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    assert_int_equal(try_grant(&bed, 7, 10), 0);
    alarm(&bed, 1, 5, ETCDSERVERPB__ALARM_TYPE__CORRUPT);
    assert_int_equal(try_put(&bed, "b", "1"), ERR_CORRUPT);
    assert_int_equal(try_grant(&bed, 8, 10), ERR_CORRUPT);
    assert_int_equal(try_revoke(&bed, 7), ERR_CORRUPT);
    assert_int_equal(kv_bed_compact(&bed, 1), ERR_CORRUPT);
    kv_bed_close(&bed);
}

static void test_over_quota_at_apply_is_done_and_told_as_an_error(void **state)
{
    (void)state;
    struct kv_bed bed;
    struct kv_config config = {.quota_bytes = 1};
    kv_bed_open(&bed, &config);
    assert_int_equal(try_put(&bed, "a", "1"), ERR_NO_SPACE);
    assert_true(bed.apply.effects & KV_EFFECT_RAISE_NO_SPACE);
    assert_int_equal(kv_revision(bed.kv), 2); /* it was executed */
    alarm(&bed, 1, 5, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    assert_int_equal(try_put(&bed, "a", "1"), ERR_NO_SPACE);
    assert_int_equal(kv_revision(bed.kv), 2);
    kv_bed_close(&bed);
}

static void test_admission_knows_alarms_and_quota(void **state)
{
    (void)state;
    struct kv_bed bed;
    struct kv_config config = {.quota_bytes = 1};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    bool raise;
    kv_bed_open(&bed, &config);
    request.put = &put;
    assert_int_equal(kv_admit(bed.kv, &request, &raise), ERR_NO_SPACE);
    assert_true(raise);
    alarm(&bed, 1, 5, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    assert_int_equal(kv_admit(bed.kv, &request, &raise), ERR_NO_SPACE);
    assert_false(raise);
    request.put = NULL;
    request.delete_range = &del;
    assert_int_equal(kv_admit(bed.kv, &request, &raise), 0);
    alarm(&bed, 1, 5, ETCDSERVERPB__ALARM_TYPE__CORRUPT);
    assert_int_equal(kv_admit(bed.kv, &request, &raise), ERR_CORRUPT);
    kv_bed_close(&bed);
}

static void test_entries_that_the_store_has_are_not_applied_twice(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    kv_bed_put(&bed, "a", "2", 0);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_int_equal(bed.index, 2);
    bed.index = 0; /* the log is read from its start again */
    assert_int_equal(try_put(&bed, "a", "1"), 0);
    assert_null(bed.apply.response);
    assert_int_equal(try_put(&bed, "a", "2"), 0);
    assert_int_equal(kv_revision(bed.kv), 3);
    assert_int_equal(try_put(&bed, "a", "3"), 0);
    assert_int_equal(kv_revision(bed.kv), 4);
    kv_bed_close(&bed);
}

static void test_an_empty_entry_only_moves_the_applied_index(void **state)
{
    (void)state;
    struct kv_bed bed;
    int error;
    kv_bed_open(&bed, NULL);
    kv_bed_commit(&bed);
    assert_null(kv_bed_entry(&bed, KV_ENTRY_NORMAL, (struct bytes){0}, &error));
    assert_int_equal(error, 0);
    assert_int_equal(bed.apply.request_id, 0);
    assert_true(kv_batch_wanted(bed.kv));
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_int_equal(kv_applied_index(bed.kv), 1);
    assert_int_equal(kv_stats(bed.kv).applied_term, 2);
    kv_bed_close(&bed);
}

static void test_readers_see_the_state_before_while_an_entry_is_applied_in_slices(void **state)
{
    (void)state;
    struct kv_bed bed;
    int error;
    struct kv_apply apply = {.index = 101, .term = 2};
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    ProtobufCBinaryData all = {.len = 1, .data = (uint8_t *)""};
    struct backend_batch batch;
    kv_bed_open(&bed, NULL);
    for (int i = 0; i < 100; i++) {
        kv_bed_put(&bed, arena_printf(&bed.arena, "k%03d", i), "v", 0);
    }
    del.key = kv_bed_bytes("k");
    del.range_end = all;
    request.delete_range = &del;
    size_t len = protobuf_c_message_get_packed_size(&request.base);
    apply.data = bytes_of(arena_alloc(&bed.arena, len), len);
    protobuf_c_message_pack(&request.base, (uint8_t *)apply.data.data);
    apply.arena = &bed.arena;
    kv_apply_begin(bed.kv, &apply);
    unsigned slices = 0;
    while (kv_apply_step(bed.kv, &apply, 7) == KV_MORE) {
        Etcdserverpb__RangeResponse *seen = kv_bed_range(&bed, kv_bed_range_request(&bed, "k", all), &error);
        assert_int_equal(seen->count, 100);
        assert_int_equal(seen->n_kvs, 100);
        assert_int_equal(kv_revision(bed.kv), 101);
        assert_false(kv_batch_close(bed.kv, &batch)); /* half an entry is never stored */
        slices++;
    }
    assert_true(slices >= 14);
    assert_int_equal(((Etcdserverpb__DeleteRangeResponse *)apply.response)->deleted, 100);
    assert_int_equal(kv_bed_range(&bed, kv_bed_range_request(&bed, "k", all), &error)->count, 0);
    assert_int_equal(kv_revision(bed.kv), 102);
    kv_bed_close(&bed);
}

static void test_a_commit_that_found_no_room_is_lent_again(void **state)
{
    (void)state;
    struct kv_bed bed;
    struct backend_batch first, second;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    assert_true(kv_batch_close(bed.kv, &first));
    kv_bed_put(&bed, "b", "2", 0);
    assert_false(kv_batch_close(bed.kv, &second));
    kv_batch_done(bed.kv, ERR_DISK_FULL);
    assert_true(kv_batch_close(bed.kv, &second));
    assert_true(second.count >= first.count);
    assert_int_equal(backend_commit(bed.backend, &second), 0);
    kv_batch_done(bed.kv, 0);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_int_equal(kv_revision(bed.kv), 3);
    assert_int_equal(kv_pending_bytes(bed.kv), 0);
    kv_bed_close(&bed);
}

/* Whatever number of commits a crash takes away, the same log leads to the same state. */
static void test_a_crash_in_a_compaction_leaves_nothing_undone(void **state)
{
    (void)state;
    struct kv_hash_result whole, again;
    for (size_t lost = 0; lost < 12; lost++) {
        struct kv_bed bed;
        kv_bed_open(&bed, NULL);
        for (int i = 0; i < 40; i++) {
            char *key = arena_printf(&bed.arena, "k%02d", i % 13);
            if (i % 5 == 4) {
                kv_bed_delete(&bed, key, (ProtobufCBinaryData){0});
            } else {
                kv_bed_put(&bed, key, "v", 0);
            }
        }
        int64_t revision = kv_revision(bed.kv);
        assert_int_equal(kv_bed_compact(&bed, revision), 0);
        kv_bed_commit(&bed);
        size_t before = backend_memory_commits(bed.backend);
        kv_compact_hashed(bed.kv, false, 0);
        while (kv_compact_state(bed.kv) == KV_COMPACT_RUN) {
            kv_compact_step(bed.kv, 4);
            kv_bed_commit(&bed);
        }
        assert_int_equal(kv_bed_hashkv(&bed, revision, &whole), 0);
        uint64_t keys = kv_stats(bed.kv).keys, revisions = kv_stats(bed.kv).revisions;
        size_t after = backend_memory_commits(bed.backend);
        kv_bed_crash(&bed, lost < after - before ? lost : after - before);
        assert_int_equal(kv_revision(bed.kv), revision);
        assert_int_equal(kv_compact_revision(bed.kv), revision);
        kv_bed_compact_run(&bed);
        assert_int_equal(kv_bed_hashkv(&bed, revision, &again), 0);
        assert_int_equal(again.hash, whole.hash);
        assert_int_equal(kv_stats(bed.kv).keys, keys);
        assert_int_equal(kv_stats(bed.kv).revisions, revisions);
        kv_bed_close(&bed);
    }
}

static void test_a_pin_holds_compaction_up(void **state)
{
    (void)state;
    struct kv_bed bed;
    int error;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    kv_bed_put(&bed, "a", "2", 0);
    Etcdserverpb__RangeRequest *request = kv_bed_range_request(&bed, "a", (ProtobufCBinaryData){0});
    request->revision = 2;
    struct kv_range range = {0};
    assert_int_equal(kv_range_start(bed.kv, request, &range), 0);
    assert_int_equal(kv_bed_compact(&bed, 3), 0);
    kv_compact_hashed(bed.kv, false, 0);
    assert_int_equal(kv_compact_state(bed.kv), KV_COMPACT_WAIT);
    assert_int_equal(kv_range_resolve(&range, 100), KV_DONE);
    assert_int_equal(range.kvs, 1);
    kv_range_end(&range);
    assert_int_equal(kv_compact_state(bed.kv), KV_COMPACT_RUN);
    kv_bed_compact_run(&bed);
    kv_bed_range(&bed, request, &error);
    assert_int_equal(error, ERR_COMPACTED);
    assert_true(kv_compact_finished(bed.kv, 3));
    kv_bed_close(&bed);
}

static Etcdserverpb__RequestOp *range_op(struct kv_bed *bed, const char *key, int64_t revision)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&bed->arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = kv_bed_range_request(bed, key, (ProtobufCBinaryData){0});
    op->request_range->revision = revision;
    return op;
}

/* Compacts at the present after so many steps of a txn that reads it and then the past. False: it had ended before. */
static bool compact_during_txn(unsigned steps)
{
    struct kv_bed bed;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    kv_bed_put(&bed, "a", "2", 0);
    Etcdserverpb__RequestOp *ops[] = {range_op(&bed, "a", 0), range_op(&bed, "a", 2), range_op(&bed, "a", 3)};
    txn.success = ops;
    txn.n_success = 3;
    struct kv_txn_read read = {.request = &txn, .arena = &bed.arena};
    int progress = KV_MORE;
    for (unsigned i = 0; i < steps && progress == KV_MORE; i++) {
        progress = kv_txn_read_step(bed.kv, &read, 1);
    }
    bool in_time = progress == KV_MORE;
    assert_int_equal(kv_bed_compact(&bed, 3), 0);
    kv_bed_compact_run(&bed);
    while (progress == KV_MORE) {
        progress = kv_txn_read_step(bed.kv, &read, 1);
    }
    if (read.error == 0) {
        const Etcdserverpb__RangeResponse *past = read.response->responses[1]->response_range;
        assert_int_equal(past->n_kvs, 1);
        assert_memory_equal(past->kvs[0]->value.data, "1", 1);
    } else {
        assert_int_equal(read.error, ERR_COMPACTED);
    }
    kv_bed_compact_run(&bed);
    assert_true(kv_compact_finished(bed.kv, 3));
    kv_bed_close(&bed);
    return in_time;
}

static void test_a_txn_that_may_read_the_past_reads_it_whatever_is_compacted_meanwhile(void **state)
{
    (void)state;
    unsigned steps = 0;
    while (compact_during_txn(steps)) {
        steps++;
    }
    assert_true(steps > 5);
}

#define LARGE ((size_t)100 << 10)
#define LARGE_COUNT 30
#define STEPS_AT_LEAST (LARGE_COUNT * LARGE / ((size_t)256 << 10)) /* history.c and others read so much in one step */

static void put_large(struct kv_bed *bed)
{
    char *value = malloc(LARGE + 1);
    memset(value, 'x', LARGE);
    value[LARGE] = 0;
    for (unsigned i = 0; i < LARGE_COUNT; i++) {
        char key[] = {'k', (char)('a' + i), 0};
        value[LARGE - 1] = (char)('A' + i * 7 % LARGE_COUNT);
        kv_bed_put(bed, key, value, 0);
        kv_bed_forget(bed);
    }
    free(value);
}

/* However few the keys are: a row of a mebibyte takes as long to look at as thousands of keys. */
static void test_steps_that_look_at_values_are_short_in_bytes_too(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    put_large(&bed);
    Etcdserverpb__RangeRequest *request = kv_bed_range_request(&bed, "k", kv_bed_bytes("l"));
    request->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    struct kv_range range = {0};
    size_t steps = 1;
    assert_int_equal(kv_range_start(bed.kv, request, &range), 0);
    while (kv_range_resolve(&range, KV_BUDGET) == KV_MORE) {
        steps++;
    }
    kv_range_end(&range);
    assert_in_range(steps, 4 * STEPS_AT_LEAST, 100 * STEPS_AT_LEAST); /* each comparison looks at two */

    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__RequestOp *ops[] = {range_op(&bed, "a", 0)};
    compare.key = kv_bed_bytes("k");
    compare.range_end = kv_bed_bytes("l");
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    txn.compare = compares;
    txn.success = ops;
    txn.n_compare = txn.n_success = 1;
    struct kv_txn_read read = {.request = &txn, .arena = &bed.arena};
    for (steps = 1; kv_txn_read_step(bed.kv, &read, KV_BUDGET) == KV_MORE; steps++) {
    }
    assert_true(read.response->succeeded);
    assert_in_range(steps, STEPS_AT_LEAST, 3 * STEPS_AT_LEAST);

    ops[0]->request_range->key = kv_bed_bytes("k");
    ops[0]->request_range->range_end = kv_bed_bytes("l");
    txn.n_compare = 0;
    for (steps = 1; kv_txn_read_step(bed.kv, &read, KV_BUDGET) == KV_MORE; steps++) {
    }
    assert_int_equal(read.response->responses[0]->response_range->n_kvs, LARGE_COUNT);
    assert_in_range(steps, STEPS_AT_LEAST, 3 * STEPS_AT_LEAST);
    kv_bed_close(&bed);
}

static void test_the_revision_is_never_below_a_compaction(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    kv_bed_delete(&bed, "a", (ProtobufCBinaryData){0});
    assert_int_equal(kv_bed_compact(&bed, 3), 0);
    kv_bed_compact_run(&bed);
    kv_bed_put(&bed, "a", "1", 0);
    kv_bed_delete(&bed, "a", (ProtobufCBinaryData){0});
    kv_bed_put(&bed, "b", "1", 0);
    kv_bed_delete(&bed, "b", (ProtobufCBinaryData){0});
    assert_int_equal(kv_bed_compact(&bed, 7), 0);
    kv_bed_compact_run(&bed);
    kv_bed_crash(&bed, 0);
    assert_int_equal(kv_revision(bed.kv), 7);
    kv_bed_close(&bed);
}

static void test_compaction_at_zero_is_taken_once(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    assert_int_equal(kv_bed_compact(&bed, 0), 0);
    assert_int_equal(kv_bed_compact(&bed, 0), ERR_COMPACTED);
    assert_int_equal(kv_bed_compact(&bed, 2), ERR_FUTURE_REV);
    kv_bed_compact_run(&bed);
    kv_bed_crash(&bed, 0);
    assert_int_equal(kv_compact_revision(bed.kv), 0);
    kv_bed_close(&bed);
}

/* --- cluster facts, whole hash --- */

static void set_cluster_version(struct kv_bed *bed, char *version)
{
    int error;
    Membershippb__ClusterVersionSetRequest set = MEMBERSHIPPB__CLUSTER_VERSION_SET_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    set.ver = version;
    request.cluster_version_set = &set;
    kv_bed_apply(bed, &request, &error);
    assert_int_equal(error, 0);
}

static void set_downgrade(struct kv_bed *bed, bool enabled, char *version)
{
    int error;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    set.enabled = enabled;
    set.ver = version;
    request.downgrade_info_set = &set;
    kv_bed_apply(bed, &request, &error);
    assert_int_equal(error, 0);
    assert_true(bed->apply.effects & KV_EFFECT_DOWNGRADE);
}

static void expect_row(struct kv_bed *bed, enum backend_table table, const char *key, const char *value)
{
    struct backend_read *read;
    struct bytes got = {0};
    kv_bed_commit(bed);
    assert_int_equal(backend_read_begin(bed->backend, &read), 0);
    assert_int_equal(backend_get(read, table, bytes_str(key), &got), value == NULL ? ERR_ABSENT : 0);
    if (value != NULL && !bytes_equal(got, bytes_str(value))) {
        fail_msg("expected %s, got %.*s", value, (int)got.len, got.data);
    }
    backend_read_end(read);
}

static void test_the_storage_version_follows_the_cluster_version(void **state)
{
    (void)state;
    struct kv_bed bed;
    const char *target;
    kv_bed_open(&bed, NULL);
    assert_null(kv_cluster_version(bed.kv));
    assert_string_equal(kv_storage_version(bed.kv), "3.5.0");
    set_cluster_version(&bed, "3.0.0");
    expect_row(&bed, BACKEND_META, "storageVersion", NULL);
    set_cluster_version(&bed, "3.7.0");
    assert_true(bed.apply.effects & KV_EFFECT_CLUSTER_VERSION);
    expect_row(&bed, BACKEND_META, "storageVersion", "3.7.0");
    set_downgrade(&bed, true, "3.6.0");
    expect_row(&bed, BACKEND_CLUSTER, "downgrade", "{\"target-version\":\"3.6.0\",\"enabled\":true}");
    set_cluster_version(&bed, "3.6.0");
    expect_row(&bed, BACKEND_META, "storageVersion", "3.6.0");
    kv_bed_crash(&bed, 0);
    assert_string_equal(kv_storage_version(bed.kv), "3.6.0");
    assert_string_equal(kv_cluster_version(bed.kv), "3.6.0");
    assert_true(kv_downgrade(bed.kv, &target));
    assert_string_equal(target, "3.6.0");
    set_downgrade(&bed, false, "");
    expect_row(&bed, BACKEND_CLUSTER, "downgrade", "{\"target-version\":\"\",\"enabled\":false}");
    kv_bed_crash(&bed, 0);
    assert_false(kv_downgrade(bed.kv, &target));
    set_cluster_version(&bed, "3.5.0");
    expect_row(&bed, BACKEND_META, "storageVersion", NULL);
    assert_false(kv_cluster_too_new(bed.kv));
    set_cluster_version(&bed, "3.8.0"); /* a member of today must not go on */
    assert_true(kv_cluster_too_new(bed.kv));
    kv_bed_close(&bed);
}

static bool feed_row(void *arg, struct bytes key, struct bytes value)
{
    uint32_t *hash = arg;
    if (!bytes_equal(key, bytes_str("consistent_index")) && !bytes_equal(key, bytes_str("term")) &&
        !bytes_equal(key, bytes_str("storageVersion"))) {
        *hash = crc32c(crc32c(*hash, key.data, key.len), value.data, value.len);
    }
    return true;
}

static void test_hash_goes_over_all_tables_by_name(void **state)
{
    (void)state;
    static const enum backend_table by_name[] = {
        BACKEND_ALARM, BACKEND_AUTH,  BACKEND_AUTH_ROLES, BACKEND_AUTH_USERS,      BACKEND_CLUSTER,
        BACKEND_KEY,   BACKEND_LEASE, BACKEND_MEMBERS,    BACKEND_MEMBERS_REMOVED, BACKEND_META,
    };
    struct kv_bed bed;
    struct backend_read *view;
    uint32_t expected = 0;
    kv_bed_open(&bed, NULL);
    kv_bed_put(&bed, "a", "1", 0);
    try_grant(&bed, 7, 10);
    alarm(&bed, 1, 5, 2);
    set_cluster_version(&bed, "3.7.0");
    kv_bed_commit(&bed);
    assert_int_equal(backend_view_open(bed.backend, &view), 0);
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0]; i++) {
        const char *name = backend_table_name(by_name[i]);
        assert_true(i == 0 || strcmp(backend_table_name(by_name[i - 1]), name) < 0);
        expected = crc32c(expected, name, strlen(name));
        assert_int_equal(backend_scan(view, by_name[i], (struct bytes){0}, feed_row, &expected), 0);
    }
    for (size_t budget = 1; budget < 5; budget++) {
        struct kv_hash *hash = kv_hash_new(KV_HASH_ALL, 0, 0, view);
        while (kv_hash_step(hash, budget) == KV_MORE) {
        }
        assert_int_equal(kv_hash_result(hash).hash, expected);
        assert_int_equal(kv_hash_result(hash).current_revision, 2);
        kv_hash_free(hash);
    }
    backend_view_close(view);
    kv_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alarms_are_answered_as_etcd_does_and_survive_a_restart),
        cmocka_unit_test(test_no_space_stops_what_grows_and_lets_the_rest_pass),
        cmocka_unit_test(test_corrupt_stops_all_changes_of_keys_and_leases),
        cmocka_unit_test(test_over_quota_at_apply_is_done_and_told_as_an_error),
        cmocka_unit_test(test_admission_knows_alarms_and_quota),
        cmocka_unit_test(test_entries_that_the_store_has_are_not_applied_twice),
        cmocka_unit_test(test_an_empty_entry_only_moves_the_applied_index),
        cmocka_unit_test(test_readers_see_the_state_before_while_an_entry_is_applied_in_slices),
        cmocka_unit_test(test_a_commit_that_found_no_room_is_lent_again),
        cmocka_unit_test(test_a_crash_in_a_compaction_leaves_nothing_undone),
        cmocka_unit_test(test_a_pin_holds_compaction_up),
        cmocka_unit_test(test_a_txn_that_may_read_the_past_reads_it_whatever_is_compacted_meanwhile),
        cmocka_unit_test(test_steps_that_look_at_values_are_short_in_bytes_too),
        cmocka_unit_test(test_the_revision_is_never_below_a_compaction),
        cmocka_unit_test(test_compaction_at_zero_is_taken_once),
        cmocka_unit_test(test_the_storage_version_follows_the_cluster_version),
        cmocka_unit_test(test_hash_goes_over_all_tables_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
