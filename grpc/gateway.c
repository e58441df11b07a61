#include "grpc/gateway.h"

#include "base/check.h"
#include "base/pb.h"
#include "grpc/clean_path.h"
#include "grpc/gateway_messages.h"
#include "grpc/gateway_stream.h"
#include "grpc/json.h"
#include "grpc/services.h"
#include "grpc/v3election.pb-c.h"
#include "grpc/v3lock.pb-c.h"
#include "kv/rpc.pb-c.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct gateway_route {
    const char *path, *method;
    const ProtobufCMessageDescriptor *request;
};

/* services.tsv, columns http_path, service, method. */
/* clang-format off */
static const struct gateway_route gateway_routes[] = {
    {"/v3/kv/range", "/etcdserverpb.KV/Range", &etcdserverpb__range_request__descriptor},
    {"/v3/kv/put", "/etcdserverpb.KV/Put", &etcdserverpb__put_request__descriptor},
    {"/v3/kv/deleterange", "/etcdserverpb.KV/DeleteRange", &etcdserverpb__delete_range_request__descriptor},
    {"/v3/kv/txn", "/etcdserverpb.KV/Txn", &etcdserverpb__txn_request__descriptor},
    {"/v3/kv/compaction", "/etcdserverpb.KV/Compact", &etcdserverpb__compaction_request__descriptor},
    {"/v3/watch", "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_request__descriptor},
    {"/v3/lease/grant", "/etcdserverpb.Lease/LeaseGrant", &etcdserverpb__lease_grant_request__descriptor},
    {"/v3/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", &etcdserverpb__lease_revoke_request__descriptor},
    {"/v3/kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", &etcdserverpb__lease_revoke_request__descriptor},
    {"/v3/lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive", &etcdserverpb__lease_keep_alive_request__descriptor},
    {"/v3/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", &etcdserverpb__lease_time_to_live_request__descriptor},
    {"/v3/kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", &etcdserverpb__lease_time_to_live_request__descriptor},
    {"/v3/lease/leases", "/etcdserverpb.Lease/LeaseLeases", &etcdserverpb__lease_leases_request__descriptor},
    {"/v3/kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases", &etcdserverpb__lease_leases_request__descriptor},
    {"/v3/cluster/member/add", "/etcdserverpb.Cluster/MemberAdd", &etcdserverpb__member_add_request__descriptor},
    {"/v3/cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove", &etcdserverpb__member_remove_request__descriptor},
    {"/v3/cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate", &etcdserverpb__member_update_request__descriptor},
    {"/v3/cluster/member/list", "/etcdserverpb.Cluster/MemberList", &etcdserverpb__member_list_request__descriptor},
    {"/v3/cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote", &etcdserverpb__member_promote_request__descriptor},
    {"/v3/maintenance/alarm", "/etcdserverpb.Maintenance/Alarm", &etcdserverpb__alarm_request__descriptor},
    {"/v3/maintenance/status", "/etcdserverpb.Maintenance/Status", &etcdserverpb__status_request__descriptor},
    {"/v3/maintenance/defragment", "/etcdserverpb.Maintenance/Defragment", &etcdserverpb__defragment_request__descriptor},
    {"/v3/maintenance/hash", "/etcdserverpb.Maintenance/Hash", &etcdserverpb__hash_request__descriptor},
    {"/v3/maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV", &etcdserverpb__hash_kvrequest__descriptor},
    {"/v3/maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot", &etcdserverpb__snapshot_request__descriptor},
    {"/v3/maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader", &etcdserverpb__move_leader_request__descriptor},
    {"/v3/maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade", &etcdserverpb__downgrade_request__descriptor},
    {"/v3/auth/enable", "/etcdserverpb.Auth/AuthEnable", &etcdserverpb__auth_enable_request__descriptor},
    {"/v3/auth/disable", "/etcdserverpb.Auth/AuthDisable", &etcdserverpb__auth_disable_request__descriptor},
    {"/v3/auth/status", "/etcdserverpb.Auth/AuthStatus", &etcdserverpb__auth_status_request__descriptor},
    {"/v3/auth/authenticate", "/etcdserverpb.Auth/Authenticate", &etcdserverpb__authenticate_request__descriptor},
    {"/v3/auth/user/add", "/etcdserverpb.Auth/UserAdd", &etcdserverpb__auth_user_add_request__descriptor},
    {"/v3/auth/user/get", "/etcdserverpb.Auth/UserGet", &etcdserverpb__auth_user_get_request__descriptor},
    {"/v3/auth/user/list", "/etcdserverpb.Auth/UserList", &etcdserverpb__auth_user_list_request__descriptor},
    {"/v3/auth/user/delete", "/etcdserverpb.Auth/UserDelete", &etcdserverpb__auth_user_delete_request__descriptor},
    {"/v3/auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword", &etcdserverpb__auth_user_change_password_request__descriptor},
    {"/v3/auth/user/grant", "/etcdserverpb.Auth/UserGrantRole", &etcdserverpb__auth_user_grant_role_request__descriptor},
    {"/v3/auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole", &etcdserverpb__auth_user_revoke_role_request__descriptor},
    {"/v3/auth/role/add", "/etcdserverpb.Auth/RoleAdd", &etcdserverpb__auth_role_add_request__descriptor},
    {"/v3/auth/role/get", "/etcdserverpb.Auth/RoleGet", &etcdserverpb__auth_role_get_request__descriptor},
    {"/v3/auth/role/list", "/etcdserverpb.Auth/RoleList", &etcdserverpb__auth_role_list_request__descriptor},
    {"/v3/auth/role/delete", "/etcdserverpb.Auth/RoleDelete", &etcdserverpb__auth_role_delete_request__descriptor},
    {"/v3/auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission", &etcdserverpb__auth_role_grant_permission_request__descriptor},
    {"/v3/auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission", &etcdserverpb__auth_role_revoke_permission_request__descriptor},
    {"/v3/election/campaign", "/v3electionpb.Election/Campaign", &v3electionpb__campaign_request__descriptor},
    {"/v3/election/proclaim", "/v3electionpb.Election/Proclaim", &v3electionpb__proclaim_request__descriptor},
    {"/v3/election/leader", "/v3electionpb.Election/Leader", &v3electionpb__leader_request__descriptor},
    {"/v3/election/observe", "/v3electionpb.Election/Observe", &v3electionpb__leader_request__descriptor},
    {"/v3/election/resign", "/v3electionpb.Election/Resign", &v3electionpb__resign_request__descriptor},
    {"/v3/lock/lock", "/v3lockpb.Lock/Lock", &v3lockpb__lock_request__descriptor},
    {"/v3/lock/unlock", "/v3lockpb.Lock/Unlock", &v3lockpb__unlock_request__descriptor},
};
/* clang-format on */

/* A call whose other side is an HTTP/1 request. */
struct gateway_call {
    struct call call; /* first */
    struct http1_request *request;
    struct loop_timer deadline;
    struct gateway *gateway;
    struct gateway_stream *stream; /* of a large answer */
    struct call_source source;     /* of one that is there as a whole */
    struct bytes source_rest;
    struct buffer encoded; /* a long request's */
    bool begun;            /* the first of many messages is out */
    bool ended;
};

/* A request's JSON on its way to a message; a long one is read by another thread. */
struct gateway_body {
    struct loop_work work;
    struct gateway *gateway;
    const struct gateway_route *found;
    struct http1_request *request; /* NULL: gone */
    uint64_t timeout_ms;
    struct buffer copy; /* of a long one */
    struct buffer encoded;
    struct arena arena;
    const char *reason; /* NULL: it is what the method wants, as far as JSON goes */
    const ProtobufCMessage *message;
    int error; /* the check's */
};

#define LONG_BODY_BYTES ((size_t)16 * 1024)
#define LONG_ANSWER_BYTES ((size_t)64 * 1024)
#define FREE_AT_ONCE ((size_t)256 * 1024)

int gateway_status(enum grpc_code code)
{
    switch (code) {
    case GRPC_OK:
        return 200;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
        return 400;
    case GRPC_UNAUTHENTICATED:
        return 401;
    case GRPC_PERMISSION_DENIED:
        return 403;
    case GRPC_NOT_FOUND:
        return 404;
    case GRPC_ALREADY_EXISTS:
    case GRPC_ABORTED:
        return 409;
    case GRPC_RESOURCE_EXHAUSTED:
        return 429;
    case GRPC_CANCELLED:
        return 499;
    case GRPC_UNIMPLEMENTED:
        return 501;
    case GRPC_UNAVAILABLE:
        return 503;
    case GRPC_DEADLINE_EXCEEDED:
        return 504;
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return 500;
    }
    return 500;
}

static void respond_error(struct http1_request *request, int status, enum grpc_code code, const char *text)
{
    struct buffer out = {0};
    buffer_printf(&out, "{\"code\":%d,\"message\":", (int)code);
    json_print_string(bytes_str(text), &out);
    buffer_printf(&out, "}");
    http1_respond(request, status, "application/json", buffer_bytes(&out));
    buffer_free(&out);
}

/* --- the call's transport --- */

static struct gateway_call *end(struct call *call)
{
    struct gateway_call *gateway = container_of(call, struct gateway_call, call);
    CHECK(!gateway->ended);
    gateway->ended = true;
    gateway->request->on_abort = NULL;
    gateway->request->on_writable = NULL;
    loop_timer_stop(gateway->request->loop, &gateway->deadline);
    return gateway;
}

/* Memory that a request of very many fields took. */
struct spent {
    struct loop_work work;
    struct arena arena;
    size_t *open;
};

static void free_spent(struct loop_work *work)
{
    arena_free(&container_of(work, struct spent, work)->arena);
}

static void spent_freed(struct loop_work *work)
{
    struct spent *spent = container_of(work, struct spent, work);
    --*spent->open;
    free(spent);
}

static void free_arena(struct gateway *gateway, struct loop *loop, struct arena *arena)
{
    if (arena->total <= FREE_AT_ONCE) {
        arena_free(arena);
        return;
    }
    struct spent *spent = mem_zalloc(sizeof *spent);
    spent->work.run = free_spent;
    spent->work.done = spent_freed;
    spent->arena = *arena;
    spent->open = server_work_count(gateway->server);
    *arena = (struct arena){0};
    ++*spent->open;
    loop_work_start(loop, &spent->work);
}

/* Frees the call; the request lives on in HTTP/1's hands. */
static void done(struct gateway_call *gateway)
{
    struct loop *loop = gateway->request->loop;
    free_arena(gateway->gateway, loop, &gateway->call.message_arena);
    free_arena(gateway->gateway, loop, &gateway->call.arena);
    buffer_free(&gateway->encoded);
    free(gateway);
}

static void respond(struct gateway_call *gateway, const ProtobufCMessage *message)
{
    struct buffer out = {0};
    json_print_message(message, &out);
    http1_set(gateway->request, "Grpc-Metadata-Content-Type", "application/grpc");
    http1_respond(gateway->request, 200, "application/json", buffer_bytes(&out));
    buffer_free(&out);
    done(gateway);
}

static void reply(struct call *call, const ProtobufCMessage *message)
{
    respond(end(call), message);
}

static void stream_ended(void *owner)
{
    done(owner);
}

static void reply_stream(struct call *call, uint64_t length, struct call_source *source)
{
    struct gateway_call *gateway = end(call);
    http1_set(gateway->request, "Grpc-Metadata-Content-Type", "application/grpc");
    gateway->stream =
        gateway_stream_begin(gateway->request, call->route->response, length, source, stream_ended, gateway);
}

static ssize_t read_whole(struct call_source *source, uint8_t *out, size_t cap)
{
    struct gateway_call *gateway = container_of(source, struct gateway_call, source);
    struct bytes *rest = &gateway->source_rest;
    size_t n = rest->len < cap ? rest->len : cap;
    memcpy(out, rest->data, n);
    *rest = bytes_of(rest->data + n, rest->len - n);
    return (ssize_t)n;
}

static void end_whole(struct call_source *source)
{
    (void)source;
}

static void reply_encoded(struct call *call, struct bytes encoded, bool copied)
{
    if (encoded.len > LONG_ANSWER_BYTES) { /* printed a slice a turn */
        struct gateway_call *gateway = container_of(call, struct gateway_call, call);
        gateway->source = (struct call_source){.read = read_whole, .end = end_whole};
        gateway->source_rest = copied ? arena_copy(&call->arena, encoded) : encoded;
        reply_stream(call, encoded.len, &gateway->source);
        return;
    }
    const ProtobufCMessage *message = pb_unpack(call->route->response, encoded, &call->message_arena, NULL);
    CHECK(message != NULL, "an answer of %s cannot be read", call->route->path);
    respond(end(call), message);
}

static void source_ready(struct call *call)
{
    gateway_stream_ready(container_of(call, struct gateway_call, call)->stream);
}

/* The status of a call that ends with one. */
static void respond_status(struct gateway_call *gateway, enum grpc_code code, const char *text)
{
    if (gateway->call.route->kind == CALL_SERVER_STREAM) {
        gateway_messages_end(gateway->request, gateway->begun, gateway_status(code), code, text);
    } else {
        respond_error(gateway->request, gateway_status(code), code, text);
    }
}

static void finish(struct call *call, enum grpc_code code, const char *text)
{
    struct gateway_call *gateway = end(call);
    respond_status(gateway, code, text);
    done(gateway);
}

/* --- of many messages --- */

static void begin(struct call *call)
{
    struct gateway_call *gateway = container_of(call, struct gateway_call, call);
    if (!gateway->begun) {
        gateway->begun = true;
        gateway_messages_begin(gateway->request);
    }
}

static void send_parts(struct call *call, const struct call_part *parts, size_t count)
{
    begin(call);
    gateway_messages_write(container_of(call, struct gateway_call, call)->request, call->route->response, parts, count);
}

static bool is_writable(struct call *call)
{
    return http1_writable(container_of(call, struct gateway_call, call)->request);
}

static void writable(struct http1_request *request)
{
    struct gateway_call *gateway = request->state;
    if (gateway->call.handler != NULL && gateway->call.handler->on_writable != NULL) {
        gateway->call.handler->on_writable(&gateway->call);
    }
}

static bool printable(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < ' ' || value.data[i] > '~') {
            return false;
        }
    }
    return true;
}

