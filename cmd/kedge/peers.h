/* Between the core and the transport to other members (raft/peer/peer.h): the halves of core_env that speak to others,
 * and what others say, handed to the core. Connections follow the members as the log made them.
 *
 * Thread: the loop's. */
#ifndef CMD_KEDGE_PEERS_H
#define CMD_KEDGE_PEERS_H

#include "cmd/kedge/member.h"
#include "raft/peer/peer.h"

struct peers {
    struct member *member;
    struct peer_transport *transport;
    uint64_t *known; /* members that the transport was given, ascending */
    size_t known_count;
    struct loop_timer advance; /* looks whether others are reached, soon after the start */
    unsigned advance_tries;
    void (*removed)(void *owner);
    void *owner;
    bool removal_told;
    struct list images;        /* of image_out.node: on their way to others */
    uint64_t lacking_since_ms; /* the leader speaks of entries that the log lacks; 0 = it does not */
};

/* After member_start. removed: this member is no member any more, it stops for good (once). */
void peers_start(struct peers *peers, struct member *member, void (*removed)(void *owner), void *owner);
/* After core_stopped. One more turn of the loop frees the connections. */
void peers_stop(struct peers *peers);

/* The member that this one reaches without interruption for the longest, among voters; 0 = none (limits.tsv "leader
 * transfer timeout at shutdown"). */
uint64_t peers_longest_connected(const struct peers *peers);

#endif
