/* What a real etcd 3.7.1 wrote: read, and written again to the same bytes. */
#include "base/error.h"
#include "raft/codec.h"
#include "raft/wal/wal_impl.h"
#include "tests/support/memory_fs.h"
#include "tests/support/test_file.h"
#include "tests/support/wal_support.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEGMENT = 64 << 10 };

static struct wal_config config_of(struct memory_fs *m)
{
    return (struct wal_config){.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = SEGMENT};
}

/* One record in the words of wal-dump.txt, as far as they follow from the record itself. */
static void describe(struct buffer *out, uint64_t offset, const struct wal_record *r)
{
    struct raft_entry e;
    struct bytes content;
    struct raft_hard_state s;
    struct wal_metadata md;
    struct raft_position at;
    struct raft_conf_state conf;
    bool has_conf;
    out->len = 0;
    buffer_printf(out, "off=%" PRIu64 " crc=%08" PRIx32 " ", offset, r->crc);
    switch (r->type) {
    case WAL_RECORD_CRC:
        buffer_printf(out, "CRC");
        break;
    case WAL_RECORD_METADATA:
        assert_int_equal(wal_decode_metadata(r->data, &md), 0);
        buffer_printf(out, "METADATA {NodeID:%" PRIu64 " ClusterID:%" PRIu64 "}", md.node_id, md.cluster_id);
        break;
    case WAL_RECORD_ENTRY:
        assert_int_equal(wal_decode_entry(r->data, &e, &content), 0);
        buffer_printf(out, "ENTRY type=%s term=%" PRIu64 " index=%" PRIu64 " %s",
                      e.type == RAFT_ENTRY_NORMAL ? "EntryNormal" : "EntryConfChange", e.term, e.index,
                      content.data == NULL ? "(empty)" : "{");
        break;
    case WAL_RECORD_STATE:
        assert_int_equal(wal_decode_state(r->data, &s), 0);
        buffer_printf(out, "STATE {term:%" PRIu64 " vote:%" PRIu64 " commit:%" PRIu64 "}", s.term, s.vote, s.commit);
        break;
    default:
        assert_int_equal(wal_decode_snapshot(r->data, &at, &conf, &has_conf), 0);
        buffer_printf(out, "SNAPSHOT {index:%" PRIu64 " term:%" PRIu64, at.index, at.term);
        if (has_conf) {
            buffer_printf(out, " conf_state:{voters:%" PRIu64 " auto_leave:%s}", conf.voters.ids[0],
                          conf.auto_leave ? "true" : "false");
        }
        buffer_printf(out, "}");
        raft_conf_state_free(&conf);
    }
    buffer_append(out, "", 1);
}

static void test_every_record_reads_as_the_dump_says(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct buffer content = {0}, text = {0}, dump = {0};
    content = test_file_read("tests/data/etcd/data-dir.wal");
    dump = test_file_read("tests/data/etcd/data-dir.wal.txt");
    buffer_append(&dump, "", 1);
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&content));
    struct wal_file *file;
    assert_int_equal(memory_fs_vtable(m)->open(memory_fs_vtable(m), WAL_FIRST_SEGMENT, 0, &file), 0);
    struct wal_scan scan;
    assert_int_equal(wal_scan_open(&scan, file, 0, 0), 0);
    char *rest = NULL, *line = NULL;
    (void)strtok_r((char *)dump.data, "\n", &rest); /* the file's name */
    struct wal_record record;
    size_t records = 0;
    for (;;) {
        uint64_t offset = scan.offset;
        line = strtok_r(NULL, "\n", &rest);
        if (wal_scan_next(&scan, &record) != WAL_SCAN_RECORD) {
            break;
        }
        assert_non_null(line);
        describe(&text, offset, &record);
        assert_memory_equal(line, text.data, text.len - 1);
        records++;
    }
    assert_null(line);
    assert_int_equal(scan.offset, content.len);
    assert_int_equal(records, 392);
    wal_scan_close(&scan);
    file->fs->close(file);
    buffer_free(&content);
    buffer_free(&text);
    buffer_free(&dump);
    memory_fs_free(m);
}