/* Only Authorization and Grpc-Metadata-* pass (grpc.md), and of those what gRPC allows as a value. */
static struct bytes metadata(const struct call *call, const char *name)
{
    const struct gateway_call *gateway = container_of(call, const struct gateway_call, call);
    if (strcmp(name, "authorization") == 0) {
        return http1_header(gateway->request, name);
    }
    char header[128];
    snprintf(header, sizeof header, "grpc-metadata-%s", name);
    struct bytes value = http1_header(gateway->request, header);
    return printable(value) ? value : (struct bytes){0};
}

static const struct call_ops gateway_ops = {
    .metadata = metadata,
    .reply = reply,
    .reply_encoded = reply_encoded,
    .reply_stream = reply_stream,
    .source_ready = source_ready,
    .finish = finish,
    .send = send_parts,
    .headers = begin,
    .writable = is_writable,
};

/* The call ends without its service. */
static void cancel(struct gateway_call *gateway, int reason)
{
    end(&gateway->call);
    if (gateway->call.handler != NULL && gateway->call.handler->on_cancel != NULL) {
        gateway->call.handler->on_cancel(&gateway->call, reason);
    }
}

static void aborted(struct http1_request *request)
{
    struct gateway_call *gateway = request->state;
    cancel(gateway, ERR_CONTEXT_CANCELED);
    done(gateway);
}

