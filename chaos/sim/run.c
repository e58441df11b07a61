/* Virtual time: a loop over what is due. A cluster's life has three parts: storms and calm in turns with clients at
 * work; a quiet end, in which nothing goes wrong and leases run out; and the audit, for which all members start once
 * more and must have everything. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/image.h"
#include "chaos/sim/internal.h"
#include "tests/support/memory_fs.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SETTLE_MS 30000 /* what takes longer than this is stuck */
#define QUIET_MS 60000  /* leases must be gone after this */
#define MOMENTS_MAX 100000

const char *sim_canary_name(enum sim_canary canary)
{
    static const char *const names[SIM_CANARIES] = {"none", "lying-sync", "lost-event", "fast-clock", "wrong-apply"};
    return names[canary];
}

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[SIM_FAULTS] = {
        "kills",
        "power losses",
        "dead disks",
        "all down",
        "pauses",
        "disk stalls",
        "full disks",
        "refusals",
        "clock drifts",
        "wall clock steps",
        "isolations",
        "splits",
        "one-way cuts",
        "link cuts",
        "messages lost",
        "messages late",
        "messages doubled",
        "messages overtaken",
        "images cut",
        "images",
        "leader transfers",
        "voters added",
        "learners added",
        "promotions",
        "removals",
    };
    return names[fault];
}

void sim_fail(struct sim *s, const char *format, ...)
{
    if (s->result->failed) {
        return;
    }
    s->result->failed = true;
    char *out = s->result->message;
    size_t size = sizeof s->result->message;
    int n = snprintf(out, size, "at %llu ms: ", (unsigned long long)s->now_ms);
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
        fprintf(stderr, "%8llu %-10s %llx %llx\n", (unsigned long long)s->now_ms, what, (unsigned long long)a,
                (unsigned long long)b);
    }
}

/* Where everybody stands, for the story. */
void sim_tell(struct sim *s)
{
    for (size_t i = 0; i < s->check.model.alarm_count && s->config.verbose; i++) {
        fprintf(stderr, "member %llx has no space\n", (unsigned long long)s->check.model.alarms[i]);
    }
    for (unsigned i = 0; i < s->member_count && s->config.verbose; i++) {
        const struct sim_member *m = &s->members[i];
        fprintf(stderr, "member %u (%llx): state %d leaving %d saved %zu durable %llu applied %llu of %zu\n", i,
                (unsigned long long)m->id, (int)m->state, m->leaving, m->shadow.count,
                (unsigned long long)m->shadow.durable, (unsigned long long)m->shadow.applied, s->check.log_count);
        if (m->state == SIM_UP) {
            struct raft_status status = raft_status(m->raft);
            fprintf(stderr,
                    "    ready %d, %s of term %llu, leader %llx, commit %llu, installing %d, voter %d, voters %zu, due "
                    "%llu, "
                    "paused until %llu\n",
                    core_ready(m->core), raft_role_name(status.role), (unsigned long long)status.term,
                    (unsigned long long)status.leader, (unsigned long long)status.commit, status.installing,
                    status.voter, raft_conf(m->raft)->voters.count, (unsigned long long)sim_member_due(m),
                    (unsigned long long)m->paused_ms);
        }
    }
}

void sim_fault(struct sim *s, enum sim_fault fault, uint64_t a, uint64_t b)
{
    s->result->faults[fault]++;
    sim_trace(s, sim_fault_name(fault), a, b);
}

bool sim_chance(struct sim *s, uint64_t of)
{
    return random_below(&s->random, of) == 0;
}

uint64_t sim_between(struct sim *s, uint64_t from, uint64_t to)
{
    return from + random_below(&s->random, to - from + 1);
}

