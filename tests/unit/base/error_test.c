#include "base/error.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_errors_have_etcds_codes_and_texts(void **state)
{
    (void)state;
    assert_int_equal(error_code(OK), GRPC_OK);
    assert_string_equal(error_text(OK), "");
    assert_true(ERR_COMPACTED < 0);
    assert_int_equal(error_code(ERR_COMPACTED), GRPC_OUT_OF_RANGE);
    assert_string_equal(error_text(ERR_COMPACTED), "etcdserver: mvcc: required revision has been compacted");
    assert_string_equal(error_name(ERR_COMPACTED), "ERR_COMPACTED");
    assert_string_equal(error_name(ERR_EMPTY_KEY), "ERR_EMPTY_KEY");
}

static void test_every_error_has_a_code_and_a_text(void **state)
{
    (void)state;
    const int all[] = {
#define X(name, code, text) name,
        ERROR_LIST(X)
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(all[i], -(int)i - 1);
        assert_in_range(error_code(all[i]), 1, 16);
        assert_true(strlen(error_text(all[i])) > 0);
        assert_int_equal(strncmp(error_name(all[i]), "ERR_", 4), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_have_etcds_codes_and_texts),
        cmocka_unit_test(test_every_error_has_a_code_and_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
