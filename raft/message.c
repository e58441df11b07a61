#include "raft/message.h"
#include "base/check.h"
#include "base/error.h"
#include "raft/codec.h"
#include "raft/wire.h"
#include <stdlib.h>

/* raftpb.Message */
enum {
    FIELD_TYPE = 1,
    FIELD_TO = 2,
    FIELD_FROM = 3,
    FIELD_TERM = 4,
    FIELD_LOG_TERM = 5,
    FIELD_INDEX = 6,
    FIELD_ENTRIES = 7,
    FIELD_COMMIT = 8,
    FIELD_SNAPSHOT = 9,
    FIELD_REJECT = 10,
    FIELD_REJECT_HINT = 11,
    FIELD_CONTEXT = 12,
};

/* raftpb.Entry's type and data, raftpb.Snapshot and raftpb.SnapshotMetadata */
enum {
    ENTRY_TYPE = 1,
    ENTRY_DATA = 4,
    SNAPSHOT_DATA = 1,
    SNAPSHOT_METADATA = 2,
    METADATA_CONF = 1,
    METADATA_INDEX = 2,
    METADATA_TERM = 3,
};

static const char *const type_names[] = {
    [RAFT_MSG_PROPOSE] = "MsgProp",
    [RAFT_MSG_APPEND] = "MsgApp",
    [RAFT_MSG_APPEND_RESPONSE] = "MsgAppResp",
    [RAFT_MSG_VOTE] = "MsgVote",
    [RAFT_MSG_VOTE_RESPONSE] = "MsgVoteResp",
    [RAFT_MSG_SNAPSHOT] = "MsgSnap",
    [RAFT_MSG_HEARTBEAT] = "MsgHeartbeat",
    [RAFT_MSG_HEARTBEAT_RESPONSE] = "MsgHeartbeatResp",
    [RAFT_MSG_TRANSFER_LEADER] = "MsgTransferLeader",
    [RAFT_MSG_TIMEOUT_NOW] = "MsgTimeoutNow",
    [RAFT_MSG_READ_INDEX] = "MsgReadIndex",
    [RAFT_MSG_READ_INDEX_RESPONSE] = "MsgReadIndexResp",
    [RAFT_MSG_PRE_VOTE] = "MsgPreVote",
    [RAFT_MSG_PRE_VOTE_RESPONSE] = "MsgPreVoteResp",
};

bool raft_message_type_travels(uint64_t type)
{
    return type < sizeof type_names / sizeof type_names[0] && type_names[type] != NULL;
}

const char *raft_message_type_name(enum raft_message_type type)
{
    return raft_message_type_travels(type) ? type_names[type] : "unknown";
}

/* --- what a message's views point into --- */

void raft_message_owner_clear(struct raft_message_owner *o)
{
    for (size_t i = 0; i < o->count; i++) {
        shared_unref(o->entries[i].data);
    }
    o->count = 0;
    raft_conf_state_free(&o->conf);
    o->data.len = 0;
}

void raft_message_owner_free(struct raft_message_owner *o)
{
    raft_message_owner_clear(o);
    free(o->entries);
    buffer_free(&o->data);
    *o = (struct raft_message_owner){0};
}

static struct raft_entry *next_entry(struct raft_message_owner *o)
{
    if (o->count == o->capacity) {
        o->capacity = o->capacity == 0 ? 4 : o->capacity * 2;
        o->entries = mem_realloc(o->entries, o->capacity * sizeof *o->entries);
    }
    return &o->entries[o->count++];
}

void raft_message_copy(struct raft_message *to, struct raft_message_owner *o, const struct raft_message *from)
{
    raft_message_owner_clear(o);
    *to = *from;
    for (size_t i = 0; i < from->entry_count; i++) {
        struct raft_entry *e = next_entry(o);
        *e = from->entries[i];
        if (e->data != NULL) {
            shared_ref(e->data);
        }
    }
    to->entries = o->entries;
    if (from->snapshot_conf != NULL) {
        raft_conf_state_copy(&o->conf, from->snapshot_conf);
        to->snapshot_conf = &o->conf;
    }
    if (from->snapshot_data.data != NULL) {
        buffer_reserve(&o->data, from->snapshot_data.len + 1);
        buffer_append(&o->data, from->snapshot_data.data, from->snapshot_data.len);
        to->snapshot_data = buffer_bytes(&o->data);
    }
}

/* --- decoding --- */

int raft_message_owner_add(struct raft_message_owner *o, struct bytes entry)
{
    struct bytes data;
    if (o->count == RAFT_MESSAGE_ENTRIES_MAX) {
        return ERR_MALFORMED;
    }
    struct raft_entry *e = next_entry(o);
    int error = raft_entry_decode(entry, e, &data);
    if (error == 0 && data.data != NULL) {
        e->data = shared_copy(data);
    }
    return error;
}

