/* Any bytes as a whole segment. Either it is refused with a reason, and left as it was, or it opens, can be read and
 * written on, and opens again with what was written. An input that begins with 'R' is a list of records (type, length
 * in two bytes, data) that gets valid frames and checksums, so that what lies behind those is reached too. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include "tests/support/memory_fs.h"
#include "tests/support/wal_support.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frame(struct buffer *out, uint32_t *crc, uint64_t type, struct bytes data)
{
    uint8_t head[WAL_RECORD_HEAD_MAX];
    size_t pad;
    bool with_data = type != WAL_RECORD_CRC;
    *crc = with_data ? crc32c(*crc, data.data, data.len) : *crc;
    size_t n = wal_record_encode_head(head, type, *crc, with_data, data.len, &pad);
    buffer_append(out, head, n);
    buffer_append(out, data.data, with_data ? data.len : 0);
    buffer_append(out, "\0\0\0\0\0\0\0", pad);
}

static void build(struct buffer *out, struct bytes in)
{
    uint32_t crc = 0;
    frame(out, &crc, WAL_RECORD_CRC, (struct bytes){0});
    frame(out, &crc, WAL_RECORD_METADATA, bytes_of("\x08\x01\x10\x02", 4));
    frame(out, &crc, WAL_RECORD_SNAPSHOT, bytes_of("\x08\x00\x10\x00", 4));
    while (in.len >= 3) {
        size_t len = (size_t)in.data[1] | (size_t)in.data[2] << 8;
        len = len < in.len - 3 ? len : in.len - 3;
        frame(out, &crc, in.data[0] % 7, bytes_of(in.data + 3, len));
        in = bytes_of(in.data + 3 + len, in.len - 3 - len);
    }
}

static void go_on(const struct wal_config *config, struct wal *w, uint64_t last)
{
    struct wal_contents c;
    struct wal *again;
    char *entries = wal_test_entries(w, last == 0 ? 1 : last);
    CHECK(strncmp(entries, "FAILED", 6) != 0, "%s", entries);
    free(entries);
    CHECK(wal_test_save(w, last + 1, INT64_MAX, "new") == 0);
    CHECK(wal_sync(w) == 0);
    wal_close(w);
    CHECK(wal_open(config, &again, &c, NULL) == 0);
    CHECK(c.last_index == last + 1 && !c.repaired);
    wal_close(again);
    wal_contents_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_fs *m = memory_fs_new();
    struct wal_config config = {.fs = memory_fs_vtable(m), .dir = WAL_DIR, .segment_bytes = 4096};
    struct buffer segment = {0};
    struct wal_contents c;
    struct wal *w;
    char *reason = NULL;
    if (size > 0 && data[0] == 'R') {
        build(&segment, bytes_of(data + 1, size - 1));
    } else {
        buffer_append(&segment, data, size);
    }
    memory_fs_put(m, WAL_FIRST_SEGMENT, buffer_bytes(&segment));
    int error = wal_open(&config, &w, &c, &reason);
    if (error == 0) {
        uint64_t last = c.last_index;
        wal_contents_free(&c);
        go_on(&config, w, last);
    } else {
        CHECK(error == ERR_CORRUPT_DATA && reason != NULL);
        CHECK(bytes_equal(memory_fs_get(m, WAL_FIRST_SEGMENT), buffer_bytes(&segment)));
    }
    free(reason);
    buffer_free(&segment);
    memory_fs_free(m);
    return 0;
}
