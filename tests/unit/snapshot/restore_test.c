/* Restores: what a directory has in it; what is refused, and that nothing of it stays; and a small snapshot damaged in
 * more than two thousand ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/random.h"
#include "kv/kv.h"
#include "kv/lmdb_check.h"
#include "raft/wal/wal.h"
#include "snapshot/restore.h"
#include "tests/support/image_support.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLE "tests/data/etcd/snapshot.db.gz"

enum { CHECKSUM = 32, PAGE = 4096 };

struct bed {
    char folder[64];
    char *file, *dir, *wal;
    struct buffer sample;
};

static const char *const url_1[] = {"http://127.0.0.1:2380"}, *const url_2[] = {"http://127.0.0.2:2380"};
static const struct snapshot_restore_member members[] = {{"one", url_1, 1}, {"two", url_2, 1}};

static void write_file(const char *path, struct bytes content)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.data, 1, content.len, file), content.len);
    fclose(file);
}

static int open_bed(void **state)
{
    struct bed *bed = mem_zalloc(sizeof *bed);
    snprintf(bed->folder, sizeof bed->folder, "/tmp/kedge-restore.XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    bed->file = mem_printf("%s/file.db", bed->folder);
    bed->dir = mem_printf("%s/data", bed->folder);
    bed->wal = mem_printf("%s/log", bed->folder);
    image_unpack(SAMPLE, &bed->sample);
    write_file(bed->file, buffer_bytes(&bed->sample));
    *state = bed;
    return 0;
}

static int close_bed(void **state)
{
    struct bed *bed = *state;
    char *command = mem_printf("rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    free(command);
    buffer_free(&bed->sample);
    free(bed->file);
    free(bed->dir);
    free(bed->wal);
    free(bed);
    return 0;
}

static struct snapshot_restore_config settings(const struct bed *bed)
{
    return (struct snapshot_restore_config){.file = bed->file,
                                            .data_dir = bed->dir,
                                            .name = "two",
                                            .members = members,
                                            .member_count = 2,
                                            .token = "token",
                                            .map_bytes = 1 << 28};
}

static char reason[1200];

static int run(const struct snapshot_restore_config *config, struct snapshot_restore_result *result)
{
    struct snapshot_restore *restore = snapshot_restore_new(config);
    uint64_t done = 0, all = 0, before = 0;
    int progress;
    while ((progress = snapshot_restore_step(restore, 7)) == SNAPSHOT_MORE) {
        snapshot_restore_progress(restore, &done, &all);
        assert_true(done >= before && done <= all);
        before = done;
    }
    snprintf(reason, sizeof reason, "%s", snapshot_restore_reason(restore));
    assert_true((progress == SNAPSHOT_DONE) == (reason[0] == '\0'));
    if (result != NULL) {
        *result = *snapshot_restore_result(restore);
    }
    snapshot_restore_free(restore);
    return progress;
}

/* Names in the folder besides the file. */
static unsigned others(const char *folder)
{
    unsigned n = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        n += entry->d_name[0] != '.' && strcmp(entry->d_name, "file.db") != 0;
    }
    closedir(stream);
    return n;
}

