#include "base/error.h"
#include "raft/wal/snap_file.h"
#include "tests/support/memory_fs.h"
#include "tests/support/test_file.h"
#include "tests/support/wal_support.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define DIR "data/member/snap"

static void assert_same(struct bytes got, struct bytes want)
{
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
}

static void test_etcds_file_is_read_and_written_again_to_the_same_bytes(void **state)
{
    (void)state;
    struct buffer file = {0}, again = {0};
    struct raft_position at;
    struct raft_conf_state conf;
    struct bytes data;
    file = test_file_read("tests/data/etcd/data-dir.snap");
    assert_int_equal(snap_file_decode(buffer_bytes(&file), &at, &conf, &data, NULL), 0);
    assert_int_equal(at.index, 153);
    assert_int_equal(at.term, 2);
    assert_int_equal(conf.voters.count, 1);
    assert_int_equal(conf.voters.ids[0], UINT64_C(0x856d959d1c1723aa));
    snap_file_encode(&again, at, &conf, data);
    assert_same(buffer_bytes(&again), buffer_bytes(&file));
    raft_conf_state_free(&conf);
    buffer_free(&file);
    buffer_free(&again);
}

static void test_the_v2_json_is_etcds(void **state)
{
    (void)state;
    struct buffer file = {0}, json = {0};
    struct raft_position at;
    struct raft_conf_state conf;
    struct bytes data;
    const char *const peer[] = {"http://127.0.0.1:23801"}, *const client[] = {"http://127.0.0.1:23791"};
    struct snap_file_member m = {.id = UINT64_C(0x856d959d1c1723aa),
                                 .peer_urls = peer,
                                 .peer_url_count = 1,
                                 .name = "s1",
                                 .client_urls = client,
                                 .client_url_count = 1};
    file = test_file_read("tests/data/etcd/data-dir.snap");
    assert_int_equal(snap_file_decode(buffer_bytes(&file), &at, &conf, &data, NULL), 0);
    snap_file_v2_json(&json, &m, 1, NULL, 0, "3.7.0");
    assert_same(buffer_bytes(&json), data);
    raft_conf_state_free(&conf);
    buffer_free(&file);
    buffer_free(&json);
}

static void test_the_v2_json_of_a_restored_cluster_is_etcds(void **state)
{
    (void)state;
    struct buffer file = {0}, json = {0};
    struct raft_position at;
    struct raft_conf_state conf;
    struct bytes data;
    const char *const one[] = {"http://127.0.0.1:23811"}, *const two[] = {"http://127.0.0.1:23812"};
    const struct snap_file_member m[] = {
        {.id = UINT64_C(0x3ed2fcada8485e79), .peer_urls = one, .peer_url_count = 1},
        {.id = UINT64_C(0xce429389a9ca9007), .peer_urls = two, .peer_url_count = 1},
    };
    file = test_file_read("tests/data/etcd/restore-2member.snap");
    assert_int_equal(snap_file_decode(buffer_bytes(&file), &at, &conf, &data, NULL), 0);
    snap_file_v2_json(&json, m, 2, NULL, 0, NULL);
    assert_same(buffer_bytes(&json), data);
    raft_conf_state_free(&conf);
    buffer_free(&file);
    buffer_free(&json);
}

static void test_the_v2_json_names_learners_and_removed_members_and_escapes_as_go_does(void **state)
{
    (void)state;
    struct buffer json = {0};
    const char *const peer[] = {"http://h:1"}, *const client[] = {"http://h:2/?a&b"};
    const struct snap_file_member m = {.id = 1,
                                       .peer_urls = peer,
                                       .peer_url_count = 1,
                                       .name = "n\"1",
                                       .client_urls = client,
                                       .client_url_count = 1,
                                       .learner = true};
    snap_file_v2_json(&json, &m, 1, (uint64_t[]){0x10, 0x2}, 2, NULL);
    buffer_append(&json, "", 1);
    const char *text = (const char *)json.data;
    assert_non_null(strstr(text, "\"Value\":\"{\\\"peerURLs\\\":[\\\"http://h:1\\\"],\\\"isLearner\\\":true}\""));
    assert_non_null(
        strstr(text, "{\\\"name\\\":\\\"n\\\\\\\"1\\\",\\\"clientURLs\\\":[\\\"http://h:2/?a\\\\u0026b\\\"]}"));
    const char *ten = strstr(text, "\"10\":{\"Path\":\"/0/removed_members/10\",\"CreatedIndex\":3,");
    const char *two = strstr(text, "\"2\":{\"Path\":\"/0/removed_members/2\",\"CreatedIndex\":4,");
    assert_true(ten != NULL && two != NULL && ten < two);
    buffer_free(&json);
}

