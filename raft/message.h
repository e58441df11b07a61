/* Messages between members as raftpb.Message bytes, as etcd 3.7 writes them: each type carries exactly the fields of
 * raft.md's table "Message fields", ascending; the proposals, read requests and their answers have entries without term
 * and index. The decoder trusts nothing: lengths are checked before use, unknown fields are skipped, nothing nests
 * deeper than three levels, and what it keeps is bounded by what came. */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include "raft/types.h"

/* etcd puts at most 1 MiB of entries into a message (or one larger one), and the smallest entry takes four bytes. */
#define RAFT_MESSAGE_ENTRIES_MAX ((size_t)262144)

/* What a decoded or copied message's views point into. Zero-initialised is empty and valid; may be used again for the
 * next message, and then drops what it held. */
struct raft_message_owner {
    struct raft_entry *entries; /* each with a reference to its data */
    size_t count, capacity;
    struct raft_conf_state conf;
    struct buffer data; /* a copy's snapshot_data */
};

void raft_message_owner_clear(struct raft_message_owner *owner); /* drops references, keeps the entries' array */
void raft_message_owner_free(struct raft_message_owner *owner);  /* leaves it empty and valid */

/* Decodes one more raftpb.Entry into the owner's entries. ERR_MALFORMED. */
int raft_message_owner_add(struct raft_message_owner *owner, struct bytes entry);

/* Fills *message (overwritten); entries and configuration (NULL if there is none) belong to owner, snapshot_data is a
 * view into `in`, entries' data is copied once, into shared buffers. ERR_MALFORMED: cannot be parsed, a context longer
 * than RAFT_CONTEXT_MAX, more than RAFT_MESSAGE_ENTRIES_MAX entries, too many members. ERR_INVALID: a type that never
 * travels (raft.md: local types). The owner is then empty. Whether ids and terms make sense is raft's to judge. */
int raft_message_decode(struct bytes in, struct raft_message *message, struct raft_message_owner *owner);

/* A message of its own: references entries' data, copies the rest. *to is overwritten. */
void raft_message_copy(struct raft_message *to, struct raft_message_owner *owner, const struct raft_message *from);

/* Length of the encoded message, and the message appended to a buffer. */
size_t raft_message_size(const struct raft_message *message);
void raft_message_encode(struct buffer *out, const struct raft_message *message);

/* The same in three parts, for who writes entries' data by reference: all fields before the entries; of each entry the
 * field's head, up to its data (which follows, raft_entry_bytes long); and all fields after the entries but for a
 * snapshot's (RAFT_MSG_SNAPSHOT is encoded whole). Each returns the bytes written. */
#define RAFT_MESSAGE_FRONT_MAX 80
#define RAFT_MESSAGE_ENTRY_MAX 64
#define RAFT_MESSAGE_BACK_MAX 80
size_t raft_message_front(uint8_t out[RAFT_MESSAGE_FRONT_MAX], const struct raft_message *message);
size_t raft_message_entry(uint8_t out[RAFT_MESSAGE_ENTRY_MAX], const struct raft_message *message, size_t at);
size_t raft_message_back(uint8_t out[RAFT_MESSAGE_BACK_MAX], const struct raft_message *message);

/* Is it one of the types that travel? */
bool raft_message_type_travels(uint64_t type);

const char *raft_message_type_name(enum raft_message_type type); /* "MsgApp", as etcd's log and metrics have it */

#endif
