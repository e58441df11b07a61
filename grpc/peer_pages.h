/* The pages of the peer port (peer.md "Endpoints", http.tsv port "peer"), as far as a cluster of one member can answer
 * them: all but raft's own, which are raft/peer/peer.h's.
 *
 * Thread: the loop's. */
#ifndef GRPC_PEER_PAGES_H
#define GRPC_PEER_PAGES_H

#include "base/net/http1.h"
#include "core/core.h"

/* False if the path is none of them (then it is /version, one of raft's, or 404). */
bool peer_pages_handle(struct core *core, struct http1_request *request);

/* --- between the files of the pages --- */

#define PEER_LEASES_BODY_BYTES 65536 /* longest body of /leases…: 413 above it (limits.tsv) */

void peer_pages_cluster_id(struct core *core, struct http1_request *request); /* adds X-Etcd-Cluster-Id to the answer */
/* The X-Etcd-Cluster-Id of the request is this cluster's. absent: the result when it is not sent. */
bool peer_pages_same_cluster(struct core *core, const struct http1_request *request, bool absent);

/* peer_lease.c: questions that a follower passes on to the leader */
void peer_lease_renew(struct core *core, struct http1_request *request);
void peer_lease_time_to_live(struct core *core, struct http1_request *request);

/* peer_hash.c: the comparison of members' hashes */
void peer_hash_kv(struct core *core, struct http1_request *request);

#endif
