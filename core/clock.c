/* The leader's lease clock: starts when this member knows that it leads, and turns what has expired into proposals. A
 * lease ends by its entry in the log, never by the clock itself. */
#include "core/internal.h"

#include "base/check.h"

#define EXPIRIES_IN_FLIGHT 16 /* limits.tsv; mvcc.md "Leases" */

struct expiry {
    struct core_request request;
    struct core *core;
};

void clock_leader_changed(struct core *core, bool leader)
{
    if (leader) {
        lease_promote(kv_leases(core->kv), core->now_ms, core->config.election_ms);
        core->expiry_due_ms = core->now_ms;
    } else {
        lease_demote(kv_leases(core->kv));
    }
}

/* Refused or timed out: the lease table hands the lease out again after its retry time. */
static void revoked(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct expiry *expiry = request->owner;
    struct core *core = expiry->core;
    core->expiries_out--;
    if (error == 0) {
        core->stats.expired_leases_total++;
    }
    free(expiry);
}

static void revoke(struct core *core, int64_t id)
{
    struct expiry *expiry = mem_zalloc(sizeof *expiry);
    expiry->core = core;
    expiry->request.owner = expiry;
    expiry->request.done = revoked;
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = id;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.lease_revoke = &request;
    if (propose_internal(core, &expiry->request, &internal, false) == 0) {
        core->expiries_out++;
    } else {
        free(expiry);
    }
}

bool clock_slice(struct core *core)
{
    if (!core->leading) {
        return false;
    }
    struct lease_table *leases = kv_leases(core->kv);
    bool more = lease_promote_step(leases, KV_BUDGET);
    if (core->stopping || core->now_ms < core->expiry_due_ms || core->expiries_out >= EXPIRIES_IN_FLIGHT) {
        return more;
    }
    int64_t ids[EXPIRIES_IN_FLIGHT];
    size_t count = lease_expired(leases, core->now_ms, ids, EXPIRIES_IN_FLIGHT - core->expiries_out);
    for (size_t i = 0; i < count; i++) {
        revoke(core, ids[i]);
    }
    if (count == 0) {
        core->expiry_due_ms = core->now_ms + core->config.expiry_interval_ms;
    }
    return more;
}

uint64_t clock_deadline(const struct core *core)
{
    if (!core->leading || core->expiries_out >= EXPIRIES_IN_FLIGHT) {
        return UINT64_MAX;
    }
    uint64_t at = lease_deadline(kv_leases(core->kv));
    if (at == LEASE_FOREVER) {
        return UINT64_MAX;
    }
    return at > core->expiry_due_ms ? at : core->expiry_due_ms;
}
