/* etcdserverpb.Lease (mvcc.md "Leases"). */
#include "grpc/services.h"

#include "base/check.h"
#include "kv/lease.h"

static void grant(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    Etcdserverpb__LeaseGrantRequest request = *(const Etcdserverpb__LeaseGrantRequest *)message;
    while (request.id == 0) { /* the server chooses */
        request.id = (int64_t)(core_next_id(services->core) & INT64_MAX);
    }
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.lease_grant = &request;
    service_propose(services, call, &internal, NULL);
}

static void lease_revoke(void *service, struct call *call, const ProtobufCMessage *message)
{
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.lease_revoke = (Etcdserverpb__LeaseRevokeRequest *)message;
    service_propose(service, call, &internal, NULL);
}

/* --- questions --- */

struct lease_call {
    struct core_request barrier;
    struct call *call;
    struct services *services;
    const ProtobufCMessage *request;
    void (*answer)(struct lease_call *lease);
};

static void allowed(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct lease_call *lease = barrier->owner;
    if (error != 0) {
        call_fail(lease->call, error);
    } else {
        lease->answer(lease);
    }
}

static void question_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct lease_call *lease = call->state;
    core_cancel(lease->services->core, &lease->barrier);
}

static void ask(struct services *services, struct call *call, const ProtobufCMessage *request,
                void (*answer)(struct lease_call *lease))
{
    static const struct call_handler handler = {.on_cancel = question_cancelled};
    struct lease_call *lease = arena_zalloc(&call->arena, sizeof *lease);
    *lease = (struct lease_call){.call = call, .services = services, .request = request, .answer = answer};
    lease->barrier.done = allowed;
    lease->barrier.owner = lease;
    call->state = lease;
    call->handler = &handler;
    int error = core_barrier(services->core, &lease->barrier);
    if (error != 0) {
        call_fail(call, error);
    }
}

static void answer_time_to_live(struct lease_call *lease)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *request = (const Etcdserverpb__LeaseTimeToLiveRequest *)lease->request;
    struct core *core = lease->services->core;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, true);
    Etcdserverpb__LeaseTimeToLiveResponse response = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    response.header = &header;
    response.id = request->id;
    response.ttl = -1;
    struct lease_info info;
    if (lease_info(kv_leases(core_kv(core)), request->id, core_now_ms(core), &info) == 0) {
        response.ttl = info.ttl_s;
        response.grantedttl = info.granted_ttl_s;
        if (request->keys) {
            struct bytes *keys =
                lease_keys(kv_leases(core_kv(core)), request->id, &lease->call->arena, &response.n_keys);
            response.keys = arena_alloc(&lease->call->arena, (response.n_keys + 1) * sizeof *response.keys);
            for (size_t i = 0; i < response.n_keys; i++) {
                response.keys[i] = (ProtobufCBinaryData){.len = keys[i].len, .data = (uint8_t *)keys[i].data};
            }
        }
    }
    call_reply(lease->call, &response.base);
}

static void time_to_live(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_time_to_live);
}

static void answer_leases(struct lease_call *lease)
{
    struct core *core = lease->services->core;
    struct arena *arena = &lease->call->arena;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, true);
    Etcdserverpb__LeaseLeasesResponse response = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
    response.header = &header;
    struct lease_entry *entries = lease_list(kv_leases(core_kv(core)), arena, &response.n_leases);
    lease_list_sort(entries, response.n_leases);
    response.leases = arena_alloc(arena, (response.n_leases + 1) * sizeof *response.leases);
    Etcdserverpb__LeaseStatus *statuses = arena_alloc(arena, (response.n_leases + 1) * sizeof *statuses);
    for (size_t i = 0; i < response.n_leases; i++) {
        etcdserverpb__lease_status__init(&statuses[i]);
        statuses[i].id = entries[i].id;
        response.leases[i] = &statuses[i];
    }
    call_reply(lease->call, &response.base);
}

static void leases(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_leases);
}

/* --- keepalive --- */

struct keepalive_call {
    struct call *call;
    struct services *services;
    struct lease_waiter waiter;
    struct core_request barrier;
    int64_t id;
    bool waiting; /* for an answer that is not known yet */
    bool full;    /* the client doesn't take its answers */
};

/* The stream is read while an answer can be given at once and is taken. */
static void keepalive_wait(struct keepalive_call *keepalive, bool waiting, bool full)
{
    bool held = keepalive->waiting || keepalive->full;
    keepalive->waiting = waiting;
    keepalive->full = full;
    if (!held && (waiting || full)) {
        call_hold(keepalive->call);
    } else if (held && !waiting && !full) {
        call_resume(keepalive->call);
    }
}

static void keepalive_answer(struct keepalive_call *keepalive, int64_t ttl)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(keepalive->services->core, &header, true);
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.header = &header;
    response.id = keepalive->id;
    response.ttl = ttl;
    call_send_message(keepalive->call, &response.base);
    keepalive_wait(keepalive, false, !call_writable(keepalive->call));
}

