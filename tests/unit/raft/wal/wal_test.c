/* The log as its owner uses it: saves, segments, checkpoints, reads, and a disk that fills up. */
#include "base/error.h"
#include "tests/support/wal_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- life --- */

static void test_a_new_log_is_empty(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal");
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.metadata.node_id, wal_bed_ids.node_id);
    assert_int_equal(f->c.metadata.cluster_id, wal_bed_ids.cluster_id);
    assert_int_equal(f->c.last_index, 0);
    assert_int_equal(f->c.first_index, 1);
    assert_int_equal(f->c.hard_state.term, 0);
    wal_bed_expect_entries(f, 1, "");
}

static void test_a_new_log_holds_what_a_cluster_begins_with(void **state)
{
    struct wal_bed *f = *state;
    struct raft_entry e = wal_test_entry(1, 1, "add");
    e.type = RAFT_ENTRY_CONF_CHANGE;
    struct raft_hard_state s = {.term = 1, .commit = 1};
    assert_int_equal(wal_create(&f->config, wal_bed_ids, &e, 1, &s, &f->w, &f->reason), 0);
    shared_unref(e.data);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.hard_state.commit, 1);
    wal_bed_expect_entries(f, 1, "1/1=add");
}

static void test_a_log_is_not_created_over_another(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    struct wal *second = NULL;
    assert_int_equal(wal_create(&f->config, wal_bed_ids, NULL, 0, NULL, &second, &f->reason), ERR_INVALID);
}

/* etcd#7287 / PR9743 */
static void test_foreign_names_are_ignored(void **state)
{
    struct wal_bed *f = *state;
    memory_fs_put(f->m, WAL_DIR "/lost+found", bytes_str("x"));
    memory_fs_put(f->m, WAL_DIR "/0000000000000000-0000000000000000.wal.broken", bytes_str("x"));
    memory_fs_put(f->m, WAL_DIR "/000000000000000A-0000000000000000.wal", bytes_str("x"));
    bool exists = true;
    assert_int_equal(wal_exists(f->config.fs, WAL_DIR, &exists, NULL), 0);
    assert_false(exists);
    assert_int_equal(wal_bed_reopen(f), ERR_ABSENT);
    wal_bed_create(f);
    assert_int_equal(wal_bed_reopen(f), 0);
}

static void test_what_was_saved_is_read_back(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_int_equal(wal_test_save(f->w, 1, 1, "one"), 0);
    assert_int_equal(wal_test_save(f->w, 2, 1, NULL), 0);
    assert_int_equal(wal_test_save(f->w, 3, 2, ""), 0);
    wal_bed_save_state(f, 2, 7, 2);
    assert_int_equal(wal_sync(f->w), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=one 2/1 3/2=");
    wal_bed_expect_entries(f, 3, "3/2=");
    assert_true(raft_hard_state_equal(f->c.hard_state, (struct raft_hard_state){2, 7, 2}));
    assert_int_equal(wal_term(f->w, 2), 1);
    assert_int_equal(wal_term(f->w, 3), 2);
    assert_int_equal(wal_term(f->w, 4), 0);
}

static void test_one_sync_serves_many_saves(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    memory_fs_fail(f->m, 0, 0, false);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(wal_test_save(f->w, i, 1, "value"), 0);
        wal_bed_save_state(f, 1, 1, i - 1);
    }
    assert_int_equal(memory_fs_calls(f->m), 0);
    assert_int_equal(wal_sync(f->w), 0);
    assert_int_equal(memory_fs_calls(f->m), 2); /* one write, one sync */
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 20);
    assert_int_equal(f->c.hard_state.commit, 19);
}

static void test_large_data_is_written_from_where_it_is(void **state)
{
    struct wal_bed *f = *state;
    f->config.segment_bytes = 1 << 20;
    wal_bed_create(f);
    char *text = mem_zalloc(100001);
    memset(text, 'x', 100000);
    assert_int_equal(wal_test_save(f->w, 1, 1, text), 0);
    assert_int_equal(wal_test_save(f->w, 2, 1, "after"), 0);
    free(text);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=100000 2/1=after");
}

