/* Images as stores: the rows of etcd's snapshot come into an LMDB file with the position that it is given; whatever
 * fails leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "snapshot/export.h"
#include "snapshot/install.h"
#include "tests/support/image_support.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAMPLE "tests/data/etcd/snapshot.db.gz"

struct bed {
    char folder[64];
    char *image, *store;
};

static void bed_open(struct bed *bed)
{
    *bed = (struct bed){.folder = "/tmp/kedge-install.XXXXXX"};
    assert_non_null(mkdtemp(bed->folder));
    bed->image = mem_printf("%s/image", bed->folder);
    bed->store = mem_printf("%s/db.tmp.1", bed->folder);
}

static unsigned files(const struct bed *bed)
{
    unsigned n = 0;
    DIR *stream = opendir(bed->folder);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        n += entry->d_name[0] != '.';
    }
    closedir(stream);
    return n;
}

static void bed_close(struct bed *bed)
{
    char *command = mem_printf("rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    free(command);
    free(bed->image);
    free(bed->store);
}

static void write_image(const struct bed *bed, const struct buffer *content)
{
    FILE *file = fopen(bed->image, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content->data, 1, content->len, file), content->len);
    fclose(file);
}

static int run(const struct snapshot_install_config *config, char *reason, size_t room)
{
    struct snapshot_install *install = snapshot_install_new(config);
    uint64_t done = 0, all = 0, before = 0;
    int progress;
    while ((progress = snapshot_install_step(install, 10)) == SNAPSHOT_MORE) {
        snapshot_install_progress(install, &done, &all);
        assert_true(done >= before && done <= all);
        before = done;
    }
    snprintf(reason, room, "%s", snapshot_install_reason(install));
    snapshot_install_free(install);
    return progress;
}

static struct snapshot_install_config settings(const struct bed *bed)
{
    return (struct snapshot_install_config){
        .image = bed->image, .store = bed->store, .verify = true, .index = 5000, .term = 7, .map_bytes = 1 << 28};
}

static struct backend *open_store(const struct bed *bed)
{
    const struct backend_lmdb_config config = {.path = bed->store, .map_bytes = 1 << 28};
    struct backend *backend = NULL;
    char *reason = NULL;
    if (backend_open_lmdb(&config, &backend, &reason) != 0) {
        fail_msg("%s", reason);
    }
    return backend;
}

static uint64_t number(struct backend *backend, const char *name)
{
    struct backend_read *read;
    struct bytes value;
    assert_int_equal(backend_read_begin(backend, &read), 0);
    assert_int_equal(backend_get(read, BACKEND_META, bytes_str(name), &value), 0);
    uint64_t n = get_be64(value.data);
    backend_read_end(read);
    return n;
}

static void test_an_image_of_etcd_becomes_a_store_and_an_image_again(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0}, again = {0};
    struct snapshot_status first, second;
    const char *why;
    char reason[600];
    bed_open(&bed);
    image_unpack(SAMPLE, &image);
    write_image(&bed, &image);
    const struct backend_op id = {BACKEND_PUT, BACKEND_KEDGE, bytes_str("member-id"), bytes_str("12345678")};
    struct snapshot_install_config config = settings(&bed);
    config.rows = &id;
    config.row_count = 1;
    if (run(&config, reason, sizeof reason) != 0) {
        fail_msg("%s", reason);
    }
    struct backend *store = open_store(&bed);
    assert_int_equal(number(store, "consistent_index"), 5000);
    assert_int_equal(number(store, "term"), 7);
    struct backend_read *read;
    struct bytes value;
    assert_int_equal(backend_read_begin(store, &read), 0);
    assert_int_equal(backend_get(read, BACKEND_KEDGE, bytes_str("member-id"), &value), 0);
    backend_read_end(read);
    image_export(store, true, 4096, &again);
    backend_close(store);
    assert_int_equal(image_status(buffer_bytes(&image), &first, &why), 0);
    assert_int_equal(image_status(buffer_bytes(&again), &second, &why), 0);
    assert_int_equal(second.revision, first.revision);
    assert_int_equal(second.keys, first.keys);
    assert_string_equal(second.version, first.version);
    buffer_free(&image);
    buffer_free(&again);
    bed_close(&bed);
}

static void test_without_a_position_the_images_own_is_kept_and_the_hash_too(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0}, again = {0};
    struct snapshot_status first, second;
    const char *why;
    char reason[600];
    bed_open(&bed);
    image_unpack(SAMPLE, &image);
    write_image(&bed, &image);
    struct snapshot_install_config config = settings(&bed);
    config.index = config.term = 0;
    assert_int_equal(run(&config, reason, sizeof reason), 0);
    struct backend *store = open_store(&bed);
    image_export(store, true, 100000, &again);
    backend_close(store);
    assert_int_equal(image_status(buffer_bytes(&image), &first, &why), 0);
    assert_int_equal(image_status(buffer_bytes(&again), &second, &why), 0);
    assert_int_equal(second.hash, first.hash);
    buffer_free(&image);
    buffer_free(&again);
    bed_close(&bed);
}

static void test_damage_is_refused_with_file_and_offset_and_leaves_nothing(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0};
    char reason[600];
    bed_open(&bed);
    image_unpack(SAMPLE, &image);
    struct snapshot_install_config config = settings(&bed);
    for (unsigned i = 0; i < 40; i++) {
        size_t at = (size_t)i * 1741 % (image.len - 32);
        image.data[at] ^= 0x40;
        write_image(&bed, &image);
        assert_int_equal(run(&config, reason, sizeof reason), ERR_CORRUPT_DATA);
        assert_non_null(strstr(reason, bed.image));
        assert_non_null(strstr(reason, "offset "));
        assert_int_equal(files(&bed), 1);
        image.data[at] ^= 0x40;
    }
    image.len = 30000;
    write_image(&bed, &image);
    assert_int_equal(run(&config, reason, sizeof reason), ERR_CORRUPT_DATA);
    assert_int_equal(files(&bed), 1);
    buffer_free(&image);
    unlink(bed.image);
    assert_int_equal(run(&config, reason, sizeof reason), ERR_ABSENT);
    assert_int_equal(files(&bed), 0);
    bed_close(&bed);
}

static void test_an_image_beyond_its_position_is_refused(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0};
    char reason[600];
    bed_open(&bed);
    image_unpack(SAMPLE, &image);
    write_image(&bed, &image);
    struct snapshot_install_config config = settings(&bed);
    config.index = 3;
    assert_int_equal(run(&config, reason, sizeof reason), ERR_CORRUPT_DATA);
    assert_non_null(strstr(reason, "beyond 3"));
    assert_int_equal(files(&bed), 1);
    buffer_free(&image);
    bed_close(&bed);
}

static void put(struct backend *backend, enum backend_table table, struct bytes key, struct bytes value)
{
    struct backend_op op = {BACKEND_PUT, (uint8_t)table, key, value};
    const struct backend_batch batch = {.ops = &op, .count = 1, .index = 9, .term = 2, .bytes = 1};
    assert_int_equal(backend_commit(backend, &batch), 0);
}

static void test_a_full_disk_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0};
    struct rlimit before, small;
    char reason[600];
    bed_open(&bed);
    struct backend *backend = backend_open_memory();
    void *value = calloc(1, 1 << 20);
    for (uint8_t i = 1; i <= 20; i++) {
        uint8_t key[17] = {0, 0, 0, 0, 0, 0, 0, i, '_'};
        put(backend, BACKEND_KEY, bytes_of(key, sizeof key), bytes_of(value, 1 << 20));
    }
    free(value);
    image_export(backend, true, 1 << 20, &image);
    backend_close(backend);
    write_image(&bed, &image);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 10 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct snapshot_install_config config = settings(&bed);
    int error = run(&config, reason, sizeof reason);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, ERR_DISK_FULL);
    assert_non_null(strstr(reason, "no space left"));
    assert_int_equal(files(&bed), 1);
    assert_int_equal(run(&config, reason, sizeof reason), 0);
    buffer_free(&image);
    bed_close(&bed);
}

static void test_names_longer_than_the_store_has_keys_pass_through(void **state)
{
    (void)state;
    struct bed bed;
    struct buffer image = {0}, again = {0}, rows[2] = {{0}, {0}};
    char reason[600];
    const char *why;
    bed_open(&bed);
    struct backend *backend = backend_open_memory();
    static uint8_t name[20000];
    memset(name, 'n', sizeof name);
    for (size_t i = 0; i < 30; i++) {
        name[600] = (uint8_t)('a' + i);
        put(backend, BACKEND_AUTH_USERS, bytes_of(name, 500 + i * 600), bytes_str("user"));
    }
    image_export(backend, true, 1 << 20, &image);
    backend_close(backend);
    write_image(&bed, &image);
    struct snapshot_install_config config = settings(&bed);
    config.index = config.term = 0;
    assert_int_equal(run(&config, reason, sizeof reason), 0);
    struct backend *store = open_store(&bed);
    image_export(store, true, 1 << 20, &again);
    backend_close(store);
    assert_int_equal(image_read(buffer_bytes(&image), true, &rows[0], &why), 0);
    assert_int_equal(image_read(buffer_bytes(&again), true, &rows[1], &why), 0);
    assert_int_equal(rows[0].len, rows[1].len);
    assert_memory_equal(rows[0].data, rows[1].data, rows[0].len);
    buffer_free(&image);
    buffer_free(&again);
    buffer_free(&rows[0]);
    buffer_free(&rows[1]);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_image_of_etcd_becomes_a_store_and_an_image_again),
        cmocka_unit_test(test_without_a_position_the_images_own_is_kept_and_the_hash_too),
        cmocka_unit_test(test_damage_is_refused_with_file_and_offset_and_leaves_nothing),
        cmocka_unit_test(test_an_image_beyond_its_position_is_refused),
        cmocka_unit_test(test_a_full_disk_is_told_and_leaves_nothing),
        cmocka_unit_test(test_names_longer_than_the_store_has_keys_pass_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
