/* etcdserverpb.Lease (mvcc.md "Leases"). */
#include "grpc/lease_list.h"

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

struct ttl_call {
    struct core_lease_call lease;
    struct call *call;
    struct services *services;
};

static void time_to_live_told(struct core_lease_call *lease, int error)
{
    struct ttl_call *ttl = lease->owner;
    struct core *core = lease->core;
    if (error != 0 && error != ERR_LEASE_NOT_FOUND) {
        call_fail(ttl->call, error);
        return;
    }
    if (lease->keys_here) {
        lease_list_keys(ttl->services, ttl->call, lease->id, lease->ttl_s, lease->granted_ttl_s);
        return;
    }
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, true);
    Etcdserverpb__LeaseTimeToLiveResponse response = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    response.header = &header;
    response.id = lease->id;
    response.ttl = error == 0 ? lease->ttl_s : -1;
    response.grantedttl = lease->granted_ttl_s;
    response.n_keys = lease->key_count;
    response.keys = arena_alloc(&ttl->call->arena, (lease->key_count + 1) * sizeof *response.keys);
    for (size_t i = 0; i < lease->key_count; i++) {
        response.keys[i] =
            (ProtobufCBinaryData){.len = lease->keys[i].len, .data = (uint8_t *)(uintptr_t)lease->keys[i].data};
    }
    call_reply(ttl->call, &response.base);
}

static void time_to_live_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct ttl_call *ttl = call->state;
    core_lease_cancel(&ttl->lease);
}

static void time_to_live(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = time_to_live_cancelled};
    const Etcdserverpb__LeaseTimeToLiveRequest *request = (const Etcdserverpb__LeaseTimeToLiveRequest *)message;
    struct services *services = service;
    struct ttl_call *ttl = arena_zalloc(&call->arena, sizeof *ttl);
    *ttl = (struct ttl_call){.call = call,
                             .services = services,
                             .lease = {.done = time_to_live_told,
                                       .owner = ttl,
                                       .id = request->id,
                                       .with_keys = request->keys,
                                       .arena = &call->arena}};
    call->state = ttl;
    call->handler = &handler;
    int error = core_lease_time_to_live(services->core, &ttl->lease);
    if (error != 0) {
        call_fail(call, error);
    }
}

static void answer_leases(struct lease_call *lease)
{
    lease_list_leases(lease->services, lease->call);
}

static void leases(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_leases);
}

/* --- keepalive --- */

struct keepalive_call {
    struct call *call;
    struct services *services;
    struct core_lease_call lease;
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

static void keepalive_renewed(struct core_lease_call *lease, int error)
{
    struct keepalive_call *keepalive = lease->owner;
    if (error != 0 && error != ERR_LEASE_NOT_FOUND) {
        call_fail(keepalive->call, error);
        return;
    }
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(lease->core, &header, true);
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.header = &header;
    response.id = lease->id;
    response.ttl = error == 0 ? lease->ttl_s : 0;
    call_send_message(keepalive->call, &response.base);
    keepalive_wait(keepalive, false, !call_writable(keepalive->call));
}

static void keepalive_message(struct call *call, const ProtobufCMessage *message)
{
    struct keepalive_call *keepalive = call->state;
    /* No other message comes before this one is answered. */
    keepalive->lease = (struct core_lease_call){.done = keepalive_renewed,
                                                .owner = keepalive,
                                                .id = ((const Etcdserverpb__LeaseKeepAliveRequest *)message)->id,
                                                .arena = &call->message_arena};
    keepalive_wait(keepalive, true, keepalive->full);
    int error = core_lease_renew(keepalive->services->core, &keepalive->lease);
    if (error != 0) {
        call_fail(call, error);
    }
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
    core_lease_cancel(&keepalive->lease);
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
