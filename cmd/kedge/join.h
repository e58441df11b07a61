/* What a member without data asks the others before it begins (peer.md "Bootstrap with peers"). Blocks: nothing is
 * served yet. */
#ifndef CMD_KEDGE_JOIN_H
#define CMD_KEDGE_JOIN_H

#include "cmd/kedge/config.h"
#include "kv/kv.h"

/* Who was found, for an existing cluster. */
struct join_cluster {
    uint64_t cluster_id, member_id;  /* member_id: this member's, as the cluster has it */
    const struct kv_member *members; /* all of them, this one too; in the config's arena */
    size_t count;
};

/* --initial-cluster-state=new: NULL, or why this member must not begin as a new one: the others know it already. The
 * ones that cannot be reached say nothing against it. */
const char *join_check_new(struct config *c, uint64_t member_id);

/* --initial-cluster-state=existing: NULL, or why it cannot join (etcd's words, in the config's arena). */
const char *join_existing(struct config *c, struct join_cluster *out);

#endif
