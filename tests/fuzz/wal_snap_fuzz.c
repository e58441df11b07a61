/* Any bytes as a .snap file; also with a checksum put before them, so that what lies behind it is reached. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "raft/wal/snap_file.h"
#include "raft/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct bytes file)
{
    struct raft_position at, at_again;
    struct raft_conf_state conf, conf_again;
    struct bytes content, content_again;
    const char *reason = NULL;
    if (snap_file_decode(file, &at, &conf, &content, &reason) != 0) {
        CHECK(reason != NULL && content.data == NULL);
        return;
    }
    struct buffer out = {0};
    snap_file_encode(&out, at, &conf, content);
    CHECK(snap_file_decode(buffer_bytes(&out), &at_again, &conf_again, &content_again, &reason) == 0 ||
          crc32c(0, out.data, out.len) == 0);
    CHECK(at.index == at_again.index && at.term == at_again.term && raft_conf_state_equal(&conf, &conf_again));
    CHECK(bytes_equal(content, content_again));
    raft_conf_state_free(&conf);
    raft_conf_state_free(&conf_again);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer file = {0};
    decode(bytes_of(data, size));
    wire_append_number(&file, 1, crc32c(0, data, size));
    wire_append_bytes(&file, 2, bytes_of(data, size));
    decode(buffer_bytes(&file));
    buffer_free(&file);
    return 0;
}