static int decode_metadata(struct bytes in, struct raft_message *m, struct raft_message_owner *o)
{
    struct wire_field f;
    int more;
    while ((more = wire_next(&in, &f)) > 0) {
        if (f.tag == WIRE_TAG(METADATA_CONF, WIRE_BYTES)) {
            raft_conf_state_free(&o->conf);
            m->snapshot_conf = &o->conf;
            if (raft_conf_state_decode(f.bytes, &o->conf) != 0) {
                return ERR_MALFORMED;
            }
        } else if (f.tag == WIRE_TAG(METADATA_INDEX, WIRE_VARINT)) {
            m->snapshot.index = f.number;
        } else if (f.tag == WIRE_TAG(METADATA_TERM, WIRE_VARINT)) {
            m->snapshot.term = f.number;
        }
    }
    return more < 0 ? ERR_MALFORMED : 0;
}

static int decode_snapshot(struct bytes in, struct raft_message *m, struct raft_message_owner *o)
{
    struct wire_field f;
    int more, error = 0;
    while (error == 0 && (more = wire_next(&in, &f)) != 0) {
        if (more < 0) {
            error = ERR_MALFORMED;
        } else if (f.tag == WIRE_TAG(SNAPSHOT_DATA, WIRE_BYTES)) {
            m->snapshot_data = f.bytes;
        } else if (f.tag == WIRE_TAG(SNAPSHOT_METADATA, WIRE_BYTES)) {
            error = decode_metadata(f.bytes, m, o);
        }
    }
    return error;
}

static int decode_context(struct bytes in, struct raft_message *m)
{
    if (in.len > RAFT_CONTEXT_MAX) {
        return ERR_MALFORMED;
    }
    memcpy(m->context, in.data, in.len);
    m->context_len = (uint8_t)in.len;
    return 0;
}

static int decode_nested(const struct wire_field *f, struct raft_message *m, struct raft_message_owner *o)
{
    switch (f->tag) {
    case WIRE_TAG(FIELD_ENTRIES, WIRE_BYTES):
        return raft_message_owner_add(o, f->bytes);
    case WIRE_TAG(FIELD_SNAPSHOT, WIRE_BYTES):
        return decode_snapshot(f->bytes, m, o);
    case WIRE_TAG(FIELD_CONTEXT, WIRE_BYTES):
        return decode_context(f->bytes, m);
    default:
        return 0;
    }
}

static int decode_field(const struct wire_field *f, struct raft_message *m, struct raft_message_owner *o,
                        uint64_t *type)
{
    switch (f->tag) {
    case WIRE_TAG(FIELD_TYPE, WIRE_VARINT):
        *type = f->number;
        return 0;
    case WIRE_TAG(FIELD_TO, WIRE_VARINT):
        m->to = f->number;
        return 0;
    case WIRE_TAG(FIELD_FROM, WIRE_VARINT):
        m->from = f->number;
        return 0;
    case WIRE_TAG(FIELD_TERM, WIRE_VARINT):
        m->term = f->number;
        return 0;
    case WIRE_TAG(FIELD_LOG_TERM, WIRE_VARINT):
        m->log_term = f->number;
        return 0;
    case WIRE_TAG(FIELD_INDEX, WIRE_VARINT):
        m->index = f->number;
        return 0;
    case WIRE_TAG(FIELD_COMMIT, WIRE_VARINT):
        m->commit = f->number;
        return 0;
    case WIRE_TAG(FIELD_REJECT, WIRE_VARINT):
        m->reject = f->number != 0;
        return 0;
    case WIRE_TAG(FIELD_REJECT_HINT, WIRE_VARINT):
        m->reject_hint = f->number;
        return 0;
    default:
        return decode_nested(f, m, o);
    }
}

int raft_message_decode(struct bytes in, struct raft_message *m, struct raft_message_owner *o)
{
    struct wire_field f;
    uint64_t type = 0;
    int more, error = 0;
    raft_message_owner_clear(o);
    *m = (struct raft_message){0};
    while (error == 0 && (more = wire_next(&in, &f)) != 0) {
        error = more < 0 ? ERR_MALFORMED : decode_field(&f, m, o, &type);
    }
    if (error == 0 && !raft_message_type_travels(type)) {
        error = ERR_INVALID;
    }
    if (error != 0) {
        raft_message_owner_clear(o);
        *m = (struct raft_message){0};
        return error;
    }
    m->type = (enum raft_message_type)type;
    m->entries = o->entries;
    m->entry_count = o->count;
    return 0;
}

/* --- encoding --- */

/* Which of the numbers a type always carries, be they 0 (raft.md "Message fields"). */
static bool has_log_position(const struct raft_message *m)
{
    return m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE ||
           (m->type == RAFT_MSG_APPEND_RESPONSE && m->reject);
}

static bool has_index(const struct raft_message *m)
{
    return has_log_position(m) || m->type == RAFT_MSG_READ_INDEX_RESPONSE ||
           (m->type == RAFT_MSG_APPEND_RESPONSE && m->index != 0); /* 0: the answer that deposes an old leader */
}

static bool has_commit(const struct raft_message *m)
{
    return m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT;
}

