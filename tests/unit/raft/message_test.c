/* Messages against captures between real members (tests/data/etcd/peer): decoded and encoded again they are the same
 * bytes. */
#include "base/error.h"
#include "raft/message.h"
#include "tests/support/test_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct buffer read_capture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/etcd/peer/%s", name);
    return test_file_read(path);
}

static struct raft_message decode(struct bytes in, struct raft_message_owner *owner)
{
    struct raft_message m;
    assert_int_equal(raft_message_decode(in, &m, owner), 0);
    return m;
}

static void assert_same_again(struct bytes in)
{
    struct raft_message_owner owner = {0};
    struct raft_message m = decode(in, &owner);
    struct buffer out = {0};
    raft_message_encode(&out, &m);
    assert_int_equal(out.len, in.len);
    assert_memory_equal(out.data, in.data, in.len);
    assert_int_equal(raft_message_size(&m), in.len);
    buffer_free(&out);
    raft_message_owner_free(&owner);
}

/* Every message of a message stream's capture; how many of each type there were is counted. */
static void walk_message_stream(const char *name, unsigned counts[32])
{
    struct buffer all = read_capture(name);
    struct bytes in = buffer_bytes(&all);
    while (in.len >= 8) {
        uint64_t len = get_be64(in.data);
        in = bytes_of(in.data + 8, in.len - 8);
        if (len > in.len) {
            break; /* the capture was cut off */
        }
        if (len > 2) { /* not the link's heartbeat */
            assert_same_again(bytes_of(in.data, (size_t)len));
            counts[in.data[1]]++;
        }
        in = bytes_of(in.data + len, in.len - (size_t)len);
    }
    buffer_free(&all);
}

static void test_messages_between_real_members_encode_to_the_same_bytes(void **state)
{
    (void)state;
    unsigned counts[32] = {0};
    walk_message_stream("message-stream-leader.bin", counts);
    walk_message_stream("message-stream-follower.bin", counts);
    assert_int_equal(counts[RAFT_MSG_VOTE], 1);
    assert_int_equal(counts[RAFT_MSG_VOTE_RESPONSE], 1);
    assert_int_equal(counts[RAFT_MSG_PRE_VOTE_RESPONSE], 1);
    assert_int_equal(counts[RAFT_MSG_HEARTBEAT], 55);
    assert_int_equal(counts[RAFT_MSG_PROPOSE], 2);
    assert_int_equal(counts[RAFT_MSG_READ_INDEX], 1);
    assert_int_equal(counts[RAFT_MSG_READ_INDEX_RESPONSE], 1);
    assert_true(counts[RAFT_MSG_APPEND_RESPONSE] > 10 && counts[RAFT_MSG_HEARTBEAT_RESPONSE] > 10);

    struct buffer prevote = read_capture("pipeline-post-prevote.bin");
    assert_same_again(buffer_bytes(&prevote));
    buffer_free(&prevote);
    struct buffer append = read_capture("msgapp-stream-after-snapshot.bin");
    assert_same_again(bytes_of(append.data + 9, append.len - 9));
    buffer_free(&append);
}

static void test_a_snapshot_message_of_a_real_leader_encodes_to_the_same_bytes(void **state)
{
    (void)state;
    struct raft_message_owner owner = {0};
    struct buffer envelope = read_capture("snapshot-post-envelope.bin");
    struct bytes in = bytes_of(envelope.data + 8, (size_t)get_be64(envelope.data));
    struct raft_message m = decode(in, &owner);
    assert_int_equal(m.type, RAFT_MSG_SNAPSHOT);
    assert_int_equal(m.snapshot.index, 343);
    assert_int_equal(m.snapshot.term, 2);
    assert_int_equal(m.snapshot_conf->voters.count, 3);
    assert_int_equal(m.snapshot_conf->learners.count, 0);
    assert_int_equal(m.snapshot_data.data[0], '{');
    assert_same_again(in);
    raft_message_owner_free(&owner);
    buffer_free(&envelope);
}

static void test_an_append_keeps_entries_positions_and_data(void **state)
{
    (void)state;
    struct raft_message_owner owner = {0};
    struct buffer all = read_capture("msgapp-stream-after-snapshot.bin");
    struct raft_message m = decode(bytes_of(all.data + 9, all.len - 9), &owner);
    assert_int_equal(m.type, RAFT_MSG_APPEND);
    assert_true(m.to == 0x5d3a0bceaf171403 && m.from == 0xbd18c080f8e8d179);
    assert_true(m.term == 2 && m.log_term == 2 && m.index == 343 && m.commit == 344);
    assert_int_equal(m.entry_count, 1);
    assert_true(m.entries[0].index == 344 && m.entries[0].term == 2);
    assert_int_equal(raft_entry_bytes(&m.entries[0]), 56);
    raft_message_owner_free(&owner);
    buffer_free(&all);
}