static void test_a_later_entry_replaces_what_followed(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(wal_test_save(f->w, i, 1, "old"), 0);
    }
    assert_int_equal(wal_test_save(f->w, 3, 2, "new"), 0);
    assert_int_equal(wal_sync(f->w), 0);
    wal_bed_expect_entries(f, 1, "1/1=old 2/1=old 3/2=new");
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=old 2/1=old 3/2=new");
    assert_int_equal(f->c.last_index, 3);
    assert_int_equal(wal_term(f->w, 3), 2);
}

/* --- segments --- */

static void test_a_full_segment_is_followed_by_another(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    wal_bed_fill(f, 1, 10);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal 0000000000000001-0000000000000005.wal "
                            "0000000000000002-0000000000000009.wal");
    /* cut at its last record's end */
    assert_true(memory_fs_get(f->m, WAL_FIRST_SEGMENT).len >= WAL_BED_SEGMENT);
    assert_true(memory_fs_get(f->m, WAL_FIRST_SEGMENT).len < WAL_BED_SEGMENT + 1200);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 10);
    wal_bed_fill(f, 11, 12);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 12);
    assert_int_equal(f->c.hard_state.commit, 12);
}

static void test_the_next_segment_is_made_ready_and_removed_when_unused(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_int_equal(wal_prepare(f->w), 0);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal 1.tmp");
    assert_int_equal(memory_fs_get(f->m, WAL_DIR "/1.tmp").len, WAL_BED_SEGMENT);
    wal_bed_fill(f, 1, 5);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal 0000000000000001-0000000000000005.wal");
    assert_int_equal(wal_prepare(f->w), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal 0000000000000001-0000000000000005.wal");
}

static void test_reading_begins_in_the_segment_of_the_checkpoint(void **state)
{
    struct wal_bed *f = *state;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    wal_bed_create(f);
    wal_bed_fill(f, 1, 10);
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){.index = 7, .term = 1}, &conf), 0);
    wal_bed_fill(f, 11, 20);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.snapshot.index, 7);
    assert_true(raft_conf_state_equal(&f->c.conf, &conf));
    assert_int_equal(f->c.first_index, 8);
    assert_int_equal(f->c.last_index, 20);
    assert_int_equal(f->c.entry_count, 13);
    assert_int_equal(wal_first_index(f->w), 5); /* the segment's first, for readers */
    assert_int_equal(wal_term(f->w, 7), 1);
    raft_conf_state_free(&conf);
}

/* etcd#10219 / PR11888: state and checkpoint are one write, so that the commit never is outside of the log. */
static void test_a_checkpoint_above_the_commit_is_covered_by_a_state_record(void **state)
{
    struct wal_bed *f = *state;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    wal_bed_create(f);
    assert_int_equal(wal_test_save(f->w, 1, 1, "a"), 0);
    wal_bed_save_state(f, 1, 1, 0);
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){.index = 1, .term = 1}, &conf), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.snapshot.index, 1);
    assert_int_equal(f->c.hard_state.commit, 1);
    raft_conf_state_free(&conf);
}

/* PR22201: of several checkpoints the last one that was written whole counts, also when a later one is torn. */
/* An image replaces all of the log, also what is behind its position: entries of a leader that came to nothing. */
static void image_over(struct wal_bed *f, const uint64_t *terms, size_t count, struct raft_position image)
{
    uint64_t voter = 7;
    const struct raft_conf_state conf = {.voters = {&voter, 1}};
    wal_bed_create(f);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(wal_test_save(f->w, i + 1, terms[i], "old"), 0);
    }
    wal_bed_save_state(f, image.term + 2, 7, 2);
    assert_int_equal(wal_save_snapshot(f->w, image, &conf), 0);
}

