/* Every single flipped bit and every cut of a small log of two segments: its records read unchanged, or its end is cut
 * off as a torn write, or it is refused with file and offset. What the format cannot show is counted by class. */
#include "base/error.h"
#include "raft/wal/wal.h"
#include "tests/support/memory_fs.h"
#include "tests/support/wal_support.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND_SEGMENT WAL_DIR "/0000000000000001-0000000000000007.wal"
#define LAST_ENTRY 9

enum { SEGMENT = 1024 };

enum class { UNCHANGED, TORN, REFUSED, SHORTER, CLASSES };

static const char *const class_names[] = {"unchanged", "cut off as a torn write", "refused", "ends earlier, unseen"};

struct log {
    struct memory_fs *m;
    struct wal_config config;
    struct buffer segments[2];
    char *entries; /* as they were */
    struct raft_hard_state state;
};

static const char *const paths[] = {WAL_FIRST_SEGMENT, SECOND_SEGMENT};

/* Entries of many shapes, two checkpoints, and states in both segments. */
static void build(struct log *l)
{
    struct wal *w;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, UINT64_C(0x856d959d1c1723aa));
    l->m = memory_fs_new();
    l->config = (struct wal_config){.fs = memory_fs_vtable(l->m), .dir = WAL_DIR, .segment_bytes = SEGMENT};
    struct raft_entry add = wal_test_entry(1, 1, "{\"id\":9614505281519559594}");
    add.type = RAFT_ENTRY_CONF_CHANGE;
    l->state = (struct raft_hard_state){.term = 1, .commit = 1};
    assert_int_equal(
        wal_create(&l->config, (struct wal_metadata){UINT64_C(0x856d959d1c1723aa), 2}, &add, 1, &l->state, &w, NULL),
        0);
    shared_unref(add.data);
    char text[401];
    for (uint64_t i = 2; i <= LAST_ENTRY; i++) {
        memset(text, 'a' + (int)i, sizeof text);
        text[i == 6 ? 400 : i * 5] = '\0';
        assert_int_equal(wal_test_save(w, i, 2, i == 2 ? NULL : text), 0);
        l->state = (struct raft_hard_state){2, UINT64_C(0x856d959d1c1723aa), i};
        assert_int_equal(wal_save(w, NULL, 0, &l->state), 0);
        assert_int_equal(wal_sync(w), 0);
        if (i == 6) { /* makes the segment full */
            struct raft_position at = {.index = 4, .term = 2};
            for (int k = 0; k < 4; k++) {
                assert_int_equal(wal_save_snapshot(w, at, &conf), 0);
            }
        }
    }
    l->entries = wal_test_entries(w, 5);
    wal_close(w);
    for (int i = 0; i < 2; i++) {
        struct bytes b = memory_fs_get(l->m, paths[i]);
        assert_non_null(b.data);
        buffer_append(&l->segments[i], b.data, b.len);
    }
    raft_conf_state_free(&conf);
}

static void destroy(struct log *l)
{
    memory_fs_free(l->m);
    buffer_free(&l->segments[0]);
    buffer_free(&l->segments[1]);
    free(l->entries);
}

