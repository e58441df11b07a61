/* core_view: a view at a position, at most two, cut when nobody takes from it, ended with the core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/core_bed.h"

struct bed_view {
    struct core_view view;
    unsigned opened, cut, closed, worked;
    int error, reason;
    bool close_at_cut;
};

static void opened(struct core_view *view, int error)
{
    struct bed_view *v = view->owner;
    v->opened++;
    v->error = error;
    if (error != 0) {
        core_view_close(view);
    }
}

static void cut(struct core_view *view, int reason)
{
    struct bed_view *v = view->owner;
    v->cut++;
    v->reason = reason;
    if (v->close_at_cut) {
        core_view_close(view);
    }
}

static void closed(struct core_view *view)
{
    struct bed_view *v = view->owner;
    v->closed++;
}

static int open_view(struct core_bed *bed, struct bed_view *v)
{
    bool for_client = v->view.for_client;
    v->view = (struct core_view){.opened = opened, .cut = cut, .closed = closed, .owner = v, .for_client = for_client};
    v->close_at_cut = true;
    return core_view_open(bed->core, &v->view, 0);
}

static int count_keys(void *arg)
{
    struct bed_view *v = arg;
    return (int)backend_count(v->view.read, BACKEND_KEY);
}

static void worked(struct core_view *view, int result)
{
    struct bed_view *v = view->owner;
    v->worked++;
    v->error = result;
}

static void setup_bed(struct core_bed *bed)
{
    core_bed_open(bed);
    core_bed_ready(bed);
}

static void test_a_view_has_all_that_was_applied_and_says_where_it_is(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_request put = {0};
    struct bed_view v = {0};
    setup_bed(&bed);
    assert_int_equal(core_bed_put(&bed, &put, "a", "1", 0), 0);
    while (put.ended == 0) {
        core_bed_turn(&bed);
    }
    assert_int_equal(open_view(&bed, &v), 0);
    core_bed_run(&bed);
    assert_int_equal(v.opened, 1);
    assert_int_equal(v.error, 0);
    assert_int_equal(v.view.at.index, kv_applied_index(bed.kv));
    assert_int_equal(v.view.at.term, kv_stats(bed.kv).applied_term);
    assert_int_equal(v.view.revision, 2);
    assert_int_equal(v.view.compact_revision, -1);
    assert_int_equal(v.view.conf.voters.count, 1);
    assert_int_equal(v.view.conf.learners.count, 0);
    /* what comes later is not in it */
    assert_int_equal(core_bed_put(&bed, &put, "b", "1", 0), 0);
    core_bed_advance(&bed, 500);
    core_view_work(&v.view, count_keys, &v, worked);
    core_bed_run(&bed);
    assert_int_equal(v.worked, 1);
    assert_int_equal(v.error, 1);
    core_view_close(&v.view);
    assert_int_equal(v.closed, 1);
    core_bed_close(&bed);
}

static void test_a_third_view_waits_and_clients_have_one(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_view a = {0}, b = {0}, c = {0};
    setup_bed(&bed);
    a.view.for_client = b.view.for_client = true;
    assert_int_equal(open_view(&bed, &a), 0);
    assert_int_equal(open_view(&bed, &b), 0);
    core_bed_run(&bed);
    assert_int_equal(a.opened, 1);
    assert_int_equal(b.opened, 0);
    assert_int_equal(open_view(&bed, &c), 0);
    core_bed_run(&bed);
    assert_int_equal(c.opened, 1);
    core_view_close(&c.view);
    core_bed_run(&bed);
    assert_int_equal(b.opened, 0);
    core_view_close(&a.view);
    core_bed_run(&bed);
    assert_int_equal(b.opened, 1);
    core_view_close(&b.view);
    core_bed_close(&bed);
}

static void test_a_view_without_progress_is_cut_after_thirty_seconds(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_view v = {0};
    setup_bed(&bed);
    assert_int_equal(open_view(&bed, &v), 0);
    core_bed_advance(&bed, 20000);
    core_view_progress(&v.view);
    core_bed_advance(&bed, 29000);
    assert_int_equal(v.cut, 0);
    core_bed_advance(&bed, 2000);
    assert_int_equal(v.cut, 1);
    assert_int_equal(v.reason, ERR_TIMEOUT);
    assert_int_equal(v.closed, 1);
    core_bed_close(&bed);
}

static void test_a_view_closed_while_a_job_has_it_ends_with_the_job(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_view opening = {0}, working = {0}, waiting = {0};
    setup_bed(&bed);
    bed.store_held = true;
    assert_int_equal(open_view(&bed, &opening), 0);
    core_bed_run(&bed);
    core_view_close(&opening.view);
    assert_int_equal(opening.closed, 0);
    bed.store_held = false;
    core_bed_run(&bed);
    assert_int_equal(opening.closed, 1);
    assert_int_equal(opening.opened, 0);
    assert_int_equal(open_view(&bed, &working), 0);
    core_bed_run(&bed);
    bed.work_held = true;
    core_view_work(&working.view, count_keys, &working, worked);
    core_bed_run(&bed);
    core_view_close(&working.view);
    assert_int_equal(working.closed, 0);
    bed.work_held = false;
    core_bed_run(&bed);
    assert_int_equal(working.closed, 1);
    assert_int_equal(working.worked, 0);
    assert_int_equal(open_view(&bed, &waiting), 0);
    core_view_close(&waiting.view);
    assert_int_equal(waiting.closed, 1);
    core_bed_close(&bed);
}

static void test_a_stop_ends_views_that_wait_and_cuts_open_ones(void **state)
{
    (void)state;
    struct core_bed bed = {0};
    struct bed_view open = {0}, waiting = {0};
    setup_bed(&bed);
    assert_int_equal(open_view(&bed, &open), 0);
    core_bed_run(&bed);
    assert_int_equal(open_view(&bed, &waiting), 0);
    core_bed_stop(&bed);
    assert_int_equal(open.reason, ERR_STOPPED);
    assert_int_equal(open.closed, 1);
    assert_int_equal(waiting.opened, 1);
    assert_int_equal(waiting.error, ERR_STOPPED);
    assert_int_equal(waiting.closed, 1);
    assert_true(core_stopped(bed.core));
    core_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_view_has_all_that_was_applied_and_says_where_it_is),
        cmocka_unit_test(test_a_third_view_waits_and_clients_have_one),
        cmocka_unit_test(test_a_view_without_progress_is_cut_after_thirty_seconds),
        cmocka_unit_test(test_a_view_closed_while_a_job_has_it_ends_with_the_job),
        cmocka_unit_test(test_a_stop_ends_views_that_wait_and_cuts_open_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
