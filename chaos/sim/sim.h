/* The simulator: a cluster's whole life from a seed, in virtual time, in one thread. Each member is the real core,
 * consensus, state machine, watch hub, leases and write-ahead log on a simulated disk (tests/support/memory_fs.h) and
 * with the store in memory (kv/backend.h). Between them stands a simulated network that carries the bytes of
 * raft/message.h. Simulated clients write, read, watch, hold leases and compact at any member.
 *
 * Faults (nemesis.c): messages lost, late, doubled, out of order; members cut off, one way or both, in every shape;
 * images cut off midway; processes killed, machines without power at any call to the disk or at any time, with unsynced
 * writes lost or torn; members paused, their clocks fast or slow, their disks stalled or full; leadership handed over;
 * members added, promoted and removed. Storms of such faults take turns with calm, in which all must work again soon.
 *
 * What must hold is judged by checkers in files of their own:
 *   check_log.c       logs match; what was synced is still there at the next start
 *   check_leader.c    one leader a term, one vote a term, leaders have all that was committed, and commit by counting
 *                     only entries of their own term
 *   check_commit.c    each member applies the same sequence; nothing is applied that a quorum has not durable, or that
 *                     nobody proposed, or twice
 *   check_history.c   what clients were told is linearizable
 *   check_state.c     rows, leases and hashes are the model's (model.c), which is fed with nothing but the applied log
 *   check_watch.c     each event once, in order, no progress before its events
 *   check_lease.c     no lease ends sooner than its holder was told
 *   check_heal.c      a majority that is well commits something soon
 *
 * The same seed gives the same run: the trace is a hash over all that happened. A canary is a planted fault that the
 * checkers must find; it proves that they can fail. Those of this header are planted in the simulator; those of
 * base/canary.h in the program itself, in a build of its own. */
#ifndef CHAOS_SIM_SIM_H
#define CHAOS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_MEMBERS_MAX = 7 };

enum sim_canary {
    SIM_CANARY_NONE,
    SIM_CANARY_LYING_SYNC,  /* the disk says synced and isn't */
    SIM_CANARY_LOST_EVENT,  /* now and then an event gets lost on its way to a watcher */
    SIM_CANARY_FAST_CLOCK,  /* the members' clocks run fast: leases end too early */
    SIM_CANARY_WRONG_APPLY, /* the state machine and the model disagree about one put in a hundred */
    SIM_CANARIES,
};
const char *sim_canary_name(enum sim_canary canary);

/* What was done to the cluster, for the figures. */
enum sim_fault {
    SIM_KILL,        /* a process was killed */
    SIM_POWER_LOSS,  /* a machine lost power: unsynced writes lost or torn */
    SIM_DISK_DEAD,   /* of both: those that came at a call to the disk */
    SIM_ALL_DOWN,    /* all members at once */
    SIM_PAUSE,       /* a member stood still */
    SIM_STALL,       /* a disk took its time */
    SIM_FULL,        /* a disk was full */
    SIM_REFUSED,     /* of those: changes answered with NOSPACE */
    SIM_DRIFT,       /* a clock changed its speed */
    SIM_STEP,        /* a wall clock jumped, up to an hour either way */
    SIM_ISOLATE,     /* one member cut off */
    SIM_SPLIT,       /* the members in two halves */
    SIM_ONE_WAY,     /* a member heard and not hearing, or the other way round */
    SIM_LINK,        /* two members that don't reach each other */
    SIM_LOST,        /* messages */
    SIM_LATE,        /* messages, by more than a heartbeat */
    SIM_DOUBLED,     /* messages */
    SIM_OVERTAKEN,   /* messages that came after a later one of the same link */
    SIM_CUT_IMAGE,   /* images cut off midway */
    SIM_IMAGE,       /* images that arrived */
    SIM_TRANSFER,    /* leadership handed over */
    SIM_ADD_VOTER,   /* members added, */
    SIM_ADD_LEARNER, /* … as learners, */
    SIM_PROMOTE,     /* promoted, */
    SIM_REMOVE,      /* removed */
    SIM_FAULTS,
};
const char *sim_fault_name(enum sim_fault fault);

struct sim_config {
    uint64_t seed;
    unsigned members; /* at the beginning; 0 = 1 */
    unsigned lives;   /* one member: crashes before the last, quiet life; 0 = a number from the seed */
    unsigned seconds; /* more members: simulated seconds before the quiet end; 0 = a number from the seed */
    bool fair;        /* no faults: for measuring */
    enum sim_canary canary;
    bool verbose; /* tells the story on stderr */
};

enum { SIM_HEAL_BUCKETS = 100, SIM_HEAL_BUCKET_MS = 100 };

struct sim_result {
    bool failed;
    char message[400];
    uint64_t trace;
    unsigned crashes, power_losses; /* crashes in all; those that were power losses */
    uint64_t acknowledged, reads, events, expired, entries, revision;
    uint64_t messages, elections, turns, hashes;
    uint64_t busy_ms, simulated_ms; /* with clients at work; in all */
    uint64_t faults[SIM_FAULTS];
    uint32_t heals[SIM_HEAL_BUCKETS]; /* how long it took from calm to the first commit; the last one: longer */
};

void sim_run(const struct sim_config *config, struct sim_result *result);

#endif
