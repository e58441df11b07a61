/* The log on real files. */
#include "base/error.h"
#include "base/random.h"
#include "raft/wal/snap_file.h"
#include "raft/wal/wal.h"
#include "raft/wal/wal_fs_append.h"
#include "tests/support/wal_support.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char root[64];
    char dir[80];
    struct wal_config config;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    snprintf(f->root, sizeof f->root, "build/wal_posix_test.XXXXXX");
    if (mkdtemp(f->root) == NULL) {
        return -1;
    }
    snprintf(f->dir, sizeof f->dir, "%s/wal", f->root);
    f->config = (struct wal_config){.fs = wal_fs_posix(), .dir = f->dir, .segment_bytes = 16384};
    *state = f;
    return 0;
}

static void remove_all(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    unlink(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    const struct wal_fs *fs = wal_fs_posix();
    fs->list(fs, f->dir, remove_all, f->dir);
    rmdir(f->dir);
    fs->list(fs, f->root, remove_all, f->root);
    rmdir(f->root);
    free(f);
    return 0;
}

static mode_t mode_of(const char *dir, const char *name, off_t *size)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    *size = st.st_size;
    return st.st_mode & 07777;
}

static void test_a_log_lives_through_segments_and_restarts(void **state)
{
    struct fixture *f = *state;
    struct wal *w;
    struct wal_contents c;
    char *reason = NULL;
    off_t size;
    assert_int_equal(wal_create(&f->config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, &reason), 0);
    assert_int_equal(mode_of(f->root, "wal", &size), 0700);
    assert_int_equal(mode_of(f->dir, "0000000000000000-0000000000000000.wal", &size), 0600);
    assert_int_equal(size, 16384);
    char *text = mem_zalloc(5001);
    memset(text, 'x', 5000);
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(wal_test_save(w, i, 1, text), 0);
        assert_int_equal(wal_sync(w), 0);
        assert_int_equal(wal_prepare(w), 0);
        if (i % 15 == 0) {
            wal_close(w);
            assert_int_equal(wal_open(&f->config, &w, &c, &reason), 0);
            assert_int_equal(c.last_index, i);
            wal_contents_free(&c);
        }
    }
    free(text);
    struct raft_conf_state conf = {0};
    size_t removed;
    assert_int_equal(wal_save(w, NULL, 0, &(struct raft_hard_state){1, 1, 39}), 0);
    assert_int_equal(wal_save_snapshot(w, (struct raft_position){.index = 40, .term = 1}, &conf), 0);
    assert_int_equal(wal_release(w, 40, 2, &removed), 0);
    assert_true(removed > 5);
    wal_close(w);
    assert_int_equal(wal_open(&f->config, &w, &c, &reason), 0);
    assert_int_equal(c.snapshot.index, 40);
    assert_int_equal(wal_term(w, 40), 1);
    wal_contents_free(&c);
    wal_close(w);
}

static void test_another_process_is_kept_out(void **state)
{
    struct fixture *f = *state;
    struct wal *w;
    assert_int_equal(wal_create(&f->config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        struct wal *second;
        struct wal_contents c;
        _exit(wal_open(&f->config, &second, &c, NULL) == ERR_LOCKED ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    wal_close(w);
}

static void test_zeroes_replace_stale_bytes_and_keep_the_length(void **state)
{
    struct fixture *f = *state;
    struct wal *w;
    struct wal_contents c;
    assert_int_equal(wal_create(&f->config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, NULL), 0);
    wal_close(w);
    char path[256];
    snprintf(path, sizeof path, "%s/0000000000000000-0000000000000000.wal", f->dir);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 9001, SEEK_SET), 0);
    assert_int_equal(fwrite("stale", 1, 5, file), 5);
    fclose(file);
    assert_int_equal(wal_open(&f->config, &w, &c, NULL), 0);
    wal_close(w);
    wal_contents_free(&c);
    uint8_t bytes[16384];
    file = fopen(path, "rb");
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), 16384);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    for (size_t i = 9000; i < sizeof bytes; i++) {
        assert_int_equal(bytes[i], 0);
    }
}

static void test_a_snap_file_has_the_mode_of_the_umask(void **state)
{
    struct fixture *f = *state;
    struct raft_conf_state conf = {0};
    off_t size;
    mode_t mask = umask(022);
    assert_int_equal(snap_file_write(wal_fs_posix(), f->root, (struct raft_position){.index = 0x99, .term = 2}, &conf,
                                     bytes_str("data"), NULL),
                     0);
    umask(mask);
    assert_int_equal(mode_of(f->root, "0000000000000002-0000000000000099.snap", &size), 0644);
}

static void test_errors_say_what_the_system_said(void **state)
{
    struct fixture *f = *state;
    struct wal *w;
    char *reason = NULL;
    f->config.dir = "build/not/there/wal";
    assert_int_not_equal(wal_create(&f->config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, &reason), 0);
    assert_string_equal(reason, "create build/not/there/wal: No such file or directory");
    free(reason);
}

/* --- writing at the end --- */

enum { FILE_BYTES = 3 * WAL_FS_WINDOW + 4096 + 100 };

static struct wal_file *open_appended(const char *path)
{
    const struct wal_fs *fs = wal_fs_posix();
    struct wal_file *file;
    assert_int_equal(fs->open(fs, path, WAL_FS_WRITE | WAL_FS_CREATE | WAL_FS_APPEND, &file), 0);
    return file;
}

