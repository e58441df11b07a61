/* The duplicate check of txn requests (mvcc.md "Duplicate check"), for requests of any shape that fits the size limit:
 * 100,000 operations in nested txns must not cost quadratic time. Puts are kept in hash sets. Deletes are kept as a few
 * sorted runs of disjoint intervals, whose lengths double: adding a run merges it with those of its size. */
#include "base/arena.h"
#include "kv/op.h"

#include <stdlib.h>

/* --- a set of keys --- */

struct key_set {
    struct bytes *slots; /* data NULL = free */
    size_t mask, count;
};

static uint64_t key_hash(struct bytes key)
{
    uint64_t h = 1469598103934665603ULL;
    for (size_t i = 0; i < key.len; i++) {
        h = (h ^ key.data[i]) * 1099511628211ULL;
    }
    return h ^ h >> 32;
}

static struct bytes *key_slot(const struct key_set *set, struct bytes key)
{
    size_t at = key_hash(key) & set->mask;
    while (set->slots[at].data != NULL && !bytes_equal(set->slots[at], key)) {
        at = (at + 1) & set->mask;
    }
    return &set->slots[at];
}

static bool key_set_has(const struct key_set *set, struct bytes key)
{
    return set->count > 0 && key_slot(set, key)->data != NULL;
}

static void key_set_add(struct key_set *set, struct bytes key)
{
    if (set->slots == NULL || set->count * 2 > set->mask) {
        struct key_set grown = {.mask = set->slots == NULL ? 15 : set->mask * 2 + 1};
        grown.slots = mem_zalloc((grown.mask + 1) * sizeof grown.slots[0]);
        for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
            if (set->slots[i].data != NULL) {
                *key_slot(&grown, set->slots[i]) = set->slots[i];
            }
        }
        grown.count = set->count;
        free(set->slots);
        *set = grown;
    }
    struct bytes *slot = key_slot(set, key);
    set->count += slot->data == NULL;
    *slot = key;
}

/* --- a set of intervals --- */

struct interval {
    struct bytes begin, end; /* point = the key alone is in it, then end is not looked at */
    bool point;
};

struct run {
    struct interval *items; /* ascending, disjoint */
    size_t count;
};

#define RUNS_MAX 48

struct interval_set {
    struct run runs[RUNS_MAX]; /* each longer than the next */
    unsigned count;
};

static bool interval_has(const struct interval *interval, struct bytes key)
{
    if (interval->point) {
        return bytes_equal(interval->begin, key);
    }
    return bytes_compare(interval->begin, key) <= 0 && bytes_compare(key, interval->end) < 0;
}

static int interval_compare(const void *a, const void *b)
{
    return bytes_compare(((const struct interval *)a)->begin, ((const struct interval *)b)->begin);
}

/* Is nothing of b outside of a, given that b does not begin before a? */
static bool interval_covers(const struct interval *a, const struct interval *b)
{
    if (a->point) {
        return b->point && bytes_equal(a->begin, b->begin);
    }
    return b->point ? interval_has(a, b->begin) : bytes_compare(b->end, a->end) <= 0;
}

/* Joins sorted intervals that overlap; the result is disjoint. */
static size_t intervals_join(struct interval *items, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        struct interval *last = n == 0 ? NULL : &items[n - 1];
        if (last != NULL && interval_covers(last, &items[i])) {
            continue;
        }
        if (last != NULL && last->point && bytes_equal(last->begin, items[i].begin)) {
            *last = items[i];
        } else if (last != NULL && interval_has(last, items[i].begin)) {
            last->end = items[i].end;
        } else {
            items[n++] = items[i];
        }
    }
    return n;
}

static struct run run_merge(struct run a, struct run b)
{
    struct run out = {.items = mem_alloc((a.count + b.count) * sizeof out.items[0])};
    size_t i = 0, j = 0;
    while (i < a.count || j < b.count) {
        bool left = j == b.count || (i < a.count && interval_compare(&a.items[i], &b.items[j]) <= 0);
        out.items[out.count++] = left ? a.items[i++] : b.items[j++];
    }
    out.count = intervals_join(out.items, out.count);
    free(a.items);
    free(b.items);
    return out;
}

/* Takes the run over. */
static void interval_set_add(struct interval_set *set, struct run run)
{
    if (run.count == 0) {
        free(run.items);
        return;
    }
    while (set->count > 0 && (set->runs[set->count - 1].count <= run.count * 2 || set->count == RUNS_MAX)) {
        run = run_merge(set->runs[--set->count], run);
    }
    set->runs[set->count++] = run;
}

