/* Linearizable reads. All barriers that came in since the last turn share one read index; each batch is let through
 * once the state machine has applied as far. Then ranges and read-only txns are resolved in slices, taking turns. */
#include "core/internal.h"

#include "base/check.h"
#include <limits.h>

#define READ_RETRY_MS 500 /* mvcc.md "Linearizable reads" */
#define STEP_COST 8       /* of any step, in units of KV_BUDGET */
#define MAX_ASKED 2       /* read rounds that are out at a time */

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

/* One round of heartbeats serves all that wait for it. While two are out the next one gathers (etcd: one). */
static bool may_ask(const struct core *core)
{
    return core->gathering != NULL && core->reads_asked < MAX_ASKED;
}

void read_ask(struct core *core)
{
    struct core_read_batch *batch = core->gathering;
    if (batch != NULL && batch->begun_ms == 0) {
        batch->begun_ms = core->now_ms;
    }
    if (!may_ask(core)) {
        return;
    }
    core->gathering = NULL;
    core->reads_asked++;
    batch->asked = true;
    batch->context = core->next_context++;
    batch->asked_ms = core->now_ms;
    list_push_back(&core->read_batches, &batch->node);
    if (core->read_check_ms > core->now_ms + READ_RETRY_MS) {
        core->read_check_ms = core->now_ms + READ_RETRY_MS;
    }
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
            batch->asked = false;
            core->reads_asked--;
        } else {
            batch->lost = true; /* role or term changed: read_ask_again, or read_leader_changed ends it */
        }
        return;
    }
}

/* When the own term's first entry is applied raft has an answer for all of them (mvcc.md "Linearizable reads"). */
void read_ask_again(struct core *core)
{
    list_each(node, &core->read_batches)
    {
        struct core_read_batch *batch = container_of(node, struct core_read_batch, node);
        if (!batch->answered && batch->lost) {
            batch->lost = false;
            batch->asked_ms = core->now_ms;
            raft_read_index(core->raft, batch->context);
        }
    }
}

/* Ends at most `max` requests of a batch, and the batch with its last one. Returns how many. */
static unsigned end_batch(struct core *core, struct core_read_batch *batch, int error, unsigned max)
{
    unsigned ended = 0;
    struct list *node = NULL;
    while (ended < max && (node = list_pop_front(&batch->requests)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        request->state = REQUEST_NONE;
        core->stats.reads_pending--;
        ended++;
        request->done(request, error, NULL);
    }
    if (list_empty(&batch->requests)) {
        core->reads_asked -= batch->asked;
        list_remove(&batch->node);
        free(batch);
    }
    return ended;
}

/* etcd ends the reads that wait for an index when a leader is elected; clients ask again. */
void read_leader_changed(struct core *core)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &core->read_batches);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_read_batch *batch = container_of(node, struct core_read_batch, node);
        list_push_back(&core->read_batches, node);
        if (!batch->answered) {
            core->stats.reads_failed_total++;
            end_batch(core, batch, ERR_LEADER_CHANGED, UINT_MAX);
        }
    }
}

static struct core_read_batch *first_batch(const struct core *core)
{
    return list_empty(&core->read_batches) ? NULL : list_first(&core->read_batches, struct core_read_batch, node);
}

static bool overdue(const struct core *core, const struct core_read_batch *batch)
{
    return batch != NULL && batch->begun_ms != 0 && core->now_ms >= batch->begun_ms + core->config.request_timeout_ms;
}

/* They time out in the order in which they began; what still gathers is last. */
static struct core_read_batch *first_overdue(struct core *core)
{
    struct core_read_batch *batch = first_batch(core);
    if (batch == NULL && overdue(core, core->gathering)) {
        batch = core->gathering;
        core->gathering = NULL;
        list_push_back(&core->read_batches, &batch->node);
    }
    return overdue(core, batch) ? batch : NULL;
}

static bool time_out(struct core *core)
{
    unsigned left = CORE_TURN_ENTRIES;
    struct core_read_batch *batch;
    while (left > 0 && (batch = first_overdue(core)) != NULL) {
        core->stats.reads_slow_total++;
        left -= end_batch(core, batch, ERR_TIMEOUT, left);
    }
    return left == 0;
}

bool read_retry(struct core *core)
{
    bool more = time_out(core);
    if (core->now_ms < core->read_check_ms) {
        return more;
    }
    core->read_check_ms = UINT64_MAX;
    list_each(node, &core->read_batches)
    {
        struct core_read_batch *batch = container_of(node, struct core_read_batch, node);
        if (!batch->asked) {
            continue;
        }
        if (core->now_ms >= batch->asked_ms + READ_RETRY_MS) {
            batch->asked_ms = core->now_ms;
            batch->lost = false;
            raft_read_index(core->raft, batch->context);
        }
        if (core->read_check_ms > batch->asked_ms + READ_RETRY_MS) {
            core->read_check_ms = batch->asked_ms + READ_RETRY_MS;
        }
    }
    return more;
}

