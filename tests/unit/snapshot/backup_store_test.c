/* Backups in a directory: notes, packing, verification, retention, and targets that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/random.h"
#include "snapshot/backup_store.h"
#include "snapshot/backup_zstd.h"
#include "tests/support/image_support.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLE "tests/data/etcd/snapshot.db.gz"
#define NOON INT64_C(1795435200)

struct bed {
    char folder[64];
    struct backup_store store;
    struct buffer image; /* a snapshot of etcd's, with its checksum */
    struct snapshot_status status;
};

static void bed_open(struct bed *bed, const char *keep)
{
    struct arena arena = {0};
    const char *reason;
    *bed = (struct bed){.folder = "/tmp/kedge-backup.XXXXXX", .store = {.cluster_id = 0xc1}};
    assert_non_null(mkdtemp(bed->folder));
    assert_null(backup_keep_parse(&arena, keep, &bed->store.keep));
    arena_free(&arena);
    bed->store.target = backup_directory_new(bed->folder);
    image_unpack(SAMPLE, &bed->image);
    assert_int_equal(image_status(buffer_bytes(&bed->image), &bed->status, &reason), 0);
}

static void bed_close(struct bed *bed)
{
    char *command = mem_printf("rm -rf %s", bed->folder);
    bed->store.target->ops->free(bed->store.target);
    assert_int_equal(system(command), 0);
    free(command);
    buffer_free(&bed->image);
}

static unsigned files(const struct bed *bed)
{
    unsigned n = 0;
    DIR *stream = opendir(bed->folder);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(stream);
    return n;
}

static struct backup_writer writer_of(struct bed *bed, int64_t time_s, bool zstd)
{
    return (struct backup_writer){.store = &bed->store,
                                  .note = {.time_s = time_s,
                                           .slot_s = time_s,
                                           .revision = bed->status.revision,
                                           .zstd = zstd,
                                           .member_id = 7,
                                           .cluster_id = bed->store.cluster_id,
                                           .member = "m\"1\n"}};
}

static int write_all(struct backup_writer *writer, struct bytes image)
{
    int error = backup_writer_begin(writer);
    while (error == 0 && image.len > 0) {
        size_t n = image.len < 5000 ? image.len : 5000;
        error = backup_writer_write(writer, bytes_of(image.data, n));
        image = bytes_skip(image, n);
    }
    return error;
}

static struct backup_note take(struct bed *bed, int64_t time_s, bool zstd)
{
    struct backup_writer writer = writer_of(bed, time_s, zstd);
    assert_int_equal(write_all(&writer, buffer_bytes(&bed->image)), 0);
    assert_int_equal(backup_writer_finish(&writer, NULL), 0);
    assert_int_equal(backup_writer_commit(&writer), 0);
    backup_writer_abort(&writer);
    return writer.note;
}

/* --- notes --- */

static void test_a_note_reads_back_as_it_was_written(void **state)
{
    (void)state;
    struct backup_note note = {.time_s = NOON,
                               .slot_s = NOON - 60,
                               .revision = INT64_MAX,
                               .hash = 4294967295u,
                               .size = UINT64_MAX,
                               .stored_size = 1,
                               .version = "3.7.0",
                               .zstd = true,
                               .member_id = UINT64_MAX,
                               .cluster_id = 1,
                               .member = "a \"b\" \\ \x01 \xc3\xa9",
                               .duration_ms = 5,
                               .damage = "offset 3: /bad/"};
    struct backup_note back;
    struct buffer text = {0};
    backup_note_name(&note);
    assert_string_equal(note.name, "kedge-20261123T120000Z-r9223372036854775807.db.zst");
    backup_note_print(&note, &text);
    assert_true(backup_note_parse(buffer_bytes(&text), &back));
    assert_memory_equal(&note, &back, sizeof note);
    for (size_t i = 0; i + 2 < text.len; i++) { /* up to the closing brace */
        assert_false(backup_note_parse(bytes_of(text.data, i), &back));
    }
    buffer_free(&text);
}

