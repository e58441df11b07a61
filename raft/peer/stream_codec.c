#include "raft/peer/stream_codec.h"
#include "base/check.h"
#include "base/error.h"
#include "raft/codec.h"

enum frame_type { FRAME_HEARTBEAT = 0, FRAME_ENTRIES = 1, FRAME_MESSAGE = 2 };

static const uint8_t empty_heartbeat[] = {0x08, RAFT_MSG_HEARTBEAT};

/* Buffers that one message swelled are given back. */
#define KEPT_BYTES ((size_t)64 * 1024)

/* Where the log stands after a message that was sent whole. */
static struct stream_position after(const struct raft_message *m)
{
    uint64_t index = m->entry_count > 0 ? m->entries[m->entry_count - 1].index : m->index;
    return (struct stream_position){.term = m->term, .index = index};
}

/* --- writing --------------------------------------------------------------------------------------------------------
 */

_Static_assert(sizeof((struct stream_writer *)0)->head >= 9 + RAFT_MESSAGE_FRONT_MAX, "front");
_Static_assert(sizeof((struct stream_writer *)0)->head >= 8 + RAFT_MESSAGE_ENTRY_MAX, "entry");

static void make_front(struct stream_writer *w)
{
    const struct raft_message *m = w->message;
    uint8_t *out = w->head;
    if (w->kind == STREAM_MSGAPP) {
        *out++ = w->short_frame ? FRAME_ENTRIES : FRAME_MESSAGE;
    }
    put_be64(out, w->short_frame ? m->entry_count : raft_message_size(m));
    out += 8;
    if (!w->short_frame) {
        out += raft_message_front(out, m);
    }
    w->head_len = (size_t)(out - w->head);
}

static void make_entry(struct stream_writer *w, size_t at)
{
    const struct raft_entry *e = &w->message->entries[at];
    w->data = shared_bytes(e->data);
    if (!w->short_frame) {
        w->head_len = raft_message_entry(w->head, w->message, at);
        return;
    }
    size_t n = raft_entry_encode_head(w->head + 8, e);
    put_be64(w->head, n + w->data.len);
    w->head_len = n + 8;
}

static void make_back(struct stream_writer *w)
{
    if (!w->short_frame) {
        w->head_len = raft_message_back(w->head, w->message);
        return;
    }
    put_be64(w->head, w->message->commit);
    w->head_len = 8;
}

/* The next piece of the message; false when there is none. */
static bool next_piece(struct stream_writer *w)
{
    size_t step = w->step++;
    w->head_sent = 0;
    w->data = (struct bytes){0};
    if (step == 0) {
        make_front(w);
    } else if (step <= w->message->entry_count) {
        make_entry(w, step - 1);
    } else if (step == w->message->entry_count + 1) {
        make_back(w);
    } else {
        return false;
    }
    return true;
}

void stream_write_begin(struct stream_writer *w, const struct raft_message *m)
{
    CHECK(w->message == NULL && m->type != RAFT_MSG_SNAPSHOT);
    w->message = m;
    w->short_frame = w->kind == STREAM_MSGAPP && m->type == RAFT_MSG_APPEND && w->last.index == m->index &&
                     w->last.term == m->log_term && m->log_term == m->term;
    w->step = 0;
    next_piece(w);
}

static size_t put(const uint8_t *from, size_t len, uint8_t *out, size_t cap)
{
    size_t n = len < cap ? len : cap;
    if (n > 0) {
        memcpy(out, from, n);
    }
    return n;
}

size_t stream_write(struct stream_writer *w, uint8_t *out, size_t cap)
{
    size_t total = 0;
    while (w->message != NULL) {
        size_t n = put(w->head + w->head_sent, w->head_len - w->head_sent, out + total, cap - total);
        w->head_sent += n;
        total += n;
        if (w->head_sent < w->head_len) {
            break;
        }
        n = put(w->data.data, w->data.len, out + total, cap - total);
        w->data = bytes_skip(w->data, n);
        total += n;
        if (w->data.len > 0) {
            break;
        }
        if (!next_piece(w)) {
            w->last = after(w->message);
            w->message = NULL;
        }
    }
    return total;
}

