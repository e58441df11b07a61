#include "raft/codec.h"
#include "base/error.h"
#include "raft/wire.h"

/* --- raftpb.Entry: 1 Type, 2 Term, 3 Index, 4 Data --- */

size_t raft_entry_encode_head(uint8_t out[RAFT_ENTRY_HEAD_MAX], const struct raft_entry *entry)
{
    size_t n = 0;
    if (entry->type != RAFT_ENTRY_NORMAL) {
        n += wire_put_number(out, 1, entry->type);
    }
    n += wire_put_number(out + n, 2, entry->term);
    n += wire_put_number(out + n, 3, entry->index);
    if (entry->data != NULL) {
        n += wire_put_head(out + n, 4, entry->data->len);
    }
    return n;
}

int raft_entry_decode(struct bytes in, struct raft_entry *entry, struct bytes *data)
{
    struct wire_field f;
    uint64_t type = 0;
    int more;
    *entry = (struct raft_entry){0};
    *data = (struct bytes){0};
    while ((more = wire_next(&in, &f)) > 0) {
        switch (f.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            type = f.number;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            entry->term = f.number;
            break;
        case WIRE_TAG(3, WIRE_VARINT):
            entry->index = f.number;
            break;
        case WIRE_TAG(4, WIRE_BYTES):
            *data = f.bytes;
            break;
        }
    }
    if (more < 0 || type > RAFT_ENTRY_CONF_CHANGE_V2) {
        return ERR_MALFORMED;
    }
    entry->type = (enum raft_entry_type)type;
    return 0;
}

/* --- raftpb.HardState: 1 term, 2 vote, 3 commit --- */

size_t raft_hard_state_encode(uint8_t out[RAFT_HARD_STATE_MAX], struct raft_hard_state state)
{
    size_t n = wire_put_number(out, 1, state.term);
    n += wire_put_number(out + n, 2, state.vote);
    return n + wire_put_number(out + n, 3, state.commit);
}

int raft_hard_state_decode(struct bytes in, struct raft_hard_state *state)
{
    struct wire_field f;
    int more;
    *state = (struct raft_hard_state){0};
    while ((more = wire_next(&in, &f)) > 0) {
        switch (f.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            state->term = f.number;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            state->vote = f.number;
            break;
        case WIRE_TAG(3, WIRE_VARINT):
            state->commit = f.number;
            break;
        }
    }
    return more < 0 ? ERR_MALFORMED : 0;
}

/* --- raftpb.ConfState: 1 voters, 2 learners, 3 voters_outgoing, 4 learners_next, 5 auto_leave --- */

enum { CONF_STATE_IDS_MAX = 4096 };

static void encode_ids(struct buffer *out, uint32_t number, const struct raft_ids *set)
{
    for (size_t i = 0; i < set->count; i++) {
        wire_append_number(out, number, set->ids[i]);
    }
}

void raft_conf_state_encode(struct buffer *out, const struct raft_conf_state *conf, bool with_auto_leave)
{
    encode_ids(out, 1, &conf->voters);
    encode_ids(out, 2, &conf->learners);
    encode_ids(out, 3, &conf->voters_outgoing);
    encode_ids(out, 4, &conf->learners_next);
    if (with_auto_leave || conf->auto_leave) {
        wire_append_number(out, 5, conf->auto_leave);
    }
}

/* One id, or several packed. */
static int decode_ids(const struct wire_field *f, struct raft_ids *set)
{
    if ((f->tag & 7) == WIRE_VARINT) {
        raft_ids_add(set, f->number);
        return set->count > CONF_STATE_IDS_MAX ? ERR_MALFORMED : 0;
    }
    struct bytes in = f->bytes;
    while (in.len > 0) {
        uint64_t id;
        size_t n = varint_get(in, &id);
        if (n == 0) {
            return ERR_MALFORMED;
        }
        raft_ids_add(set, id);
        if (set->count > CONF_STATE_IDS_MAX) {
            return ERR_MALFORMED;
        }
        in = bytes_of(in.data + n, in.len - n);
    }
    return 0;
}

