/* Keepalives and questions for the time to live: only the leader's clock can answer them, so a follower asks the leader
 * on its peer port (peer.md "/leases"), again and again while there is none or it cannot be reached.
 *
 * A leader answers after a read round that began later, as it does for other members: cut off, or after a pause of the
 * process, it may not know yet that another member leads, where the holder has renewed before and where the lease ends
 * sooner than what would be told here. etcd answers at once. */
#include "core/internal.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/lease.pb-c.h"

#define RETRY_MS 50                          /* etcd's throttle between two tries */
#define MAX_ANSWER_BYTES ((size_t)100 << 20) /* all keys of a lease: limits.tsv */
#define MAX_ASKING 32 /* calls to the leader's port at a time: each has a connection of its own */

/* QUEUED, DELAYED, HELD: in the lists of these names. ASKING, READING, DECIDING: in lease_calls_out. */
enum call_state { CALL_NONE, CALL_QUEUED, CALL_DELAYED, CALL_HELD, CALL_ASKING, CALL_READING, CALL_DECIDING };

/* One that leaves ASKING makes room for one that is HELD. */
static void leave(struct core_lease_call *call)
{
    struct core *core = call->core;
    if (call->state == CALL_ASKING) {
        core->lease_calls_asking--;
        if (!list_empty(&core->lease_calls_held)) {
            struct core_lease_call *next = list_first(&core->lease_calls_held, struct core_lease_call, node);
            list_remove(&next->node);
            next->state = CALL_QUEUED;
            list_push_back(&core->lease_calls, &next->node);
        }
    }
    list_remove(&call->node);
}

static void move_to(struct core_lease_call *call, enum call_state state, struct list *list)
{
    leave(call);
    call->core->lease_calls_asking += state == CALL_ASKING;
    call->state = (uint8_t)state;
    list_push_back(list, &call->node);
}

static void try_again(struct core_lease_call *call)
{
    call->retry_ms = call->core->now_ms + RETRY_MS;
    move_to(call, CALL_DELAYED, &call->core->lease_calls_delayed);
}

static void end(struct core_lease_call *call, int error)
{
    leave(call);
    call->state = CALL_NONE;
    call->done(call, error);
}

/* --- this member leads --- */

static void decided(struct lease_waiter *waiter, int error)
{
    struct core_lease_call *call = container_of(waiter, struct core_lease_call, waiter);
    if (error == ERR_NOT_PRIMARY) {
        try_again(call);
    } else {
        end(call, error);
    }
}

static void read_through(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_lease_call *call = request->owner;
    call->confirmed = error == 0;
    if (error == 0) {
        move_to(call, CALL_QUEUED, &call->core->lease_calls);
    } else {
        try_again(call);
    }
}

/* All that was committed before is applied then, and this member led when it was asked. */
static void read_first(struct core_lease_call *call)
{
    call->request = (struct core_request){.done = read_through, .owner = call};
    move_to(call, CALL_READING, &call->core->lease_calls_out);
    if (core_barrier(call->core, &call->request) != 0) {
        end(call, ERR_STOPPED);
    }
}

/* A lease with a checkpoint gets its whole time again, through the log. */
static void clear_checkpoint(struct core_lease_call *call)
{
    Etcdserverpb__LeaseCheckpoint item = ETCDSERVERPB__LEASE_CHECKPOINT__INIT, *items[] = {&item};
    Etcdserverpb__LeaseCheckpointRequest checkpoint = ETCDSERVERPB__LEASE_CHECKPOINT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    item.id = call->id;
    checkpoint.checkpoints = items;
    checkpoint.n_checkpoints = 1;
    internal.lease_checkpoint = &checkpoint;
    call->request = (struct core_request){.done = read_through, .owner = call};
    move_to(call, CALL_READING, &call->core->lease_calls_out);
    if (propose_internal(call->core, &call->request, &internal, PROPOSE_LEADING) != 0) {
        try_again(call);
    }
}

