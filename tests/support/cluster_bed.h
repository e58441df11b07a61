/* Several cores in one process, each a core_bed, and a network between them that delivers in order after a while, or
 * not at all. Time stands still until it is moved. */
#ifndef TESTS_SUPPORT_CLUSTER_BED_H
#define TESTS_SUPPORT_CLUSTER_BED_H

#include "tests/support/core_bed.h"

#define CLUSTER_BED_MAX 5
#define CLUSTER_BED_NONE SIZE_MAX

struct cluster_bed {
    struct core_bed beds[CLUSTER_BED_MAX]; /* bed i is member i + 1 */
    size_t count;
    uint64_t now_ms;
    uint64_t delay_ms;                          /* of each message; 0 = 1 */
    bool cut[CLUSTER_BED_MAX][CLUSTER_BED_MAX]; /* nothing goes from the first to the second */
    uint64_t active_ms[CLUSTER_BED_MAX];        /* since when others reach it; 0 = from the start */
    bool silent[CLUSTER_BED_MAX];               /* not taken for active by the others, though messages pass */
    struct list messages, calls;                /* on their way */
    bool paused[CLUSTER_BED_MAX];               /* takes no turn; what is sent to it waits */
    size_t images;                              /* that leaders wanted to send */
    bool images_arrive;                         /* all at once, with their message; else they are lost */
    void (*damage)(struct buffer *image);       /* on the way; NULL: nothing happens to them */
    size_t delivered, lost, lease_calls, calls_open;
    /* A page of a member's peer port other than those that the bed has: fills in status and response. NULL: none. */
    bool (*page)(struct core_bed *bed, struct core_peer_call *call);
    bool (*drop)(const struct raft_message *message); /* NULL: none are lost besides */
};

/* Zeroed before, but for fields of beds that are to differ. All members, started, no turn taken yet. */
void cluster_bed_open(struct cluster_bed *c, size_t count);
void cluster_bed_close(struct cluster_bed *c);
void cluster_bed_advance(struct cluster_bed *c, uint64_t ms);
/* Until all members serve clients; the leader's number. */
size_t cluster_bed_ready(struct cluster_bed *c);
/* The member that leads and knows it, of the highest term; CLUSTER_BED_NONE. */
size_t cluster_bed_leader(const struct cluster_bed *c);
/* Until there is a leader that isn't `not`, and its own first entry is applied. Fails after 20 s. */
size_t cluster_bed_elect(struct cluster_bed *c, size_t not_this);
/* Nothing goes to it or comes from it. */
void cluster_bed_isolate(struct cluster_bed *c, size_t i, bool isolated);

#endif