static void test_only_own_names_are_backups(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "kedge-",
        "kedge-20261123T120000Z-r1.json",
        "kedge-20261123T120000Z-r.db",
        "kedge-20261123T120000Z-r1.db.part",
        "kedge-20261323T120000Z-r1.db",
        "kedge-20261123T126000Z-r1x.db",
        "kedge-20261123 120000Z-r1.db",
        "../kedge-20261123T120000Z-r1.db",
        "kedge-20261123T120000Z-r111111111111111111111111111111111111111111111111111111111111.db",
    };
    char beside[BACKUP_NAME_BYTES];
    int64_t time_s;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(backup_note_is_backup(others[i], &time_s));
        assert_false(backup_note_beside(others[i], beside));
    }
    assert_true(backup_note_is_backup("kedge-20261123T120000Z-r1.db", &time_s));
    assert_int_equal(time_s, NOON);
    assert_true(backup_note_beside("kedge-20261123T120000Z-r1.db.zst", beside));
    assert_string_equal(beside, "kedge-20261123T120000Z-r1.json");
}

/* --- packing --- */

static void fill(struct buffer *out, size_t len, struct random *random)
{
    uint8_t *p = buffer_reserve(out, len + 1);
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i % 1000 < 700 ? i / 1000 : random_next(random));
    }
    out->len = len;
}

static void test_what_was_packed_can_be_read_anywhere(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, BACKUP_ZSTD_FRAME - 1, BACKUP_ZSTD_FRAME, 7 * BACKUP_ZSTD_FRAME + 12345};
    struct random random;
    random_seed(&random, 3);
    for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
        struct buffer plain = {0}, packed = {0};
        struct snapshot_memory memory;
        const char *reason;
        int number;
        fill(&plain, lengths[n], &random);
        struct backup_packer *packer = backup_packer_new();
        for (size_t at = 0, len; at < plain.len; at += len) {
            len = 1 + random_below(&random, 300000);
            len = len < plain.len - at ? len : plain.len - at;
            backup_packer_add(packer, bytes_of(plain.data + at, len), &packed);
        }
        backup_packer_end(packer, &packed);
        backup_packer_free(packer);
        snapshot_memory_init(&memory, buffer_bytes(&packed));
        struct backup_unpacker *unpacker = backup_unpacker_new(&memory.source, &reason);
        assert_non_null(unpacker);
        struct snapshot_source *source = backup_unpacker_source(unpacker);
        assert_int_equal(source->size, plain.len);
        uint8_t *out = mem_alloc(3 * BACKUP_ZSTD_FRAME);
        for (int i = 0; i < 50; i++) {
            size_t from = random_below(&random, plain.len + 1), len = random_below(&random, 3 * BACKUP_ZSTD_FRAME);
            len = len < plain.len - from ? len : plain.len - from;
            assert_int_equal(source->read(source, from, out, len, &number), 0);
            assert_memory_equal(out, plain.data + from, len);
        }
        free(out);
        backup_unpacker_free(unpacker);
        buffer_free(&plain);
        buffer_free(&packed);
    }
}

/* --- one backup --- */

static void test_a_backup_is_there_with_its_note_and_verifies(void **state)
{
    (void)state;
    for (int zstd = 0; zstd < 2; zstd++) {
        struct bed bed;
        struct backup_note *notes, found;
        size_t count;
        bed_open(&bed, "all");
        struct backup_note note = take(&bed, NOON, zstd != 0);
        assert_int_equal(files(&bed), 2);
        assert_int_equal(note.hash, bed.status.hash);
        assert_int_equal(note.size, bed.image.len);
        assert_string_equal(note.version, bed.status.version);
        assert_int_equal(backup_store_list(&bed.store, &notes, &count), 0);
        assert_int_equal(count, 1);
        assert_memory_equal(&notes[0], &note, sizeof note);
        free(notes);
        assert_int_equal(backup_store_verify(&bed.store, "", &found, NULL), 0);
        assert_int_equal(backup_store_verify(&bed.store, note.name, &found, NULL), 0);
        assert_int_equal(backup_store_verify(&bed.store, "kedge-20261123T120001Z-r1.db", &found, NULL), ERR_ABSENT);
        bed_close(&bed);
    }
}

