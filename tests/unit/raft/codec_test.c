#include "base/error.h"
#include "raft/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_bytes(struct bytes got, const char *hex)
{
    char text[512] = "";
    for (size_t i = 0; i < got.len && i < 250; i++) {
        static const char digits[] = "0123456789abcdef";
        text[2 * i] = digits[got.data[i] >> 4];
        text[2 * i + 1] = digits[got.data[i] & 15];
        text[2 * i + 2] = '\0';
    }
    assert_string_equal(text, hex);
}

static void test_a_leaders_empty_entry_has_neither_type_nor_data(void **state)
{
    (void)state;
    uint8_t out[RAFT_ENTRY_HEAD_MAX];
    struct raft_entry e = {.index = 2, .term = 2};
    size_t n = raft_entry_encode_head(out, &e);
    assert_bytes(bytes_of(out, n), "10021802");
}

static void test_an_entry_with_empty_data_keeps_the_field(void **state)
{
    (void)state;
    uint8_t out[RAFT_ENTRY_HEAD_MAX];
    struct raft_entry e = {.index = 300, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_new(0)}, back;
    struct bytes data;
    size_t n = raft_entry_encode_head(out, &e);
    assert_bytes(bytes_of(out, n), "0801100118ac022200");
    assert_int_equal(raft_entry_decode(bytes_of(out, n), &back, &data), 0);
    assert_int_equal(back.index, 300);
    assert_int_equal(back.type, RAFT_ENTRY_CONF_CHANGE);
    assert_non_null(data.data);
    assert_int_equal(data.len, 0);
    shared_unref(e.data);
}

static void test_an_entry_of_older_versions_with_explicit_type_zero_is_read(void **state)
{
    (void)state;
    static const uint8_t in[] = {0x08, 0x00, 0x10, 0x05, 0x18, 0x09, 0x22, 0x01, 'x'};
    struct raft_entry e;
    struct bytes data;
    assert_int_equal(raft_entry_decode(bytes_of(in, sizeof in), &e, &data), 0);
    assert_int_equal(e.type, RAFT_ENTRY_NORMAL);
    assert_int_equal(e.term, 5);
    assert_int_equal(e.index, 9);
    assert_int_equal(data.len, 1);
}

static void test_broken_entries_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } broken[] = {
        {"\x22\x05"
         "ab",
         4},                                                  /* data runs over the end */
        {"\x10", 1},                                          /* no value */
        {"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, /* more than 64 bits */
        {"\x08\x03\x10\x01\x18\x01", 6},                      /* no such type */
        {"\x0b\x0c", 2},                                      /* a group */
        {"\x00\x01", 2},                                      /* field number 0 */
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct raft_entry e;
        struct bytes data;
        assert_int_equal(raft_entry_decode(bytes_of(broken[i].bytes, broken[i].len), &e, &data), ERR_MALFORMED);
    }
}

static void test_a_hard_state_is_written_whole(void **state)
{
    (void)state;
    uint8_t out[RAFT_HARD_STATE_MAX];
    struct raft_hard_state back;
    size_t n = raft_hard_state_encode(out, (struct raft_hard_state){.term = 1, .vote = 0, .commit = 1});
    assert_bytes(bytes_of(out, n), "080110001801");
    assert_int_equal(raft_hard_state_decode(bytes_of(out, n), &back), 0);
    assert_true(raft_hard_state_equal(back, (struct raft_hard_state){1, 0, 1}));
    n = raft_hard_state_encode(out, (struct raft_hard_state){UINT64_MAX, UINT64_MAX, UINT64_MAX});
    assert_int_equal(n, RAFT_HARD_STATE_MAX);
}

static void test_a_configuration_is_written_unpacked_and_read_both_ways(void **state)
{
    (void)state;
    struct raft_conf_state conf = {0}, back;
    struct buffer out = {0};
    raft_ids_add(&conf.voters, 7);
    raft_ids_add(&conf.voters, 3);
    raft_ids_add(&conf.voters, 7);
    raft_ids_add(&conf.learners, 9);
    raft_conf_state_encode(&out, &conf, true);
    assert_bytes(buffer_bytes(&out), "0803080710092800");
    assert_int_equal(raft_conf_state_decode(buffer_bytes(&out), &back), 0);
    assert_true(raft_conf_state_equal(&conf, &back));
    raft_conf_state_free(&back);
    assert_int_equal(raft_conf_state_decode(bytes_of("\x0a\x02\x03\x07\x12\x01\x09", 7), &back), 0);
    assert_true(raft_conf_state_equal(&conf, &back));
    raft_conf_state_free(&back);
    assert_int_equal(raft_conf_state_decode(bytes_of("\x0a\x02\x03\x87", 4), &back), ERR_MALFORMED);
    buffer_free(&out);
    raft_conf_state_free(&conf);
}