int raft_conf_state_decode(struct bytes in, struct raft_conf_state *conf)
{
    *conf = (struct raft_conf_state){0};
    struct raft_ids *const sets[] = {&conf->voters, &conf->learners, &conf->voters_outgoing, &conf->learners_next};
    struct wire_field f;
    int more, error = 0;
    while (error == 0 && (more = wire_next(&in, &f)) != 0) {
        uint32_t number = f.tag >> 3, type = f.tag & 7;
        if (more < 0) {
            error = ERR_MALFORMED;
        } else if (number >= 1 && number <= 4 && (type == WIRE_VARINT || type == WIRE_BYTES)) {
            error = decode_ids(&f, sets[number - 1]);
        } else if (f.tag == WIRE_TAG(5, WIRE_VARINT)) {
            conf->auto_leave = f.number != 0;
        }
    }
    if (error != 0) {
        raft_conf_state_free(conf);
    }
    return error;
}

/* --- raftpb.ConfChange: 1 id, 2 type, 3 node_id, 4 context --- */

void raft_conf_change_encode(struct buffer *out, const struct raft_conf_change *change)
{
    if (change->id != 0) {
        wire_append_number(out, 1, change->id);
    }
    wire_append_number(out, 2, change->type);
    wire_append_number(out, 3, change->node_id);
    if (change->context.data != NULL) {
        wire_append_bytes(out, 4, change->context);
    }
}

int raft_conf_change_decode(struct bytes in, struct raft_conf_change *change)
{
    struct wire_field f;
    uint64_t type = 0;
    int more;
    *change = (struct raft_conf_change){0};
    while ((more = wire_next(&in, &f)) > 0) {
        switch (f.tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            change->id = f.number;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            type = f.number;
            break;
        case WIRE_TAG(3, WIRE_VARINT):
            change->node_id = f.number;
            break;
        case WIRE_TAG(4, WIRE_BYTES):
            change->context = f.bytes;
            break;
        }
    }
    if (more < 0 || type > RAFT_ADD_LEARNER) {
        return ERR_MALFORMED;
    }
    change->type = (enum raft_conf_change_type)type;
    return 0;
}

/* --- raftpb.ConfChangeV2: 1 transition, 2 changes {1 type, 2 node_id}, 3 context --- */

void raft_conf_change_v2_encode(struct buffer *out, const struct raft_conf_change_v2 *change)
{
    if (change->transition != RAFT_TRANSITION_AUTO) {
        wire_append_number(out, 1, change->transition);
    }
    for (size_t i = 0; i < change->change_count; i++) {
        uint8_t one[40];
        size_t n = wire_put_number(one, 1, change->changes[i].type);
        n += wire_put_number(one + n, 2, change->changes[i].node_id);
        wire_append_bytes(out, 2, bytes_of(one, n));
    }
    if (change->context.data != NULL) {
        wire_append_bytes(out, 3, change->context);
    }
}

static int decode_single(struct bytes in, struct raft_conf_change_single *single)
{
    struct wire_field f;
    uint64_t type = 0;
    int more;
    *single = (struct raft_conf_change_single){0};
    while ((more = wire_next(&in, &f)) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_VARINT)) {
            type = f.number;
        } else if (f.tag == WIRE_TAG(2, WIRE_VARINT)) {
            single->node_id = f.number;
        }
    }
    single->type = (enum raft_conf_change_type)type;
    return more < 0 || type > RAFT_ADD_LEARNER ? ERR_MALFORMED : 0;
}

int raft_conf_change_v2_decode(struct bytes in, struct raft_conf_change_v2 *change)
{
    struct wire_field f;
    uint64_t transition = 0;
    int more, error = 0;
    *change = (struct raft_conf_change_v2){0};
    while (error == 0 && (more = wire_next(&in, &f)) != 0) {
        if (more < 0) {
            error = ERR_MALFORMED;
        } else if (f.tag == WIRE_TAG(1, WIRE_VARINT)) {
            transition = f.number;
        } else if (f.tag == WIRE_TAG(2, WIRE_BYTES)) {
            error = change->change_count == RAFT_CHANGES_MAX
                        ? ERR_MALFORMED
                        : decode_single(f.bytes, &change->changes[change->change_count++]);
        } else if (f.tag == WIRE_TAG(3, WIRE_BYTES)) {
            change->context = f.bytes;
        }
    }
    change->transition = (enum raft_transition)transition;
    return transition > RAFT_TRANSITION_EXPLICIT ? ERR_MALFORMED : error;
}
