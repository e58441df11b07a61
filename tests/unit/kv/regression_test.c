/* What went wrong in etcd once, by the ids of tests/data/etcd/regressions.tsv: the rows that the state machine alone
 * can show. Entries are applied, the process dies and applies them again from where its store is. */
#include "tests/support/kv_bed.h"
#include "tests/support/member_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- txns --- */

static Etcdserverpb__RequestOp put_op(Etcdserverpb__PutRequest *put, const char *key)
{
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    etcdserverpb__put_request__init(put);
    put->key = put->value = kv_bed_bytes(key);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = put;
    return op;
}

/* etcd#18667 / PR21432: members where nobody waits for the answer skip ranges; one that cannot be read is refused by
 * all of them all the same, before anything is written. */
static void test_a_txn_with_a_range_below_the_compaction_is_refused_by_all_and_changes_nothing(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        struct kv_bed bed;
        kv_bed_open(&bed, NULL);
        kv_bed_put(&bed, "k", "1", 0);
        kv_bed_put(&bed, "k", "2", 0);
        kv_bed_put(&bed, "k", "3", 0);
        assert_int_equal(kv_bed_compact(&bed, 3), 0);
        struct kv_stats before = kv_stats(bed.kv);

        Etcdserverpb__PutRequest put;
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
        Etcdserverpb__RequestOp write = put_op(&put, "k"), read = ETCDSERVERPB__REQUEST_OP__INIT;
        range.key = kv_bed_bytes("k");
        range.revision = 2;
        read.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        read.request_range = &range;
        Etcdserverpb__RequestOp *ops[] = {&write, &read};
        Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
        txn.success = ops;
        txn.n_success = 2;
        int error;
        kv_bed_txn(&bed, &txn, &error);
        assert_int_equal(error, ERR_COMPACTED);
        if (!waits) { /* once more from the log, as a follower applies it */
            kv_bed_crash(&bed, 0);
            kv_bed_replay(&bed);
        }
        struct kv_stats after = kv_stats(bed.kv);
        assert_int_equal(after.revision, before.revision);
        assert_int_equal(after.revisions, before.revisions);
        Etcdserverpb__RangeRequest *now = kv_bed_range_request(&bed, "k", (ProtobufCBinaryData){0});
        assert_int_equal(kv_bed_range(&bed, now, &error)->kvs[0]->version, 3);
        kv_bed_close(&bed);
    }
}

/* --- crashes --- */

/* etcd#17780: the last revisions are tombstones, the compaction removes them, and the process dies before it has
 * written down that the compaction is finished. */
static void test_a_crash_in_a_compaction_of_tombstones_never_sets_the_revision_back(void **state)
{
    (void)state;
    for (size_t lost = 0; lost < 12; lost++) {
        struct kv_bed bed;
        kv_bed_open(&bed, NULL);
        for (int i = 0; i < 20; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%d", i);
            kv_bed_put(&bed, key, "v", 0);
            kv_bed_commit(&bed);
        }
        kv_bed_delete(&bed, "k", kv_bed_bytes("l"));
        kv_bed_delete(&bed, "none", (ProtobufCBinaryData){0});
        kv_bed_commit(&bed);
        int64_t acknowledged = kv_revision(bed.kv);
        assert_int_equal(kv_bed_compact(&bed, acknowledged), 0);
        kv_bed_commit(&bed);
        kv_bed_compact_run(&bed);
        kv_bed_commit(&bed);
        assert_int_equal(kv_stats(bed.kv).keys, 0);
        kv_bed_crash(&bed, lost);
        kv_bed_replay(&bed);
        assert_int_equal(kv_revision(bed.kv), acknowledged);
        kv_bed_compact_run(&bed);
        kv_bed_commit(&bed);
        kv_bed_crash(&bed, 0);
        kv_bed_replay(&bed);
        assert_int_equal(kv_revision(bed.kv), acknowledged);
        assert_int_equal(kv_bed_put(&bed, "next", "v", 0)->header->revision, acknowledged + 1);
        kv_bed_close(&bed);
    }
}

