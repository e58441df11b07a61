/* Who leads, as the log tells it (logs.tsv, logger raft), and handing leadership over before this member stops. */
#ifndef CMD_KEDGE_LEADERSHIP_H
#define CMD_KEDGE_LEADERSHIP_H

#include "cmd/kedge/peers.h"

struct leadership {
    struct peers *peers;
    uint64_t leader, term; /* as told last */
    enum raft_role role;
    /* leaving */
    struct core_request request;
    uint64_t begun_ns;
    uint64_t to;
    void (*left)(void *owner);
    void *owner;
};

void leadership_init(struct leadership *leadership, struct peers *peers);
/* After a turn of the core: says what has changed. */
void leadership_log(struct leadership *leadership);
/* A leader of several voters hands over to the one it has reached for the longest, and waits for that, at most the
 * request timeout (limits.tsv "leader transfer timeout at shutdown"). left comes in any case, maybe at once. */
void leadership_leave(struct leadership *leadership, void (*left)(void *owner), void *owner);

#endif
