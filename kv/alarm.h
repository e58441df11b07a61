/* Alarms: facts about members that stay until somebody takes them back (mvcc.md "Quota", backend.md "alarm"). A
 * handful; kept as an array in ascending order of (type, member). */
#ifndef KV_ALARM_H
#define KV_ALARM_H

#include "base/arena.h"
#include "kv/rpc.pb-c.h"

struct kv;

struct alarm {
    uint64_t member_id;
    int32_t type; /* Etcdserverpb__AlarmType; etcd takes any number */
};

struct alarms {
    struct alarm *items;
    size_t count, capacity;
};

bool alarm_add(struct alarms *alarms, struct alarm alarm);    /* false = was there */
bool alarm_remove(struct alarms *alarms, struct alarm alarm); /* false = was not there */
bool alarm_any(const struct alarms *alarms, int32_t type);
void alarm_free(struct alarms *alarms);

/* Row of table `alarm`: 0 or ERR_CORRUPT_DATA. */
int alarm_load(struct alarms *alarms, struct bytes row_key);

/* Applies an AlarmRequest; the answer is etcd's. *changed = the set is another one now. */
Etcdserverpb__AlarmResponse *alarm_apply(struct kv *kv, const Etcdserverpb__AlarmRequest *request, struct arena *arena,
                                         bool *changed);

#endif