static bool run_has(const struct run *run, struct bytes key)
{
    size_t low = 0, high = run->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bytes_compare(run->items[middle].begin, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && interval_has(&run->items[low - 1], key);
}

static bool interval_set_has(const struct interval_set *set, struct bytes key)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (run_has(&set->runs[i], key)) {
            return true;
        }
    }
    return false;
}

static void interval_set_take(struct interval_set *to, struct interval_set *from)
{
    for (unsigned i = 0; i < from->count; i++) {
        interval_set_add(to, from->runs[i]);
    }
    from->count = 0;
}

/* --- the check --- */

/* What one list of operations puts and deletes. */
struct branch {
    struct key_set puts;
    struct interval_set deletes;
};

static void branch_free(struct branch *branch)
{
    free(branch->puts.slots);
    for (unsigned i = 0; i < branch->deletes.count; i++) {
        free(branch->deletes.runs[i].items);
    }
}

static int check_branch(Etcdserverpb__RequestOp *const *ops, size_t count, struct branch *out);

static void collect_deletes(Etcdserverpb__RequestOp *const *ops, size_t count, struct interval_set *deletes)
{
    struct run run = {0};
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            continue;
        }
        if (run.items == NULL) {
            run.items = mem_alloc(count * sizeof run.items[0]);
        }
        const Etcdserverpb__DeleteRangeRequest *d = ops[i]->request_delete_range;
        struct interval interval = {op_bytes(d->key), op_bytes(d->range_end), d->range_end.len == 0};
        if (interval.point || bytes_compare(interval.begin, interval.end) < 0) {
            run.items[run.count++] = interval;
        }
    }
    if (run.count > 0) {
        qsort(run.items, run.count, sizeof run.items[0], interval_compare);
        run.count = intervals_join(run.items, run.count);
    }
    interval_set_add(deletes, run);
}

/* May these puts of a nested txn's branch stand beside what was collected so far? `besides`, if not NULL: puts that
 * exclude these and so do not count. */
static int add_puts(struct branch *to, const struct key_set *puts, const struct key_set *besides)
{
    for (size_t i = 0; puts->slots != NULL && i <= puts->mask; i++) {
        struct bytes key = puts->slots[i];
        if (key.data == NULL) {
            continue;
        }
        bool excused = besides != NULL && key_set_has(besides, key);
        if ((key_set_has(&to->puts, key) && !excused) || interval_set_has(&to->deletes, key)) {
            return ERR_DUPLICATE_KEY;
        }
        key_set_add(&to->puts, key);
    }
    return 0;
}

static int check_nested(const Etcdserverpb__TxnRequest *txn, struct branch *out)
{
    struct branch success = {0}, failure = {0};
    int error = check_branch(txn->success, txn->n_success, &success);
    error = error != 0 ? error : check_branch(txn->failure, txn->n_failure, &failure);
    error = error != 0 ? error : add_puts(out, &success.puts, NULL);
    error = error != 0 ? error : add_puts(out, &failure.puts, &success.puts);
    if (error == 0) {
        interval_set_take(&out->deletes, &success.deletes);
        interval_set_take(&out->deletes, &failure.deletes);
    }
    branch_free(&success);
    branch_free(&failure);
    return error;
}

static int check_branch(Etcdserverpb__RequestOp *const *ops, size_t count, struct branch *out)
{
    int error = 0;
    collect_deletes(ops, count, &out->deletes);
    for (size_t i = 0; i < count && error == 0; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            error = check_nested(ops[i]->request_txn, out);
        }
    }
    for (size_t i = 0; i < count && error == 0; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            continue;
        }
        struct bytes key = op_bytes(ops[i]->request_put->key);
        if (key_set_has(&out->puts, key) || interval_set_has(&out->deletes, key)) {
            return ERR_DUPLICATE_KEY;
        }
        key_set_add(&out->puts, key);
    }
    return error;
}

int op_check_duplicates(const Etcdserverpb__TxnRequest *txn)
{
    struct branch success = {0}, failure = {0};
    int error = check_branch(txn->success, txn->n_success, &success);
    error = error != 0 ? error : check_branch(txn->failure, txn->n_failure, &failure);
    branch_free(&success);
    branch_free(&failure);
    return error;
}
