/* The core of consensus: event in, update out, time as input, next deadline as output. No operating system, no
 * threads, no clock, no randomness of its own: the same events give the same updates.
 *
 * The caller's turn:
 *
 *     raft_tick(r, now); raft_propose(r, …); raft_step(r, …); raft_durable(r, …); …      any number of events
 *     const struct raft_update *u = raft_update(r);                                     what is to be done now
 *        - give u->append and u->hard_state to the WAL thread (one job, in this order; u->save names it)
 *        - send u->messages, have u->images sent
 *        - answer u->reads
 *        - start u->log_read, if wanted
 *        - apply entries up to u->commit: raft_entry(r, applied + 1) …
 *        - call raft_tick again at u->deadline_ms at the latest
 *     raft_update_done(r);
 *
 * Rules that every caller relies on (raft.md "Persistence order", Raft thesis 3.8, 10.2.1):
 *   - WAL jobs become durable in the order in which updates gave them out. Several may be in flight.
 *   - What rests on the disk waits in here for raft_durable: the own vote, the own match, and messages that tell of
 *     them (AppResp, VoteResp, PreVoteResp, a candidate's requests) appear in an update only when they may leave.
 *     Apps, heartbeats and their answers never wait for a disk.
 *   - Messages are made when an update is taken, from the state at that time: what many events of a turn ask for
 *     travels as one.
 *   - Committed entries may be applied before the own fsync (a quorum has them) unless this member is the only voter.
 *
 * Time is in milliseconds of a monotonic clock. Indexes begin at 1; index 0 has term 0. One thread. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "raft/types.h"

struct raft;

struct raft_config {
    uint64_t id;
    uint64_t seed; /* of the randomised election timeouts */
    uint64_t now_ms;
    uint32_t heartbeat_ms; /* 0 = 100 */
    uint32_t election_ms;  /* 0 = 1000 */
    bool pre_vote;
    uint32_t notice_ms;   /* a leader: how long a commit may wait to be told with the next entries; 0 = not at all */
    size_t message_bytes; /* of entries in a message, or one larger entry; 0 = 1 MiB (limits.tsv) */
    size_t log_bytes; /* how much data the log keeps in memory; 0 = 64 MiB. Entries not yet durable are always kept */

    struct raft_conf_state conf;       /* members as of `applied`; copied */
    struct raft_hard_state hard_state; /* as last saved. commit below `applied` is raised to it */
    struct raft_position snapshot;     /* the log begins after it */
    uint64_t applied;                  /* of the store; from snapshot.index up to the last entry */
};

struct raft *raft_new(const struct raft_config *config);
/* Gives the saved log back, ascending and without gaps from snapshot.index + 1; raft takes references of its own. Then
 * raft_start, once, before any other event. It CHECKs that applied and commit are inside the log (the caller has
 * refused such a directory before: design.md "Disk checkpoint and start"). A member that is the only voter stands for
 * election at once (limits.tsv "initial tick advance"). */
void raft_restore_entry(struct raft *r, const struct raft_entry *entry);
void raft_start(struct raft *r);
void raft_free(struct raft *r); /* NULL is allowed */

/* --- events --- */

/* Time has come to now_ms (never less than before). Cheap when nothing is due. All other events happen at the time of
 * the last tick. A tick that comes much later than the deadline (this process was paused) blames nobody at once: the
 * others get a moment more, so that what they sent meanwhile is read first. */
void raft_tick(struct raft *r, uint64_t now_ms);

/* The time that is left until this member stands for election shrinks by this much, once, after start (limits.tsv
 * "initial tick advance", several members: the election timeout less two heartbeats, when a peer is reached). Does
 * nothing for a leader or while a leader is known. */
void raft_advance_election(struct raft *r, uint64_t by_ms);

/* A message from another member; its entries' data is referenced, not copied. Invalid ones (not for this member,
 * response of an unknown member, entries that don't follow each other) are ignored.
 * RAFT_MSG_SNAPSHOT comes when its image has arrived completely: the next update's `snapshot` says whether it is to be
 * installed; if it isn't, the image is of no use. */
