/* Damage of a store file: what the page walk refuses, what a server that did not walk reports when it meets it. */
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "kv/backend.h"
#include "kv/lmdb_check.h"
#include "tests/support/store_image.h"
#include "tests/support/test_file.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, META = 152, HEAD = 16 };

struct fixture {
    char folder[64];
    char path[80];
    struct buffer image; /* of the whole file */
    uint64_t sum;        /* of its rows */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct lmdb_check check;
    snprintf(f->folder, sizeof f->folder, "/tmp/kedge-check-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/db", f->folder);
    store_image_create(f->path);
    f->image = test_file_read(f->path);
    if (store_image_walk(buffer_bytes(&f->image), &f->sum, &check) != 0) {
        fail_msg("offset %llu: %s", (unsigned long long)check.offset, check.reason);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    buffer_free(&f->image);
    free(f);
    return 0;
}

/* --- the walk, on bytes in memory --- */

static void test_the_walk_sees_what_the_backend_sees(void **state)
{
    struct fixture *f = *state;
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20};
    struct backend *b;
    struct lmdb_check check;
    uint64_t sum, walked;
    assert_int_equal(backend_open_lmdb(&config, &b, NULL), 0);
    assert_int_equal(store_image_sum(b, &sum), 0);
    assert_int_equal(store_image_walk(buffer_bytes(&f->image), &walked, &check), 0);
    assert_true(sum == walked);
    assert_int_equal(check.page_bytes, PAGE);
    assert_int_equal(check.pages * PAGE, backend_stats(b).size_bytes);
    assert_int_equal((check.pages - check.free_pages) * PAGE, backend_stats(b).size_in_use_bytes);
    assert_true(check.free_pages > 5);
    backend_close(b);
}

struct tally {
    unsigned refused[LMDB_CHECK_CLASSES];
    unsigned harmless; /* nothing of the content changed */
};

/* One flip: refused, or without effect on any row. Anything else is what must never be. */
static void flip(struct fixture *f, struct tally *t, size_t offset, unsigned bit)
{
    struct lmdb_check check;
    uint64_t sum;
    f->image.data[offset] ^= (uint8_t)(1 << bit);
    int error = store_image_walk(buffer_bytes(&f->image), &sum, &check);
    f->image.data[offset] ^= (uint8_t)(1 << bit);
    if (error != 0) {
        assert_int_equal(error, ERR_CORRUPT_DATA);
        assert_true(check.offset < f->image.len);
        assert_true(check.reason[0] != 0);
        t->refused[check.class]++;
    } else if (sum == f->sum) {
        t->harmless++;
    } else {
        fail_msg("bit %u of offset %zu was flipped, and other rows were served", bit, offset);
    }
}

static void print_tally(const char *what, const struct tally *t)
{
    printf("%s: harmless %u; refused", what, t->harmless);
    for (unsigned i = 0; i < LMDB_CHECK_CLASSES; i++) {
        if (t->refused[i] > 0) {
            printf(" %s %u", lmdb_check_class_name((enum lmdb_check_class)i), t->refused[i]);
        }
    }
    printf("\n");
}

static void test_every_bit_of_a_meta_page_that_matters_is_noticed(void **state)
{
    struct fixture *f = *state;
    for (size_t page = 0; page < 2; page++) {
        struct tally t = {0};
        for (size_t i = 0; i < META; i++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                flip(f, &t, page * PAGE + i, bit);
            }
        }
        print_tally(page == 0 ? "meta page 0" : "meta page 1", &t);
        assert_true(t.refused[LMDB_CHECK_META] > 100);
    }
}

static void test_every_bit_of_the_newest_records_is_refused_but_for_address_map_size_and_padding(void **state)
{
    struct fixture *f = *state;
    struct lmdb_check check;
    uint64_t sum;
    store_image_walk(buffer_bytes(&f->image), &sum, &check);
    size_t page = (check.txn & 1) * PAGE;
    for (size_t i = 0; i < META; i++) {
        bool padding = i == 8 || i == 9 || (i >= 12 && i < 16) || (i >= 24 && i < 40) || (i >= 88 && i < 92);
        bool nosubdir = i == 45; /* bit 6: how the file was opened */
        for (unsigned bit = 0; bit < 8 && !padding; bit++) {
            struct tally t = {0};
            flip(f, &t, page + i, bit);
            if (t.harmless != 0 && !(nosubdir && bit == 6)) {
                fail_msg("bit %u of byte %zu of the newest meta page went unseen", bit, i);
            }
        }
    }
}

