#include "base/hash128.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

enum { KEYS = 200000 };

struct hash {
    uint64_t half[2];
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash));
}

/* Each half by itself is as good as a random number: 200,000 of them share none of 64 bits. */
static void test_keys_that_look_alike_share_no_half(void **state)
{
    (void)state;
    struct hash *hashes = malloc(KEYS * sizeof *hashes);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < KEYS; i++) {
            char key[64];
            int len = snprintf(key, sizeof key, "/registry/pods/namespace-%d/pod-%d", i % 7, i);
            hash128(bytes_of(key, (size_t)len), hashes[i].half);
            hashes[i].half[!half] = 0;
        }
        qsort(hashes, KEYS, sizeof *hashes, compare);
        for (int i = 1; i < KEYS; i++) {
            assert_int_not_equal(compare(&hashes[i - 1], &hashes[i]), 0);
        }
    }
    free(hashes);
}

static void test_zeroes_at_the_end_count(void **state)
{
    (void)state;
    static const uint8_t zeroes[24];
    struct hash hashes[sizeof zeroes + 1], again;
    for (size_t i = 0; i <= sizeof zeroes; i++) {
        hash128(bytes_of(zeroes, i), hashes[i].half);
        hash128(bytes_of(zeroes, i), again.half);
        assert_int_equal(compare(&again, &hashes[i]), 0);
        for (size_t j = 0; j < i; j++) {
            assert_true(hashes[j].half[0] != hashes[i].half[0] && hashes[j].half[1] != hashes[i].half[1]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_that_look_alike_share_no_half),
        cmocka_unit_test(test_zeroes_at_the_end_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
