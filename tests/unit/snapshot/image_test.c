/* Images: what etcd wrote is read, what we write is read back, whatever is damaged is refused with file offset and
 * reason or gives out the same rows. KEDGE_IMAGE_OUT=DIR keeps the written ones, for the official programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/random.h"
#include "snapshot/export.h"
#include "tests/support/image_support.h"
#include <stdio.h>
#include <stdlib.h>

#define SAMPLE "tests/data/etcd/snapshot.db.gz"
#define LIVE_DB "tests/data/etcd/data-dir.db.gz"

static void test_a_snapshot_of_etcd_has_the_status_that_etcdutl_printed(void **state)
{
    (void)state;
    struct buffer image = {0};
    struct snapshot_status status;
    const char *reason;
    image_unpack(SAMPLE, &image);
    assert_int_equal(image.len % 512, 32);
    int error = image_status(buffer_bytes(&image), &status, &reason);
    if (error != 0) {
        fail_msg("%s", reason);
    }
    assert_int_equal(status.hash, 1823801212u);
    assert_int_equal(status.revision, 167);
    assert_int_equal(status.keys, 25);
    assert_int_equal(status.size, 69632);
    assert_string_equal(status.version, "3.7.0");
    buffer_free(&image);
}

static void test_a_live_database_of_etcd_is_read(void **state)
{
    (void)state;
    struct buffer image = {0}, rows = {0};
    struct snapshot_status status;
    const char *reason;
    image_unpack(LIVE_DB, &image);
    int error = image_status(buffer_bytes(&image), &status, &reason);
    if (error != 0) {
        fail_msg("%s", reason);
    }
    assert_int_equal(status.revision, 167);
    assert_int_equal(status.keys, 25);
    assert_string_equal(status.version, "3.7.0");
    buffer_free(&image);
    buffer_free(&rows);
}

/* --- what we write --- */

static void put(struct backend *backend, enum backend_table table, struct bytes key, struct bytes value)
{
    struct backend_op op = {BACKEND_PUT, (uint8_t)table, key, value};
    const struct backend_batch batch = {.ops = &op, .count = 1, .index = 9, .term = 2, .bytes = 1};
    assert_int_equal(backend_commit(backend, &batch), 0);
}

static void put_revision(struct backend *backend, uint64_t main, size_t value_bytes)
{
    uint8_t key[17] = {0};
    put_be64(key, main);
    key[8] = '_';
    /* KeyValue{1 key, 5 value} */
    struct buffer row = {0};
    uint8_t head[16] = {0x0a, 8};
    put_be64(head + 2, main);
    buffer_append(&row, head, 10);
    uint8_t length[11] = {0x2a};
    size_t n = varint_put(length + 1, value_bytes);
    buffer_append(&row, length, n + 1);
    memset(buffer_reserve(&row, value_bytes + 1), (int)main, value_bytes);
    row.len += value_bytes;
    put(backend, BACKEND_KEY, bytes_of(key, sizeof key), buffer_bytes(&row));
    buffer_free(&row);
}

static void keep(const char *name, const struct buffer *image)
{
    const char *folder = getenv("KEDGE_IMAGE_OUT");
    char path[500];
    if (folder == NULL) {
        return;
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(image->data, 1, image->len, file), image->len);
    fclose(file);
}

/* Every row of the tables, as image_read collects them. */
struct table_rows {
    struct buffer *out;
};

static bool collect(void *arg, struct bytes key, struct bytes value)
{
    struct buffer *out = arg;
    const uint64_t lengths[2] = {key.len, value.len};
    buffer_append(out, lengths, sizeof lengths);
    buffer_append(out, key.data, key.len);
    if (value.len > 0) {
        buffer_append(out, value.data, value.len);
    }
    return true;
}

static void rows_of(struct backend *backend, struct buffer *out)
{
    struct backend_read *read;
    assert_int_equal(backend_read_begin(backend, &read), 0);
    for (unsigned i = 0; i < SNAPSHOT_TABLES; i++) {
        const char *name = backend_table_name(snapshot_tables[i]);
        buffer_append(out, name, strlen(name));
        buffer_append(out, "\n", 1);
        assert_int_equal(backend_scan(read, snapshot_tables[i], (struct bytes){0}, collect, out), 0);
    }
    backend_read_end(read);
}