static void respond_failure(struct http1_request *request, int error)
{
    respond_error(request, gateway_status(error_code(error)), error_code(error), error_text(error));
}

static void too_late(struct loop_timer *timer)
{
    struct gateway_call *gateway = container_of(timer, struct gateway_call, deadline);
    cancel(gateway, ERR_CONTEXT_DEADLINE_EXCEEDED);
    respond_status(gateway, error_code(ERR_CONTEXT_DEADLINE_EXCEEDED), error_text(ERR_CONTEXT_DEADLINE_EXCEEDED));
    done(gateway);
}

/* --- from request to call --- */

static const struct gateway_route *find(struct bytes path)
{
    for (size_t i = 0; i < sizeof gateway_routes / sizeof gateway_routes[0]; i++) {
        if (bytes_equal(bytes_str(gateway_routes[i].path), path)) {
            return &gateway_routes[i];
        }
    }
    return NULL;
}

/* Grpc-Timeout as grpc-gateway reads it: unlike gRPC itself with a sign and any number of digits. *timeout_ms is
 * UINT64_MAX without one, 0 when it is over already. */
static bool read_timeout(struct http1_request *request, uint64_t *timeout_ms)
{
    static const char units[] = "HMSmun";
    static const double unit_ms[] = {3600000, 60000, 1000, 1, 1e-3, 1e-6};
    struct bytes value = http1_header(request, "grpc-timeout");
    *timeout_ms = UINT64_MAX;
    if (value.len == 0) {
        return true;
    }
    const char *text = arena_printf(&request->arena, "%.*s", (int)value.len, (const char *)value.data);
    const char *unit = value.len < 2 ? NULL : strchr(units, text[value.len - 1]);
    char *end;
    errno = 0;
    long long count = strtoll(text, &end, 10);
    if (unit == NULL || *unit == '\0' || end != text + value.len - 1 || errno != 0 || text[0] == ' ') {
        return false;
    }
    double ms = (double)count * unit_ms[unit - units];
    if (count != 0) { /* 0 is none */
        *timeout_ms = ms < 1 ? 0 : ms > 9e15 ? UINT64_MAX : (uint64_t)ms;
    }
    return true;
}

