/* Inside consensus: what its files share. Not for users of raft.h.
 *
 *   raft.c             life, the log's events, the update
 *   raft_check.c       what must always hold
 *   raft_time.c        deadlines and ticks
 *   raft_election.c    roles and campaigns              step_vote.c             what others ask and answer
 *   raft_propose.c     entries into the log, forwarding
 *   raft_replicate.c   what a leader sends              step_append.c, step_append_response.c, step_heartbeat.c
 *   raft_progress.c    what a leader knows of a follower
 *   raft_fetch.c       entries that memory has dropped
 *   raft_commit.c, raft_quorum.c
 *   raft_read.c        read index                       step_read.c
 *   raft_transfer.c    leadership handed over, also by a leader whose disk hangs
 *   raft_members.c, raft_conf.c                         members and their changes
 *   raft_snapshot.c    images, both sides
 *   raft_out.c         messages on their way out */
#ifndef RAFT_RAFT_IMPL_H
#define RAFT_RAFT_IMPL_H

#include "base/random.h"
#include "raft/inflight.h"
#include "raft/raft.h"
#include "raft/raft_log.h"

#define RAFT_NEVER UINT64_MAX              /* a time that doesn't come */
#define RAFT_FETCH_BYTES ((size_t)4 << 20) /* of entries that come back from the WAL for one follower at a time */

/* Entries for one follower that came back from the WAL. */
struct fetched {
    struct raft_entry *entries; /* each with a reference */
    size_t count;
    uint64_t from;   /* index of the first */
    uint64_t wanted; /* read from here as soon as the WAL is free; 0 = nothing is wanted */
};

/* What a leader knows of a member, itself included; and how a member voted. */
struct member {
    struct raft_progress progress;                           /* .active is filled in for queries only */
    enum { VOTE_UNKNOWN, VOTE_GRANTED, VOTE_REJECTED } vote; /* answer to the campaign that is under way */
    bool heard;                                              /* since the leader last counted its quorum */
    uint64_t heard_ms;                                       /* when it was last heard of */
    bool paused;                                             /* no App until something is heard (raft.md "Appending") */
    bool append_wanted;                                      /* an App is due even if it has no entries */
    uint64_t sent_commit;      /* the highest commit index that an App or heartbeat told it */
    uint64_t commit_awaited;   /* its clients wait for this index: it is told of commits up to there at once */
    uint64_t pending_snapshot; /* in state RAFT_SNAPSHOT: position that was asked for */
    uint64_t read_ack;         /* reads of this leadership that it confirmed */
    struct inflight inflight;
    struct fetched fetched;
};

/* A read whose index is to be found out. */
struct read_request {
    uint64_t from;       /* who asked; RAFT_NONE = this member */
    uint64_t context;    /* our caller's, if it is ours */
    struct shared *data; /* the other member's name for it, a reference */
    uint64_t index;
};

struct read_queue {
    struct read_request *list;
    size_t head, count, capacity; /* head..head + count */
};

/* A block of entries that messages of the open update point to. */
struct attached {
    struct attached *next;
    size_t used;
    struct raft_entry entries[64];
};

struct held_message {
    uint64_t sequence; /* the save that it rests on; 0: the one of the next update */
    struct raft_message message;
};

struct raft {
    uint64_t id;
    uint32_t heartbeat_ms, election_ms, notice_ms;
    size_t message_bytes;
    bool pre_vote, started;
    bool left_over; /* while the log is restored: the rest is what an image replaced */
    struct random random;

    uint64_t term, vote, commit, applied;
    enum raft_role role;
    uint64_t leader, transferee;
    struct raft_log log;
    uint64_t pending_conf_index; /* a change of members at or below this may not be applied yet */

    struct raft_conf_state conf;
    struct member *members; /* voters and learners, by ascending id */
    size_t member_count;
    uint64_t *quorum_room; /* for as many numbers as there are members */

    /* Time: RAFT_NEVER where nothing is due. */
    uint64_t now_ms;
    uint64_t election_timeout_ms; /* as drawn for this role and term */
    uint64_t election_due_ms;     /* not a leader: stands for election then */
    uint64_t leader_heard_ms;     /* a follower: last message of its leader */
    uint64_t heartbeat_due_ms;    /* a leader */
    uint64_t notice_due_ms;       /* a leader: tells what is committed, if no entries have told it */
    uint64_t check_due_ms;        /* a leader: counts whom it heard of */
    uint64_t transfer_due_ms;     /* a leader: gives the transfer up */
    uint64_t disk_since_ms;       /* the WAL owes an answer and gave none since */
    bool lateness_forgiven;       /* once for each due time */
    bool heartbeat_wanted;        /* with the next update */
    bool notice_held;             /* a follower is to be told of a commit at notice_due_ms */