static void test_every_bit_of_each_page_head_and_slot_is_refused_or_harmless(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    for (size_t page = 2; page < f->image.len / PAGE; page++) {
        for (size_t i = 0; i < HEAD + 16; i++) {
            flip(f, &t, page * PAGE + i, (unsigned)(i * 7 + page) % 8);
            flip(f, &t, page * PAGE + i, (unsigned)(i * 7 + page + 3) % 8);
        }
    }
    print_tally("page heads", &t);
    assert_true(t.refused[LMDB_CHECK_PAGE] > 0);
}

static void test_random_flips_are_refused_or_harmless(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    struct random random;
    const char *flips = getenv("KEDGE_TEST_FLIPS");
    random_seed(&random, 3);
    for (int i = flips == NULL ? 4000 : atoi(flips); i > 0; i--) {
        flip(f, &t, random_below(&random, f->image.len), (unsigned)random_below(&random, 8));
    }
    print_tally("random flips", &t);
    assert_true(t.refused[LMDB_CHECK_ROW] > 0);
}

static void test_a_run_of_zeros_or_of_another_page_is_refused_or_harmless(void **state)
{
    struct fixture *f = *state;
    struct random random;
    struct buffer copy = {0};
    struct lmdb_check check;
    unsigned refused = 0;
    random_seed(&random, 4);
    buffer_append(&copy, f->image.data, f->image.len);
    for (int i = 0; i < 500; i++) {
        uint64_t sum;
        size_t pages = f->image.len / PAGE, to = random_below(&random, pages), from = random_below(&random, pages);
        if (i % 2 == 0) {
            memset(copy.data + to * PAGE, 0, i % 4 == 0 ? PAGE : 512);
        } else {
            memcpy(copy.data + to * PAGE, f->image.data + from * PAGE, i % 4 == 1 ? PAGE : 512);
        }
        if (store_image_walk(buffer_bytes(&copy), &sum, &check) != 0) {
            refused++;
        } else {
            assert_true(sum == f->sum);
        }
        memcpy(copy.data + to * PAGE, f->image.data + to * PAGE, PAGE);
    }
    printf("pages zeroed or replaced: refused %u of 500\n", refused);
    assert_true(refused > 200);
    buffer_free(&copy);
}

static void test_every_cut_is_refused_until_only_free_pages_are_gone(void **state)
{
    struct fixture *f = *state;
    struct lmdb_check check;
    uint64_t sum;
    for (size_t len = 0; len < f->image.len; len += len < 3 * PAGE ? 64 : PAGE / 2) {
        struct buffer copy = {0}; /* of just this length, so that a sanitizer sees a read behind it */
        buffer_append(&copy, f->image.data, len);
        if (store_image_walk(buffer_bytes(&copy), &sum, &check) == 0) {
            assert_true(sum == f->sum);
        }
        buffer_free(&copy);
    }
    assert_int_equal(store_image_walk(bytes_of(f->image.data, f->image.len / 2), &sum, &check), ERR_CORRUPT_DATA);
    assert_int_equal(check.class, LMDB_CHECK_CUT);
}

static void test_a_walk_of_a_store_with_a_table_missing_or_unknown_is_refused(void **state)
{
    struct fixture *f = *state;
    struct lmdb_check check;
    uint64_t sum;
    for (size_t i = 2 * PAGE; i + 9 < f->image.len; i++) {
        if (memcmp(f->image.data + i, "authRoles", 9) == 0) {
            f->image.data[i + 8] = 't';
        }
    }
    assert_int_equal(store_image_walk(buffer_bytes(&f->image), &sum, &check), ERR_CORRUPT_DATA);
    assert_int_equal(check.class, LMDB_CHECK_TABLE);
}

