/* Range reads (mvcc.md "Range"). Three shapes of answer:
 *   - in key order with values: nothing is collected; counts come from the tree or a walk, and the keys are walked
 * again when the bytes are pulled (the pinned revision makes both walks see the same);
 *   - in key order with keys only: the same, rows made from the index;
 *   - sorted or filtered: the keys are collected and sorted first. */
#include "kv/op.h"
#include "kv/range_work.h"

#include <stdlib.h>

#define ROW_COST 4 /* budget for a row that is looked at while resolving, besides its bytes */

/* --- start --- */

bool range_has_filter(const Etcdserverpb__RangeRequest *r)
{
    return r->min_mod_revision != 0 || r->max_mod_revision != 0 || r->min_create_revision != 0 ||
           r->max_create_revision != 0;
}

static bool is_sorted(const Etcdserverpb__RangeRequest *r)
{
    return r->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY ||
           r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
}

static bool by_value(const Etcdserverpb__RangeRequest *r)
{
    return r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
}

static uint64_t request_limit(const Etcdserverpb__RangeRequest *r)
{
    return r->limit > 0 ? (uint64_t)r->limit : UINT64_MAX;
}

void range_start_at(struct kv *kv, const Etcdserverpb__RangeRequest *request, int64_t current, struct kv_range *range)
{
    struct kv_range_work *work = mem_zalloc(sizeof *work);
    work->range = (struct index_range){op_bytes(request->key), op_bytes(request->range_end)};
    work->request = request;
    work->current = current;
    work->chunk_left = UINT64_MAX;
    work->collected = !request->count_only && (is_sorted(request) || range_has_filter(request));
    /* A sort order asked for, or a filter: all keys are fetched and the limit comes last. A sort target alone sorts
     * what the limit left, and one more. */
    bool fetch_all = request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE || range_has_filter(request);
    work->limit = request_limit(request);
    if (work->collected && work->limit != UINT64_MAX) {
        work->limit = fetch_all ? UINT64_MAX : work->limit + 1;
    }
    index_walk_range(&work->walk, kv->index, &work->range);
    *range = (struct kv_range){
        .header_revision = current,
        .revision = request->revision > 0 ? request->revision : current,
        .kv = kv,
        .work = work,
    };
    store_pin(kv, &range->pin, range->revision);
}

int kv_range_start(struct kv *kv, const Etcdserverpb__RangeRequest *request, struct kv_range *range)
{
    if (request->revision > kv->revision) {
        return ERR_FUTURE_REV;
    }
    if (request->revision > 0 && request->revision < kv->compact_revision) {
        return ERR_COMPACTED;
    }
    range_start_at(kv, request, kv->revision, range);
    return 0;
}

void kv_range_end(struct kv_range *range)
{
    struct kv_range_work *work = range->work;
    if (work == NULL) {
        return;
    }
    store_unpin(&range->pin);
    index_walk_end(&work->walk);
    index_walk_end(&work->chunk_walk);
    range_items_free(&work->items);
    range_sort_free(&work->sort);
    buffer_free(&work->made);
    free(work);
    range->work = NULL;
}

/* --- resolve --- */

bool range_item_at(struct range_item *item, const struct index_key *key, int64_t revision)
{
    const struct index_change *change = index_at(key, revision);
    if (change == NULL) {
        return false;
    }
    *item = (struct range_item){
        .key = key,
        .revision = index_change_revision(change),
        .created = change->created,
        .version = change->version,
        .len = change->len,
    };
    return true;
}

static bool filtered_out(const Etcdserverpb__RangeRequest *r, const struct range_item *item)
{
    int64_t mod = item->revision.main;
    return (r->max_mod_revision != 0 && mod > r->max_mod_revision) ||
           (r->min_mod_revision != 0 && mod < r->min_mod_revision) ||
           (r->max_create_revision != 0 && item->created > r->max_create_revision) ||
           (r->min_create_revision != 0 && item->created < r->min_create_revision);
}

struct row_fields range_item_fields(const struct range_item *item)
{
    return (struct row_fields){
        .key = index_key_bytes(item->key),
        .create_revision = item->created,
        .mod_revision = item->revision.main,
        .version = item->version,
        .lease = item->lease,
    };
}

