#include "cmd/kedgectl/save_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena arena;
static char folder[64], path[80], part[96];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kedge-save.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(part, sizeof part, "%s/file.part", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(part);
    rmdir(part);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left in it */
    arena_free(&arena);
    return 0;
}

static void expect_content(const char *name, const char *expected)
{
    char content[64] = "";
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, content, sizeof content - 1);
    close(fd);
    assert_int_equal(n, (ssize_t)strlen(expected));
    assert_string_equal(content, expected);
}

static void put_file(const char *name, const char *content, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

static void save(const char *content)
{
    struct save_file f;
    assert_null(save_file_open(&f, &arena, path));
    assert_null(save_file_write(&f, bytes_str(content)));
    save_file_sync_begin(&f);
    assert_null(save_file_commit(&f));
}

static void test_the_name_comes_last(void **state)
{
    struct save_file f;
    struct stat st;
    (void)state;
    assert_null(save_file_open(&f, &arena, path));
    assert_null(save_file_write(&f, bytes_str("whole")));
    assert_false(exists(path));
    assert_true(exists(part));
    assert_null(save_file_commit(&f));
    assert_false(exists(part));
    expect_content(path, "whole");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_an_older_file_stays_until_then(void **state)
{
    struct save_file f;
    struct stat st;
    (void)state;
    put_file(path, "older", 0644);
    assert_null(save_file_open(&f, &arena, path));
    assert_null(save_file_write(&f, bytes_str("new")));
    expect_content(path, "older");
    save_file_discard(&f);
    expect_content(path, "older");
    assert_false(exists(part));
    save("newer");
    expect_content(path, "newer");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_what_a_killed_save_left_is_written_over(void **state)
{
    struct stat st;
    (void)state;
    put_file(part, "half of something, and longer than what comes now", 0644);
    save("whole");
    expect_content(path, "whole");
    assert_false(exists(part));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_a_second_save_to_the_name_is_refused_while_one_is_under_way(void **state)
{
    struct save_file first, second;
    (void)state;
    assert_null(save_file_open(&first, &arena, path));
    assert_null(save_file_write(&first, bytes_str("first")));
    const char *error = save_file_open(&second, &arena, path);
    assert_non_null(error);
    assert_non_null(strstr(error, "another save to"));
    assert_null(save_file_commit(&first));
    expect_content(path, "first");
    save("second");
    expect_content(path, "second");
}

static void test_only_a_plain_file_is_replaced(void **state)
{
    struct save_file f;
    (void)state;
    assert_non_null(strstr(save_file_open(&f, &arena, "/dev/null"), "is not a plain file"));
    assert_non_null(strstr(save_file_open(&f, &arena, folder), "is not a plain file"));
    assert_non_null(strstr(save_file_open(&f, &arena, "/dev/null/file"), "not a directory"));
    assert_int_equal(mkdir(part, 0700), 0);
    assert_non_null(strstr(save_file_open(&f, &arena, path), "is a directory"));
    assert_int_equal(rmdir(part), 0);
    put_file(path, "target", 0600);
    assert_int_equal(symlink(path, part), 0); /* not written through */
    assert_non_null(save_file_open(&f, &arena, path));
    expect_content(path, "target");
}

static void test_no_room_is_an_error_and_nothing_stays(void **state)
{
    struct rlimit before, small = {.rlim_cur = 10};
    struct save_file f;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_null(save_file_open(&f, &arena, path));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const char *error = save_file_write(&f, bytes_str("eleven bytes and more"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(error);
    assert_string_equal(error, "could not write snapshot (file too large)");
    save_file_discard(&f);
    assert_false(exists(part) || exists(path));
}

/* A process that has begun a save and gets the signal. */
static int end_by(int number)
{
    int ready[2], status;
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct save_file f;
        bool good = save_file_open(&f, &arena, path) == NULL && save_file_write(&f, bytes_str("half")) == NULL;
        if (good && write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kill(child, number), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ready[0]);
    close(ready[1]);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_a_signal_leaves_nothing_and_is_told_to_the_parent(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    (void)state;
    put_file(path, "older", 0600);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(end_by(signals[i]), signals[i]);
        assert_false(exists(part));
        expect_content(path, "older");
    }
}

static void test_sigkill_leaves_the_part_and_the_next_save_takes_it_over(void **state)
{
    (void)state;
    assert_int_equal(end_by(SIGKILL), SIGKILL);
    assert_true(exists(part));
    assert_false(exists(path));
    save("whole");
    assert_false(exists(part));
    expect_content(path, "whole");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_name_comes_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_older_file_stays_until_then, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_killed_save_left_is_written_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_save_to_the_name_is_refused_while_one_is_under_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_only_a_plain_file_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room_is_an_error_and_nothing_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_signal_leaves_nothing_and_is_told_to_the_parent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sigkill_leaves_the_part_and_the_next_save_takes_it_over, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
