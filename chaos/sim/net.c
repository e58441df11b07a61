/* The network between members: every message as the bytes that would travel, on its way for a random while. A link is a
 * direction between two members. In fair weather what is sent on a link arrives in order; in a storm it may get lost,
 * come late, twice (but for proposals: a stream repeats nothing, and nobody looks for doubled ones), or after what was
 * sent later. A cut link swallows everything, also what is under way; the sender sometimes notices. */
#include "base/check.h"
#include "chaos/sim/image.h"
#include "chaos/sim/internal.h"
#include "raft/message.h"
#include <stdlib.h>

#define SEQUENCE_BITS 20
#define LATE_MS SIM_HEARTBEAT_MS

struct packet {
    struct heap_node node;
    uint64_t from, to;
    enum raft_message_type type;
    struct buffer bytes;
};

static void put(struct sim *s, struct packet *p, uint64_t due_ms)
{
    uint64_t order = s->net.sequence++ & ((UINT64_C(1) << SEQUENCE_BITS) - 1);
    heap_insert(&s->net.packets, &p->node, due_ms << SEQUENCE_BITS | order);
}

static uint64_t due_of(const struct packet *p)
{
    return p->node.key >> SEQUENCE_BITS;
}

static void drop(struct packet *p)
{
    buffer_free(&p->bytes);
    free(p);
}

/* --- links ---------------------------------------------------------------------------------------------------------
 */

static bool cut(const struct sim *s, const struct sim_member *from, const struct sim_member *to)
{
    return s->net.cut[from->slot][to->slot];
}

static bool reached(const struct sim *s, const struct sim_member *a, const struct sim_member *b)
{
    return a->state == SIM_UP && b->state == SIM_UP && !cut(s, a, b) && !cut(s, b, a);
}

void sim_net_links(struct sim *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        for (unsigned j = 0; j < s->member_count; j++) {
            struct sim_member *m = &s->members[i];
            if (!reached(s, m, &s->members[j])) {
                m->reached_since_ms[j] = 0;
            } else if (m->reached_since_ms[j] == 0) {
                m->reached_since_ms[j] = s->now_ms;
            }
        }
    }
}

void sim_net_cut(struct sim *s, unsigned from, unsigned to, bool is_cut)
{
    s->net.cut[from][to] = is_cut;
}

void sim_net_heal(struct sim *s)
{
    memset(s->net.cut, 0, sizeof s->net.cut);
    sim_net_links(s);
}

/* --- sending -------------------------------------------------------------------------------------------------------
 */

static uint64_t latency(struct sim *s, const struct sim_member *from, const struct sim_member *to)
{
    uint64_t *last = &s->net.last_due[from->slot][to->slot];
    uint64_t due = s->now_ms + random_below(&s->random, s->net.latency_ms + 1);
    bool overtakes = random_below(&s->random, 1000) < s->net.reordering;
    if (due < *last && !overtakes) {
        due = *last;
    } else if (due < *last) {
        s->result->faults[SIM_OVERTAKEN]++;
    }
    *last = due > *last ? due : *last;
    s->result->faults[SIM_LATE] += due > s->now_ms + LATE_MS;
    return due;
}

static void post(struct sim *s, struct sim_member *from, struct sim_member *to, const struct raft_message *message)
{
    struct packet *p = mem_zalloc(sizeof *p);
    p->from = from->id;
    p->to = to->id;
    p->type = message->type;
    raft_message_encode(&p->bytes, message);
    put(s, p, latency(s, from, to));
    s->result->messages++;
}

static void send_one(struct sim_member *m, const struct raft_message *message)
{
    struct sim *s = m->sim;
    struct sim_member *to = sim_member_of(s, message->to);
    sim_check_sending(m, message);
    if (to == NULL) {
        return;
    }
    if (cut(s, m, to) || to->state != SIM_UP) {
        m->unreachable[to->slot] |= sim_chance(s, 2);
        return;
    }
    if (random_below(&s->random, 1000) < s->net.loss) {
        s->result->faults[SIM_LOST]++;
        m->unreachable[to->slot] |= sim_chance(s, 4);
        return;
    }
    post(s, m, to, message);
    if (message->type != RAFT_MSG_PROPOSE && random_below(&s->random, 1000) < s->net.doubling) {
        s->result->faults[SIM_DOUBLED]++;
        post(s, m, to, message);
    }
}