static void test_what_an_image_replaced_does_not_come_back(void **state)
{
    struct wal_bed *f = *state;
    image_over(f, (const uint64_t[]){1, 1, 2, 2, 2}, 5, (struct raft_position){3, 3});
    assert_int_equal(wal_test_save(f->w, 4, 3, "new"), 0);
    assert_int_equal(wal_test_save(f->w, 5, 4, "new"), 0);
    assert_int_equal(wal_sync(f->w), 0);
    wal_bed_expect_entries(f, 4, "4/3=new 5/4=new");
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 4, "4/3=new 5/4=new");
}

static void test_a_replaced_entry_of_a_later_term_than_the_image(void **state)
{
    struct wal_bed *f = *state;
    image_over(f, (const uint64_t[]){1, 1, 2, 2, 4}, 5, (struct raft_position){3, 3});
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 3);
    assert_int_equal(wal_test_save(f->w, 4, 5, "new"), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 4, "4/5=new");
}

/* A save that waited for space while a checkpoint went by tells what was committed before it. */
static void test_a_commit_index_never_goes_back(void **state)
{
    struct wal_bed *f = *state;
    uint64_t voter = 7;
    const struct raft_conf_state conf = {.voters = {&voter, 1}};
    wal_bed_create(f);
    wal_bed_fill(f, 1, 4);
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){4, 1}, &conf), 0);
    assert_int_equal(wal_test_save(f->w, 5, 1, "late"), 0);
    wal_bed_save_state(f, 2, 7, 3);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_true(raft_hard_state_equal(f->c.hard_state, (struct raft_hard_state){2, 7, 4}));
    assert_int_equal(f->c.snapshot.index, 4);
    wal_bed_expect_entries(f, 5, "5/1=late");
}

static void test_of_several_checkpoints_the_newest_whole_one_counts(void **state)
{
    struct wal_bed *f = *state;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    wal_bed_create(f);
    struct bytes before = {0};
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(wal_test_save(f->w, i, 1, "x"), 0);
        wal_bed_save_state(f, 1, 1, i);
        assert_int_equal(wal_sync(f->w), 0);
        before = memory_fs_get(f->m, WAL_DIR "/0000000000000000-0000000000000000.wal");
        before = bytes_of(memcpy(mem_alloc(before.len), before.data, before.len), before.len);
        raft_ids_add(&conf.voters, i);
        assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){.index = i, .term = 1}, &conf), 0);
        assert_int_equal(wal_bed_reopen(f), 0);
        assert_int_equal(f->c.snapshot.index, i);
        assert_true(raft_conf_state_equal(&f->c.conf, &conf));
        if (i < 4) {
            free((void *)(uintptr_t)before.data);
        }
    }
    memory_fs_put(f->m, WAL_DIR "/0000000000000000-0000000000000000.wal", before); /* without the fourth */
    free((void *)(uintptr_t)before.data);
    wal_bed_abandon(f);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.snapshot.index, 3);
    assert_int_equal(f->c.hard_state.commit, 4);
    raft_conf_state_free(&conf);
}

/* PR12751: --unsafe-no-fsync saves the sync, not the write: only power loss takes what was saved, no killed process. */
static void test_without_syncs_a_killed_process_loses_nothing_that_was_synced(void **state)
{
    struct wal_bed *f = *state;
    f->config.no_sync = true;
    wal_bed_create(f);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(wal_test_save(f->w, i, 1, "x"), 0);
        assert_int_equal(wal_sync(f->w), 0);
        if (i % 6 == 0) {
            memory_fs_kill(f->m);
            wal_bed_abandon(f);
            assert_int_equal(wal_bed_reopen(f), 0);
            assert_int_equal(f->c.last_index, i);
        }
    }
}

