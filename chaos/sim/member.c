/* A member among others: its clock, its turn, who of them is there. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/internal.h"
#include "tests/support/memory_fs.h"
#include <stdlib.h>

#define WALL_BASE_MS INT64_C(1700000000000)
#define MEMBER_ID UINT64_C(0x8e9e05c521640000)
#define TURNS_MAX 100000 /* turns without time passing: the core spins */

struct sim_member *sim_member_of(struct sim *s, uint64_t id)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i].id == id && s->members[i].state != SIM_ABSENT) {
            return &s->members[i];
        }
    }
    return NULL;
}

static struct sim_member *free_slot(struct sim *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i].state == SIM_ABSENT) {
            return &s->members[i];
        }
    }
    return s->member_count < SIM_MEMBERS_MAX ? &s->members[s->member_count++] : NULL;
}

struct sim_member *sim_member_new(struct sim *s, uint64_t id)
{
    struct sim_member *m = free_slot(s);
    if (m == NULL) {
        return NULL;
    }
    *m = (struct sim_member){
        .sim = s,
        .slot = (unsigned)(m - s->members),
        .serial = ++s->serials_given,
        .state = SIM_DOWN,
        .first = id == 0,
        .start_ms = s->now_ms,
        .disk = memory_fs_new(),
        .rate = 1000,
        .clock_base = 1000 + random_below(&s->random, 100000),
        .clock_from = s->now_ms,
    };
    m->id = id != 0 ? id : MEMBER_ID + m->serial;
    *sim_table_at(&s->born, m->id) = 1;
    for (unsigned i = 0; i < SIM_MEMBERS_MAX; i++) {
        sim_net_cut(s, m->slot, i, false);
        sim_net_cut(s, i, m->slot, false);
        s->members[i].unreachable[m->slot] = false;
    }
    sim_trace(s, "member", m->slot, m->id);
    return m;
}

void sim_member_leave(struct sim_member *m)
{
    m->leaving = true;
    m->crash_ms = m->sim->now_ms + random_below(&m->sim->random, 200);
}

/* --- clock ---------------------------------------------------------------------------------------------------------
 */

uint64_t sim_member_clock(const struct sim_member *m)
{
    return m->clock_base + (m->sim->now_ms - m->clock_from) * m->rate / 1000;
}

int64_t sim_member_wall(const struct sim_member *m)
{
    return WALL_BASE_MS + (int64_t)m->sim->now_ms + m->wall_ms;
}

uint64_t sim_member_true_ms(const struct sim_member *m, uint64_t local_ms)
{
    if (local_ms == SIM_NEVER) {
        return SIM_NEVER;
    }
    uint64_t ahead = local_ms > m->clock_base ? local_ms - m->clock_base : 0;
    return m->clock_from + (ahead * 1000 + m->rate - 1) / m->rate;
}

void sim_member_set_rate(struct sim_member *m, uint64_t rate)
{
    m->clock_base = sim_member_clock(m);
    m->clock_from = m->sim->now_ms;
    m->rate = rate;
}

/* --- HashKV --------------------------------------------------------------------------------------------------------
 */

static void hashed(struct core_hash *hash, int error)
{
    struct sim_member *m = hash->owner;
    if (error == 0) {
        sim_check_hash(m, &hash->result);
    } else if (error != ERR_STOPPED) {
        sim_fail(m->sim, "member %u: HashKV: %s", m->slot, error_name(error));
    }
    free(hash);
    m->hash = NULL;
}

void sim_member_hash(struct sim_member *m)
{
    if (m->hash != NULL) {
        return;
    }
    m->hash = mem_zalloc(sizeof *m->hash);
    m->hash->done = hashed;
    m->hash->owner = m;
    m->dirty = true;
    int error = core_hash(m->core, m->hash, KV_HASH_KV, 0);
    if (error != 0) { /* known already, or refused */
        hashed(m->hash, error == CORE_READY ? 0 : error);
    }
}

/* --- turns ---------------------------------------------------------------------------------------------------------
 */

bool sim_member_awake(const struct sim_member *m)
{
    return m->state == SIM_UP && m->sim->now_ms >= m->paused_ms;
}

