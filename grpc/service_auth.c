/* etcdserverpb.Auth, as far as nobody has turned authentication on: what can be read is read from the store's tables,
 * what would change them is refused by name. */
#include "grpc/services.h"

#include "kv/auth.h"

struct auth_call {
    struct core_request barrier;
    struct call *call;
    struct services *services;
    const ProtobufCMessage *request;
    int (*answer)(struct auth_call *auth, Etcdserverpb__ResponseHeader *header);
};

static void allowed(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct auth_call *auth = barrier->owner;
    if (error == 0) {
        Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        core_header(auth->services->core, &header, true);
        error = auth->answer(auth, &header);
    }
    if (error != 0) {
        call_fail(auth->call, error);
    }
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct auth_call *auth = call->state;
    core_cancel(auth->services->core, &auth->barrier);
}

/* etcd sends these questions through its log; a read index gives the same answer. */
static void ask(struct services *services, struct call *call, const ProtobufCMessage *request,
                int (*answer)(struct auth_call *auth, Etcdserverpb__ResponseHeader *header))
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    struct auth_call *auth = arena_zalloc(&call->arena, sizeof *auth);
    *auth = (struct auth_call){.call = call, .services = services, .request = request, .answer = answer};
    auth->barrier.done = allowed;
    auth->barrier.owner = auth;
    call->state = auth;
    call->handler = &handler;
    int error = core_barrier(services->core, &auth->barrier);
    if (error != 0) {
        call_fail(call, error);
    }
}

static struct kv *store(const struct auth_call *auth)
{
    return core_kv(auth->services->core);
}

/* --- status --- */

static int answer_status(struct auth_call *auth, Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__AuthStatusResponse response = ETCDSERVERPB__AUTH_STATUS_RESPONSE__INIT;
    bool enabled;
    int error = auth_status(store(auth), &enabled, &response.authrevision);
    if (error == 0) {
        response.header = header;
        response.enabled = enabled;
        call_reply(auth->call, &response.base);
    }
    return error;
}

static void status(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_status);
}

/* --- users --- */

static int answer_user_list(struct auth_call *auth, Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__AuthUserListResponse response = ETCDSERVERPB__AUTH_USER_LIST_RESPONSE__INIT;
    int error = auth_names(store(auth), BACKEND_AUTH_USERS, &auth->call->arena, &response.users, &response.n_users);
    if (error == 0) {
        response.header = header;
        call_reply(auth->call, &response.base);
    }
    return error;
}

static void user_list(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_user_list);
}

static int answer_user(struct auth_call *auth, Etcdserverpb__ResponseHeader *header)
{
    const Etcdserverpb__AuthUserGetRequest *request = (const Etcdserverpb__AuthUserGetRequest *)auth->request;
    Authpb__User *user;
    int error = auth_user(store(auth), request->name, &auth->call->arena, &user);
    if (error == 0) {
        Etcdserverpb__AuthUserGetResponse response = ETCDSERVERPB__AUTH_USER_GET_RESPONSE__INIT;
        response.header = header;
        response.roles = user->roles;
        response.n_roles = user->n_roles;
        call_reply(auth->call, &response.base);
    }
    return error;
}

static void user_get(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_user);
}

/* --- roles --- */

static int answer_role_list(struct auth_call *auth, Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__AuthRoleListResponse response = ETCDSERVERPB__AUTH_ROLE_LIST_RESPONSE__INIT;
    int error = auth_names(store(auth), BACKEND_AUTH_ROLES, &auth->call->arena, &response.roles, &response.n_roles);
    if (error == 0) {
        response.header = header;
        call_reply(auth->call, &response.base);
    }
    return error;
}

static void role_list(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_role_list);
}

static int answer_role(struct auth_call *auth, Etcdserverpb__ResponseHeader *header)
{
    const Etcdserverpb__AuthRoleGetRequest *request = (const Etcdserverpb__AuthRoleGetRequest *)auth->request;
    Authpb__Role *role;
    int error = auth_role(store(auth), request->role, &auth->call->arena, &role);
    if (error == 0) {
        Etcdserverpb__AuthRoleGetResponse response = ETCDSERVERPB__AUTH_ROLE_GET_RESPONSE__INIT;
        response.header = header;
        response.perm = role->keypermission;
        response.n_perm = role->n_keypermission;
        call_reply(auth->call, &response.base);
    }
    return error;
}

static void role_get(void *service, struct call *call, const ProtobufCMessage *message)
{
    ask(service, call, message, answer_role);
}

/* --- Authenticate: nobody can, as long as authentication is off --- */

static void authenticate(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    call_fail(call, ERR_AUTH_NOT_ENABLED);
}

#define METHOD(name, type, handler)                                                                                    \
    {                                                                                                                  \
        "/etcdserverpb.Auth/" name, CALL_UNARY, CALL_CONTROL, &etcdserverpb__##type##_request__descriptor,             \
            &etcdserverpb__##type##_response__descriptor, handler, NULL                                                \
    }

static const struct call_route routes[] = {
    METHOD("AuthStatus", auth_status, status),
    METHOD("UserList", auth_user_list, user_list),
    METHOD("UserGet", auth_user_get, user_get),
    METHOD("RoleList", auth_role_list, role_list),
    METHOD("RoleGet", auth_role_get, role_get),
    METHOD("Authenticate", authenticate, authenticate),
    METHOD("AuthEnable", auth_enable, service_not_yet),
    METHOD("AuthDisable", auth_disable, service_not_yet),
    METHOD("UserAdd", auth_user_add, service_not_yet),
    METHOD("UserDelete", auth_user_delete, service_not_yet),
    METHOD("UserChangePassword", auth_user_change_password, service_not_yet),
    METHOD("UserGrantRole", auth_user_grant_role, service_not_yet),
    METHOD("UserRevokeRole", auth_user_revoke_role, service_not_yet),
    METHOD("RoleAdd", auth_role_add, service_not_yet),
    METHOD("RoleDelete", auth_role_delete, service_not_yet),
    METHOD("RoleGrantPermission", auth_role_grant_permission, service_not_yet),
    METHOD("RoleRevokePermission", auth_role_revoke_permission, service_not_yet),
};

void service_auth(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
