/* kedge-sim: runs seeds through the simulator. A seed is run twice: the traces must be the same. */
#include "base/canary.h"
#include "base/log.h"
#include "base/random.h"
#include "chaos/sim/hunt.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    struct sim_config config;
    uint64_t crashes; /* go on until there were so many */
    uint64_t seeds;   /* … or so many seeds */
    double seconds;   /* … or so long, with fresh seeds */
    bool once;        /* run each seed once only */
    uint64_t hunt;    /* look for a seed that fails, among so many */
};

struct totals {
    struct sim_result sum;
    uint64_t seeds;
    double cpu_seconds;
};

static int usage(void)
{
    fprintf(stderr,
            "usage: kedge-sim [OPTION...]\n"
            "  --members N    how many the cluster begins with, 1 to 7 (1)\n"
            "  --seed N       begin with this seed (1)\n"
            "  --seeds N      so many seeds, one after the other (1)\n"
            "  --crashes N    seed after seed, until there were so many crashes\n"
            "  --for S        fresh seeds for S seconds\n"
            "  --length S     simulated seconds of each run with more than one member (20 to 120, by the seed)\n"
            "  --fair         nothing goes wrong: for measuring\n"
            "  --once         each seed once; otherwise twice, the traces must be the same\n"
            "  --hunt N       stop at the first seed of N that fails, and say how many it took; fail if none does\n"
            "  --canary NAME  plant a fault that must be found\n"
            "  --canaries     name them\n"
            "  --verbose      tell what happens\n");
    return 2;
}

/* Those of the simulator; and, in a build for them, those of the program. */
static bool read_canary(const char *name, enum sim_canary *canary)
{
    for (int i = 0; i < SIM_CANARIES; i++) {
        if (strcmp(name, sim_canary_name((enum sim_canary)i)) == 0) {
            *canary = (enum sim_canary)i;
            return true;
        }
    }
#ifdef KEDGE_CANARIES
    for (int i = 1; i < CANARY_COUNT; i++) {
        if (strcmp(name, canary_name((enum canary)i)) == 0) {
            canary_planted = (enum canary)i;
            return true;
        }
    }
#endif
    return false;
}

static void name_canaries(void)
{
    for (int i = 1; i < SIM_CANARIES; i++) {
        printf("%s\n", sim_canary_name((enum sim_canary)i));
    }
#ifdef KEDGE_CANARIES
    for (int i = 1; i < CANARY_COUNT; i++) {
        printf("%s\n", canary_name((enum canary)i));
    }
#endif
    exit(0);
}

static bool read_flag(struct options *o, const char *name)
{
    if (strcmp(name, "--verbose") == 0) {
        o->config.verbose = true;
    } else if (strcmp(name, "--fair") == 0) {
        o->config.fair = true;
    } else if (strcmp(name, "--once") == 0) {
        o->once = true;
    } else if (strcmp(name, "--canaries") == 0) {
        name_canaries();
    } else {
        return false;
    }
    return true;
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    uint64_t number = strtoull(value, NULL, 10);
    if (strcmp(name, "--seed") == 0) {
        o->config.seed = number;
    } else if (strcmp(name, "--members") == 0) {
        o->config.members = (unsigned)number;
        return number >= 1 && number <= SIM_MEMBERS_MAX;
    } else if (strcmp(name, "--seeds") == 0) {
        o->seeds = number;
    } else if (strcmp(name, "--crashes") == 0) {
        o->crashes = number;
    } else if (strcmp(name, "--for") == 0) {
        o->seconds = strtod(value, NULL);
    } else if (strcmp(name, "--hunt") == 0) {
        o->hunt = number;
    } else if (strcmp(name, "--length") == 0) {
        o->config.seconds = (unsigned)number;
    } else {
        return strcmp(name, "--canary") == 0 && read_canary(value, &o->config.canary);
    }
    return true;
}

/* --- telling -------------------------------------------------------------------------------------------------------
 */

static void tell(const struct sim_config *config, const struct sim_result *r)
{
    printf("seed %" PRIu64 ", %u member%s: %.0f s, %u crashes (%u power losses), %" PRIu64 " terms led, %" PRIu64
           " entries, %" PRIu64 " answers, %" PRIu64 " reads, %" PRIu64 " events, %" PRIu64
           " leases expired, revision %" PRIu64 ", trace %016" PRIx64 "\n",
           config->seed, config->members, config->members == 1 ? "" : "s", (double)r->simulated_ms / 1000, r->crashes,
           r->power_losses, r->elections, r->entries, r->acknowledged, r->reads, r->events, r->expired, r->revision,
           r->trace);
    fflush(stdout);
}

static void add(struct totals *t, const struct sim_result *r)
{
    struct sim_result *sum = &t->sum;
    sum->crashes += r->crashes;
    sum->power_losses += r->power_losses;
    sum->acknowledged += r->acknowledged;
    sum->reads += r->reads;
    sum->events += r->events;
    sum->expired += r->expired;
    sum->entries += r->entries;
    sum->elections += r->elections;
    sum->hashes += r->hashes;
    sum->messages += r->messages;
    sum->turns += r->turns;
    sum->busy_ms += r->busy_ms;
    sum->simulated_ms += r->simulated_ms;
    for (int i = 0; i < SIM_FAULTS; i++) {
        sum->faults[i] += r->faults[i];
    }
    for (int i = 0; i < SIM_HEAL_BUCKETS; i++) {
        sum->heals[i] += r->heals[i];
    }
    t->seeds++;
}

