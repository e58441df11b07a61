/* Txns (mvcc.md "Txn"), in slices. Three passes:
 *   compare  - walks the tree of txns top-down; each one's compares, on the state before the txn, choose its branch.
 * What stands on the chosen branches becomes a flat program, in the order of execution; the tree of answers is built
 * along the way; check    - each operation of the program, still on the state before: the first error refuses the whole
 * txn; execute  - the program, each operation seeing the ones before. Everything is allocated from the caller's arena.
 */
#include "kv/txn.h"
#include "base/check.h"
#include "kv/op.h"

#define ROW_COST 4 /* budget for a row that is looked at, besides its bytes */

/* A txn of the tree whose branch was chosen; its operations from `at` on are still to be looked at. */
struct frame {
    Etcdserverpb__RequestOp **ops;
    Etcdserverpb__ResponseOp **answers;
    size_t count, at;
};

struct op {
    const Etcdserverpb__RequestOp *request;
    Etcdserverpb__ResponseOp *answer;
};

enum pass { PASS_COMPARE, PASS_CHECK, PASS_EXECUTE };

struct txn_run {
    struct kv *kv;
    struct arena *arena;
    int64_t current;
    bool read_only, wanted;
    enum pass pass;
    Etcdserverpb__TxnResponse *response;

    /* compare */
    struct frame *frames; /* the way down from the root */
    size_t depth, frame_capacity;
    const Etcdserverpb__TxnRequest *comparing; /* the txn whose compares are being evaluated, NULL = none */
    Etcdserverpb__TxnResponse *compared;       /* its answer */
    size_t compare_at;
    bool compare_open, compare_met; /* a compare over a range is under way; it has met a key */
    struct index_range compare_range;
    struct index_walk compare_walk;
    struct store_rows rows;

    /* check, execute */
    struct op *program;
    size_t count, capacity, at;
    bool op_open;
    struct kv_pin past; /* read-only: the oldest revision that a range was allowed to read; from the check on */
    struct kv_range range;
    Etcdserverpb__RangeResponse *range_answer;
    struct txn_delete del;
};

static void spend(size_t *budget, size_t bytes)
{
    size_t cost = ROW_COST + bytes / KV_BUDGET_BYTES;
    *budget -= *budget < cost ? *budget : cost;
}

/* --- compare --- */

static bool holds(Etcdserverpb__Compare__CompareResult result, int order)
{
    switch (result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    default:
        return true;
    }
}

static int order_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* A target_union of another kind than the target counts as not there. */
static int compare_fields(const Etcdserverpb__Compare *c, const struct row_fields *fields)
{
    switch (c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        return bytes_compare(fields->value, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE
                                                ? op_bytes(c->value)
                                                : (struct bytes){0});
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return order_numbers(
            fields->create_revision,
            c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION ? c->create_revision : 0);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return order_numbers(fields->mod_revision,
                             c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION ? c->mod_revision
                                                                                                      : 0);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return order_numbers(fields->version,
                             c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION ? c->version : 0);
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return order_numbers(fields->lease,
                             c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE ? c->lease : 0);
    default:
        return 0;
    }
}

/* 1 = the compare holds for this key, 0 = not, or an error. */
static int compare_key(struct txn_run *run, const Etcdserverpb__Compare *c, const struct index_change *change,
                       size_t *budget)
{
    struct row_fields fields = {
        .create_revision = change->created,
        .mod_revision = change->main,
        .version = change->version,
    };
    if (c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE ||
        c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE) {
        struct bytes row;
        spend(budget, change->len);
        if (store_row(run->kv, &run->rows, index_change_revision(change), &row) != 0 || row_decode(row, &fields) != 0) {
            return ERR_CORRUPT_DATA;
        }
    }
    return holds(c->result, compare_fields(c, &fields));
}

static int compare_nothing(const Etcdserverpb__Compare *c)
{
    struct row_fields none = {0};
    return c->target != ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE && holds(c->result, compare_fields(c, &none));
}

/* One compare, over all keys of its range. KV_MORE, an error, or KV_DONE with *met. */
static int compare_one(struct txn_run *run, const Etcdserverpb__Compare *c, size_t *budget, bool *met)
{
    if (!run->compare_open) {
        run->compare_range = (struct index_range){op_bytes(c->key), op_bytes(c->range_end)};
        index_walk_range(&run->compare_walk, run->kv->index, &run->compare_range);
        run->compare_open = true;
        run->compare_met = false;
    }
    int result = 1;
    while (result == 1) {
        if (*budget == 0) {
            return KV_MORE;
        }
        const struct index_key *key = index_walk_next(&run->compare_walk);
        if (key == NULL) {
            result = run->compare_met ? 1 : compare_nothing(c);
            break;
        }
        --*budget;
        const struct index_change *change = index_at(key, run->current);
        if (change != NULL) {
            run->compare_met = true;
            result = compare_key(run, c, change, budget);
        }
    }
    run->compare_open = false;
    index_walk_end(&run->compare_walk);
    *met = result == 1;
    return result < 0 ? result : KV_DONE;
}