static void test_nothing_stands_under_a_final_name_before_commit(void **state)
{
    (void)state;
    struct bed bed;
    struct backup_note *notes;
    size_t count;
    bed_open(&bed, "all");
    struct backup_writer writer = writer_of(&bed, NOON, false);
    assert_int_equal(write_all(&writer, buffer_bytes(&bed.image)), 0);
    assert_int_equal(backup_writer_finish(&writer, NULL), 0);
    assert_int_equal(files(&bed), 1); /* .NAME.part */
    assert_int_equal(backup_store_list(&bed.store, &notes, &count), 0);
    assert_int_equal(count, 0);
    free(notes);
    backup_writer_abort(&writer);
    assert_int_equal(files(&bed), 0);
    bed_close(&bed);
}

static void test_what_cannot_be_restored_is_not_taken_for_a_backup(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 11);
    for (int i = 0; i < 40; i++) {
        struct bed bed;
        bed_open(&bed, "all");
        bed.image.data[random_below(&random, bed.image.len)] ^= (uint8_t)(1u << random_below(&random, 8));
        struct backup_writer writer = writer_of(&bed, NOON, i % 2 == 0);
        assert_int_equal(write_all(&writer, buffer_bytes(&bed.image)), 0);
        assert_int_equal(backup_writer_finish(&writer, NULL), ERR_CORRUPT_DATA);
        assert_non_null(strstr(bed.store.reason, "cannot be restored"));
        backup_writer_abort(&writer);
        assert_int_equal(files(&bed), 0);
        bed_close(&bed);
    }
}

static void test_two_of_one_second_get_different_names(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "all");
    struct backup_note first = take(&bed, NOON, false), second = take(&bed, NOON, false),
                       packed = take(&bed, NOON, true);
    assert_int_equal(second.time_s, first.time_s + 1);
    assert_int_equal(packed.time_s, first.time_s + 2);
    assert_int_equal(files(&bed), 6);
    bed_close(&bed);
}

static void test_it_can_be_given_up_while_it_is_verified(void **state)
{
    (void)state;
    struct bed bed;
    atomic_bool cancel = true;
    bed_open(&bed, "all");
    struct backup_writer writer = writer_of(&bed, NOON, false);
    assert_int_equal(write_all(&writer, buffer_bytes(&bed.image)), 0);
    assert_int_equal(backup_writer_finish(&writer, &cancel), ERR_STOPPED);
    backup_writer_abort(&writer);
    assert_int_equal(files(&bed), 0);
    bed_close(&bed);
}

static void damage(const struct bed *bed, const char *name, off_t at)
{
    char *path = mem_printf("%s/%s", bed->folder, name);
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    free(path);
}

static void test_damage_is_found_noted_and_forgotten_when_it_is_gone(void **state)
{
    (void)state;
    for (int zstd = 0; zstd < 2; zstd++) {
        struct bed bed;
        struct backup_note *notes, found;
        size_t count, removed;
        bed_open(&bed, "1");
        take(&bed, NOON, zstd != 0);
        struct backup_note note = take(&bed, NOON + 60, zstd != 0);
        damage(&bed, note.name, 1000);
        assert_int_equal(backup_store_verify(&bed.store, "", &found, NULL), ERR_CORRUPT_DATA);
        assert_int_equal(backup_store_list(&bed.store, &notes, &count), 0);
        assert_string_not_equal(notes[0].damage, "");
        free(notes);
        assert_int_equal(backup_store_retain(&bed.store, note.time_s, &removed), 0);
        assert_int_equal(removed, 0); /* the older one is the last good one */
        damage(&bed, note.name, 1000);
        assert_int_equal(backup_store_verify(&bed.store, "", &found, NULL), 0);
        assert_string_equal(found.damage, "");
        assert_int_equal(backup_store_retain(&bed.store, note.time_s, &removed), 0);
        assert_int_equal(removed, 1);
        assert_int_equal(files(&bed), 2);
        bed_close(&bed);
    }
}

