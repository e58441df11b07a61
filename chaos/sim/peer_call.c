/* Requests to another member's peer port: keepalives and questions for leases, promotions, versions (core_env.peer_call
 * on one side, what grpc/peer_pages.c answers on the other). Way there, work, way back, each late by a while; a cut
 * link, a crash on either side or time running out ends one at any point, and nobody knows how far it got. */
#include "base/error.h"
#include "base/pb.h"
#include "chaos/sim/internal.h"
#include "kv/lease.pb-c.h"
#include <stdlib.h>

enum stage { THERE, AT_WORK, BACK };

struct sim_call {
    struct list node;
    struct sim *sim;
    struct core_peer_call *call; /* NULL: the asker is gone, or waits no more */
    uint64_t from, to;           /* ids */
    enum stage stage;
    uint64_t due_ms, expires_ms;
    char path[64];
    struct arena arena;
    struct bytes body; /* in the arena */
    int error, status;
    struct bytes response; /* in the arena */

    /* at work */
    struct core_request request;
    struct core_lease_call lease;
};

static void back(struct sim_call *c, int status, struct bytes response)
{
    c->stage = BACK;
    c->status = status;
    c->response = response;
    c->due_ms = c->sim->now_ms + random_below(&c->sim->random, c->sim->net.latency_ms + 1);
}

static void back_text(struct sim_call *c, int status, const char *text)
{
    back(c, status, bytes_str(text));
}

/* --- the other member's answers ------------------------------------------------------------------------------------
 */

static struct sim_call *of_request(struct core_request *request)
{
    return container_of(request, struct sim_call, request);
}

static void renewed(struct core_lease_call *lease, int error)
{
    struct sim_call *c = lease->owner;
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.id = lease->id;
    response.ttl = lease->ttl_s;
    if (error == 0) {
        back(c, 200, pb_pack(&response.base, &c->arena));
    } else {
        back_text(c, error == ERR_LEASE_NOT_FOUND ? 404 : error == ERR_NOT_PRIMARY ? 400 : 408, error_text(error));
    }
}

static void answer_keepalive(struct sim_call *c, struct sim_member *m)
{
    const Etcdserverpb__LeaseKeepAliveRequest *request = (const Etcdserverpb__LeaseKeepAliveRequest *)pb_unpack(
        &etcdserverpb__lease_keep_alive_request__descriptor, c->body, &c->arena, NULL);
    if (request == NULL) {
        back_text(c, 400, "error unmarshalling request");
        return;
    }
    c->lease = (struct core_lease_call){.done = renewed, .owner = c, .id = request->id, .arena = &c->arena};
    if (core_lease_renew_passed_on(m->core, &c->lease) != 0) {
        back_text(c, 408, "");
    }
}

static void promoted(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct sim_call *c = of_request(request);
    back_text(c, error == 0 ? 200 : error == ERR_MEMBER_NOT_FOUND ? 404 : 412, error == 0 ? "" : error_text(error));
}

static void answer_promotion(struct sim_call *c, struct sim_member *m)
{
    uint64_t id = strtoull(strrchr(c->path, '/') + 1, NULL, 10);
    c->request = (struct core_request){.done = promoted};
    int error = core_member_promote(m->core, &c->request, id, false);
    if (error != 0) {
        promoted(&c->request, error, NULL);
    }
}

static void arrive(struct sim_call *c, struct sim_member *m)
{
    c->stage = AT_WORK;
    c->due_ms = SIM_NEVER;
    m->dirty = true;
    if (strcmp(c->path, "/leases") == 0) {
        answer_keepalive(c, m);
    } else if (strncmp(c->path, "/members/promote/", 17) == 0) {
        answer_promotion(c, m);
    } else if (strcmp(c->path, "/version") == 0) {
        back_text(c, 200, "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}");
    } else {
        back_text(c, 404, "404 page not found\n");
    }
}

/* --- on the way ----------------------------------------------------------------------------------------------------
 */

static void drop(struct sim_call *c)
{
    list_remove(&c->node);
    arena_free(&c->arena);
    free(c);
}

/* The other member does no more work on it. */
static void let_go(struct sim_call *c)
{
    struct sim_member *m = sim_member_of(c->sim, c->to);
    if (c->stage == AT_WORK && m != NULL && m->core != NULL) {
        core_cancel(m->core, &c->request);
        core_lease_cancel(&c->lease);
    }
}