static void start(struct gateway_body *body, const struct call_route *route, void *service)
{
    struct gateway *gateway = body->gateway;
    struct http1_request *request = body->request;
    struct gateway_call *owner = mem_zalloc(sizeof *owner);
    struct call *call = &owner->call;
    owner->request = request;
    owner->gateway = gateway;
    call->ops = &gateway_ops;
    call->route = route;
    call->service = service;
    call->peer = request->peer;
    call->deadline_ms =
        body->timeout_ms == UINT64_MAX ? CALL_NO_DEADLINE : loop_now_ms(request->loop) + body->timeout_ms;
    call->lane = route->lane;
    call->request_bytes = body->encoded.len;
    call->arena = body->arena;
    body->arena = (struct arena){0};
    if (body->encoded.len > LONG_BODY_BYTES) {
        owner->encoded = body->encoded;
        body->encoded = (struct buffer){0};
        call->encoded = buffer_bytes(&owner->encoded);
    }
    list_init(&call->node);
    request->state = owner;
    request->on_abort = aborted;
    request->on_writable = writable;
    int error = body->message == NULL        ? ERR_INVALID
                : gateway->intercept != NULL ? gateway->intercept(gateway->owner, call)
                                             : 0;
    error = error != 0 ? error : body->error;
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    if (body->timeout_ms != UINT64_MAX) {
        owner->deadline.fire = too_late;
        loop_timer_set(request->loop, &owner->deadline, call->deadline_ms);
    }
    route->unary(service, call, body->message);
}