static void *grown(struct arena *arena, void *old, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return old;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    void *more = arena_alloc(arena, *capacity * size);
    if (count > 0) {
        memcpy(more, old, count * size);
    }
    return more;
}

/* The branch is chosen: its operations come next. */
static void enter_branch(struct txn_run *run, bool succeeded)
{
    const Etcdserverpb__TxnRequest *txn = run->comparing;
    Etcdserverpb__TxnResponse *answer = run->compared;
    struct frame frame = {
        .ops = succeeded ? txn->success : txn->failure,
        .count = succeeded ? txn->n_success : txn->n_failure,
    };
    frame.answers = arena_alloc(run->arena, (frame.count + 1) * sizeof frame.answers[0]);
    answer->succeeded = succeeded;
    answer->n_responses = frame.count;
    answer->responses = frame.answers;
    run->frames = grown(run->arena, run->frames, run->depth, &run->frame_capacity, sizeof frame);
    run->frames[run->depth++] = frame;
    run->comparing = NULL;
    run->compare_at = 0;
}

static Etcdserverpb__TxnResponse *answer_new(struct arena *arena)
{
    Etcdserverpb__TxnResponse *answer = arena_alloc(arena, sizeof *answer);
    etcdserverpb__txn_response__init(answer);
    answer->header = arena_alloc(arena, sizeof *answer->header);
    etcdserverpb__response_header__init(answer->header);
    return answer;
}

/* Takes the next operation of the innermost branch into the program, or goes down into a nested txn, or up. */
static void take_op(struct txn_run *run)
{
    struct frame *frame = &run->frames[run->depth - 1];
    if (frame->at == frame->count) {
        run->depth--;
        return;
    }
    Etcdserverpb__RequestOp *request = frame->ops[frame->at];
    Etcdserverpb__ResponseOp *answer = arena_alloc(run->arena, sizeof *answer);
    etcdserverpb__response_op__init(answer);
    frame->answers[frame->at++] = answer;
    if (request->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
        run->comparing = request->request_txn;
        run->compared = answer_new(run->arena);
        answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
        answer->response_txn = run->compared;
        return;
    }
    run->program = grown(run->arena, run->program, run->count, &run->capacity, sizeof run->program[0]);
    run->program[run->count++] = (struct op){request, answer};
}

static int pass_compare(struct txn_run *run, size_t *budget)
{
    while (run->comparing != NULL || run->depth > 0) {
        if (*budget == 0) {
            return KV_MORE;
        }
        if (run->comparing == NULL) {
            take_op(run);
            --*budget;
            continue;
        }
        bool met = true;
        if (run->compare_at < run->comparing->n_compare) {
            int progress = compare_one(run, run->comparing->compare[run->compare_at], budget, &met);
            if (progress != KV_DONE) {
                return progress;
            }
            run->compare_at++;
        }
        if (!met || run->compare_at == run->comparing->n_compare) {
            enter_branch(run, met);
        }
    }
    return KV_DONE;
}

/* --- check --- */

/* What was found to be there stays there until it is read, though a compaction may be applied in between. Nothing is
 * while an entry is. */
static void hold_past(struct txn_run *run, int64_t revision)
{
    bool held = run->past.revision != 0 && run->past.revision <= revision;
    if (run->read_only && revision > 0 && !held) {
        store_unpin(&run->past);
        store_pin(run->kv, &run->past, revision);
    }
}

static int check_range(struct txn_run *run, const Etcdserverpb__RangeRequest *request)
{
    if (request->revision == 0) {
        return 0;
    }
    if (request->revision > run->current) {
        return ERR_FUTURE_REV;
    }
    if (request->revision < run->kv->compact_revision) {
        return ERR_COMPACTED;
    }
    hold_past(run, request->revision);
    return 0;
}

static int check_op(struct txn_run *run, const Etcdserverpb__RequestOp *op)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return check_range(run, op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return txn_check_put(run->kv, op->request_put);
    default:
        return 0;
    }
}

static int pass_check(struct txn_run *run, size_t *budget, int *error)
{
    while (run->at < run->count) {
        if (*budget == 0) {
            return KV_MORE;
        }
        --*budget;
        *error = check_op(run, run->program[run->at++].request);
        if (*error != 0) {
            break;
        }
    }
    return KV_DONE;
}

/* --- execute --- */

static int run_range(struct txn_run *run, const struct op *op, size_t *budget)
{
    op->answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    if (!run->wanted) {
        op->answer->response_range = range_response(&(struct kv_range){0}, run->arena);
        return KV_DONE;
    }
    if (!run->op_open) {
        int64_t current = run->read_only ? run->current : store_write_revision(run->kv);
        range_start_at(run->kv, op->request->request_range, current, &run->range);
        run->op_open = true;
        run->range_answer = NULL;
    }
    if (run->range_answer == NULL) {
        int progress = kv_range_resolve(&run->range, *budget);
        if (progress != KV_DONE) {
            *budget = 0;
            return progress;
        }
        run->range_answer = op->answer->response_range = range_response(&run->range, run->arena);
    }
    int progress = range_fill(&run->range, run->range_answer, run->arena, budget);
    if (progress == KV_DONE) {
        kv_range_end(&run->range);
        run->op_open = false;
    }
    return progress;
}

