/* Inside consensus: what its files share. Not for users of raft.h. */
#ifndef RAFT_RAFT_IMPL_H
#define RAFT_RAFT_IMPL_H

#include "base/random.h"
#include "raft/raft.h"
#include "raft/raft_log.h"

/* What a leader knows of a member, itself included. */
struct member {
    struct raft_progress progress;
    enum { VOTE_UNKNOWN, VOTE_GRANTED, VOTE_REJECTED } vote; /* answer to the campaign that is under way */
};

struct raft {
    uint64_t id;
    uint32_t heartbeat_ms, election_ms;
    bool pre_vote, started;
    struct random random;

    uint64_t term, vote, commit, applied;
    enum raft_role role;
    uint64_t leader, transferee;
    struct raft_log log;
    uint64_t pending_conf_index; /* a change of members at or below this may not be applied yet */

    struct raft_conf_state conf;
    struct member *members; /* voters and learners, by ascending id */
    size_t member_count;

    uint64_t now_ms, election_due_ms;

    /* Reads that wait for an entry of the own term to be committed, or for a leader. */
    struct raft_read *held;
    size_t held_count, held_capacity;

    /* Jobs given to the WAL. What was appended before cut_sequence counts only below cut_index: it was replaced since.
     */
    struct raft_save save;
    uint64_t durable_sequence, vote_sequence, cut_sequence, cut_index;
    struct raft_hard_state saved_state;
    bool vote_waits; /* the own vote of this term isn't durable yet */

    enum { READ_IDLE, READ_WANTED, READ_ASKED } log_read;
    uint64_t log_read_from;

    /* The update. */
    struct raft_update update;
    bool update_open, dirty;
    struct raft_read *reads;
    size_t read_count, read_capacity;
    uint64_t shown_commit, shown_leader, shown_term;
    enum raft_role shown_role;
};

/* raft_election.c */
bool raft_alone(const struct raft *r);       /* the only voter, and no half of a joint configuration */
void raft_campaign_if_alone(struct raft *r); /* a member that nobody can object to doesn't wait */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft_own_vote_durable(struct raft *r);
void raft_set_election_timer(struct raft *r);

/* raft_commit.c */
void raft_maybe_commit(struct raft *r); /* a leader: what a quorum has, if it is of its own term */
uint64_t raft_quorum_match(const struct raft *r);

/* raft_read.c */
void raft_answer_held(struct raft *r);
void raft_drop_held(struct raft *r);

/* raft_members.c */
void raft_build_members(struct raft *r); /* after the configuration changed; keeps the progress of those that stay */
struct member *raft_member(const struct raft *r, uint64_t id);

/* raft_propose.c */
struct raft_position raft_append_own(struct raft *r, enum raft_entry_type type, struct shared *data);

#endif
