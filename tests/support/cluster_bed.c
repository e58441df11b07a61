#include "tests/support/cluster_bed.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/lease.pb-c.h"
#include "raft/message.h"
#include <stdlib.h>

#define QUIET_MAX 5000

/* --- the network --- */

struct flying {
    struct list node;
    uint64_t due_ms;
    struct raft_message message;
    struct raft_message_owner owner;
};

struct flying_call {
    struct list node;
    uint64_t due_ms;
    size_t from;
    struct core_peer_call *call;
    struct arena arena;
};

static size_t number(const struct cluster_bed *c, const struct core_bed *bed)
{
    return (size_t)(bed - c->beds);
}

static uint64_t delay(const struct cluster_bed *c)
{
    return c->delay_ms == 0 ? 1 : c->delay_ms;
}

static void send(struct core_env *env, const struct raft_message *messages, size_t count)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    struct cluster_bed *c = bed->cluster;
    for (size_t i = 0; i < count; i++) {
        CHECK(messages[i].type != RAFT_MSG_SNAPSHOT && messages[i].to >= 1);
        if (messages[i].to > c->count) { /* a member that was never started */
            c->lost++;
            continue;
        }
        struct flying *flying = calloc(1, sizeof *flying);
        flying->due_ms = c->now_ms + delay(c);
        raft_message_copy(&flying->message, &flying->owner, &messages[i]);
        list_push_back(&c->messages, &flying->node);
    }
}

static void send_image(struct core_env *env, const struct raft_message *message, struct core_view *view)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    struct cluster_bed *c = bed->cluster;
    size_t members;
    (void)kv_members(bed->kv, &members);
    CHECK(message->snapshot.index == view->at.index && message->snapshot_conf->voters.count > 0);
    CHECK(message->snapshot_conf->voters.count + message->snapshot_conf->learners.count == members);
    c->images++;
    size_t to = (size_t)message->to - 1;
    bool arrives = c->images_arrive && !c->cut[number(c, bed)][to];
    if (arrives) {
        struct flying *flying = calloc(1, sizeof *flying);
        flying->due_ms = c->now_ms + delay(c);
        raft_message_copy(&flying->message, &flying->owner, message);
        core_bed_export(view->read, &c->beds[to].image);
        if (c->damage != NULL) {
            c->damage(&c->beds[to].image);
        }
        list_push_back(&c->messages, &flying->node);
    }
    core_view_close(view);
    core_snapshot_reported(bed->core, message->to, arrives); /* else as if the connection had been lost at once */
}

static void members_changed(struct core_env *env)
{
    container_of(env, struct core_bed, env)->members_changes++;
}

static uint64_t active_since_ms(struct core_env *env, uint64_t id)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    struct cluster_bed *c = bed->cluster;
    size_t from = number(c, bed), to = (size_t)id - 1;
    if (id > c->count || c->silent[to] || c->cut[from][to] || c->cut[to][from]) {
        return 0;
    }
    return c->active_ms[to] == 0 ? 1 : c->active_ms[to];
}

static void peer_call(struct core_env *env, struct core_peer_call *call)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    struct cluster_bed *c = bed->cluster;
    struct flying_call *flying = calloc(1, sizeof *flying);
    flying->due_ms = c->now_ms + 2 * delay(c);
    flying->from = number(c, bed);
    flying->call = call;
    call->work = flying;
    list_push_back(&c->calls, &flying->node);
    c->calls_open++;
}

static void call_free(struct flying_call *flying)
{
    list_remove(&flying->node);
    arena_free(&flying->arena);
    free(flying);
}

static void peer_call_cancel(struct core_env *env, struct core_peer_call *call)
{
    container_of(env, struct core_bed, env)->cluster->calls_open--;
    call_free(call->work);
}

static bool passes(const struct cluster_bed *c, size_t from, size_t to)
{
    return !c->cut[from][to] && c->beds[to].core != NULL;
}

static void deliver_message(struct cluster_bed *c, struct flying *flying)
{
    size_t from = (size_t)flying->message.from - 1, to = (size_t)flying->message.to - 1;
    if (passes(c, from, to) && (c->drop == NULL || !c->drop(&flying->message))) {
        c->delivered++;
        core_step(c->beds[to].core, &flying->message);
    } else {
        c->lost++;
    }
    list_remove(&flying->node);
    raft_message_owner_free(&flying->owner);
    free(flying);
}

/* What the leader's page does (grpc/peer_lease.c), without its read round. */
static void lease_page(struct core_bed *bed, struct flying_call *flying)
{
    struct core_peer_call *call = flying->call;
    Etcdserverpb__LeaseKeepAliveRequest *request = (Etcdserverpb__LeaseKeepAliveRequest *)pb_unpack(
        &etcdserverpb__lease_keep_alive_request__descriptor, call->body, &flying->arena, NULL);
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    CHECK(request != NULL);
    int error = lease_renew(kv_leases(bed->kv), request->id, bed->now_ms, &response.ttl, NULL);
    response.id = request->id;
    call->status = error == 0 ? 200 : error == ERR_LEASE_NOT_FOUND ? 404 : 400;
    call->response = pb_pack(&response.base, &flying->arena);
}

static void answer_call(struct core_bed *bed, struct flying_call *flying)
{
    struct core_peer_call *call = flying->call;
    if (strcmp(call->path, "/leases") == 0) {
        lease_page(bed, flying);
        return;
    }
    if (bed->cluster->page != NULL && bed->cluster->page(bed, call)) {
        return;
    }
    CHECK(strcmp(call->path, "/version") == 0);
    call->status = 200;
    call->response = bytes_str("{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}");
}

