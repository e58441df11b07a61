#include "cmd/kedgectl/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define MB UINT64_C(1000000)

static void expect_line(const struct progress *p, uint64_t now_ns, unsigned columns, const char *expected)
{
    char line[PROGRESS_LINE];
    progress_line(p, now_ns, columns, line);
    assert_string_equal(line, expected);
    assert_true(strlen(line) < columns);
}

static void test_a_line_has_part_rate_and_time_left(void **state)
{
    struct progress p = {.fd = -1};
    (void)state;
    progress_mark(&p, SECOND, 0, 400 * MB);
    expect_line(&p, SECOND, 80, "  0 % [>                        ] 0 of 400 MB, 0 kB/s, -");
    progress_mark(&p, 2 * SECOND, 100 * MB, 400 * MB);
    expect_line(&p, 2 * SECOND, 80, " 25 % [======>                  ] 100 of 400 MB, 100 MB/s, 3 s left");
    progress_mark(&p, 5 * SECOND, 400 * MB, 400 * MB);
    expect_line(&p, 5 * SECOND, 80, "100 % [=========================] 400 of 400 MB, 100 MB/s, 0 s left");
}

static void test_the_rate_is_that_of_the_last_seconds(void **state)
{
    struct progress p = {.fd = -1};
    char line[PROGRESS_LINE];
    (void)state;
    for (uint64_t i = 0; i <= 40; i++) { /* ten seconds of 100 MB/s */
        progress_mark(&p, i * SECOND / 4, i * 25 * MB, 0);
    }
    for (uint64_t i = 1; i <= 20; i++) { /* then five of 8 MB/s */
        progress_mark(&p, 10 * SECOND + i * SECOND / 4, 1000 * MB + i * 2 * MB, 0);
    }
    progress_line(&p, 15 * SECOND, 80, line);
    assert_non_null(strstr(line, ", 8 MB/s, "));
}

static void test_what_does_not_move_is_stalled(void **state)
{
    struct progress p = {.fd = -1};
    char line[PROGRESS_LINE];
    (void)state;
    for (uint64_t i = 0; i <= PROGRESS_MARKS; i++) {
        progress_mark(&p, i * SECOND, 5 * MB, 10 * MB);
    }
    progress_line(&p, PROGRESS_MARKS * SECOND, 80, line);
    assert_non_null(strstr(line, "5 of 10 MB, 0 kB/s, stalled"));
}

static void test_long_times_are_told_in_hours(void **state)
{
    struct progress p = {.fd = -1};
    char line[PROGRESS_LINE];
    (void)state;
    progress_mark(&p, 0, 0, 8000000 * MB);
    progress_mark(&p, SECOND, 1000 * MB, 8000000 * MB);
    progress_line(&p, SECOND, 80, line);
    assert_non_null(strstr(line, "2 h 13 min left"));
    assert_non_null(strstr(line, "1 of 8000 GB"));
}

static void test_narrow_terminals_get_shorter_lines(void **state)
{
    struct progress p = {.fd = -1};
    char line[PROGRESS_LINE];
    (void)state;
    progress_mark(&p, 0, 0, 400 * MB);
    progress_mark(&p, SECOND, 100 * MB, 400 * MB);
    expect_line(&p, SECOND, 50, " 25 % 100 of 400 MB, 100 MB/s, 3 s left");
    expect_line(&p, SECOND, 10, " 25 % 100");
    for (unsigned columns = 0; columns < 400; columns++) {
        progress_line(&p, SECOND, columns, line);
        assert_true(strlen(line) < (columns < 2 ? 2 : columns));
    }
}

static void test_without_a_length_there_is_no_part(void **state)
{
    struct progress p = {.fd = -1};
    (void)state;
    progress_mark(&p, 0, 0, 0);
    progress_mark(&p, SECOND, 5000, 0);
    expect_line(&p, SECOND, 80, "5 kB, 5 kB/s, -");
}

static void test_a_pipe_gets_nothing(void **state)
{
    struct progress p;
    int ends[2];
    char byte;
    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    progress_begin(&p, ends[1]);
    assert_false(progress_is_shown(&p));
    progress_set(&p, 1, 2);
    progress_set(&p, 2, 2);
    progress_clear(&p);
    assert_int_equal(read(ends[0], &byte, 1), -1);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_part_rate_and_time_left),
        cmocka_unit_test(test_the_rate_is_that_of_the_last_seconds),
        cmocka_unit_test(test_what_does_not_move_is_stalled),
        cmocka_unit_test(test_long_times_are_told_in_hours),
        cmocka_unit_test(test_narrow_terminals_get_shorter_lines),
        cmocka_unit_test(test_without_a_length_there_is_no_part),
        cmocka_unit_test(test_a_pipe_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