/* Of the row that a put has to read first; 0 = of none. */
static size_t old_bytes(const struct txn_run *run, const Etcdserverpb__PutRequest *put)
{
    if (!put->ignore_value && !put->ignore_lease && !(put->prev_kv && run->wanted)) {
        return 0;
    }
    const struct index_key *key = index_find(run->kv->index, op_bytes(put->key));
    return key == NULL ? 0 : key->newest.len;
}

static int run_put(struct txn_run *run, const struct op *op, size_t *budget)
{
    Etcdserverpb__PutResponse *answer = arena_alloc(run->arena, sizeof *answer);
    etcdserverpb__put_response__init(answer);
    op->answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    op->answer->response_put = answer;
    spend(budget, old_bytes(run, op->request->request_put));
    return txn_put(run->kv, op->request->request_put, run->wanted, run->arena, answer);
}

static int run_delete(struct txn_run *run, const struct op *op, size_t *budget)
{
    if (!run->op_open) {
        Etcdserverpb__DeleteRangeResponse *answer = arena_alloc(run->arena, sizeof *answer);
        etcdserverpb__delete_range_response__init(answer);
        op->answer->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        op->answer->response_delete_range = answer;
        txn_delete_begin(&run->del, run->kv, op->request->request_delete_range, run->wanted, answer);
        run->op_open = true;
    }
    int progress = txn_delete_step(&run->del, run->kv, run->arena, budget);
    run->op_open = progress == KV_MORE;
    return progress;
}

static int run_op(struct txn_run *run, const struct op *op, size_t *budget)
{
    switch (op->request->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return run_range(run, op, budget);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return run_put(run, op, budget);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return run_delete(run, op, budget);
    default:
        return KV_DONE; /* an op without a request never passed the door; etcd's executor skips it */
    }
}

static int pass_execute(struct txn_run *run, size_t *budget)
{
    while (run->at < run->count) {
        if (*budget == 0) {
            return KV_MORE;
        }
        int progress = run_op(run, &run->program[run->at], budget);
        if (progress < 0) {
            return progress;
        }
        run->at += progress == KV_DONE;
        if (progress == KV_MORE) {
            return KV_MORE;
        }
    }
    return KV_DONE;
}

/* --- runs --- */

struct txn_run *txn_begin(struct kv *kv, const Etcdserverpb__TxnRequest *request, int64_t current, bool read_only,
                          bool wanted, struct arena *arena)
{
    struct txn_run *run = arena_zalloc(arena, sizeof *run);
    run->kv = kv;
    run->arena = arena;
    run->current = current;
    run->read_only = read_only;
    run->wanted = wanted;
    run->response = answer_new(arena);
    run->comparing = request;
    run->compared = run->response;
    return run;
}

static int step(struct txn_run *run, size_t *budget, int *error)
{
    *error = 0;
    if (run->pass == PASS_COMPARE) {
        int progress = pass_compare(run, budget);
        if (progress != KV_DONE) {
            return progress;
        }
        run->pass = PASS_CHECK;
    }
    if (run->pass == PASS_CHECK) {
        int progress = pass_check(run, budget, error);
        if (progress != KV_DONE || *error != 0) {
            return progress;
        }
        run->pass = PASS_EXECUTE;
        run->at = 0;
    }
    return pass_execute(run, budget);
}

int txn_step(struct txn_run *run, size_t *budget, int *error, Etcdserverpb__TxnResponse **response)
{
    int progress = step(run, budget, error);
    index_walk_pause(&run->compare_walk);
    store_rows_end(&run->rows);
    if (progress == KV_DONE) {
        *response = *error != 0 ? NULL : run->response;
        run->response->header->revision = run->read_only ? run->current : store_write_revision(run->kv);
    }
    return progress;
}

void txn_end(struct txn_run *run)
{
    index_walk_end(&run->compare_walk);
    kv_range_end(&run->range);
    store_unpin(&run->past);
}

/* --- read-only txns --- */

int kv_txn_read_step(struct kv *kv, struct kv_txn_read *read, size_t budget)
{
    if (read->work == NULL) {
        store_pin(kv, &read->pin, kv->revision);
        read->work = txn_begin(kv, read->request, kv->revision, true, true, read->arena);
    }
    int progress = txn_step(read->work, &budget, &read->error, &read->response);
    if (progress != KV_MORE) {
        kv_txn_read_cancel(kv, read);
    }
    return progress;
}

void kv_txn_read_cancel(struct kv *kv, struct kv_txn_read *read)
{
    (void)kv;
    if (read->work != NULL) {
        txn_end(read->work);
        store_unpin(&read->pin);
        read->work = NULL;
    }
}
