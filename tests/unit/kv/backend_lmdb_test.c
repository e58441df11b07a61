/* What only the store on disk has: its lock, a full disk, creation that a crash cut off, the map. */
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "kv/backend.h"
#include "kv/lmdb_check.h"
#include "tests/support/store_image.h"
#include "tests/support/test_file.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    char path[80];
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/kedge-lmdb-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/db", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static int open_sized(struct fixture *f, uint64_t map_bytes, struct backend **b, char **reason)
{
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = map_bytes};
    return backend_open_lmdb(&config, b, reason);
}

static struct backend *must_open(struct fixture *f, uint64_t map_bytes)
{
    struct backend *b = NULL;
    char *reason = NULL;
    int error = open_sized(f, map_bytes, &b, &reason);
    if (error != 0) {
        fail_msg("%s: %s", error_name(error), reason == NULL ? "" : reason);
    }
    return b;
}

/* Rows first … first + count - 1, each of `size` bytes that are its number's low byte. */
static int put_rows(struct backend *b, uint64_t first, size_t count, size_t size)
{
    struct backend_op *ops = mem_zalloc(count * sizeof *ops);
    uint8_t *keys = mem_alloc(count * 17), *value = mem_alloc(size * count);
    for (size_t i = 0; i < count; i++) {
        put_be64(keys + 17 * i, first + i);
        keys[17 * i + 8] = '_';
        put_be64(keys + 17 * i + 9, 0);
        memset(value + size * i, (int)(first + i), size);
        ops[i] = (struct backend_op){.kind = BACKEND_PUT,
                                     .table = BACKEND_KEY,
                                     .key = bytes_of(keys + 17 * i, 17),
                                     .value = bytes_of(value + size * i, size)};
    }
    struct backend_batch batch = {.ops = ops, .count = count, .index = first + count, .term = 1};
    int error = backend_commit(b, &batch);
    free(ops);
    free(keys);
    free(value);
    return error;
}

static int delete_rows(struct backend *b, uint64_t first, size_t count)
{
    struct backend_op *ops = mem_zalloc(count * sizeof *ops);
    uint8_t *keys = mem_alloc(count * 17);
    for (size_t i = 0; i < count; i++) {
        put_be64(keys + 17 * i, first + i);
        keys[17 * i + 8] = '_';
        put_be64(keys + 17 * i + 9, 0);
        ops[i] = (struct backend_op){.kind = BACKEND_DELETE, .table = BACKEND_KEY, .key = bytes_of(keys + 17 * i, 17)};
    }
    struct backend_batch batch = {.ops = ops, .count = count};
    int error = backend_commit(b, &batch);
    free(ops);
    free(keys);
    return error;
}

static uint64_t count_rows(struct backend *b)
{
    uint64_t sum;
    struct backend_read *r;
    assert_int_equal(store_image_sum(b, &sum), 0); /* reads and checks each */
    assert_int_equal(backend_read_begin(b, &r), 0);
    uint64_t rows = backend_count(r, BACKEND_KEY);
    backend_read_end(r);
    return rows;
}

static void test_a_second_open_is_refused_while_the_first_lasts(void **state)
{
    struct fixture *f = *state;
    struct backend *b = must_open(f, 16 << 20), *second;
    char *reason;
    assert_int_equal(open_sized(f, 16 << 20, &second, &reason), ERR_LOCKED);
    assert_non_null(strstr(reason, f->path));
    free(reason);
    struct backend_lmdb_config reader = {.path = f->path, .map_bytes = 16 << 20, .read_only = true};
    assert_int_equal(backend_open_lmdb(&reader, &second, NULL), ERR_LOCKED);
    backend_close(b);
    b = must_open(f, 16 << 20);
    backend_close(b);
}

