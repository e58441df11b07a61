/* Several members of consensus in one process, without disks, clocks or sockets of their own: each has a log that is
 * durable when the test says so, messages arrive when the test says so, time passes when the test says so. What must
 * hold of all members together is checked all the time (raft_bed_check.c). */
#ifndef TESTS_SUPPORT_RAFT_BED_H
#define TESTS_SUPPORT_RAFT_BED_H

#include "raft/message.h"
#include "raft/raft.h"

#define RAFT_BED_MEMBERS 9

/* A job for the log, not done yet. */
struct raft_bed_job {
    struct raft_entry *entries;
    size_t count;
    struct raft_hard_state state;
    bool has_state, must_sync;
    struct raft_save save;
    struct raft_bed_job *next;
};

/* What a crash leaves: the log, the term and vote, and the state machine as of a point at or below the durable log. */
struct raft_bed_store {
    uint64_t applied, hash;
    struct raft_conf_state conf;
};

struct raft_bed_member {
    struct raft_bed *bed;
    uint64_t id;
    struct raft *raft; /* NULL: down */
    uint64_t now_ms;   /* its own clock; raft_bed_tick moves all of them */
    struct raft_config config;

    /* the disk */
    struct raft_position start; /* the log begins after it */
    struct raft_entry *log;     /* start.index + 1 …, each with a reference */
    size_t log_count, log_capacity;
    struct raft_hard_state state;
    struct raft_bed_store store;
    struct raft_bed_job *jobs, **jobs_tail;

    /* the process */
    uint64_t applied, hash;
    struct raft_conf_state conf;
    bool log_read_out;
    uint64_t log_read_from, log_read_to;
    size_t log_read_bytes;
    bool installing; /* the image that is to be put in place */
    struct raft_bed_store install;
    uint64_t install_term;

    /* what the last update said */
    uint64_t leader, term, vote, commit, deadline_ms;
    enum raft_role role;
    struct raft_read answers[64]; /* the test takes them out */
    size_t answer_count;
    uint64_t lives;
};

/* A message under way; an image rides with a RAFT_MSG_SNAPSHOT. */
struct raft_bed_packet {
    struct raft_message message;
    struct raft_message_owner owner;
    struct raft_bed_store image;
};

struct raft_bed {
    uint64_t seed;
    struct raft_bed_member members[RAFT_BED_MEMBERS];
    size_t member_count;
    struct raft_bed_packet **packets;
    size_t packet_count, packet_capacity;
    struct buffer *text; /* where updates are written down; NULL: nowhere */
    bool apply_by_hand;

    /* what all members agree on, in raft_bed_check.c */
    struct raft_bed_truth *truth;
};

struct raft_bed *raft_bed_new(uint64_t seed);
void raft_bed_free(struct raft_bed *bed);

/* A member of a new cluster of these voters and learners, or one that is to join (conf NULL), not running.
 * raft_bed_member.config may be changed before it starts. */
struct raft_bed_member *raft_bed_add(struct raft_bed *bed, uint64_t id, const struct raft_conf_state *conf);
/* One with this configuration whose log is still empty: for dialogues, in which indexes begin at 1. */
struct raft_bed_member *raft_bed_add_plain(struct raft_bed *bed, uint64_t id, const struct raft_conf_state *conf);
void raft_bed_log_append(struct raft_bed_member *m, uint64_t term);       /* onto the disk of one that isn't running */
struct raft_bed_member *raft_bed_find(struct raft_bed *bed, uint64_t id); /* NULL: there is none */
void raft_bed_start(struct raft_bed_member *m);                           /* from what its disk has */
/* Down at once; of the jobs that are under way the first `keep` reached the disk, the rest is lost. */
void raft_bed_crash(struct raft_bed_member *m, size_t keep);

/* Takes updates and carries them out until there are none; jobs and messages stay under way. */
void raft_bed_settle(struct raft_bed_member *m);
void raft_bed_apply(struct raft_bed_member *m, uint64_t to); /* as far as committed */
size_t raft_bed_jobs(const struct raft_bed_member *m);
bool raft_bed_disk(struct raft_bed_member *m, size_t jobs);  /* so many jobs become durable, and the log answers */
bool raft_bed_log_read(struct raft_bed_member *m);           /* answers a read of the log, if one is out */
bool raft_bed_install(struct raft_bed_member *m, bool good); /* an image is put in place, if there is one */
void raft_bed_store(struct raft_bed_member *m);              /* the state machine becomes durable as it is */
void raft_bed_compact(struct raft_bed_member *m, uint64_t index);

/* Packets by position, oldest first. Delivering or dropping takes it out; an image that is dropped is reported. */
void raft_bed_deliver(struct raft_bed *bed, size_t at);
void raft_bed_drop(struct raft_bed *bed, size_t at);
void raft_bed_copy(struct raft_bed *bed, size_t at); /* once more, at the end */

/* Time passes for all that run, or for one. */
void raft_bed_pass(struct raft_bed_member *m, uint64_t ms);
void raft_bed_tick(struct raft_bed *bed, uint64_t ms);
/* Everything that is under way comes to its end, over and over, until nothing moves. */
void raft_bed_quiesce(struct raft_bed *bed);
/* Time passes and everything moves until someone leads (NULL: nobody within that time). */
struct raft_bed_member *raft_bed_elect(struct raft_bed *bed, uint64_t within_ms);

/* Proposes a text. What raft_propose returned. */
int raft_bed_propose(struct raft_bed_member *m, const char *text, struct raft_position *at);
int raft_bed_propose_change(struct raft_bed_member *m, const struct raft_conf_change_v2 *change, bool v2);

void raft_bed_describe(struct buffer *out, const struct raft_message *m);
void raft_bed_describe_conf(struct buffer *out, const struct raft_conf_state *c);

/* raft_bed_check.c. Abort with what was found. */
void raft_bed_truth_new(struct raft_bed *bed);
void raft_bed_truth_free(struct raft_bed *bed);
void raft_bed_check_leader(struct raft_bed_member *m);                  /* it has begun to lead */
void raft_bed_check_commit(struct raft_bed_member *m, uint64_t commit); /* it says that so much is committed */
void raft_bed_check_apply(struct raft_bed_member *m, const struct raft_entry *e, uint64_t hash);
uint64_t raft_bed_committed(const struct raft_bed *bed); /* the highest index that anybody knows to be committed */
uint64_t raft_bed_hash(uint64_t before, const struct raft_entry *e);

#endif
