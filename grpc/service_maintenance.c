/* etcdserverpb.Maintenance: status, alarms, hashes, defragment, transfer of leadership. */
#include "grpc/services.h"

#include "base/check.h"
#include <inttypes.h>
#include <stdlib.h>

/* --- status --- */

/* Go's text form of the message, with the one space that its own tools compare after squeezing. */
static const char *alarm_text(const Etcdserverpb__AlarmMember *alarm, struct arena *arena)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor, (int)alarm->alarm);
    /* Any number may have been raised: proto3's enums are open. */
    const char *type = value != NULL ? value->name : arena_printf(arena, "%d", (int)alarm->alarm);
    return alarm->memberid == 0 ? arena_printf(arena, "alarm:%s", type)
                                : arena_printf(arena, "memberID:%" PRIu64 " alarm:%s", alarm->memberid, type);
}

static void status_errors(struct services *services, struct arena *arena, Etcdserverpb__StatusResponse *response)
{
    size_t count;
    Etcdserverpb__AlarmMember **alarms =
        kv_alarms(core_kv(services->core), ETCDSERVERPB__ALARM_TYPE__NONE, arena, &count);
    response->errors = arena_alloc(arena, (count + 1) * sizeof *response->errors);
    if (!core_has_leader(services->core)) {
        response->errors[response->n_errors++] = (char *)error_text(ERR_NO_LEADER);
    }
    for (size_t i = 0; i < count; i++) {
        response->errors[response->n_errors++] = (char *)alarm_text(alarms[i], arena);
    }
}

static void status(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct services *services = service;
    struct core *core = services->core;
    struct kv *kv = core_kv(core);
    struct kv_stats stats = kv_stats(kv);
    struct raft_status raft = core_raft_status(core);
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, true);
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    const char *target = "";
    downgrade.enabled = kv_downgrade(kv, &target);
    downgrade.targetversion = (char *)target;
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    response.header = &header;
    response.version = (char *)SERVER_VERSION;
    response.dbsize = (int64_t)stats.size_bytes;
    response.dbsizeinuse = (int64_t)stats.size_in_use_bytes;
    response.dbsizequota = (int64_t)stats.quota_bytes;
    response.leader = raft.leader;
    response.raftindex = raft.commit;
    response.raftterm = raft.term;
    response.raftappliedindex = stats.applied_index;
    response.storageversion = (char *)kv_storage_version(kv);
    response.downgradeinfo = &downgrade;
    const struct kv_member *self = kv_member(kv, core_member_id(core));
    response.islearner = self != NULL && self->learner;
    status_errors(services, &call->arena, &response);
    call_reply(call, &response.base);
}

/* --- alarms --- */

/* A question too goes through the log in etcd; the answer is the same when it is asked after a read index, but the log
 * stays as it is (mvcc.md "What goes through raft": alarm, also GET). */
static void alarm_request(void *service, struct call *call, const ProtobufCMessage *message)
{
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.alarm = (Etcdserverpb__AlarmRequest *)message;
    service_propose(service, call, &internal, NULL);
}

/* --- hashes --- */

struct hash_call {
    struct core_hash *hash;
    struct call *call;
    struct services *services;
};

static void reply_hash(struct services *services, struct call *call, const struct kv_hash_result *result)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(services->core, &header, false);
    header.revision = result->current_revision;
    Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;
    response.header = &header;
    response.hash = result->hash;
    call_reply(call, &response.base);
}

static void reply_hash_kv(struct services *services, struct call *call, const struct kv_hash_result *result)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(services->core, &header, false);
    header.revision = result->current_revision;
    Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    response.header = &header;
    response.hash = result->hash;
    response.compact_revision = result->compact_revision;
    response.hash_revision = result->hash_revision;
    call_reply(call, &response.base);
}

static void reply(struct services *services, struct call *call, const struct kv_hash_result *result)
{
    if (call->route->response == &etcdserverpb__hash_response__descriptor) {
        reply_hash(services, call, result);
    } else {
        reply_hash_kv(services, call, result);
    }
}

static void hashed(struct core_hash *hash, int error)
{
    struct hash_call *owner = hash->owner;
    struct call *call = owner->call;
    struct services *services = owner->services;
    struct kv_hash_result result = hash->result;
    free(hash);
    if (error != 0) {
        call_fail(call, error);
    } else {
        reply(services, call, &result);
    }
}

static void hash_cancelled(struct call *call, int reason)
{
    (void)reason;
    core_hash_cancel(((struct hash_call *)call->state)->hash);
}

static void hash_start(struct services *services, struct call *call, enum kv_hash_kind kind, int64_t revision)
{
    static const struct call_handler handler = {.on_cancel = hash_cancelled};
    struct core_hash *hash = mem_zalloc(sizeof *hash);
    struct hash_call *owner = arena_zalloc(&call->arena, sizeof *owner);
    *owner = (struct hash_call){.hash = hash, .call = call, .services = services};
    hash->done = hashed;
    hash->owner = owner;
    int error = core_hash(services->core, hash, kind, revision);
    if (error == 0) {
        call->state = owner;
        call->handler = &handler;
        return;
    }
    if (error == CORE_READY) {
        reply(services, call, &hash->result);
    } else {
        call_fail(call, error);
    }
    free(hash);
}

