/* Room: what may be proposed while space lasts, the NOSPACE alarm when it does not, and its end.
 *
 * Two causes. The quota is etcd's: its alarm stays until somebody disarms it. A full disk is noticed by a failed commit
 * or by the log's lack of room: then the alarm is raised through the log (its entry fits into the log's reserve), and
 * the member that raised it clears it by an ordinary entry once there is room again (design.md "Space").
 *
 * Which of the two it was is in no table (a disk that is full takes no note). So a member that starts with its alarm on
 * goes by the store's size: far below the quota it can only have been the disk. */
#include "core/internal.h"

#include "base/check.h"

#define SPACE_CHECK_MS 1000

/* Deletes make room only by and by: they leave this much of the log's reserve to the others. */
#define KEPT_FROM_DELETES ((size_t)512 << 10)

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

static bool own_alarm(struct core *core)
{
    struct arena arena = {0};
    size_t count;
    bool found = false;
    Etcdserverpb__AlarmMember **alarms = kv_alarms(core->kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        found |= alarms[i]->memberid == core->config.member_id;
    }
    arena_free(&arena);
    return found;
}

void space_started(struct core *core)
{
    struct kv_stats stats = kv_stats(core->kv);
    bool below_quota = stats.quota_bytes == 0 || stats.size_bytes < stats.quota_bytes / 8 * 7;
    if (!core->alarm_judged && below_quota && own_alarm(core)) {
        core->raised_by_us = true;
    }
    core->alarm_judged = true;
}

/* --- the alarm --- */

static void raised(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_own *own = request->owner;
    own->in_flight = false;
    own->core->raise_open = error != 0;
}

static void raise_alarm(struct core *core)
{
    if (core->alarm_raise.in_flight || core->stopping || core->now_ms < core->alarm_raise.retry_ms ||
        kv_alarm(core->kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        return;
    }
    struct arena arena = {0};
    own_propose(core, &core->alarm_raise, kv_no_space_alarm(core->kv, &arena), PROPOSE_OWN, raised);
    arena_free(&arena);
}

void space_raise(struct core *core)
{
    core->raised_by_us = false;
    raise_alarm(core);
}

/* An alarm that is on already, or on its way, has its own reason and stays when this one is over. */
static void lack(struct core *core)
{
    if (!core->alarm_raise.in_flight && !kv_alarm(core->kv, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        core->raised_by_us = true;
    }
    core->lacking = true;
    raise_alarm(core);
}

void space_disk_full(struct core *core)
{
    core->disk_full = true;
    lack(core);
}

static void cleared(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_own *own = request->owner;
    own->in_flight = false;
    if (error == 0) {
        own->core->raised_by_us = own->core->raise_open = false;
    }
}

static void clear_alarm(struct core *core)
{
    if (core->alarm_clear.in_flight || core->alarm_raise.in_flight) {
        return;
    }
    if (!own_alarm(core) && !core->raise_open) { /* somebody was faster */
        core->raised_by_us = false;
        return;
    }
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    alarm.memberid = core->config.member_id;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.alarm = &alarm;
    own_propose(core, &core->alarm_clear, &internal, PROPOSE_OWN, cleared);
}

/* --- admission --- */

static int admit_room(struct core *core, const Etcdserverpb__InternalRaftRequest *internal, size_t bytes)
{
    if (makes_room(internal)) {
        uint64_t kept = internal->delete_range != NULL ? KEPT_FROM_DELETES : 0;
        return core->env->space(core->env).total_bytes < bytes + kept ? ERR_NO_SPACE : 0;
    }
    if (!short_of_room(core, bytes)) {
        return 0;
    }
    lack(core);
    return ERR_NO_SPACE;
}

/* In etcd's order: the quota (which raises the alarm), too many, the size; what its appliers refuse comes last. */
int space_admit(struct core *core, const Etcdserverpb__InternalRaftRequest *internal, size_t bytes)
{
    bool over_quota = false;
    int refused = kv_admit(core->kv, internal, &over_quota);
    if (over_quota) {
        space_raise(core);
        return refused;
    }
    if (core->commit - core->applied > CORE_MAX_UNAPPLIED && internal->lease_revoke == NULL) {
        return ERR_TOO_MANY_REQUESTS;
    }
    int error = kv_check_size(core->kv, bytes);
    if (error == 0) {
        error = refused;
    }
    return error != 0 ? error : admit_room(core, internal, bytes);
}

void space_slice(struct core *core)
{
    if ((!core->lacking && !core->raised_by_us) || core->now_ms < core->space_check_ms || core->stopping) {
        return;
    }
    core->space_check_ms = core->now_ms + SPACE_CHECK_MS;
    if (short_of_room(core, CORE_BATCH_BYTES)) {
        lack(core);
        return;
    }
    core->lacking = false;
    if (core->raised_by_us) {
        clear_alarm(core);
    }
}

uint64_t space_deadline(const struct core *core)
{
    return core->lacking || core->raised_by_us ? core->space_check_ms : UINT64_MAX;
}
