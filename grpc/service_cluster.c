/* etcdserverpb.Cluster: who is in the cluster, and changes of that. Each answer lists the members as they are after it;
 * none carries a revision (grpc.md). */
#include "base/check.h"
#include "base/url.h"
#include "grpc/services.h"

struct cluster_call {
    struct core_request request;
    struct call *call;
    struct services *services;
    uint64_t added; /* MemberAdd: the new member */
};

/* The five answers are alike: header, (the new member,) members. */
static void answer(struct services *services, struct call *call, uint64_t added)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(services->core, &header, false);
    size_t count;
    Etcdserverpb__Member **members = kv_member_list(core_kv(services->core), &call->arena, &count);
    if (call->route->response == &etcdserverpb__member_add_response__descriptor) {
        Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
        response.header = &header;
        response.members = members;
        response.n_members = count;
        for (size_t i = 0; i < count; i++) {
            response.member = members[i]->id == added ? members[i] : response.member;
        }
        call_reply(call, &response.base);
        return;
    }
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.header = &header;
    response.members = members;
    response.n_members = count;
    response.base.descriptor = call->route->response;
    call_reply(call, &response.base);
}

static void done(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct cluster_call *state = request->owner;
    if (error != 0) {
        call_fail(state->call, error);
    } else {
        answer(state->services, state->call, state->added);
    }
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct cluster_call *state = call->state;
    core_cancel(state->services->core, &state->request);
}

static struct cluster_call *begin(struct services *services, struct call *call)
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    struct cluster_call *state = arena_zalloc(&call->arena, sizeof *state);
    *state = (struct cluster_call){.call = call, .services = services};
    state->request.done = done;
    state->request.owner = state;
    call->state = state;
    call->handler = &handler;
    return state;
}

/* What came of starting it. */
static void begun(struct call *call, int error)
{
    if (error != 0) {
        call_fail(call, error);
    }
}

static void member_list(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    if (!((const Etcdserverpb__MemberListRequest *)message)->linearizable) {
        answer(services, call, 0);
        return;
    }
    begun(call, core_barrier(services->core, &begin(services, call)->request));
}

static void member_add(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    const Etcdserverpb__MemberAddRequest *request = (const Etcdserverpb__MemberAddRequest *)message;
    struct url_list urls;
    if (url_list_of(&call->arena, request->peerurls, request->n_peerurls, &urls) != NULL) {
        call_fail(call, ERR_MEMBER_BAD_URLS);
        return;
    }
    char **texts = arena_alloc(&call->arena, (urls.count + 1) * sizeof *texts);
    for (size_t i = 0; i < urls.count; i++) {
        texts[i] = (char *)urls.items[i].text;
    }
    struct cluster_call *state = begin(services, call);
    begun(call, core_member_add(services->core, &state->request, texts, urls.count, request->islearner, &state->added));
}

/* etcd takes any texts here, and all of its members end when they come to connect. */
static void member_update(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    const Etcdserverpb__MemberUpdateRequest *request = (const Etcdserverpb__MemberUpdateRequest *)message;
    struct url_list urls;
    if (kv_member(core_kv(services->core), request->id) != NULL &&
        url_list_of(&call->arena, request->peerurls, request->n_peerurls, &urls) != NULL) {
        call_fail(call, ERR_MEMBER_BAD_URLS);
        return;
    }
    begun(call, core_member_update(services->core, &begin(services, call)->request, request->id, request->peerurls,
                                   request->n_peerurls));
}

static void member_remove(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    begun(call, core_member_remove(services->core, &begin(services, call)->request,
                                   ((const Etcdserverpb__MemberRemoveRequest *)message)->id));
}

static void member_promote(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    begun(call, core_member_promote(services->core, &begin(services, call)->request,
                                    ((const Etcdserverpb__MemberPromoteRequest *)message)->id, true));
}

#define ROUTE(Name, name)                                                                                              \
    {                                                                                                                  \
        "/etcdserverpb.Cluster/" Name, CALL_UNARY, CALL_CONTROL, &etcdserverpb__##name##_request__descriptor,          \
            &etcdserverpb__##name##_response__descriptor, name, NULL                                                   \
    }

static const struct call_route routes[] = {
    ROUTE("MemberList", member_list),     ROUTE("MemberAdd", member_add),         ROUTE("MemberRemove", member_remove),
    ROUTE("MemberUpdate", member_update), ROUTE("MemberPromote", member_promote),
};

void service_cluster(struct services *services, struct server *server)
{
    /* answer() relies on it */
    _Static_assert(sizeof(Etcdserverpb__MemberListResponse) == sizeof(Etcdserverpb__MemberPromoteResponse), "alike");
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
