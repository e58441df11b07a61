/* What goes wrong. Storms, in which things happen one after the other, take turns with calm, in which everything is
 * mended and must work again soon. Each seed allows itself some of the kinds and not others, so that some runs are all
 * partitions and others all power cuts. A member alone has a life that ends at a call to its disk most of the time. */
#include "base/check.h"
#include "chaos/sim/internal.h"
#include "tests/support/memory_fs.h"
#include <errno.h>

#define MOST_LATENCY_MS 2
#define HEAL_WITHIN_MS (6 * SIM_ELECTION_MS)

static const enum sim_fault KINDS[] = {
    SIM_KILL, SIM_ALL_DOWN, SIM_PAUSE,    SIM_STALL,     SIM_DRIFT,  SIM_ISOLATE,   SIM_SPLIT, SIM_ONE_WAY,
    SIM_LINK, SIM_LOST,     SIM_TRANSFER, SIM_ADD_VOTER, SIM_REMOVE, SIM_DISK_DEAD, SIM_STEP,  SIM_FULL,
};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

static bool allowed(const struct sim *s, enum sim_fault kind)
{
    return s->nemesis.allowed & (UINT32_C(1) << kind);
}

static void fair_weather(struct sim *s)
{
    s->net.loss = s->net.doubling = s->net.reordering = 0;
    s->net.latency_ms = MOST_LATENCY_MS;
}

void sim_nemesis_init(struct sim *s)
{
    s->nemesis.next_ms = s->nemesis.heal_ms = s->nemesis.settle_ms = SIM_NEVER;
    fair_weather(s);
    s->nemesis.turn_ms = s->config.fair || s->config.members == 1 ? SIM_NEVER : s->now_ms + sim_between(s, 1000, 8000);
    for (size_t i = 0; i < KIND_COUNT && !s->config.fair; i++) {
        s->nemesis.allowed |= (uint32_t)random_below(&s->random, 2) << KINDS[i];
    }
    s->nemesis.allowed |= UINT32_C(1) << KINDS[random_below(&s->random, KIND_COUNT)]; /* one at least */
}

/* --- members -------------------------------------------------------------------------------------------------------
 */

/* The disk gives out at a call, most often; or the crash comes at a time. */
static void plan_single_life(struct sim_member *m)
{
    struct random *random = &m->sim->random;
    uint64_t kind = random_below(random, 10);
    uint64_t call = kind < 3 ? 1 + random_below(random, 60) : kind < 8 ? 1 + random_below(random, 500) : 0;
    memory_fs_fail(m->disk, call, -EIO, true);
    m->crash_ms = m->sim->now_ms + 50 + random_below(random, kind == 9 ? 12000 : 3000);
}

void sim_nemesis_life(struct sim_member *m)
{
    struct sim *s = m->sim;
    if (s->ending || s->config.fair) {
        return;
    }
    if (s->config.members == 1) {
        plan_single_life(m);
    } else if (s->nemesis.storm && allowed(s, SIM_DISK_DEAD)) {
        uint64_t call = sim_chance(s, 4) ? sim_between(s, 1, 80) : sim_chance(s, 2) ? sim_between(s, 1, 2000) : 0;
        memory_fs_fail(m->disk, call, -EIO, true);
    }
}

/* One that is up; the leader every other time. NULL if none is. */
static struct sim_member *victim(struct sim *s)
{
    struct sim_member *leader = sim_leader(s), *up[SIM_MEMBERS_MAX];
    size_t count = 0;
    if (leader != NULL && sim_chance(s, 2)) {
        return leader;
    }
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i].state == SIM_UP) {
            up[count++] = &s->members[i];
        }
    }
    return count == 0 ? NULL : up[random_below(&s->random, count)];
}

void sim_nemesis_imaged(struct sim_member *m)
{
    struct sim *s = m->sim;
    if (s->nemesis.storm && !m->leaving && sim_chance(s, 2)) {
        m->crash_ms = s->now_ms + random_below(&s->random, 500);
    }
}