/* --- time ----------------------------------------------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(struct sim *s)
{
    uint64_t due = earlier(sim_net_due(s), earlier(sim_nemesis_due(s), sim_calls_due(s)));
    due = earlier(due, sim_images_due(s));
    for (unsigned i = 0; i < s->member_count; i++) {
        due = earlier(due, sim_member_due(&s->members[i]));
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        due = earlier(due, sim_watcher_due(&s->watchers[i]));
    }
    for (int i = 0; i < s->client_count; i++) {
        const struct sim_client *c = &s->clients[i];
        due = !s->idle || c->state != SIM_IDLE ? earlier(due, c->due_ms) : due;
    }
    return due;
}

static void run_clients(struct sim *s)
{
    for (int i = 0; i < s->client_count; i++) {
        sim_client_run(&s->clients[i]);
    }
}

/* One moment: all that is due. What clients ask may come before or after what other members say. */
static void moment(struct sim *s)
{
    bool clients_first = s->net.sequence & 1;
    sim_nemesis_run(s);
    sim_reshape_look(s);
    if (clients_first) {
        run_clients(s);
    }
    sim_net_run(s);
    sim_calls_run(s);
    sim_images_run(s);
    if (!clients_first) {
        run_clients(s);
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        sim_watcher_run(&s->watchers[i]);
    }
    for (unsigned i = 0; i < s->member_count && !s->result->failed; i++) {
        sim_member_run(&s->members[i]);
    }
    sim_check_heal(s);
}

