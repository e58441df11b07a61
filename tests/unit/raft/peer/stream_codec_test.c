/* The streams' bytes against captures between real members (tests/data/etcd/peer). */
#include "base/error.h"
#include "raft/peer/stream_codec.h"
#include "tests/support/test_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LOCAL 0x5d3a0bceaf171403u
#define REMOTE 0xbd18c080f8e8d179u

static struct buffer read_capture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/etcd/peer/%s", name);
    return test_file_read(path);
}

static struct stream_reader reader(enum stream_kind kind)
{
    return (struct stream_reader){.kind = kind, .local = LOCAL, .remote = REMOTE};
}

static void write_all(struct stream_writer *w, struct buffer *out, const struct raft_message *m, size_t step)
{
    stream_write_begin(w, m);
    while (!stream_write_done(w)) {
        out->len += stream_write(w, buffer_reserve(out, step), step);
    }
}

/* Heartbeats of the link that stand before a message. */
static struct bytes without_heartbeats(enum stream_kind kind, struct bytes range)
{
    uint8_t beat[STREAM_HEARTBEAT_MAX];
    size_t len = stream_heartbeat(kind, beat);
    while (range.len >= len && memcmp(range.data, beat, len) == 0) {
        range = bytes_of(range.data + len, range.len - len);
    }
    return range;
}

/* Reads a capture and writes each message again, at most `step` bytes at a time. Returns how many messages. */
static unsigned read_and_write_again(const char *name, enum stream_kind kind, size_t step)
{
    struct buffer all = read_capture(name);
    struct stream_reader r = reader(kind);
    struct stream_writer w = {.kind = kind};
    struct raft_message m;
    struct bytes in = buffer_bytes(&all);
    unsigned count = 0;
    for (struct bytes before = in; stream_read(&r, &in, &m) == 1; before = in) {
        struct buffer out = {0};
        struct bytes expected = without_heartbeats(kind, bytes_of(before.data, (size_t)(in.data - before.data)));
        write_all(&w, &out, &m, step);
        assert_int_equal(out.len, expected.len);
        assert_memory_equal(out.data, expected.data, out.len);
        buffer_free(&out);
        count++;
    }
    assert_int_equal(in.len, 0);
    stream_reader_free(&r);
    buffer_free(&all);
    return count;
}

static void test_streams_of_real_members_are_written_again_to_the_byte(void **state)
{
    (void)state;
    for (size_t step = 1; step < 100; step += 7) {
        assert_int_equal(read_and_write_again("message-stream-leader.bin", STREAM_MESSAGE, step), 57);
        assert_int_equal(read_and_write_again("message-stream-follower.bin", STREAM_MESSAGE, step), 59);
        assert_int_equal(read_and_write_again("msgapp-stream-leader.bin", STREAM_MSGAPP, step), 15);
        assert_int_equal(read_and_write_again("msgapp-stream-after-snapshot.bin", STREAM_MSGAPP, step), 1);
    }
}

static void test_appends_follow_one_another_in_the_state_of_the_stream(void **state)
{
    (void)state;
    static const struct {
        uint64_t index, count, commit;
    } expected[] = {{3, 1, 3}, {4, 3, 4}, {7, 0, 7}, {7, 1, 7}, {8, 0, 8}, {8, 1, 8}, {9, 0, 9}};
    struct buffer all = read_capture("msgapp-stream-leader.bin");
    struct stream_reader r = reader(STREAM_MSGAPP);
    struct raft_message m;
    struct bytes in = buffer_bytes(&all);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(stream_read(&r, &in, &m), 1);
        assert_int_equal(m.type, RAFT_MSG_APPEND);
        assert_true(m.from == REMOTE && m.to == LOCAL && m.term == 2);
        assert_int_equal(m.log_term, i == 0 ? 1 : 2);
        assert_int_equal(m.index, expected[i].index);
        assert_int_equal(m.entry_count, expected[i].count);
        assert_int_equal(m.commit, expected[i].commit);
        for (size_t at = 0; at < m.entry_count; at++) {
            assert_int_equal(m.entries[at].index, m.index + 1 + at);
        }
    }
    stream_reader_free(&r);
    buffer_free(&all);
}

/* However the bytes are cut, the same messages come. */
static void test_messages_that_come_in_pieces(void **state)
{
    (void)state;
    struct buffer all = read_capture("msgapp-stream-leader.bin");
    for (size_t step = 1; step < 50; step++) {
        struct stream_reader r = reader(STREAM_MSGAPP);
        struct raft_message m;
        unsigned count = 0;
        for (size_t at = 0; at < all.len; at += step) {
            struct bytes in = bytes_of(all.data + at, all.len - at < step ? all.len - at : step);
            int result;
            while ((result = stream_read(&r, &in, &m)) == 1) {
                count++;
            }
            assert_int_equal(result, 0);
        }
        assert_int_equal(count, 15);
        stream_reader_free(&r);
    }
    buffer_free(&all);
}

