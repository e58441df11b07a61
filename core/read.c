/* Linearizable reads. All barriers that came in since the last turn share one read index; each batch is let through once
 * the state machine has applied as far. Then ranges and read-only txns are resolved in slices, taking turns. */
#include "core/internal.h"

#include "base/check.h"

#define READ_RETRY_MS 500 /* mvcc.md "Linearizable reads" */

enum read_state { READ_NONE, READ_BARRIER, READ_READY, READ_RUNNING, READ_OPEN };

/* --- barriers --- */

int core_barrier(struct core *core, struct core_request *request)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    if (core->gathering == NULL) {
        core->gathering = mem_zalloc(sizeof *core->gathering);
        list_init(&core->gathering->requests);
        list_init(&core->gathering->node);
    }
    request->state = REQUEST_READING;
    list_push_back(&core->gathering->requests, &request->node);
    core->stats.reads_pending++;
    return 0;
}

void read_ask(struct core *core)
{
    struct core_read_batch *batch = core->gathering;
    if (batch == NULL) {
        return;
    }
    core->gathering = NULL;
    batch->context = core->next_context++;
    batch->asked_ms = core->now_ms;
    batch->begun_ms = core->now_ms;
    list_push_back(&core->read_batches, &batch->node);
    raft_read_index(core->raft, batch->context);
}

void read_answered(struct core *core, const struct raft_read *read)
{
    list_each(node, &core->read_batches)
    {
        struct core_read_batch *batch = container_of(node, struct core_read_batch, node);
        if (batch->context != read->context || batch->answered) {
            continue;
        }
        if (read->error == 0) {
            batch->answered = true;
            batch->index = read->index;
        } else {
            batch->asked_ms = 0; /* role or term changed: asked again by read_retry */
        }
        return;
    }
}

