/* Changes of the membership through the core of one of several members: what is refused before it is proposed, one
 * change at a time, promotions that the leader is asked for, the cluster's version. */
#include "tests/support/cluster_bed.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void ended(struct core_request *request, int error, ProtobufCMessage *response)
{
    struct bed_request *r = request->owner;
    assert_null(response);
    r->ended++;
    r->error = error;
}

static struct core_request *begin(struct bed_request *request)
{
    *request = (struct bed_request){.request = {.done = ended, .owner = request}};
    return &request->request;
}

static int add(struct core_bed *bed, struct bed_request *request, const char *url, bool learner, uint64_t *id)
{
    char *const urls[] = {(char *)(uintptr_t)url};
    return core_member_add(bed->core, begin(request), urls, 1, learner, id);
}

static size_t open_ready(struct cluster_bed *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        c->beds[i].config.strict_reconfig = true;
    }
    cluster_bed_open(c, count);
    size_t leader = cluster_bed_ready(c);
    cluster_bed_advance(c, 6000); /* from here on they count as connected */
    assert_int_equal(cluster_bed_leader(c), leader);
    return leader;
}

static void test_changes_that_are_asked_for_at_once_are_made_one_after_the_other(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request requests[3];
    uint64_t ids[3];
    size_t leader = open_ready(&c, 3);
    struct core_bed *beds[] = {&c.beds[leader], &c.beds[(leader + 1) % 3]};
    for (size_t through = 0; through < 2; through++) {
        const char *const urls[] = {"http://x:1", "http://x:2", "http://x:2"}; /* the third is refused when applied */
        assert_int_equal(add(beds[through], &requests[0], urls[0], false, &ids[0]), 0);
        assert_int_equal(add(beds[through], &requests[1], urls[1], true, &ids[1]), 0);
        char *const taken[] = {(char *)(uintptr_t)urls[2]};
        assert_int_equal(core_member_update(beds[through]->core, begin(&requests[2]), ids[0], taken, 1), 0);
        cluster_bed_advance(&c, 500);
        const int expected[] = {0, 0, ERR_PEER_URL_EXIST};
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(requests[i].ended, 1);
            assert_int_equal(requests[i].error, expected[i]);
        }
        for (size_t i = 0; i < 3; i++) {
            assert_non_null(kv_member(c.beds[i].kv, ids[0]));
            assert_true(kv_member(c.beds[i].kv, ids[1])->learner);
        }
        for (size_t i = 0; i < 2; i++) { /* it never started, so that it may go without further ado */
            assert_int_equal(core_member_remove(beds[through]->core, begin(&requests[i]), ids[i]), 0);
            cluster_bed_advance(&c, 500);
            assert_int_equal(requests[i].ended, 1);
            assert_int_equal(requests[i].error, 0);
            assert_true(kv_member_removed(c.beds[2].kv, ids[i]));
        }
        cluster_bed_advance(&c, 2000);
    }
    cluster_bed_close(&c);
}

static void test_a_change_that_nobody_waits_for_any_more_holds_the_next_one_back_too(void **state)
{
    (void)state;
    struct cluster_bed c = {.delay_ms = 20};
    struct bed_request left, next;
    char *const urls[] = {"http://x:1"}, *const more[] = {"http://x:2"};
    size_t leader = open_ready(&c, 3);
    struct core *core = c.beds[leader].core;
    assert_int_equal(core_member_update(core, begin(&left), 1, urls, 1), 0);
    cluster_bed_advance(&c, 5); /* it is in the log */
    core_cancel(core, &left.request);
    assert_int_equal(core_member_update(core, begin(&next), 2, more, 1), 0);
    cluster_bed_advance(&c, 500);
    assert_int_equal(left.ended, 0);
    assert_int_equal(next.ended, 1);
    assert_int_equal(next.error, 0);
    assert_string_equal(kv_member(c.beds[0].kv, 1)->peer_urls[0], "http://x:1");
    assert_string_equal(kv_member(c.beds[0].kv, 2)->peer_urls[0], "http://x:2");
    cluster_bed_close(&c);
}

static void test_a_member_that_is_added_again_at_once_gets_another_id(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request request;
    uint64_t first, second;
    struct core_bed *bed = &c.beds[open_ready(&c, 3)];
    assert_int_equal(add(bed, &request, "http://x:1", true, &first), 0);
    cluster_bed_advance(&c, 50);
    assert_int_equal(core_member_remove(bed->core, begin(&request), first), 0);
    cluster_bed_advance(&c, 50);
    assert_int_equal(add(bed, &request, "http://x:1", true, &second), 0);
    cluster_bed_advance(&c, 50);
    assert_int_equal(request.ended, 1);
    assert_int_equal(request.error, 0);
    assert_int_not_equal(first, second);
    cluster_bed_close(&c);
}

