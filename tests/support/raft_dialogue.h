/* Consensus as a dialogue: a command in words, and what the members do about it as text (tests/data/raft/README).
 * A dialogue's commands act on one bed; disks answer at once unless told otherwise. */
#ifndef TESTS_SUPPORT_RAFT_DIALOGUE_H
#define TESTS_SUPPORT_RAFT_DIALOGUE_H

#include "tests/support/raft_bed.h"

struct raft_dialogue {
    struct raft_bed *bed;        /* NULL before the first `cluster` */
    struct raft_conf_state conf; /* as the cluster began: what the first entries of a log would say */
    bool slow_disks;             /* jobs wait for `disk` */
    bool cut[RAFT_BED_MEMBERS + 1][RAFT_BED_MEMBERS + 1];
    uint64_t contexts;
};

/* Carries out one line and appends what happened to *out. False: there is no such command. */
bool raft_dialogue_command(struct raft_dialogue *d, const char *line, struct buffer *out);
void raft_dialogue_end(struct raft_dialogue *d);

#endif
