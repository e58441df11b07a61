/* The long answers of Lease: LeaseLeases and the keys of LeaseTimeToLive. Found in slices, sent while the client takes
 * them. Called when the call's barrier is passed; from then on it is theirs to end. */
#ifndef GRPC_LEASE_LIST_H
#define GRPC_LEASE_LIST_H

#include "grpc/services.h"

void lease_list_leases(struct services *services, struct call *call);
/* The times are what the leader's clock said: this member is the leader. */
void lease_list_keys(struct services *services, struct call *call, int64_t id, int64_t ttl_s, int64_t granted_ttl_s);

#endif
