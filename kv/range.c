/* Range reads (mvcc.md "Range"). Three shapes of answer:
 *   - in key order with values: nothing is collected; counts come from the tree or a walk, and the keys are walked
 * again when the bytes are pulled (the pinned revision makes both walks see the same);
 *   - in key order with keys only: the same, rows made from the index;
 *   - sorted or filtered: the keys are collected and sorted first. */
#include "kv/range.h"
#include "base/check.h"
#include "kv/op.h"
#include "kv/range_sort.h"

#include <stdlib.h>

#define KVS_TAG 0x12 /* RangeResponse.kvs */
#define READ_BYTES (64u << 10)
#define READ_ROWS 500
#define ROW_COST 4 /* budget for a row that is looked at while resolving */

enum stage { STAGE_COUNT, STAGE_COLLECT, STAGE_SORT, STAGE_MEASURE, STAGE_READY };

struct kv_range_work {
    struct index_range range;
    int64_t current; /* the present for this reader: a write transaction's own changes count for it */
    const Etcdserverpb__RangeRequest *request;
    enum stage stage;
    bool collected; /* the answer is a list of items */
    bool counted;   /* range->count is known before the walk */
    uint64_t limit; /* of keys to fetch; UINT64_MAX = none */
    struct index_walk walk;
    struct range_items items;
    struct range_sort sort;
    struct store_rows rows; /* for a step */
    size_t at;              /* items: measured or read so far */
    uint64_t read_left;     /* kvs not read yet */
    uint64_t chunk_left;    /* of these, up to the end of the chunk; UINT64_MAX = no chunks */
    uint64_t chunk_counted; /* rows of the chunk being cut, its bytes */
    uint64_t chunk_bytes;
    struct index_walk chunk_walk;
    size_t chunk_at;
    bool chunk_open;
    /* the kv being copied out */
    struct range_item item;
    uint8_t head[16];
    size_t head_len;
    size_t offset;      /* of what is copied, head included; 0 = none open */
    struct buffer made; /* a row that is not the stored one: keys only */
};

/* ----------------------------------------------------------------------------------------------------------- start ---
 */

static bool has_filter(const Etcdserverpb__RangeRequest *r)
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
    work->collected = !request->count_only && (is_sorted(request) || has_filter(request));
    /* A sort order asked for, or a filter: all keys are fetched and the limit comes last. A sort target alone sorts
     * what the limit left, and one more. */
    bool fetch_all = request->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE || has_filter(request);
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

/* --------------------------------------------------------------------------------------------------------- resolve ---
 */

static bool item_at(struct range_item *item, const struct index_key *key, int64_t revision)
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

static struct row_fields item_fields(const struct range_item *item)
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
static uint64_t item_bytes(const Etcdserverpb__RangeRequest *r, const struct range_item *item)
{
    uint64_t len = item->len;
    if (r->keys_only) {
        struct row_fields fields = item_fields(item);
        len = row_size(&fields);
    }
    return 1 + varint_size(len) + len;
}

/* Where the tree knows the answer. True = nothing is left to do. */
static bool measured_at_once(struct kv_range *range)
{
    struct kv_range_work *work = range->work;
    const struct index *index = range->kv->index;
    const Etcdserverpb__RangeRequest *r = work->request;
    if (range->revision != store_write_revision(range->kv)) {
        uint64_t count;
        work->counted = work->range.end.len != 0 && index_count_at(index, &work->range, range->revision, &count);
        range->count = work->counted ? (int64_t)count : 0;
    } else {
        range->count = (int64_t)index_measure(index, &work->range).keys;
        work->counted = true;
    }
    if (work->counted && (r->count_only || range->count == 0)) {
        return true;
    }
    if (work->collected || r->keys_only || range->revision != store_write_revision(range->kv)) {
        return false;
    }
    struct index_sum sum = index_measure_first(index, &work->range, work->limit);
    range->kvs = sum.keys;
    range->kvs_bytes = sum.bytes;
    return true;
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
        if (!item_at(&item, key, range->revision)) {
            continue;
        }
        range->count += !work->counted;
        if (!enough) {
            range->kvs++;
            range->kvs_bytes += item_bytes(work->request, &item);
        }
    }
    return false;
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
        *budget -= *budget < ROW_COST ? *budget : ROW_COST;
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
        if (!item_at(&item, key, range->revision)) {
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
        range->kvs_bytes += item_bytes(work->request, &work->items.items[work->at++]);
        --*budget;
    }
    return work->at == work->items.count;
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