static void test_a_second_process_is_refused(void **state)
{
    struct fixture *f = *state;
    int up[2], down[2], status;
    char byte = 0;
    assert_int_equal(pipe(up) + pipe(down), 0);
    pid_t child = fork();
    if (child == 0) {
        struct backend *b;
        close(down[1]);
        byte = (char)open_sized(f, 16 << 20, &b, NULL);
        ssize_t n = write(up[1], &byte, 1);
        n += read(down[0], &byte, 1); /* until the parent is done; no close: the kernel drops the lock */
        _exit(n < 0);
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    struct backend *b;
    char *reason;
    assert_int_equal(open_sized(f, 16 << 20, &b, &reason), ERR_LOCKED);
    free(reason);
    close(down[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    b = must_open(f, 16 << 20);
    backend_close(b);
}

static void test_read_only_opens_may_share_and_never_create(void **state)
{
    struct fixture *f = *state;
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 16 << 20, .read_only = true};
    struct backend *one;
    char *reason;
    assert_int_equal(backend_open_lmdb(&config, &one, &reason), ERR_ABSENT);
    free(reason);
    assert_int_equal(access(f->path, F_OK), -1);
    struct backend *b = must_open(f, 16 << 20);
    assert_int_equal(put_rows(b, 0, 10, 100), 0);
    backend_close(b);
    assert_int_equal(backend_open_lmdb(&config, &one, NULL), 0);
    assert_int_equal(count_rows(one), 10);
    backend_close(one);
}

static void test_what_a_crash_left_of_a_creation_is_made_anew(void **state)
{
    struct fixture *f = *state;
    char path_new[96], lock_new[104];
    snprintf(path_new, sizeof path_new, "%s.new", f->path);
    snprintf(lock_new, sizeof lock_new, "%s-lock", path_new);
    FILE *file = fopen(path_new, "w");
    assert_non_null(file);
    fputs("half of a store", file);
    fclose(file);
    struct backend *b = must_open(f, 16 << 20);
    assert_int_equal(count_rows(b), 0);
    assert_int_equal(access(path_new, F_OK), -1);
    assert_int_equal(access(lock_new, F_OK), -1);
    backend_close(b);
}

static void test_a_file_that_is_no_store_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    struct backend *b;
    char *reason, text[20000];
    FILE *file = fopen(f->path, "w");
    memset(text, 'x', sizeof text);
    assert_int_equal(fwrite(text, 1, sizeof text, file), sizeof text);
    fclose(file);
    assert_int_equal(open_sized(f, 16 << 20, &b, &reason), ERR_CORRUPT_DATA);
    assert_non_null(strstr(reason, "not an LMDB file"));
    free(reason);
    struct buffer after = test_file_read(f->path);
    assert_int_equal(after.len, sizeof text);
    assert_memory_equal(after.data, text, sizeof text);
    buffer_free(&after);
}

static void test_a_lock_file_full_of_rubbish_does_no_harm(void **state)
{
    struct fixture *f = *state;
    char lock[96];
    struct backend *b = must_open(f, 16 << 20);
    assert_int_equal(put_rows(b, 0, 10, 100), 0);
    backend_close(b);
    snprintf(lock, sizeof lock, "%s-lock", f->path);
    for (int i = 0; i < 3; i++) {
        FILE *file = fopen(lock, "r+");
        assert_non_null(file);
        for (int n = 0; n < 100 << (8 * i / 2); n++) {
            fputc(0xa5 + i, file);
        }
        fclose(file);
        b = must_open(f, 16 << 20);
        assert_int_equal(count_rows(b), 10);
        assert_int_equal(put_rows(b, 0, 10, 100), 0);
        backend_close(b);
    }
}

/* --- no space --- */

/* With no space: the commit is refused whole, reads go on, a smaller one or one after making room goes through. */
static void fill_and_recover(struct backend *b)
{
    uint64_t rows = 0;
    int error = 0;
    while ((error = put_rows(b, rows, 100, 1000)) == 0) {
        rows += 100;
        assert_true(rows < 100000);
    }
    assert_int_equal(error, ERR_DISK_FULL);
    assert_true(rows > 0);
    assert_int_equal(count_rows(b), rows);
    assert_int_equal(put_rows(b, rows, 100, 1000), ERR_DISK_FULL);
    assert_int_equal(count_rows(b), rows);
    uint64_t deleted = 0;
    while (put_rows(b, rows, 100, 1000) == ERR_DISK_FULL) {
        assert_true(deleted < rows);
        error = delete_rows(b, deleted, 20);
        deleted += error == 0 ? 20 : 0;
        assert_true(error == 0 || error == ERR_DISK_FULL);
        if (error == ERR_DISK_FULL) {
            return; /* not even a page for the tree's root: only outside help, as tested where there is some */
        }
    }
    assert_int_equal(count_rows(b), rows - deleted + 100);
}

static void test_a_full_map_refuses_commits_and_takes_them_again_after_deletes(void **state)
{
    struct fixture *f = *state;
    struct backend *b = must_open(f, 2 << 20);
    fill_and_recover(b);
    assert_null(backend_fault(b));
    backend_close(b);
    b = must_open(f, 4 << 20);
    uint64_t rows = count_rows(b);
    assert_int_equal(put_rows(b, 200000, 100, 1000), 0);
    assert_int_equal(count_rows(b), rows + 100);
    backend_close(b);
}

static void test_a_file_size_limit_is_no_space_and_ends_when_it_is_lifted(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, limit;
    struct backend *b = must_open(f, 64 << 20);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 600001, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t rows = 0;
    int error;
    while ((error = put_rows(b, rows, 100, 1000)) == 0 && rows < 10000) {
        rows += 100;
    }
    int again = put_rows(b, rows, 100, 1000);
    setrlimit(RLIMIT_FSIZE, &before); /* or cmocka could not write either */
    assert_int_equal(error, ERR_DISK_FULL);
    assert_int_equal(again, ERR_DISK_FULL);
    assert_int_equal(count_rows(b), rows);
    assert_int_equal(put_rows(b, rows, 100, 1000), 0);
    assert_int_equal(count_rows(b), rows + 100);
    backend_close(b);
    b = must_open(f, 64 << 20);
    assert_int_equal(count_rows(b), rows + 100);
    backend_close(b);
}

static void test_a_full_file_system_refuses_commits_and_they_go_on_when_there_is_space(void **state)
{
    struct fixture *f = *state;
    char ballast[80];
    if (mount("none", f->folder, "tmpfs", 0, "size=3m") != 0) {
        skip(); /* needs the right to mount */
    }
    snprintf(ballast, sizeof ballast, "%s/ballast", f->folder);
    int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fallocate(fd, 0, 0, 1 << 20), 0);
    close(fd);
    struct backend *b = must_open(f, 64 << 20);
    fill_and_recover(b);
    uint64_t rows = count_rows(b);
    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(put_rows(b, 300000, 100, 1000), 0);
    assert_int_equal(count_rows(b), rows + 100);
    assert_null(backend_fault(b));
    backend_close(b);
    b = must_open(f, 64 << 20);
    assert_int_equal(count_rows(b), rows + 100);
    backend_close(b);
    assert_int_equal(umount(f->folder), 0);
}

