/* The bounded log beside a dumb twin that keeps everything. */
#include "base/random.h"
#include "raft/raft_log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 5000, BOUND = 3000 };

struct twin {
    uint64_t start, last, applied;
    uint64_t terms[MOST];
    struct shared *data[MOST];
};

static void forget(struct twin *t, uint64_t from)
{
    for (uint64_t i = from; i <= t->last; i++) {
        shared_unref(t->data[i]);
        t->data[i] = NULL;
    }
    t->last = from - 1;
}

/* Entries that can be sent from an index on, and where a search for a term ends, against one step at a time. */
static void compare_views(const struct raft_log *l, const struct twin *t)
{
    for (uint64_t i = t->start; i <= t->last; i++) {
        size_t count, plain = 0;
        bool here = true;
        const struct raft_entry *view = raft_log_view(l, i, &count);
        while (raft_log_slot(l, i + plain, &here) != NULL && here) {
            plain++;
        }
        assert_int_equal(count, plain);
        assert_true(count == 0 || view->index == i);
    }
    for (uint64_t term = 0; term <= t->terms[t->last] + 1; term++) {
        uint64_t plain = t->last;
        while (plain > t->start && t->terms[plain] > term) {
            plain--;
        }
        assert_int_equal(raft_log_last_of_term(l, t->last, term), plain);
    }
}

static void compare(const struct raft_log *l, const struct twin *t)
{
    compare_views(l, t);
    size_t sum = 0;
    assert_int_equal(l->last, t->last);
    assert_int_equal(l->start.index, t->start);
    for (uint64_t i = t->start; i <= t->last; i++) {
        assert_int_equal(raft_log_term(l, i), t->terms[i]);
    }
    assert_true(l->first <= t->applied + 1);
    for (uint64_t i = l->first; i <= l->last; i++) {
        bool here;
        const struct raft_entry *e = raft_log_slot(l, i, &here);
        assert_int_equal(e->index, i);
        assert_int_equal(e->term, t->terms[i]);
        assert_true(here || i <= l->durable);
        if (here) {
            assert_ptr_equal(e->data, t->data[i]);
            sum += raft_entry_bytes(e);
        } else {
            assert_null(e->data);
            assert_true(i > t->applied); /* what was applied had to come back before */
        }
    }
    assert_int_equal(sum, l->bytes);
}

/* What is above the bound is not durable yet, or the one entry that is applied next. */
static void check_bound(const struct raft_log *l, const struct twin *t)
{
    size_t must_stay = 0;
    for (uint64_t i = l->first; i <= l->last; i++) {
        if (i > l->durable || i == t->applied + 1) {
            must_stay += t->data[i] == NULL ? 0 : t->data[i]->len;
        }
    }
    assert_true(l->bytes <= BOUND || l->bytes <= must_stay);
}

static void add(struct raft_log *l, struct twin *t, struct random *r, uint64_t term)
{
    size_t len = random_below(r, 4) == 0 ? 0 : random_below(r, 400);
    struct raft_entry e = {.index = t->last + 1, .term = term, .data = len == 0 ? NULL : shared_new(len)};
    raft_log_append(l, &e);
    t->last++;
    t->terms[t->last] = term;
    t->data[t->last] = e.data;
}

/* Applies the next entry, bringing it back first if need be. */
static void apply(struct raft_log *l, struct twin *t, struct random *r)
{
    bool here;
    uint64_t next = t->applied + 1;
    assert_non_null(raft_log_slot(l, next, &here));
    if (!here) {
        uint64_t n = 1 + random_below(r, 5);
        for (uint64_t i = next; i < next + n && i <= t->last; i++) {
            struct raft_entry e = {.index = i, .term = t->terms[i], .data = t->data[i]};
            raft_log_fill(l, &e);
        }
        raft_log_trim(l, t->applied);
        assert_non_null(raft_log_slot(l, next, &here));
        assert_true(here);
    }
    t->applied = next;
    raft_log_trim(l, t->applied);
}

static void one_run(uint64_t seed)
{
    struct random r;
    struct raft_log l;
    struct twin *t = mem_zalloc(sizeof *t);
    uint64_t term = 3;
    random_seed(&r, seed);
    t->start = t->last = t->applied = 10;
    t->terms[10] = 2;
    raft_log_init(&l, (struct raft_position){.index = 10, .term = 2}, BOUND);
    for (int step = 0; step < 4000 && t->last + 10 < MOST; step++) {
        uint64_t what = random_below(&r, 100);
        /* phases in which apply lags and catches up */
        uint64_t applies = step % 1000 < 500 ? 10 : 60;
        if (what < 30) {
            term += random_below(&r, 20) == 0;
            add(&l, t, &r, term);
        } else if (what < 38) {
            l.saved = l.last;
        } else if (what < 40 && t->last > t->applied) {
            uint64_t from = t->applied + 1 + random_below(&r, t->last - t->applied);
            forget(t, from);
            raft_log_truncate(&l, from);
        } else if (what < 40 + applies && t->applied < l.durable) {
            apply(&l, t, &r);
        } else if (what >= 98) {
            uint64_t to = t->start + random_below(&r, t->applied + 1 - t->start);
            raft_log_compact(&l, to);
            t->start = to;
        } else {
            l.durable = l.saved;
            raft_log_trim(&l, t->applied);
            check_bound(&l, t);
        }
        if (step % 20 == 0) {
            compare(&l, t);
        }
    }
    compare(&l, t);
    raft_log_free(&l);
    for (uint64_t i = 0; i < MOST; i++) {
        shared_unref(t->data[i]);
    }
    free(t);
}

static void test_it_keeps_what_the_twin_keeps_within_its_bound(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        one_run(seed);
    }
}

static void test_an_entry_that_is_another_one_does_not_fill(void **state)
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, (struct raft_position){0}, 0);
    for (uint64_t i = 1; i <= 4; i++) {
        struct raft_entry e = {.index = i, .term = 1, .data = shared_new(10)};
        raft_log_append(&l, &e);
        shared_unref(e.data);
    }
    l.saved = l.durable = 4;
    raft_log_trim(&l, 0);
    struct raft_entry wrong = {.index = 2, .term = 2};
    assert_false(raft_log_fill(&l, &wrong));
    struct raft_entry later = {.index = 3, .term = 1};
    assert_false(raft_log_fill(&l, &later));
    struct raft_entry here = {.index = 1, .term = 1};
    assert_true(raft_log_fill(&l, &here));
    raft_log_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_keeps_what_the_twin_keeps_within_its_bound),
        cmocka_unit_test(test_an_entry_that_is_another_one_does_not_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