/* Writes the records of a segment again with the writer's own functions, and compares. */
static void write_again(const char *name)
{
    struct memory_fs *m = memory_fs_new();
    struct buffer content = test_file_read(name);
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&content));
    struct wal_file *from, *to;
    struct wal_scan scan;
    struct wal_record record;
    const struct wal_fs *fs = memory_fs_vtable(m);
    assert_int_equal(fs->open(fs, WAL_FIRST_SEGMENT, 0, &from), 0);
    assert_int_equal(fs->open(fs, "again", WAL_FS_WRITE | WAL_FS_CREATE, &to), 0);
    assert_int_equal(wal_scan_open(&scan, from, 0, 0), 0);
    struct wal_config config = config_of(m);
    struct wal *w = wal_new(&config);
    wal_add_segment(w, (struct wal_name){0}, to);
    struct shared *data[512];
    size_t held = 0, n = 0;
    while (wal_scan_next(&scan, &record) == WAL_SCAN_RECORD) {
        struct raft_entry e;
        struct bytes body;
        struct raft_position at;
        struct raft_conf_state conf;
        bool has_conf;
        n++;
        if (record.type == WAL_RECORD_METADATA) {
            buffer_append(&w->metadata, record.data.data, record.data.len);
            wal_begin_segment(w, 0, true); /* with the crc record before and the empty snapshot after */
        } else if (record.type == WAL_RECORD_ENTRY) {
            assert_int_equal(wal_decode_entry(record.data, &e, &body), 0);
            e.data = body.data == NULL ? NULL : shared_copy(body);
            data[held++] = e.data;
            wal_add_entry(w, &e);
        } else if (record.type == WAL_RECORD_STATE) {
            assert_int_equal(wal_decode_state(record.data, &w->state), 0);
            w->state_waits = true;
            wal_add_state(w);
        } else if (record.type == WAL_RECORD_SNAPSHOT) {
            assert_int_equal(wal_decode_snapshot(record.data, &at, &conf, &has_conf), 0);
            if (at.index > 0 && strstr(name, "restore") == NULL) {
                wal_add_snapshot(w, at, &conf);
            } else if (at.index > 0) {
                wal_add_record(w, WAL_RECORD_SNAPSHOT, record.data); /* a restore leaves auto_leave out */
            }
            raft_conf_state_free(&conf);
        }
    }
    assert_int_equal(wal_write_waiting(w, to), 0);
    struct bytes again = memory_fs_get(m, "again");
    assert_int_equal(again.len, content.len);
    assert_memory_equal(again.data, content.data, content.len);
    assert_true(n > 5);
    wal_scan_close(&scan);
    fs->close(from);
    wal_abandon(w);
    for (size_t i = 0; i < held; i++) {
        shared_unref(data[i]);
    }
    buffer_free(&content);
    memory_fs_free(m);
}

static void test_etcds_segment_is_written_again_to_the_same_bytes(void **state)
{
    (void)state;
    write_again("tests/data/etcd/data-dir.wal");
}

static void test_restored_segments_are_written_again_to_the_same_bytes(void **state)
{
    (void)state;
    write_again("tests/data/etcd/restore-2member.wal");
    write_again("tests/data/etcd/restore-bumped.wal");
}

static void test_opening_etcds_log_begins_at_its_newest_checkpoint(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct buffer content = test_file_read("tests/data/etcd/data-dir.wal");
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&content));
    struct wal_config config = config_of(m);
    struct wal *w;
    struct wal_contents c;
    char *reason = NULL;
    assert_int_equal(wal_open(&config, &w, &c, &reason), 0);
    assert_int_equal(c.metadata.node_id, UINT64_C(0x856d959d1c1723aa));
    assert_int_equal(c.metadata.cluster_id, UINT64_C(0x7944bcb175f37f6e));
    assert_int_equal(c.snapshot.index, 153);
    assert_int_equal(c.snapshot.term, 2);
    assert_int_equal(c.conf.voters.count, 1);
    assert_int_equal(c.first_index, 154);
    assert_int_equal(c.last_index, 193);
    assert_int_equal(c.hard_state.commit, 193);
    assert_int_equal(c.record_count, 392);
    assert_false(c.repaired);
    assert_int_equal(wal_term(w, 153), 2);
    assert_int_equal(wal_term(w, 1), 1);
    assert_int_equal(wal_term(w, 194), 0);
    /* older entries are still there for readers */
    assert_int_equal(wal_first_index(w), 1);
    struct raft_entry *entries;
    size_t count;
    assert_int_equal(wal_read(w, 3, 193, 200, &entries, &count, &reason), 0);
    assert_int_equal(entries[0].index, 3);
    assert_true(count > 1 && count < 10);
    wal_entries_free(entries, count);
    /* and it goes on where etcd left off */
    assert_int_equal(wal_test_save(w, 194, 2, "next"), 0);
    assert_int_equal(wal_sync(w), 0);
    wal_close(w);
    wal_contents_free(&c);
    assert_int_equal(wal_open(&config, &w, &c, &reason), 0);
    assert_int_equal(c.last_index, 194);
    wal_close(w);
    wal_contents_free(&c);
    buffer_free(&content);
    memory_fs_free(m);
}

static void test_opening_a_restored_log(void **state)
{
    (void)state;
    struct memory_fs *m = memory_fs_new();
    struct buffer content = test_file_read("tests/data/etcd/restore-2member.wal");
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&content));
    struct wal_config config = config_of(m);
    struct wal_contents c;
    assert_int_equal(wal_verify(&config, &c, NULL), 0);
    assert_int_equal(c.snapshot.index, 2);
    assert_int_equal(c.last_index, 2);
    assert_int_equal(c.hard_state.vote, UINT64_C(0x3ed2fcada8485e79));
    assert_int_equal(c.conf.voters.count, 2);
    wal_contents_free(&c);
    buffer_free(&content);
    memory_fs_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_record_reads_as_the_dump_says),
        cmocka_unit_test(test_etcds_segment_is_written_again_to_the_same_bytes),
        cmocka_unit_test(test_restored_segments_are_written_again_to_the_same_bytes),
        cmocka_unit_test(test_opening_etcds_log_begins_at_its_newest_checkpoint),
        cmocka_unit_test(test_opening_a_restored_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
