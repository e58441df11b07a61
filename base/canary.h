/* Planted bugs, which the simulator must find: they prove that its checkers can fail. CANARY(NAME) stands where a bug
 * would be, and is the constant false except in a build of its own (make canaries: -DKEDGE_CANARIES), whose objects
 * have their own folder and go into nothing but a simulator and the servers of tests/interop/canaries. There one of
 * them at a time is switched on.
 *
 * tests/run-canaries shows that each is found, and that no shipped program has a trace of them. */
#ifndef BASE_CANARY_H
#define BASE_CANARY_H

#include <stdbool.h>

/* X(name, what is wrong) */
#define CANARIES(X)                                                                                                    \
    X(ANSWER_BEFORE_SYNC, "a save counts as durable when it is given to the disk")                                     \
    X(ACCEPT_BEFORE_SYNC, "a follower accepts entries before they are on its disk")                                    \
    X(FORGOTTEN_VOTE, "a vote is given and not remembered")                                                            \
    X(STALE_CANDIDATE, "a vote is given to a candidate whose log is behind")                                           \
    X(OLD_TERM_BY_COUNTING, "a leader commits entries of an older term by counting")                                   \
    X(LEARNER_IN_QUORUM, "a learner counts in quorums")                                                                \
    X(READ_WITHOUT_QUORUM, "a leader gives a read index without asking anybody")                                       \
    X(READ_BEFORE_OWN_TERM, "a leader gives a read index before it has committed in its own term")                     \
    X(APPLIED_TWICE, "the last stored entry is applied again after a start")                                           \
    X(NO_TAIL_REPAIR, "a torn tail of the log is left in place")                                                       \
    X(WATCH_REPEATS, "a watch that catches up sees a revision again")                                                  \
    X(PROGRESS_AHEAD, "progress is told before events that it covers")                                                 \
    X(OLD_LEADER_REVOKES, "a leader that was deposed goes on revoking leases")                                         \
    X(LEASES_NOT_EXTENDED, "a new leader counts leases from before its term")                                          \
    X(IMAGE_RESETS_APPLIED, "an image leaves the applied index behind")                                                \
    X(IMAGE_OF_TWO_MOMENTS, "the members told beside an image are newer than it")                                      \
    X(REPLACED_ENTRIES_RETURN, "entries that an image replaced are read back from the log")

#ifdef KEDGE_CANARIES

#define CANARY_NUMBER(name, text) CANARY_##name,
enum canary { CANARY_NONE, CANARIES(CANARY_NUMBER) CANARY_COUNT };
#undef CANARY_NUMBER

extern enum canary canary_planted;
const char *canary_name(enum canary canary); /* "answer-before-sync" */
const char *canary_text(enum canary canary);
#define CANARY(name) (canary_planted == CANARY_##name)

#else

#define CANARY(name) false

#endif

#endif