static void kill_all(struct sim *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        struct sim_member *m = &s->members[i];
        if (m->state == SIM_UP && !m->leaving) {
            m->crash_ms = s->now_ms + random_below(&s->random, 30);
        }
    }
    sim_fault(s, SIM_ALL_DOWN, 0, 0);
}

void sim_nemesis_fill(struct sim_member *m, bool full)
{
    m->full = full;
    memory_fs_space(m->disk, full ? memory_fs_used(m->disk) + random_below(&m->sim->random, 4096) : UINT64_MAX);
}

static void harm(struct sim *s, enum sim_fault kind)
{
    struct sim_member *m = victim(s);
    if (m == NULL) {
        return;
    }
    if (kind == SIM_KILL && !m->leaving) {
        m->crash_ms = s->now_ms + random_below(&s->random, 5);
        return; /* counted when it happens */
    }
    if (kind == SIM_DISK_DEAD) {
        memory_fs_fail(m->disk, sim_between(s, 1, 200), -EIO, true);
        return;
    }
    if (kind == SIM_PAUSE) {
        m->paused_ms = s->now_ms + sim_between(s, 100, sim_chance(s, 3) ? 8000 : 1500);
    } else if (kind == SIM_STALL) {
        m->stalled_ms = s->now_ms + sim_between(s, 100, sim_chance(s, 3) ? 6000 : 1500);
        if (m->log_queue.due_ms != SIM_NEVER && m->log_queue.due_ms < m->stalled_ms) {
            m->log_queue.due_ms = m->stalled_ms;
        }
    } else if (kind == SIM_FULL) {
        sim_nemesis_fill(m, !m->full);
        if (!m->full) {
            return;
        }
    } else if (kind == SIM_STEP) {
        m->wall_ms = (int64_t)sim_between(s, 0, 7200000) - 3600000;
    } else if (kind == SIM_DRIFT) {
        sim_member_set_rate(m, sim_between(s, SIM_RATE_MIN, SIM_RATE_MAX));
    }
    sim_fault(s, kind, m->slot, 0);
}

/* --- links ---------------------------------------------------------------------------------------------------------
 */

static void cut_between(struct sim *s, uint32_t here, bool out, bool in)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        for (unsigned j = 0; j < s->member_count; j++) {
            if ((here >> i & 1) && !(here >> j & 1)) {
                sim_net_cut(s, i, j, out);
                sim_net_cut(s, j, i, in);
            }
        }
    }
}

/* All who have nothing to do ask the one that is cut off: a leader takes many entries then that nobody else gets. */
static void crowd(struct sim *s, struct sim_member *m)
{
    for (int i = 0; i < s->client_count; i++) {
        struct sim_client *c = &s->clients[i];
        if (c->state == SIM_IDLE) {
            c->at = m;
            c->due_ms = s->now_ms + random_below(&s->random, SIM_ELECTION_MS / 2);
        }
    }
}

static void partition(struct sim *s, enum sim_fault kind)
{
    struct sim_member *m = victim(s);
    if (m == NULL) {
        return;
    }
    sim_net_heal(s);
    if (kind == SIM_SPLIT) {
        cut_between(s, (uint32_t)random_below(&s->random, UINT64_C(1) << s->member_count), true, true);
    } else if (kind == SIM_ISOLATE) {
        cut_between(s, UINT32_C(1) << m->slot, true, true);
    } else if (kind == SIM_ONE_WAY) {
        bool out = sim_chance(s, 2);
        cut_between(s, UINT32_C(1) << m->slot, out, !out);
    } else {
        unsigned other = (unsigned)random_below(&s->random, s->member_count);
        sim_net_cut(s, m->slot, other, true);
        sim_net_cut(s, other, m->slot, true);
    }
    sim_net_links(s);
    s->nemesis.heal_ms = s->now_ms + sim_between(s, 100, sim_chance(s, 3) ? 12000 : 3000);
    if (s->client_count == SIM_CROWD) {
        crowd(s, m);
    }
    sim_fault(s, kind, m->slot, 0);
}

