/* What commands print, in the five formats of etcdctl (output.tsv): simple, fields, json, table, protobuf. Each
 * function appends to `out` and returns 0, or an exit status after a message when the format has nothing for this
 * answer. */
#ifndef CMD_KEDGECTL_PRINTER_H
#define CMD_KEDGECTL_PRINTER_H

#include "base/arena.h"
#include "base/bytes.h"
#include "kv/rpc.pb-c.h"

enum print_format { PRINT_SIMPLE, PRINT_FIELDS, PRINT_JSON, PRINT_TABLE, PRINT_PROTOBUF };

struct printer {
    enum print_format format;
    bool hex;        /* --hex */
    bool value_only; /* --print-value-only */
    struct buffer out;
    struct arena *arena;
};

/* "simple", ...: false when there is no such format. */
bool printer_find_format(const char *name, enum print_format *out);
/* Writes what was printed to stdout and flushes it. */
void printer_flush(struct printer *p);
void printer_free(struct printer *p);

int printer_get(struct printer *p, const Etcdserverpb__RangeResponse *r);
int printer_put(struct printer *p, const Etcdserverpb__PutResponse *r);
int printer_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r);
int printer_txn(struct printer *p, const Etcdserverpb__TxnResponse *r);
int printer_watch(struct printer *p, const Etcdserverpb__WatchResponse *r);
int printer_grant(struct printer *p, const Etcdserverpb__LeaseGrantResponse *r);
int printer_revoke(struct printer *p, int64_t id, const Etcdserverpb__LeaseRevokeResponse *r);
int printer_keep_alive(struct printer *p, const Etcdserverpb__LeaseKeepAliveResponse *r);
int printer_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys);
int printer_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r);
int printer_members(struct printer *p, const Etcdserverpb__MemberListResponse *r);
/* What all answers about members have. */
struct member_answer {
    const ProtobufCMessage *message; /* the whole */
    const Etcdserverpb__ResponseHeader *header;
    const Etcdserverpb__Member *added; /* NULL but for MemberAdd */
    Etcdserverpb__Member *const *members;
    size_t count;
};
/* done: what was done to which member, for format simple ("removed from"). */
int printer_member_change(struct printer *p, const char *done, uint64_t id, const struct member_answer *answer);
int printer_move_leader(struct printer *p, uint64_t from, uint64_t to, const Etcdserverpb__MoveLeaderResponse *r);
/* action: "validate", "enable", "cancel". */
int printer_downgrade(struct printer *p, const char *action, const Etcdserverpb__DowngradeResponse *r);
int printer_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r);

/* Answers about endpoints, each with the endpoint that it is from. */
struct endpoint_health {
    const char *endpoint;
    bool healthy;
    const char *took;  /* "3.6ms", "" if nothing was asked */
    const char *error; /* "" = none */
};
struct endpoint_status {
    const char *endpoint;
    const Etcdserverpb__StatusResponse *status;
};
struct endpoint_hash {
    const char *endpoint;
    const Etcdserverpb__HashKVResponse *hash;
};
/* In format simple, unhealthy endpoints are told on stderr. */
int printer_health(struct printer *p, const struct endpoint_health *items, size_t count);
int printer_status(struct printer *p, const struct endpoint_status *items, size_t count);
int printer_hashes(struct printer *p, const struct endpoint_hash *items, size_t count);

/* "25 kB": decimal units, one digit after the point below 10. */
const char *printer_bytes(struct arena *arena, uint64_t size);
const char *printer_alarm_name(int alarm);
const char *printer_event_name(int type);

#endif