static void check_round_trip(struct backend *backend, const char *name)
{
    struct buffer image = {0}, again = {0}, rows = {0}, expected = {0};
    const char *reason;
    image_export(backend, true, 1 << 20, &image);
    image_export(backend, true, 1000, &again);
    assert_int_equal(image.len, again.len);
    assert_memory_equal(image.data, again.data, image.len); /* slices change nothing */
    keep(name, &image);
    int error = image_read(buffer_bytes(&image), true, &rows, &reason);
    if (error != 0) {
        fail_msg("%s: %s", name, reason);
    }
    rows_of(backend, &expected);
    assert_int_equal(rows.len, expected.len);
    assert_memory_equal(rows.data, expected.data, rows.len);
    buffer_free(&image);
    buffer_free(&again);
    buffer_free(&rows);
    buffer_free(&expected);
}

static void test_an_empty_store_is_an_image_with_ten_empty_buckets(void **state)
{
    (void)state;
    struct backend *backend = backend_open_memory();
    check_round_trip(backend, "empty.db");
    backend_close(backend);
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t rows;
        size_t value_bytes; /* up to */
    } shapes[] = {
        {"one.db", 1, 10},     {"leaf-exactly.db", 1, 4017}, {"leaf-over.db", 1, 4018},    {"small.db", 300, 60},
        {"tall.db", 20000, 1}, {"large.db", 40, 70000},      {"megabytes.db", 3, 3 << 20}, {"mixed.db", 3000, 9000},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct backend *backend = backend_open_memory();
        struct random random;
        random_seed(&random, i + 1);
        bool fixed = shapes[i].rows == 1;
        for (uint64_t row = 1; row <= shapes[i].rows; row++) {
            size_t bytes = fixed ? shapes[i].value_bytes : random_below(&random, shapes[i].value_bytes + 1);
            put_revision(backend, row * 3, bytes);
        }
        put(backend, BACKEND_META, bytes_str("storageVersion"), bytes_str("3.7.0"));
        put(backend, BACKEND_AUTH, bytes_str("authRevision"), bytes_of("\0\0\0\0\0\0\0\1", 8));
        check_round_trip(backend, shapes[i].name);
        backend_close(backend);
    }
}

/* --- damage --- */

static void small_image(struct buffer *image)
{
    struct backend *backend = backend_open_memory();
    for (uint64_t row = 1; row <= 400; row++) {
        put_revision(backend, row, row % 50 == 0 ? 5000 : row % 40);
    }
    put(backend, BACKEND_META, bytes_str("storageVersion"), bytes_str("3.7.0"));
    image_export(backend, true, 1 << 20, image);
    backend_close(backend);
}

/* A row, or a bucket's name, of what image_read collected. */
static struct bytes next_row(const struct buffer *rows, size_t *at)
{
    size_t begin = *at;
    uint64_t lengths[2];
    if (rows->len - begin < sizeof lengths || (rows->data[begin] >= 'a' && rows->data[begin + 1] != 0)) {
        const uint8_t *end = memchr(rows->data + begin, '\n', rows->len - begin);
        *at = (size_t)(end - rows->data) + 1;
    } else {
        memcpy(lengths, rows->data + begin, sizeof lengths);
        *at += sizeof lengths + lengths[0] + lengths[1];
    }
    return bytes_of(rows->data + begin, *at - begin);
}

/* How many rows differ; UINT_MAX if there are more of them in one than in the other. */
static unsigned rows_that_differ(const struct buffer *a, const struct buffer *b)
{
    size_t at_a = 0, at_b = 0;
    unsigned n = 0;
    while (at_a < a->len && at_b < b->len) {
        n += !bytes_equal(next_row(a, &at_a), next_row(b, &at_b));
    }
    return at_a == a->len && at_b == b->len ? n : UINT32_MAX;
}

/* All of it is one thread: under the sanitizer of threads, which takes ten times as long, a few are enough. */
#ifdef __SANITIZE_THREAD__
#define FLIPS 300
#else
#define FLIPS 2500
#endif

/* With the checksum every change is noticed. Without it (members' images have none), a change is refused, or it is in
 * one key or value, or it changes nothing of what is given out. */
