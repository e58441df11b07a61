/* One entry of the log through the state machine (mvcc.md "What goes through raft"). Decides by the log alone: the same
 * entries give the same state on every member, whoever waits for the answer. */
#include "base/check.h"
#include "base/pb.h"
#include "kv/apply_v2.h"
#include "kv/op.h"
#include "kv/txn.h"
#include "raft/raft.pb-c.h"

enum state { STATE_DECODE, STATE_START, STATE_DELETE, STATE_TXN, STATE_REVOKE };

/* Longer entries are decoded in slices, by so many fields for each unit of budget. */
#define LONG_ENTRY_BYTES ((size_t)16 * 1024)
#define FIELDS_PER_BUDGET 4

/* Of an entry that takes more than one slice; in the entry's arena. */
struct work {
    struct txn_delete del;
    struct txn_run *txn;
    bool over_quota;
};

/* --- begin --- */

/* At most `fields` of the entry. True = it is decoded. */
static bool decode(struct kv_apply *apply, size_t fields)
{
    struct pb_fault fault = {0};
    ProtobufCMessage *message;
    int progress = pb_unpacker_step(apply->work, fields, &message, &fault);
    if (progress == KV_MORE) {
        return false;
    }
    if (progress < 0) {
        bool v2 = apply_v2_read(apply->data, apply->arena, &apply->request);
        CHECK(v2, "entry %llu is no request: %s at byte %zu", (unsigned long long)apply->index, fault.reason,
              fault.offset);
        apply->state = STATE_START;
        return true;
    }
    apply->request = (const Etcdserverpb__InternalRaftRequest *)message;
    apply->request_id = apply->request->id;
    if (apply->request_id == 0 && apply->request->header != NULL) {
        apply->request_id = apply->request->header->id;
    }
    apply->state = STATE_START;
    return true;
}

static void begin_normal(struct kv_apply *apply)
{
    if (apply->data.len == 0) {
        return; /* a new leader's first entry */
    }
    apply->work = pb_unpacker_new(&etcdserverpb__internal_raft_request__descriptor, apply->data, apply->arena);
    apply->state = STATE_DECODE;
    decode(apply, apply->data.len > LONG_ENTRY_BYTES ? FIELDS_PER_BUDGET * KV_BUDGET : SIZE_MAX);
}

static void begin_conf_change(struct kv_apply *apply)
{
    const Raftpb__ConfChange *change =
        (const Raftpb__ConfChange *)pb_unpack(&raftpb__conf_change__descriptor, apply->data, apply->arena, NULL);
    CHECK(change != NULL, "entry %llu is no conf change", (unsigned long long)apply->index);
    apply->request_id = change->id;
    apply->work = (void *)change;
}

void kv_apply_begin(struct kv *kv, struct kv_apply *apply)
{
    CHECK(!kv->applying, "an entry is being applied");
    CHECK(apply->index > 0, "an entry without an index");
    kv->applying = true;
    apply->state = STATE_START;
    if (apply->type == KV_ENTRY_CONF_CHANGE) {
        begin_conf_change(apply);
    } else {
        begin_normal(apply);
    }
}

/* --- answers --- */

static Etcdserverpb__ResponseHeader *header_new(const struct kv *kv, struct arena *arena)
{
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof *header);
    etcdserverpb__response_header__init(header);
    header->revision = kv->revision;
    return header;
}

/* response_new(apply, PutResponse, put_response) */
#define response_new(apply, Type, name)                                                                                \
    ({                                                                                                                 \
        Etcdserverpb__##Type *message_ = arena_alloc((apply)->arena, sizeof *message_);                                \
        etcdserverpb__##name##__init(message_);                                                                        \
        message_;                                                                                                      \
    })

static int answer(struct kv_apply *apply, void *response)
{
    apply->response = response;
    return KV_DONE;
}

static int refuse(struct kv_apply *apply, int error)
{
    apply->error = error;
    return KV_DONE;
}