/* Reads a log whose segment was replaced, and sorts the outcome. */
static enum class judge(struct log *l, int segment, struct bytes damaged, const char *what, uint64_t place) {
    struct wal *w = NULL; struct wal_contents c; char *reason = NULL; enum class outcome;
    memory_fs_put(l->m, paths[0], buffer_bytes(&l->segments[0]));
    memory_fs_put(l->m, paths[1], buffer_bytes(&l->segments[1])); memory_fs_put(l->m, paths[segment], damaged);
    int error = wal_open(&l->config, &w, &c, &reason);
    if (error != 0){/* refused: says where, and has changed nothing */
                    assert_int_equal(error, ERR_CORRUPT_DATA);
                    if (strstr(reason, "/00000000000000") == NULL || strstr(reason, "offset ") == NULL){
                        fail_msg("%s at %" PRIu64 " of segment %d: reason is \"%s\"", what, place, segment, reason);}
assert_true(bytes_equal(memory_fs_get(l->m, paths[segment]), damaged));
free(reason);
return REFUSED;
}
char *entries = wal_test_entries(w, c.first_index > 5 ? c.first_index : 5);
bool same = c.snapshot.index == 4 && strcmp(entries, l->entries) == 0 && raft_hard_state_equal(c.hard_state, l->state);
bool prefix = strncmp(entries, l->entries, strlen(entries)) == 0 && c.hard_state.commit <= l->state.commit;
if (!prefix) {
    fail_msg("%s at %" PRIu64 " of segment %d passed unseen: \"%s\" instead of \"%s\", commit %" PRIu64, what, place,
             segment, entries, l->entries, c.hard_state.commit);
}
outcome = c.repaired ? TORN : same ? UNCHANGED : SHORTER;
if (c.repaired) {
    struct bytes broken = memory_fs_get(l->m, segment == 0 ? WAL_FIRST_SEGMENT ".broken" : SECOND_SEGMENT ".broken");
    assert_true(bytes_equal(broken, damaged));
}
wal_abandon(w);
memory_fs_kill(l->m);
wal_contents_free(&c);
free(entries);
free(reason);
return outcome;
}

static void print(const char *what, const size_t counts[CLASSES])
{
    print_message("%s:", what);
    for (int i = 0; i < CLASSES; i++) {
        print_message(" %zu %s%s", counts[i], class_names[i], i + 1 < CLASSES ? "," : "\n");
    }
}

/* Where records begin, and where the last one ends. */
static size_t record_starts(const struct buffer *segment, size_t *starts)
{
    size_t n = 0, at = 0;
    while (at + 8 <= segment->len && get_le64(segment->data + at) != 0) {
        uint64_t word = get_le64(segment->data + at);
        starts[n++] = at;
        at += 8 + (size_t)(word & 0xffffff) + (size_t)(word >> 56 & 7);
    }
    starts[n] = at;
    return n;
}

/* PR11924: a checksum that is wrong is an error with file and offset, never a crash. */
static void test_every_flipped_bit(void **state)
{
    struct log *l = *state;
    size_t starts[100];
    for (int segment = 0; segment < 2; segment++) {
        size_t counts[CLASSES] = {0}, in_zeroes[CLASSES] = {0};
        size_t n = record_starts(&l->segments[segment], starts), end = starts[n];
        for (size_t bit = 0; bit < 8 * l->segments[segment].len; bit++) {
            l->segments[segment].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            struct buffer damaged = {0};
            buffer_append(&damaged, l->segments[segment].data, l->segments[segment].len);
            l->segments[segment].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            enum class c = judge(l, segment, buffer_bytes(&damaged), "flipped bit", bit);
            (bit / 8 < end ? counts : in_zeroes)[c]++;
            buffer_free(&damaged);
        }
        print_message("segment %d, %zu records\n", segment, n);
        print("  flipped bits in records", counts);
        print("  flipped bits in the zeroes behind them", in_zeroes);
        assert_int_equal(counts[SHORTER], 0); /* a length word has at least two bits set, or is eight bytes long */
        assert_int_equal(in_zeroes[SHORTER], 0);
        if (segment == 0) {
            assert_int_equal(counts[TORN], 0); /* only the last one may be torn */
        }
    }
}

/* PR15069: what a torn write left is cut off, and kept beside it; all before it stays. */
static void test_every_cut(void **state)
{
    struct log *l = *state;
    size_t starts[100];
    for (int segment = 0; segment < 2; segment++) {
        size_t counts[CLASSES] = {0};
        size_t n = record_starts(&l->segments[segment], starts);
        for (size_t len = 0; len < starts[n]; len++) {
            enum class c = judge(l, segment, bytes_of(l->segments[segment].data, len), "cut", len);
            counts[c]++;
            bool boundary = false;
            for (size_t i = 0; i < n; i++) {
                boundary |= starts[i] == len;
            }
            if (!boundary && c != TORN && c != REFUSED) {
                fail_msg("a cut of segment %d at %zu, inside of a record, is \"%s\"", segment, len, class_names[c]);
            }
        }
        print_message("segment %d, %zu records\n", segment, n);
        print("  cuts", counts);
        /* What a cut at a record's boundary took can't be seen here, but only there. In a segment that isn't the last
         * one the entries that are missing show, unless it is only states that are. */
        assert_true(counts[SHORTER] <= n);
    }
}

