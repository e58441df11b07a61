/* Member and cluster ids as etcd computes them (peer.md "Identities"): SHA-1, the first eight bytes, big-endian. */
#ifndef RAFT_IDS_H
#define RAFT_IDS_H

#include <stddef.h>
#include <stdint.h>

/* Id of a member of the initial cluster: over its peer URLs, sorted and joined, and the token. The URLs need not come
 * sorted. */
uint64_t ids_member(const char *const *peer_urls, size_t count, const char *token);

/* Id of a member that is added later: the token's place is taken by the name of the time, in seconds since 1970. */
uint64_t ids_member_added(const char *const *peer_urls, size_t count, const char *token, int64_t unix_seconds);

/* Over the members' ids, which need not come sorted. */
uint64_t ids_cluster(const uint64_t *member_ids, size_t count);

#endif
