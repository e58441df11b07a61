/* Virtual time. A life is a loop over what is due: jobs, clients, the core's turn. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/internal.h"
#include "tests/support/memory_fs.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WALL_BASE_MS INT64_C(1700000000000)
#define SETTLE_MS 30000  /* a start that takes longer than this is stuck */
#define QUIET_MS 60000   /* leases must be gone after this */
#define TURNS_MAX 100000 /* turns without time passing: the core spins */

const char *sim_canary_name(enum sim_canary canary)
{
    static const char *const names[SIM_CANARIES] = {"none", "lying-sync", "lost-event", "fast-clock", "wrong-apply"};
    return names[canary];
}

void sim_fail(struct sim *s, const char *format, ...)
{
    if (s->result->failed) {
        return;
    }
    s->result->failed = true;
    char *out = s->result->message;
    size_t size = sizeof s->result->message;
    int n = snprintf(out, size, "life %u, %llu ms: ", s->life, (unsigned long long)s->now_ms);
    va_list args;
    va_start(args, format);
    vsnprintf(out + n, size - (size_t)n, format, args);
    va_end(args);
}

void sim_trace(struct sim *s, const char *what, uint64_t a, uint64_t b)
{
    const uint64_t words[] = {(uint64_t)what[0] << 8 | (uint64_t)what[1], s->now_ms, a, b};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        s->result->trace = (s->result->trace ^ words[i]) * 0x100000001b3ULL;
        s->result->trace ^= s->result->trace >> 29;
    }
    if (s->config.verbose) {
        fprintf(stderr, "%u %8llu %-10s %llx %llx\n", s->life, (unsigned long long)s->now_ms, what,
                (unsigned long long)a, (unsigned long long)b);
    }
}

uint64_t sim_core_now(const struct sim *s)
{
    return s->config.canary == SIM_CANARY_FAST_CLOCK ? s->now_ms + s->now_ms / 2 : s->now_ms;
}

/* --- a life --------------------------------------------------------------------------------------------------------
 */

static uint64_t next_due(const struct sim *s, bool working)
{
    uint64_t due = sim_jobs_due(s), core = core_deadline(s->core);
    if (s->config.canary == SIM_CANARY_FAST_CLOCK && core != UINT64_MAX) {
        core = (core * 2 + 2) / 3;
    }
    due = core < due ? core : due;
    for (int i = 0; i < SIM_WATCHERS; i++) {
        due = s->watchers[i].due_ms < due ? s->watchers[i].due_ms : due;
    }
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &s->clients[i];
        bool runs = working || c->state == SIM_HOLDING;
        due = runs && c->due_ms < due ? c->due_ms : due;
    }
    return due;
}

/* One moment: all that is due, then the core's turns. */
static void moment(struct sim *s, bool working)
{
    sim_jobs_run(s);
    if (s->crashed) {
        return;
    }
    for (int i = 0; i < SIM_CLIENTS; i++) {
        if (working || s->clients[i].state == SIM_HOLDING) {
            sim_client_run(&s->clients[i]);
        }
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        sim_watcher_run(&s->watchers[i]);
    }
    unsigned turns = 0;
    while (core_turn(s->core, sim_core_now(s), WALL_BASE_MS + (int64_t)s->now_ms)) {
        if (++turns > TURNS_MAX) {
            sim_fail(s, "the core takes turns without end");
            return;
        }
    }
}

/* Lets time pass until `until`, or until `enough` says so (then true). */
static bool pass(struct sim *s, uint64_t until, bool working, bool (*enough)(struct sim *s))
{
    unsigned still = 0;
    while (!s->crashed && !s->result->failed) {
        moment(s, working);
        if (s->crashed || (enough != NULL && enough(s))) {
            return !s->crashed;
        }
        uint64_t next = next_due(s, working);
        if (next <= s->now_ms) {
            if (++still > TURNS_MAX) {
                sim_fail(s, "time stands still");
            }
            continue;
        }
        still = 0;
        if (next > until) {
            s->now_ms = until;
            return false;
        }
        s->now_ms = next;
    }
    return false;
}

static bool settled(struct sim *s)
{
    return core_ready(s->core) && kv_applied_index(s->kv) >= s->recovered;
}

static void hashed(struct core_hash *hash, int error)
{
    struct sim *s = hash->owner;
    if (error != 0) {
        sim_fail(s, "HashKV: %s", error_name(error));
    } else {
        sim_check_hash(&s->check, &hash->result);
    }
    free(hash);
    s->hash = NULL;
    s->hashed = true;
}

static bool is_hashed(struct sim *s)
{
    return s->hashed;
}