static void refuse_length(struct gateway *gateway, struct http1_request *request, size_t length)
{
    respond_error(request, 429, GRPC_RESOURCE_EXHAUSTED,
                  arena_printf(&request->arena, "grpc: received message larger than max (%zu vs. %zu)", length,
                               gateway->max_receive_bytes));
}

/* On any thread. */
static void read_body(struct gateway_body *body, struct bytes json)
{
    const struct gateway *gateway = body->gateway;
    if (json_parse_message(body->found->request, json, &body->encoded, &body->arena, &body->reason) != 0 ||
        body->encoded.len > gateway->max_receive_bytes) {
        return;
    }
    body->message = pb_unpack(body->found->request, buffer_bytes(&body->encoded), &body->arena, NULL);
    if (body->message != NULL && gateway->check != NULL) {
        body->error = gateway->check(gateway->owner, body->message);
    }
}

static void body_is_read(struct gateway_body *body)
{
    struct gateway *gateway = body->gateway;
    struct http1_request *request = body->request;
    const struct gateway_route *found = body->found;
    void *service = NULL;
    const struct call_route *route = server_find(gateway->server, bytes_str(found->method), &service);
    if (body->reason != NULL) {
        respond_error(request, 400, GRPC_INVALID_ARGUMENT, body->reason);
    } else if (route == NULL || route->kind == CALL_STREAM || route->unary == service_not_yet) {
        respond_error(request, 501, GRPC_UNIMPLEMENTED,
                      arena_printf(&request->arena, "%s is not supported by kedge%s yet", found->method + 1,
                                   route != NULL && route->unary != service_not_yet ? "'s gateway" : ""));
    } else if (body->timeout_ms == 0) {
        respond_failure(request, ERR_CONTEXT_DEADLINE_EXCEEDED);
    } else if (body->encoded.len > gateway->max_receive_bytes) {
        refuse_length(gateway, request, body->encoded.len);
    } else {
        start(body, route, service);
    }
}