static void test_a_rejection_says_where_the_logs_may_agree(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x08, 4, 0x10, 1, 0x18, 2, 0x20, 3, 0x28, 0, 0x30, 9, 0x50, 1, 0x58, 0};
    struct raft_message m = {
        .type = RAFT_MSG_APPEND_RESPONSE, .to = 1, .from = 2, .term = 3, .index = 9, .reject = true};
    struct buffer out = {0};
    raft_message_encode(&out, &m);
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
    buffer_free(&out);
}

static void test_a_transfer_carries_ids_only_and_its_vote_the_context(void **state)
{
    (void)state;
    static const uint8_t transfer[] = {0x08, 13, 0x10, 1, 0x18, 2};
    struct raft_message m = {.type = RAFT_MSG_TRANSFER_LEADER, .to = 1, .from = 2};
    struct buffer out = {0};
    raft_message_encode(&out, &m);
    assert_int_equal(out.len, sizeof transfer);
    assert_memory_equal(out.data, transfer, sizeof transfer);
    out.len = 0;
    m = (struct raft_message){.type = RAFT_MSG_VOTE, .to = 1, .from = 2, .term = 3, .context_len = 16};
    memcpy(m.context, "CampaignTransfer", 16);
    raft_message_encode(&out, &m);
    assert_memory_equal(out.data + out.len - 18,
                        "\x62\x10"
                        "CampaignTransfer",
                        18);
    buffer_free(&out);
}

static void test_broken_messages_are_refused_and_leave_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        const char *why, *bytes;
        size_t len;
        int error;
    } broken[] = {
        {"no type", "\x10\x01\x18\x02", 4, ERR_INVALID},
        {"a local type (MsgHup)", "\x08\x00\x10\x01", 4, ERR_INVALID},
        {"a local type (MsgBeat)", "\x08\x01", 2, ERR_INVALID},
        {"a local type (MsgStorageAppend)", "\x08\x13", 2, ERR_INVALID},
        {"a type far out", "\x08\xff\xff\xff\xff\x0f", 6, ERR_INVALID},
        {"an entry that runs over the end", "\x08\x03\x3a\x05\x10\x01", 6, ERR_MALFORMED},
        {"an entry after a good one", "\x08\x03\x3a\x04\x10\x01\x22\x00\x3a\x02\x08\x09", 12, ERR_MALFORMED},
        {"a context that is too long",
         "\x08\x08\x62\x21"
         "012345678901234567890123456789012",
         37, ERR_MALFORMED},
        {"a configuration cut off", "\x08\x07\x4a\x04\x12\x02\x0a\x05", 8, ERR_MALFORMED},
        {"a varint without end", "\x08\x03\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 14, ERR_MALFORMED},
        {"a group", "\x08\x03\x0b\x0c", 4, ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct raft_message_owner owner = {0};
        struct raft_message m;
        if (raft_message_decode(bytes_of(broken[i].bytes, broken[i].len), &m, &owner) != broken[i].error) {
            fail_msg("%s was accepted, or refused as something else", broken[i].why);
        }
        assert_int_equal(owner.count, 0);
        raft_message_owner_free(&owner);
    }
}

static void test_more_entries_than_any_member_sends_are_refused(void **state)
{
    (void)state;
    struct buffer in = {0};
    struct raft_message_owner owner = {0};
    struct raft_message m;
    buffer_append(&in, "\x08\x03", 2);
    for (size_t i = 0; i < RAFT_MESSAGE_ENTRIES_MAX; i++) {
        buffer_append(&in, "\x3a\x00", 2);
    }
    assert_int_equal(raft_message_decode(buffer_bytes(&in), &m, &owner), 0);
    buffer_append(&in, "\x3a\x00", 2);
    assert_int_equal(raft_message_decode(buffer_bytes(&in), &m, &owner), ERR_MALFORMED);
    raft_message_owner_free(&owner);
    buffer_free(&in);
}

static void test_a_copy_outlives_what_it_was_made_of(void **state)
{
    (void)state;
    struct raft_message_owner first = {0}, second = {0};
    struct buffer envelope = read_capture("snapshot-post-envelope.bin");
    struct bytes in = bytes_of(envelope.data + 8, (size_t)get_be64(envelope.data));
    struct raft_message m = decode(in, &first), copy;
    raft_message_copy(&copy, &second, &m);
    struct buffer before = {0}, after = {0};
    raft_message_encode(&before, &m);
    raft_message_owner_free(&first);
    buffer_free(&envelope);
    raft_message_encode(&after, &copy);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    raft_message_owner_free(&second);
    buffer_free(&before);
    buffer_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_between_real_members_encode_to_the_same_bytes),
        cmocka_unit_test(test_a_snapshot_message_of_a_real_leader_encodes_to_the_same_bytes),
        cmocka_unit_test(test_an_append_keeps_entries_positions_and_data),
        cmocka_unit_test(test_a_rejection_says_where_the_logs_may_agree),
        cmocka_unit_test(test_a_transfer_carries_ids_only_and_its_vote_the_context),
        cmocka_unit_test(test_broken_messages_are_refused_and_leave_nothing_behind),
        cmocka_unit_test(test_more_entries_than_any_member_sends_are_refused),
        cmocka_unit_test(test_a_copy_outlives_what_it_was_made_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