/* etcd#13766: rows and the position of the entry that made them are in one transaction of the store: from whatever
 * commit a member starts again, it comes to the same state. */
static void test_from_every_commit_the_same_entries_come_to_the_same_hash(void **state)
{
    (void)state;
    struct kv_hash_result expected = {0};
    for (size_t lost = 0; lost < 30; lost++) {
        struct kv_bed bed;
        kv_bed_open(&bed, NULL);
        for (int i = 0; i < 60; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%d", i % 7);
            if (i % 5 == 4) {
                kv_bed_delete(&bed, key, (ProtobufCBinaryData){0});
            } else {
                kv_bed_put(&bed, key, "v", 0);
            }
            if (i % 2 == 0) {
                kv_bed_commit(&bed);
            }
        }
        int64_t revision = kv_revision(bed.kv);
        kv_bed_crash(&bed, lost);
        kv_bed_replay(&bed);
        struct kv_hash_result hash;
        assert_int_equal(kv_revision(bed.kv), revision);
        assert_int_equal(kv_bed_hashkv(&bed, 0, &hash), 0);
        expected = lost == 0 ? hash : expected;
        assert_int_equal(hash.hash, expected.hash);
        kv_bed_close(&bed);
    }
}

/* --- members --- */

enum { ADD, REMOVE, UPDATE, ADD_LEARNER };

#define MEMBER(id, url) "{\"id\":" #id ",\"peerURLs\":[\"" url "\"]}"
#define LEARNER(id, url) "{\"id\":" #id ",\"peerURLs\":[\"" url "\"],\"isLearner\":true}"
#define PROMOTE(id) "{\"id\":" #id ",\"peerURLs\":null,\"isPromote\":true}"

static void grow(struct kv_bed *bed)
{
    kv_bed_open(bed, NULL);
    assert_int_equal(member_change(bed, ADD, 1, MEMBER(1, "u1")), 0);
    assert_int_equal(member_change(bed, ADD_LEARNER, 2, LEARNER(2, "u2")), 0);
    assert_int_equal(member_change(bed, ADD, 2, PROMOTE(2)), 0);
    assert_int_equal(member_change(bed, ADD_LEARNER, 3, LEARNER(3, "u3")), 0);
    assert_int_equal(member_change(bed, ADD, 3, PROMOTE(3)), 0);
}

/* etcd#20340, etcd#13466/#13119, PR20387, PR13348: a cluster grown by promotions loses a member; whoever then starts
 * again, from whatever commit, has the same members as the others, and raft begins with exactly these. */
static void test_replayed_changes_of_members_come_to_the_same_members_from_every_commit(void **state)
{
    (void)state;
    for (size_t lost = 0; lost < 8; lost++) {
        struct kv_bed bed;
        grow(&bed);
        kv_bed_commit(&bed);
        assert_int_equal(member_change(&bed, REMOVE, 2, NULL), 0);
        kv_bed_commit(&bed);
        assert_int_equal(member_change(&bed, REMOVE, 2, NULL), ERR_MEMBER_NOT_FOUND);
        assert_int_equal(member_change(&bed, ADD, 2, PROMOTE(2)), ERR_MEMBER_NOT_FOUND);
        assert_int_equal(member_change(&bed, ADD_LEARNER, 4, LEARNER(4, "u4")), 0);
        kv_bed_commit(&bed);
        kv_bed_crash(&bed, lost);
        kv_bed_replay(&bed);
        member_change_expect(&bed, "1=u1 3=u3 4L=u4 ");
        assert_true(kv_member_removed(bed.kv, 2));

        uint64_t *voters, *learners;
        size_t voter_count, learner_count;
        kv_conf_state(bed.kv, &bed.arena, &voters, &voter_count, &learners, &learner_count);
        assert_int_equal(voter_count, 2);
        assert_int_equal(voters[0], 1);
        assert_int_equal(voters[1], 3);
        assert_int_equal(learner_count, 1);
        assert_int_equal(learners[0], 4);
        kv_bed_close(&bed);
    }
}