    /* Reads. Held: no leader is known, or it has committed nothing of its own term. Confirming: a quorum is to say that
     * this leader still leads. Asked: by a follower, of its leader, under the number in .index. */
    struct read_queue held_reads, confirming, asked;
    uint64_t confirmed_reads; /* of this leadership */
    uint64_t next_read_id;    /* names of reads that are asked of a leader: begin anywhere, so that no answer to an
                                 earlier life of this member is taken for one to this life's request */

    /* Jobs given to the WAL. What was appended before cut_sequence counts only below cut_index: it was replaced since.
     */
    struct raft_save save;
    uint64_t durable_sequence, cut_sequence, cut_index;
    uint64_t sync_sequence;  /* the last job that is synced */
    uint64_t state_sequence; /* the job that has term and vote */
    struct raft_hard_state saved_state;

    /* What a follower owes its leader: how far their logs agree. Told when it is durable. */
    struct {
        uint64_t to, index, sent;
        bool owed;
    } ack;

    /* Entries from the WAL. */
    uint64_t apply_wants; /* apply needs the data of this entry; 0 = it has all */
    bool fetch_out;       /* a log_read was asked for … */
    uint64_t fetch_for;   /* … by this member; RAFT_NONE = by apply */
    uint64_t fetch_next;  /* who is served next, by index into members */

    /* An image that is to be installed. */
    bool installing, install_shown;
    struct raft_message install;
    struct raft_conf_state install_conf;

    /* The update. */
    struct raft_update update;
    bool update_open, dirty;
    struct raft_read *reads;
    size_t read_count, read_capacity;
    uint64_t shown_commit, shown_leader, shown_term;
    enum raft_role shown_role;

    struct raft_message *out;
    size_t out_count, out_capacity;
    struct raft_message *images;
    size_t image_count, image_capacity;
    struct held_message *held;
    size_t held_count, held_capacity;
    struct attached *attached; /* in use, newest first */
    struct attached *spare;    /* for the next update */
    size_t propose_bytes;      /* in the last message of `out`, if it forwards proposals */
};

/* raft.c */
void raft_event(const struct raft *r);            /* CHECKs that events may come in now */
bool raft_state_durable(const struct raft *r);    /* term and vote are on the disk */
void raft_log_cut(struct raft *r, uint64_t from); /* what was given to the WAL from there on doesn't count any more */
void raft_commit_to(struct raft *r, uint64_t index); /* a follower; capped to what it has */

/* raft_time.c */
uint64_t raft_deadline(const struct raft *r);
void raft_draw_election_timeout(struct raft *r);         /* a new random one, beginning now */
void raft_leader_heard(struct raft *r, uint64_t leader); /* a follower: its leader lives */
void raft_arm_timers(struct raft *r);                    /* after role or members changed */
bool raft_in_lease(const struct raft *r);                /* a leader is known and was heard of lately */

/* raft_election.c */
enum campaign { CAMPAIGN_PRE, CAMPAIGN_ELECTION, CAMPAIGN_TRANSFER };
bool raft_alone(const struct raft *r); /* the only voter, of both halves of a joint configuration */
bool raft_is_voter(const struct raft *r, uint64_t id);
void raft_campaign_if_alone(struct raft *r);            /* a member that nobody can object to doesn't wait */
void raft_campaign(struct raft *r, enum campaign kind); /* if it may stand at all */
void raft_poll(struct raft *r, uint64_t from, bool granted);
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft_own_vote_durable(struct raft *r);

