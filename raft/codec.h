/* Raft's values as protobuf bytes, written by hand: they stand in every WAL record and peer message, and must be to the
 * byte what etcd 3.7 writes (samples/README.md, last paragraph: fields ascending, proto2 fields present if set).
 * Decoders trust nothing: lengths are checked before use, unknown fields are skipped, nesting is two levels at most. */
#ifndef RAFT_CODEC_H
#define RAFT_CODEC_H

#include "raft/types.h"

/* raftpb.Entry: the part before the data's bytes. Type is left out when normal, Data when NULL. Returns its length; the
 * whole message is that plus raft_entry_bytes(). */
#define RAFT_ENTRY_HEAD_MAX 40
size_t raft_entry_encode_head(uint8_t out[RAFT_ENTRY_HEAD_MAX], const struct raft_entry *entry);

/* Fills all but data; *data is a view into `in`, its data pointer NULL if the field is absent. ERR_MALFORMED. */
int raft_entry_decode(struct bytes in, struct raft_entry *entry, struct bytes *data);

/* raftpb.HardState: all three fields, also when 0. */
#define RAFT_HARD_STATE_MAX 33
size_t raft_hard_state_encode(uint8_t out[RAFT_HARD_STATE_MAX], struct raft_hard_state state);
int raft_hard_state_decode(struct bytes in, struct raft_hard_state *state);

/* raftpb.ConfState: ids unpacked, one tag each (packed is read too). with_auto_leave writes field 5 also when false, as
 * raft itself does (wal.md ".snap file"; a restore leaves it out). Decoding fills *conf (overwritten; the caller's to
 * free, also empty after an error), at most 4,096 ids. */
void raft_conf_state_encode(struct buffer *out, const struct raft_conf_state *conf, bool with_auto_leave);
int raft_conf_state_decode(struct bytes in, struct raft_conf_state *conf);

/* raftpb.ConfChange: id left out when 0, type always written, context when its data pointer isn't NULL. Decoding makes
 * context a view into `in`. */
void raft_conf_change_encode(struct buffer *out, const struct raft_conf_change *change);
int raft_conf_change_decode(struct bytes in, struct raft_conf_change *change);

/* raftpb.ConfChangeV2: transition and context left out when 0 and NULL; of each change type and node_id are written.
 * Decoding refuses more than RAFT_CHANGES_MAX changes. An empty message is an empty change. */
void raft_conf_change_v2_encode(struct buffer *out, const struct raft_conf_change_v2 *change);
int raft_conf_change_v2_decode(struct bytes in, struct raft_conf_change_v2 *change);

#endif