/* Executed over quota: done, but told as an error, and the alarm is raised (mvcc.md "Quota"). */
static int quota_after(struct kv *kv, struct kv_apply *apply, bool over)
{
    if (over && apply->error == 0) {
        apply->error = ERR_NO_SPACE;
        if (!alarm_any(&kv->alarms, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
            apply->effects |= KV_EFFECT_RAISE_NO_SPACE;
        }
    }
    return KV_DONE;
}

/* --- keys --- */

static int start_put(struct kv *kv, struct kv_apply *apply)
{
    const Etcdserverpb__PutRequest *put = apply->request->put;
    bool over = !op_within_quota(kv, kv_request_cost(apply->request));
    int error = txn_check_put(kv, put);
    if (error != 0) {
        return refuse(apply, error);
    }
    Etcdserverpb__PutResponse *response = response_new(apply, PutResponse, put_response);
    store_write_begin(kv);
    error = txn_put(kv, put, apply->wanted, apply->arena, response);
    if (error != 0) {
        return error;
    }
    store_write_end(kv);
    answer(apply, response);
    return quota_after(kv, apply, over);
}

static struct work *work_new(struct kv_apply *apply, enum state state)
{
    apply->state = (int)state;
    apply->work = arena_zalloc(apply->arena, sizeof(struct work));
    return apply->work;
}

static int start_delete(struct kv *kv, struct kv_apply *apply)
{
    Etcdserverpb__DeleteRangeResponse *response = response_new(apply, DeleteRangeResponse, delete_range_response);
    struct work *work = work_new(apply, STATE_DELETE);
    store_write_begin(kv);
    txn_delete_begin(&work->del, kv, apply->request->delete_range, apply->wanted, response);
    answer(apply, response);
    return KV_MORE;
}

static int continue_delete(struct kv *kv, struct kv_apply *apply, size_t *budget)
{
    struct work *work = apply->work;
    int progress = txn_delete_step(&work->del, kv, apply->arena, budget);
    if (progress == KV_DONE) {
        store_write_end(kv);
    }
    return progress;
}

static int start_txn(struct kv *kv, struct kv_apply *apply)
{
    struct work *work = work_new(apply, STATE_TXN);
    work->over_quota = !op_within_quota(kv, kv_request_cost(apply->request));
    store_write_begin(kv);
    work->txn = txn_begin(kv, apply->request->txn, kv->revision, false, apply->wanted, apply->arena);
    return KV_MORE;
}

static int continue_txn(struct kv *kv, struct kv_apply *apply, size_t *budget)
{
    struct work *work = apply->work;
    Etcdserverpb__TxnResponse *response = NULL;
    int progress = txn_step(work->txn, budget, &apply->error, &response);
    if (progress != KV_DONE) {
        return progress;
    }
    store_write_end(kv);
    answer(apply, response);
    return quota_after(kv, apply, work->over_quota);
}

static int start_compaction(struct kv *kv, struct kv_apply *apply)
{
    int error = compact_apply(kv, apply->request->compaction->revision, apply->index);
    if (error != 0) {
        return refuse(apply, error);
    }
    Etcdserverpb__CompactionResponse *response = response_new(apply, CompactionResponse, compaction_response);
    response->header = header_new(kv, apply->arena);
    apply->effects |= KV_EFFECT_COMPACTION;
    return answer(apply, response);
}

/* --- leases --- */

static void store_lease(struct kv *kv, int64_t id)
{
    struct lease_row row;
    if (lease_row(kv->leases, id, &row)) {
        batch_put(kv, BACKEND_LEASE, bytes_of(row.key, sizeof row.key), bytes_of(row.value, row.value_len));
    }
}

static int start_grant(struct kv *kv, struct kv_apply *apply)
{
    const Etcdserverpb__LeaseGrantRequest *grant = apply->request->lease_grant;
    bool over = !op_within_quota(kv, kv_request_cost(apply->request));
    int64_t ttl_s = 0;
    int error = lease_grant(kv->leases, grant->id, grant->ttl, apply->now_ms, &ttl_s);
    if (error != 0) {
        return refuse(apply, error);
    }
    store_lease(kv, grant->id);
    Etcdserverpb__LeaseGrantResponse *response = response_new(apply, LeaseGrantResponse, lease_grant_response);
    response->header = header_new(kv, apply->arena);
    response->id = grant->id;
    response->ttl = ttl_s;
    apply->effects |= KV_EFFECT_LEASES;
    answer(apply, response);
    return quota_after(kv, apply, over);
}

static int start_revoke(struct kv *kv, struct kv_apply *apply)
{
    if (!lease_exists(kv->leases, apply->request->lease_revoke->id)) {
        return refuse(apply, ERR_LEASE_NOT_FOUND);
    }
    apply->state = STATE_REVOKE;
    store_write_begin(kv);
    return KV_MORE;
}

static int continue_revoke(struct kv *kv, struct kv_apply *apply, size_t *budget)
{
    int64_t id = apply->request->lease_revoke->id;
    struct bytes bytes;
    enum lease_revoke what;
    while ((what = lease_revoke_next(kv->leases, id, budget, &bytes)) == LEASE_KEY) {
        struct index_key *key = index_find(kv->index, bytes);
        if (key != NULL && index_change_live(&key->newest)) {
            store_write_delete(kv, key, true);
        }
    }
    if (what == LEASE_MORE) {
        return KV_MORE;
    }
    uint8_t row[LEASE_ROW_KEY_BYTES];
    lease_row_key(id, row);
    batch_delete(kv, BACKEND_LEASE, bytes_of(row, sizeof row));
    store_write_end(kv);
    Etcdserverpb__LeaseRevokeResponse *response = response_new(apply, LeaseRevokeResponse, lease_revoke_response);
    response->header = header_new(kv, apply->arena);
    apply->effects |= KV_EFFECT_LEASES;
    return answer(apply, response);
}

static int start_checkpoint(struct kv *kv, struct kv_apply *apply)
{
    const Etcdserverpb__LeaseCheckpointRequest *request = apply->request->lease_checkpoint;
    bool stored = version_cluster_at_least(kv, 3, 6);
    for (size_t i = 0; i < request->n_checkpoints; i++) {
        const Etcdserverpb__LeaseCheckpoint *c = request->checkpoints[i];
        int error = lease_checkpoint(kv->leases, c->id, c->remaining_ttl, apply->now_ms);
        if (error != 0) {
            return refuse(apply, error);
        }
        if (stored) {
            store_lease(kv, c->id);
        }
    }
    Etcdserverpb__LeaseCheckpointResponse *response =
        response_new(apply, LeaseCheckpointResponse, lease_checkpoint_response);
    response->header = header_new(kv, apply->arena);
    apply->effects |= KV_EFFECT_LEASES;
    return answer(apply, response);
}

/* --- cluster facts --- */

static int start_alarm(struct kv *kv, struct kv_apply *apply)
{
    bool changed;
    Etcdserverpb__AlarmResponse *response = alarm_apply(kv, apply->request->alarm, apply->arena, &changed);
    response->header = header_new(kv, apply->arena);
    apply->effects |= changed ? KV_EFFECT_ALARMS : 0;
    return answer(apply, response);
}

/* 1300 to 1302. store false: the entry's rows are in the store already, only memory follows. */
static int start_cluster(struct kv *kv, struct kv_apply *apply, bool store)
{
    const Etcdserverpb__InternalRaftRequest *request = apply->request;
    if (request->cluster_version_set != NULL) {
        bool lowers = version_lowers_cluster(kv, request->cluster_version_set);
        bool changed = version_set_cluster(kv, request->cluster_version_set, store);
        apply->effects |= lowers ? KV_EFFECT_CHECKPOINT : 0;
        apply->effects |= changed ? KV_EFFECT_CLUSTER_VERSION : 0;
    } else if (request->cluster_member_attr_set != NULL) {
        members_set_attributes(kv, request->cluster_member_attr_set, store);
        apply->effects |= KV_EFFECT_MEMBERS;
    } else if (request->downgrade_info_set != NULL) {
        version_set_downgrade(kv, request->downgrade_info_set, store);
        apply->effects |= KV_EFFECT_DOWNGRADE;
    }
    return KV_DONE;
}

static bool is_cluster(const Etcdserverpb__InternalRaftRequest *r)
{
    return r->cluster_version_set != NULL || r->cluster_member_attr_set != NULL || r->downgrade_info_set != NULL;
}

static bool is_auth(const Etcdserverpb__InternalRaftRequest *r)
{
    return r->auth_enable || r->auth_disable || r->authenticate || r->auth_status || r->auth_user_add ||
           r->auth_user_delete || r->auth_user_get || r->auth_user_change_password || r->auth_user_grant_role ||
           r->auth_user_revoke_role || r->auth_user_list || r->auth_role_list || r->auth_role_add ||
           r->auth_role_delete || r->auth_role_get || r->auth_role_grant_permission || r->auth_role_revoke_permission;
}

/* --- dispatch --- */

static int start_key_request(struct kv *kv, struct kv_apply *apply)
{
    const Etcdserverpb__InternalRaftRequest *r = apply->request;
    int gate = op_alarm_gate(kv, r);
    if (gate != 0) {
        return refuse(apply, gate);
    }
    if (r->put != NULL) {
        return start_put(kv, apply);
    }
    if (r->delete_range != NULL) {
        return start_delete(kv, apply);
    }
    if (r->txn != NULL) {
        return start_txn(kv, apply);
    }
    if (r->compaction != NULL) {
        return start_compaction(kv, apply);
    }
    if (r->lease_grant != NULL) {
        return start_grant(kv, apply);
    }
    if (r->lease_revoke != NULL) {
        return start_revoke(kv, apply);
    }
    if (r->lease_checkpoint != NULL) {
        return start_checkpoint(kv, apply);
    }
    CHECK(r->range != NULL, "entry %llu holds no request that is known", (unsigned long long)apply->index);
    return KV_DONE; /* a range in the log changes nothing, and no member of today waits for one */
}

static int start_request(struct kv *kv, struct kv_apply *apply)
{
    const Etcdserverpb__InternalRaftRequest *r = apply->request;
    if (r == NULL || r->downgrade_version_test != NULL) {
        return KV_DONE;
    }
    if (is_cluster(r)) {
        return start_cluster(kv, apply, true);
    }
    if (r->alarm != NULL) {
        return start_alarm(kv, apply);
    }
    return is_auth(r) ? refuse(apply, auth_apply(kv, r, apply->arena)) : start_key_request(kv, apply);
}

static int start_conf_change(struct kv *kv, struct kv_apply *apply)
{
    const Raftpb__ConfChange *change = apply->work;
    struct bytes context = op_bytes(change->context);
    apply->conf_change = (struct kv_conf_change){.type = (int)change->type, .node_id = change->node_id};
    apply->effects |= KV_EFFECT_CONF_CHANGE;
    apply->error = members_apply_conf_change(kv, (int)change->type, change->node_id, context);
    if (apply->error != 0) {
        apply->conf_change.node_id = 0;
    } else {
        apply->effects |= KV_EFFECT_MEMBERS;
    }
    return KV_DONE;
}

/* The store has this entry's effects already. */
static int start_stored(struct kv *kv, struct kv_apply *apply)
{
    return apply->request == NULL ? KV_DONE : start_cluster(kv, apply, false);
}

static int start(struct kv *kv, struct kv_apply *apply)
{
    if (apply->index <= kv->applied_index) {
        return start_stored(kv, apply);
    }
    return apply->type == KV_ENTRY_CONF_CHANGE ? start_conf_change(kv, apply) : start_request(kv, apply);
}

static int proceed(struct kv *kv, struct kv_apply *apply, size_t *budget)
{
    switch ((enum state)apply->state) {
    case STATE_DECODE:
        decode(apply, *budget * FIELDS_PER_BUDGET);
        *budget = 0;
        return KV_MORE;
    case STATE_DELETE:
        return continue_delete(kv, apply, budget);
    case STATE_TXN:
        return continue_txn(kv, apply, budget);
    case STATE_REVOKE:
        return continue_revoke(kv, apply, budget);
    default:
        return start(kv, apply);
    }
}

static void finish(struct kv *kv, struct kv_apply *apply)
{
    kv->applying = false;
    if (apply->index > kv->applied_index) {
        kv->applied_index = apply->index;
        kv->applied_term = apply->term;
        batch_entry_end(kv);
    }
}

int kv_apply_step(struct kv *kv, struct kv_apply *apply, size_t budget)
{
    CHECK(kv->applying, "no entry was begun");
    int progress = KV_MORE;
    while (progress == KV_MORE && budget > 0) {
        bool starting = apply->state == STATE_START;
        progress = proceed(kv, apply, &budget);
        if (progress == KV_MORE && !starting) {
            break; /* it stopped for a bound of its own, such as bytes read */
        }
    }
    if (progress == KV_DONE) {
        finish(kv, apply);
    }
    return progress;
}
