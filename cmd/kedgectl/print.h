/* The formats behind printer.h, one file each. */
#ifndef CMD_KEDGECTL_PRINT_H
#define CMD_KEDGECTL_PRINT_H

#include "cmd/kedgectl/printer.h"
#include "cmd/kedgectl/table.h"

void print_simple_get(struct printer *p, const Etcdserverpb__RangeResponse *r);
void print_simple_put(struct printer *p, const Etcdserverpb__PutResponse *r);
void print_simple_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r);
void print_simple_txn(struct printer *p, const Etcdserverpb__TxnResponse *r);
void print_simple_watch(struct printer *p, const Etcdserverpb__WatchResponse *r);
void print_simple_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys);
void print_simple_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r);
void print_simple_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r);
void print_simple_health(struct printer *p, const struct endpoint_health *items, size_t count);

void print_fields_header(struct printer *p, const Etcdserverpb__ResponseHeader *h);
void print_fields_get(struct printer *p, const Etcdserverpb__RangeResponse *r);
void print_fields_put(struct printer *p, const Etcdserverpb__PutResponse *r);
void print_fields_delete(struct printer *p, const Etcdserverpb__DeleteRangeResponse *r);
void print_fields_txn(struct printer *p, const Etcdserverpb__TxnResponse *r);
void print_fields_watch(struct printer *p, const Etcdserverpb__WatchResponse *r);
void print_fields_lease(struct printer *p, const Etcdserverpb__ResponseHeader *h, int64_t id, int64_t ttl);
void print_fields_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r);
void print_fields_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r);
void print_fields_members(struct printer *p, const Etcdserverpb__MemberListResponse *r);
void print_fields_alarms(struct printer *p, const Etcdserverpb__AlarmResponse *r);
void print_fields_health(struct printer *p, const struct endpoint_health *items, size_t count);
void print_fields_status(struct printer *p, const struct endpoint_status *items, size_t count);
void print_fields_hashes(struct printer *p, const struct endpoint_hash *items, size_t count);

void print_json_grant(struct printer *p, const Etcdserverpb__LeaseGrantResponse *r);
void print_json_keep_alive(struct printer *p, const Etcdserverpb__LeaseKeepAliveResponse *r);
void print_json_time_to_live(struct printer *p, const Etcdserverpb__LeaseTimeToLiveResponse *r);
void print_json_leases(struct printer *p, const Etcdserverpb__LeaseLeasesResponse *r);
void print_json_watch(struct printer *p, const Etcdserverpb__WatchResponse *r);
void print_json_members(struct printer *p, const struct member_answer *answer);
void print_json_health(struct printer *p, const struct endpoint_health *items, size_t count);
void print_json_status(struct printer *p, const struct endpoint_status *items, size_t count);
void print_json_hashes(struct printer *p, const struct endpoint_hash *items, size_t count);

struct table print_table_members(struct printer *p, const Etcdserverpb__MemberListResponse *r);
struct table print_table_health(struct printer *p, const struct endpoint_health *items, size_t count);
struct table print_table_status(struct printer *p, const struct endpoint_status *items, size_t count);
struct table print_table_hashes(struct printer *p, const struct endpoint_hash *items, size_t count);

#endif