static void renew_here(struct core_lease_call *call)
{
    struct core *core = call->core;
    bool checkpointed = false;
    int error = lease_renew(kv_leases(core->kv), call->id, core->now_ms, &call->ttl_s, &checkpointed);
    if (error == ERR_LEASE_NOT_FOUND && !call->confirmed) {
        read_first(call); /* its grant may be on its way */
    } else if (error == ERR_AGAIN && checkpointed) {
        clear_checkpoint(call);
    } else if (error == ERR_AGAIN) {
        move_to(call, CALL_DECIDING, &core->lease_calls_out);
        call->waiter.done = decided;
        error = lease_wait(kv_leases(core->kv), call->id, &call->waiter);
        if (error != 0) {
            decided(&call->waiter, error);
        }
    } else if (error == ERR_NOT_PRIMARY) {
        try_again(call);
    } else {
        end(call, error);
    }
}

static void look_up_here(struct core_lease_call *call)
{
    struct core *core = call->core;
    struct lease_info info;
    int error = lease_info(kv_leases(core->kv), call->id, core->now_ms, &info);
    if (error == 0) {
        call->ttl_s = info.ttl_s;
        call->granted_ttl_s = info.granted_ttl_s;
        call->keys_here = call->with_keys;
    }
    end(call, error);
}

static void answer_here(struct core_lease_call *call)
{
    struct core *core = call->core;
    if (!core->leading || !lease_is_primary(kv_leases(core->kv))) {
        try_again(call); /* its first entry is not applied yet */
    } else if (!call->confirmed) {
        read_first(call);
    } else if (call->question) {
        look_up_here(call);
    } else {
        renew_here(call);
    }
}

/* --- another member leads --- */

static bool take_renewal(struct core_lease_call *call, struct bytes body)
{
    const Etcdserverpb__LeaseKeepAliveResponse *response = (const Etcdserverpb__LeaseKeepAliveResponse *)pb_unpack(
        &etcdserverpb__lease_keep_alive_response__descriptor, body, call->arena, NULL);
    if (response != NULL) {
        call->ttl_s = response->ttl;
    }
    return response != NULL;
}

static bool take_answer(struct core_lease_call *call, struct bytes body)
{
    const Leasepb__LeaseInternalResponse *wrapped = (const Leasepb__LeaseInternalResponse *)pb_unpack(
        &leasepb__lease_internal_response__descriptor, body, call->arena, NULL);
    const Etcdserverpb__LeaseTimeToLiveResponse *response = wrapped == NULL ? NULL : wrapped->leasetimetoliveresponse;
    if (response == NULL) {
        return false;
    }
    call->ttl_s = response->ttl;
    call->granted_ttl_s = response->grantedttl;
    call->key_count = response->n_keys;
    call->keys = arena_alloc(call->arena, (response->n_keys + 1) * sizeof *call->keys);
    for (size_t i = 0; i < response->n_keys; i++) {
        call->keys[i] = arena_copy(call->arena, bytes_of(response->keys[i].data, response->keys[i].len));
    }
    return true;
}

static void answered(struct core_peer_call *peer)
{
    struct core_lease_call *call = peer->owner;
    if (peer->error == 0 && peer->status == 404) {
        end(call, ERR_LEASE_NOT_FOUND);
    } else if (peer->error == 0 && peer->status == 200 &&
               (call->question ? take_answer(call, peer->response) : take_renewal(call, peer->response))) {
        end(call, 0);
    } else {
        try_again(call);
    }
}

static void ask_leader(struct core_lease_call *call)
{
    struct core *core = call->core;
    Etcdserverpb__LeaseKeepAliveRequest renewal = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    Etcdserverpb__LeaseTimeToLiveRequest question = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Leasepb__LeaseInternalRequest wrapped = LEASEPB__LEASE_INTERNAL_REQUEST__INIT;
    renewal.id = question.id = call->id;
    question.keys = call->with_keys;
    wrapped.leasetimetoliverequest = &question;
    call->peer = (struct core_peer_call){
        .to = core->leader,
        .method = "POST",
        .path = call->question ? "/leases/internal" : "/leases",
        .content_type = "application/protobuf",
        .body = pb_pack(call->question ? &wrapped.base : &renewal.base, call->arena),
        .timeout_ms = (uint32_t)(call->expires_ms - core->now_ms),
        .max_answer_bytes = MAX_ANSWER_BYTES,
        .done = answered,
        .owner = call,
    };
    move_to(call, CALL_ASKING, &core->lease_calls_out);
    core->env->peer_call(core->env, &call->peer);
}

/* --- in the turn --- */