static void remove_tree(const char *path)
{
    char *command = mem_printf("rm -rf %s", path);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Is what was made a directory that a member begins from? */
static void check_directory(const struct bed *bed, const struct snapshot_restore_result *result)
{
    char *path = mem_printf("%s/member/snap/db", bed->dir), *wal_dir = mem_printf("%s/member/wal", bed->dir);
    const struct backend_lmdb_config config = {.path = path, .map_bytes = 1 << 28};
    const struct kv_config kv_config = {.member_id = result->member_id};
    const struct wal_config wal_config = {.fs = wal_fs_posix(), .dir = wal_dir};
    struct backend *backend = NULL;
    struct kv *kv = NULL;
    struct wal_contents log;
    char *why = NULL;
    size_t count;
    if (backend_open_lmdb(&config, &backend, &why) != 0 || kv_open(&kv_config, backend, &kv, &why) != 0) {
        fail_msg("%s", why);
    }
    kv_members(kv, &count);
    assert_int_equal(count, 2);
    assert_true(kv_member(kv, result->member_id) != NULL);
    assert_int_equal(kv_revision(kv), result->revision);
    assert_int_equal(kv_compact_revision(kv), result->compact_revision);
    assert_int_equal(kv_applied_index(kv), 2);
    kv_close(kv);
    backend_close(backend);
    if (wal_verify(&wal_config, &log, &why) != 0) {
        fail_msg("%s", why);
    }
    assert_int_equal(log.metadata.node_id, result->member_id);
    assert_int_equal(log.metadata.cluster_id, result->cluster_id);
    assert_int_equal(log.snapshot.index, 2);
    assert_int_equal(log.last_index, 2);
    assert_int_equal(log.hard_state.term, 1);
    assert_int_equal(log.hard_state.commit, 2);
    wal_contents_free(&log);
    free(path);
    free(wal_dir);
}

/* --- what is made --- */

static void test_a_directory_of_a_member_of_two(void **state)
{
    struct bed *bed = *state;
    struct snapshot_restore_config config = settings(bed);
    struct snapshot_restore_result dry, result;
    config.dry_run = true;
    assert_int_equal(run(&config, &dry), SNAPSHOT_DONE);
    assert_int_equal(others(bed->folder), 0);
    config.dry_run = false;
    assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
    check_directory(bed, &result);
    assert_int_equal(dry.status.revision, result.status.revision);
    assert_int_equal(dry.revision, result.revision);
    assert_int_equal(dry.leases, result.leases);
    assert_true(result.hash_checked);
    assert_int_equal(others(bed->folder), 1);

    assert_int_equal(run(&config, NULL), ERR_INVALID);
    assert_non_null(strstr(reason, "not empty or could not be read"));
    check_directory(bed, &result);
}

static void test_into_an_empty_directory_with_a_log_elsewhere_and_bumped(void **state)
{
    struct bed *bed = *state;
    struct snapshot_restore_config config = settings(bed);
    struct snapshot_restore_result before, result;
    char *moved = mem_printf("%s/member/wal", bed->dir);
    assert_int_equal(mkdir(bed->dir, 0700), 0);
    config.dry_run = true;
    assert_int_equal(run(&config, &before), SNAPSHOT_DONE);
    config = settings(bed);
    config.wal_dir = bed->wal;
    config.bump_revision = 1000;
    assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
    assert_int_equal(result.revision, before.status.revision + 1000);
    assert_int_equal(result.compact_revision, result.revision);
    assert_int_equal(others(bed->folder), 2);
    assert_int_equal(others(bed->dir), 1);
    assert_int_equal(rename(bed->wal, moved), 0);
    check_directory(bed, &result);
    free(moved);
}

static void test_the_log_may_be_told_to_stand_where_it_does_anyway(void **state)
{
    struct bed *bed = *state;
    for (int way = 0; way < 4; way++) {
        struct snapshot_restore_config config = settings(bed);
        struct snapshot_restore_result result;
        char *usual = mem_printf("%s/member/wal", bed->dir);
        char *log = mem_printf("%s/member/%s", bed->dir, way < 2 ? "wal/" : "x/log");
        if (way % 2 == 1) {
            assert_int_equal(mkdir(bed->dir, 0700), 0);
        }
        config.wal_dir = log;
        assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
        assert_int_equal(others(bed->dir), 1);
        if (way >= 2) {
            assert_int_equal(rename(log, usual), 0);
        }
        check_directory(bed, &result);
        assert_int_equal(others(bed->folder), 1);
        remove_tree(bed->dir);
        free(usual);
        free(log);
    }
}

static void test_a_store_of_kedge_is_a_source_too(void **state)
{
    struct bed *bed = *state;
    struct snapshot_restore_config config = settings(bed);
    struct snapshot_restore_result first, result;
    assert_int_equal(run(&config, &first), SNAPSHOT_DONE);
    char *store = mem_printf("%s/member/snap/db", bed->dir), *copy = mem_printf("%s/copy", bed->folder);
    assert_int_equal(rename(store, copy), 0);
    remove_tree(bed->dir);
    config.file = copy;
    config.bump_revision = 5;
    assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
    assert_int_equal(result.kind, SNAPSHOT_INPUT_LMDB);
    assert_int_equal(result.status.revision, first.status.revision);
    assert_int_equal(result.leases, first.leases);
    assert_int_equal(result.old_members, 2);
    assert_int_equal(others(bed->folder), 2);
    check_directory(bed, &result);
    free(store);
    free(copy);
}

/* --- what is refused --- */

static void test_refusals_leave_nothing(void **state)
{
    struct bed *bed = *state;
    struct snapshot_restore_config config = settings(bed);
    char *in_the_way = mem_printf("%s.part", bed->dir), *precious = mem_printf("%s.part/mine", bed->dir);
    struct bytes whole = buffer_bytes(&bed->sample);

    write_file(bed->file, bytes_of(whole.data, whole.len - CHECKSUM));
    assert_int_equal(run(&config, NULL), ERR_CORRUPT_DATA);
    assert_string_equal(reason, "snapshot missing hash but --skip-hash-check=false");
    config.skip_hash_check = true;
    config.bump_revision = INT64_MAX;
    assert_int_equal(run(&config, NULL), ERR_INVALID);
    assert_non_null(strstr(reason, "beyond what a revision can be"));
    config.bump_revision = 0;
    write_file(bed->file, bytes_str("no database"));
    assert_int_equal(run(&config, NULL), ERR_CORRUPT_DATA);
    assert_non_null(strstr(reason, "invalid database"));
    config.file = "/nosuch/file";
    assert_int_equal(run(&config, NULL), ERR_ABSENT);
    assert_string_equal(reason, "open /nosuch/file: no such file or directory");
    assert_int_equal(others(bed->folder), 0);

    config = settings(bed);
    write_file(bed->file, whole);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    write_file(precious, bytes_str("precious"));
    assert_int_equal(run(&config, NULL), ERR_INVALID);
    assert_non_null(strstr(reason, "move it away"));
    assert_int_equal(access(precious, F_OK), 0);
    assert_int_equal(unlink(precious), 0);

    config.wal_dir = bed->folder;
    assert_int_equal(run(&config, NULL), ERR_INVALID);
    assert_non_null(strstr(reason, "exists"));
    config.wal_dir = NULL;
    assert_int_equal(run(&config, NULL), SNAPSHOT_DONE); /* an empty .part is one of an interrupted restore */
    free(in_the_way);
    free(precious);
}

static void test_what_an_interrupted_restore_left_is_taken_away(void **state)
{
    struct bed *bed = *state;
    struct snapshot_restore_config config = settings(bed);
    struct snapshot_restore_result result;
    char *part = mem_printf("%s.part", bed->dir), *mark = mem_printf("%s.part/wal-dir", bed->dir);
    config.wal_dir = bed->wal;
    assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
    /* as if it had ended between placing the log and placing the store */
    assert_int_equal(rename(bed->dir, part), 0);
    assert_int_equal(run(&config, NULL), ERR_INVALID); /* nobody says that the log is ours */
    write_file(mark, bytes_str(bed->wal));
    assert_int_equal(run(&config, &result), SNAPSHOT_DONE);
    assert_int_equal(others(bed->folder), 2);
    free(part);
    free(mark);
}

/* --- damage --- */

struct damage {
    const char *kind;
    size_t at;
    struct buffer bytes;
};

static void flip(struct damage *d, struct bytes whole, size_t at, unsigned bit)
{
    buffer_append(&d->bytes, whole.data, whole.len);
    d->bytes.data[at] ^= (uint8_t)(1u << bit);
    *d = (struct damage){"flipped", at, d->bytes};
}

static void cut(struct damage *d, struct bytes whole, size_t at)
{
    buffer_append(&d->bytes, whole.data, at);
    *d = (struct damage){"cut", at, d->bytes};
}

/* Bytes at..at+len come twice. */
static void repeat(struct damage *d, struct bytes whole, size_t at, size_t len)
{
    buffer_append(&d->bytes, whole.data, at + len);
    buffer_append(&d->bytes, whole.data + at, whole.len - at);
    *d = (struct damage){"repeated", at, d->bytes};
}

/* A page's bytes stand where another's should. */
static void overwrite(struct damage *d, struct bytes whole, size_t to, size_t from)
{
    buffer_append(&d->bytes, whole.data, whole.len);
    memcpy(d->bytes.data + to * PAGE, whole.data + from * PAGE, PAGE);
    *d = (struct damage){"overwritten", to * PAGE, d->bytes};
}

/* Positions of each class: heads and metas of pages, element tables, keys and values, gaps, the checksum. */
static size_t position(unsigned i, struct bytes whole)
{
    uint64_t number = i * UINT64_C(0x9e3779b97f4a7c15);
    size_t pages = whole.len / PAGE, page = (size_t)(number >> 33) % pages * PAGE;
    switch (i % 6) {
    case 0: /* a head, or a meta */
        return page + (size_t)(number >> 17) % 80;
    case 1: /* an element */
        return page + 16 + (size_t)(number >> 17) % 256;
    case 2:
        return (size_t)(number >> 13) % (2 * PAGE);
    case 3: /* the last bytes: the checksum, where there is one */
        return whole.len - 1 - (size_t)(number >> 17) % 64;
    default:
        return (size_t)(number >> 5) % whole.len;
    }
}

static void damage(struct damage *d, struct bytes whole, unsigned i)
{
    size_t at = position(i, whole), pages = whole.len / PAGE;
    d->bytes.len = 0;
    switch (i % 8) {
    case 5:
        cut(d, whole, at);
        break;
    case 6:
        repeat(d, whole, at, at + 512 <= whole.len && i % 16 == 6 ? 512 : (whole.len - at) / 2 + 1);
        break;
    case 7:
        overwrite(d, whole, i / 8 % pages, i / 8 / pages % pages);
        break;
    default:
        flip(d, whole, at, i % 7);
        break;
    }
}

/* With a checksum nothing passes: what is damaged is refused, and not one directory is made. */
static void test_damaged_snapshot_files_are_refused_with_a_reason(void **state)
{
    struct bed *bed = *state;
    struct bytes whole = buffer_bytes(&bed->sample);
    struct snapshot_restore_config config = settings(bed);
    struct damage d = {0};
    unsigned same = 0;
    for (unsigned i = 0; i < 2400; i++) {
        damage(&d, whole, i);
        if (bytes_equal(buffer_bytes(&d.bytes), whole)) {
            same++; /* a page over itself */
            continue;
        }
        write_file(bed->file, buffer_bytes(&d.bytes));
        int result = run(&config, NULL);
        if (result != ERR_CORRUPT_DATA || others(bed->folder) != 0) {
            fail_msg("%s at %zu (%u): %d, %s", d.kind, d.at, i, result, reason);
        }
    }
    assert_true(same < 200);
    buffer_free(&d.bytes);
}

/* Without one, damage to the structure is refused; bits of what users wrote are nobody's to judge. Whatever is taken
 * gives a whole directory. */
static void test_damaged_databases_are_refused_or_become_whole_directories(void **state)
{
    struct bed *bed = *state;
    struct bytes whole = bytes_of(bed->sample.data, bed->sample.len - CHECKSUM);
    struct damage d = {0};
    unsigned taken = 0, refused = 0, unaffected = 0, made = 0;
    struct snapshot_status before;
    const char *why;
    assert_int_equal(image_status(whole, &before, &why), 0);
    for (unsigned i = 0; i < 2400; i++) {
        struct snapshot_restore_config config = settings(bed);
        struct snapshot_restore_result result;
        struct snapshot_memory memory;
        damage(&d, whole, i);
        snapshot_memory_init(&memory, buffer_bytes(&d.bytes));
        config.source = &memory.source;
        config.skip_hash_check = config.dry_run = true;
        int dry = run(&config, &result);
        assert_true(dry == SNAPSHOT_DONE || dry == ERR_CORRUPT_DATA || dry == ERR_INVALID);
        refused += dry != SNAPSHOT_DONE;
        taken += dry == SNAPSHOT_DONE;
        unaffected += dry == SNAPSHOT_DONE && result.status.hash == before.hash;
        config.dry_run = false;
        if (i % 100 == 0 || (dry == SNAPSHOT_DONE && result.status.hash != before.hash && made++ < 20)) {
            int real = run(&config, &result);
            assert_int_equal(real, dry);
            if (real == SNAPSHOT_DONE) {
                check_directory(bed, &result);
                remove_tree(bed->dir);
            }
            assert_int_equal(others(bed->folder), 0);
        }
    }
    print_message("%u refused, %u taken, of these %u unaffected\n", refused, taken, unaffected);
    assert_true(refused > 500 && unaffected > 500);
    buffer_free(&d.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_directory_of_a_member_of_two, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_into_an_empty_directory_with_a_log_elsewhere_and_bumped, open_bed,
                                        close_bed),
        cmocka_unit_test_setup_teardown(test_the_log_may_be_told_to_stand_where_it_does_anyway, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_a_store_of_kedge_is_a_source_too, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_refusals_leave_nothing, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_what_an_interrupted_restore_left_is_taken_away, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_damaged_snapshot_files_are_refused_with_a_reason, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(test_damaged_databases_are_refused_or_become_whole_directories, open_bed,
                                        close_bed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