static void test_old_segments_go_when_a_checkpoint_made_them_needless(void **state)
{
    struct wal_bed *f = *state;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    wal_bed_create(f);
    wal_bed_fill(f, 1, 20); /* segments begin at 0, 5, 9, 13, 17 */
    size_t removed;
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){.index = 16, .term = 1}, &conf), 0);
    assert_int_equal(wal_release(f->w, 16, 10, &removed), 0);
    assert_int_equal(removed, 0); /* fewer than ten */
    assert_int_equal(wal_release(f->w, 16, 1, &removed), 0);
    assert_int_equal(removed, 3); /* the one with entry 16 stays */
    assert_int_equal(wal_first_index(f->w), 13);
    struct raft_entry *entries;
    size_t count;
    assert_int_equal(wal_read(f->w, 12, 20, 1 << 20, &entries, &count, &f->reason), ERR_ABSENT);
    assert_int_equal(wal_read(f->w, 13, 20, 1 << 20, &entries, &count, &f->reason), 0);
    assert_int_equal(count, 8);
    wal_entries_free(entries, count);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 20);
    raft_conf_state_free(&conf);
}

static void test_a_segment_that_somebody_holds_is_not_removed(void **state)
{
    struct wal_bed *f = *state;
    struct raft_conf_state conf = {0};
    struct wal_file *held;
    size_t removed;
    wal_bed_create(f);
    wal_bed_fill(f, 1, 20);
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){.index = 20, .term = 1}, &conf), 0);
    assert_int_equal(wal_release(f->w, 20, 0, &removed), 0);
    assert_int_equal(
        f->config.fs->open(f->config.fs, WAL_DIR "/0000000000000001-0000000000000005.wal", WAL_FS_WRITE, &held), 0);
    assert_int_equal(held->fs->lock(held), 0);
    assert_int_equal(wal_release(f->w, 20, 1, &removed), 0);
    assert_int_equal(removed, 1);
    held->fs->close(held);
    assert_int_equal(wal_release(f->w, 20, 1, &removed), 0);
    assert_int_equal(removed, 3);
}

static void test_a_second_process_is_refused(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    struct wal *second;
    struct wal_contents c;
    assert_int_equal(wal_open(&f->config, &second, &c, &f->reason), ERR_LOCKED);
    assert_non_null(strstr(f->reason, "0000000000000000-0000000000000000.wal"));
    /* looking is allowed */
    assert_int_equal(wal_verify(&f->config, &c, &f->reason), 0);
    wal_contents_free(&c);
}

/* --- reading --- */

static void test_a_read_is_bounded_by_bytes_but_gives_at_least_one(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    wal_bed_fill(f, 1, 9);
    struct raft_entry *entries;
    size_t count;
    assert_int_equal(wal_read(f->w, 4, 9, 2500, &entries, &count, &f->reason), 0);
    assert_int_equal(count, 2);
    assert_int_equal(entries[0].index, 4);
    assert_int_equal(entries[1].data->len, 1000);
    wal_entries_free(entries, count);
    assert_int_equal(wal_read(f->w, 9, 9, 1, &entries, &count, &f->reason), 0);
    assert_int_equal(count, 1);
    wal_entries_free(entries, count);
    assert_int_equal(wal_read(f->w, 10, 10, 1, &entries, &count, &f->reason), ERR_ABSENT);
}

static void test_a_read_shows_entries_that_replaced_others_across_segments(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    wal_bed_fill(f, 1, 6);
    assert_int_equal(wal_test_save(f->w, 3, 2, "three"), 0);
    assert_int_equal(wal_test_save(f->w, 4, 2, "four"), 0);
    assert_int_equal(wal_sync(f->w), 0);
    struct raft_entry *entries;
    size_t count;
    assert_int_equal(wal_read(f->w, 2, 4, 1 << 20, &entries, &count, &f->reason), 0);
    assert_int_equal(count, 3);
    assert_int_equal(entries[0].term, 1);
    assert_int_equal(entries[1].term, 2);
    assert_memory_equal(entries[2].data->data, "four", 4);
    wal_entries_free(entries, count);
}

/* --- space --- */

