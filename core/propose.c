/* Proposals on their way: given an id, encoded once, put into the log, and found again by that id when their entry was
 * applied. A request's caller may leave at any time; what it proposed is applied all the same. */
#include "core/internal.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/raft_internal.pb-c.h"

#define TXN_TAG 0x32 /* InternalRaftRequest.txn = 6, a message */

static struct core_request **bucket(struct core *core, uint64_t id)
{
    return &core->table[id % CORE_TABLE_BUCKETS];
}

/* The id's middle is the clock at start, so that a restarted member repeats none of its old ones. */
void propose_init(struct core *core)
{
    uint64_t clock = (uint64_t)core->wall_ms & 0xffffffffff;
    core->next_id = (core->config.member_id & 0xffff) << 48 | clock << 8;
}

uint64_t core_next_id(struct core *core)
{
    return ++core->next_id;
}

static void table_add(struct core *core, struct core_request *request)
{
    struct core_request **head = bucket(core, request->id);
    request->next_in_table = *head;
    *head = request;
}

struct core_request *propose_find(struct core *core, uint64_t id)
{
    struct core_request *request = *bucket(core, id);
    while (request != NULL && request->id != id) {
        request = request->next_in_table;
    }
    return request;
}

struct core_request *propose_take(struct core *core, uint64_t id)
{
    for (struct core_request **at = bucket(core, id); *at != NULL; at = &(*at)->next_in_table) {
        struct core_request *request = *at;
        if (request->id == id) {
            *at = request->next_in_table;
            list_remove(&request->node);
            request->state = REQUEST_NONE;
            core->stats.proposals_pending--;
            return request;
        }
    }
    return NULL;
}

/* The txn's bytes stand as they are before the header, whose number is the highest in the message. */
static struct shared *encode_around(Etcdserverpb__InternalRaftRequest *internal, struct bytes txn)
{
    Etcdserverpb__InternalRaftRequest rest = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    rest.header = internal->header;
    size_t head = 1 + varint_size(txn.len), tail = pb_size(&rest.base);
    struct shared *data = shared_new(head + txn.len + tail);
    data->data[0] = TXN_TAG;
    varint_put(data->data + 1, txn.len);
    memcpy(data->data + head, txn.data, txn.len);
    pb_write(&rest.base, data->data + head + txn.len, tail);
    return data;
}

static struct shared *encode(Etcdserverpb__InternalRaftRequest *internal, struct bytes encoded_txn)
{
    if (internal->txn != NULL && encoded_txn.len > 0) {
        return encode_around(internal, encoded_txn);
    }
    struct shared *data = shared_new(pb_size(&internal->base));
    pb_write(&internal->base, data->data, data->len);
    return data;
}

/* The entry of a proposal that cannot go yet is kept until it can or the request's time is over. */
static void keep(struct core_request *request, struct shared *data, struct list *queue)
{
    struct core_waiting *waiting = mem_zalloc(sizeof *waiting);
    waiting->request = request;
    waiting->data = data;
    request->state = REQUEST_WAITING;
    request->waiting = waiting;
    list_push_back(queue, &waiting->node);
}

/* From now on its entry is known by its id. */
static void enter(struct core *core, struct core_request *request)
{
    request->waiting = NULL;
    request->state = REQUEST_PROPOSED;
    table_add(core, request);
    list_push_back(&core->fresh, &request->node);
    core->stats.proposals_pending++;
}

/* Between two turns the core's clock stands still, maybe for long. */
void propose_stamp(struct core *core)
{
    list_each(node, &core->fresh)
    {
        struct core_request *request = container_of(node, struct core_request, node);
        request->begun_ms = core->now_ms;
        request->expires_ms = core->now_ms + core->config.request_timeout_ms;
    }
    list_splice(&core->timeouts, &core->fresh);
}

void propose_queue(struct core *core, struct core_request *request, struct shared *data, struct list *queue)
{
    request->index = 0;
    enter(core, request);
    keep(request, data, queue);
}