void raft_step(struct raft *r, const struct raft_message *message);

/* Puts an entry into the log. Takes a reference of its own on data (NULL = empty entry).
 * A leader appends at once and tells index and term of the entry: the proposal is decided when that index is applied
 * and has that term. A follower forwards it and sets *at to {0, 0}: it may get lost.
 * RAFT_ENTRY_CONF_CHANGE while another one is not yet applied is replaced by an empty entry, as etcd does; *at is then
 * that of the empty entry, and the proposer waits in vain.
 * Returns 0, ERR_NO_LEADER (none is known, or it is being elected: ask again later), ERR_PROPOSAL_DROPPED (leadership
 * is being handed over, or this member was removed). */
int raft_propose(struct raft *r, enum raft_entry_type type, struct shared *data, struct raft_position *at);

/* A number for each WAL job, ascending; term and index are those of the hard state and the last entry after it. */
struct raft_save {
    uint64_t sequence;
    uint64_t term, index;
};

/* This job and all before it are synced to disk. Jobs with must_sync false needn't be reported. */
void raft_durable(struct raft *r, struct raft_save save);

/* The answer to log_read: entries from `from` on, as many as there were room for (at least one), or count 0 with error
 * ERR_ABSENT when the segments are gone. raft takes references of its own. Each log_read is answered once, also when
 * nobody needs it any more. */
void raft_log_entries(struct raft *r, uint64_t from, const struct raft_entry *entries, size_t count, int error);

/* Everything up to index has been applied to the state machine. */
void raft_applied(struct raft *r, uint64_t index);

/* A committed change of members was applied (before raft_applied of its index): from now on it decides quorums
 * (raft.md "takes effect when applied"). node_id 0 does nothing. Fills *after (overwritten, the caller's to free) with
 * the configuration; NULL if not wanted. Removing the last voter breaks an invariant. */
void raft_apply_conf_change(struct raft *r, const struct raft_conf_change *change, struct raft_conf_state *after);
/* The same for the other encoding, which can enter and leave a joint configuration (Raft thesis 4.3). One that is to be
 * left by itself is left by an entry that the leader proposes once all this is applied. etcd never proposes such a
 * change, and its members end when they see one. */
void raft_apply_conf_change_v2(struct raft *r, const struct raft_conf_change_v2 *change, struct raft_conf_state *after);

/* Asks for an index that a linearizable read of this moment must wait for. The answer comes in an update's reads under
 * the same context; the caller picks contexts and may ask again under the same one (a request can get lost). A
 * follower asks its leader. While no leader is known, and before a leader has committed an entry of its own term, the
 * request waits. */
void raft_read_index(struct raft *r, uint64_t context);

/* Hands leadership over to a voter (Raft thesis 3.10); RAFT_NONE = the most up-to-date one that is reached. A follower
 * asks its leader to do so. Returns 0, ERR_BAD_LEADER_TRANSFEREE (not a voter), ERR_NO_LEADER. Finished when an update
 * shows another leader, given up after an election timeout; proposals are dropped meanwhile. */
int raft_transfer(struct raft *r, uint64_t to);

/* The transport could not deliver to a member / the image for it was taken or not (once for each of an update's
 * images). */
void raft_unreachable(struct raft *r, uint64_t id);
void raft_snapshot_reported(struct raft *r, uint64_t id, bool success);

/* The image that an update's `snapshot` asked to install is durable and in place: the log begins after it. `at` is the
 * image's. Or it could not be installed, and this member goes on with what it had. */
void raft_snapshot_done(struct raft *r, struct raft_position at, const struct raft_conf_state *conf);
void raft_snapshot_failed(struct raft *r);

/* The WAL's segments no longer hold entries up to index: their terms are forgotten, followers that need them get an
 * image. Never above applied or what a checkpoint holds. */
void raft_compact(struct raft *r, uint64_t index);

/* --- the update --- */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_read {
    uint64_t context;
    uint64_t index; /* the read may be served once this is applied */
    int error;      /* 0; ERR_AGAIN: role or term changed before the answer was known: ask again */
};

