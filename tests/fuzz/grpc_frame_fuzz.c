/* Any bytes, cut anywhere, as gRPC messages: the same messages as uncut, and memory in proportion. Packed ones go
 * through the bounded decompression. */
#include "base/check.h"
#include "grpc/frame.h"
#include "grpc/gzip.h"

#define LIMIT ((size_t)4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void deliver(struct bytes message, bool compressed, struct buffer *told)
{
    struct buffer unpacked = {0};
    CHECK(message.len <= LIMIT);
    if (compressed && gzip_unpack(message, LIMIT, &unpacked, NULL, NULL) == 0) {
        CHECK(unpacked.len <= LIMIT);
        message = buffer_bytes(&unpacked);
    }
    buffer_printf(told, "%zu:", message.len);
    buffer_append(told, message.data, message.len);
    buffer_free(&unpacked);
}

static void read_all(struct bytes stream, size_t step, struct buffer *told)
{
    struct frame_reader reader = {.limit = LIMIT};
    enum frame_result result = FRAME_MORE;
    for (size_t at = 0; at < stream.len && (result == FRAME_MORE || result == FRAME_MESSAGE); at += step) {
        size_t n = stream.len - at < step ? stream.len - at : step;
        struct bytes in = bytes_of(stream.data + at, n), message;
        bool compressed;
        while ((result = frame_read(&reader, &in, &message, &compressed)) == FRAME_MESSAGE) {
            deliver(message, compressed, told);
        }
        CHECK(result != FRAME_MORE || in.len == 0);
        CHECK(frame_buffered(&reader) <= LIMIT);
    }
    buffer_printf(told, "=%d", (int)result);
    frame_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, cut = {0};
    if (size < 1) {
        return 0;
    }
    struct bytes stream = bytes_of(data + 1, size - 1);
    read_all(stream, stream.len + 1, &whole);
    read_all(stream, (size_t)data[0] + 1, &cut);
    CHECK(bytes_equal(buffer_bytes(&whole), buffer_bytes(&cut)));
    buffer_free(&whole);
    buffer_free(&cut);
    return 0;
}
