/* What a downgrade may name (tests/interop/clients, TestDowngrade, asks etcd the same). */
#include "kv/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_versions_of_two_and_three_numbers_are_read(void **state)
{
    (void)state;
    static const char *const good[] = {"3.6",        "3.6.0",       "3.6.99", "03.06.00",
                                       "3.6.0-rc.1", "3.6.0+a.b-c", "3.6.0-", "3.6.0+"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t major = 0, minor = 0;
        if (!version_parse_target(good[i], &major, &minor) || major != 3 || minor != 6) {
            fail_msg("%s: %lld.%lld", good[i], (long long)major, (long long)minor);
        }
    }
}

static void test_all_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        ".",      "3",     "3.",         "3.6.",
                                      "3.6.0.0", "v3.6",   " 3.6",  "3.6 ",       "-3.6",
                                      "a.b.c",   "3.6-rc", "3.x.0", "3.6.0-rc_1", "3.6.99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t major, minor;
        if (version_parse_target(bad[i], &major, &minor)) {
            fail_msg("%s was read", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_of_two_and_three_numbers_are_read),
        cmocka_unit_test(test_all_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