/* --- through the backend, on files --- */

static void write_file(const char *path, const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static void write_flipped(struct fixture *f, size_t offset, unsigned bit)
{
    f->image.data[offset] ^= (uint8_t)(1 << bit);
    write_file(f->path, f->image.data, f->image.len);
    f->image.data[offset] ^= (uint8_t)(1 << bit);
}

/* The file is what it was after the flip: nothing was written to it. */
static void expect_flipped(struct fixture *f, size_t offset, unsigned bit)
{
    struct buffer after = test_file_read(f->path);
    assert_int_equal(after.len, f->image.len);
    after.data[offset] ^= (uint8_t)(1 << bit);
    assert_memory_equal(after.data, f->image.data, after.len);
    buffer_free(&after);
}

static void test_a_refused_open_names_file_and_offset_and_leaves_the_file_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct random random;
    unsigned refused = 0;
    random_seed(&random, 6);
    for (int i = 0; i < 200; i++) {
        struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20};
        struct backend *b;
        char *reason;
        size_t at = random_below(&random, i < 50 ? 2 * PAGE : f->image.len);
        unsigned bit = (unsigned)random_below(&random, 8);
        write_flipped(f, at, bit);
        int error = backend_open_lmdb(&config, &b, &reason);
        if (error == 0) {
            uint64_t sum;
            assert_int_equal(store_image_sum(b, &sum), 0);
            assert_true(sum == f->sum);
            backend_close(b);
        } else {
            assert_int_equal(error, ERR_CORRUPT_DATA);
            assert_non_null(strstr(reason, f->path));
            assert_non_null(strstr(reason, ": offset "));
            free(reason);
            refused++;
        }
        expect_flipped(f, at, bit);
    }
    assert_true(refused > 30);
}

static void test_an_empty_or_cut_file_is_refused_and_not_made_new(void **state)
{
    struct fixture *f = *state;
    static const size_t lengths[] = {0, 1, 100, PAGE, 2 * PAGE - 1, 2 * PAGE};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int whole = 0; whole < 2; whole++) {
            struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20, .unchecked = !whole};
            struct backend *b;
            char *reason;
            write_file(f->path, f->image.data, lengths[i]);
            assert_int_equal(backend_open_lmdb(&config, &b, &reason), ERR_CORRUPT_DATA);
            assert_non_null(strstr(reason, f->path));
            free(reason);
            struct buffer after = test_file_read(f->path);
            assert_int_equal(after.len, lengths[i]);
            buffer_free(&after);
        }
    }
}

/* --- damage that comes after the open, or that nobody looked for --- */

enum outcome { SAME = 10, REPORTED, REFUSED, SERVED_WRONG, ENDED, OUTCOMES };

static int report_of(struct backend *b, const char *path)
{
    char *fault = backend_fault(b);
    return fault != NULL && strstr(fault, path) != NULL ? REPORTED : SERVED_WRONG;
}

static bool keep_key(void *arg, struct bytes key, struct bytes value)
{
    struct buffer *keys = arg;
    (void)value;
    buffer_append(keys, key.data, 17);
    return true;
}

/* All rows of table `key` by key, as a server that has them in its index. */
static int get_each(struct backend *b, const struct buffer *keys)
{
    struct backend_read *r;
    int error = backend_read_begin(b, &r);
    for (size_t i = 0; i < keys->len && error == 0; i += 17) {
        struct bytes value;
        error = backend_get_known(r, BACKEND_KEY, bytes_of(keys->data + i, 17), &value);
    }
    backend_read_end(r);
    return error;
}

