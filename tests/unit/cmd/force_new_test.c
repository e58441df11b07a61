/* What a member's log holds after --force-new-cluster. */
#include "cmd/kedge/force_new.h"
#include "raft/codec.h"
#include "tests/support/kv_bed.h"
#include "tests/support/wal_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void save_change(struct wal_bed *f, uint64_t index, uint64_t term, enum raft_conf_change_type type, uint64_t id)
{
    struct buffer data = {0};
    raft_conf_change_encode(&data, &(struct raft_conf_change){.type = type, .node_id = id});
    struct raft_entry e = {
        .index = index, .term = term, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(buffer_bytes(&data))};
    assert_int_equal(wal_save(f->w, &e, 1, NULL), 0);
    assert_int_equal(wal_flush(f->w), 0);
    shared_unref(e.data);
    buffer_free(&data);
}

/* A log of three members that no store has anything of. */
static void create(struct wal_bed *f)
{
    wal_bed_create(f);
    for (uint64_t id = 1; id <= 3; id++) {
        save_change(f, id, 1, RAFT_ADD_NODE, id);
    }
    wal_bed_save_state(f, 1, 1, 3);
    assert_int_equal(wal_test_save(f->w, 4, 1, "kept"), 0);
}

/* Opens the log as member 1, and again afterwards. */
static bool force(struct wal_bed *f)
{
    struct kv_bed store;
    kv_bed_open(&store, &(struct kv_config){.member_id = 1});
    assert_int_equal(wal_bed_reopen(f), 0);
    struct member member = {.id = 1, .cluster_id = 7, .kv = store.kv, .wal = f->w, .contents = f->c, .wal_dir = "wal"};
    bool changed = force_new_cluster(&member);
    assert_int_equal(wal_bed_reopen(f), 0);
    kv_bed_close(&store);
    return changed;
}

struct replayed {
    struct raft_ids voters;
    uint64_t last, term;
};

static int replay(void *arg, const struct raft_entry *entry)
{
    struct replayed *r = arg;
    struct raft_conf_change change;
    r->last = entry->index;
    r->term = entry->term;
    if (entry->type == RAFT_ENTRY_CONF_CHANGE) {
        assert_int_equal(raft_conf_change_decode(shared_bytes(entry->data), &change), 0);
        if (change.type == RAFT_REMOVE_NODE) {
            raft_ids_remove(&r->voters, change.node_id);
        } else {
            raft_ids_add(&r->voters, change.node_id);
        }
    }
    return 0;
}

static void assert_alone(struct wal_bed *f, uint64_t last, uint64_t term)
{
    struct replayed r = {0};
    assert_int_equal(wal_replay(f->w, 1, replay, &r, NULL), 0);
    assert_int_equal(r.voters.count, 1);
    assert_int_equal(r.voters.ids[0], 1);
    assert_int_equal(r.last, last);
    assert_int_equal(r.term, term);
    assert_int_equal(f->c.hard_state.commit, last);
    assert_int_equal(f->c.hard_state.term, term);
    free(r.voters.ids);
}

static void test_all_of_the_log_is_kept(void **state)
{
    struct wal_bed *f = *state;
    create(f);
    assert_true(force(f));
    assert_alone(f, 6, 1);
}

/* A change that was under way when the others were lost, and that nobody knows to be committed. */
static void test_a_log_ends_before_the_own_removal(void **state)
{
    struct wal_bed *f = *state;
    create(f);
    save_change(f, 5, 1, RAFT_REMOVE_NODE, 1);
    assert_int_equal(wal_test_save(f->w, 6, 1, "behind"), 0);
    assert_int_equal(wal_test_save(f->w, 7, 1, "behind"), 0);
    assert_int_equal(wal_test_save(f->w, 8, 1, "behind"), 0);
    assert_true(force(f));
    assert_alone(f, 6, 1);
}

static void test_a_removal_that_leaves_nobody_is_dropped(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    save_change(f, 1, 1, RAFT_ADD_NODE, 1);
    wal_bed_save_state(f, 1, 1, 1);
    save_change(f, 2, 1, RAFT_REMOVE_NODE, 1);
    assert_true(force(f));
    assert_alone(f, 2, 1);
    assert_false(force(f));
}

/* Power was lost while the first entries of a new term were written: they are there, the term is not. */
static void test_no_entry_is_of_an_earlier_term_than_the_one_before(void **state)
{
    struct wal_bed *f = *state;
    create(f);
    assert_int_equal(wal_test_save(f->w, 5, 3, "later"), 0);
    assert_true(force(f));
    assert_alone(f, 7, 3);
}

static void test_a_log_without_entries_begins_with_this_member(void **state)
{
    struct wal_bed *f = *state;
    wal_bed_create(f);
    assert_true(force(f));
    assert_alone(f, 1, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, wal_bed_open, wal_bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_of_the_log_is_kept),
        TEST(test_a_log_ends_before_the_own_removal),
        TEST(test_a_removal_that_leaves_nobody_is_dropped),
        TEST(test_no_entry_is_of_an_earlier_term_than_the_one_before),
        TEST(test_a_log_without_entries_begins_with_this_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
