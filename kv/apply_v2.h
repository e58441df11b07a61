/* Entries of etcd's v2 store. An etcd 3.5 publishes its attributes in this form at each of its starts, so that they
 * stand in the logs of clusters that come from 3.5, and in those of which a 3.5 is a member. */
#ifndef KV_APPLY_V2_H
#define KV_APPLY_V2_H

#include "base/arena.h"
#include "kv/raft_internal.pb-c.h"

/* True: the entry is a request to the v2 store. *out is what a later etcd would have proposed in its place, in the
 * arena, or NULL: it concerns the v2 store alone, which is no more. */
bool apply_v2_read(struct bytes entry, struct arena *arena, const Etcdserverpb__InternalRaftRequest **out);

#endif
