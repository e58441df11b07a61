/* When backups are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "snapshot/backup_schedule.h"
#include <stdio.h>
#include <time.h>

static int64_t moment(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
    assert_true(end != NULL && *end == '\0');
    return (int64_t)timegm(&tm);
}

static struct backup_schedule parse(const char *text)
{
    struct arena arena = {0};
    struct backup_schedule schedule;
    const char *error = backup_schedule_parse(&arena, text, &schedule);
    if (error != NULL) {
        fail_msg("%s: %s", text, error);
    }
    arena_free(&arena);
    return schedule;
}

static void expect_next(const char *text, const char *after, const char *expected)
{
    struct backup_schedule schedule = parse(text);
    int64_t next = backup_schedule_next(&schedule, moment(after));
    if (next != moment(expected)) {
        fail_msg("%s after %s: %lld, expected %s (%lld)", text, after, (long long)next, expected,
                 (long long)moment(expected));
    }
    assert_int_equal(backup_schedule_last(&schedule, next), next);
    int64_t before = backup_schedule_last(&schedule, next - 1);
    assert_true(before <= moment(after));
}

static void test_fields_of_cron_give_the_next_slot(void **state)
{
    (void)state;
    expect_next("* * * * *", "2026-11-23 12:00:00", "2026-11-23 12:01:00");
    expect_next("* * * * *", "2026-11-23 12:00:59", "2026-11-23 12:01:00");
    expect_next("15 3 * * *", "2026-11-23 03:14:59", "2026-11-23 03:15:00");
    expect_next("15 3 * * *", "2026-11-23 03:15:00", "2026-11-24 03:15:00");
    expect_next("*/20 * * * *", "2026-11-23 12:41:00", "2026-11-23 13:00:00");
    expect_next("5/20 8-9 * * *", "2026-11-23 09:45:00", "2026-11-24 08:05:00");
    expect_next("0 0,12 1 */3 *", "2026-11-23 12:00:00", "2027-01-01 00:00:00");
    expect_next("0 0 * JAN mon", "2026-11-23 12:00:00", "2027-01-04 00:00:00");
    expect_next("0 22 * * mon-fri", "2026-11-27 22:00:00", "2026-11-30 22:00:00");
    expect_next("0 22 * * 7", "2026-11-23 00:00:00", "2026-11-29 22:00:00");
    expect_next("\t0  22 * *\t0 ", "2026-11-23 00:00:00", "2026-11-29 22:00:00");
    expect_next("59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59:00");
}

static void test_either_of_two_days_is_enough_when_both_are_given(void **state)
{
    (void)state;
    expect_next("0 0 13 * fri", "2026-11-23 00:00:00", "2026-11-27 00:00:00");
    expect_next("0 0 25 * fri", "2026-11-23 00:00:00", "2026-11-25 00:00:00");
    expect_next("0 0 */2 * fri", "2026-11-23 00:00:00", "2026-11-27 00:00:00"); /* begins with *: both must hold */
}

static void test_leap_days_are_found_over_a_century(void **state)
{
    (void)state;
    expect_next("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00");
    expect_next("0 0 29 feb *", "2096-02-29 00:00:00", "2104-02-29 00:00:00");
    expect_next("0 0 */7 jan 5", "2094-01-30 00:00:00", "2100-01-01 00:00:00"); /* a Friday, the 1st or 8th and so on */
    expect_next("0 0 29 feb */7", "2088-02-29 00:00:00", "2128-02-29 00:00:00"); /* a Sunday */
}

static void test_names_and_intervals(void **state)
{
    (void)state;
    expect_next("@hourly", "2026-11-23 12:00:00", "2026-11-23 13:00:00");
    expect_next("@daily", "2026-11-23 12:00:00", "2026-11-24 00:00:00");
    expect_next("@midnight", "2026-11-23 12:00:00", "2026-11-24 00:00:00");
    expect_next("@weekly", "2026-11-23 12:00:00", "2026-11-29 00:00:00");
    expect_next("@monthly", "2026-11-23 12:00:00", "2026-12-01 00:00:00");
    expect_next("@yearly", "2026-11-23 12:00:00", "2027-01-01 00:00:00");
    expect_next("15m", "2026-11-23 12:14:59", "2026-11-23 12:15:00");
    expect_next("15m", "2026-11-23 12:15:00", "2026-11-23 12:30:00");
    expect_next("@every 1h30m", "1970-01-01 01:29:00", "1970-01-01 01:30:00");
    expect_next("1s", "2026-11-23 12:14:59", "2026-11-23 12:15:00");
}

static void test_what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "60 * * * *",  "* 24 * * *",   "* * 0 * *",   "* * 32 * *",  "* * * 13 *",     "* * * 0 *",  "* * * * 8",
        "* * * *",     "* * * * * *",  "5-3 * * * *", "*/0 * * * *", "1,, * * * *",    ", * * * *",  "- * * * *",
        "1- * * * *",  "a * * * *",    "* * * foo *", "0 0 30 2 *",  "0 0 31 4,6,9 *", "@fortnight", "@every",
        "@every five", "0s",           "500ms",       "-1h",         "1.5s",           "tomorrow",   "* * * * mon*",
        "1 2",         "1000 * * * *", "0/0 * * * *",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct arena arena = {0};
        struct backup_schedule schedule;
        if (backup_schedule_parse(&arena, bad[i], &schedule) == NULL) {
            fail_msg("%s was taken", bad[i]);
        }
        arena_free(&arena);
    }
}

static void test_no_schedule_has_no_slot(void **state)
{
    (void)state;
    struct backup_schedule schedule = parse("");
    assert_int_equal(backup_schedule_next(&schedule, 1000), 0);
    assert_int_equal(backup_schedule_last(&schedule, 1000), 0);
    schedule = parse("1h");
    assert_int_equal(backup_schedule_next(&schedule, -1), 0);
    assert_int_equal(backup_schedule_next(&schedule, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_cron_give_the_next_slot),
        cmocka_unit_test(test_either_of_two_days_is_enough_when_both_are_given),
        cmocka_unit_test(test_leap_days_are_found_over_a_century),
        cmocka_unit_test(test_names_and_intervals),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
        cmocka_unit_test(test_no_schedule_has_no_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