static void end_batch(struct core *core, struct core_read_batch *batch, int error)
{
    list_remove(&batch->node);
    struct list *node;
    while ((node = list_pop_front(&batch->requests)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        request->state = REQUEST_NONE;
        core->stats.reads_pending--;
        request->done(request, error, NULL);
    }
    free(batch);
}

void read_retry(struct core *core)
{
    list_each(node, &core->read_batches)
    {
        struct core_read_batch *batch = container_of(node, struct core_read_batch, node);
        if (core->now_ms >= batch->begun_ms + core->config.request_timeout_ms) {
            end_batch(core, batch, ERR_TIMEOUT);
        } else if (!batch->answered && core->now_ms >= batch->asked_ms + READ_RETRY_MS) {
            batch->asked_ms = core->now_ms;
            raft_read_index(core->raft, batch->context);
        }
    }
}

void read_fail_all(struct core *core, int error)
{
    if (core->gathering != NULL) {
        list_push_back(&core->read_batches, &core->gathering->node);
        core->gathering = NULL;
    }
    while (!list_empty(&core->read_batches)) {
        end_batch(core, list_first(&core->read_batches, struct core_read_batch, node), error);
    }
}

uint64_t read_deadline(const struct core *core)
{
    if (core->gathering != NULL) {
        return core->now_ms;
    }
    return list_empty(&core->read_batches) ? UINT64_MAX
                                           : list_first(&core->read_batches, struct core_read_batch, node)->asked_ms +
                                                 READ_RETRY_MS;
}

/* --- ranges --- */

static void range_ready(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_range *range = barrier->owner;
    if (error != 0) {
        range->state = READ_NONE;
        range->done(range, error);
        return;
    }
    range->state = READ_READY;
    list_push_back(&range->core->resolving, &range->node);
}

int core_range(struct core *core, struct core_range *range, const Etcdserverpb__RangeRequest *request)
{
    range->core = core;
    range->request = request;
    range->barrier = (struct core_request){.done = range_ready, .owner = range};
    if (!request->serializable) {
        range->state = READ_BARRIER;
        return core_barrier(core, &range->barrier);
    }
    if (core->stopping) {
        return ERR_STOPPED;
    }
    range->state = READ_READY;
    list_push_back(&core->resolving, &range->node);
    return 0;
}

void core_range_cancel(struct core_range *range)
{
    switch (range->state) {
    case READ_BARRIER:
        core_cancel(range->core, &range->barrier);
        break;
    case READ_RUNNING:
        list_remove(&range->node);
        kv_range_end(&range->range);
        break;
    case READ_READY:
        list_remove(&range->node);
        break;
    default:
        break;
    }
    range->state = READ_NONE;
}

/* One slice of a range. True: it is finished and out of the list. */
static bool range_step(struct core *core, struct core_range *range)
{
    int error = 0;
    if (range->state == READ_READY) {
        error = kv_range_start(core->kv, range->request, &range->range);
        range->state = READ_RUNNING;
    }
    bool open = error == 0;
    if (open) {
        error = kv_range_resolve(&range->range, KV_BUDGET);
        if (error == KV_MORE) {
            return false;
        }
    }
    list_remove(&range->node);
    if (error < 0 && open) {
        kv_range_end(&range->range);
    }
    range->state = error == 0 ? READ_OPEN : READ_NONE;
    range->done(range, error);
    return true;
}

/* --- read-only txns --- */

static void txn_ready(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_txn_read *txn = barrier->owner;
    if (error != 0) {
        txn->state = READ_NONE;
        txn->done(txn, error, NULL);
        return;
    }
    txn->state = READ_READY;
    list_push_back(&txn->core->txn_reads, &txn->node);
}

int core_txn_read(struct core *core, struct core_txn_read *txn, const Etcdserverpb__TxnRequest *request,
                  struct arena *arena)
{
    txn->core = core;
    txn->read = (struct kv_txn_read){.request = request, .arena = arena};
    txn->barrier = (struct core_request){.done = txn_ready, .owner = txn};
    if (!kv_txn_serializable(request)) {
        txn->state = READ_BARRIER;
        return core_barrier(core, &txn->barrier);
    }
    if (core->stopping) {
        return ERR_STOPPED;
    }
    txn->state = READ_READY;
    list_push_back(&core->txn_reads, &txn->node);
    return 0;
}

void core_txn_read_cancel(struct core_txn_read *txn)
{
    switch (txn->state) {
    case READ_BARRIER:
        core_cancel(txn->core, &txn->barrier);
        break;
    case READ_RUNNING:
        kv_txn_read_cancel(txn->core->kv, &txn->read);
        list_remove(&txn->node);
        break;
    case READ_READY:
        list_remove(&txn->node);
        break;
    default:
        break;
    }
    txn->state = READ_NONE;
}

static bool txn_step(struct core *core, struct core_txn_read *txn)
{
    txn->state = READ_RUNNING;
    if (kv_txn_read_step(core->kv, &txn->read, KV_BUDGET) == KV_MORE) {
        return false;
    }
    list_remove(&txn->node);
    txn->state = READ_NONE;
    Etcdserverpb__TxnResponse *response = txn->read.error == 0 ? txn->read.response : NULL;
    if (response != NULL && response->header != NULL) {
        core_header(core, response->header, false);
    }
    txn->done(txn, txn->read.error, response);
    return true;
}

/* --- the turn --- */

/* Most ranges and txns end with their first step, which costs less than its budget; those that do not are put at the end
 * of their list, and after CORE_TURN_STEPS such steps the turn has done enough. */
static void serve_list(struct core *core, struct list *list, bool (*step)(struct core *core, struct list *node))
{
    unsigned long_steps = 0;
    for (unsigned i = 0; i < CORE_TURN_ENTRIES && long_steps < CORE_TURN_STEPS && !list_empty(list); i++) {
        struct list *node = list->next;
        if (!step(core, node)) {
            list_remove(node);
            list_push_back(list, node);
            long_steps++;
        }
    }
}

static bool range_node_step(struct core *core, struct list *node)
{
    return range_step(core, container_of(node, struct core_range, node));
}

static bool txn_node_step(struct core *core, struct list *node)
{
    return txn_step(core, container_of(node, struct core_txn_read, node));
}

bool read_serve(struct core *core)
{
    while (!list_empty(&core->read_batches)) {
        struct core_read_batch *batch = list_first(&core->read_batches, struct core_read_batch, node);
        if (!batch->answered || batch->index > core->applied) {
            break;
        }
        end_batch(core, batch, 0);
    }
    serve_list(core, &core->resolving, range_node_step);
    serve_list(core, &core->txn_reads, txn_node_step);
    return core->gathering != NULL || !list_empty(&core->resolving) || !list_empty(&core->txn_reads);
}