size_t raft_message_front(uint8_t out[RAFT_MESSAGE_FRONT_MAX], const struct raft_message *m)
{
    size_t n = wire_put_number(out, FIELD_TYPE, m->type);
    n += wire_put_number(out + n, FIELD_TO, m->to);
    n += wire_put_number(out + n, FIELD_FROM, m->from);
    if (m->term != 0) {
        n += wire_put_number(out + n, FIELD_TERM, m->term);
    }
    if (has_log_position(m)) {
        n += wire_put_number(out + n, FIELD_LOG_TERM, m->log_term);
    }
    if (has_index(m)) {
        n += wire_put_number(out + n, FIELD_INDEX, m->index);
    }
    return n;
}

/* An entry that isn't in a log has neither term nor index. */
static size_t entry_head(uint8_t out[RAFT_ENTRY_HEAD_MAX], const struct raft_message *m, const struct raft_entry *e)
{
    if (m->type == RAFT_MSG_APPEND) {
        return raft_entry_encode_head(out, e);
    }
    size_t n = e->type == RAFT_ENTRY_NORMAL ? 0 : wire_put_number(out, ENTRY_TYPE, e->type);
    return e->data == NULL ? n : n + wire_put_head(out + n, ENTRY_DATA, e->data->len);
}

size_t raft_message_entry(uint8_t out[RAFT_MESSAGE_ENTRY_MAX], const struct raft_message *m, size_t at)
{
    uint8_t head[RAFT_ENTRY_HEAD_MAX];
    CHECK(at < m->entry_count);
    size_t head_len = entry_head(head, m, &m->entries[at]);
    size_t n = wire_put_head(out, FIELD_ENTRIES, head_len + raft_entry_bytes(&m->entries[at]));
    memcpy(out + n, head, head_len);
    return n + head_len;
}

size_t raft_message_back(uint8_t out[RAFT_MESSAGE_BACK_MAX], const struct raft_message *m)
{
    size_t n = has_commit(m) ? wire_put_number(out, FIELD_COMMIT, m->commit) : 0;
    if (m->reject) {
        n += wire_put_number(out + n, FIELD_REJECT, 1);
    }
    if (m->type == RAFT_MSG_APPEND_RESPONSE && m->reject) {
        n += wire_put_number(out + n, FIELD_REJECT_HINT, m->reject_hint);
    }
    if (m->context_len > 0) {
        CHECK(m->context_len <= RAFT_CONTEXT_MAX);
        n += wire_put_head(out + n, FIELD_CONTEXT, m->context_len);
        memcpy(out + n, m->context, m->context_len);
        n += m->context_len;
    }
    return n;
}

static void append_snapshot(struct buffer *out, const struct raft_message *m)
{
    struct buffer metadata = {0}, conf = {0}, snapshot = {0};
    if (m->snapshot_conf != NULL) {
        raft_conf_state_encode(&conf, m->snapshot_conf, true);
        wire_append_bytes(&metadata, METADATA_CONF, buffer_bytes(&conf));
    }
    wire_append_number(&metadata, METADATA_INDEX, m->snapshot.index);
    wire_append_number(&metadata, METADATA_TERM, m->snapshot.term);
    if (m->snapshot_data.data != NULL) {
        wire_append_bytes(&snapshot, SNAPSHOT_DATA, m->snapshot_data);
    }
    wire_append_bytes(&snapshot, SNAPSHOT_METADATA, buffer_bytes(&metadata));
    wire_append_bytes(out, FIELD_SNAPSHOT, buffer_bytes(&snapshot));
    buffer_free(&metadata);
    buffer_free(&conf);
    buffer_free(&snapshot);
}

void raft_message_encode(struct buffer *out, const struct raft_message *m)
{
    out->len += raft_message_front(buffer_reserve(out, RAFT_MESSAGE_FRONT_MAX), m);
    for (size_t i = 0; i < m->entry_count; i++) {
        struct bytes data = shared_bytes(m->entries[i].data);
        out->len += raft_message_entry(buffer_reserve(out, RAFT_MESSAGE_ENTRY_MAX + data.len), m, i);
        buffer_append(out, data.data, data.len);
    }
    if (m->type == RAFT_MSG_SNAPSHOT) {
        append_snapshot(out, m);
    }
    out->len += raft_message_back(buffer_reserve(out, RAFT_MESSAGE_BACK_MAX), m);
}

size_t raft_message_size(const struct raft_message *m)
{
    uint8_t part[RAFT_MESSAGE_FRONT_MAX];
    _Static_assert(RAFT_MESSAGE_FRONT_MAX >= RAFT_MESSAGE_ENTRY_MAX && RAFT_MESSAGE_FRONT_MAX >= RAFT_MESSAGE_BACK_MAX,
                   "one room for all parts");
    size_t n = raft_message_front(part, m) + raft_message_back(part, m);
    for (size_t i = 0; i < m->entry_count; i++) {
        n += raft_message_entry(part, m, i) + raft_entry_bytes(&m->entries[i]);
    }
    if (m->type == RAFT_MSG_SNAPSHOT) {
        struct buffer snapshot = {0};
        append_snapshot(&snapshot, m);
        n += snapshot.len;
        buffer_free(&snapshot);
    }
    return n;
}
