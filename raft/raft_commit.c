/* What is committed (Raft thesis 3.5, 3.6.2). */
#include "base/canary.h"
#include "raft/raft_impl.h"

/* Raft thesis 3.6.2 (the paper's 5.4.2): entries of earlier terms are never committed by counting who has them, only by
 * an entry of the own term above them: another leader could still replace them. */
void raft_maybe_commit(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return;
    }
    uint64_t match = raft_quorum_match(r);
    if (match == UINT64_MAX || match <= r->commit ||
        (raft_log_term(&r->log, match) != r->term && !CANARY(OLD_TERM_BY_COUNTING))) {
        return;
    }
    r->commit = match;
    raft_reads_release(r);
}
