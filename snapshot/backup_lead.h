/* Who takes the cluster's backups: the leader decides, and no two members ever take one at the same time.
 *
 * The leader asks all members, over the peer port, what they do. When a slot of the schedule is due it orders one of
 * them: the reached voter of the smallest id that follows it, and itself when there is none; a member that cannot
 * (no target, the target hangs) says so, and the next one is asked, each at most once for a slot. While one is at work
 * the leader asks it every second (more often at first), and so goes on permitting it.
 *
 * That there is never a second one follows from three rules:
 *   - a member begins only with a permit of the leader of its own term, gives up when that has not asked for
 *     BACKUP_PERMIT_MS, and gives what it wrote its final name only after it was asked once more;
 *   - a leader that has heard nothing of who is at work for BACKUP_TRUST_MS asks no more (it might still be heard), and
 *     takes it for dead after BACKUP_SILENT_MS; before that it orders nobody else;
 *   - a new leader knows nothing: it gives none until each member has said that it is idle, or could not have been
 *     asked by anybody for longer than a permit lasts (BACKUP_SILENT_MS). One that is at work is adopted.
 *
 * Which slot was last is known to all (each answer and each question has it, and the notes in the targets), so that a
 * new leader neither repeats a slot nor leaves it out: the newest slot that was missed while there was no leader is
 * made up for; older ones are not. A last slot that lies an hour or more ahead is of a clock that was wrong, and counts
 * for nothing.
 *
 * A pure state machine: time, members and answers come in, orders go out. Members that do not know the question (etcd)
 * are never asked to take one; while such a member leads there are none. */
#ifndef SNAPSHOT_BACKUP_LEAD_H
#define SNAPSHOT_BACKUP_LEAD_H

#include "snapshot/backup_schedule.h"

#define BACKUP_PERMIT_MS 5000
#define BACKUP_TRUST_MS 5000
#define BACKUP_SILENT_MS 12000 /* > BACKUP_TRUST_MS + BACKUP_ANSWER_MS + BACKUP_PERMIT_MS */
#define BACKUP_POLL_MS 1000
#define BACKUP_ANSWER_MS 1500 /* how long a question may take */
#define BACKUP_AHEAD_S 3600
enum { BACKUP_PEERS = 64 };

struct backup_peer {
    uint64_t id;
    bool self, voter, reached;

    /* private */
    bool asked;     /* a question is out */
    bool heard;     /* it answered since the survey began */
    bool clear;     /* under this leader: it said that it is idle, and was not ordered since */
    bool able;      /* of its last answer */
    bool tried;     /* in this slot */
    bool tell;      /* it is to learn what came of a slot */
    uint64_t at_ms; /* last sign of it being at work, or ordered */
};

enum backup_order_kind { BACKUP_ASK, BACKUP_BEGIN };

struct backup_order {
    enum backup_order_kind kind;
    uint64_t to, term;
    uint64_t number; /* of the leader's orders of this term: an older one that arrives late is refused */
    uint64_t run;    /* the one that is meant; BACKUP_ASK: 0 = none of this leader's */
    int64_t slot_s;  /* BACKUP_BEGIN */
    int64_t last_s;  /* the last slot that was taken, as far as the leader knows; 0 = none */
};

/* What a member says of itself. */
struct backup_report {
    bool able;        /* it has a target that answers */
    uint64_t running; /* the run it is at; 0 = idle */
    int64_t running_slot_s;
    uint64_t finished; /* the run it was at last; 0 = none since it started */
    bool finished_well;
    int64_t last_s; /* the last slot that it knows to be taken */
    bool known;     /* false: no answer, or one that is none */
};

struct backup_lead {
    const struct backup_schedule *schedule; /* set by the caller, before the first turn */
    int64_t missed_s;                       /* the last slot that this leader could give to nobody; 0 = none */

    /* private */
    bool leads, idle_only; /* idle_only: without schedule, surveyed only when somebody asks */
    uint64_t term, since_ms, survey_ms, orders;
    int64_t since_s, wall_s; /* wall_s: of the last turn */
    struct backup_peer peers[BACKUP_PEERS];
    size_t count;
    enum { BACKUP_IDLE, BACKUP_SURVEY, BACKUP_BEGUN, BACKUP_WATCH } state;
    bool surveyed;
    uint64_t runner, run, runs;
    int64_t slot_s, last_s, tried_s; /* of what is under way; taken; tried, for better or worse */
    uint64_t poll_ms, begun_ms;
};

struct backup_lead_facts {
    uint64_t now_ms;
    int64_t wall_s;
    bool leads;
    uint64_t term;
    const struct backup_peer *peers; /* id, self, voter, reached */
    size_t count;
};

/* Does what is due. orders: room for BACKUP_PEERS; gives how many. Each order is answered once by backup_lead_answer,
 * with the term that it had. */
size_t backup_lead_turn(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders);
void backup_lead_answer(struct backup_lead *lead, uint64_t from, uint64_t term, const struct backup_report *report,
                        uint64_t now_ms);
/* What this member itself knows of the last slot. */
void backup_lead_learn(struct backup_lead *lead, int64_t last_s, int64_t wall_s);
/* The later one of two last slots, without what lies ahead of the clock; 0 = none. */
int64_t backup_lead_later_s(int64_t a_s, int64_t b_s, int64_t wall_s);

/* A member wants to take one now. The run's number, or 0: *busy is who is at work, 0 = ask again in a moment. */
uint64_t backup_lead_request(struct backup_lead *lead, uint64_t from, uint64_t now_ms, uint64_t *busy);

/* When to call backup_lead_turn again if nothing happens: in so many milliseconds, UINT64_MAX = never. */
uint64_t backup_lead_wait_ms(const struct backup_lead *lead, int64_t wall_s);

#endif