static struct sim_member *member_of(struct core_env *env)
{
    return container_of(env, struct sim_member, env);
}

static void send(struct core_env *env, const struct raft_message *messages, size_t count)
{
    struct sim_member *m = member_of(env);
    for (size_t i = 0; i < count && !m->dying; i++) {
        send_one(m, &messages[i]);
    }
}

/* --- receiving -----------------------------------------------------------------------------------------------------
 */

/* A member that was removed is told so by those that know it (peer.md "removed member"). */
static bool refused(struct sim_member *m, struct sim_member *from)
{
    if (!kv_member_removed(m->kv, from->id)) {
        return false;
    }
    if (!from->leaving && from->state == SIM_UP) {
        sim_member_leave(from);
    }
    return true;
}

static void deliver(struct sim *s, struct packet *p)
{
    struct sim_member *from = sim_member_of(s, p->from), *to = sim_member_of(s, p->to);
    if (from == NULL || to == NULL || to->state != SIM_UP || to->crashed || cut(s, from, to) || refused(to, from)) {
        drop(p);
        return;
    }
    if (s->now_ms < to->paused_ms) { /* it waits in the socket */
        put(s, p, to->paused_ms);
        return;
    }
    struct raft_message_owner owner = {0};
    struct raft_message message;
    sim_trace(s, "message", (uint64_t)p->type << 32 | from->slot << 8 | to->slot, p->bytes.len);
    if (raft_message_decode(buffer_bytes(&p->bytes), &message, &owner) != 0) {
        sim_fail(s, "a message of type %d is unreadable", (int)p->type);
    } else {
        core_step(to->core, &message);
        to->dirty = true;
    }
    raft_message_owner_free(&owner);
    drop(p);
}

void sim_net_run(struct sim *s)
{
    struct heap_node *node;
    while ((node = heap_min(&s->net.packets)) != NULL) {
        struct packet *p = container_of(node, struct packet, node);
        if (due_of(p) > s->now_ms || s->result->failed) {
            return;
        }
        heap_remove(&s->net.packets, node);
        deliver(s, p);
    }
}

uint64_t sim_net_due(const struct sim *s)
{
    struct heap_node *node = heap_min(&s->net.packets);
    return node == NULL ? SIM_NEVER : due_of(container_of(node, struct packet, node));
}

void sim_net_free(struct sim *s)
{
    struct heap_node *node;
    while ((node = heap_min(&s->net.packets)) != NULL) {
        heap_remove(&s->net.packets, node);
        drop(container_of(node, struct packet, node));
    }
    heap_free(&s->net.packets);
}

/* --- what else the core wants to know ------------------------------------------------------------------------------
 */

static void members_changed(struct core_env *env)
{
    struct sim_member *m = member_of(env);
    if (!m->dying && !m->leaving && kv_member_removed(m->kv, m->id)) {
        sim_member_leave(m);
    }
}

static uint64_t active_since_ms(struct core_env *env, uint64_t id)
{
    struct sim_member *m = member_of(env), *other = sim_member_of(m->sim, id);
    uint64_t since = other == NULL ? 0 : m->reached_since_ms[other->slot];
    if (since == 0) {
        return 0;
    }
    uint64_t now = sim_member_clock(m), ago = (m->sim->now_ms - since) * m->rate / 1000;
    return ago < now ? now - ago : 1;
}

void sim_net_env(struct core_env *env)
{
    env->send = send;
    env->members_changed = members_changed;
    env->active_since_ms = active_since_ms;
    sim_calls_env(env);
    sim_image_env(env);
}