static int resolve(struct kv_range *range, size_t *budget)
{
    struct kv_range_work *work = range->work;
    if (work->stage == STAGE_COUNT) {
        if (measured_at_once(range)) {
            ready(range);
            return KV_DONE;
        }
        work->stage = STAGE_COLLECT;
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
        size_t moves = by_value(work->request) ? *budget / ROW_COST + 1 : *budget; /* a tie of values costs two rows */
        if (is_sorted(work->request) && !range_sort_step(&work->sort, &moves)) {
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

/* --------------------------------------------------------------------------------------------------------- reading ---
 */

static bool walk_item(struct kv_range *range, struct index_walk *walk, size_t *at, struct range_item *item)
{
    struct kv_range_work *work = range->work;
    if (work->collected) {
        *item = work->items.items[(*at)++];
        return true;
    }
    for (;;) {
        const struct index_key *key = index_walk_next(walk);
        CHECK(key != NULL, "a pinned range lost a key");
        if (item_at(item, key, range->revision)) {
            return true;
        }
    }
}

/* The row of an item as the answer has it; made in work->made when the stored one is not it. */
static int item_row(struct kv_range *range, struct store_rows *rows, const struct range_item *item, struct bytes *row)
{
    struct kv_range_work *work = range->work;
    if (!work->request->keys_only) {
        return store_row(range->kv, rows, item->revision, row);
    }
    struct row_fields fields = item_fields(item);
    size_t len = row_size(&fields);
    work->made.len = 0;
    row_encode(buffer_reserve(&work->made, len), &fields);
    work->made.len = len;
    *row = buffer_bytes(&work->made);
    return 0;
}

/* Copies what fits of the open item. True = it is all out. */
static bool copy_item(struct kv_range_work *work, struct bytes row, uint8_t *out, size_t cap, size_t *n)
{
    size_t total = work->head_len + row.len;
    if (work->offset < work->head_len && *n < cap) {
        size_t take = work->head_len - work->offset;
        take = take < cap - *n ? take : cap - *n;
        memcpy(out + *n, work->head + work->offset, take);
        work->offset += take;
        *n += take;
    }
    if (work->offset >= work->head_len && *n < cap) {
        size_t take = total - work->offset;
        take = take < cap - *n ? take : cap - *n;
        memcpy(out + *n, row.data + (work->offset - work->head_len), take);
        work->offset += take;
        *n += take;
    }
    return work->offset == total;
}

static int read_some(struct kv_range *range, struct store_rows *rows, uint8_t *out, size_t cap, size_t *n)
{
    struct kv_range_work *work = range->work;
    bool open = work->head_len != 0;
    for (unsigned i = 0; i < READ_ROWS && (open || (work->read_left > 0 && work->chunk_left > 0)); i++) {
        struct bytes row;
        if (*n == cap || rows->bytes >= READ_BYTES) {
            return KV_MORE;
        }
        if (!open) {
            walk_item(range, &work->walk, &work->at, &work->item);
        }
        if (item_row(range, rows, &work->item, &row) != 0) {
            return ERR_CORRUPT_DATA;
        }
        if (!open) {
            work->head[0] = KVS_TAG;
            work->head_len = 1 + varint_put(work->head + 1, row.len);
            work->offset = 0;
        }
        if (!copy_item(work, row, out, cap, n)) {
            return KV_MORE;
        }
        work->head_len = 0;
        open = false;
        work->read_left--;
        work->chunk_left -= work->chunk_left != UINT64_MAX;
    }
    return open || (work->read_left > 0 && work->chunk_left > 0) ? KV_MORE : KV_DONE;
}

int kv_range_read(struct kv_range *range, uint8_t *out, size_t cap, size_t *n)
{
    struct store_rows rows = {0};
    *n = 0;
    int progress = read_some(range, &rows, out, cap, n);
    index_walk_pause(&range->work->walk);
    store_rows_end(&rows);
    return progress;
}

int kv_range_chunk(struct kv_range *range, uint64_t rows, size_t budget, uint64_t *chunk_rows, uint64_t *chunk_bytes)
{
    struct kv_range_work *work = range->work;
    if (!work->chunk_open) {
        work->chunk_open = true;
        work->chunk_counted = work->chunk_bytes = 0;
    }
    uint64_t want = rows < work->read_left ? rows : work->read_left;
    while (work->chunk_counted < want && budget > 0) {
        struct range_item item;
        walk_item(range, &work->chunk_walk, &work->chunk_at, &item);
        work->chunk_counted++;
        work->chunk_bytes += item_bytes(work->request, &item);
        budget--;
    }
    index_walk_pause(&work->chunk_walk);
    if (work->chunk_counted < want) {
        return KV_MORE;
    }
    work->chunk_open = false;
    work->chunk_left = want;
    *chunk_rows = want;
    *chunk_bytes = work->chunk_bytes;
    return KV_DONE;
}

/* -------------------------------------------------------------------------------------------------------- messages ---
 */

int range_next(struct kv_range *range, struct store_rows *rows, struct row_fields *fields)
{
    struct kv_range_work *work = range->work;
    struct range_item item;
    struct bytes row;
    if (work->read_left == 0) {
        return KV_DONE;
    }
    walk_item(range, &work->walk, &work->at, &item);
    work->read_left--;
    if (work->request->keys_only) {
        *fields = item_fields(&item);
        return KV_MORE;
    }
    if (store_row(range->kv, rows, item.revision, &row) != 0 || row_decode(row, fields) != 0) {
        return ERR_CORRUPT_DATA;
    }
    return KV_MORE;
}

Mvccpb__KeyValue *range_message(const struct row_fields *fields, struct arena *arena)
{
    Mvccpb__KeyValue *message = arena_alloc(arena, sizeof *message);
    mvccpb__key_value__init(message);
    message->key = op_binary(arena_copy(arena, fields->key));
    message->value = op_binary(arena_copy(arena, fields->value));
    message->create_revision = fields->create_revision;
    message->mod_revision = fields->mod_revision;
    message->version = fields->version;
    message->lease = fields->lease;
    return message;
}

Etcdserverpb__RangeResponse *range_response(const struct kv_range *range, struct arena *arena)
{
    Etcdserverpb__RangeResponse *response = arena_alloc(arena, sizeof *response);
    etcdserverpb__range_response__init(response);
    response->header = arena_alloc(arena, sizeof *response->header);
    etcdserverpb__response_header__init(response->header);
    response->header->revision = range->header_revision;
    response->count = range->count;
    response->more = range->more;
    response->kvs = range->kvs == 0 ? NULL : arena_alloc(arena, range->kvs * sizeof response->kvs[0]);
    return response;
}

int range_fill(struct kv_range *range, Etcdserverpb__RangeResponse *response, struct arena *arena, size_t *budget)
{
    struct store_rows rows = {0};
    int progress = KV_MORE;
    while (progress == KV_MORE && *budget > 0 && rows.bytes < READ_BYTES) {
        struct row_fields fields;
        progress = range_next(range, &rows, &fields);
        if (progress == KV_MORE) {
            response->kvs[response->n_kvs++] = range_message(&fields, arena);
            *budget -= *budget < ROW_COST ? *budget : ROW_COST;
        }
    }
    index_walk_pause(&range->work->walk);
    store_rows_end(&rows);
    return progress;
}

bool kv_get(struct kv *kv, const Etcdserverpb__RangeRequest *request, struct arena *arena,
            Etcdserverpb__RangeResponse **response, int *error)
{
    *error = 0;
    if (request->range_end.len != 0 || has_filter(request) || request->count_only || request->keys_only) {
        return false;
    }
    if (request->revision > kv->revision || (request->revision > 0 && request->revision < kv->compact_revision)) {
        *error = request->revision > kv->revision ? ERR_FUTURE_REV : ERR_COMPACTED;
        return true;
    }
    int64_t revision = request->revision > 0 ? request->revision : kv->revision;
    const struct index_key *key = index_find(kv->index, op_bytes(request->key));
    const struct index_change *change = key == NULL ? NULL : index_at(key, revision);
    struct kv_range one = {.header_revision = kv->revision, .count = change != NULL, .kvs = change != NULL};
    *response = range_response(&one, arena);
    if (change != NULL) {
        struct store_rows rows = {0};
        struct row_fields fields;
        struct bytes row;
        *error = store_row(kv, &rows, index_change_revision(change), &row);
        *error = *error != 0 ? *error : row_decode(row, &fields);
        if (*error == 0) {
            (*response)->kvs[(*response)->n_kvs++] = range_message(&fields, arena);
        }
        store_rows_end(&rows);
    }
    return true;
}