static void test_a_change_waits_for_a_leader_and_ends_in_time_without_one(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request kept, late;
    size_t leader = open_ready(&c, 3), other = (leader + 1) % 3;
    char *const urls[] = {"http://x:9"};
    cluster_bed_isolate(&c, other, true);
    cluster_bed_advance(&c, 3000); /* its leader is forgotten */
    assert_int_equal(core_member_update(c.beds[other].core, begin(&kept), 1, urls, 1), 0);
    assert_int_equal(core_member_update(c.beds[other].core, begin(&late), 2, urls, 1), 0);
    cluster_bed_advance(&c, 1000);
    assert_int_equal(kept.ended, 0);
    cluster_bed_isolate(&c, other, false);
    cluster_bed_advance(&c, 3000);
    assert_int_equal(kept.ended, 1);
    assert_int_equal(kept.error, 0);
    assert_int_equal(late.error, ERR_PEER_URL_EXIST);
    cluster_bed_isolate(&c, other, true);
    cluster_bed_advance(&c, 3000);
    assert_int_equal(core_member_update(c.beds[other].core, begin(&late), 2, urls, 1), 0);
    cluster_bed_advance(&c, 8000);
    assert_int_equal(late.ended, 1);
    assert_int_not_equal(late.error, 0);
    cluster_bed_close(&c);
}

static void test_what_would_cost_the_quorum_is_refused_before_it_is_proposed(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request request;
    uint64_t id;
    size_t leader = open_ready(&c, 3), down = (leader + 1) % 3, up = (leader + 2) % 3;
    struct core *core = c.beds[leader].core;
    assert_int_equal(core_member_remove(core, begin(&request), 77), 0); /* judged when it is applied */
    cluster_bed_advance(&c, 200);
    assert_int_equal(request.error, ERR_MEMBER_NOT_FOUND);
    cluster_bed_isolate(&c, down, true);
    cluster_bed_advance(&c, 100);
    assert_int_equal(add(&c.beds[leader], &request, "http://x:1", false, &id), ERR_UNHEALTHY);
    assert_int_equal(add(&c.beds[leader], &request, "http://x:1", true, &id), ERR_UNHEALTHY);
    assert_int_equal(core_member_remove(core, begin(&request), up + 1), ERR_UNHEALTHY);
    assert_int_equal(core_member_remove(core, begin(&request), down + 1), 0); /* who is down may go */
    cluster_bed_advance(&c, 200);
    assert_int_equal(request.error, 0);
    c.active_ms[up] = c.now_ms - 1000; /* not for long enough yet */
    assert_int_equal(add(&c.beds[leader], &request, "http://x:1", false, &id), ERR_UNHEALTHY);
    c.active_ms[up] = c.now_ms - 6000;
    assert_int_equal(add(&c.beds[leader], &request, "http://x:1", false, &id), 0);
    cluster_bed_advance(&c, 200);
    assert_int_equal(request.error, 0);
    assert_int_equal(add(&c.beds[leader], &request, "http://x:2", false, &id), ERR_NOT_ENOUGH_STARTED_MEMBERS);
    cluster_bed_close(&c);
}

static void test_the_last_voter_stays(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request request;
    cluster_bed_open(&c, 1); /* without the strict check */
    cluster_bed_ready(&c);
    assert_int_equal(core_member_remove(c.beds[0].core, begin(&request), 1), ERR_NOT_ENOUGH_STARTED_MEMBERS);
    cluster_bed_close(&c);
}

/* --- promotion --- */

static uint64_t asked_id;
static int answer_status;

static bool promote_page(struct core_bed *bed, struct core_peer_call *call)
{
    (void)bed;
    if (sscanf(call->path, "/members/promote/%" SCNu64, &asked_id) != 1) {
        return false;
    }
    assert_string_equal(call->method, "POST");
    call->status = answer_status;
    call->response = bytes_str(answer_status == 412 ? "etcdserver: can only promote a learner member which is in sync "
                                                      "with leader\n"
                                                    : "[]\n");
    return true;
}