/* PR19563/etcd#19557, PR20797: that it votes stands in the store, and is all that there is about it. */
static void test_a_promotion_survives_restarts(void **state)
{
    (void)state;
    struct kv_bed bed;
    grow(&bed);
    for (int i = 0; i < 3; i++) {
        kv_bed_commit(&bed);
        kv_bed_crash(&bed, 0);
        kv_bed_replay(&bed);
        member_change_expect(&bed, "1=u1 2=u2 3=u3 ");
    }
    kv_bed_close(&bed);
}

/* PR20995: members that are gone leave no row behind that a later start could take for one. */
static void test_removed_members_are_in_no_list_after_a_start(void **state)
{
    (void)state;
    struct kv_bed bed;
    grow(&bed);
    assert_int_equal(member_change(&bed, REMOVE, 3, NULL), 0);
    assert_int_equal(member_change(&bed, REMOVE, 2, NULL), 0);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    kv_bed_replay(&bed);
    member_change_expect(&bed, "1=u1 ");
    struct backend_read *read;
    struct bytes row;
    assert_int_equal(backend_read_begin(bed.backend, &read), 0);
    assert_int_equal(backend_get(read, BACKEND_MEMBERS, bytes_str("2"), &row), ERR_ABSENT);
    assert_int_equal(backend_get(read, BACKEND_MEMBERS, bytes_str("3"), &row), ERR_ABSENT);
    backend_read_end(read);
    kv_bed_close(&bed);
}

/* PR20051: a promotion and attributes that come after the removal. */
static void test_changes_of_a_removed_member_are_refused_and_end_nobody(void **state)
{
    (void)state;
    struct kv_bed bed;
    grow(&bed);
    assert_int_equal(member_change(&bed, ADD_LEARNER, 4, LEARNER(4, "u4")), 0);
    assert_int_equal(member_change(&bed, REMOVE, 4, NULL), 0);
    assert_int_equal(member_change(&bed, ADD, 4, PROMOTE(4)), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(member_change(&bed, UPDATE, 4, MEMBER(4, "new")), ERR_MEMBER_NOT_FOUND);
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__ClusterMemberAttrSetRequest set = MEMBERSHIPPB__CLUSTER_MEMBER_ATTR_SET_REQUEST__INIT;
    Membershippb__Attributes attributes = MEMBERSHIPPB__ATTRIBUTES__INIT;
    attributes.name = (char *)(uintptr_t) "late";
    set.member_id = 4;
    set.member_attributes = &attributes;
    internal.cluster_member_attr_set = &set;
    int error;
    kv_bed_apply(&bed, &internal, &error);
    member_change_expect(&bed, "1=u1 2=u2 3=u3 ");
    kv_bed_close(&bed);
}

/* PR21736 */
static void test_a_learner_whose_urls_change_is_a_learner_still(void **state)
{
    (void)state;
    struct kv_bed bed;
    grow(&bed);
    assert_int_equal(member_change(&bed, ADD_LEARNER, 4, LEARNER(4, "u4")), 0);
    assert_int_equal(member_change(&bed, UPDATE, 4, MEMBER(4, "new")), 0);
    member_change_expect(&bed, "1=u1 2=u2 3=u3 4L=new ");
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    member_change_expect(&bed, "1=u1 2=u2 3=u3 4L=new ");
    kv_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_txn_with_a_range_below_the_compaction_is_refused_by_all_and_changes_nothing),
        cmocka_unit_test(test_a_crash_in_a_compaction_of_tombstones_never_sets_the_revision_back),
        cmocka_unit_test(test_from_every_commit_the_same_entries_come_to_the_same_hash),
        cmocka_unit_test(test_replayed_changes_of_members_come_to_the_same_members_from_every_commit),
        cmocka_unit_test(test_a_promotion_survives_restarts),
        cmocka_unit_test(test_removed_members_are_in_no_list_after_a_start),
        cmocka_unit_test(test_changes_of_a_removed_member_are_refused_and_end_nobody),
        cmocka_unit_test(test_a_learner_whose_urls_change_is_a_learner_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
