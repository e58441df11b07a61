/* The catalog beside a dumb twin that remembers every entry's place and term. */
#include "base/random.h"
#include "raft/wal/wal_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 4000 };

struct twin {
    uint64_t first, last;
    struct {
        uint64_t term, sequence, offset;
    } at[MOST];
};

static void compare(const struct wal_catalog *c, const struct twin *t)
{
    assert_int_equal(c->last + 1 - c->first, t->last + 1 - t->first);
    for (uint64_t i = t->first; i <= t->last; i++) {
        struct wal_mark mark;
        uint64_t until;
        assert_int_equal(wal_catalog_term(c, i), t->at[i].term);
        assert_true(wal_catalog_find(c, i, &mark, &until));
        /* the mark is an entry at or before i, from which on all stand in one segment in ascending order */
        assert_true(mark.index <= i && until >= i && until <= t->last);
        assert_int_equal(mark.offset, t->at[mark.index].offset);
        for (uint64_t k = mark.index; k <= until; k++) {
            assert_int_equal(t->at[k].sequence, mark.segment.sequence);
            assert_true(k == mark.index || t->at[k].offset > t->at[k - 1].offset);
        }
    }
    struct wal_mark mark;
    uint64_t until;
    assert_false(wal_catalog_find(c, t->last + 1, &mark, &until));
    assert_false(wal_catalog_find(c, t->first - 1, &mark, &until));
    assert_int_equal(wal_catalog_term(c, t->last + 1), 0);
}

static void one_run(uint64_t seed)
{
    struct random r;
    struct wal_catalog c;
    struct twin *t = mem_zalloc(sizeof *t);
    uint64_t sequence = 0, offset = 64, term = 1;
    random_seed(&r, seed);
    wal_catalog_init(&c, 1);
    t->first = 1;
    t->last = 0;
    for (int step = 0; step < 1500; step++) {
        uint64_t index = t->last + 1, what = random_below(&r, 100);
        if (what < 3 && t->last >= t->first) { /* replaces some */
            index = t->first + random_below(&r, t->last + 1 - t->first);
            term++;
        } else if (what == 3 && t->last + 60 < MOST) { /* a snapshot was received: a gap */
            index = t->last + 2 + random_below(&r, 50);
            term += random_below(&r, 2);
        } else if (what == 4) {
            sequence++;
            offset = 100;
        } else if (what == 5 && sequence > 0 && t->last >= t->first) {
            uint64_t until = random_below(&r, sequence + 1);
            wal_catalog_release(&c, until);
            while (t->first <= t->last && t->at[t->first].sequence < until) {
                t->first++;
            }
            if (t->first <= t->last) {
                compare(&c, t);
            }
            continue;
        }
        if (index >= MOST) {
            break;
        }
        struct wal_mark at = {.index = index, .segment = {.sequence = sequence}, .offset = offset};
        wal_catalog_add(&c, index, term, &at);
        if (index > t->last + 1 || t->last < t->first) {
            t->first = index;
        }
        t->last = index;
        t->at[index].term = term;
        t->at[index].sequence = sequence;
        t->at[index].offset = offset;
        offset += 8 + random_below(&r, 20000);
        if (step % 50 == 0) {
            compare(&c, t);
        }
    }
    compare(&c, t);
    wal_catalog_free(&c);
    free(t);
}

static void test_it_knows_what_a_list_of_all_entries_knows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        one_run(seed);
    }
}

static void test_a_mark_stands_for_64_kib(void **state)
{
    (void)state;
    struct wal_catalog c;
    wal_catalog_init(&c, 1);
    for (uint64_t i = 1; i <= 100000; i++) {
        struct wal_mark at = {.index = i, .offset = i * 640};
        wal_catalog_add(&c, i, 1, &at);
    }
    assert_true(c.mark_count < 1000);
    assert_int_equal(c.terms.count, 1);
    wal_catalog_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_knows_what_a_list_of_all_entries_knows),
        cmocka_unit_test(test_a_mark_stands_for_64_kib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