/* step_*.c: a message of this member's term, or without one */
void raft_step_vote(struct raft *r, const struct raft_message *m);
void raft_step_append(struct raft *r, const struct raft_message *m);
void raft_step_append_response(struct raft *r, const struct raft_message *m);
void raft_step_heartbeat(struct raft *r, const struct raft_message *m);
void raft_step_heartbeat_response(struct raft *r, const struct raft_message *m);
void raft_step_read_index(struct raft *r, const struct raft_message *m);
void raft_step_read_index_response(struct raft *r, const struct raft_message *m);
void raft_step_propose(struct raft *r, const struct raft_message *m);
void raft_step_transfer(struct raft *r, const struct raft_message *m);
void raft_step_timeout_now(struct raft *r, const struct raft_message *m);
void raft_step_snapshot(struct raft *r, const struct raft_message *m);

/* raft_quorum.c. A value that a majority has, of each half in joint consensus: the highest such. */
uint64_t raft_quorum_match(struct raft *r);
uint64_t raft_quorum_read_ack(struct raft *r);
bool raft_quorum_heard(struct raft *r);
enum vote_outcome { OUTCOME_OPEN, OUTCOME_WON, OUTCOME_LOST };
enum vote_outcome raft_vote_outcome(struct raft *r);

/* raft_commit.c */
void raft_maybe_commit(struct raft *r); /* a leader: what a quorum has, if it is of its own term */

/* raft_read.c */
bool raft_own_term_committed(const struct raft *r);
void raft_reads_begin(struct raft *r, struct read_request request); /* a leader: takes the request's reference */
void raft_reads_confirm(struct raft *r);                            /* answers those that a quorum has confirmed */
void raft_reads_release(struct raft *r); /* held ones go their way: a leader is known, or has committed */
void raft_reads_reset(struct raft *r);   /* role or term changed */
uint64_t raft_reads_position(const struct raft *r);
void raft_read_answer(struct raft *r, uint64_t context, uint64_t index, int error);
void raft_reads_free(struct raft *r);

/* raft_members.c */
void raft_build_members(struct raft *r); /* after the configuration changed; keeps the progress of those that stay */
struct member *raft_member(const struct raft *r, uint64_t id);
void raft_free_members(struct raft *r);

/* raft_propose.c */
struct raft_position raft_append_own(struct raft *r, enum raft_entry_type type, struct shared *data);
void raft_leave_joint(struct raft *r); /* a leader: proposes it when it is time */

/* raft_replicate.c */
void raft_replicate(struct raft *r); /* a leader: messages to all others, as an update is taken */
void raft_commit_awaited(struct raft *r, uint64_t member, uint64_t index); /* by its clients; any id is allowed */

/* raft_progress.c */
void progress_reset(struct raft *r, struct member *m); /* a new leader knows nothing */
void progress_probe(struct member *m);
void progress_replicate(struct member *m);
void progress_snapshot(struct member *m, uint64_t index);
bool progress_acknowledged(struct member *m, uint64_t index); /* false: it is no news */
bool progress_rejected(struct member *m, uint64_t rejected, uint64_t hint);
void progress_sent(struct member *m, size_t entries, size_t bytes);

/* raft_fetch.c */
void fetched_clear(struct fetched *f);
const struct raft_entry *raft_fetched(struct raft *r, struct member *m, size_t *count); /* from m's next on; or NULL */
void raft_fetched_drop_sent(struct raft *r);                                            /* after the update */
void raft_fetch_fill(struct raft *r, struct raft_update *u);

/* raft_transfer.c */
void raft_transfer_progress(struct raft *r, struct member *m); /* m has acknowledged something */
void raft_transfer_timeout(struct raft *r);
bool raft_disk_stalled(const struct raft *r);
void raft_disk_timeout(struct raft *r);

/* raft_snapshot.c */
void raft_want_image(struct raft *r, struct member *m);

/* raft_out.c. Slots are zeroed but for type, to, from and term; filled in before the next is taken. */
struct raft_message *raft_message_now(struct raft *r, enum raft_message_type type, uint64_t to);
struct raft_message *raft_message_durable(struct raft *r, enum raft_message_type type, uint64_t to);
void raft_forward(struct raft *r, enum raft_message_type type, uint64_t from, const struct raft_entry *entry);
void raft_attach(struct raft *r, struct raft_message *m,
                 struct shared *data); /* an entry of that data; own reference */
void raft_owe_ack(struct raft *r, uint64_t to, uint64_t index);
void raft_out_release(struct raft *r); /* what is durable may leave */
void raft_out_drop(struct raft *r);    /* the term is over, and what waited belongs to it */
void raft_out_done(struct raft *r);
void raft_out_free(struct raft *r);

#endif
