/* Any bytes as a WAL record and as what records hold: nothing is read beyond the input, and what was understood is
 * written and understood again alike. */
#include "base/check.h"
#include "base/error.h"
#include "raft/codec.h"
#include "raft/wal/wal_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void record(struct bytes in)
{
    struct wal_record r, again;
    uint8_t head[WAL_RECORD_HEAD_MAX];
    size_t pad;
    if (wal_record_decode(in, &r) != 0) {
        return;
    }
    struct buffer out = {0};
    size_t n = wal_record_encode_head(head, r.type, r.crc, r.data.data != NULL, r.data.len, &pad);
    buffer_append(&out, head, n);
    buffer_append(&out, r.data.data, r.data.len);
    uint64_t bytes, padding;
    CHECK(wal_record_length(get_le64(out.data), &bytes, &padding));
    CHECK(bytes == out.len - 8 && padding == pad && (out.len + pad) % 8 == 0);
    CHECK(wal_record_decode(bytes_of(out.data + 8, out.len - 8), &again) == 0);
    CHECK(again.type == r.type && again.crc == r.crc && bytes_equal(again.data, r.data));
    wal_record_torn(in, (uintptr_t)in.len * 31);
    buffer_free(&out);
}

static void entry(struct bytes in)
{
    struct raft_entry e, again;
    struct bytes data;
    uint8_t head[RAFT_ENTRY_HEAD_MAX];
    if (raft_entry_decode(in, &e, &data) != 0) {
        return;
    }
    e.data = data.data == NULL ? NULL : shared_copy(data);
    struct buffer out = {0};
    buffer_append(&out, head, raft_entry_encode_head(head, &e));
    buffer_append(&out, data.data, data.len);
    CHECK(raft_entry_decode(buffer_bytes(&out), &again, &data) == 0);
    CHECK(again.index == e.index && again.term == e.term && again.type == e.type);
    CHECK(bytes_equal(data, shared_bytes(e.data)));
    shared_unref(e.data);
    buffer_free(&out);
}

static void others(struct bytes in)
{
    struct raft_conf_state conf, conf_again;
    struct raft_conf_change change;
    struct raft_hard_state state;
    struct wal_metadata metadata;
    struct raft_position at;
    bool has_conf;
    struct buffer out = {0};
    if (raft_conf_state_decode(in, &conf) == 0) {
        raft_conf_state_encode(&out, &conf, true);
        CHECK(raft_conf_state_decode(buffer_bytes(&out), &conf_again) == 0);
        CHECK(raft_conf_state_equal(&conf, &conf_again));
        raft_conf_state_free(&conf);
        raft_conf_state_free(&conf_again);
    }
    if (wal_decode_snapshot(in, &at, &conf, &has_conf) == 0) {
        raft_conf_state_free(&conf);
    }
    raft_conf_change_decode(in, &change);
    wal_decode_state(in, &state);
    wal_decode_metadata(in, &metadata);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    record(in);
    entry(in);
    others(in);
    return 0;
}