/* --- the map --- */

/* A sanitizer's own shadow needs more address space than any limit here. */
#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void test_the_default_map_is_halved_where_address_space_is_limited(void **state)
{
    struct fixture *f = *state;
    int status;
    if (SANITIZED) {
        skip();
    }
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {.rlim_cur = (rlim_t)6 << 30, .rlim_max = (rlim_t)6 << 30};
        struct backend *b;
        setrlimit(RLIMIT_AS, &limit);
        _exit(open_sized(f, 0, &b, NULL) != 0 || put_rows(b, 0, 100, 1000) != 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_pages_freed_by_deletes_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct backend *b = must_open(f, 64 << 20);
    assert_int_equal(put_rows(b, 0, 2000, 300), 0);
    uint64_t size = 0;
    for (uint64_t n = 1; n < 30; n++) {
        assert_int_equal(put_rows(b, n * 2000, 2000, 300), 0);
        assert_int_equal(delete_rows(b, (n - 1) * 2000, 2000), 0);
        if (n == 5) {
            size = backend_stats(b).size_bytes;
        }
    }
    assert_true(backend_stats(b).size_bytes <= size + size / 8);
    backend_close(b);
    struct lmdb_check check;
    assert_int_equal(backend_check_file(f->path, &check), 0);
}

/* --- whole after whatever work --- */

enum { WORK_ROWS = 3000, WORK_OPS = 120, WORK_VALUE = 9000 };

/* Puts at the end and anywhere, of all sizes; deletes one by one and in runs. */
static size_t random_ops(struct random *random, uint64_t *next, struct backend_op *ops, uint8_t (*keys)[17],
                         const uint8_t *value)
{
    size_t count = random_below(random, WORK_OPS);
    uint64_t run = random_below(random, WORK_ROWS);
    unsigned style = (unsigned)random_below(random, 4);
    for (size_t i = 0; i < count; i++) {
        uint64_t row = style == 0 ? (*next)++ % WORK_ROWS : style == 1 ? run + i : random_below(random, WORK_ROWS);
        size_t len = random_below(random, random_below(random, 20) == 0 ? WORK_VALUE : 500);
        bool put = style == 0 || (style >= 2 && random_below(random, style == 2 ? 10 : 3) == 0);
        put_be64(keys[i], row);
        keys[i][8] = '_';
        put_be64(keys[i] + 9, 0);
        ops[i] = (struct backend_op){.kind = put ? BACKEND_PUT : BACKEND_DELETE,
                                     .table = random_below(random, 10) == 0 ? BACKEND_LEASE : BACKEND_KEY,
                                     .key = bytes_of(keys[i], 17),
                                     .value = bytes_of(value + i, put ? len : 0)};
    }
    return count;
}

/* The same batches to a store in memory; at each step the file is walked, now and then with views held open, commits
 * that find no room, and slices of repacking. KEDGE_TEST_COMMITS for more of it. */
static void test_random_work_leaves_a_whole_file_and_the_rows_of_the_store_in_memory(void **state)
{
    struct fixture *f = *state;
    static struct backend_op ops[WORK_OPS];
    static uint8_t keys[WORK_OPS][17], value[WORK_VALUE + WORK_OPS];
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 1800 << 10, .unsafe_no_sync = true};
    struct backend *b, *twin = backend_open_memory();
    struct backend_read *view = NULL;
    struct buffer cursor = {0};
    struct random random;
    uint64_t next = 0, full = 0, sum, twin_sum;
    const char *commits = getenv("KEDGE_TEST_COMMITS"), *seed = getenv("KEDGE_TEST_SEED");
    random_seed(&random, seed == NULL ? 11 : strtoull(seed, NULL, 10));
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (uint8_t)random_next(&random);
    }
    assert_int_equal(backend_open_lmdb(&config, &b, NULL), 0);
    for (int n = commits == NULL ? 400 : atoi(commits); n > 0; n--) {
        struct lmdb_check check;
        struct backend_batch batch = {.ops = ops, .index = 1, .term = 1};
        batch.count = random_ops(&random, &next, ops, keys, value);
        int error = backend_commit(b, &batch);
        assert_true(error == 0 || error == ERR_DISK_FULL);
        full += error != 0;
        if (error == 0) {
            assert_int_equal(backend_commit(twin, &batch), 0);
        }
        if (n % 3 == 0) {
            error = backend_repack(b, 20000, &cursor);
            assert_true(error == 0 || error == ERR_DISK_FULL);
        }
        if (view == NULL && n % 10 == 0) {
            assert_int_equal(backend_view_open(b, &view), 0);
        } else if (view != NULL && n % 10 == 4) {
            backend_view_close(view);
            view = NULL;
        }
        if (backend_check_file(f->path, &check) != 0) {
            fail_msg("%d commits before the end: offset %llu: %s", n, (unsigned long long)check.offset, check.reason);
        }
        if (n % 20 == 5 && view == NULL) {
            backend_close(b);
            assert_int_equal(backend_open_lmdb(&config, &b, NULL), 0);
        }
    }
    struct backend_op format = {.kind = BACKEND_DELETE, .table = BACKEND_KEDGE, .key = bytes_str("format")};
    struct backend_batch last = {.ops = &format, .count = 1}; /* the one row that the twin has not */
    if (view != NULL) {
        backend_view_close(view);
    }
    assert_int_equal(backend_commit(b, &last), 0);
    assert_int_equal(store_image_sum(b, &sum), 0);
    assert_int_equal(store_image_sum(twin, &twin_sum), 0);
    assert_true(sum == twin_sum);
    printf("commits that found no room: %llu\n", (unsigned long long)full);
    backend_close(b);
    backend_close(twin);
    buffer_free(&cursor);
}