static void end(struct sim_call *c, int error)
{
    struct core_peer_call *call = c->call;
    let_go(c);
    if (call != NULL) {
        struct sim_member *m = sim_member_of(c->sim, c->from);
        call->work = NULL;
        call->error = error;
        call->status = c->status;
        call->response = c->response;
        m->dirty = true;
        call->done(call);
    }
    drop(c);
}

static bool passes(struct sim *s, const struct sim_member *from, const struct sim_member *to)
{
    return from != NULL && to != NULL && to->state == SIM_UP && !to->leaving && !s->net.cut[from->slot][to->slot] &&
           random_below(&s->random, 1000) >= s->net.loss;
}

/* On this part of its way it gets lost; nobody is told. */
static bool is_lost(const struct sim_call *c, const struct sim_member *from, const struct sim_member *to)
{
    return (c->stage == THERE && !passes(c->sim, from, to)) ||
           (c->stage == BACK && c->error == 0 && !passes(c->sim, to, from));
}

static void step(struct sim_call *c)
{
    struct sim *s = c->sim;
    struct sim_member *from = sim_member_of(s, c->from), *to = sim_member_of(s, c->to);
    if (c->call != NULL && !sim_member_awake(from)) {
        return;
    }
    if (s->now_ms >= c->expires_ms) {
        end(c, ERR_TIMEOUT);
    } else if (s->now_ms < c->due_ms) {
        return;
    } else if (is_lost(c, from, to)) {
        c->due_ms = SIM_NEVER;
    } else if (c->stage == THERE && sim_member_awake(to)) {
        arrive(c, to);
    } else if (c->stage == BACK) {
        end(c, c->error);
    }
}

void sim_calls_run(struct sim *s)
{
    for (struct list *node = s->calls.next, *next; node != &s->calls; node = next) {
        next = node->next;
        step(container_of(node, struct sim_call, node));
    }
}

/* Not before these wake up. */
static uint64_t awake(const struct sim_member *m, uint64_t at)
{
    return m != NULL && m->state == SIM_UP && at < m->paused_ms ? m->paused_ms : at;
}

uint64_t sim_calls_due(struct sim *s)
{
    uint64_t due = SIM_NEVER;
    list_each(node, &s->calls)
    {
        const struct sim_call *c = container_of(node, struct sim_call, node);
        uint64_t at = c->stage == THERE ? awake(sim_member_of(s, c->to), c->due_ms) : c->due_ms;
        at = at < c->expires_ms ? at : c->expires_ms;
        at = c->call != NULL ? awake(sim_member_of(s, c->from), at) : at;
        due = at < due ? at : due;
    }
    return due;
}

/* --- from the core -------------------------------------------------------------------------------------------------
 */

static void peer_call(struct core_env *env, struct core_peer_call *call)
{
    struct sim_member *m = container_of(env, struct sim_member, env);
    struct sim *s = m->sim;
    struct sim_call *c = mem_zalloc(sizeof *c);
    c->sim = s;
    c->call = call;
    c->from = m->id;
    c->to = call->to;
    c->stage = THERE;
    c->due_ms = s->now_ms + random_below(&s->random, s->net.latency_ms + 1);
    c->expires_ms = s->now_ms + call->timeout_ms;
    strncpy(c->path, call->path, sizeof c->path - 1);
    c->body = arena_copy(&c->arena, call->body);
    call->work = c;
    list_push_back(&s->calls, &c->node);
    if (sim_member_of(s, call->to) == NULL) {
        c->stage = BACK;
        c->error = ERR_UNHEALTHY;
    }
}

static void peer_call_cancel(struct core_env *env, struct core_peer_call *call)
{
    (void)env;
    struct sim_call *c = call->work;
    if (c != NULL) {
        c->call = NULL; /* what the other one does about it goes on */
        call->work = NULL;
    }
}

void sim_calls_env(struct core_env *env)
{
    env->peer_call = peer_call;
    env->peer_call_cancel = peer_call_cancel;
}

void sim_calls_cut(struct sim_member *m)
{
    for (struct list *node = m->sim->calls.next, *next; node != &m->sim->calls; node = next) {
        next = node->next;
        struct sim_call *c = container_of(node, struct sim_call, node);
        if (c->from == m->id) {
            if (c->call != NULL) {
                c->call->work = NULL;
                c->call = NULL;
            }
        } else if (c->to == m->id && c->stage == AT_WORK) {
            let_go(c);
            c->stage = BACK; /* the connection is reset */
            c->error = ERR_UNHEALTHY;
            c->due_ms = m->sim->now_ms;
        }
    }
}

void sim_calls_free(struct sim *s)
{
    while (!list_empty(&s->calls)) {
        drop(list_first(&s->calls, struct sim_call, node));
    }
}
