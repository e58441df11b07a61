/* The log's thread when the disk is full or fails beside the open segment. Real files; only space is pretended. */
#include "cmd/kedge/engine.h"

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SEGMENT_BYTES ((uint64_t)256 << 10)

static atomic_bool full, broken;
static struct wal_fs fs;

static int allocate(struct wal_file *file, uint64_t offset, uint64_t len)
{
    return atomic_load(&full) ? -ENOSPC : wal_fs_posix()->allocate(file, offset, len);
}

static int open_file(const struct wal_fs *self, const char *path, unsigned flags, struct wal_file **out)
{
    size_t len = strlen(path);
    bool next_segment = len > 4 && strcmp(path + len - 4, ".tmp") == 0;
    return next_segment && atomic_load(&broken) ? -EIO : wal_fs_posix()->open(self, path, flags, out);
}

struct bed {
    char folder[64];
    char *wal_dir, *snap_dir;
    struct loop loop;
    struct engine engine;
    struct list finished;
};

static void bed_open(struct bed *bed)
{
    fs = *wal_fs_posix();
    fs.allocate = allocate;
    fs.open = open_file;
    atomic_store(&full, false);
    atomic_store(&broken, false);
    *bed = (struct bed){.folder = "/tmp/kedge-engine.XXXXXX"};
    assert_non_null(mkdtemp(bed->folder));
    bed->wal_dir = mem_printf("%s/wal", bed->folder);
    bed->snap_dir = bed->folder;
    list_init(&bed->finished);
    assert_int_equal(loop_init(&bed->loop), 0);
    const struct wal_config config = {
        .fs = &fs, .dir = bed->wal_dir, .segment_bytes = SEGMENT_BYTES, .reserve_bytes = 4096};
    struct wal *wal;
    char *reason = NULL;
    assert_int_equal(wal_create(&config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &wal, &reason), 0);
    engine_start(&bed->engine, &bed->loop, wal, backend_open_memory(), &fs, bed->snap_dir, 5, 5);
    loop_hook_remove(&bed->loop, &bed->engine.hook); /* what is done comes to next_done, not to a core */
}