/* With leadership on its way to another member etcd refuses; here such a proposal waits for the new leader, as one
 * that finds no leader at all does (raft.md "etcd's use of proposals"). Nothing of it is in anybody's log. */
static bool must_wait(int error)
{
    return error == ERR_NO_LEADER || error == ERR_PROPOSAL_DROPPED;
}

/* 0, and the entry's index if this member leads. */
static int hand_over(struct core *core, struct core_request *request, struct shared *data, enum propose_kind kind)
{
    struct raft_position at = {0};
    if (kind == PROPOSE_LEADING && raft_status(core->raft).role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    int error = raft_propose(core->raft, RAFT_ENTRY_NORMAL, data, &at);
    request->index = at.index;
    return kind == PROPOSE_LEADING && must_wait(error) ? ERR_NOT_LEADER : error;
}

int propose_internal(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal,
                     enum propose_kind kind)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    request->id = core_next_id(core);
    header.id = request->id;
    internal->header = &header;
    struct shared *data = encode(internal, request->encoded_txn);
    internal->header = NULL;
    int error = kind == PROPOSE_ADMITTED ? space_admit(core, internal, data->len) : 0;
    if (error == 0) {
        error = hand_over(core, request, data, kind);
    }
    if (error != 0 && !must_wait(error)) {
        shared_unref(data);
        return error;
    }
    enter(core, request);
    if (error != 0) {
        keep(request, data, &core->waiting);
    } else {
        shared_unref(data);
    }
    return 0;
}

int core_propose(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal)
{
    return propose_internal(core, request, internal, PROPOSE_ADMITTED);
}

void propose_unqueue(struct core_waiting *waiting)
{
    list_remove(&waiting->node);
    waiting->request->waiting = NULL;
    shared_unref(waiting->data);
    free(waiting);
}

void propose_waiting(struct core *core)
{
    while (!list_empty(&core->waiting)) {
        struct core_waiting *waiting = list_first(&core->waiting, struct core_waiting, node);
        struct core_request *request = waiting->request;
        int error = hand_over(core, request, waiting->data, PROPOSE_OWN);
        if (must_wait(error)) {
            return;
        }
        propose_unqueue(waiting);
        request->state = REQUEST_PROPOSED;
        if (error != 0) {
            propose_take(core, request->id);
            request->done(request, error, NULL);
        }
    }
}

static void end(struct core *core, struct core_request *request, int error)
{
    if (request->waiting != NULL) {
        propose_unqueue(request->waiting);
    }
    CHECK(propose_take(core, request->id) == request);
    if (request->done != NULL) {
        request->done(request, error, NULL);
    }
}

/* --- those that get no answer --- */

/* Whoever was on its way to, or in the log of, an earlier leader may be lost; its member learns that only by waiting.
 * Those that wait for a leader have begun nothing yet. All in the list get the same new time, so both lists stay in
 * order. */
void propose_leader_changed(struct core *core)
{
    uint64_t over = core->now_ms + core->config.election_ms;
    propose_stamp(core);
    for (struct list *node = core->timeouts.next, *next; node != &core->timeouts; node = next) {
        struct core_request *request = container_of(node, struct core_request, node);
        next = node->next;
        if (request->state == REQUEST_PROPOSED) {
            request->expires_ms = request->expires_ms < over ? request->expires_ms : over;
            list_remove(node);
            list_push_back(&core->doubtful, node);
        }
    }
}

/* Another entry was applied where its own was to be: it is lost for good. */
void propose_end_lost(struct core *core)
{
    if (list_empty(&core->doubtful)) {
        return;
    }
    struct list now;
    list_init(&now);
    list_splice(&now, &core->doubtful);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        list_push_back(&core->doubtful, node);
        if (request->index != 0 && request->index <= core->applied) {
            end(core, request, ERR_TIMEOUT_DUE_TO_LEADER_FAIL);
        }
    }
}

static bool reached_since(struct core *core, uint64_t id, uint64_t since_ms)
{
    if (id == core->config.member_id || core->env->active_since_ms == NULL) {
        return true;
    }
    uint64_t active = core->env->active_since_ms(core->env, id);
    return active != 0 && active < since_ms;
}

