/* What went wrong in etcd once, by the ids of tests/data/etcd/regressions.tsv: the rows that several cores can show. */
#include "tests/support/cluster_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- consistency --- */

/* etcd#13766: one of three is killed over and over while others write, with a checkpoint every hundred entries. Rows
 * and applied index are stored together, so all have the same revision and hash in the end. */
static void test_a_member_killed_over_and_over_has_the_same_revision_and_hash_as_the_others(void **state)
{
    (void)state;
    enum { ROUNDS = 25, PUTS = 40 };
    struct cluster_bed c = {0};
    struct bed_request *puts = calloc(ROUNDS * PUTS, sizeof *puts);
    for (size_t i = 0; i < 3; i++) {
        c.beds[i].config.snapshot_count = 100;
    }
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c), killed = (leader + 1) % 3;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PUTS; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%d", (round * PUTS + i) % 17);
            core_bed_put(&c.beds[leader], &puts[round * PUTS + i], key, "v", 0);
            if (i % 7 == 0) {
                cluster_bed_advance(&c, (uint64_t)(1 + (round + i) % 60));
            }
        }
        core_bed_crash(&c.beds[killed]);
        cluster_bed_advance(&c, (uint64_t)(round % 5) * 40);
    }
    cluster_bed_advance(&c, 5000);
    struct bed_hash hashes[3];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(core_bed_hash(&c.beds[i], &hashes[i], KV_HASH_KV, 0), 0);
    }
    cluster_bed_advance(&c, 1000);
    for (size_t i = 0; i < 3; i++) {
        assert_true(c.beds[i].checkpoints > 0);
        assert_int_equal(kv_revision(c.beds[i].kv), 1 + ROUNDS * PUTS);
        assert_int_equal(hashes[i].ended, 1);
        assert_int_equal(hashes[i].error, 0);
        assert_int_equal(hashes[i].result.hash, hashes[0].result.hash);
    }
    cluster_bed_close(&c);
    free(puts);
}

/* --- reads --- */

static unsigned reads_lost;

static bool loses_reads(const struct raft_message *message)
{
    bool lost = message->type == RAFT_MSG_READ_INDEX && reads_lost < 3;
    reads_lost += lost;
    return lost;
}

/* PR14269 */
static void test_a_question_for_a_read_index_that_gets_lost_is_asked_again(void **state)
{
    (void)state;
    struct cluster_bed c = {.drop = loses_reads};
    struct bed_request barrier;
    cluster_bed_open(&c, 3);
    size_t follower = (cluster_bed_ready(&c) + 1) % 3;
    reads_lost = 0;
    core_bed_barrier(&c.beds[follower], &barrier);
    cluster_bed_advance(&c, 5000);
    assert_int_equal(reads_lost, 3);
    assert_int_equal(barrier.ended, 1);
    assert_int_equal(barrier.error, 0);
    cluster_bed_close(&c);
}

/* --- members --- */

static void member_done(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct bed_request *mine = request->owner;
    mine->ended++;
    mine->error = error;
}

static struct core_request *member_request(struct bed_request *request)
{
    *request = (struct bed_request){.request = {.done = member_done, .owner = request}};
    return &request->request;
}

static int add_member(struct cluster_bed *c, size_t through, struct bed_request *request, bool learner, uint64_t *id)
{
    static char *urls[] = {(char *)(uintptr_t) "http://127.0.0.1:1"};
    return core_member_add(c->beds[through].core, member_request(request), urls, 1, learner, id);
}

/* PR15096 */
static void test_a_learner_that_never_started_is_not_ready_to_vote(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request added, promoted;
    uint64_t id = 0;
    cluster_bed_open(&c, 3);
    size_t leader = cluster_bed_ready(&c);
    cluster_bed_advance(&c, 6000);
    assert_int_equal(add_member(&c, leader, &added, true, &id), 0);
    cluster_bed_advance(&c, 500);
    assert_int_equal(added.ended, 1);
    assert_int_equal(added.error, 0);
    assert_true(kv_member(c.beds[leader].kv, id)->learner);
    int error = core_member_promote(c.beds[leader].core, member_request(&promoted), id, true);
    cluster_bed_advance(&c, 500);
    assert_int_equal(error != 0 ? error : promoted.error, ERR_LEARNER_NOT_READY);
    for (size_t i = 0; i < 3; i++) {
        assert_true(kv_member(c.beds[i].kv, id)->learner);
    }
    cluster_bed_close(&c);
}

/* PR21667: a quorum of those that there will be must be connected. Of five one may be down; of three none may, as in
 * etcd 3.7.1 (tried there: "unhealthy cluster"). */
static void test_a_member_can_be_added_while_one_is_down_if_a_quorum_of_the_new_cluster_is_connected(void **state)
{
    (void)state;
    for (size_t count = 3; count <= 5; count += 2) {
        struct cluster_bed c = {0};
        struct bed_request added;
        uint64_t id = 0;
        for (size_t i = 0; i < count; i++) {
            c.beds[i].config.strict_reconfig = true;
        }
        cluster_bed_open(&c, count);
        size_t leader = cluster_bed_ready(&c);
        cluster_bed_advance(&c, 6000);
        cluster_bed_isolate(&c, (leader + 1) % count, true);
        cluster_bed_advance(&c, 6000);
        int error = add_member(&c, leader, &added, false, &id);
        if (count == 3) {
            assert_int_equal(error, ERR_UNHEALTHY);
        } else {
            cluster_bed_advance(&c, 1000);
            assert_int_equal(error, 0);
            assert_int_equal(added.ended, 1);
            assert_int_equal(added.error, 0);
        }
        cluster_bed_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_killed_over_and_over_has_the_same_revision_and_hash_as_the_others),
        cmocka_unit_test(test_a_question_for_a_read_index_that_gets_lost_is_asked_again),
        cmocka_unit_test(test_a_learner_that_never_started_is_not_ready_to_vote),
        cmocka_unit_test(test_a_member_can_be_added_while_one_is_down_if_a_quorum_of_the_new_cluster_is_connected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
