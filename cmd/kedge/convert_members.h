/* Are the members that an etcd's store has those that its log gives? kedge, as etcd since 3.6, goes by the store. An
 * etcd 3.5 before 3.5.26 went by something else (the v2 store) and could leave a learner in the store that had been
 * made a voter, or a member that had been removed: taken over, it would count wrong quorums. */
#ifndef CMD_KEDGE_CONVERT_MEMBERS_H
#define CMD_KEDGE_CONVERT_MEMBERS_H

#include "kv/backend.h"
#include "raft/wal/wal.h"

/* `index`: the last entry that the store has. `log`: what stands in wal_dir; it reaches to that entry, and its
 * checkpoint is not above. 0, or ERR_INVALID, or what reading failed with, and then a heap text in *reason. */
int convert_members_check(struct backend_read *store, uint64_t index, const struct wal_contents *log,
                          const char *wal_dir, char **reason);

#endif
