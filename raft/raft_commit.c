/* What is committed (Raft thesis 3.5, 3.6.2): what a majority has, of each half in joint consensus, and of the own
 * term. */
#include "base/check.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static uint64_t majority_match(const struct raft *r, const struct raft_ids *voters)
{
    if (voters->count == 0) {
        return UINT64_MAX; /* no such half */
    }
    if (voters->count == 1) {
        const struct member *m = raft_member(r, voters->ids[0]);
        return m == NULL ? 0 : m->progress.match;
    }
    uint64_t *matches = mem_alloc(voters->count * sizeof *matches);
    for (size_t i = 0; i < voters->count; i++) {
        const struct member *m = raft_member(r, voters->ids[i]);
        matches[i] = m == NULL ? 0 : m->progress.match;
    }
    qsort(matches, voters->count, sizeof *matches, descending);
    uint64_t match = matches[voters->count / 2];
    free(matches);
    return match;
}

uint64_t raft_quorum_match(const struct raft *r)
{
    uint64_t in = majority_match(r, &r->conf.voters), out = majority_match(r, &r->conf.voters_outgoing);
    return in < out ? in : out;
}

void raft_maybe_commit(struct raft *r)
{
    uint64_t match = raft_quorum_match(r);
    if (r->role != RAFT_LEADER || match == UINT64_MAX || match <= r->commit ||
        raft_log_term(&r->log, match) != r->term) {
        return;
    }
    r->commit = match;
    raft_answer_held(r);
}
