#include "grpc/services.h"

#include "base/check.h"
#include "base/pb.h"
#include "grpc/contest.h"
#include "grpc/long_reply.h"

/* --- tasks --- */

void service_task_add(struct services *services, struct service_task *task)
{
    list_push_back(&services->tasks, &task->node);
    loop_again(services->loop);
}

void service_task_remove(struct service_task *task)
{
    if (task->node.next != NULL) {
        list_remove(&task->node);
    }
}

static bool run_tasks(struct services *services)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &services->tasks);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct service_task *task = container_of(node, struct service_task, node);
        list_push_back(&services->tasks, node);
        task->run(task); /* may take itself out or be freed: it must not be touched any more */
        if (loop_late(services->loop, LOOP_WORK_NS)) {
            break;
        }
    }
    list_splice(&now, &services->tasks); /* those that had to wait go first */
    list_splice(&services->tasks, &now);
    return !list_empty(&services->tasks);
}

/* --- streams that asked for a leader (metadata hasleader) --- */

#define NO_LEADER_PERIODS 3 /* election timeouts: limits.tsv "no-leader periods before streams are cut" */

static bool wants_leader(const struct call *call)
{
    struct bytes leader = call_metadata(call, "hasleader");
    return leader.data != NULL && bytes_equal(leader, bytes_str("true"));
}

static void leaderless_too_long(struct loop_timer *timer)
{
    struct services *services = container_of(timer, struct services, no_leader);
    if (!core_has_leader(services->core)) {
        server_cut_streams(services->server, wants_leader, ERR_NO_LEADER);
    }
}

static void watch_leader(struct services *services)
{
    bool leaderless = !core_has_leader(services->core);
    if (leaderless == services->leaderless) {
        return;
    }
    services->leaderless = leaderless;
    if (leaderless) {
        loop_timer_set(services->loop, &services->no_leader,
                       loop_now_ms(services->loop) + NO_LEADER_PERIODS * (uint64_t)services->election_ms);
    } else {
        loop_timer_stop(services->loop, &services->no_leader);
    }
}

static bool run(struct loop_hook *hook)
{
    struct services *services = container_of(hook, struct services, hook);
    watch_leader(services);
    bool more = service_watch_run(services);
    return run_tasks(services) || more;
}

/* --- writes --- */

static void written(struct core_request *request, int error, ProtobufCMessage *response)
{
    struct service_write *write = request->owner;
    if (error != 0) {
        call_fail(write->call, error);
    } else if (write->after != NULL) {
        write->after(write, response);
    } else {
        long_reply(write->services, write->call, response, request->arena);
    }
}

static void write_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct service_write *write = call->state;
    core_cancel(write->services->core, &write->request);
}

void service_propose(struct services *services, struct call *call, Etcdserverpb__InternalRaftRequest *internal,
                     void (*after)(struct service_write *write, ProtobufCMessage *response))
{
    static const struct call_handler handler = {.on_cancel = write_cancelled};
    struct service_write *write = arena_zalloc(&call->arena, sizeof *write);
    write->call = call;
    write->services = services;
    write->after = after;
    write->request.done = written;
    write->request.owner = write;
    write->request.encoded_txn = call->encoded;
    int error = core_propose(services->core, &write->request, internal);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    call->state = write;
    call->handler = &handler;
}

void service_not_yet(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    call_fail_text(call, GRPC_UNIMPLEMENTED, "%s is not supported by kedge yet", call->route->path + 1);
}

/* --- what holds for every call --- */

static bool is_learner(const struct services *services)
{
    const struct kv_member *self = kv_member(core_kv(services->core), core_member_id(services->core));
    return self != NULL && self->learner;
}

/* A learner answers these alone; of ranges only the serializable ones, which is seen when the request is there. */
static bool learner_serves(const struct call *call)
{
    static const char *const paths[] = {"/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot",
                                        "/etcdserverpb.KV/Range"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(call->route->path, paths[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool services_refuse_learner(struct services *services, const Etcdserverpb__RangeRequest *range)
{
    return !range->serializable && is_learner(services);
}

int services_intercept(void *owner, struct call *call)
{
    struct services *services = owner;
    if (kv_cluster_version(core_kv(services->core)) == NULL) {
        return ERR_NOT_CAPABLE;
    }
    if (is_learner(services) && !learner_serves(call)) {
        return ERR_NOT_SUPPORTED_FOR_LEARNER;
    }
    struct bytes version = call_metadata(call, "client-api-version");
    if (version.data != NULL && !utf8_valid(version)) {
        return ERR_INVALID_CLIENT_API_VERSION;
    }
    if (wants_leader(call) && !core_has_leader(services->core)) {
        return ERR_NO_LEADER;
    }
    return 0;
}

int services_check(const void *owner, const ProtobufCMessage *request)
{
    const struct services *services = owner;
    return request->descriptor == &etcdserverpb__txn_request__descriptor
               ? kv_check_txn((const Etcdserverpb__TxnRequest *)request, services->max_txn_ops)
               : 0;
}

void services_register(struct services *services, struct server *server)
{
    list_init(&services->tasks);
    list_init(&services->watching);
    list_init(&services->contests);
    services->server = server;
    services->election_ms = services->election_ms == 0 ? 1000 : services->election_ms;
    services->no_leader.fire = leaderless_too_long;
    services->hook.run = run;
    loop_hook_add(services->loop, &services->hook);
    service_kv(services, server);
    service_watch(services, server);
    service_lease(services, server);
    service_cluster(services, server);
    service_maintenance(services, server);
    service_auth(services, server);
    service_lock(services, server);
    service_election(services, server);
    service_health(services, server);
}

void services_stop(struct services *services)
{
    services->stopping = true;
    contest_stop_all(services);
}

void services_close(struct services *services)
{
    loop_hook_remove(services->loop, &services->hook);
    loop_timer_stop(services->loop, &services->no_leader);
}