static void test_every_zeroed_length_word(void **state)
{
    struct log *l = *state;
    size_t starts[100];
    for (int segment = 0; segment < 2; segment++) {
        size_t counts[CLASSES] = {0};
        size_t n = record_starts(&l->segments[segment], starts);
        for (size_t i = 0; i < n; i++) {
            struct buffer damaged = {0};
            buffer_append(&damaged, l->segments[segment].data, l->segments[segment].len);
            memset(damaged.data + starts[i], 0, 8);
            counts[judge(l, segment, buffer_bytes(&damaged), "zeroed length word", starts[i])]++;
            buffer_free(&damaged);
        }
        print_message("segment %d, %zu records\n", segment, n);
        print("  zeroed length words", counts);
        assert_int_equal(counts[TORN], 0);
    }
}

/* A write of many sectors of which one didn't get to the disk: what comes before it stays. */
static void test_every_lost_sector_of_the_last_write(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = {.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = 8192};
    struct wal *w;
    assert_int_equal(wal_create(&config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, NULL), 0);
    assert_int_equal(wal_test_save(w, 1, 1, "durable"), 0);
    assert_int_equal(wal_sync(w), 0);
    struct buffer before = {0}, after = {0};
    buffer_append(&before, memory_fs_get(m, WAL_FIRST_SEGMENT).data, 8192);
    char text[901];
    memset(text, 'x', 900);
    text[900] = '\0';
    for (uint64_t i = 2; i <= 6; i++) {
        assert_int_equal(wal_test_save(w, i, 1, text), 0);
    }
    assert_int_equal(wal_sync(w), 0);
    wal_close(w);
    buffer_append(&after, memory_fs_get(m, WAL_FIRST_SEGMENT).data, 8192);
    size_t torn = 0, shorter = 0;
    for (size_t at = 0; at < 4608; at += 512) {
        struct buffer damaged = {0};
        struct wal_contents c;
        buffer_append(&damaged, after.data, 8192);
        memcpy(damaged.data + at, before.data + at, 512);
        memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&damaged));
        assert_int_equal(wal_open(&config, &w, &c, NULL), 0);
        char *entries = wal_test_entries(w, 1);
        assert_memory_equal(entries, "1/1=durable", 11);
        assert_true(c.last_index < 6);
        (c.repaired ? &torn : &shorter)[0]++;
        /* nothing of what was cut off comes to light again */
        assert_int_equal(wal_test_save(w, c.last_index + 1, 2, "new"), 0);
        assert_int_equal(wal_sync(w), 0);
        uint64_t last = c.last_index + 1;
        wal_close(w);
        wal_contents_free(&c);
        assert_int_equal(wal_open(&config, &w, &c, NULL), 0);
        assert_int_equal(c.last_index, last);
        assert_false(c.repaired);
        wal_close(w);
        wal_contents_free(&c);
        free(entries);
        buffer_free(&damaged);
    }
    print_message("lost sectors: %zu torn records, %zu length words\n", torn, shorter);
    assert_true(torn >= 7);
    buffer_free(&before);
    buffer_free(&after);
    memory_fs_free(m);
}

static void open_refused(const char *path, struct bytes segment, const char *why)
{
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = {.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = 8192};
    struct wal *w;
    struct wal_contents c;
    char *reason = NULL;
    memory_fs_put(m, path, segment);
    assert_int_equal(wal_open(&config, &w, &c, &reason), ERR_CORRUPT_DATA);
    if (strstr(reason, why) == NULL) {
        fail_msg("refused with \"%s\" instead of \"%s\"", reason, why);
    }
    assert_true(bytes_equal(memory_fs_get(m, path), segment));
    free(reason);
    memory_fs_free(m);
}