static void test_a_bootstrap_conf_change_has_the_bytes_of_the_sample(void **state)
{
    (void)state;
    /* wal-dump.txt, offset 80 */
    static const char context[] =
        "{\"id\":9614505281519559594,\"peerURLs\":[\"http://127.0.0.1:23801\"],\"name\":\"s1\"}";
    struct buffer out = {0};
    struct raft_conf_change back,
        change = {.type = RAFT_ADD_NODE, .node_id = UINT64_C(0x856d959d1c1723aa), .context = bytes_str(context)};
    raft_conf_change_encode(&out, &change);
    static const uint8_t head[] = {0x10, 0x00, 0x18, 0xaa, 0xc7, 0xdc, 0xe0, 0xd1,
                                   0xb3, 0xe5, 0xb6, 0x85, 0x01, 0x22, 0x4c};
    assert_int_equal(out.len, sizeof head + sizeof context - 1);
    assert_memory_equal(out.data, head, sizeof head);
    assert_int_equal(raft_conf_change_decode(buffer_bytes(&out), &back), 0);
    assert_int_equal(back.node_id, change.node_id);
    assert_true(bytes_equal(back.context, change.context));
    buffer_free(&out);
    assert_int_equal(raft_conf_change_decode(bytes_of("\x10\x04\x18\x01", 4), &back), ERR_MALFORMED);
}

static void test_a_change_of_several_members_is_written_and_read(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct raft_conf_change_v2 back, change = {.transition = RAFT_TRANSITION_EXPLICIT,
                                               .change_count = 2,
                                               .changes = {{RAFT_ADD_NODE, 5}, {RAFT_REMOVE_NODE, 300}},
                                               .context = bytes_str("x")};
    raft_conf_change_v2_encode(&out, &change);
    assert_bytes(buffer_bytes(&out), "08021204080010051205080110ac021a0178");
    assert_int_equal(raft_conf_change_v2_decode(buffer_bytes(&out), &back), 0);
    assert_int_equal(back.transition, RAFT_TRANSITION_EXPLICIT);
    assert_int_equal(back.change_count, 2);
    assert_int_equal(back.changes[1].type, RAFT_REMOVE_NODE);
    assert_int_equal(back.changes[1].node_id, 300);
    assert_true(bytes_equal(back.context, change.context));
    buffer_free(&out);

    assert_int_equal(raft_conf_change_v2_decode((struct bytes){0}, &back), 0); /* what leaves a joint configuration */
    assert_int_equal(back.change_count, 0);
    assert_int_equal(raft_conf_change_v2_decode(bytes_of("\x08\x03", 2), &back), ERR_MALFORMED);
    assert_int_equal(raft_conf_change_v2_decode(bytes_of("\x12\x02\x08\x07", 4), &back), ERR_MALFORMED);
    assert_int_equal(raft_conf_change_v2_decode(bytes_of("\x12\x05\x08", 3), &back), ERR_MALFORMED);
}

static void test_more_changes_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct raft_conf_change_v2 back;
    for (int i = 0; i < RAFT_CHANGES_MAX; i++) {
        buffer_append(&out, "\x12\x02\x10\x01", 4);
    }
    assert_int_equal(raft_conf_change_v2_decode(buffer_bytes(&out), &back), 0);
    assert_int_equal(back.change_count, RAFT_CHANGES_MAX);
    buffer_append(&out, "\x12\x02\x10\x01", 4);
    assert_int_equal(raft_conf_change_v2_decode(buffer_bytes(&out), &back), ERR_MALFORMED);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_leaders_empty_entry_has_neither_type_nor_data),
        cmocka_unit_test(test_an_entry_with_empty_data_keeps_the_field),
        cmocka_unit_test(test_an_entry_of_older_versions_with_explicit_type_zero_is_read),
        cmocka_unit_test(test_broken_entries_are_refused),
        cmocka_unit_test(test_a_hard_state_is_written_whole),
        cmocka_unit_test(test_a_configuration_is_written_unpacked_and_read_both_ways),
        cmocka_unit_test(test_a_bootstrap_conf_change_has_the_bytes_of_the_sample),
        cmocka_unit_test(test_a_change_of_several_members_is_written_and_read),
        cmocka_unit_test(test_more_changes_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
