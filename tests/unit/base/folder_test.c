#include "base/folder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static void test_a_folder_is_synced_by_its_own_name_and_by_that_of_a_file_in_it(void **state)
{
    (void)state;
    char folder[] = "/tmp/kedge-folder.XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(folder_sync(folder), 0);
    assert_int_equal(folder_sync_of("there_is_no_such_file"), 0);
    assert_int_equal(folder_sync_of("/there_is_no_such_file"), 0);
    assert_int_equal(folder_sync_of("./there_is_no_such_file"), 0);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(rmdir(folder), 0);
}

static void test_what_is_no_folder_is_told(void **state)
{
    (void)state;
    assert_int_equal(folder_sync("/nowhere/at/all"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(folder_sync("/dev/null"), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(folder_sync_of("/nowhere/at/all"), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_folders_above_are_made(void **state)
{
    (void)state;
    char folder[] = "/tmp/kedge-folder.XXXXXX";
    struct stat info;
    assert_non_null(mkdtemp(folder));
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    for (int times = 0; times < 2; times++) {
        assert_int_equal(folder_make_above("a//b/./c"), 0);
        assert_int_equal(folder_make_above("c"), 0);
        assert_int_equal(folder_make_above(""), 0);
        assert_int_equal(folder_make_above("/tmp/c"), 0);
    }
    assert_int_equal(stat("a/b", &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(access("a/b/c", F_OK), -1);
    assert_int_equal(folder_make_above("/dev/null/a/b"), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(folder_make_above("/proc/nowhere/a"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(rmdir("a/b"), 0);
    assert_int_equal(rmdir("a"), 0);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_folder_is_synced_by_its_own_name_and_by_that_of_a_file_in_it),
        cmocka_unit_test(test_what_is_no_folder_is_told),
        cmocka_unit_test(test_folders_above_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