/* --- repacking --- */

/* Deletes three rows of each four, as a compaction of keys with four revisions each. */
static void thin(struct backend *b, uint64_t rows)
{
    for (uint64_t i = 0; i < rows; i += 4) {
        assert_int_equal(delete_rows(b, i, 3), 0);
    }
}

static void repack_all(struct fixture *f, struct backend *b, size_t budget)
{
    struct buffer cursor = {0};
    struct lmdb_check check;
    uint64_t before, after;
    int slices = 0;
    assert_int_equal(store_image_sum(b, &before), 0);
    do {
        assert_int_equal(backend_repack(b, budget, &cursor), 0);
        assert_int_equal(store_image_sum(b, &after), 0);
        assert_true(before == after);
        slices++;
        assert_true(slices < 10000);
    } while (cursor.len > 0);
    buffer_free(&cursor);
    if (backend_check_file(f->path, &check) != 0) {
        fail_msg("offset %llu: %s", (unsigned long long)check.offset, check.reason);
    }
}

static void test_repacking_in_slices_frees_the_pages_of_sparse_leaves_and_changes_no_row(void **state)
{
    struct fixture *f = *state;
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20, .unsafe_no_sync = true};
    struct backend *b;
    assert_int_equal(backend_open_lmdb(&config, &b, NULL), 0);
    assert_int_equal(put_rows(b, 0, 8000, 280), 0);
    uint64_t full = backend_stats(b).size_in_use_bytes;
    thin(b, 8000);
    uint64_t sparse = backend_stats(b).size_in_use_bytes;
    repack_all(f, b, 64 << 10);
    uint64_t packed = backend_stats(b).size_in_use_bytes;
    printf("in use: full %llu, three of four rows deleted %llu, repacked %llu\n", (unsigned long long)full,
           (unsigned long long)sparse, (unsigned long long)packed);
    assert_true(sparse > full / 10 * 6);
    assert_true(packed < full / 10 * 4);
    /* And what was freed is used again: the file doesn't grow. */
    uint64_t size = backend_stats(b).size_bytes;
    assert_int_equal(put_rows(b, 10000, 4000, 280), 0);
    assert_true(backend_stats(b).size_bytes <= size);
    backend_close(b);
}

