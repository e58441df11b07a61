#include "kv/alarm.h"
#include "kv/store.h"

#include <stdlib.h>

static int alarm_compare(struct alarm a, struct alarm b)
{
    if (a.type != b.type) {
        return a.type < b.type ? -1 : 1;
    }
    return (a.member_id > b.member_id) - (a.member_id < b.member_id);
}

static size_t alarm_place(const struct alarms *alarms, struct alarm alarm, bool *there)
{
    size_t at = 0;
    while (at < alarms->count && alarm_compare(alarms->items[at], alarm) < 0) {
        at++;
    }
    *there = at < alarms->count && alarm_compare(alarms->items[at], alarm) == 0;
    return at;
}

bool alarm_add(struct alarms *alarms, struct alarm alarm)
{
    bool there;
    size_t at = alarm_place(alarms, alarm, &there);
    if (there) {
        return false;
    }
    if (alarms->count == alarms->capacity) {
        alarms->capacity = alarms->capacity == 0 ? 4 : alarms->capacity * 2;
        alarms->items = mem_realloc(alarms->items, alarms->capacity * sizeof alarms->items[0]);
    }
    memmove(&alarms->items[at + 1], &alarms->items[at], (alarms->count - at) * sizeof alarm);
    alarms->items[at] = alarm;
    alarms->count++;
    return true;
}

bool alarm_remove(struct alarms *alarms, struct alarm alarm)
{
    bool there;
    size_t at = alarm_place(alarms, alarm, &there);
    if (there) {
        alarms->count--;
        memmove(&alarms->items[at], &alarms->items[at + 1], (alarms->count - at) * sizeof alarm);
    }
    return there;
}

bool alarm_any(const struct alarms *alarms, int32_t type)
{
    for (size_t i = 0; i < alarms->count; i++) {
        if (alarms->items[i].type == type) {
            return true;
        }
    }
    return false;
}

void alarm_free(struct alarms *alarms)
{
    free(alarms->items);
    *alarms = (struct alarms){0};
}

/* --- rows --- */

/* The row's key is an AlarmMember as protobuf: 08 member, 10 type; zero fields are left out. */
static size_t alarm_row(struct alarm alarm, uint8_t out[22])
{
    uint8_t *p = out;
    if (alarm.member_id != 0) {
        *p++ = 1 << 3;
        p += varint_put(p, alarm.member_id);
    }
    if (alarm.type != 0) {
        *p++ = 2 << 3;
        p += varint_put(p, (uint64_t)(int64_t)alarm.type);
    }
    return (size_t)(p - out);
}

int alarm_load(struct alarms *alarms, struct bytes row_key)
{
    struct alarm alarm = {0};
    while (row_key.len > 0) {
        uint64_t tag, value;
        size_t n = varint_get(row_key, &tag);
        if (n == 0 || (tag != 8 && tag != 16)) {
            return ERR_CORRUPT_DATA;
        }
        row_key = bytes_of(row_key.data + n, row_key.len - n);
        n = varint_get(row_key, &value);
        if (n == 0) {
            return ERR_CORRUPT_DATA;
        }
        row_key = bytes_of(row_key.data + n, row_key.len - n);
        if (tag == 8) {
            alarm.member_id = value;
        } else {
            alarm.type = (int32_t)value;
        }
    }
    alarm_add(alarms, alarm);
    return 0;
}

/* --- answers --- */

static Etcdserverpb__AlarmMember *alarm_message(struct alarm alarm, struct arena *arena)
{
    Etcdserverpb__AlarmMember *message = arena_alloc(arena, sizeof *message);
    etcdserverpb__alarm_member__init(message);
    message->memberid = alarm.member_id;
    message->alarm = (Etcdserverpb__AlarmType)alarm.type;
    return message;
}

bool kv_alarm(const struct kv *kv, Etcdserverpb__AlarmType alarm)
{
    return alarm_any(&kv->alarms, (int32_t)alarm);
}

Etcdserverpb__AlarmMember **kv_alarms(const struct kv *kv, Etcdserverpb__AlarmType alarm, struct arena *arena,
                                      size_t *count)
{
    Etcdserverpb__AlarmMember **list = arena_alloc(arena, (kv->alarms.count + 1) * sizeof list[0]);
    *count = 0;
    for (size_t i = 0; i < kv->alarms.count; i++) {
        if (alarm == ETCDSERVERPB__ALARM_TYPE__NONE || kv->alarms.items[i].type == (int32_t)alarm) {
            list[(*count)++] = alarm_message(kv->alarms.items[i], arena);
        }
    }
    return list;
}

static void answer_one(Etcdserverpb__AlarmResponse *response, struct alarm alarm, struct arena *arena)
{
    response->alarms = arena_alloc(arena, sizeof response->alarms[0]);
    response->alarms[0] = alarm_message(alarm, arena);
    response->n_alarms = 1;
}

Etcdserverpb__AlarmResponse *alarm_apply(struct kv *kv, const Etcdserverpb__AlarmRequest *request, struct arena *arena,
                                         bool *changed)
{
    Etcdserverpb__AlarmResponse *response = arena_alloc(arena, sizeof *response);
    etcdserverpb__alarm_response__init(response);
    struct alarm alarm = {request->memberid, (int32_t)request->alarm};
    uint8_t row[22];
    size_t len = alarm_row(alarm, row);
    *changed = false;
    switch (request->action) {
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET:
        response->alarms = kv_alarms(kv, request->alarm, arena, &response->n_alarms);
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE:
        if (alarm.type == ETCDSERVERPB__ALARM_TYPE__NONE) {
            break;
        }
        if (alarm_add(&kv->alarms, alarm)) {
            *changed = true;
            batch_put(kv, BACKEND_ALARM, bytes_of(row, len), (struct bytes){0});
        }
        answer_one(response, alarm, arena);
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE:
        if (alarm_remove(&kv->alarms, alarm)) {
            *changed = true;
            batch_delete(kv, BACKEND_ALARM, bytes_of(row, len));
            answer_one(response, alarm, arena);
        }
        break;
    default:
        break;
    }
    return response;
}

Etcdserverpb__InternalRaftRequest *kv_no_space_alarm(const struct kv *kv, struct arena *arena)
{
    Etcdserverpb__InternalRaftRequest *internal = arena_alloc(arena, sizeof *internal);
    etcdserverpb__internal_raft_request__init(internal);
    internal->header = arena_alloc(arena, sizeof *internal->header);
    etcdserverpb__request_header__init(internal->header);
    internal->alarm = arena_alloc(arena, sizeof *internal->alarm);
    etcdserverpb__alarm_request__init(internal->alarm);
    internal->alarm->action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    internal->alarm->memberid = kv->config.member_id;
    internal->alarm->alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    return internal;
}