/* Length of this kv in the answer, tag and length included. */
uint64_t range_item_bytes(const Etcdserverpb__RangeRequest *r, const struct range_item *item)
{
    uint64_t len = item->len;
    if (r->keys_only) {
        struct row_fields fields = range_item_fields(item);
        len = row_size(&fields);
    }
    return 1 + varint_size(len) + len;
}

static void ready(struct kv_range *range)
{
    struct kv_range_work *work = range->work;
    if (!work->collected && !work->request->count_only) {
        range->more = (uint64_t)range->count > request_limit(work->request);
    }
    range_sort_free(&work->sort);
    work->at = 0;
    work->read_left = range->kvs;
    index_walk_end(&work->walk);
    index_walk_range(&work->walk, range->kv->index, &work->range);
    work->chunk_walk = work->walk;
    work->stage = STAGE_READY;
}

/* The present as the tree has it: count and length of the answer at once. True = nothing is left to do. */
static bool measure_present(struct kv_range *range)
{
    struct kv_range_work *work = range->work;
    const struct index *index = range->kv->index;
    range->count = (int64_t)index_measure(index, &work->range).keys;
    work->counted = true;
    if (work->collected || work->request->keys_only) {
        return work->request->count_only || range->count == 0;
    }
    if (!work->request->count_only) {
        struct index_sum sum = index_measure_first(index, &work->range, work->limit);
        range->kvs = sum.keys;
        range->kvs_bytes = sum.bytes;
    }
    return true;
}

/* The past: its count from recent births and deaths, if they reach back so far. KV_MORE, or KV_DONE: go on. */
static int count_past(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    if (work->range.end.len == 0) {
        return KV_DONE;
    }
    switch (index_count_at(range->kv->index, &work->range, range->revision, &work->counting, budget)) {
    case INDEX_COUNT_MORE:
        return KV_MORE;
    case INDEX_COUNT_DONE:
        range->count = work->counting.keys;
        work->counted = true;
        return KV_DONE;
    default:
        return KV_DONE;
    }
}

static int count(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    work->stage = STAGE_COLLECT;
    if (!work->counting.begun && range->revision == store_write_revision(range->kv)) {
        if (measure_present(range)) {
            ready(range);
        }
        return KV_DONE;
    }
    if (count_past(range, budget) == KV_MORE) {
        work->stage = STAGE_COUNT;
        return KV_MORE;
    }
    if (work->counted && (work->request->count_only || range->count == 0)) {
        ready(range);
    }
    return KV_DONE;
}

/* Walks the range for what the tree could not tell: count, and the length of the answer. */
static bool walk_and_measure(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    const struct index_key *key;
    while (*budget > 0) {
        bool enough = work->request->count_only || range->kvs >= work->limit;
        if ((enough && work->counted) || (key = index_walk_next(&work->walk)) == NULL) {
            return true;
        }
        struct range_item item;
        --*budget;
        if (!range_item_at(&item, key, range->revision)) {
            continue;
        }
        range->count += !work->counted;
        if (!enough) {
            range->kvs++;
            range->kvs_bytes += range_item_bytes(work->request, &item);
        }
    }
    return false;
}

static void spend(size_t *budget, size_t bytes)
{
    size_t cost = ROW_COST + bytes / KV_BUDGET_BYTES;
    *budget -= *budget < cost ? *budget : cost;
}

static uint64_t value_order(struct bytes value)
{
    uint8_t head[8] = {0};
    if (value.len > 0) {
        memcpy(head, value.data, value.len < 8 ? value.len : 8);
    }
    return get_be64(head);
}

static uint64_t number_order(int64_t v)
{
    return (uint64_t)v ^ 1ULL << 63;
}

/* Fills what the item is sorted by. */
static int item_order(struct kv_range *range, struct range_item *item, size_t *budget)
{
    struct kv_range_work *work = range->work;
    struct bytes row;
    struct row_fields fields;
    switch (work->request->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        item->order = number_order(item->version);
        return 0;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        item->order = number_order(item->created);
        return 0;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        item->order = number_order(item->revision.main);
        return 0;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        spend(budget, item->len);
        if (store_row(range->kv, &work->rows, item->revision, &row) != 0 || row_decode(row, &fields) != 0) {
            return ERR_CORRUPT_DATA;
        }
        item->order = value_order(fields.value);
        item->lease = fields.lease; /* an answer sorted by value is made from rows even with keys only */
        return 0;
    default:
        return 0;
    }
}

