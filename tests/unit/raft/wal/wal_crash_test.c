/* What killed processes, power losses and failing calls leave of a log. */
#include "base/error.h"
#include "tests/support/wal_bed.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_a_killed_process_loses_nothing_that_was_written(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_int_equal(wal_test_save(f->w, 1, 1, "flushed"), 0);
    assert_int_equal(wal_flush(f->w), 0);
    memory_fs_kill(f->m);
    wal_bed_abandon(f);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=flushed");
    /* what opening has read counts as durable */
    memory_fs_crash(f->m, 1);
    wal_bed_abandon(f);
    assert_int_equal(wal_bed_reopen(f), 0);
    wal_bed_expect_entries(f, 1, "1/1=flushed");
}

/* Saves with syncs in between, over several segments, until a power loss at a call; then everything that was synced
 * must be there, and what is there must be what was saved. */
static void crash_at(struct wal_bed *f, uint64_t call, bool *happened)
{
    uint64_t durable = 0, saved = 0;
    char text[64];
    wal_bed_create(f);
    memory_fs_fail(f->m, call, -EIO, true);
    int error = 0;
    while (error == 0 && saved < 60) {
        snprintf(text, sizeof text, "entry %" PRIu64 " ..............................", saved + 1);
        error = wal_test_save(f->w, saved + 1, 1 + saved / 20, text);
        struct raft_hard_state s = {1 + saved / 20, 1, durable};
        error = error != 0 ? error : wal_save(f->w, NULL, 0, &s);
        saved += error == 0;
        if (error == 0 && saved % 3 == 0) {
            error = wal_sync(f->w);
            durable = error == 0 ? saved : durable;
        }
        if (error == 0 && saved % 10 == 0) {
            (void)wal_prepare(f->w); /* what fails here is met again by the next save */
        }
    }
    *happened = memory_fs_failed_call(f->m)[0] != '\0';
    memory_fs_crash(f->m, call);
    memory_fs_fail(f->m, 0, 0, false);
    wal_bed_abandon(f);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(wal_bed_reopen(f), 0);
        assert_true(f->c.last_index >= durable);
        assert_true(f->c.last_index <= saved + 1);
        char *all = wal_test_entries(f->w, 1), *at = all;
        for (uint64_t i = 1; i <= f->c.last_index; i++) {
            snprintf(text, sizeof text, "%" PRIu64 "/%" PRIu64 "=", i, 1 + (i - 1) / 20);
            assert_memory_equal(at, text, strlen(text));
            at = strchr(at, '/') == NULL ? at : strstr(at, ".. ");
            at = at == NULL ? all : at + 3;
        }
        free(all);
    }
    assert_int_equal(wal_test_save(f->w, f->c.last_index + 1, 9, "after"), 0);
    assert_int_equal(wal_sync(f->w), 0);
    assert_int_equal(wal_bed_reopen(f), 0);
}

/* etcd#6368: names too are lost until their directory is synced: a segment that took another name, in particular. */
static void test_a_power_loss_at_any_call_leaves_all_that_was_synced(void **state)
{
    bool happened = true;
    uint64_t call;
    (void)state;
    for (call = 1; happened; call++) {
        void *own = NULL;
        wal_bed_open(&own);
        struct wal_bed *f = own;
        f->config.segment_bytes = 1024;
        crash_at(f, call, &happened);
        wal_bed_close(&own);
    }
    assert_true(call > 40);
}

/* The checkpoint of an image stands far behind the entries that the log has: its commit index without its snapshot
 * record would be a log that ends below what it says is committed. */
static void checkpoint_of_an_image_is_torn(size_t pad, uint64_t seed)
{
    void *own = NULL;
    wal_bed_open(&own);
    struct wal_bed *f = own;
    char text[1100];
    memset(text, 'x', sizeof text);
    text[pad] = '\0';
    wal_bed_create(f);
    assert_int_equal(wal_test_save(f->w, 1, 1, text), 0);
    wal_bed_save_state(f, 1, 1, 1);
    assert_int_equal(wal_sync(f->w), 0);
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 1);
    memory_fs_fail(f->m, 2, -EIO, true); /* written, not synced */
    assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){100, 2}, &conf), ERR_IO);
    raft_conf_state_free(&conf);
    memory_fs_crash(f->m, seed);
    memory_fs_fail(f->m, 0, 0, false);
    wal_bed_abandon(f);
    assert_int_equal(wal_bed_reopen(f), 0);
    assert_true(f->c.snapshot.index == 0 || f->c.snapshot.index == 100);
    assert_true(f->c.hard_state.commit <= f->c.last_index);
    wal_bed_close(&own);
}

static void test_the_checkpoint_of_an_image_that_is_torn_leaves_a_log_that_opens(void **state)
{
    (void)state;
    for (size_t pad = 400; pad < 1000; pad += 8) {
        for (uint64_t seed = 1; seed <= 8; seed++) {
            checkpoint_of_an_image_is_torn(pad, seed);
        }
    }
}

/* What stood behind the image's position, of an earlier term, is no part of the log any more; in a segment of its own
 * or not. What was saved afterwards is. */
