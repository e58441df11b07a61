/* Hunting for seeds that fail, see hunt.c. */
#ifndef CHAOS_SIM_HUNT_H
#define CHAOS_SIM_HUNT_H

#include "chaos/sim/sim.h"
#include <stddef.h>

/* Runs a seed in another process. True: it failed, or its process broke an invariant; `line` says how. */
bool sim_hunt_seed(const struct sim_config *config, char *line, size_t size);

#endif