static void test_more_events_than_the_history_holds_leave_the_newest(void **state)
{
    (void)state;
    struct buffer json = {0};
    uint64_t removed[1002];
    for (size_t i = 0; i < 1002; i++) {
        removed[i] = i + 1;
    }
    snap_file_v2_json(&json, NULL, 0, removed, 1002, NULL);
    buffer_append(&json, "", 1);
    const char *text = (const char *)json.data;
    /* event 1001 took the place of event 1 */
    assert_non_null(strstr(text, "\"Events\":[{\"action\":\"create\",\"node\":{\"key\":\"/0/removed_members/3e9\""));
    assert_non_null(
        strstr(text, "\"Size\":1000,\"Front\":2,\"Back\":2,\"Capacity\":1000},\"StartIndex\":3,\"LastIndex\":1002"));
    buffer_free(&json);
}

static void test_every_flipped_bit_is_refused_or_harmless(void **state)
{
    (void)state;
    struct buffer file = {0};
    struct raft_conf_state conf = {0}, got_conf;
    raft_ids_add(&conf.voters, 7);
    struct raft_position at = {.index = 9, .term = 3}, got_at;
    struct bytes got;
    snap_file_encode(&file, at, &conf, bytes_str("content"));
    size_t refused = 0;
    for (size_t bit = 0; bit < 8 * file.len; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const char *reason = NULL;
        int error = snap_file_decode(buffer_bytes(&file), &got_at, &got_conf, &got, &reason);
        if (error != 0) {
            assert_int_equal(error, ERR_CORRUPT_DATA);
            assert_non_null(reason);
            refused++;
        } else {
            assert_int_equal(got_at.index, 9);
            assert_true(raft_conf_state_equal(&conf, &got_conf));
            assert_true(bytes_equal(got, bytes_str("content")));
        }
        raft_conf_state_free(&got_conf);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > 7 * file.len);
    for (size_t len = 0; len < file.len; len++) {
        assert_int_equal(snap_file_decode(bytes_of(file.data, len), &got_at, &got_conf, &got, NULL), ERR_CORRUPT_DATA);
    }
    raft_conf_state_free(&conf);
    buffer_free(&file);
}

static void test_a_file_is_there_wholly_or_not_at_all(void **state)
{
    (void)state;
    struct raft_conf_state conf = {0};
    raft_ids_add(&conf.voters, 7);
    struct raft_position at = {.index = 0x33, .term = 2};
    for (uint64_t call = 1; call < 10; call++) {
        struct memory_fs *m = memory_fs_new();
        char *reason = NULL;
        memory_fs_fail(m, call, call % 2 ? -EIO : -ENOSPC, true);
        int error = snap_file_write(memory_fs_vtable(m), DIR, at, &conf, bytes_str("data"), &reason);
        assert_true(error == 0 || error == (call % 2 ? ERR_IO : ERR_DISK_FULL));
        assert_true((error != 0) == (reason != NULL));
        memory_fs_crash(m, call);
        struct bytes b = memory_fs_get(m, DIR "/0000000000000002-0000000000000033.snap");
        assert_true(error != 0 || b.data != NULL);
        if (b.data != NULL) {
            struct raft_position got;
            struct raft_conf_state got_conf;
            struct bytes data;
            assert_int_equal(snap_file_decode(b, &got, &got_conf, &data, NULL), 0);
            raft_conf_state_free(&got_conf);
        }
        free(reason);
        memory_fs_free(m);
    }
    raft_conf_state_free(&conf);
}

static void test_old_files_and_leftovers_are_removed(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    memory_fs_put(m, DIR "/0000000000000002-0000000000000066.snap", bytes_str("x"));
    memory_fs_put(m, DIR "/0000000000000002-0000000000000033.snap", bytes_str("x"));
    memory_fs_put(m, DIR "/0000000000000003-0000000000000070.snap", bytes_str("x"));
    memory_fs_put(m, DIR "/0000000000000070.snap.db", bytes_str("x"));
    memory_fs_put(m, DIR "/tmp-0000000000000003-0000000000000071.snap", bytes_str("x"));
    memory_fs_put(m, DIR "/tmp7.snap.db", bytes_str("x")); /* an image that is being received */
    memory_fs_put(m, DIR "/db", bytes_str("x"));
    assert_int_equal(snap_file_purge(memory_fs_vtable(m), DIR, 2, NULL), 0);
    char *names = memory_fs_names(m, DIR);
    assert_string_equal(names, "0000000000000002-0000000000000066.snap 0000000000000003-0000000000000070.snap "
                               "0000000000000070.snap.db db tmp7.snap.db");
    free(names);
    memory_fs_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_etcds_file_is_read_and_written_again_to_the_same_bytes),
        cmocka_unit_test(test_the_v2_json_is_etcds),
        cmocka_unit_test(test_the_v2_json_of_a_restored_cluster_is_etcds),
        cmocka_unit_test(test_the_v2_json_names_learners_and_removed_members_and_escapes_as_go_does),
        cmocka_unit_test(test_more_events_than_the_history_holds_leave_the_newest),
        cmocka_unit_test(test_every_flipped_bit_is_refused_or_harmless),
        cmocka_unit_test(test_a_file_is_there_wholly_or_not_at_all),
        cmocka_unit_test(test_old_files_and_leftovers_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
