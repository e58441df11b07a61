/* Which backups stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "snapshot/backup_keep.h"

#define HOUR 3600
#define DAY 86400
#define MONDAY (INT64_C(20780) * DAY) /* 2026-11-23 */

static struct backup_keep parse(const char *text)
{
    struct arena arena = {0};
    struct backup_keep keep;
    const char *error = backup_keep_parse(&arena, text, &keep);
    if (error != NULL) {
        fail_msg("%s: %s", text, error);
    }
    arena_free(&arena);
    return keep;
}

/* What is kept, as "1" and "0", newest first. */
static void expect(const char *policy, const struct backup_age *given, size_t count, const char *kept)
{
    struct backup_keep keep = parse(policy);
    struct backup_age items[64];
    char text[65] = "";
    memcpy(items, given, count * sizeof *given);
    backup_keep_choose(&keep, items, count);
    for (size_t i = 0; i < count; i++) {
        text[i] = items[i].keep ? '1' : '0';
    }
    assert_string_equal(text, kept);
}

static void test_a_count_keeps_the_last_ones(void **state)
{
    (void)state;
    const struct backup_age items[] = {{400, true, false}, {300, true, false}, {200, true, false}, {100, true, false}};
    expect("2", items, 4, "1100");
    expect("last=3", items, 4, "1110");
    expect("9", items, 4, "1111");
    expect("", items, 4, "1111");
    expect("all", items, 4, "1111");
}

static void test_classes_keep_the_last_of_each_period(void **state)
{
    (void)state;
    const struct backup_age items[] = {
        {MONDAY + 12 * HOUR + 1800, true, false},
        {MONDAY + 12 * HOUR, true, false},
        {MONDAY + 11 * HOUR, true, false},
        {MONDAY, true, false},
        {MONDAY - 1, true, false}, /* Sunday: another week */
        {MONDAY - DAY, true, false},
        {MONDAY - 8 * DAY, true, false},
    };
    expect("hourly=2", items, 7, "1010000");
    expect("daily=2", items, 7, "1000100");
    expect("weekly=3", items, 7, "1000101");
    expect("hourly=1,daily=3", items, 7, "1000101");
    expect("monthly=5", items, 7, "1000000");
    expect("yearly=2,last=2", items, 7, "1100000");
}

static void test_the_last_good_one_is_never_given_up(void **state)
{
    (void)state;
    const struct backup_age items[] = {
        {500, false, false}, {400, false, false}, {300, true, false}, {200, false, false}, {100, true, false}};
    expect("1", items, 5, "11100");
    expect("hourly=0,last=1", items, 5, "11100");
    const struct backup_age bad[] = {{500, false, false}, {400, false, false}};
    expect("1", bad, 2, "11");
}

static void test_any_policy_keeps_the_newest_good_one_and_no_more_than_it_says(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 7);
    for (int round = 0; round < 2000; round++) {
        struct backup_keep keep = {0};
        struct backup_age items[40];
        size_t count = random_below(&random, 40), good = 0, kept = 0, allowed = 1;
        for (int i = 0; i < BACKUP_CLASSES; i++) {
            keep.count[i] = (uint32_t)random_below(&random, 4);
            allowed += keep.count[i];
        }
        int64_t at = MONDAY;
        for (size_t i = 0; i < count; i++) {
            at -= (int64_t)random_below(&random, 2 * DAY);
            items[i] = (struct backup_age){.time_s = at, .good = random_below(&random, 4) != 0};
        }
        backup_keep_choose(&keep, items, count);
        for (size_t i = 0; i < count; i++) {
            if (items[i].good && good++ == 0) {
                assert_true(items[i].keep);
            }
            kept += items[i].good && items[i].keep;
        }
        assert_true(kept <= allowed);
    }
}

static void test_what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",          "-1", "seven", "hourly",           "hourly=",    "hourly=x",
                                      "minutely=3", "3,", "=3",    "daily=0,weekly=0", "99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct arena arena = {0};
        struct backup_keep keep;
        if (backup_keep_parse(&arena, bad[i], &keep) == NULL) {
            fail_msg("%s was taken", bad[i]);
        }
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_count_keeps_the_last_ones),
        cmocka_unit_test(test_classes_keep_the_last_of_each_period),
        cmocka_unit_test(test_the_last_good_one_is_never_given_up),
        cmocka_unit_test(test_any_policy_keeps_the_newest_good_one_and_no_more_than_it_says),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