static void try_now(struct core_lease_call *call)
{
    struct core *core = call->core;
    if (call->expires_ms == 0) {
        call->expires_ms = core->now_ms + core->config.request_timeout_ms;
    }
    if (core->now_ms >= call->expires_ms) {
        end(call, core->leader == RAFT_NONE ? ERR_NO_LEADER : ERR_TIMEOUT);
    } else if (core->leader == core->config.member_id) {
        answer_here(call);
    } else if (call->passed_on) {
        end(call, ERR_NOT_PRIMARY);
    } else if (core->leader == RAFT_NONE || core->env->peer_call == NULL) {
        try_again(call);
    } else if (core->lease_calls_asking >= MAX_ASKING) {
        move_to(call, CALL_HELD, &core->lease_calls_held);
    } else {
        ask_leader(call);
    }
}

/* Those that are tried again have waited equally long: the list is in order. */
static void take_delayed(struct core *core)
{
    while (!list_empty(&core->lease_calls_delayed)) {
        struct core_lease_call *call = list_first(&core->lease_calls_delayed, struct core_lease_call, node);
        if (call->retry_ms > core->now_ms) {
            return;
        }
        move_to(call, CALL_QUEUED, &core->lease_calls);
    }
}

bool lease_call_slice(struct core *core)
{
    take_delayed(core);
    for (unsigned i = 0; i < CORE_TURN_ENTRIES && !list_empty(&core->lease_calls); i++) {
        try_now(list_first(&core->lease_calls, struct core_lease_call, node));
    }
    return !list_empty(&core->lease_calls);
}

uint64_t lease_call_deadline(const struct core *core)
{
    if (!list_empty(&core->lease_calls)) {
        return core->now_ms;
    }
    return list_empty(&core->lease_calls_delayed)
               ? UINT64_MAX
               : list_first(&core->lease_calls_delayed, struct core_lease_call, node)->retry_ms;
}

/* Nobody waits for an earlier leader. */
void lease_call_leader_changed(struct core *core)
{
    list_each(node, &core->lease_calls_out)
    {
        struct core_lease_call *call = container_of(node, struct core_lease_call, node);
        if (call->state == CALL_ASKING && call->peer.to != core->leader) {
            core->env->peer_call_cancel(core->env, &call->peer);
            move_to(call, CALL_QUEUED, &core->lease_calls);
        }
    }
}

/* --- requests --- */

static int start(struct core *core, struct core_lease_call *call, bool question, bool passed_on)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    call->core = core;
    call->question = question;
    call->passed_on = passed_on;
    call->confirmed = false;
    call->ttl_s = call->granted_ttl_s = 0;
    call->keys = NULL;
    call->key_count = 0;
    call->keys_here = false;
    call->expires_ms = 0;
    call->state = CALL_NONE;
    list_init(&call->node);
    list_init(&call->waiter.node);
    call->request = (struct core_request){0};
    move_to(call, CALL_QUEUED, &core->lease_calls);
    return 0;
}

int core_lease_renew(struct core *core, struct core_lease_call *call)
{
    return start(core, call, false, false);
}

int core_lease_renew_passed_on(struct core *core, struct core_lease_call *call)
{
    return start(core, call, false, true);
}

int core_lease_time_to_live(struct core *core, struct core_lease_call *call)
{
    return start(core, call, true, false);
}

static void let_go(struct core_lease_call *call)
{
    if (call->state == CALL_ASKING) {
        call->core->env->peer_call_cancel(call->core->env, &call->peer);
    }
    core_cancel(call->core, &call->request);
    lease_unwait(&call->waiter);
}

void core_lease_cancel(struct core_lease_call *call)
{
    if (call->state == CALL_NONE) {
        return;
    }
    let_go(call);
    leave(call);
    call->state = CALL_NONE;
}

void lease_call_init(struct core *core)
{
    list_init(&core->lease_calls);
    list_init(&core->lease_calls_delayed);
    list_init(&core->lease_calls_out);
    list_init(&core->lease_calls_held);
}

void lease_call_fail_all(struct core *core, int error)
{
    list_splice(&core->lease_calls, &core->lease_calls_delayed);
    list_splice(&core->lease_calls, &core->lease_calls_held);
    list_splice(&core->lease_calls, &core->lease_calls_out);
    while (!list_empty(&core->lease_calls)) {
        struct core_lease_call *call = list_first(&core->lease_calls, struct core_lease_call, node);
        let_go(call);
        end(call, error);
    }
}