static void test_a_full_disk_refuses_a_save_and_harms_nothing(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    memory_fs_space(f->m, WAL_BED_SEGMENT + 100);
    assert_int_equal(wal_prepare(f->w), ERR_DISK_FULL);
    struct wal_space space = wal_space(f->w);
    assert_true(space.total_bytes < WAL_BED_SEGMENT && space.total_bytes > 3000);
    assert_int_equal(space.ordinary_bytes, space.total_bytes - 512);
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    uint64_t saved = 0;
    int error;
    while ((error = wal_test_save(f->w, saved + 1, 1, text)) == 0) {
        saved++;
        assert_int_equal(wal_sync(f->w), 0);
    }
    assert_int_equal(error, ERR_DISK_FULL);
    assert_non_null(strstr(wal_reason(f->w), "No space left"));
    assert_int_equal(saved, 3);
    assert_true(wal_space(f->w).total_bytes < 1000);
    /* small ones still fit */
    assert_int_equal(wal_test_save(f->w, saved + 1, 1, "alarm"), 0);
    assert_int_equal(wal_sync(f->w), 0);
    /* and with space again it goes on */
    memory_fs_space(f->m, UINT64_MAX);
    assert_int_equal(wal_prepare(f->w), 0);
    assert_int_equal(wal_space(f->w).total_bytes, UINT64_MAX);
    assert_int_equal(wal_test_save(f->w, saved + 2, 1, text), 0);
    assert_int_equal(wal_sync(f->w), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_int_equal(f->c.last_index, 5);
}

static void test_a_prepared_segment_is_used_when_the_disk_is_full(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_int_equal(wal_prepare(f->w), 0);
    memory_fs_space(f->m, 2 * WAL_BED_SEGMENT);
    char text[3001];
    memset(text, 'x', 3000);
    text[3000] = '\0';
    assert_int_equal(wal_test_save(f->w, 1, 1, text), 0);
    assert_int_equal(wal_test_save(f->w, 2, 1, text), 0); /* doesn't fit behind the first */
    assert_int_equal(wal_sync(f->w), 0);
    assert_int_equal(wal_test_save(f->w, 3, 1, text), ERR_DISK_FULL);
    wal_bed_expect_names(f, "0000000000000000-0000000000000000.wal 0000000000000001-0000000000000002.wal");
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=3000 2/1=3000");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, wal_bed_open, wal_bed_close)
    const struct CMUnitTest tests[] = {
        T(test_a_new_log_is_empty),
        T(test_a_new_log_holds_what_a_cluster_begins_with),
        T(test_a_log_is_not_created_over_another),
        T(test_foreign_names_are_ignored),
        T(test_what_was_saved_is_read_back),
        T(test_one_sync_serves_many_saves),
        T(test_large_data_is_written_from_where_it_is),
        T(test_a_later_entry_replaces_what_followed),
        T(test_a_full_segment_is_followed_by_another),
        T(test_the_next_segment_is_made_ready_and_removed_when_unused),
        T(test_reading_begins_in_the_segment_of_the_checkpoint),
        T(test_a_checkpoint_above_the_commit_is_covered_by_a_state_record),
        T(test_what_an_image_replaced_does_not_come_back),
        T(test_a_replaced_entry_of_a_later_term_than_the_image),
        T(test_a_commit_index_never_goes_back),
        T(test_of_several_checkpoints_the_newest_whole_one_counts),
        T(test_without_syncs_a_killed_process_loses_nothing_that_was_synced),
        T(test_old_segments_go_when_a_checkpoint_made_them_needless),
        T(test_a_segment_that_somebody_holds_is_not_removed),
        T(test_a_second_process_is_refused),
        T(test_a_read_is_bounded_by_bytes_but_gives_at_least_one),
        T(test_a_read_shows_entries_that_replaced_others_across_segments),
        T(test_a_full_disk_refuses_a_save_and_harms_nothing),
        T(test_a_prepared_segment_is_used_when_the_disk_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