bool sim_member_serves(const struct sim_member *m)
{
    return sim_member_awake(m) && !m->leaving && core_ready(m->core);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sim_member_due(const struct sim_member *m)
{
    if (m->state == SIM_ABSENT) {
        return SIM_NEVER;
    }
    if (m->state == SIM_DOWN) {
        return m->leaving ? m->crash_ms : m->start_ms;
    }
    uint64_t due = m->dirty ? m->sim->now_ms : sim_member_true_ms(m, core_deadline(m->core));
    due = earlier(due, sim_jobs_due(m));
    if (due < m->paused_ms) {
        due = m->paused_ms;
    }
    return earlier(due, m->crash_ms);
}

static void tell_unreachable(struct sim_member *m)
{
    for (unsigned i = 0; i < m->sim->member_count; i++) {
        if (m->unreachable[i]) {
            m->unreachable[i] = false;
            core_unreachable(m->core, m->sim->members[i].id);
        }
    }
}

/* Once in each life. */
static void check_start(struct sim_member *m)
{
    if (!m->checked && !m->sim->result->failed && m->shadow.applied >= m->recovered && sim_check_current(m)) {
        m->checked = true;
        sim_check_state(m);
        if (m->life % 3 == 0) {
            sim_member_hash(m);
        }
    }
}

static void turns(struct sim_member *m)
{
    struct sim *s = m->sim;
    m->dirty = false;
    tell_unreachable(m);
    unsigned count = 0;
    bool more = true;
    while (more && !s->result->failed) {
        more = core_turn(m->core, sim_member_clock(m), sim_member_wall(m));
        m->kv = core_kv(m->core); /* an image may have brought another one */
        s->result->turns++;
        sim_check_role(m);
        sim_check_applied(m);
        sim_check_answered(s);
        check_start(m);
        if (++count > TURNS_MAX) {
            sim_fail(s, "member %u takes turns without end", m->slot);
        }
    }
}

static bool to_be_stopped(const struct sim_member *m)
{
    return m->sim->now_ms >= m->crash_ms;
}

/* A removed member is kept until all voters know of it. If one of them did not, and took the removed one for part of
 * the quorum that it needs, it could never be elected, in etcd no more than here: a change of members counts only where
 * it was applied (raft.md). */
static bool may_end(const struct sim_member *m)
{
    size_t voters = 0;
    for (unsigned i = 0; i < m->sim->member_count; i++) {
        const struct sim_member *other = &m->sim->members[i];
        if (other == m || other->leaving || other->state == SIM_ABSENT) {
            continue;
        }
        if (other->state == SIM_DOWN) {
            return false;
        }
        const struct kv_member *self = kv_member(other->kv, other->id);
        if (self == NULL || self->learner) {
            continue; /* new, or no voter */
        }
        if (!kv_member_removed(other->kv, m->id)) {
            return false;
        }
        voters++;
    }
    return voters > 0;
}

static void end_or_wait(struct sim_member *m)
{
    if (may_end(m)) {
        sim_life_end(m);
        return;
    }
    m->crash_ms = m->sim->now_ms + 100;
    if (m->state == SIM_DOWN) { /* it starts once more, and learns again that it was removed */
        m->leaving = false;
        m->start_ms = m->sim->now_ms;
    }
}

void sim_member_run(struct sim_member *m)
{
    struct sim *s = m->sim;
    if (m->state == SIM_DOWN && !m->leaving && s->now_ms >= m->start_ms) {
        sim_life_start(m);
        m->dirty = true;
    }
    if (s->result->failed) {
        return;
    }
    if (m->state == SIM_UP && !m->crashed && !to_be_stopped(m) && s->now_ms >= m->paused_ms) {
        bool due = sim_jobs_run(m) || m->dirty || core_deadline(m->core) <= sim_member_clock(m);
        if (due && !m->crashed) {
            turns(m);
        }
    }
    if (m->state != SIM_ABSENT && m->leaving && !m->crashed && to_be_stopped(m)) {
        end_or_wait(m);
    } else if (m->state != SIM_ABSENT && (m->crashed || (m->state == SIM_UP && to_be_stopped(m)))) {
        sim_life_crash(m);
    }
}

struct sim_member *sim_leader(struct sim *s)
{
    struct sim_member *leader = NULL;
    uint64_t term = 0;
    for (unsigned i = 0; i < s->member_count; i++) {
        struct sim_member *m = &s->members[i];
        if (m->state != SIM_UP) {
            continue;
        }
        struct raft_status status = core_raft_status(m->core);
        if (status.role == RAFT_LEADER && status.term > term) {
            leader = m;
            term = status.term;
        }
    }
    return leader;
}

void sim_member_quiet(struct sim_member *m)
{
    if (m->state == SIM_ABSENT) {
        return;
    }
    memory_fs_fail(m->disk, 0, 0, false);
    sim_nemesis_fill(m, false);
    m->paused_ms = m->stalled_ms = 0;
    if (m->log_queue.due_ms != SIM_NEVER && m->log_queue.due_ms > m->sim->now_ms + 5) {
        m->log_queue.due_ms = m->sim->now_ms; /* the disk stood still */
    }
    if (!m->leaving) {
        m->crash_ms = SIM_NEVER;
    }
    if (m->state == SIM_DOWN && m->start_ms > m->sim->now_ms + 50) {
        m->start_ms = m->sim->now_ms + random_below(&m->sim->random, 50);
    }
}
