/* The members of the cluster as the log made them (mvcc.md "Membership", backend.md "members"). */
#ifndef KV_MEMBERS_H
#define KV_MEMBERS_H

#include "base/arena.h"
#include "kv/kv.h"

struct members {
    struct kv_member *items; /* ascending id; strings and arrays owned */
    size_t count, capacity;
    uint64_t *removed; /* ids that were members once, ascending */
    size_t removed_count, removed_capacity;
};

void members_free(struct members *members);

/* Rows of tables members and members_removed at start: 0 or ERR_CORRUPT_DATA. */
int members_load(struct members *members, struct bytes key, struct bytes value);
int members_load_removed(struct members *members, struct bytes key);

/* A conf change as the log has it, already decoded: checks it as etcd does and, when it stands, changes members and
 * rows. 0, or the error for the waiter (then raft gets a voided change). */
int members_apply_conf_change(struct kv *kv, int type, uint64_t node_id, struct bytes context);

/* Entry 1301. store false = only in memory. */
void members_set_attributes(struct kv *kv, const Membershippb__ClusterMemberAttrSetRequest *request, bool store);

#endif
