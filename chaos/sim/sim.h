/* The simulator: one member's whole life from a seed, in virtual time, in one thread. The real core, consensus, state
 * machine, watch hub, leases and write-ahead log run on a simulated disk (tests/support/memory_fs.h) and the store in
 * memory (kv/backend.h). Simulated clients write, read, watch, hold leases and compact; the member is killed or loses
 * power at any call to the disk, or at any time, and starts again from what is left.
 *
 * What must hold is judged by checkers in files of their own (check.c, check_watch.c) against a dumb model of the state
 * machine (model.c) that is fed with nothing but the log:
 *   - what was acknowledged is in the log for good, once, and the model gives the same answer to it;
 *   - what was synced is still there, the store is never ahead of the log, the revision never goes back;
 *   - after each start the state (rows, leases, compacted revision, HashKV) is the model's;
 *   - a linearizable read sees all that was acknowledged before it began, and exactly the model's rows;
 *   - a watch that resumes where it stopped gets each event once, in order, and no progress before its events;
 *   - a lease never expires sooner than its holder was told, also across restarts, and does expire in the end.
 *
 * The same seed gives the same run: the trace is a hash over all that happened. A canary is a planted fault that the
 * checkers must find; it proves that they can fail. */
#ifndef CHAOS_SIM_SIM_H
#define CHAOS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

enum sim_canary {
    SIM_CANARY_NONE,
    SIM_CANARY_LYING_SYNC,  /* the disk says synced and isn't */
    SIM_CANARY_LOST_EVENT,  /* now and then an event gets lost on its way to a watcher */
    SIM_CANARY_FAST_CLOCK,  /* the member's clock runs fast: leases end too early */
    SIM_CANARY_WRONG_APPLY, /* the state machine and the model disagree about one put in a hundred */
    SIM_CANARIES,
};
const char *sim_canary_name(enum sim_canary canary);

struct sim_config {
    uint64_t seed;
    unsigned lives; /* crashes before the last, quiet life; 0 = a number from the seed */
    enum sim_canary canary;
    bool verbose; /* tells the story on stderr */
};

struct sim_result {
    bool failed;
    char message[400];
    uint64_t trace;
    unsigned crashes, power_losses; /* crashes in all; those that were power losses */
    uint64_t acknowledged, reads, events, expired, entries, revision;
};

void sim_run(const struct sim_config *config, struct sim_result *result);

#endif
