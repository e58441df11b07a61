/* gRPC's message framing (grpc.md, "Messages"): u8 compressed flag, u32 BE length, bytes. Bytes in, messages out; no
 * I/O. A message that lies whole in the input is given without a copy; nothing is allocated on the word of the prefix
 * alone: memory grows with the bytes that have really come. */
#ifndef GRPC_FRAME_H
#define GRPC_FRAME_H

#include "base/bytes.h"

#define FRAME_HEAD 5

struct frame_reader {
    size_t limit; /* longest message; set by the owner */
    uint8_t head[FRAME_HEAD];
    uint8_t head_len;
    bool in_message; /* head complete, body not yet */
    uint32_t length; /* of the message whose head is complete */
    struct buffer body;
};

enum frame_result {
    FRAME_MORE,     /* all input taken, no whole message yet */
    FRAME_MESSAGE,  /* *message is valid until the next call, or as long as the input */
    FRAME_TOO_LONG, /* reader->length > limit */
    FRAME_BAD_FLAG, /* a whole message, but reader->head[0] is neither 0 nor 1 */
};

/* Takes from *in what belongs to the next message. After an error result the reader is of no more use. */
enum frame_result frame_read(struct frame_reader *reader, struct bytes *in, struct bytes *message, bool *compressed);

/* Has a message begun that is not complete? */
static inline bool frame_partial(const struct frame_reader *reader)
{
    return reader->head_len > 0 || reader->in_message;
}
/* Bytes that the reader keeps. */
static inline size_t frame_buffered(const struct frame_reader *reader)
{
    return reader->body.len;
}
void frame_free(struct frame_reader *reader);

static inline void frame_put_head(uint8_t *out, bool compressed, uint32_t length)
{
    out[0] = compressed;
    put_be32(out + 1, length);
}

#endif
