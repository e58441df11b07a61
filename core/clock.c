/* The leader's lease clock: starts when this member knows that it leads, and turns what has expired into proposals. A
 * lease ends by its entry in the log, never by the clock itself. */
#include "core/internal.h"

#include "base/canary.h"
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
    } else if (!CANARY(OLD_LEADER_REVOKES)) {
        lease_demote(kv_leases(core->kv));
    }
    core->confirmed_ms = 0;
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
    if (propose_internal(core, &expiry->request, &internal,
                         CANARY(OLD_LEADER_REVOKES) ? PROPOSE_OWN : PROPOSE_LEADING) == 0) {
        core->expiries_out++;
    } else {
        free(expiry);
    }
}

/* --- is this member still the leader? A pause of the process, or a partition, may have cost it leadership while the
 * leases' holders have renewed them elsewhere. A read round begun after they expired tells. --- */

static void confirmed(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core *core = request->owner;
    core->confirming = false;
    if (error == 0 && core->leading) {
        core->confirmed_ms = core->now_ms;
    } else {
        core->expiry_due_ms = core->now_ms + core->config.expiry_interval_ms;
    }
}

/* What was confirmed holds for as long as etcd trusts its own clock's ticks (mvcc.md "Leases"). */
static bool is_confirmed(const struct core *core)
{
    return core->confirmed_ms != 0 && core->now_ms - core->confirmed_ms <= 3 * core->config.heartbeat_ms;
}

static void confirm(struct core *core)
{
    if (core->confirming) {
        return;
    }
    core->confirm = (struct core_request){.done = confirmed, .owner = core};
    core->confirming = core_barrier(core, &core->confirm) == 0;
}

/* --- checkpoints --- */

#define CHECKPOINTS_A_ROUND 256 /* four rounds a second: limits.tsv has 1,000 leases a second */

static void checkpoints_told(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_own *own = request->owner;
    own->in_flight = false;
    own->core->stats.lease_checkpoints_total += error == 0;
}

static void tell_checkpoints(struct core *core)
{
    struct lease_checkpoint_due due[CHECKPOINTS_A_ROUND];
    Etcdserverpb__LeaseCheckpoint items[CHECKPOINTS_A_ROUND], *pointers[CHECKPOINTS_A_ROUND];
    if (core->lease_checkpoint.in_flight) {
        return;
    }
    size_t count = lease_checkpoints(kv_leases(core->kv), core->now_ms, due, CHECKPOINTS_A_ROUND);
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = (Etcdserverpb__LeaseCheckpoint)ETCDSERVERPB__LEASE_CHECKPOINT__INIT;
        items[i].id = due[i].id;
        items[i].remaining_ttl = due[i].remaining_ttl_s;
        pointers[i] = &items[i];
    }
    Etcdserverpb__LeaseCheckpointRequest request = ETCDSERVERPB__LEASE_CHECKPOINT_REQUEST__INIT;
    request.checkpoints = pointers;
    request.n_checkpoints = count;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.lease_checkpoint = &request;
    /* Never through another leader: it has given these leases more time since, and maybe renewed them. */
    own_propose(core, &core->lease_checkpoint, &internal, PROPOSE_LEADING, checkpoints_told);
}

/* --- what is due --- */

static bool due(const struct core *core)
{
    return core->now_ms >= core->expiry_due_ms && core->expiries_out < EXPIRIES_IN_FLIGHT && !core->confirming &&
           lease_deadline(kv_leases(core->kv)) <= core->now_ms;
}

bool clock_slice(struct core *core)
{
    if (!core->leading && !CANARY(OLD_LEADER_REVOKES)) {
        return false;
    }
    struct lease_table *leases = kv_leases(core->kv);
    bool more = lease_promote_step(leases, KV_BUDGET);
    if (core->stopping || more || !due(core)) {
        return more;
    }
    tell_checkpoints(core);
    if (!is_confirmed(core) && !CANARY(OLD_LEADER_REVOKES)) {
        confirm(core);
        return more;
    }
    int64_t ids[EXPIRIES_IN_FLIGHT];
    size_t count = lease_expired(leases, core->now_ms, ids, EXPIRIES_IN_FLIGHT - core->expiries_out);
    for (size_t i = 0; i < count; i++) {
        revoke(core, ids[i]);
    }
    if (count == 0) {
        core->expiry_due_ms = core->now_ms + core->config.expiry_interval_ms;
        core->confirmed_ms = 0;
    }
    return more;
}

uint64_t clock_deadline(const struct core *core)
{
    if ((!core->leading && !CANARY(OLD_LEADER_REVOKES)) || core->expiries_out >= EXPIRIES_IN_FLIGHT ||
        core->confirming) {
        return UINT64_MAX;
    }
    uint64_t at = lease_deadline(kv_leases(core->kv));
    if (at == LEASE_FOREVER) {
        return UINT64_MAX;
    }
    return at > core->expiry_due_ms ? at : core->expiry_due_ms;
}
