/* Any bytes as a stream of another member, whole and cut into pieces (the first byte says which stream and how): the
 * same messages come either way, and what is written of them reads alike. */
#include "base/check.h"
#include "base/error.h"
#include "raft/peer/stream_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct buffer all; /* the messages, written again */
    struct stream_writer writer;
    int result;
};

static void write_again(struct seen *seen, const struct raft_message *m)
{
    if (m->type == RAFT_MSG_SNAPSHOT) {
        return;
    }
    stream_write_begin(&seen->writer, m);
    while (!stream_write_done(&seen->writer)) {
        seen->all.len += stream_write(&seen->writer, buffer_reserve(&seen->all, 37), 37);
    }
}

static void read_all(struct seen *seen, enum stream_kind kind, struct bytes in, size_t step)
{
    struct stream_reader r = {.kind = kind, .local = 1, .remote = 2};
    struct raft_message m;
    seen->writer.kind = kind;
    while (seen->result == 0 && in.len > 0) {
        struct bytes piece = bytes_of(in.data, in.len < step ? in.len : step);
        in = bytes_of(in.data + piece.len, in.len - piece.len);
        while ((seen->result = stream_read(&r, &piece, &m)) == 1) {
            write_again(seen, &m);
        }
    }
    stream_reader_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum stream_kind kind = (data[0] & 1) != 0 ? STREAM_MSGAPP : STREAM_MESSAGE;
    struct bytes in = bytes_of(data + 1, size - 1);
    struct seen whole = {0}, cut = {0}, again = {0};
    read_all(&whole, kind, in, size);
    read_all(&cut, kind, in, (size_t)(data[0] >> 1) + 1);
    CHECK(whole.result == cut.result && bytes_equal(buffer_bytes(&whole.all), buffer_bytes(&cut.all)));
    read_all(&again, kind, buffer_bytes(&whole.all), whole.all.len + 1);
    CHECK(again.result == 0);
    if (kind == STREAM_MESSAGE) {
        CHECK(bytes_equal(buffer_bytes(&whole.all), buffer_bytes(&again.all)));
    }
    buffer_free(&whole.all);
    buffer_free(&cut.all);
    buffer_free(&again.all);
    return 0;
}