uint64_t read_deadline(const struct core *core)
{
    if (may_ask(core)) {
        return core->now_ms;
    }
    const struct core_read_batch *batch = first_batch(core) != NULL ? first_batch(core) : core->gathering;
    if (batch == NULL) {
        return UINT64_MAX;
    }
    if (batch->begun_ms == 0) {
        return core->now_ms;
    }
    uint64_t over = batch->begun_ms + core->config.request_timeout_ms;
    return over < core->read_check_ms ? over : core->read_check_ms;
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

static void range_over(struct core_range *range, int error)
{
    if (range->state == READ_RUNNING && error != 0) {
        kv_range_end(&range->range);
    }
    list_remove(&range->node);
    range->state = error == 0 ? READ_OPEN : READ_NONE;
    range->done(range, error);
}

/* One slice of a range, and in *cost what it and its answer take. True: it is finished and out of the list. */
static bool range_step(struct core *core, struct list *node, uint64_t *cost)
{
    struct core_range *range = container_of(node, struct core_range, node);
    int error = 0;
    if (range->state == READ_READY) {
        error = kv_range_start(core->kv, range->request, &range->range);
        range->state = error == 0 ? READ_RUNNING : READ_READY;
    }
    if (error == 0) {
        error = kv_range_resolve(&range->range, KV_BUDGET);
        *cost = KV_BUDGET;
        if (error == KV_MORE) {
            return false;
        }
        if (2 * range->range.kvs < KV_BUDGET) {
            *cost = STEP_COST + 2 * range->range.kvs;
        }
    }
    range_over(range, error);
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
    txn->kv = NULL;
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
        kv_txn_read_cancel(txn->kv, &txn->read);
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

static void txn_over(struct core_txn_read *txn, int error, Etcdserverpb__TxnResponse *response)
{
    list_remove(&txn->node);
    txn->state = READ_NONE;
    txn->done(txn, error, response);
}

static bool txn_step(struct core *core, struct list *node, uint64_t *cost)
{
    struct core_txn_read *txn = container_of(node, struct core_txn_read, node);
    txn->state = READ_RUNNING;
    txn->kv = txn->kv == NULL ? core->kv : txn->kv; /* a generation that comes meanwhile is not its own */
    if (kv_txn_read_step(txn->kv, &txn->read, KV_BUDGET) == KV_MORE) {
        *cost = KV_BUDGET;
        return false;
    }
    *cost += STEP_COST * (txn->read.request->n_compare + txn->read.request->n_success + txn->read.request->n_failure);
    Etcdserverpb__TxnResponse *response = txn->read.error == 0 ? txn->read.response : NULL;
    if (response != NULL && response->header != NULL) {
        core_header(core, response->header, false);
    }
    txn_over(txn, txn->read.error, response);
    return true;
}

/* --- the turn --- */

/* Each gets a slice; those that are not through then go to the end of their list. */
static void serve_list(struct core *core, struct list *list,
                       bool (*step)(struct core *core, struct list *node, uint64_t *cost))
{
    uint64_t left = CORE_TURN_STEPS * KV_BUDGET;
    while (left > 0 && !list_empty(list)) {
        struct list *node = list->next;
        uint64_t cost = STEP_COST;
        if (!step(core, node, &cost)) {
            list_remove(node);
            list_push_back(list, node);
        }
        left -= cost < left ? cost : left;
    }
}

static bool serve_barriers(struct core *core)
{
    unsigned left = CORE_TURN_ENTRIES;
    struct core_read_batch *batch;
    while ((batch = first_batch(core)) != NULL && batch->answered && batch->index <= core->applied) {
        if (left == 0) {
            return true;
        }
        left -= end_batch(core, batch, 0, left);
    }
    return false;
}

bool read_serve(struct core *core)
{
    bool more = serve_barriers(core);
    serve_list(core, &core->resolving, range_step);
    serve_list(core, &core->txn_reads, txn_step);
    return more || may_ask(core) || !list_empty(&core->resolving) || !list_empty(&core->txn_reads);
}

void read_init(struct core *core)
{
    core->next_context = 1;
    core->read_check_ms = UINT64_MAX;
    list_init(&core->read_batches);
    list_init(&core->resolving);
    list_init(&core->txn_reads);
}

void read_fail_all(struct core *core, int error)
{
    if (core->gathering != NULL) {
        list_push_back(&core->read_batches, &core->gathering->node);
        core->gathering = NULL;
    }
    while (!list_empty(&core->read_batches)) {
        end_batch(core, first_batch(core), error, UINT_MAX);
    }
    while (!list_empty(&core->resolving)) {
        range_over(list_first(&core->resolving, struct core_range, node), error);
    }
    while (!list_empty(&core->txn_reads)) {
        struct core_txn_read *txn = list_first(&core->txn_reads, struct core_txn_read, node);
        if (txn->state == READ_RUNNING) {
            kv_txn_read_cancel(txn->kv, &txn->read);
        }
        txn_over(txn, error, NULL);
    }
}