/* In a process of its own: opens the sound file, damages it under the open map, reads everything. */
__attribute__((noreturn)) static void meet_damage(struct fixture *f, size_t offset, bool cut, unsigned bit, bool scan)
{
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 64 << 20};
    struct backend *b;
    struct backend_read *r;
    struct buffer keys = {0};
    uint64_t sum = f->sum;
    uint8_t byte = f->image.data[offset] ^ (uint8_t)(1 << bit);
    int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    if (backend_open_lmdb(&config, &b, NULL) != 0 || backend_read_begin(b, &r) != 0 ||
        backend_scan(r, BACKEND_KEY, (struct bytes){0}, keep_key, &keys) != 0) {
        _exit(REFUSED);
    }
    backend_read_end(r);
    if (cut ? ftruncate(fd, (off_t)offset) != 0 : pwrite(fd, &byte, 1, (off_t)offset) != 1) {
        _exit(99);
    }
    int error = scan ? store_image_sum(b, &sum) : get_each(b, &keys);
    _exit(error != 0 ? report_of(b, f->path) : sum == f->sum ? SAME : SERVED_WRONG);
}

static int outcome_of(struct fixture *f, size_t offset, bool cut, unsigned bit, bool scan)
{
    int out[2], status;
    char said[8192] = {0};
    write_file(f->path, f->image.data, f->image.len);
    assert_int_equal(pipe(out), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        alarm(20);
        meet_damage(f, offset, cut, bit, scan);
    }
    close(out[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(out[0], said + len, sizeof said - 1 - len)) > 0) {
        len += (size_t)n;
    }
    close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) >= SAME && WEXITSTATUS(status) < OUTCOMES) {
        return WEXITSTATUS(status);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || strstr(said, f->path) == NULL) {
        fail_msg("offset %zu bit %u: status %#x, said: %s", offset, bit, (unsigned)status, said);
    }
    return ENDED;
}

static void test_damage_under_an_open_store_is_reported_or_ends_the_process_and_is_never_served(void **state)
{
    struct fixture *f = *state;
    struct random random;
    unsigned tally[OUTCOMES] = {0};
    const char *flips = getenv("KEDGE_TEST_FLIPS");
    random_seed(&random, 8);
    for (int i = flips == NULL ? 150 : atoi(flips) / 10; i > 0; i--) {
        /* Rows, and as often heads and slots, where LMDB is easily led astray. */
        size_t page = 2 + random_below(&random, f->image.len / PAGE - 2);
        size_t at = page * PAGE + random_below(&random, i % 2 == 0 ? PAGE : 64);
        tally[outcome_of(f, at, false, (unsigned)random_below(&random, 8), i % 4 < 2)]++;
    }
    printf("damage when open: same %u, reported %u, ended %u, served wrong %u\n", tally[SAME], tally[REPORTED],
           tally[ENDED], tally[SERVED_WRONG]);
    assert_int_equal(tally[SERVED_WRONG], 0);
    assert_int_equal(tally[REFUSED], 0);
    assert_true(tally[REPORTED] > 0);
}

static void test_a_file_cut_under_an_open_store_ends_the_process_with_file_and_offset(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(outcome_of(f, 2 * PAGE, true, 0, true), ENDED);
    assert_int_equal(outcome_of(f, 2 * PAGE, true, 0, false), ENDED);
}

int main(void)
{
    log_configure(LOG_FATAL, LOG_JSON);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_the_walk_sees_what_the_backend_sees),
        TEST(test_every_bit_of_a_meta_page_that_matters_is_noticed),
        TEST(test_every_bit_of_the_newest_records_is_refused_but_for_address_map_size_and_padding),
        TEST(test_every_bit_of_each_page_head_and_slot_is_refused_or_harmless),
        TEST(test_random_flips_are_refused_or_harmless),
        TEST(test_a_run_of_zeros_or_of_another_page_is_refused_or_harmless),
        TEST(test_every_cut_is_refused_until_only_free_pages_are_gone),
        TEST(test_a_walk_of_a_store_with_a_table_missing_or_unknown_is_refused),
        TEST(test_a_refused_open_names_file_and_offset_and_leaves_the_file_as_it_is),
        TEST(test_an_empty_or_cut_file_is_refused_and_not_made_new),
        TEST(test_damage_under_an_open_store_is_reported_or_ends_the_process_and_is_never_served),
        TEST(test_a_file_cut_under_an_open_store_ends_the_process_with_file_and_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