static void test_a_follower_asks_the_leader_to_promote(void **state)
{
    (void)state;
    static const struct {
        int status, error;
    } rows[] = {{200, 0}, {404, ERR_MEMBER_NOT_FOUND}, {412, ERR_LEARNER_NOT_READY}, {500, ERR_TIMEOUT}};
    struct cluster_bed c = {.page = promote_page};
    struct bed_request request;
    size_t leader = open_ready(&c, 3), follower = (leader + 1) % 3;
    assert_int_equal(core_member_promote(c.beds[follower].core, begin(&request), 5, false), ERR_NOT_LEADER);
    assert_int_equal(core_member_promote(c.beds[leader].core, begin(&request), 5, true), ERR_MEMBER_NOT_FOUND);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        answer_status = rows[i].status;
        asked_id = 0;
        assert_int_equal(core_member_promote(c.beds[follower].core, begin(&request), 5, true), 0);
        cluster_bed_advance(&c, rows[i].error == ERR_TIMEOUT ? 8000 : 300);
        assert_int_equal(request.ended, 1);
        assert_int_equal(request.error, rows[i].error);
        assert_int_equal(asked_id, 5);
    }
    assert_int_equal(core_member_promote(c.beds[follower].core, begin(&request), 5, true), 0);
    core_cancel(c.beds[follower].core, &request.request);
    cluster_bed_advance(&c, 300);
    assert_int_equal(request.ended, 0);
    cluster_bed_close(&c);
}

static void test_a_learner_is_promoted_when_it_has_the_log(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    struct bed_request request;
    uint64_t id;
    size_t leader = open_ready(&c, 3);
    struct core_bed *bed = &c.beds[leader];
    assert_int_equal(add(bed, &request, "http://x:1", true, &id), 0);
    cluster_bed_advance(&c, 200);
    assert_int_equal(core_member_promote(bed->core, begin(&request), id, true), ERR_LEARNER_NOT_READY);
    assert_int_equal(core_member_promote(bed->core, begin(&request), leader + 1, true), 0);
    cluster_bed_advance(&c, 200);
    assert_int_equal(request.error, ERR_MEMBER_NOT_LEARNER);
    cluster_bed_close(&c);
}

/* --- the cluster's version --- */

static const char *old_version;

static bool version_page(struct core_bed *bed, struct core_peer_call *call)
{
    if (bed->id != 3 || old_version == NULL || strcmp(call->path, "/version") != 0) {
        return false;
    }
    call->status = 200;
    call->response = bytes_str(old_version);
    return true;
}

static void test_the_cluster_has_the_version_of_its_oldest_member(void **state)
{
    (void)state;
    struct cluster_bed c = {.page = version_page};
    old_version = "{\"etcdserver\":\"3.6.4\",\"etcdcluster\":\"not_decided\"}";
    c.beds[2].config.election_ms = 30000; /* it follows: the others ask it */
    cluster_bed_open(&c, 3);
    cluster_bed_ready(&c);
    cluster_bed_advance(&c, 5000);
    assert_string_equal(kv_cluster_version(c.beds[0].kv), "3.6.0");
    old_version = NULL; /* it was upgraded */
    cluster_bed_advance(&c, 5000);
    assert_string_equal(kv_cluster_version(c.beds[0].kv), "3.7.0");
    assert_string_equal(kv_cluster_version(c.beds[2].kv), "3.7.0");
    old_version = "{\"etcdserver\":\"3.6.4\"}"; /* nothing goes down by itself */
    cluster_bed_advance(&c, 10000);
    assert_string_equal(kv_cluster_version(c.beds[0].kv), "3.7.0");
    cluster_bed_close(&c);
}

static void test_a_member_that_does_not_answer_leaves_the_version_open(void **state)
{
    (void)state;
    struct cluster_bed c = {0};
    cluster_bed_open(&c, 3);
    cluster_bed_isolate(&c, 2, true);
    size_t leader = cluster_bed_elect(&c, CLUSTER_BED_NONE);
    cluster_bed_advance(&c, 10000);
    assert_string_equal(kv_cluster_version(c.beds[leader].kv), "3.0.0");
    cluster_bed_isolate(&c, 2, false);
    cluster_bed_advance(&c, 10000);
    assert_string_equal(kv_cluster_version(c.beds[2].kv), "3.7.0");
    cluster_bed_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_that_are_asked_for_at_once_are_made_one_after_the_other),
        cmocka_unit_test(test_a_change_that_nobody_waits_for_any_more_holds_the_next_one_back_too),
        cmocka_unit_test(test_a_member_that_is_added_again_at_once_gets_another_id),
        cmocka_unit_test(test_a_change_waits_for_a_leader_and_ends_in_time_without_one),
        cmocka_unit_test(test_what_would_cost_the_quorum_is_refused_before_it_is_proposed),
        cmocka_unit_test(test_the_last_voter_stays),
        cmocka_unit_test(test_a_follower_asks_the_leader_to_promote),
        cmocka_unit_test(test_a_learner_is_promoted_when_it_has_the_log),
        cmocka_unit_test(test_the_cluster_has_the_version_of_its_oldest_member),
        cmocka_unit_test(test_a_member_that_does_not_answer_leaves_the_version_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