static void expect_content(const char *path, const uint8_t *expected)
{
    const struct wal_fs *fs = wal_fs_posix();
    uint8_t *content = mem_alloc(FILE_BYTES + 1);
    struct wal_file *file;
    size_t got;
    assert_int_equal(fs->open(fs, path, 0, &file), 0);
    assert_int_equal(fs->read(file, content, FILE_BYTES + 1, 0, &got), 0);
    assert_int_equal(got, FILE_BYTES);
    assert_memory_equal(content, expected, FILE_BYTES);
    fs->close(file);
    free(content);
}

/* `bytes` random ones in up to five parts, at `offset` of the file and of what is expected of it. */
static void append_random(struct random *random, struct wal_file *file, uint8_t *expected, size_t offset, size_t bytes)
{
    struct iovec parts[5];
    size_t count = 0, at = offset, end = offset + bytes;
    for (; at < end; count++) {
        size_t n = count == 4 ? end - at : 1 + random_below(random, end - at);
        for (size_t i = 0; i < n; i++) {
            expected[at + i] = (uint8_t)random_next(random);
        }
        parts[count] = (struct iovec){.iov_base = expected + at, .iov_len = n};
        at += n;
    }
    assert_int_equal(file->fs->write(file, parts, count, offset), 0);
    assert_int_equal(file->fs->sync(file), 0);
}

static void test_what_is_appended_in_pieces_of_any_size_is_what_the_file_holds(void **state)
{
    struct fixture *f = *state;
    char path[128];
    uint8_t *expected = mem_zalloc(FILE_BYTES);
    struct random random;
    snprintf(path, sizeof path, "%s/appended", f->root);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        random_seed(&random, seed);
        memset(expected, 0, FILE_BYTES);
        unlink(path);
        struct wal_file *file = open_appended(path);
        assert_int_equal(file->fs->allocate(file, 0, FILE_BYTES), 0);
        for (size_t at = 0; at < FILE_BYTES;) {
            size_t most = seed % 3 == 0 ? 300 : seed % 3 == 1 ? 20000 : 2 * WAL_FS_WINDOW;
            most = at + most < FILE_BYTES ? most : FILE_BYTES - at;
            size_t bytes =
                seed % 3 == 0 && random_below(&random, 40) == 0 ? FILE_BYTES / 8 : 1 + random_below(&random, most);
            bytes = at + bytes < FILE_BYTES ? bytes : FILE_BYTES - at;
            append_random(&random, file, expected, at, bytes);
            at += bytes;
            if (random_below(&random, 20) == 0) {
                file->fs->close(file);
                expect_content(path, expected);
                file = open_appended(path);
            } else if (random_below(&random, 20) == 0) {
                expect_content(path, expected);
            }
        }
        file->fs->close(file);
        expect_content(path, expected);
    }
    unlink(path);
    free(expected);
}

static void test_where_the_page_cache_cannot_be_passed_the_file_holds_the_same(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct random random;
    struct wal_fs_append append = {.refused = true};
    uint8_t *expected = mem_zalloc(FILE_BYTES);
    random_seed(&random, 2);
    snprintf(path, sizeof path, "%s/through", f->root);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), error;
    assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
    for (size_t at = 0, n; at < FILE_BYTES / 4096 * 4096; at += n) {
        n = 1 + random_below(&random, 100000);
        n = at + n < FILE_BYTES / 4096 * 4096 ? n : FILE_BYTES / 4096 * 4096 - at;
        memset(expected + at, 1 + (int)random_below(&random, 255), n);
        struct iovec part = {.iov_base = expected + at, .iov_len = n};
        assert_true(wal_fs_append(&append, fd, &part, 1, at, &error));
        assert_int_equal(error, 0);
        assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
    }
    wal_fs_append_end(&append, fd);
    close(fd);
    expect_content(path, expected);
    unlink(path);
    free(expected);
}

static void test_a_file_that_grows_or_is_cut_is_appended_to_where_it_then_ends(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct random random;
    uint8_t *expected = mem_zalloc(FILE_BYTES);
    random_seed(&random, 1);
    snprintf(path, sizeof path, "%s/grown", f->root);
    struct wal_file *file = open_appended(path);
    append_random(&random, file, expected, 0, 100); /* nothing is allocated */
    assert_int_equal(file->fs->allocate(file, 0, 8192), 0);
    append_random(&random, file, expected, 100, 8000);
    assert_int_equal(file->fs->allocate(file, 8192, FILE_BYTES - 8192), 0);
    append_random(&random, file, expected, 8100, WAL_FS_WINDOW);
    assert_int_equal(file->fs->truncate(file, 5000), 0);
    assert_int_equal(file->fs->allocate(file, 0, FILE_BYTES), 0);
    memset(expected + 5000, 0, FILE_BYTES - 5000);
    append_random(&random, file, expected, 5000, 10);
    file->fs->close(file);
    expect_content(path, expected);
    unlink(path);
    free(expected);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_log_lives_through_segments_and_restarts),
        T(test_another_process_is_kept_out),
        T(test_zeroes_replace_stale_bytes_and_keep_the_length),
        T(test_a_snap_file_has_the_mode_of_the_umask),
        T(test_errors_say_what_the_system_said),
        T(test_what_is_appended_in_pieces_of_any_size_is_what_the_file_holds),
        T(test_where_the_page_cache_cannot_be_passed_the_file_holds_the_same),
        T(test_a_file_that_grows_or_is_cut_is_appended_to_where_it_then_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