/* KV_DONE when all keys are in. */
static int collect(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    const struct index_key *key;
    while (*budget > 0) {
        bool enough = work->items.count >= work->limit;
        if ((enough && work->counted) || (key = index_walk_next(&work->walk)) == NULL) {
            return KV_DONE;
        }
        struct range_item item;
        --*budget;
        if (!range_item_at(&item, key, range->revision)) {
            continue;
        }
        range->count += !work->counted;
        if (enough || filtered_out(work->request, &item)) {
            continue;
        }
        int error = item_order(range, &item, budget);
        if (error != 0) {
            return error;
        }
        range_items_add(&work->items, &item);
    }
    return KV_MORE;
}

/* Both values begin alike: compare all of them. */
static int compare_values(struct kv_range *range, const struct range_item *a, const struct range_item *b)
{
    struct kv_range_work *work = range->work;
    struct bytes row_a, row_b;
    struct row_fields fields_a = {0}, fields_b = {0};
    work->looked = (size_t)a->len + b->len;
    if (store_row(range->kv, &work->rows, a->revision, &row_a) != 0 || row_decode(row_a, &fields_a) != 0 ||
        store_row(range->kv, &work->rows, b->revision, &row_b) != 0 || row_decode(row_b, &fields_b) != 0) {
        range->kv->broken = true;
        return 0;
    }
    return bytes_compare(fields_a.value, fields_b.value);
}

static int compare_items(void *arg, const struct range_item *a, const struct range_item *b)
{
    struct kv_range *range = arg;
    const Etcdserverpb__RangeRequest *r = range->work->request;
    int c;
    if (r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY) {
        c = bytes_compare(index_key_bytes(a->key), index_key_bytes(b->key));
    } else if (a->order != b->order) {
        c = a->order < b->order ? -1 : 1;
    } else {
        c = by_value(r) ? compare_values(range, a, b) : 0;
    }
    return r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ? -c : c;
}

/* True = sorted. */
static bool sort_some(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    if (!by_value(work->request)) {
        return range_sort_step(&work->sort, budget);
    }
    while (*budget > 0) {
        size_t move = 1;
        work->looked = 0;
        if (range_sort_step(&work->sort, &move)) {
            return true;
        }
        if (work->looked == 0) {
            --*budget;
        } else {
            spend(budget, work->looked);
        }
    }
    return false;
}

static void cut_to_limit(struct kv_range *range)
{
    struct kv_range_work *work = range->work;
    uint64_t limit = request_limit(work->request);
    if (work->items.count > limit) {
        range->more = true;
        work->items.count = (size_t)limit;
    }
    range->kvs = work->items.count;
}

static bool measure_items(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    while (work->at<work->items.count && * budget> 0) {
        range->kvs_bytes += range_item_bytes(work->request, &work->items.items[work->at++]);
        --*budget;
    }
    return work->at == work->items.count;
}

static int resolve(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    if (work->stage == STAGE_COUNT && count(range, budget) == KV_MORE) {
        return KV_MORE;
    }
    if (work->stage == STAGE_COLLECT && !work->collected) {
        if (!walk_and_measure(range, budget)) {
            return KV_MORE;
        }
        ready(range);
    }
    if (work->stage == STAGE_COLLECT) {
        int progress = collect(range, budget);
        if (progress != KV_DONE) {
            return progress;
        }
        range_sort_begin(&work->sort, &work->items, compare_items, range);
        work->stage = STAGE_SORT;
    }
    if (work->stage == STAGE_SORT) {
        if (is_sorted(work->request) && !sort_some(range, budget)) {
            return KV_MORE;
        }
        cut_to_limit(range);
        work->stage = STAGE_MEASURE;
    }
    if (work->stage == STAGE_MEASURE) {
        if (!measure_items(range, budget)) {
            return KV_MORE;
        }
        ready(range);
    }
    return KV_DONE;
}

int kv_range_resolve(struct kv_range *range, size_t budget)
{
    int progress = resolve(range, &budget);
    index_walk_pause(&range->work->walk);
    store_rows_end(&range->work->rows);
    return range->kv->broken ? ERR_CORRUPT_DATA : progress;
}
