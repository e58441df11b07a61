/* Changes of members as entries of a state machine's log, for tests. */
#ifndef TESTS_MEMBER_CHANGE_H
#define TESTS_MEMBER_CHANGE_H

#include "tests/support/kv_bed.h"

/* Applies one (raftpb.ConfChangeType; json NULL = no context). Its error; what raft is told is checked against it. */
int member_change(struct kv_bed *bed, int type, uint64_t id, const char *json);
/* "id=url " of each, an L behind the id of a learner. */
void member_change_expect(struct kv_bed *bed, const char *expected);

#endif
