/* Proposals on their way: given an id, encoded once, put into the log, and found again by that id when their entry was
 * applied. A request's caller may leave at any time; what it proposed is applied all the same. */
#include "core/internal.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/raft_internal.pb-c.h"

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

static struct shared *encode(const Etcdserverpb__InternalRaftRequest *internal)
{
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

/* From now on its entry is known by its id, and its time runs. */
static void enter(struct core *core, struct core_request *request)
{
    request->waiting = NULL;
    request->expires_ms = core->now_ms + core->config.request_timeout_ms;
    request->state = REQUEST_PROPOSED;
    table_add(core, request);
    list_push_back(&core->timeouts, &request->node);
    core->stats.proposals_pending++;
}

void propose_queue(struct core *core, struct core_request *request, struct shared *data, struct list *queue)
{
    enter(core, request);
    keep(request, data, queue);
}

int propose_internal(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal,
                     bool admit)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    request->id = core_next_id(core);
    header.id = request->id;
    internal->header = &header;
    struct shared *data = encode(internal);
    internal->header = NULL;
    int error = admit ? space_admit(core, internal, data->len) : 0;
    if (error == 0) {
        struct raft_position at;
        error = raft_propose(core->raft, RAFT_ENTRY_NORMAL, data, &at);
    }
    if (error != 0 && error != ERR_NO_LEADER) {
        shared_unref(data);
        return error;
    }
    enter(core, request);
    if (error == ERR_NO_LEADER) {
        keep(request, data, &core->waiting);
    } else {
        shared_unref(data);
    }
    return 0;
}

int core_propose(struct core *core, struct core_request *request, Etcdserverpb__InternalRaftRequest *internal)
{
    return propose_internal(core, request, internal, true);
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
        struct raft_position at;
        int error = raft_propose(core->raft, RAFT_ENTRY_NORMAL, waiting->data, &at);
        if (error == ERR_NO_LEADER) {
            return;
        }
        struct core_request *request = waiting->request;
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

bool propose_timeouts(struct core *core)
{
    for (unsigned i = 0; i < CORE_TURN_ENTRIES && !list_empty(&core->timeouts); i++) {
        struct core_request *request = list_first(&core->timeouts, struct core_request, node);
        if (request->expires_ms > core->now_ms) {
            return false;
        }
        /* etcd: a proposal that never found a leader ends with its context, others with a timeout (grpc.md). */
        end(core, request, request->state == REQUEST_WAITING ? ERR_CONTEXT_DEADLINE_EXCEEDED : ERR_TIMEOUT);
    }
    return propose_deadline(core) <= core->now_ms;
}

void propose_fail_all(struct core *core, int error)
{
    while (!list_empty(&core->timeouts)) {
        end(core, list_first(&core->timeouts, struct core_request, node), error);
    }
}

uint64_t propose_deadline(const struct core *core)
{
    return list_empty(&core->timeouts) ? UINT64_MAX
                                       : list_first(&core->timeouts, struct core_request, node)->expires_ms;
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
                 void (*done)(struct core_request *request, int error, ProtobufCMessage *response))
{
    CHECK(!own->in_flight);
    own->core = core;
    own->request.owner = own;
    own->request.done = done;
    own->retry_ms = core->now_ms + core->config.election_ms;
    own->in_flight = propose_internal(core, &own->request, internal, false) == 0;
}
