/* Any bytes as an HTTP answer: its head, and its chunked body in pieces (the first byte says how large), which must be
 * the body that it is when read at once. */
#include "base/check.h"
#include "base/net/http1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int in_pieces(struct bytes in, size_t step, struct buffer *out)
{
    struct http1_chunks chunks = {.state = HTTP1_SIZE};
    int status = 0;
    while (status == 0 && in.len > 0 && chunks.state != HTTP1_DONE) {
        struct bytes part = bytes_of(in.data, in.len < step ? in.len : step), piece;
        size_t given = part.len;
        do {
            status = http1_dechunk_next(&chunks, &part, &piece);
            buffer_append(out, piece.data, status == 0 ? piece.len : 0);
        } while (status == 0 && piece.len > 0);
        in = bytes_of(in.data + given - part.len, in.len - given + part.len);
    }
    return status;
}

static void body(struct bytes in, size_t step)
{
    struct http1_chunks chunks = {.state = HTTP1_SIZE};
    struct buffer whole = {0}, pieces = {0};
    struct bytes rest = in;
    int status = http1_dechunk(&chunks, &rest, &whole, SIZE_MAX / 2);
    int again = in_pieces(in, step, &pieces);
    CHECK(status == 413 || (status == again && bytes_equal(buffer_bytes(&whole), buffer_bytes(&pieces))));
    buffer_free(&whole);
    buffer_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct http1_head head;
    const char *reason;
    if (size == 0) {
        return 0;
    }
    struct bytes in = bytes_of(data + 1, size - 1);
    size_t len = http1_head_length(in);
    CHECK(len <= in.len);
    if (len > 0 && http1_parse_answer(bytes_of(in.data, len), &arena, &head, &reason) == 0) {
        CHECK(head.status >= 100 && head.status <= 999 && !(head.chunked && head.has_length));
        struct bytes cluster = http1_find_header(head.headers, head.header_count, "x-etcd-cluster-id");
        CHECK(cluster.data == NULL || (cluster.data >= in.data && cluster.data + cluster.len <= in.data + len));
    }
    body(bytes_of(in.data + len, in.len - len), (size_t)data[0] + 1);
    arena_free(&arena);
    return 0;
}