static void check_flips(struct buffer *image, unsigned flips)
{
    struct buffer rows = {0}, damaged = {0};
    const char *reason;
    struct random random;
    unsigned counts[2] = {0}, refused = 0;
    size_t bare = image->len - SNAPSHOT_CHECKSUM;
    random_seed(&random, 17);
    assert_int_equal(image_read(buffer_bytes(image), true, &rows, &reason), 0);
    for (unsigned i = 0; i < flips; i++) {
        size_t at = random_below(&random, bare);
        uint8_t bit = (uint8_t)(1 << random_below(&random, 8));
        image->data[at] ^= bit;
        assert_int_equal(image_read(buffer_bytes(image), true, NULL, &reason), ERR_CORRUPT_DATA);
        assert_non_null(strstr(reason, "offset "));
        damaged.len = 0;
        int error = image_read(bytes_of(image->data, bare), false, &damaged, &reason);
        if (error != 0) {
            assert_int_equal(error, ERR_CORRUPT_DATA);
            assert_non_null(strstr(reason, "offset "));
            refused++;
        } else {
            unsigned differing = rows_that_differ(&rows, &damaged);
            if (differing > 1) {
                fail_msg("bit %#x of byte %zu changes %u rows unseen", bit, at, differing);
            }
            counts[differing]++;
        }
        image->data[at] ^= bit;
    }
    print_message("%u flips: %u refused, %u in one row's content, %u of no effect\n", flips, refused, counts[1],
                  counts[0]);
    assert_true(refused > 0 && counts[0] > 0 && counts[1] > 0);
    buffer_free(&rows);
    buffer_free(&damaged);
}

static void test_flipped_bits_are_refused_or_change_no_structure(void **state)
{
    (void)state;
    struct buffer image = {0}, sample = {0};
    small_image(&image);
    check_flips(&image, FLIPS);
    image_unpack(SAMPLE, &sample);
    check_flips(&sample, FLIPS);
    buffer_free(&image);
    buffer_free(&sample);
}

static void test_a_cut_file_is_refused(void **state)
{
    (void)state;
    struct buffer image = {0};
    const char *reason;
    image_unpack(SAMPLE, &image);
    for (size_t len = 0; len < image.len; len += len < 9000 ? 13 : 501) {
        if (len == image.len - SNAPSHOT_CHECKSUM) {
            continue;
        }
        assert_int_equal(image_read(bytes_of(image.data, len), true, NULL, &reason), ERR_CORRUPT_DATA);
        assert_non_null(strstr(reason, "offset "));
    }
    buffer_free(&image);
}

/* Numbers of the file replaced by hostile ones. */
static void test_hostile_numbers_are_refused(void **state)
{
    (void)state;
    static const uint64_t hostile[] = {0,         1,          2,          3,          4,          0x7f,
                                       0xff,      0x7fff,     0xffff,     0x7fffffff, 0xffffffff, UINT64_MAX,
                                       INT64_MAX, 1ull << 32, 1ull << 52, 17,         18};
    struct buffer image = {0}, rows = {0}, damaged = {0};
    const char *reason;
    unsigned refused = 0, tried = 0;
    small_image(&image);
    size_t bare = image.len - SNAPSHOT_CHECKSUM;
    assert_int_equal(image_read(bytes_of(image.data, bare), false, &rows, &reason), 0);
    for (size_t page = 0; page < bare; page += 4096) {
        for (size_t at = page; at < page + 200; at += 4) {
            for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
                uint8_t before[8];
                memcpy(before, image.data + at, 8);
                size_t width = i % 2 == 0 ? 8 : 4;
                uint8_t number[8];
                put_le64(number, hostile[i]);
                memcpy(image.data + at, number, width);
                damaged.len = 0;
                int error = image_read(bytes_of(image.data, bare), false, &damaged, &reason);
                assert_true(error == 0 || error == ERR_CORRUPT_DATA);
                refused += error != 0;
                tried++;
                memcpy(image.data + at, before, 8);
            }
        }
    }
    print_message("%u hostile numbers, %u refused\n", tried, refused);
    buffer_free(&image);
    buffer_free(&rows);
    buffer_free(&damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_snapshot_of_etcd_has_the_status_that_etcdutl_printed),
        cmocka_unit_test(test_a_live_database_of_etcd_is_read),
        cmocka_unit_test(test_an_empty_store_is_an_image_with_ten_empty_buckets),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_flipped_bits_are_refused_or_change_no_structure),
        cmocka_unit_test(test_a_cut_file_is_refused),
        cmocka_unit_test(test_hostile_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
