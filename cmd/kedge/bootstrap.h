/* How a member without data begins: as one of a new cluster, or joining one that runs (peer.md "Bootstrap with peers",
 * wal.md "Start-up order"). */
#ifndef CMD_KEDGE_BOOTSTRAP_H
#define CMD_KEDGE_BOOTSTRAP_H

#include "cmd/kedge/join.h"
#include "raft/types.h"

struct bootstrap {
    uint64_t member_id, cluster_id;
    /* What its log begins with: the members of a new cluster, committed; nothing for one that joins. */
    struct raft_entry *entries;
    size_t entry_count;
    struct raft_hard_state state;
    /* Joining: who is there; these are spoken to before the leader's log or image has come. */
    const struct kv_member *remotes;
    size_t remote_count;
};

/* NULL, or why it cannot begin. May ask other members, and block. All in the config's arena but for the entries' data,
 * of which bootstrap_free drops the references. */
const char *bootstrap_begin(struct config *c, struct bootstrap *out);
void bootstrap_free(struct bootstrap *b);

/* The texts of URLs, as an array that ends with NULL. */
const char **bootstrap_url_texts(struct arena *arena, const struct url_list *urls);

#endif
