/* The bytes of the two streams between members (peer.md "message stream", "msgapp stream, version 2"): bytes to
 * messages and back, with no I/O in it. Both ends of a msgapp stream remember the term and index of what was sent last,
 * so that a leader's appends, which follow one another, carry nothing but their entries and the commit index.
 *
 *     message   { u64 length, raftpb.Message }…                     the link's heartbeat: an empty MsgHeartbeat
 *     msgapp    0                                                   the link's heartbeat
 *               1, u64 count, { u64 length, raftpb.Entry }…, u64 commit
 *               2, u64 length, raftpb.Message
 *
 * (All u64 big-endian.) The reader trusts nothing: a length is no reason to take memory, only bytes that came are. */
#ifndef RAFT_PEER_STREAM_CODEC_H
#define RAFT_PEER_STREAM_CODEC_H

#include "raft/message.h"

enum stream_kind { STREAM_MESSAGE, STREAM_MSGAPP };
#define STREAM_KINDS 2

#define STREAM_LIMIT_BYTES ((uint64_t)512 << 20) /* of a message, or of a frame's entries */

struct stream_position {
    uint64_t term, index;
};

/* --- writing --- */

/* Writes one message after the other, piece by piece into whatever room there is. Zeroed, then kind set. */
struct stream_writer {
    enum stream_kind kind;
    struct stream_position last;
    const struct raft_message *message; /* being written; NULL = none */
    bool short_frame;                   /* of type 1 */
    size_t step;                        /* 0: its front, 1…n: the entries, n + 1: its back */
    uint8_t head[96];
    size_t head_len, head_sent;
    struct bytes data; /* after the head */
};

/* The message must live until stream_write_done. CHECKs that the one before is done. */
void stream_write_begin(struct stream_writer *writer, const struct raft_message *message);
static inline bool stream_write_done(const struct stream_writer *writer)
{
    return writer->message == NULL;
}
/* The next bytes of the message: how many, at most cap. */
size_t stream_write(struct stream_writer *writer, uint8_t *out, size_t cap);

/* The link's heartbeat, to be written between messages. */
#define STREAM_HEARTBEAT_MAX 10
size_t stream_heartbeat(enum stream_kind kind, uint8_t out[STREAM_HEARTBEAT_MAX]);

/* --- reading --- */

enum stream_wanted {
    STREAM_TYPE,
    STREAM_LENGTH,
    STREAM_BODY,
    STREAM_COUNT,
    STREAM_ENTRY_LENGTH,
    STREAM_ENTRY,
    STREAM_COMMIT
};

/* Zeroed, then kind, local and remote set. */
struct stream_reader {
    enum stream_kind kind;
    uint64_t local, remote; /* ids: a frame of entries carries none */
    struct stream_position last;
    enum stream_wanted wanted;
    bool begun;
    uint64_t length;       /* of the message or entry that is wanted */
    uint64_t entries_left; /* of the frame */
    uint64_t frame_bytes;  /* of its entries so far */
    struct buffer partial; /* of what is wanted */
    bool partial_used;     /* it was given out, and goes with the next call */
    struct raft_message_owner owner;
};

/* Takes bytes from *in up to the end of the next message. 1: *message is filled, valid until the next call; 0: all of
 * the input is used up; ERR_MALFORMED: nothing sensible can follow. Heartbeats of the link are passed over. */
int stream_read(struct stream_reader *reader, struct bytes *in, struct raft_message *message);
void stream_reader_free(struct stream_reader *reader); /* leaves it as zeroed */

#endif