static bool quorum_reached_since(struct core *core, uint64_t since_ms)
{
    size_t count, reached = 0;
    const struct kv_member *members = kv_members(core->kv, &count);
    for (size_t i = 0; i < count; i++) {
        reached += reached_since(core, members[i].id, since_ms);
    }
    return reached >= count / 2 + 1;
}

/* etcd's three texts for a proposal whose time is over (errors.tsv). */
static int timeout_error(struct core *core, const struct core_request *request)
{
    if (request->state == REQUEST_WAITING) {
        return ERR_CONTEXT_DEADLINE_EXCEEDED; /* it never found a leader (grpc.md) */
    }
    if (request->begun_ms < core->elected_ms &&
        request->begun_ms + 2 * (uint64_t)core->config.election_ms > core->elected_ms) {
        return ERR_TIMEOUT_DUE_TO_LEADER_FAIL;
    }
    bool reached = core->leader == RAFT_NONE                ? true
                   : core->leader != core->config.member_id ? reached_since(core, core->leader, request->begun_ms)
                                                            : quorum_reached_since(core, request->begun_ms);
    return reached ? ERR_TIMEOUT : ERR_TIMEOUT_DUE_TO_CONNECTION_LOST;
}

static struct core_request *first_due(struct core *core, struct list *list)
{
    struct core_request *request = list_empty(list) ? NULL : list_first(list, struct core_request, node);
    return request != NULL && request->expires_ms <= core->now_ms ? request : NULL;
}

bool propose_timeouts(struct core *core)
{
    for (unsigned i = 0; i < CORE_TURN_ENTRIES; i++) {
        struct core_request *request = first_due(core, &core->doubtful);
        if (request != NULL) {
            core->stats.proposals_failed_total++;
            end(core, request, ERR_TIMEOUT_DUE_TO_LEADER_FAIL);
            continue;
        }
        request = first_due(core, &core->timeouts);
        if (request == NULL) {
            return false;
        }
        core->stats.proposals_failed_total++;
        end(core, request, timeout_error(core, request));
    }
    return true;
}

void propose_fail_all(struct core *core, int error)
{
    list_splice(&core->doubtful, &core->timeouts);
    list_splice(&core->doubtful, &core->fresh);
    while (!list_empty(&core->doubtful)) {
        end(core, list_first(&core->doubtful, struct core_request, node), error);
    }
}

uint64_t propose_deadline(const struct core *core)
{
    uint64_t at = list_empty(&core->fresh) ? UINT64_MAX : core->now_ms;
    if (!list_empty(&core->timeouts)) {
        at = list_first(&core->timeouts, struct core_request, node)->expires_ms;
    }
    if (!list_empty(&core->doubtful)) {
        uint64_t doubtful = list_first(&core->doubtful, struct core_request, node)->expires_ms;
        at = doubtful < at ? doubtful : at;
    }
    return at;
}

void core_cancel(struct core *core, struct core_request *request)
{
    switch (request->state) {
    case REQUEST_NONE:
        return;
    case REQUEST_WAITING:
        propose_unqueue(request->waiting);
        propose_take(core, request->id);
        return;
    case REQUEST_PROPOSED:
        propose_take(core, request->id);
        return;
    case REQUEST_PROMOTE:
        promote_cancel(core, request);
        return;
    case REQUEST_READING:
        core->stats.reads_pending--;
        break;
    default:
        break;
    }
    list_remove(&request->node);
    request->state = REQUEST_NONE;
}

void own_propose(struct core *core, struct core_own *own, Etcdserverpb__InternalRaftRequest *internal,
                 enum propose_kind kind,
                 void (*done)(struct core_request *request, int error, ProtobufCMessage *response))
{
    CHECK(!own->in_flight);
    own->core = core;
    own->request.owner = own;
    own->request.done = done;
    own->retry_ms = core->now_ms + core->config.election_ms;
    own->in_flight = propose_internal(core, &own->request, internal, kind) == 0;
}
