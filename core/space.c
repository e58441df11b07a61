/* Room: what may be proposed while space lasts, the NOSPACE alarm when it does not, and its end.
 *
 * Two causes. The quota is etcd's: its alarm stays until somebody disarms it. A full disk is noticed by a failed commit or
 * by the log's lack of room: then the alarm is raised through the log (its entry fits into the log's reserve), and the
 * member that raised it clears it by an ordinary entry once there is room again (design.md "Space"). */
#include "core/internal.h"

#include "base/check.h"

#define SPACE_CHECK_MS 1000

/* What makes room, or says that there is none: admitted as long as the reserve lasts. */
static bool makes_room(const Etcdserverpb__InternalRaftRequest *internal)
{
    return internal->compaction != NULL || internal->lease_revoke != NULL || internal->alarm != NULL ||
           internal->delete_range != NULL;
}

static bool short_of_room(const struct core *core, size_t bytes)
{
    struct core_space space = core->env->space(core->env);
    return core->disk_full || space.ordinary_bytes < bytes;
}

int space_admit(struct core *core, const Etcdserverpb__InternalRaftRequest *internal, size_t bytes)
{
    int error = kv_check_size(core->kv, bytes);
    if (error != 0) {
        return error;
    }
    if (core->commit - core->applied > CORE_MAX_UNAPPLIED && internal->lease_revoke == NULL) {
        return ERR_TOO_MANY_REQUESTS;
    }
    bool raise = false;
    error = kv_admit(core->kv, internal, &raise);
    if (error == 0 && !makes_room(internal) && short_of_room(core, bytes)) {
        error = ERR_NO_SPACE;
        raise = true;
        core->raised_by_us = true;
    } else if (error == 0 && makes_room(internal) && core->env->space(core->env).total_bytes < bytes) {
        error = ERR_NO_SPACE;
    }
    if (raise) {
        space_raise(core);
    }
    return error;
}

static void raised(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)error;
    (void)response;
    ((struct core_own *)request->owner)->in_flight = false;
}

void space_raise(struct core *core)
{
    if (core->alarm_raise.in_flight || core->stopping || core->now_ms < core->alarm_raise.retry_ms ||
        kv_alarm(core->kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        return;
    }
    struct arena arena = {0};
    own_propose(core, &core->alarm_raise, kv_no_space_alarm(core->kv, &arena), raised);
    arena_free(&arena);
}

void space_disk_full(struct core *core)
{
    core->disk_full = true;
    core->raised_by_us = true;
    space_raise(core);
}

static void cleared(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_own *own = request->owner;
    own->in_flight = false;
    if (error == 0) {
        own->core->raised_by_us = false;
    }
}

void space_slice(struct core *core)
{
    if (!core->raised_by_us || core->now_ms < core->space_check_ms || core->stopping) {
        return;
    }
    core->space_check_ms = core->now_ms + SPACE_CHECK_MS;
    if (short_of_room(core, CORE_BATCH_BYTES)) {
        space_raise(core);
        return;
    }
    if (core->alarm_clear.in_flight) {
        return;
    }
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    alarm.memberid = core->config.member_id;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.alarm = &alarm;
    own_propose(core, &core->alarm_clear, &internal, cleared);
}

uint64_t space_deadline(const struct core *core)
{
    return core->raised_by_us ? core->space_check_ms : UINT64_MAX;
}
