/* kedge-sim: runs seeds through the simulator. A seed is run twice: the traces must be the same. */
#include "base/log.h"
#include "chaos/sim/sim.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void)
{
    fprintf(stderr,
            "usage: kedge-sim [--seed N] [--crashes N] [--canary NAME] [--verbose]\n"
            "  --seed N       begin with this seed (1)\n"
            "  --crashes N    seed after seed, until there were so many crashes\n"
            "  --canary NAME  plant a fault that must be found: lying-sync, lost-event, fast-clock, wrong-apply\n"
            "  --verbose      tell what happens\n");
    return 2;
}

static bool read_canary(const char *name, enum sim_canary *canary)
{
    for (int i = 0; i < SIM_CANARIES; i++) {
        if (strcmp(name, sim_canary_name((enum sim_canary)i)) == 0) {
            *canary = (enum sim_canary)i;
            return true;
        }
    }
    return false;
}

static void tell(uint64_t seed, const struct sim_result *r)
{
    printf("seed %" PRIu64 ": %u crashes (%u power losses), %" PRIu64 " entries, %" PRIu64 " answers, %" PRIu64
           " reads, %" PRIu64 " events, %" PRIu64 " leases expired, revision %" PRIu64 ", trace %016" PRIx64 "\n",
           seed, r->crashes, r->power_losses, r->entries, r->acknowledged, r->reads, r->events, r->expired, r->revision,
           r->trace);
}

/* 0 = passed. */
static int run_seed(const struct sim_config *config, struct sim_result *total)
{
    struct sim_result first, second;
    sim_run(config, &first);
    if (first.failed) {
        printf("seed %" PRIu64 ": FAILED: %s\n", config->seed, first.message);
        return 1;
    }
    struct sim_config quiet = *config;
    quiet.verbose = false;
    sim_run(&quiet, &second);
    tell(config->seed, &first);
    if (second.failed || second.trace != first.trace) {
        printf("seed %" PRIu64 ": FAILED: the second run went another way (trace %016" PRIx64 ") %s\n", config->seed,
               second.trace, second.message);
        return 1;
    }
    total->crashes += first.crashes;
    total->power_losses += first.power_losses;
    total->acknowledged += first.acknowledged;
    total->events += first.events;
    return 0;
}

int main(int argc, char **argv)
{
    struct sim_config config = {.seed = 1};
    uint64_t crashes = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool known = true;
        if (strcmp(argv[i], "--verbose") == 0) {
            config.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            config.seed = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--crashes") == 0) {
            crashes = strtoull(value, NULL, 10);
        } else {
            known = strcmp(argv[i], "--canary") == 0 && read_canary(value, &config.canary);
        }
        if (!known || ++i == argc) {
            return usage();
        }
    }
    log_configure(LOG_PANIC, LOG_CONSOLE);
    struct sim_result total = {0};
    uint64_t seeds = 0;
    do {
        if (run_seed(&config, &total) != 0) {
            return 1;
        }
        fflush(stdout);
        config.seed++;
        seeds++;
    } while (total.crashes < crashes);
    if (crashes > 0) {
        printf("sim: %" PRIu64 " seeds, %u crash points (%u power losses), %" PRIu64 " answers, %" PRIu64 " events\n",
               seeds, total.crashes, total.power_losses, total.acknowledged, total.events);
    }
    return 0;
}