/* --- long ones --- */

static void read_elsewhere(struct loop_work *work)
{
    struct gateway_body *body = container_of(work, struct gateway_body, work);
    read_body(body, buffer_bytes(&body->copy));
    buffer_free(&body->copy);
}

static void read_there(struct loop_work *work)
{
    struct gateway_body *body = container_of(work, struct gateway_body, work);
    --*server_work_count(body->gateway->server);
    if (body->request != NULL) {
        body->request->on_abort = NULL;
        body_is_read(body);
    }
    arena_free(&body->arena);
    buffer_free(&body->encoded);
    free(body);
}

static void body_aborted(struct http1_request *request)
{
    ((struct gateway_body *)request->state)->request = NULL;
}

static void read_long_body(const struct gateway_body *short_one)
{
    struct gateway_body *body = mem_alloc(sizeof *body);
    *body = *short_one;
    buffer_append(&body->copy, body->request->body.data, body->request->body.len);
    body->request->state = body;
    body->request->on_abort = body_aborted;
    body->work.run = read_elsewhere;
    body->work.done = read_there;
    ++*server_work_count(body->gateway->server);
    loop_work_start(body->request->loop, &body->work);
}

static void call_route(struct gateway *gateway, struct http1_request *request, const struct gateway_route *found)
{
    struct gateway_body body = {.gateway = gateway, .request = request, .found = found};
    if (!read_timeout(request, &body.timeout_ms)) {
        struct bytes timeout = http1_header(request, "grpc-timeout");
        respond_error(
            request, 400, GRPC_INVALID_ARGUMENT,
            arena_printf(&request->arena, "invalid grpc-timeout: %.*s", (int)timeout.len, (const char *)timeout.data));
    } else if (request->body.len > LONG_BODY_BYTES) {
        read_long_body(&body);
    } else {
        read_body(&body, request->body);
        body_is_read(&body);
    }
    arena_free(&body.arena);
    buffer_free(&body.encoded);
}

static bool has_prefix(struct bytes path, const char *prefix)
{
    size_t n = strlen(prefix);
    return path.len >= n && memcmp(path.data, prefix, n) == 0;
}

bool gateway_handle(void *owner, struct http1_request *request)
{
    struct gateway *gateway = owner;
    struct bytes path = request->path;
    if (has_prefix(path, "/v3beta/")) {
        const char *text = arena_printf(&request->arena, "/v3/%.*s", (int)(path.len - 8), (const char *)path.data + 8);
        path = bytes_str(text);
    } else if (bytes_equal(path, bytes_str("/v3"))) {
        clean_path_send(request, "/v3/");
        return true;
    } else if (!has_prefix(path, "/v3/")) {
        return false;
    }
    const struct gateway_route *found = find(path);
    if (found == NULL) {
        respond_error(request, 404, GRPC_NOT_FOUND, "Not Found");
    } else if (!http1_method_is(request, "POST")) {
        respond_error(request, 501, GRPC_UNIMPLEMENTED, "Method Not Allowed");
    } else {
        call_route(gateway, request, found);
    }
    return true;
}