static void bed_close(struct bed *bed)
{
    engine_stop_threads(&bed->engine);
    engine_close(&bed->engine);
    loop_close(&bed->loop);
    char *command = mem_printf("rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    free(command);
    free(bed->wal_dir);
}

static struct core_job *save_job(struct bed *bed, uint64_t index, size_t bytes)
{
    struct core_job *job = mem_zalloc(sizeof *job);
    job->kind = CORE_SAVE;
    job->save.entries = mem_zalloc(sizeof *job->save.entries);
    job->save.entries[0] = (struct raft_entry){.index = index, .term = 1, .data = shared_new(bytes)};
    memset(job->save.entries[0].data->data, 'x', bytes);
    job->save.count = 1;
    job->save.hard_state = (struct raft_hard_state){.term = 1, .commit = index};
    job->save.must_sync = true;
    bed->engine.env.start(&bed->engine.env, job);
    loop_step(&bed->loop, 0); /* the log hears of it as the turn ends */
    return job;
}

static void save_free(struct core_job *job)
{
    shared_unref(job->save.entries[0].data);
    free(job->save.entries);
    free(job);
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* The next job that is done, NULL if there is none for so long. */
static struct core_job *next_done(struct bed *bed, int ms)
{
    for (int waited = 0; list_empty(&bed->finished) && waited < ms; waited += 5) {
        if (!mailbox_take(&bed->engine.finished, &bed->finished)) {
            pause_ms(5);
        }
    }
    struct list *node = list_pop_front(&bed->finished);
    return node == NULL ? NULL : container_of(node, struct core_job, node);
}

static void test_a_full_disk_holds_back_only_what_has_no_room(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    atomic_store(&full, true);
    struct core_job *fits = save_job(&bed, 1, 10000), *waits = save_job(&bed, 2, SEGMENT_BYTES),
                    *behind = save_job(&bed, 3, 100);
    assert_ptr_equal(next_done(&bed, 5000), fits);
    assert_int_equal(fits->error, 0);
    assert_null(next_done(&bed, 300));
    /* a checkpoint makes room: it must not wait behind what waits for room */
    uint64_t voter = 1;
    struct core_job checkpoint = {.kind = CORE_CHECKPOINT};
    checkpoint.checkpoint.at = (struct raft_position){.index = 1, .term = 1};
    checkpoint.checkpoint.conf.voters = (struct raft_ids){&voter, 1};
    checkpoint.checkpoint.data = bytes_str("{}");
    mailbox_post(&bed.engine.log.box, &checkpoint.node);
    assert_ptr_equal(next_done(&bed, 5000), &checkpoint);
    assert_int_equal(checkpoint.error, 0);
    assert_null(next_done(&bed, 300));
    atomic_store(&full, false);
    assert_ptr_equal(next_done(&bed, 5000), waits);
    assert_int_equal(waits->error, 0);
    assert_ptr_equal(next_done(&bed, 5000), behind);
    assert_int_equal(behind->error, 0);
    save_free(fits);
    save_free(waits);
    save_free(behind);
    bed_close(&bed);
}

/* What a member that was away has in its log goes away with the image: nothing of it may be written behind the image's
 * record, where it would count. */
static void test_the_record_of_an_image_waits_for_the_saves_before_it(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    atomic_store(&full, true);
    struct core_job *waits = save_job(&bed, 1, SEGMENT_BYTES);
    uint64_t voter = 1;
    struct core_job image = {.kind = CORE_CHECKPOINT};
    image.checkpoint.at = (struct raft_position){.index = 9, .term = 2};
    image.checkpoint.conf.voters = (struct raft_ids){&voter, 1};
    image.checkpoint.data = bytes_str("{}");
    image.checkpoint.kv = (const struct kv *)&bed; /* nobody looks into it */
    mailbox_post(&bed.engine.log.box, &image.node);
    assert_null(next_done(&bed, 300));
    atomic_store(&full, false);
    assert_ptr_equal(next_done(&bed, 5000), waits);
    assert_ptr_equal(next_done(&bed, 5000), &image);
    assert_int_equal(image.error, 0);
    save_free(waits);
    bed_close(&bed);
}

static void test_a_stop_ends_the_waiting_for_room(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    atomic_store(&full, true);
    struct core_job *waits = save_job(&bed, 1, SEGMENT_BYTES), *behind = save_job(&bed, 2, 100);
    assert_null(next_done(&bed, 300));
    engine_give_up(&bed.engine);
    assert_ptr_equal(next_done(&bed, 5000), waits);
    assert_int_equal(waits->error, ERR_STOPPED);
    assert_ptr_equal(next_done(&bed, 5000), behind);
    assert_int_equal(behind->error, ERR_STOPPED);
    struct core_job *late = save_job(&bed, 2, 100);
    assert_ptr_equal(next_done(&bed, 5000), late);
    assert_int_equal(late->error, ERR_STOPPED); /* would leave a gap */
    save_free(waits);
    save_free(behind);
    save_free(late);
    bed_close(&bed);
}

static void test_lack_of_room_for_the_next_segment_is_over_without_a_save(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    atomic_store(&full, true);
    struct core_job *first = save_job(&bed, 1, 100);
    assert_ptr_equal(next_done(&bed, 5000), first);
    pause_ms(200);
    assert_true(bed.engine.env.space(&bed.engine.env).ordinary_bytes < SEGMENT_BYTES);
    atomic_store(&full, false);
    uint64_t room = 0;
    for (int i = 0; i < 100 && room != UINT64_MAX; i++) {
        pause_ms(50);
        room = bed.engine.env.space(&bed.engine.env).ordinary_bytes;
    }
    assert_true(room == UINT64_MAX);
    save_free(first);
    bed_close(&bed);
}

static void test_a_segment_that_cannot_be_made_ready_is_not_deadly(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    atomic_store(&broken, true);
    for (uint64_t i = 1; i <= 6; i++) {
        struct core_job *job = save_job(&bed, i, SEGMENT_BYTES / 2);
        assert_ptr_equal(next_done(&bed, 5000), job);
        assert_int_equal(job->error, 0);
        save_free(job);
    }
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_holds_back_only_what_has_no_room),
        cmocka_unit_test(test_the_record_of_an_image_waits_for_the_saves_before_it),
        cmocka_unit_test(test_a_stop_ends_the_waiting_for_room),
        cmocka_unit_test(test_lack_of_room_for_the_next_segment_is_over_without_a_save),
        cmocka_unit_test(test_a_segment_that_cannot_be_made_ready_is_not_deadly),
    };
    log_configure(LOG_FATAL, LOG_JSON);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