/* --- retention --- */

static void test_retention_removes_the_oldest_with_their_notes_and_leaves_other_files(void **state)
{
    (void)state;
    struct bed bed;
    size_t removed;
    bed_open(&bed, "2");
    char *other = mem_printf("%s/README", bed.folder);
    close(open(other, O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < 5; i++) {
        take(&bed, NOON + i * 60, false);
    }
    bed.store.cluster_id = 0xc2; /* another cluster uses the same folder */
    take(&bed, NOON, false);
    bed.store.cluster_id = 0xc1;
    assert_int_equal(backup_store_retain(&bed.store, NOON + 240, &removed), 0);
    assert_int_equal(removed, 3);
    assert_int_equal(files(&bed), 1 + 2 * (2 + 1));
    assert_int_equal(backup_store_retain(&bed.store, NOON + 240, &removed), 0);
    assert_int_equal(removed, 0);
    free(other);
    bed_close(&bed);
}

/* While the clock was ahead some were taken; now it is right again. */
static void test_a_new_backup_stays_though_others_have_later_times(void **state)
{
    (void)state;
    struct bed bed;
    size_t removed;
    bed_open(&bed, "2");
    for (int i = 0; i < 3; i++) {
        take(&bed, NOON + 365 * 86400 + i * 60, false);
    }
    struct backup_note first = take(&bed, NOON, false);
    assert_int_equal(backup_store_retain(&bed.store, first.time_s, &removed), 0);
    assert_int_equal(removed, 2);
    struct backup_note second = take(&bed, NOON + 60, false);
    assert_int_equal(backup_store_retain(&bed.store, second.time_s, &removed), 0);
    assert_int_equal(removed, 1);
    struct backup_note *notes;
    size_t count;
    assert_int_equal(backup_store_list(&bed.store, &notes, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(notes[0].name, second.name);
    assert_string_equal(notes[1].name, first.name);
    free(notes);
    bed_close(&bed);
}

static void test_what_was_left_without_a_note_goes_after_a_day(void **state)
{
    (void)state;
    struct bed bed;
    size_t removed;
    bed_open(&bed, "all");
    struct backup_note note = take(&bed, NOON, false);
    char beside[BACKUP_NAME_BYTES];
    assert_true(backup_note_beside(note.name, beside));
    assert_int_equal(bed.store.target->ops->remove(bed.store.target, beside), 0);
    take(&bed, NOON + 3600, false);
    assert_int_equal(backup_store_retain(&bed.store, NOON + 3600, &removed), 0);
    assert_int_equal(files(&bed), 3);
    take(&bed, NOON + 90000, false);
    assert_int_equal(backup_store_retain(&bed.store, NOON + 90000, &removed), 0);
    assert_int_equal(files(&bed), 4);
    bed_close(&bed);
}

/* --- leftovers, and targets that fail --- */

static void test_leftovers_of_the_dead_go_and_those_of_the_living_stay(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "all");
    char *dead = mem_printf("%s/.kedge-20261123T110000Z-r1.db.part", bed.folder);
    char *alive = mem_printf("%s/.kedge-20261123T110001Z-r1.db.part", bed.folder);
    close(open(dead, O_CREAT | O_WRONLY, 0600));
    int fd = open(alive, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    take(&bed, NOON, false);
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(files(&bed), 3);
    close(fd);
    free(dead);
    free(alive);
    bed_close(&bed);
}

static void *sweep_on(void *arg)
{
    struct bed *bed = ((void **)arg)[0];
    atomic_bool *stop = ((void **)arg)[1];
    struct backup_target *target = backup_directory_new(bed->folder);
    while (!atomic_load(stop)) {
        assert_int_equal(target->ops->sweep(target), 0);
    }
    target->ops->free(target);
    return NULL;
}

/* Another cluster's members begin a backup in the same folder, and remove what the dead have left. */
static void test_what_is_being_written_is_not_swept(void **state)
{
    (void)state;
    struct bed bed;
    pthread_t thread;
    atomic_bool stop = false;
    bed_open(&bed, "all");
    void *arg[] = {&bed, &stop};
    assert_int_equal(pthread_create(&thread, NULL, sweep_on, arg), 0);
    struct backup_target *target = bed.store.target;
    for (int i = 0; i < 100; i++) {
        char name[BACKUP_NAME_BYTES], beside[BACKUP_NAME_BYTES];
        snprintf(name, sizeof name, "kedge-20261123T110000Z-r%d.db", i);
        assert_true(backup_note_beside(name, beside));
        assert_int_equal(target->ops->put(target, beside, bytes_str("{}")), 0);
        assert_int_equal(target->ops->begin(target, name), 0);
        assert_int_equal(target->ops->write(target, bytes_str("x")), 0);
        assert_int_equal(target->ops->commit(target), 0);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    bed_close(&bed);
}

static void test_a_missing_target_is_an_error_and_is_not_made(void **state)
{
    (void)state;
    struct bed bed;
    size_t removed;
    bed_open(&bed, "all");
    assert_int_equal(rmdir(bed.folder), 0);
    struct backup_writer writer = writer_of(&bed, NOON, false);
    assert_int_equal(backup_writer_begin(&writer), ERR_ABSENT);
    assert_non_null(strstr(bed.store.reason, "No such file or directory"));
    backup_writer_abort(&writer);
    assert_int_equal(backup_store_retain(&bed.store, NOON, &removed), ERR_ABSENT);
    assert_int_equal(access(bed.folder, F_OK), -1);
    assert_int_equal(mkdir(bed.folder, 0700), 0);
    take(&bed, NOON, false);
    bed_close(&bed);
}

static void test_a_full_target_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    struct bed bed;
    struct rlimit before, small;
    bed_open(&bed, "all");
    struct backup_writer writer = writer_of(&bed, NOON, false);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int error = write_all(&writer, buffer_bytes(&bed.image));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, ERR_DISK_FULL);
    backup_writer_abort(&writer);
    assert_int_equal(files(&bed), 0);
    take(&bed, NOON, false);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_note_reads_back_as_it_was_written),
        cmocka_unit_test(test_only_own_names_are_backups),
        cmocka_unit_test(test_what_was_packed_can_be_read_anywhere),
        cmocka_unit_test(test_a_backup_is_there_with_its_note_and_verifies),
        cmocka_unit_test(test_nothing_stands_under_a_final_name_before_commit),
        cmocka_unit_test(test_what_cannot_be_restored_is_not_taken_for_a_backup),
        cmocka_unit_test(test_two_of_one_second_get_different_names),
        cmocka_unit_test(test_it_can_be_given_up_while_it_is_verified),
        cmocka_unit_test(test_damage_is_found_noted_and_forgotten_when_it_is_gone),
        cmocka_unit_test(test_retention_removes_the_oldest_with_their_notes_and_leaves_other_files),
        cmocka_unit_test(test_a_new_backup_stays_though_others_have_later_times),
        cmocka_unit_test(test_what_was_left_without_a_note_goes_after_a_day),
        cmocka_unit_test(test_leftovers_of_the_dead_go_and_those_of_the_living_stay),
        cmocka_unit_test(test_what_is_being_written_is_not_swept),
        cmocka_unit_test(test_a_missing_target_is_an_error_and_is_not_made),
        cmocka_unit_test(test_a_full_target_is_an_error_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
