/* What other members ask of the peer port about raft: /raft, /raft/snapshot, /raft/stream/KIND/ID (peer.md
 * "Endpoints"). A cluster of one has no peers yet: every sender is a stranger. The checks come in etcd's order all the
 * same, so that a member of another cluster or version is told what is wrong (peer.md "Checks, in order").
 *
 * Thread: the loop's. */
#ifndef RAFT_PEER_PEER_HTTP_H
#define RAFT_PEER_PEER_HTTP_H

#include "base/net/http1.h"

struct peer_http {
    uint64_t member_id, cluster_id;
    const char *version;                              /* "3.7.1" */
    bool (*removed)(void *owner, uint64_t member_id); /* was it once a member, and removed? */
    void *owner;
};

/* owner is a struct peer_http. False if the path is none of these. */
bool peer_http_handle(void *owner, struct http1_request *request);

#endif