static void bad_weather(struct sim *s)
{
    fair_weather(s);
    if (sim_chance(s, 2)) {
        s->net.loss = (unsigned)sim_between(s, 1, sim_chance(s, 3) ? 500 : 50);
    }
    if (sim_chance(s, 2)) {
        s->net.doubling = (unsigned)sim_between(s, 1, 200);
    }
    if (sim_chance(s, 2)) {
        s->net.reordering = (unsigned)sim_between(s, 1, 500);
    }
    if (sim_chance(s, 2)) {
        s->net.latency_ms = sim_between(s, 5, sim_chance(s, 4) ? 2000 : 150);
    }
    s->nemesis.settle_ms = s->now_ms + sim_between(s, 500, 8000);
}

/* --- storm and calm ------------------------------------------------------------------------------------------------
 */

static void strike(struct sim *s)
{
    enum sim_fault kind;
    do {
        kind = KINDS[random_below(&s->random, KIND_COUNT)];
    } while (!allowed(s, kind));
    switch (kind) {
    case SIM_ALL_DOWN:
        if (sim_chance(s, 4)) {
            kill_all(s);
        }
        break;
    case SIM_ISOLATE:
    case SIM_SPLIT:
    case SIM_ONE_WAY:
    case SIM_LINK:
        partition(s, kind);
        break;
    case SIM_LOST:
        bad_weather(s);
        break;
    case SIM_TRANSFER:
        sim_reshape_transfer(s);
        break;
    case SIM_ADD_VOTER:
    case SIM_REMOVE:
        sim_reshape_members(s);
        break;
    default:
        harm(s, kind);
        break;
    }
}

static void mend(struct sim *s)
{
    s->nemesis.heal_ms = s->nemesis.settle_ms = s->nemesis.next_ms = SIM_NEVER;
    sim_net_heal(s);
    fair_weather(s);
    for (unsigned i = 0; i < s->member_count; i++) {
        sim_member_quiet(&s->members[i]);
    }
}

static void change_over(struct sim *s)
{
    s->nemesis.storm = !s->nemesis.storm;
    sim_trace(s, "weather", s->nemesis.storm, 0);
    if (s->nemesis.storm) {
        sim_check_heal_over(s);
        s->nemesis.next_ms = s->now_ms;
        s->nemesis.turn_ms = s->now_ms + sim_between(s, 2000, 20000);
    } else {
        mend(s);
        sim_check_healed(s, HEAL_WITHIN_MS);
        s->nemesis.turn_ms = s->now_ms + HEAL_WITHIN_MS + 500; /* sooner once it has healed */
    }
}

void sim_nemesis_run(struct sim *s)
{
    struct sim_nemesis *n = &s->nemesis;
    if (s->now_ms >= n->turn_ms) {
        change_over(s);
    }
    if (s->now_ms >= n->heal_ms) {
        n->heal_ms = SIM_NEVER;
        sim_net_heal(s);
    }
    if (s->now_ms >= n->settle_ms) {
        n->settle_ms = SIM_NEVER;
        fair_weather(s);
    }
    if (s->now_ms >= n->next_ms) {
        n->next_ms = s->now_ms + random_below(&s->random, sim_chance(s, 3) ? 3000 : 500);
        strike(s);
    }
}

void sim_nemesis_healed(struct sim *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        if (sim_member_serves(&s->members[i])) {
            sim_member_hash(&s->members[i]);
        }
    }
    if (!s->ending) {
        s->nemesis.turn_ms = s->now_ms + sim_between(s, 300, 4000);
    }
}

uint64_t sim_nemesis_due(const struct sim *s)
{
    const struct sim_nemesis *n = &s->nemesis;
    uint64_t due = n->next_ms < n->turn_ms ? n->next_ms : n->turn_ms;
    due = n->heal_ms < due ? n->heal_ms : due;
    return n->settle_ms < due ? n->settle_ms : due;
}

void sim_nemesis_end(struct sim *s)
{
    s->ending = true;
    s->nemesis.storm = false;
    s->nemesis.turn_ms = SIM_NEVER;
    mend(s);
    sim_check_healed(s, HEAL_WITHIN_MS);
}