struct raft_update {
    /* For the WAL, in this order. Entries are views (take references for the job). */
    const struct raft_entry *append;
    size_t append_count;
    struct raft_hard_state hard_state;
    bool hard_state_changed; /* hard_state is to be written */
    bool must_sync;          /* entries, or term or vote changed (raft.md): otherwise it may wait for the next sync */
    struct raft_save save;   /* the last job given out; a new one iff append_count > 0 or hard_state_changed */

    /* Messages that may leave now, in this order, none of them RAFT_MSG_SNAPSHOT. */
    const struct raft_message *messages;
    size_t message_count;
    /* RAFT_MSG_SNAPSHOT, without image and configuration: the member `to` needs one of message.snapshot or later (the
     * store's view decides; the sender fills in what the view has). raft_snapshot_reported follows. */
    const struct raft_message *images;
    size_t image_count;

    /* Entries up to this index are committed: read them with raft_entry, from applied + 1 on. */
    uint64_t commit;
    bool commit_changed;

    const struct raft_read *reads;
    size_t read_count;

    /* Wanted from the WAL's segments: entries from..to, at most max_bytes of data, but at least one. One at a time. */
    struct {
        bool wanted;
        uint64_t from, to;
        size_t max_bytes;
    } log_read;

    /* An image to install, whose database has arrived beside the message (NULL: none). Given once; until
     * raft_snapshot_done or _failed the log takes no entries, and nothing new becomes committed. */
    const struct raft_message *snapshot;

    /* Soft state. */
    uint64_t leader; /* RAFT_NONE if unknown */
    uint64_t term;
    enum raft_role role;
    bool soft_changed; /* leader, term or role differ from the previous update */

    uint64_t deadline_ms; /* UINT64_MAX: nothing is due ever (a leader alone) */
};

/* What the events since the last update ask for. Valid until raft_update_done; no event may come in between, except
 * raft_entry's reads. Takes no time when nothing happened: raft_update_pending says that beforehand. */
bool raft_update_pending(const struct raft *r);
const struct raft_update *raft_update(struct raft *r);
void raft_update_done(struct raft *r);

/* --- queries --- */

/* A committed entry, or NULL when memory dropped it: then the next update asks for a log_read, and the caller tries
 * again after raft_log_entries. The view is valid until the next event. CHECKs applied < index <= commit. */
const struct raft_entry *raft_entry(struct raft *r, uint64_t index);

uint64_t raft_last_index(const struct raft *r);
uint64_t raft_first_index(const struct raft *r);               /* of the entries whose terms are known */
uint64_t raft_term_at(const struct raft *r, uint64_t index);   /* 0 = not known (compacted or above the end) */
const struct raft_conf_state *raft_conf(const struct raft *r); /* valid until the next event */

struct raft_status {
    uint64_t id, leader, term, vote, commit, applied, last_index, durable_index;
    enum raft_role role;
    bool voter, learner;    /* what this member is, as applied so far; neither: not a member (yet or any more) */
    bool installing;        /* an image was given out and isn't in place yet */
    uint64_t transferee;    /* RAFT_NONE = no transfer under way */
    uint64_t pending_reads; /* not yet answered */
    size_t log_bytes;       /* data held in memory */
};

struct raft_status raft_status(const struct raft *r);

/* A leader's view of another member. */
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };

struct raft_progress {
    uint64_t id, match, next;
    enum raft_progress_state state;
    bool learner, active; /* active: heard of within the last election timeout */
};

/* Fills *out for a member; false if it isn't in the configuration or this member doesn't lead. */
bool raft_progress(const struct raft *r, uint64_t id, struct raft_progress *out);

/* Aborts if a rule is broken that must always hold (order of applied, commit, last; terms never descend; the size of
 * memory is what the sum says …). Called at each update; for tests and the simulator too. */
void raft_check(const struct raft *r);

const char *raft_role_name(enum raft_role role); /* "follower", "pre-candidate", "candidate", "leader" */

#endif
