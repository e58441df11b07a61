/* Majorities (Raft thesis 3.4, 3.5), of both halves in joint consensus (4.3). Learners are in no half. */
#include "base/canary.h"
#include "raft/raft_impl.h"

/* The planted bug: a learner's value takes its place among the voters', who stand in descending order. */
static uint64_t with_learners(const struct raft *r, const uint64_t *values,
                              uint64_t (*value_of)(const struct raft *r, const struct member *m))
{
    size_t middle = r->conf.voters.count / 2, better = 0;
    uint64_t best = 0;
    for (size_t i = 0; i < r->conf.learners.count; i++) {
        const struct member *m = raft_member(r, r->conf.learners.ids[i]);
        uint64_t value = m == NULL ? 0 : value_of(r, m);
        better += value > values[middle];
        best = value > best ? value : best;
    }
    if (better == 0) {
        return values[middle];
    }
    return middle > 0 && values[middle - 1] < best ? values[middle - 1] : best;
}

/* The highest value that a majority of these voters has reached. An empty half asks for nothing. */
static uint64_t majority_value(const struct raft *r, const struct raft_ids *voters,
                               uint64_t (*value_of)(const struct raft *r, const struct member *m))
{
    uint64_t *values = r->quorum_room;
    for (size_t i = 0; i < voters->count; i++) {
        const struct member *m = raft_member(r, voters->ids[i]);
        uint64_t value = m == NULL ? 0 : value_of(r, m);
        size_t at = i;
        for (; at > 0 && values[at - 1] < value; at--) {
            values[at] = values[at - 1];
        }
        values[at] = value;
    }
    if (CANARY(LEARNER_IN_QUORUM) && voters == &r->conf.voters) {
        return with_learners(r, values, value_of);
    }
    return voters->count == 0 ? UINT64_MAX : values[voters->count / 2];
}

static uint64_t quorum_value(const struct raft *r, uint64_t (*value_of)(const struct raft *r, const struct member *m))
{
    uint64_t in = majority_value(r, &r->conf.voters, value_of);
    uint64_t out = majority_value(r, &r->conf.voters_outgoing, value_of);
    return in < out ? in : out;
}

static uint64_t match_of(const struct raft *r, const struct member *m)
{
    (void)r;
    return m->progress.match;
}

uint64_t raft_quorum_match(struct raft *r)
{
    return quorum_value(r, match_of);
}

static uint64_t read_ack_of(const struct raft *r, const struct member *m)
{
    return m->progress.id == r->id ? raft_reads_position(r) : m->read_ack;
}

uint64_t raft_quorum_read_ack(struct raft *r)
{
    return quorum_value(r, read_ack_of);
}

static uint64_t heard_of(const struct raft *r, const struct member *m)
{
    return m->progress.id == r->id || m->heard;
}

bool raft_quorum_heard(struct raft *r)
{
    return quorum_value(r, heard_of) > 0;
}

static enum vote_outcome half_outcome(const struct raft *r, const struct raft_ids *voters)
{
    size_t granted = 0, rejected = 0;
    for (size_t i = 0; i < voters->count; i++) {
        const struct member *m = raft_member(r, voters->ids[i]);
        granted += m != NULL && m->vote == VOTE_GRANTED;
        rejected += m != NULL && m->vote == VOTE_REJECTED;
    }
    size_t majority = voters->count / 2 + 1;
    if (voters->count == 0 || granted >= majority) {
        return OUTCOME_WON;
    }
    return voters->count - rejected < majority ? OUTCOME_LOST : OUTCOME_OPEN;
}

enum vote_outcome raft_vote_outcome(struct raft *r)
{
    enum vote_outcome in = half_outcome(r, &r->conf.voters), out = half_outcome(r, &r->conf.voters_outgoing);
    if (in == OUTCOME_LOST || out == OUTCOME_LOST) {
        return OUTCOME_LOST;
    }
    return in == OUTCOME_WON ? out : in;
}