/* Acknowledged records follow a length that was made longer, so that it reaches into the zeroes at the end (as it would
 * look after a torn write) or over the end of the file. */
static void test_a_longer_length_in_the_middle_is_no_torn_write_PR14127_CVE_2020_15106(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = {.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = 8192};
    struct wal *w;
    assert_int_equal(wal_create(&config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, NULL), 0);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(wal_test_save(w, i, 1, "some text"), 0);
    }
    assert_int_equal(wal_sync(w), 0);
    wal_close(w);
    struct buffer segment = {0};
    size_t starts[100];
    buffer_append(&segment, memory_fs_get(m, WAL_FIRST_SEGMENT).data, 8192);
    assert_int_equal(record_starts(&segment, starts), 23);
    uint8_t *word = segment.data + starts[5];
    uint64_t right = get_le64(word);
    put_le64(word, right + 4096);
    open_refused(WAL_FIRST_SEGMENT, buffer_bytes(&segment), "reaches over others");
    put_le64(word, right + (UINT64_C(1) << 50));
    open_refused(WAL_FIRST_SEGMENT, buffer_bytes(&segment), "but other records follow");
    buffer_free(&segment);
    memory_fs_free(m);
}

static void test_an_index_far_above_the_others_is_refused_CVE_2020_15112(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = {.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = 8192};
    struct wal *w;
    assert_int_equal(wal_create(&config, (struct wal_metadata){1, 2}, NULL, 0, NULL, &w, NULL), 0);
    assert_int_equal(wal_test_save(w, 1, 1, "one"), 0);
    assert_int_equal(wal_test_save(w, UINT64_C(1) << 40, 1, "far"), 0);
    wal_close(w);
    open_refused(WAL_FIRST_SEGMENT, memory_fs_get(m, WAL_FIRST_SEGMENT), "above the one that has to follow");
    memory_fs_free(m);
}

static void test_stale_bytes_behind_the_end_are_cleared(void **state)
{
    struct log *l = *state;
    size_t starts[100];
    size_t n = record_starts(&l->segments[1], starts);
    struct buffer damaged = {0};
    buffer_append(&damaged, l->segments[1].data, l->segments[1].len);
    assert_true(damaged.len > starts[n] + 100);
    memset(damaged.data + starts[n] + 16, 0xee, damaged.len - starts[n] - 16);
    assert_int_equal(judge(l, 1, buffer_bytes(&damaged), "stale bytes", starts[n]), UNCHANGED);
    assert_true(bytes_equal(memory_fs_get(l->m, paths[1]), buffer_bytes(&l->segments[1])));
    buffer_free(&damaged);
}

static void test_a_missing_segment_is_seen(void **state)
{
    struct log *l = *state;
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = l->config;
    config.fs = memory_fs_vtable(m);
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&l->segments[0]));
    memory_fs_put(m, WAL_DIR "/0000000000000002-0000000000000007.wal", buffer_bytes(&l->segments[1]));
    struct wal *w;
    struct wal_contents c;
    char *reason = NULL;
    assert_int_equal(wal_open(&config, &w, &c, &reason), ERR_CORRUPT_DATA);
    assert_non_null(strstr(reason, "missing"));
    free(reason);
    memory_fs_free(m);
}

static int setup(void **state)
{
    struct log *l = mem_zalloc(sizeof *l);
    build(l);
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    destroy(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_zeroed_length_word),
        cmocka_unit_test(test_every_lost_sector_of_the_last_write),
        cmocka_unit_test(test_a_longer_length_in_the_middle_is_no_torn_write_PR14127_CVE_2020_15106),
        cmocka_unit_test(test_an_index_far_above_the_others_is_refused_CVE_2020_15112),
        cmocka_unit_test(test_stale_bytes_behind_the_end_are_cleared),
        cmocka_unit_test(test_a_missing_segment_is_seen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