static void compare_hash(struct sim *s)
{
    s->hashed = false;
    s->hash = mem_zalloc(sizeof *s->hash);
    s->hash->done = hashed;
    s->hash->owner = s;
    int error = core_hash(s->core, s->hash, KV_HASH_KV, 0);
    if (error != 0) { /* known already, or refused */
        hashed(s->hash, error == CORE_READY ? 0 : error);
    } else if (!pass(s, s->now_ms + SETTLE_MS, false, is_hashed) && !s->crashed) {
        sim_fail(s, "HashKV never came");
    }
}

/* A start and the checks of what it found; false when the life is over already. */
static bool begin(struct sim *s)
{
    sim_life_start(s);
    if (s->crashed || s->result->failed) {
        return false;
    }
    if (!pass(s, s->now_ms + SETTLE_MS, false, settled)) {
        if (!s->crashed) {
            sim_fail(s, "the member doesn't get ready");
        }
        return false;
    }
    sim_check_state(&s->check);
    if (s->life % 3 == 0 && !s->result->failed) {
        compare_hash(s);
    }
    return !s->crashed && !s->result->failed;
}

/* The disk gives out at a call, most often; or the crash comes at a time. */
static uint64_t plan_crash(struct sim *s)
{
    uint64_t kind = random_below(&s->random, 10);
    uint64_t call = kind < 3 ? 1 + random_below(&s->random, 60) : kind < 8 ? 1 + random_below(&s->random, 500) : 0;
    memory_fs_fail(s->disk, call, -EIO, true);
    return 50 + random_below(&s->random, kind == 9 ? 12000 : 3000);
}

static void one_life(struct sim *s)
{
    uint64_t length = plan_crash(s);
    if (begin(s)) {
        pass(s, s->now_ms + length, true, NULL);
    }
    sim_life_crash(s);
    s->now_ms += 20 + random_below(&s->random, 200);
}

/* --- the last life -------------------------------------------------------------------------------------------------
 */

static bool stopped(struct sim *s)
{
    return core_stopped(s->core);
}

static void last_life(struct sim *s)
{
    memory_fs_fail(s->disk, 0, 0, false);
    if (!begin(s)) {
        return;
    }
    pass(s, s->now_ms + 2000, true, NULL);
    s->quiet = true;
    pass(s, s->now_ms + QUIET_MS, true, NULL);
    if (!s->result->failed && lease_count(kv_leases(s->kv)) > 0) {
        sim_fail(s, "%zu leases never expired", lease_count(kv_leases(s->kv)));
    }
    core_stop(s->core);
    if (!s->result->failed && !pass(s, s->now_ms + SETTLE_MS, false, stopped)) {
        sim_fail(s, "the member doesn't stop");
    }
}

/* Started once more, everything must be there and nothing may be missing. */
static void audit(struct sim *s)
{
    sim_life_stop(s);
    memory_fs_kill(s->disk);
    if (begin(s)) {
        sim_check_watches(s, true);
        compare_hash(s);
    }
}

static void lie(struct sim *s);

static void set_up(struct sim *s)
{
    random_seed(&s->random, s->config.seed);
    s->now_ms = 1000;
    s->disk = memory_fs_new();
    sim_check_init(s);
    if (s->config.canary == SIM_CANARY_LYING_SYNC) {
        lie(s);
    }
    for (int i = 0; i < SIM_CLIENTS; i++) {
        s->clients[i].sim = s;
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        s->watchers[i].sim = s;
        s->watchers[i].due_ms = SIM_NEVER;
        sim_watch_init(&s->watchers[i]);
    }
}

static void tear_down(struct sim *s)
{
    sim_life_stop(s);
    for (int i = 0; i < SIM_CLIENTS; i++) {
        buffer_free(&s->clients[i].rows);
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        for (int j = 0; j < SIM_WATCHES; j++) {
            free(s->watchers[i].watches[j].records);
        }
    }
    s->result->revision = (uint64_t)s->check.model.revision;
    sim_check_free(&s->check);
    backend_close(s->backend);
    memory_fs_free(s->disk);
}

void sim_run(const struct sim_config *config, struct sim_result *result)
{
    *result = (struct sim_result){.trace = config->seed};
    struct sim *s = mem_zalloc(sizeof *s);
    s->config = *config;
    s->result = result;
    set_up(s);
    unsigned lives = config->lives != 0 ? config->lives : 5 + (unsigned)random_below(&s->random, 25);
    for (unsigned i = 0; i < lives && !result->failed; i++) {
        one_life(s);
    }
    if (!result->failed) {
        last_life(s);
    }
    if (!result->failed) {
        audit(s);
    }
    tear_down(s);
    free(s);
}

/* --- a planted fault -----------------------------------------------------------------------------------------------
 */

static int lying_sync(struct wal_file *file)
{
    (void)file;
    return 0;
}

static void lie(struct sim *s)
{
    ((struct wal_fs *)(uintptr_t)memory_fs_vtable(s->disk))->sync = lying_sync;
}
