/* etcdserverpb.Cluster: the list of members. What changes the membership comes with the peers. */
#include "grpc/services.h"

struct list_call {
    struct core_request barrier;
    struct call *call;
    struct services *services;
};

static void answer(struct services *services, struct call *call)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(services->core, &header, false); /* cluster answers carry no revision (grpc.md) */
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.header = &header;
    response.members = kv_member_list(core_kv(services->core), &call->arena, &response.n_members);
    call_reply(call, &response.base);
}

static void allowed(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct list_call *list = barrier->owner;
    if (error != 0) {
        call_fail(list->call, error);
    } else {
        answer(list->services, list->call);
    }
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct list_call *list = call->state;
    core_cancel(list->services->core, &list->barrier);
}

static void member_list(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    struct services *services = service;
    if (!((const Etcdserverpb__MemberListRequest *)message)->linearizable) {
        answer(services, call);
        return;
    }
    struct list_call *list = arena_zalloc(&call->arena, sizeof *list);
    *list = (struct list_call){.call = call, .services = services};
    list->barrier.done = allowed;
    list->barrier.owner = list;
    call->state = list;
    call->handler = &handler;
    int error = core_barrier(services->core, &list->barrier);
    if (error != 0) {
        call_fail(call, error);
    }
}

static const struct call_route routes[] = {
    {"/etcdserverpb.Cluster/MemberList", CALL_UNARY, CALL_CONTROL, &etcdserverpb__member_list_request__descriptor,
     &etcdserverpb__member_list_response__descriptor, member_list, NULL},
    {"/etcdserverpb.Cluster/MemberAdd", CALL_UNARY, CALL_CONTROL, &etcdserverpb__member_add_request__descriptor,
     &etcdserverpb__member_add_response__descriptor, service_not_yet, NULL},
    {"/etcdserverpb.Cluster/MemberRemove", CALL_UNARY, CALL_CONTROL, &etcdserverpb__member_remove_request__descriptor,
     &etcdserverpb__member_remove_response__descriptor, service_not_yet, NULL},
    {"/etcdserverpb.Cluster/MemberUpdate", CALL_UNARY, CALL_CONTROL, &etcdserverpb__member_update_request__descriptor,
     &etcdserverpb__member_update_response__descriptor, service_not_yet, NULL},
    {"/etcdserverpb.Cluster/MemberPromote", CALL_UNARY, CALL_CONTROL, &etcdserverpb__member_promote_request__descriptor,
     &etcdserverpb__member_promote_response__descriptor, service_not_yet, NULL},
};

void service_cluster(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
