/* The things that consensus speaks of: entries, hard state, configurations, messages. Plain values; how they look as
 * bytes is raft/codec.h. Field names and meanings are those of raftpb (raft.md; samples/wire-fields.tsv). */
#ifndef RAFT_TYPES_H
#define RAFT_TYPES_H

#include "base/bytes.h"

#define RAFT_NONE UINT64_C(0) /* no member; no vote */

/* raftpb.EntryType. etcd writes and accepts only the first two; V2 belongs to the library (raft.md). */
enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 0,
    RAFT_ENTRY_CONF_CHANGE = 1,
    RAFT_ENTRY_CONF_CHANGE_V2 = 2,
};

/* One entry of the log. `data` is shared between the proposal, the WAL and apply and never changes; NULL = none (a
 * leader's empty entry). Copying the struct copies no reference: who keeps a copy takes one with shared_ref. */
struct raft_entry {
    uint64_t index, term;
    enum raft_entry_type type;
    struct shared *data;
};

static inline size_t raft_entry_bytes(const struct raft_entry *e)
{
    return e->data == NULL ? 0 : e->data->len;
}

struct raft_hard_state {
    uint64_t term, vote, commit;
};

static inline bool raft_hard_state_equal(struct raft_hard_state a, struct raft_hard_state b)
{
    return a.term == b.term && a.vote == b.vote && a.commit == b.commit;
}

/* A set of member ids, ascending, none twice. Zero-initialised is empty and valid; the array is on the heap. */
struct raft_ids {
    uint64_t *ids;
    size_t count;
};

bool raft_ids_has(const struct raft_ids *set, uint64_t id);
void raft_ids_add(struct raft_ids *set, uint64_t id);
void raft_ids_remove(struct raft_ids *set, uint64_t id);
bool raft_ids_equal(const struct raft_ids *a, const struct raft_ids *b);

/* Who votes and who listens (raftpb.ConfState). The outgoing half is empty except in joint consensus. */
struct raft_conf_state {
    struct raft_ids voters, learners, voters_outgoing, learners_next;
    bool auto_leave;
};

void raft_conf_state_copy(struct raft_conf_state *to, const struct raft_conf_state *from); /* `to` is overwritten */
void raft_conf_state_free(struct raft_conf_state *c);                                      /* leaves it empty */
bool raft_conf_state_equal(const struct raft_conf_state *a, const struct raft_conf_state *b);

/* raftpb.ConfChangeType */
enum raft_conf_change_type {
    RAFT_ADD_NODE = 0,
    RAFT_REMOVE_NODE = 1,
    RAFT_UPDATE_NODE = 2,
    RAFT_ADD_LEARNER = 3,
};

/* The data of a RAFT_ENTRY_CONF_CHANGE. id wakes the waiter and is 0 (and absent on the wire) in bootstrap entries.
 * node_id 0 is a change that was voided: applying it does nothing. context = the member as JSON, a view. */
struct raft_conf_change {
    uint64_t id;
    enum raft_conf_change_type type;
    uint64_t node_id;
    struct bytes context;
};

/* raftpb.ConfChangeTransition: how a change of several members is carried out (Raft thesis 4.3). */
enum raft_transition {
    RAFT_TRANSITION_AUTO = 0,     /* one change: at once; more: through a joint configuration that is left by itself */
    RAFT_TRANSITION_IMPLICIT = 1, /* always joint; left by itself */
    RAFT_TRANSITION_EXPLICIT = 2, /* always joint; left by an empty change that somebody proposes */
};

#define RAFT_CHANGES_MAX 64 /* in one entry; the decoder refuses more */

/* The data of a RAFT_ENTRY_CONF_CHANGE_V2. No changes and RAFT_TRANSITION_AUTO: leaves a joint configuration. */
struct raft_conf_change_v2 {
    enum raft_transition transition;
    size_t change_count;
    struct raft_conf_change_single {
        enum raft_conf_change_type type;
        uint64_t node_id;
    } changes[RAFT_CHANGES_MAX];
    struct bytes context;
};

/* Where a snapshot stands in the log. */
struct raft_position {
    uint64_t index, term;
};

/* raftpb.MessageType, those that travel. Others are refused by the decoder. */
enum raft_message_type {
    RAFT_MSG_PROPOSE = 2,
    RAFT_MSG_APPEND = 3,
    RAFT_MSG_APPEND_RESPONSE = 4,
    RAFT_MSG_VOTE = 5,
    RAFT_MSG_VOTE_RESPONSE = 6,
    RAFT_MSG_SNAPSHOT = 7,
    RAFT_MSG_HEARTBEAT = 8,
    RAFT_MSG_HEARTBEAT_RESPONSE = 9,
    RAFT_MSG_TRANSFER_LEADER = 13,
    RAFT_MSG_TIMEOUT_NOW = 14,
    RAFT_MSG_READ_INDEX = 15,
    RAFT_MSG_READ_INDEX_RESPONSE = 16,
    RAFT_MSG_PRE_VOTE = 17,
    RAFT_MSG_PRE_VOTE_RESPONSE = 18,
};

#define RAFT_CONTEXT_MAX 32 /* bytes; etcd uses 8 (heartbeat, read) and 16 ("CampaignTransfer") */

/* A message between members. Owns nothing: entries, conf and data are views; those of an update are valid until
 * raft_update_done. Who keeps a copy for longer takes references to the entries' data and copies the entries. */
struct raft_message {
    enum raft_message_type type;
    uint64_t to, from, term;
    uint64_t log_term, index; /* App: the previous entry; AppResp: what matched or was rejected; Vote: the last entry */
    uint64_t commit;
    uint64_t reject_hint;
    bool reject;
    uint8_t context_len;
    uint8_t context[RAFT_CONTEXT_MAX];
    const struct raft_entry *entries;
    size_t entry_count;
    struct raft_position snapshot; /* RAFT_MSG_SNAPSHOT only, as the two below */
    const struct raft_conf_state *snapshot_conf;
    struct bytes snapshot_data; /* the v2 JSON; the database travels beside the message */
};

#endif