static void keepalive_renew(struct keepalive_call *keepalive, bool last_try);

static void keepalive_caught_up(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct keepalive_call *keepalive = barrier->owner;
    if (error != 0) {
        call_fail(keepalive->call, error);
        return;
    }
    keepalive_renew(keepalive, true);
}

static void keepalive_decided(struct lease_waiter *waiter, int error)
{
    struct keepalive_call *keepalive = container_of(waiter, struct keepalive_call, waiter);
    if (error == ERR_LEASE_NOT_FOUND) {
        keepalive_answer(keepalive, 0);
    } else {
        call_fail(keepalive->call, ERR_NO_LEADER);
    }
}

/* An unknown lease may have been granted by an entry that is not applied here yet: the first try waits for that. */
static void keepalive_renew(struct keepalive_call *keepalive, bool last_try)
{
    struct core *core = keepalive->services->core;
    struct lease_table *table = kv_leases(core_kv(core));
    int64_t ttl = 0;
    bool clear_checkpoint;
    int error = lease_renew(table, keepalive->id, core_now_ms(core), &ttl, &clear_checkpoint);
    if (error == 0 || (error == ERR_LEASE_NOT_FOUND && last_try)) {
        keepalive_answer(keepalive, error == 0 ? ttl : 0);
    } else if (error == ERR_LEASE_NOT_FOUND) {
        keepalive_wait(keepalive, true, keepalive->full);
        keepalive->barrier = (struct core_request){.done = keepalive_caught_up, .owner = keepalive};
        error = core_barrier(core, &keepalive->barrier);
        if (error != 0) {
            call_fail(keepalive->call, error);
        }
    } else if (error == ERR_AGAIN) {
        keepalive_wait(keepalive, true, keepalive->full);
        keepalive->waiter.done = keepalive_decided;
        error = lease_wait(table, keepalive->id, &keepalive->waiter);
        if (error != 0) {
            keepalive_decided(&keepalive->waiter, error);
        }
    } else {
        call_fail(keepalive->call, ERR_NO_LEADER);
    }
}

static void keepalive_message(struct call *call, const ProtobufCMessage *message)
{
    struct keepalive_call *keepalive = call->state;
    keepalive->id = ((const Etcdserverpb__LeaseKeepAliveRequest *)message)->id;
    keepalive_renew(keepalive, false);
}

static void keepalive_writable(struct call *call)
{
    struct keepalive_call *keepalive = call->state;
    keepalive_wait(keepalive, keepalive->waiting, false);
}

static void keepalive_half_close(struct call *call)
{
    call_finish(call, GRPC_OK, "");
}

static void keepalive_cancel(struct call *call, int reason)
{
    (void)reason;
    struct keepalive_call *keepalive = call->state;
    core_cancel(keepalive->services->core, &keepalive->barrier);
    lease_unwait(&keepalive->waiter);
}

static void keepalive_open(void *service, struct call *call)
{
    static const struct call_handler handler = {.on_message = keepalive_message,
                                                .on_half_close = keepalive_half_close,
                                                .on_writable = keepalive_writable,
                                                .on_cancel = keepalive_cancel};
    struct keepalive_call *keepalive = arena_zalloc(&call->arena, sizeof *keepalive);
    keepalive->call = call;
    keepalive->services = service;
    list_init(&keepalive->waiter.node);
    call->state = keepalive;
    call->handler = &handler;
}

static const struct call_route routes[] = {
    {"/etcdserverpb.Lease/LeaseGrant", CALL_UNARY, CALL_CONTROL, &etcdserverpb__lease_grant_request__descriptor,
     &etcdserverpb__lease_grant_response__descriptor, grant, NULL},
    {"/etcdserverpb.Lease/LeaseRevoke", CALL_UNARY, CALL_CONTROL, &etcdserverpb__lease_revoke_request__descriptor,
     &etcdserverpb__lease_revoke_response__descriptor, lease_revoke, NULL},
    {"/etcdserverpb.Lease/LeaseKeepAlive", CALL_STREAM, CALL_CONTROL,
     &etcdserverpb__lease_keep_alive_request__descriptor, &etcdserverpb__lease_keep_alive_response__descriptor, NULL,
     keepalive_open},
    {"/etcdserverpb.Lease/LeaseTimeToLive", CALL_UNARY, CALL_CONTROL,
     &etcdserverpb__lease_time_to_live_request__descriptor, &etcdserverpb__lease_time_to_live_response__descriptor,
     time_to_live, NULL},
    {"/etcdserverpb.Lease/LeaseLeases", CALL_UNARY, CALL_CONTROL, &etcdserverpb__lease_leases_request__descriptor,
     &etcdserverpb__lease_leases_response__descriptor, leases, NULL},
};

void service_lease(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