/* --- copies without free space --- */

static void test_a_copy_has_all_rows_and_no_free_pages_and_takes_the_stores_name(void **state)
{
    struct fixture *f = *state;
    struct fixture copy = *f;
    struct backend *b = must_open(f, 64 << 20);
    snprintf(copy.path, sizeof copy.path, "%.70s.copy", f->path);
    assert_int_equal(put_rows(b, 0, 3000, 280), 0);
    assert_int_equal(put_rows(b, 5000, 40, 20000), 0); /* in pages of their own */
    assert_int_equal(delete_rows(b, 0, 2500), 0);
    assert_int_equal(delete_rows(b, 5000, 30), 0);
    uint64_t before, after;
    assert_int_equal(store_image_sum(b, &before), 0);
    struct backend_read *read;
    assert_int_equal(backend_read_begin(b, &read), 0); /* goes on in the old file */
    assert_int_equal(backend_lmdb_copy(b, copy.path), 0);
    struct backend *smaller = must_open(&copy, 64 << 20);
    assert_int_equal(backend_lmdb_rename(smaller, f->path), 0);
    assert_int_equal(store_image_sum(smaller, &after), 0);
    assert_true(before == after);
    struct backend_stats full = backend_stats(b), packed = backend_stats(smaller);
    assert_true(packed.size_bytes < full.size_bytes / 2);
    assert_true(packed.size_bytes == packed.size_in_use_bytes);
    assert_int_equal(put_rows(smaller, 9000, 100, 280), 0);
    assert_int_equal(backend_count(read, BACKEND_KEY), 510);
    backend_read_end(read);
    backend_close(b);
    backend_close(smaller);
    b = must_open(f, 64 << 20);
    assert_int_equal(count_rows(b), 610);
    backend_close(b);
}