static void hash_all(void *service, struct call *call, const ProtobufCMessage *message)
{
    (void)message;
    hash_start(service, call, KV_HASH_ALL, 0);
}

static void hash_kv(void *service, struct call *call, const ProtobufCMessage *message)
{
    hash_start(service, call, KV_HASH_KV, ((const Etcdserverpb__HashKVRequest *)message)->revision);
}

/* --- defragment --- */

/* Freed pages are reused and sparse leaves repacked all the time (design.md "Space"); what is left to do is to make the
 * file smaller, which stops nobody. */
struct defragment_call {
    struct core_request request;
    struct call *call;
    struct services *services;
};

static void defragmented(struct core_request *request, int error, ProtobufCMessage *none)
{
    (void)none;
    struct defragment_call *defragment = request->owner;
    if (error != 0) {
        call_fail(defragment->call, error);
        return;
    }
    Etcdserverpb__DefragmentResponse response = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;
    call_reply(defragment->call, &response.base);
}

static void defragment_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct defragment_call *defragment = call->state;
    core_cancel(defragment->services->core, &defragment->request);
}

static void defragment(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = defragment_cancelled};
    (void)message;
    struct services *services = service;
    struct defragment_call *defragment = arena_zalloc(&call->arena, sizeof *defragment);
    *defragment = (struct defragment_call){.call = call, .services = services};
    defragment->request.done = defragmented;
    defragment->request.owner = defragment;
    call->state = defragment;
    call->handler = &handler;
    int error = core_defragment(services->core, &defragment->request);
    if (error != 0) {
        call_fail(call, error);
    }
}

/* --- leadership --- */

struct move_call {
    struct core_request request;
    struct call *call;
    struct services *services;
};

static void moved(struct core_request *request, int error, ProtobufCMessage *none)
{
    (void)none;
    struct move_call *move = request->owner;
    if (error != 0) {
        call_fail(move->call, error);
        return;
    }
    Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    call_reply(move->call, &response.base);
}

static void move_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct move_call *move = call->state;
    core_cancel(move->services->core, &move->request);
}

static void move_leader(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = move_cancelled};
    struct services *services = service;
    struct move_call *move = arena_zalloc(&call->arena, sizeof *move);
    *move = (struct move_call){.call = call, .services = services};
    move->request.done = moved;
    move->request.owner = move;
    call->state = move;
    call->handler = &handler;
    int error =
        core_transfer(services->core, &move->request, ((const Etcdserverpb__MoveLeaderRequest *)message)->targetid);
    if (error != 0) {
        call_fail(call, error);
    }
}

static const struct call_route routes[] = {
    {"/etcdserverpb.Maintenance/Alarm", CALL_UNARY, CALL_CONTROL, &etcdserverpb__alarm_request__descriptor,
     &etcdserverpb__alarm_response__descriptor, alarm_request, NULL},
    {"/etcdserverpb.Maintenance/Status", CALL_UNARY, CALL_CONTROL, &etcdserverpb__status_request__descriptor,
     &etcdserverpb__status_response__descriptor, status, NULL},
    {"/etcdserverpb.Maintenance/Defragment", CALL_UNARY, CALL_CONTROL, &etcdserverpb__defragment_request__descriptor,
     &etcdserverpb__defragment_response__descriptor, defragment, NULL},
    {"/etcdserverpb.Maintenance/Hash", CALL_UNARY, CALL_CONTROL, &etcdserverpb__hash_request__descriptor,
     &etcdserverpb__hash_response__descriptor, hash_all, NULL},
    {"/etcdserverpb.Maintenance/HashKV", CALL_UNARY, CALL_CONTROL, &etcdserverpb__hash_kvrequest__descriptor,
     &etcdserverpb__hash_kvresponse__descriptor, hash_kv, NULL},
    {"/etcdserverpb.Maintenance/MoveLeader", CALL_UNARY, CALL_CONTROL, &etcdserverpb__move_leader_request__descriptor,
     &etcdserverpb__move_leader_response__descriptor, move_leader, NULL},
    {"/etcdserverpb.Maintenance/Downgrade", CALL_UNARY, CALL_CONTROL, &etcdserverpb__downgrade_request__descriptor,
     &etcdserverpb__downgrade_response__descriptor, service_downgrade, NULL},
    {"/etcdserverpb.Maintenance/Snapshot", CALL_SERVER_STREAM, CALL_CONTROL,
     &etcdserverpb__snapshot_request__descriptor, &etcdserverpb__snapshot_response__descriptor, service_snapshot, NULL},
};

void service_maintenance(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