static void deliver_call(struct cluster_bed *c, struct flying_call *flying)
{
    struct core_peer_call *call = flying->call;
    size_t to = (size_t)call->to - 1;
    bool known = call->to >= 1 && call->to <= c->count;
    c->calls_open--;
    c->lease_calls += strcmp(call->path, "/leases") == 0;
    call->error = known && passes(c, flying->from, to) && passes(c, to, flying->from) ? 0 : ERR_UNHEALTHY;
    if (call->error == 0) {
        answer_call(&c->beds[to], flying);
    }
    list_remove(&flying->node);
    call->done(call);
    call_free(flying);
}

static bool deliver(struct cluster_bed *c)
{
    bool any = false;
    list_each(node, &c->messages)
    {
        struct flying *flying = container_of(node, struct flying, node);
        if (flying->due_ms <= c->now_ms && !c->paused[flying->message.to - 1]) {
            deliver_message(c, flying);
            any = true;
        }
    }
    while (!list_empty(&c->calls) && list_first(&c->calls, struct flying_call, node)->due_ms <= c->now_ms) {
        deliver_call(c, list_first(&c->calls, struct flying_call, node));
        any = true;
    }
    return any;
}

/* --- life --- */

static void attach(struct core_bed *bed)
{
    bed->env.send = send;
    bed->env.send_image = send_image;
    bed->env.members_changed = members_changed;
    bed->env.active_since_ms = active_since_ms;
    bed->env.peer_call = peer_call;
    bed->env.peer_call_cancel = peer_call_cancel;
}

void cluster_bed_open(struct cluster_bed *c, size_t count)
{
    CHECK(count <= CLUSTER_BED_MAX);
    c->count = count;
    list_init(&c->messages);
    list_init(&c->calls);
    for (size_t i = 0; i < count; i++) {
        struct core_bed *bed = &c->beds[i];
        bed->id = i + 1;
        bed->members = count;
        bed->cluster = c;
        bed->attach = attach;
        core_bed_open(bed);
        c->now_ms = bed->now_ms;
    }
}

void cluster_bed_close(struct cluster_bed *c)
{
    for (size_t i = 0; i < c->count; i++) {
        core_bed_close(&c->beds[i]);
    }
    list_each(node, &c->messages)
    {
        struct flying *flying = container_of(node, struct flying, node);
        list_remove(node);
        raft_message_owner_free(&flying->owner);
        free(flying);
    }
    CHECK(list_empty(&c->calls));
}

/* --- time --- */

static void rest(struct cluster_bed *c)
{
    bool again = true;
    for (unsigned turns = 0; again; turns++) {
        CHECK(turns < QUIET_MAX, "the members never come to rest");
        again = deliver(c);
        for (size_t i = 0; i < c->count; i++) {
            struct core_bed *bed = &c->beds[i];
            if (c->paused[i]) {
                continue;
            }
            bed->now_ms = c->now_ms;
            again |= core_bed_turn(bed) || core_deadline(bed->core) <= c->now_ms;
        }
    }
}

static uint64_t next(const struct cluster_bed *c)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t deadline = c->paused[i] ? UINT64_MAX : core_deadline(c->beds[i].core);
        at = deadline < at ? deadline : at;
    }
    for (const struct list *node = c->messages.next; node != &c->messages; node = node->next) {
        const struct flying *flying = container_of((struct list *)(uintptr_t)node, struct flying, node);
        if (!c->paused[flying->message.to - 1]) {
            at = flying->due_ms < at ? flying->due_ms : at;
        }
    }
    if (!list_empty(&c->calls)) {
        uint64_t due = list_first(&c->calls, struct flying_call, node)->due_ms;
        at = due < at ? due : at;
    }
    return at;
}

void cluster_bed_advance(struct cluster_bed *c, uint64_t ms)
{
    uint64_t end = c->now_ms + ms;
    rest(c);
    while (c->now_ms < end) {
        uint64_t at = next(c);
        c->now_ms = at < end ? at : end;
        rest(c);
    }
}

/* --- who leads --- */

size_t cluster_bed_leader(const struct cluster_bed *c)
{
    size_t leader = CLUSTER_BED_NONE;
    uint64_t term = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct raft_status status = core_raft_status(c->beds[i].core);
        if (status.role == RAFT_LEADER && status.term > term) {
            leader = i;
            term = status.term;
        }
    }
    return leader;
}

size_t cluster_bed_elect(struct cluster_bed *c, size_t not_this)
{
    for (unsigned i = 0; i < 20000; i++) {
        size_t leader = cluster_bed_leader(c);
        if (leader != CLUSTER_BED_NONE && leader != not_this) {
            struct raft_status status = core_raft_status(c->beds[leader].core);
            if (raft_term_at(c->beds[leader].raft, status.applied) == status.term) {
                return leader;
            }
        }
        cluster_bed_advance(c, 1);
    }
    CHECK(false, "nobody is elected");
}

size_t cluster_bed_ready(struct cluster_bed *c)
{
    for (unsigned i = 0; i < 20000; i++) {
        size_t ready = 0;
        for (size_t k = 0; k < c->count; k++) {
            ready += core_ready(c->beds[k].core);
        }
        if (ready == c->count) {
            return cluster_bed_leader(c);
        }
        cluster_bed_advance(c, 1);
    }
    CHECK(false, "the members don't get ready");
}

void cluster_bed_isolate(struct cluster_bed *c, size_t i, bool isolated)
{
    for (size_t k = 0; k < c->count; k++) {
        c->cut[i][k] = c->cut[k][i] = isolated && k != i;
    }
}
