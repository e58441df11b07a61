/* What was sent and not heard of, beside a plain list. */
#include "base/random.h"
#include "raft/inflight.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_it_counts_what_a_plain_list_counts(void **state)
{
    (void)state;
    struct random r;
    random_seed(&r, 5);
    struct inflight f = {0};
    uint64_t lasts[100000], last = 0;
    size_t sizes[100000], head = 0, tail = 0;
    for (int step = 0; step < 50000; step++) {
        if (random_below(&r, 3) != 0 && !inflight_full(&f)) {
            last += 1 + random_below(&r, 5);
            lasts[tail] = last;
            sizes[tail] = random_below(&r, 100);
            inflight_add(&f, last, sizes[tail++]);
        } else if (last > 0) {
            uint64_t upto = last - random_below(&r, last < 20 ? last : 20);
            inflight_acknowledge(&f, upto);
            while (head < tail && lasts[head] <= upto) {
                head++;
            }
        }
        size_t bytes = 0;
        for (size_t i = head; i < tail; i++) {
            bytes += sizes[i];
        }
        assert_int_equal(f.count, tail - head);
        assert_int_equal(f.bytes, bytes);
    }
    inflight_free(&f);
}

static void test_it_is_full_at_512_messages_or_at_its_bytes(void **state)
{
    (void)state;
    struct inflight f = {0};
    for (uint64_t i = 1; i <= INFLIGHT_MESSAGES_MAX; i++) {
        assert_false(inflight_full(&f));
        inflight_add(&f, i, 1);
    }
    assert_true(inflight_full(&f));
    inflight_acknowledge(&f, 1);
    assert_false(inflight_full(&f));
    inflight_clear(&f);
    inflight_add(&f, 1000, INFLIGHT_BYTES_MAX);
    assert_true(inflight_full(&f));
    inflight_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_counts_what_a_plain_list_counts),
        cmocka_unit_test(test_it_is_full_at_512_messages_or_at_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