static void test_entries_that_an_image_replaced_are_not_read_again(void **state)
{
    (void)state;
    static const uint64_t positions[] = {3, 8, 20, 500}; /* inside of the log, at its end, behind it */
    for (size_t i = 0; i < sizeof positions / sizeof positions[0]; i++) {
        void *own = NULL;
        uint64_t at = positions[i];
        struct raft_conf_state conf = {0};
        char text[700], want[64];
        wal_bed_open(&own);
        struct wal_bed *f = own;
        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        wal_bed_create(f);
        for (uint64_t index = 1; index <= 20; index++) {
            assert_int_equal(wal_test_save(f->w, index, 1, text), 0);
            wal_bed_save_state(f, 1, 1, index < 3 ? index : 3);
            assert_int_equal(wal_sync(f->w), 0);
        }
        raft_ids_add(&conf.voters, 1);
        assert_int_equal(wal_save_snapshot(f->w, (struct raft_position){at, 5}, &conf), 0);
        raft_conf_state_free(&conf);
        assert_int_equal(wal_bed_reopen(f), 0);
        assert_int_equal(f->c.snapshot.index, at);
        assert_int_equal(f->c.snapshot.term, 5);
        assert_int_equal(f->c.last_index, at);
        assert_int_equal(f->c.last_term, 5);
        assert_int_equal(f->c.hard_state.commit, at);
        wal_bed_expect_entries(f, at + 1, "");
        assert_int_equal(wal_test_save(f->w, at + 1, 5, "new"), 0);
        assert_int_equal(wal_sync(f->w), 0);
        assert_int_equal(wal_bed_reopen(f), 0);
        assert_int_equal(f->c.last_index, at + 1);
        snprintf(want, sizeof want, "%" PRIu64 "/5=new", at + 1);
        wal_bed_expect_entries(f, at + 1, want);
        wal_bed_close(&own);
    }
}

static void test_a_power_loss_while_a_log_is_created_leaves_all_or_nothing(void **state)
{
    (void)state;
    for (uint64_t call = 1; call < 20; call++) {
        void *own = NULL;
        wal_bed_open(&own);
        struct wal_bed *f = own;
        struct raft_entry e = wal_test_entry(1, 1, "add");
        struct raft_hard_state s = {.term = 1, .commit = 1};
        memory_fs_fail(f->m, call, -EIO, true);
        int error = wal_create(&f->config, wal_bed_ids, &e, 1, &s, &f->w, &f->reason);
        shared_unref(e.data);
        memory_fs_crash(f->m, call);
        memory_fs_fail(f->m, 0, 0, false);
        wal_bed_abandon(f);
        bool exists;
        assert_int_equal(wal_exists(f->config.fs, WAL_DIR, &exists, NULL), 0);
        assert_true(exists || error != 0);
        if (exists) {
            assert_int_equal(wal_bed_reopen(f), 0);
            wal_bed_expect_entries(f, 1, "1/1=add");
        }
        wal_bed_close(&own);
    }
}

static void test_a_failed_sync_ends_the_log(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_int_equal(wal_test_save(f->w, 1, 1, "x"), 0);
    memory_fs_fail(f->m, 2, -EIO, false);
    assert_int_equal(wal_sync(f->w), ERR_IO);
    assert_string_equal(memory_fs_failed_call(f->m), "sync");
    assert_non_null(strstr(wal_reason(f->w), "0000000000000000-0000000000000000.wal at offset"));
    memory_fs_fail(f->m, 0, 0, false);
    assert_int_equal(wal_sync(f->w), ERR_IO);
    assert_int_equal(wal_test_save(f->w, 2, 1, "y"), ERR_IO);
    assert_int_equal(memory_fs_calls(f->m), 0);
}

/* Whatever call fails while a log with a torn tail is opened: it fails, and the next time it opens as if nothing had
 * been. */
static void test_a_fault_while_opening_does_no_harm(void **state)
{
    (void)state;
    bool happened = true;
    for (uint64_t call = 1; happened; call++) {
        void *own = NULL;
        wal_bed_open(&own);
        struct wal_bed *f = own;
        wal_bed_create(f);
        wal_bed_fill(f, 1, 6);
        wal_close(f->w);
        f->w = NULL;
        struct buffer torn = {0};
        const char *path = WAL_DIR "/0000000000000001-0000000000000005.wal";
        buffer_append(&torn, memory_fs_get(f->m, path).data, 1500); /* in the middle of entry 6 */
        memory_fs_put(f->m, path, buffer_bytes(&torn));
        memory_fs_fail(f->m, call, -EIO, false);
        int error = wal_bed_reopen(f);
        happened = memory_fs_failed_call(f->m)[0] != '\0';
        if (error != 0) {
            assert_true(happened);
            assert_int_equal(error, ERR_IO);
            assert_non_null(f->reason);
        }
        memory_fs_fail(f->m, 0, 0, false);
        assert_int_equal(wal_bed_reopen(f), 0);
        assert_int_equal(f->c.last_index, 5);
        assert_non_null(memory_fs_get(f->m, WAL_DIR "/0000000000000001-0000000000000005.wal.broken").data);
        buffer_free(&torn);
        wal_bed_close(&own);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, wal_bed_open, wal_bed_close)
    const struct CMUnitTest tests[] = {
        T(test_a_killed_process_loses_nothing_that_was_written),
        cmocka_unit_test(test_a_power_loss_at_any_call_leaves_all_that_was_synced),
        cmocka_unit_test(test_the_checkpoint_of_an_image_that_is_torn_leaves_a_log_that_opens),
        cmocka_unit_test(test_entries_that_an_image_replaced_are_not_read_again),
        cmocka_unit_test(test_a_power_loss_while_a_log_is_created_leaves_all_or_nothing),
        T(test_a_failed_sync_ends_the_log),
        cmocka_unit_test(test_a_fault_while_opening_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
