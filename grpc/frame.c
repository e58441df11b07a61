#include "grpc/frame.h"

/* A body buffer larger than this is given back after its message. */
#define KEPT_BYTES ((size_t)16 * 1024)

static void take(struct bytes *in, size_t n)
{
    in->data += n;
    in->len -= n;
}

/* Completes the head; false when the input ended first. */
static bool read_head(struct frame_reader *r, struct bytes *in)
{
    while (r->head_len < FRAME_HEAD && in->len > 0) {
        r->head[r->head_len++] = *in->data;
        take(in, 1);
    }
    if (r->head_len < FRAME_HEAD) {
        return false;
    }
    r->length = get_be32(r->head + 1);
    r->in_message = true;
    r->head_len = 0;
    if (r->body.capacity > KEPT_BYTES) {
        buffer_free(&r->body);
    }
    r->body.len = 0;
    return true;
}

/* The body is there too. */
static enum frame_result whole(struct frame_reader *r)
{
    r->in_message = false;
    return r->head[0] > 1 ? FRAME_BAD_FLAG : FRAME_MESSAGE;
}

enum frame_result frame_read(struct frame_reader *r, struct bytes *in, struct bytes *message, bool *compressed)
{
    if (!r->in_message) {
        if (!read_head(r, in)) {
            return FRAME_MORE;
        }
        if (r->length > r->limit) {
            return FRAME_TOO_LONG;
        }
    }
    *compressed = r->head[0] == 1;
    if (r->body.len == 0 && in->len >= r->length) {
        *message = bytes_of(in->data, r->length);
        take(in, r->length);
        return whole(r);
    }
    size_t missing = r->length - r->body.len;
    size_t n = missing < in->len ? missing : in->len;
    buffer_append(&r->body, in->data, n);
    take(in, n);
    if (r->body.len < r->length) {
        return FRAME_MORE;
    }
    *message = buffer_bytes(&r->body);
    return whole(r);
}

void frame_free(struct frame_reader *r)
{
    buffer_free(&r->body);
    r->in_message = false;
    r->head_len = 0;
}
