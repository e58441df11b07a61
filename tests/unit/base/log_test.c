#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* What one call writes to stderr. */
static char written[4096];
static int saved_stderr = -1;
static int pipe_ends[2];

static void capture_begin(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[1]);
}

static const char *capture_end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    ssize_t n = read(pipe_ends[0], written, sizeof written - 1);
    written[n < 0 ? 0 : n] = '\0';
    close(pipe_ends[0]);
    return written;
}

static int64_t fixed_clock(void)
{
    return 1767366245000042; /* 2026-01-02T15:04:05.000042Z */
}

static int setup(void **state)
{
    (void)state;
    log_clock(fixed_clock);
    return 0;
}

#define HEAD(level) "{\"level\":\"" level "\",\"ts\":\"2026-01-02T15:04:05.000042Z\",\"caller\":\"b/c.c:7\",\"msg\":"

static void test_a_json_line_has_zaps_form(void **state)
{
    (void)state;
    const char *urls[] = {"http://a", "http://b", NULL};
    struct log_field fields[] = {
        log_str("path", "/x"), log_int("count", -3),   log_uint("big", UINT64_MAX), log_bool("on", true),
        log_hex("id", 0xbeef), log_strs("urls", urls), log_strs("none", NULL),
    };
    log_configure(LOG_DEBUG, LOG_JSON);
    capture_begin();
    log_write(LOG_INFO, "a/b/c.c", 7, "hello", fields, sizeof fields / sizeof fields[0]);
    assert_string_equal(capture_end(),
                        HEAD("info") "\"hello\",\"path\":\"/x\",\"count\":-3,\"big\":18446744073709551615,\"on\":true,"
                                     "\"id\":\"beef\",\"urls\":[\"http://a\",\"http://b\"],\"none\":[]}\n");
}

static void test_text_is_escaped_as_zap_escapes_it(void **state)
{
    (void)state;
    struct log_field field = log_bytes("v", bytes_of("\"\\\n\t\1\x7f\xc3\xa4\xff<", 10));
    capture_begin();
    log_write(LOG_WARN, "b/c.c", 7, "m\r", &field, 1);
    assert_string_equal(capture_end(), HEAD("warn") "\"m\\r\",\"v\":\"\\\"\\\\\\n\\t\\u0001\x7f\xc3\xa4\\ufffd<\"}\n");
}

static void test_the_loggers_name_stands_before_the_caller(void **state)
{
    (void)state;
    struct log_field fields[] = {log_str("logger", "raft"), log_int("term", 2)};
    capture_begin();
    log_write(LOG_INFO, "b/c.c", 7, "m", fields, 2);
    assert_string_equal(capture_end(), "{\"level\":\"info\",\"ts\":\"2026-01-02T15:04:05.000042Z\",\"logger\":\"raft\","
                                       "\"caller\":\"b/c.c:7\",\"msg\":\"m\",\"term\":2}\n");
}

static void test_a_console_line_is_tabs_and_a_json_object(void **state)
{
    (void)state;
    struct log_field fields[] = {log_str("logger", "raft"), log_str("a", "b"), log_int("n", 1)};
    log_configure(LOG_INFO, LOG_CONSOLE);
    capture_begin();
    log_write(LOG_ERROR, "b/c.c", 7, "m", fields + 1, 2);
    log_write(LOG_INFO, "b/c.c", 7, "m", fields, 1);
    assert_string_equal(capture_end(), "2026-01-02T15:04:05.000042Z\terror\tb/c.c:7\tm\t{\"a\": \"b\", \"n\": 1}\n"
                                       "2026-01-02T15:04:05.000042Z\tinfo\traft\tb/c.c:7\tm\n");
    log_configure(LOG_INFO, LOG_JSON);
}

static void check_duration(int64_t ns, const char *expected)
{
    struct log_field field = log_duration("d", ns);
    char all[256];
    snprintf(all, sizeof all, HEAD("info") "\"\",\"d\":\"%s\"}\n", expected);
    capture_begin();
    log_write(LOG_INFO, "b/c.c", 7, "", &field, 1);
    assert_string_equal(capture_end(), all);
}

static void test_durations_are_gos(void **state)
{
    (void)state;
    check_duration(0, "0s");
    check_duration(5, "5ns");
    check_duration(1200, "1.2µs");
    check_duration(20000000, "20ms");
    check_duration(1500000000, "1.5s");
    check_duration(-90000000000, "-1m30s");
    check_duration(3600000000000, "1h0m0s");
    check_duration(INT64_MIN, "-2562047h47m16.854775808s");
}

static void test_a_line_below_the_level_costs_nothing_and_writes_nothing(void **state)
{
    (void)state;
    int evaluated = 0;
    log_configure(LOG_WARN, LOG_JSON);
    capture_begin();
    log_info("no", log_int("n", ++evaluated));
    log_warn("yes");
    assert_non_null(strstr(capture_end(), "\"msg\":\"yes\"}\n"));
    assert_null(strstr(written, "\"no\""));
    assert_int_equal(evaluated, 0);
    log_configure(LOG_INFO, LOG_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_json_line_has_zaps_form),
        cmocka_unit_test(test_text_is_escaped_as_zap_escapes_it),
        cmocka_unit_test(test_the_loggers_name_stands_before_the_caller),
        cmocka_unit_test(test_a_console_line_is_tabs_and_a_json_object),
        cmocka_unit_test(test_durations_are_gos),
        cmocka_unit_test(test_a_line_below_the_level_costs_nothing_and_writes_nothing),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