static void test_a_new_term_or_a_gap_is_sent_whole(void **state)
{
    (void)state;
    struct stream_writer w = {.kind = STREAM_MSGAPP};
    struct raft_entry e = {.index = 5, .term = 2};
    struct raft_message m = {.type = RAFT_MSG_APPEND,
                             .to = 1,
                             .from = 2,
                             .term = 2,
                             .log_term = 2,
                             .index = 4,
                             .entries = &e,
                             .entry_count = 1};
    static const struct {
        uint64_t term, log_term, index;
        uint8_t type;
    } steps[] = {{2, 2, 4, 2}, {2, 2, 5, 1}, {2, 2, 6, 1}, {2, 2, 9, 2}, {3, 2, 10, 2}, {3, 3, 11, 1}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct buffer out = {0};
        m.term = e.term = steps[i].term;
        m.log_term = steps[i].log_term;
        m.index = steps[i].index;
        e.index = m.index + 1;
        write_all(&w, &out, &m, 64);
        assert_int_equal(out.data[0], steps[i].type);
        buffer_free(&out);
    }
}

static void expect_malformed(enum stream_kind kind, const char *why, const char *bytes, size_t len)
{
    struct stream_reader r = reader(kind);
    struct raft_message m;
    struct bytes in = bytes_of(bytes, len);
    if (stream_read(&r, &in, &m) != ERR_MALFORMED) {
        fail_msg("%s was accepted", why);
    }
    stream_reader_free(&r);
}

static void test_lengths_and_counts_that_no_member_sends_are_refused(void **state)
{
    (void)state;
    expect_malformed(STREAM_MESSAGE, "a message above 512 MiB", "\0\0\0\0\x20\0\0\1", 8);
    expect_malformed(STREAM_MESSAGE, "a length of 2^64-1", "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    expect_malformed(STREAM_MESSAGE, "an empty message", "\0\0\0\0\0\0\0\0", 8);
    expect_malformed(STREAM_MESSAGE, "a local type", "\0\0\0\0\0\0\0\2\x08\x01", 10);
    expect_malformed(STREAM_MSGAPP, "a frame of no type", "\3", 1);
    expect_malformed(STREAM_MSGAPP, "too many entries", "\1\0\0\0\0\0\4\0\1", 9);
    expect_malformed(STREAM_MSGAPP, "an entry above 512 MiB", "\1\0\0\0\0\0\0\0\1\0\0\0\0\x20\0\0\1", 17);
    expect_malformed(STREAM_MSGAPP, "a broken entry", "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\x10", 18);
}

static void test_a_length_alone_takes_no_memory(void **state)
{
    (void)state;
    struct stream_reader r = reader(STREAM_MESSAGE);
    struct raft_message m;
    struct bytes in = bytes_of("\0\0\0\0\x1f\xff\xff\xff"
                               "abcdefgh",
                               16);
    assert_int_equal(stream_read(&r, &in, &m), 0);
    assert_true(r.partial.capacity < 4096);
    stream_reader_free(&r);
}

static void test_what_a_large_message_took_is_given_back(void **state)
{
    (void)state;
    struct stream_reader r = reader(STREAM_MESSAGE);
    struct stream_writer w = {.kind = STREAM_MESSAGE};
    struct raft_entry e = {.data = shared_new(1 << 20)};
    memset(e.data->data, 'x', e.data->len);
    struct raft_message m = {.type = RAFT_MSG_PROPOSE, .to = LOCAL, .from = REMOTE, .entries = &e, .entry_count = 1},
                        got = {0};
    struct buffer out = {0};
    write_all(&w, &out, &m, 96 * 1024);
    for (size_t at = 0; at < out.len; at += 16384) {
        struct bytes in = bytes_of(out.data + at, out.len - at < 16384 ? out.len - at : 16384);
        int result = stream_read(&r, &in, &got);
        assert_int_equal(result, at + 16384 >= out.len);
    }
    assert_int_equal(got.entry_count, 1);
    assert_int_equal(raft_entry_bytes(&got.entries[0]), 1 << 20);
    struct bytes none = {0};
    assert_int_equal(stream_read(&r, &none, &got), 0);
    assert_int_equal(r.partial.capacity, 0);
    stream_reader_free(&r);
    buffer_free(&out);
    shared_unref(e.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_of_real_members_are_written_again_to_the_byte),
        cmocka_unit_test(test_appends_follow_one_another_in_the_state_of_the_stream),
        cmocka_unit_test(test_messages_that_come_in_pieces),
        cmocka_unit_test(test_a_new_term_or_a_gap_is_sent_whole),
        cmocka_unit_test(test_lengths_and_counts_that_no_member_sends_are_refused),
        cmocka_unit_test(test_a_length_alone_takes_no_memory),
        cmocka_unit_test(test_what_a_large_message_took_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