static void test_a_copy_that_finds_no_room_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct backend *b = must_open(f, 64 << 20);
    struct rlimit before, limit;
    char path[160];
    assert_int_equal(put_rows(b, 0, 3000, 280), 0);
    snprintf(path, sizeof path, "%s/copy", f->folder);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 100000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int error = backend_lmdb_copy(b, path);
    setrlimit(RLIMIT_FSIZE, &before); /* or cmocka could not write either */
    assert_int_not_equal(error, 0);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/nowhere/copy", f->folder);
    assert_int_equal(backend_lmdb_copy(b, path), ERR_IO);
    assert_int_equal(put_rows(b, 9000, 1, 280), 0); /* the store itself is well */
    assert_int_equal(count_rows(b), 3001);
    backend_close(b);
}

static void test_repacking_a_store_without_sparse_leaves_commits_nothing(void **state)
{
    struct fixture *f = *state;
    struct backend *b = must_open(f, 64 << 20);
    struct buffer cursor = {0};
    struct lmdb_check before, after;
    assert_int_equal(backend_repack(b, 1 << 20, &cursor), 0);
    assert_int_equal(cursor.len, 0);
    assert_int_equal(put_rows(b, 0, 3000, 280), 0);
    assert_int_equal(backend_check_file(f->path, &before), 0);
    repack_all(f, b, 1 << 20);
    assert_int_equal(backend_check_file(f->path, &after), 0);
    assert_true(before.txn == after.txn);
    backend_close(b);
}

static void test_repacking_leaves_rows_with_pages_of_their_own_alone(void **state)
{
    struct fixture *f = *state;
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20, .unsafe_no_sync = true};
    struct backend *b;
    struct lmdb_check before, after;
    assert_int_equal(backend_open_lmdb(&config, &b, NULL), 0);
    assert_int_equal(put_rows(b, 0, 800, 5000), 0);
    thin(b, 800);
    assert_int_equal(backend_check_file(f->path, &before), 0);
    repack_all(f, b, 1 << 20);
    assert_int_equal(backend_check_file(f->path, &after), 0);
    assert_true(before.txn == after.txn);
    backend_close(b);
}

int main(void)
{
    log_configure(LOG_FATAL, LOG_JSON);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_second_open_is_refused_while_the_first_lasts),
        TEST(test_a_second_process_is_refused),
        TEST(test_read_only_opens_may_share_and_never_create),
        TEST(test_what_a_crash_left_of_a_creation_is_made_anew),
        TEST(test_a_file_that_is_no_store_is_refused_and_left_alone),
        TEST(test_a_lock_file_full_of_rubbish_does_no_harm),
        TEST(test_a_full_map_refuses_commits_and_takes_them_again_after_deletes),
        TEST(test_a_file_size_limit_is_no_space_and_ends_when_it_is_lifted),
        TEST(test_a_full_file_system_refuses_commits_and_they_go_on_when_there_is_space),
        TEST(test_the_default_map_is_halved_where_address_space_is_limited),
        TEST(test_pages_freed_by_deletes_are_used_again),
        TEST(test_random_work_leaves_a_whole_file_and_the_rows_of_the_store_in_memory),
        TEST(test_repacking_in_slices_frees_the_pages_of_sparse_leaves_and_changes_no_row),
        TEST(test_a_copy_has_all_rows_and_no_free_pages_and_takes_the_stores_name),
        TEST(test_a_copy_that_finds_no_room_leaves_nothing),
        TEST(test_repacking_a_store_without_sparse_leaves_commits_nothing),
        TEST(test_repacking_leaves_rows_with_pages_of_their_own_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