/* The time below which `part` of all heals were. */
static double heal_percentile(const struct sim_result *sum, double part)
{
    uint64_t count = 0, seen = 0;
    for (int i = 0; i < SIM_HEAL_BUCKETS; i++) {
        count += sum->heals[i];
    }
    for (int i = 0; i < SIM_HEAL_BUCKETS; i++) {
        seen += sum->heals[i];
        if (seen > 0 && (double)seen >= part * (double)count) {
            return (double)(i + 1) * SIM_HEAL_BUCKET_MS / 1000;
        }
    }
    return 0;
}

static void tell_totals(const struct totals *t)
{
    const struct sim_result *sum = &t->sum;
    double simulated = (double)sum->simulated_ms / 1000, busy = (double)sum->busy_ms / 1000;
    printf("sim: %" PRIu64 " seeds, %.0f simulated seconds (%.0f with clients at work), %.1f s of CPU: %.0f simulated "
           "seconds a CPU second\n",
           t->seeds, simulated, busy, t->cpu_seconds, simulated / t->cpu_seconds);
    printf("sim: %" PRIu64 " changes answered, %" PRIu64 " reads, %" PRIu64 " events, %" PRIu64 " expiries, %" PRIu64
           " hashes of stores checked; %.0f client operations a simulated second\n",
           sum->acknowledged, sum->reads, sum->events, sum->expired, sum->hashes,
           busy == 0 ? 0 : (double)(sum->acknowledged + sum->reads) / busy);
    printf("sim: %u crash points (%u power losses), %" PRIu64 " terms led, %" PRIu64 " messages, %" PRIu64
           " entries synced\n",
           sum->crashes, sum->power_losses, sum->elections, sum->messages, sum->entries);
    const char *separator = "sim: faults:";
    for (int i = 0; i < SIM_FAULTS; i++) {
        if (sum->faults[i] > 0) {
            printf("%s %" PRIu64 " %s", separator, sum->faults[i], sim_fault_name((enum sim_fault)i));
            separator = ",";
        }
    }
    printf("\n");
    if (heal_percentile(sum, 0.5) > 0) {
        printf("sim: from calm to the next commit: median below %.1f s, 95th percentile below %.1f s, all below %.1f "
               "s\n",
               heal_percentile(sum, 0.5), heal_percentile(sum, 0.95), heal_percentile(sum, 1));
    }
}

/* --- running -------------------------------------------------------------------------------------------------------
 */

/* 0 = passed. */
static int run_seed(const struct options *o, struct totals *total)
{
    struct sim_result first, second;
    clock_t from = clock();
    sim_run(&o->config, &first);
    total->cpu_seconds += (double)(clock() - from) / CLOCKS_PER_SEC;
    if (first.failed) {
        printf("seed %" PRIu64 ", %u members: FAILED: %s\n", o->config.seed, o->config.members, first.message);
        return 1;
    }
    tell(&o->config, &first);
    add(total, &first);
    if (o->once) {
        return 0;
    }
    struct sim_config quiet = o->config;
    quiet.verbose = false;
    sim_run(&quiet, &second);
    if (second.failed || second.trace != first.trace) {
        printf("seed %" PRIu64 ": FAILED: the second run went another way (trace %016" PRIx64 ") %s\n", o->config.seed,
               second.trace, second.message);
        return 1;
    }
    return 0;
}

static int hunt(struct options *o)
{
    char line[500];
    for (uint64_t n = 1; n <= o->hunt; n++, o->config.seed++) {
        if (sim_hunt_seed(&o->config, line, sizeof line)) {
            printf("%" PRIu64 " seeds (seed %" PRIu64 ", %u members): %s\n", n, o->config.seed, o->config.members,
                   line);
            return 0;
        }
    }
    printf("none of %" PRIu64 " seeds noticed anything\n", o->hunt);
    return 1;
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct options o = {.config = {.seed = 1, .members = 1}, .seeds = 1};
    for (int i = 1; i < argc; i++) {
        if (read_flag(&o, argv[i])) {
            continue;
        }
        if (i + 1 == argc || !read_option(&o, argv[i], argv[i + 1])) {
            return usage();
        }
        i++;
    }
    log_configure(LOG_PANIC, LOG_CONSOLE);
    if (o.hunt > 0) {
        return hunt(&o);
    }
    struct totals total = {0};
    double end = now_seconds() + o.seconds;
    bool more = true;
    while (more) {
        if (o.seconds > 0) {
            o.config.seed = random_entropy() >> 16;
        }
        if (run_seed(&o, &total) != 0) {
            return 1;
        }
        o.config.seed++;
        more = o.seconds > 0   ? now_seconds() < end
               : o.crashes > 0 ? total.sum.crashes < o.crashes
                               : total.seeds < o.seeds;
    }
    if (total.seeds > 1 || o.seconds > 0) {
        tell_totals(&total);
    }
    return 0;
}
