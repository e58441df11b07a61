/* Pulling a resolved range: as bytes, in chunks, or as messages. */
#include "base/check.h"
#include "kv/op.h"
#include "kv/range_work.h"

#define KVS_TAG 0x12 /* RangeResponse.kvs */
#define READ_BYTES (64u << 10)
#define READ_ROWS 500
#define ROW_COST 4 /* budget for a row that becomes a message, besides its bytes */

/* --- bytes --- */

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
        if (range_item_at(item, key, range->revision)) {
            return true;
        }
    }
}

/* The row of an item as the answer has it; made in work->made when the stored one is not it. */
static int item_row(struct kv_range *range, struct store_rows *rows, const struct range_item *item, struct bytes *row)
{
    struct kv_range_work *work = range->work;
    if (work->kept) {
        *row = buffer_bytes(&work->made);
        return 0;
    }
    if (!work->request->keys_only) {
        return store_row(range->kv, rows, item->revision, row);
    }
    struct row_fields fields = range_item_fields(item);
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

/* A row that goes out in several slices is fetched and checked once. */
static void keep(struct kv_range_work *work, struct bytes row)
{
    if (!work->kept && row.data != work->made.data) {
        work->made.len = 0;
        buffer_append(&work->made, row.data, row.len);
    }
    work->kept = true;
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
            keep(work, row);
            return KV_MORE;
        }
        work->head_len = 0;
        work->kept = false;
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

int kv_range_chunk(struct kv_range *range, uint64_t rows, uint64_t max_bytes, size_t budget, uint64_t *chunk_rows,
                   uint64_t *chunk_bytes)
{
    struct kv_range_work *work = range->work;
    if (!work->chunk_open) {
        work->chunk_open = true;
        work->chunk_counted = work->chunk_bytes = 0;
    }
    uint64_t want = rows < work->read_left ? rows : work->read_left;
    while (work->chunk_counted < want && work->chunk_bytes < max_bytes && budget > 0) {
        struct range_item item;
        walk_item(range, &work->chunk_walk, &work->chunk_at, &item);
        work->chunk_counted++;
        work->chunk_bytes += range_item_bytes(work->request, &item);
        budget--;
    }
    index_walk_pause(&work->chunk_walk);
    if (work->chunk_counted < want && work->chunk_bytes < max_bytes) {
        return KV_MORE;
    }
    work->chunk_open = false;
    work->chunk_left = work->chunk_counted;
    *chunk_rows = work->chunk_counted;
    *chunk_bytes = work->chunk_bytes;
    return KV_DONE;
}

/* --- messages --- */

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
        *fields = range_item_fields(&item);
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
            size_t cost = ROW_COST + (fields.key.len + fields.value.len) / KV_BUDGET_BYTES;
            *budget -= *budget < cost ? *budget : cost;
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
    if (request->range_end.len != 0 || range_has_filter(request) || request->count_only || request->keys_only) {
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
