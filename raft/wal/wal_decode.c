#include "base/error.h"
#include "raft/codec.h"
#include "raft/wal/wal_impl.h"
#include "raft/wire.h"

/* No log gets there; what counts on from here would wrap around. */
#define TERM_MAX INT64_MAX
#define INDEX_MAX INT64_MAX

/* Does the message consist of these fields, each once (bit n of fields: number n)? Optional ones may be missing. */
static bool consists_of(struct bytes in, uint32_t fields, uint32_t optional)
{
    struct wire_field f;
    uint32_t seen = 0;
    int more;
    while ((more = wire_next(&in, &f)) > 0) {
        uint32_t number = f.tag >> 3;
        if (number > 31 || (seen & 1U << number) != 0 || ((fields | optional) & 1U << number) == 0) {
            return false;
        }
        seen |= 1U << number;
    }
    return more == 0 && (seen & fields) == fields;
}

int wal_decode_metadata(struct bytes data, struct wal_metadata *out)
{
    struct wire_field f;
    *out = (struct wal_metadata){0};
    if (!consists_of(data, 1U << 1 | 1U << 2, 0)) {
        return ERR_MALFORMED;
    }
    while (wire_next(&data, &f) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_VARINT)) {
            out->node_id = f.number;
        } else if (f.tag == WIRE_TAG(2, WIRE_VARINT)) {
            out->cluster_id = f.number;
        } else {
            return ERR_MALFORMED;
        }
    }
    return 0;
}

int wal_decode_entry(struct bytes data, struct raft_entry *entry, struct bytes *content)
{
    if (!consists_of(data, 1U << 2 | 1U << 3, 1U << 1 | 1U << 4) || raft_entry_decode(data, entry, content) != 0 ||
        entry->index == 0 || entry->term == 0 || entry->term > TERM_MAX) {
        return ERR_MALFORMED;
    }
    /* A change of members without content would be a hard state whose type was damaged. */
    return entry->type != RAFT_ENTRY_NORMAL && content->data == NULL ? ERR_MALFORMED : 0;
}

int wal_decode_state(struct bytes data, struct raft_hard_state *out)
{
    if (!consists_of(data, 1U << 1 | 1U << 2 | 1U << 3, 0) || raft_hard_state_decode(data, out) != 0 ||
        out->term == 0 || out->term > TERM_MAX) {
        return ERR_MALFORMED;
    }
    return 0;
}

int wal_decode_snapshot(struct bytes data, struct raft_position *at, struct raft_conf_state *conf, bool *has_conf)
{
    struct wire_field f;
    *at = (struct raft_position){0};
    *conf = (struct raft_conf_state){0};
    *has_conf = false;
    if (!consists_of(data, 1U << 1 | 1U << 2, 1U << 3)) {
        return ERR_MALFORMED;
    }
    while (wire_next(&data, &f) > 0) {
        if (f.tag == WIRE_TAG(1, WIRE_VARINT)) {
            at->index = f.number;
        } else if (f.tag == WIRE_TAG(2, WIRE_VARINT)) {
            at->term = f.number;
        } else if (f.tag == WIRE_TAG(3, WIRE_BYTES)) {
            *has_conf = true;
            if (raft_conf_state_decode(f.bytes, conf) != 0) {
                return ERR_MALFORMED;
            }
        } else {
            raft_conf_state_free(conf);
            return ERR_MALFORMED;
        }
    }
    if ((at->index > 0 && !*has_conf) || at->index > INDEX_MAX || at->term > TERM_MAX) {
        raft_conf_state_free(conf);
        return ERR_MALFORMED;
    }
    return 0;
}