size_t stream_heartbeat(enum stream_kind kind, uint8_t out[STREAM_HEARTBEAT_MAX])
{
    if (kind == STREAM_MSGAPP) {
        out[0] = FRAME_HEARTBEAT;
        return 1;
    }
    put_be64(out, sizeof empty_heartbeat);
    memcpy(out + 8, empty_heartbeat, sizeof empty_heartbeat);
    return 8 + sizeof empty_heartbeat;
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

static uint64_t wanted_bytes(const struct stream_reader *r)
{
    switch (r->wanted) {
    case STREAM_TYPE:
        return 1;
    case STREAM_BODY:
    case STREAM_ENTRY:
        return r->length;
    default:
        return 8;
    }
}

/* What is wanted next, whole: a view into the input if it stands there in one piece. False: the input is used up. */
static bool take(struct stream_reader *r, struct bytes *in, struct bytes *unit)
{
    uint64_t wanted = wanted_bytes(r);
    if (r->partial.len == 0 && in->len >= wanted) {
        *unit = bytes_of(in->data, (size_t)wanted);
        *in = bytes_skip(*in, (size_t)wanted);
        return true;
    }
    size_t missing = (size_t)(wanted - r->partial.len);
    size_t n = missing < in->len ? missing : in->len;
    buffer_append(&r->partial, in->data, n);
    *in = bytes_skip(*in, n);
    if (r->partial.len < wanted) {
        return false;
    }
    *unit = buffer_bytes(&r->partial);
    r->partial_used = true;
    return true;
}

static void drop_partial(struct stream_reader *r)
{
    if (r->partial_used) {
        r->partial_used = false;
        r->partial.len = 0;
        if (r->partial.capacity > KEPT_BYTES) {
            buffer_free(&r->partial);
        }
    }
}

/* The start of a frame. */
static void begin_frame(struct stream_reader *r)
{
    r->begun = true;
    r->wanted = r->kind == STREAM_MSGAPP ? STREAM_TYPE : STREAM_LENGTH;
    r->frame_bytes = 0;
}

static int read_type(struct stream_reader *r, uint8_t type)
{
    switch (type) {
    case FRAME_HEARTBEAT:
        return 0;
    case FRAME_ENTRIES:
        r->wanted = STREAM_COUNT;
        raft_message_owner_clear(&r->owner);
        return 0;
    case FRAME_MESSAGE:
        r->wanted = STREAM_LENGTH;
        return 0;
    default:
        return ERR_MALFORMED;
    }
}

static int read_length(struct stream_reader *r, uint64_t length, enum stream_wanted next)
{
    if (length > STREAM_LIMIT_BYTES || r->frame_bytes + length > STREAM_LIMIT_BYTES) {
        return ERR_MALFORMED;
    }
    r->length = length;
    r->wanted = next;
    return 0;
}

static int read_count(struct stream_reader *r, uint64_t count)
{
    if (count > RAFT_MESSAGE_ENTRIES_MAX) {
        return ERR_MALFORMED;
    }
    r->entries_left = count;
    r->wanted = count == 0 ? STREAM_COMMIT : STREAM_ENTRY_LENGTH;
    return 0;
}

static int read_entry(struct stream_reader *r, struct bytes in)
{
    int error = raft_message_owner_add(&r->owner, in);
    r->frame_bytes += in.len;
    r->wanted = --r->entries_left == 0 ? STREAM_COMMIT : STREAM_ENTRY_LENGTH;
    return error;
}

/* The end of a frame of entries. */
static int read_commit(struct stream_reader *r, uint64_t commit, struct raft_message *m)
{
    *m = (struct raft_message){
        .type = RAFT_MSG_APPEND,
        .from = r->remote,
        .to = r->local,
        .term = r->last.term,
        .log_term = r->last.term,
        .index = r->last.index,
        .commit = commit,
        .entries = r->owner.entries,
        .entry_count = r->owner.count,
    };
    r->last.index += r->owner.count;
    begin_frame(r);
    return 1;
}

static int read_message(struct stream_reader *r, struct bytes in, struct raft_message *m)
{
    if (raft_message_decode(in, m, &r->owner) != 0) {
        return ERR_MALFORMED;
    }
    begin_frame(r);
    if (r->kind == STREAM_MSGAPP) {
        r->last = after(m);
        return 1;
    }
    return m->type == RAFT_MSG_HEARTBEAT && m->from == RAFT_NONE && m->to == RAFT_NONE ? 0 : 1;
}

/* 1: a message is complete. */
static int read_unit(struct stream_reader *r, struct bytes unit, struct raft_message *m)
{
    switch (r->wanted) {
    case STREAM_TYPE:
        return read_type(r, unit.data[0]);
    case STREAM_LENGTH:
        return read_length(r, get_be64(unit.data), STREAM_BODY);
    case STREAM_BODY:
        return read_message(r, unit, m);
    case STREAM_COUNT:
        return read_count(r, get_be64(unit.data));
    case STREAM_ENTRY_LENGTH:
        return read_length(r, get_be64(unit.data), STREAM_ENTRY);
    case STREAM_ENTRY:
        return read_entry(r, unit);
    default:
        return read_commit(r, get_be64(unit.data), m);
    }
}

int stream_read(struct stream_reader *r, struct bytes *in, struct raft_message *m)
{
    struct bytes unit;
    int result = 0;
    if (!r->begun) {
        begin_frame(r);
    }
    drop_partial(r);
    while (result == 0 && take(r, in, &unit)) {
        result = read_unit(r, unit, m);
        if (result == 0) {
            drop_partial(r);
        }
    }
    return result;
}

void stream_reader_free(struct stream_reader *r)
{
    raft_message_owner_free(&r->owner);
    buffer_free(&r->partial);
    *r = (struct stream_reader){0};
}