bool sim_pass(struct sim *s, uint64_t until, bool (*enough)(struct sim *s))
{
    unsigned still = 0;
    while (!s->result->failed) {
        moment(s);
        if (enough != NULL && enough(s)) {
            return true;
        }
        uint64_t next = next_due(s);
        if (next <= s->now_ms) {
            if (++still > MOMENTS_MAX) {
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

static void must(struct sim *s, bool (*enough)(struct sim *s), uint64_t within_ms, const char *what)
{
    if (!s->result->failed && !sim_pass(s, s->now_ms + within_ms, enough)) {
        sim_tell(s);
        sim_fail(s, "%s", what);
    }
}

/* --- the parts of a life -------------------------------------------------------------------------------------------
 */

/* One member: until it has crashed so often. */
static bool crashed_enough(struct sim *s)
{
    return s->result->crashes >= s->config.lives;
}

static void busy(struct sim *s)
{
    uint64_t from = s->now_ms;
    if (s->config.members == 1) {
        sim_pass(s, SIM_NEVER - 1, crashed_enough);
    } else {
        sim_pass(s, s->now_ms + s->config.seconds * UINT64_C(1000), NULL);
    }
    s->result->busy_ms = s->now_ms - from;
}

static bool each_up(struct sim *s, bool (*is)(struct sim_member *m))
{
    for (unsigned i = 0; i < s->member_count; i++) {
        struct sim_member *m = &s->members[i];
        if (m->state != SIM_ABSENT && (m->state == SIM_DOWN || m->leaving || !is(m))) {
            return false;
        }
    }
    return true;
}

/* Who raised it for a full disk takes it back; one that was removed can't. */
static bool has_alarm(struct sim_member *m)
{
    const struct model *model = &m->sim->check.model;
    for (size_t i = 0; i < model->alarm_count; i++) {
        if (sim_member_of(m->sim, model->alarms[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool member_settled(struct sim_member *m)
{
    return core_ready(m->core) && m->shadow.applied >= m->recovered && sim_check_current(m) && !has_alarm(m);
}

static bool settled(struct sim *s)
{
    return each_up(s, member_settled);
}

static bool member_without_leases(struct sim_member *m)
{
    return lease_count(kv_leases(m->kv)) == 0 && sim_check_current(m);
}

static bool leases_gone(struct sim *s)
{
    return each_up(s, member_without_leases);
}

static bool member_stopped(struct sim_member *m)
{
    return core_stopped(m->core);
}

static bool stopped(struct sim *s)
{
    return each_up(s, member_stopped);
}

/* Nothing goes wrong any more. */
static void quiet_end(struct sim *s)
{
    sim_nemesis_end(s);
    must(s, settled, SETTLE_MS, "the members don't settle");
    sim_pass(s, s->now_ms + 2000, NULL);
    s->quiet = true;
    must(s, leases_gone, QUIET_MS, "leases never expire");
    sim_pass(s, s->now_ms + 5000, NULL);
    sim_check_watches_complete(s);
}

static void stop_all(struct sim *s)
{
    s->idle = true;
    for (int i = 0; i < SIM_WATCHERS; i++) {
        sim_watcher_cut(&s->watchers[i]);
    }
    for (unsigned i = 0; i < s->member_count && !s->result->failed; i++) {
        if (s->members[i].state == SIM_UP) {
            core_stop(s->members[i].core);
            s->members[i].dirty = true;
        }
    }
    must(s, stopped, SETTLE_MS, "the members don't stop");
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i].state != SIM_ABSENT) {
            sim_life_stop(&s->members[i]);
            s->members[i].start_ms = s->now_ms;
        }
    }
}

/* --- the audit -----------------------------------------------------------------------------------------------------
 */

static bool member_hashed(struct sim_member *m)
{
    return m->hash == NULL;
}

static bool all_hashed(struct sim *s)
{
    return each_up(s, member_hashed);
}

/* Started once more, all members must have everything. */
static void audit(struct sim *s)
{
    must(s, settled, SETTLE_MS, "the members don't settle for the audit");
    for (unsigned i = 0; i < s->member_count && !s->result->failed; i++) {
        if (s->members[i].state == SIM_UP) {
            sim_check_state(&s->members[i]);
            sim_member_hash(&s->members[i]);
        }
    }
    must(s, all_hashed, SETTLE_MS, "HashKV never comes");
}

/* --- */

static int lying_sync(struct wal_file *file)
{
    (void)file;
    return 0;
}

static void plant(struct sim *s, struct sim_member *m)
{
    if (s->config.canary == SIM_CANARY_LYING_SYNC) {
        ((struct wal_fs *)(uintptr_t)memory_fs_vtable(m->disk))->sync = lying_sync;
    }
}

static void set_up(struct sim *s)
{
    random_seed(&s->random, s->config.seed);
    s->now_ms = 1000;
    s->config.members = s->config.members == 0 ? 1 : s->config.members;
    if (s->config.lives == 0) {
        s->config.lives = 5 + (unsigned)random_below(&s->random, 25);
    }
    if (s->config.seconds == 0) {
        s->config.seconds = (unsigned)sim_between(s, 20, 120);
    }
    list_init(&s->calls);
    list_init(&s->images);
    sim_check_init(s);
    sim_nemesis_init(s);
    for (unsigned i = 0; i < s->config.members; i++) {
        struct sim_member *m = sim_member_new(s, 0);
        s->first_ids[i] = m->id;
        plant(s, m);
    }
    s->short_logs = sim_chance(s, 2);
    s->client_count = s->short_logs ? SIM_CROWD : SIM_CLIENTS;
    s->lease_checkpoints = sim_chance(s, 3);
    for (int i = 0; i < s->client_count; i++) {
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
    for (unsigned i = 0; i < s->member_count; i++) {
        sim_life_end(&s->members[i]);
    }
    for (int i = 0; i < s->client_count; i++) {
        buffer_free(&s->clients[i].rows);
        arena_free(&s->clients[i].arena);
    }
    s->result->revision = (uint64_t)s->check.model.revision;
    s->result->simulated_ms = s->now_ms;
    sim_table_free(&s->born);
    sim_net_free(s);
    sim_calls_free(s);
    sim_images_free(s);
    sim_check_free(s);
}

void sim_run(const struct sim_config *config, struct sim_result *result)
{
    *result = (struct sim_result){.trace = config->seed};
    struct sim *s = mem_zalloc(sizeof *s);
    s->config = *config;
    s->result = result;
    set_up(s);
    busy(s);
    if (!result->failed) {
        quiet_end(s);
    }
    if (!result->failed) {
        stop_all(s);
    }
    if (!result->failed) {
        audit(s);
    }
    tear_down(s);
    free(s);
}
