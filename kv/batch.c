#include "kv/batch.h"
#include "base/check.h"
#include "kv/store.h"

#include <stdlib.h>

#define TIDY_BLOCKS 16

static struct batch *open_batch(struct kv *kv)
{
    return container_of(kv->batches.queue.prev, struct batch, node);
}

static struct batch *batch_new(struct kv *kv)
{
    struct batch *batch = mem_zalloc(sizeof *batch);
    batch->finished_compact = INT64_MIN;
    batch->index = kv->applied_index;
    batch->term = kv->applied_term;
    batch->revision = kv->revision;
    list_push_back(&kv->batches.queue, &batch->node);
    return batch;
}

static void batch_destroy(struct batch *batch)
{
    list_remove(&batch->node);
    arena_free(&batch->arena);
    free(batch->ops);
    free(batch);
}

void batch_init(struct kv *kv)
{
    list_init(&kv->batches.queue);
    list_init(&kv->batches.stored);
    batch_new(kv);
}

void batch_free(struct kv *kv)
{
    list_splice(&kv->batches.queue, &kv->batches.stored);
    list_each(node, &kv->batches.queue)
    {
        batch_destroy(container_of(node, struct batch, node));
    }
}

/* The batch to add to. One that is lent out never grows. */
static struct batch *growing(struct kv *kv)
{
    struct batch *batch = open_batch(kv);
    return batch == kv->batches.out ? batch_new(kv) : batch;
}

static void add(struct kv *kv, struct batch *batch, struct backend_op op, size_t held)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        batch->ops = mem_realloc(batch->ops, batch->capacity * sizeof batch->ops[0]);
    }
    batch->ops[batch->count++] = op;
    batch->bytes += op.key.len + op.value.len;
    batch->held += held;
    kv->batches.held += held;
}

const struct row *batch_add_row(struct kv *kv, struct revision revision, bool tombstone,
                                const struct row_fields *fields)
{
    struct batch *batch = growing(kv);
    const struct row *row = row_new(&batch->arena, revision, tombstone, fields);
    struct backend_op op = {
        .kind = BACKEND_PUT,
        .table = BACKEND_KEY,
        .key = bytes_of(row->revision_bytes, row->revision_len),
        .value = row_bytes(row),
    };
    add(kv, batch, op, sizeof *row + row->len + sizeof op);
    return row;
}

static void change(struct kv *kv, enum backend_kind kind, enum backend_table table, struct bytes key,
                   struct bytes value)
{
    struct batch *batch = growing(kv);
    struct backend_op op = {
        .kind = (uint8_t)kind,
        .table = (uint8_t)table,
        .key = arena_copy(&batch->arena, key),
        .value = arena_copy(&batch->arena, value),
    };
    add(kv, batch, op, key.len + value.len + sizeof op);
}

void batch_put(struct kv *kv, enum backend_table table, struct bytes key, struct bytes value)
{
    change(kv, BACKEND_PUT, table, key, value);
}

void batch_delete(struct kv *kv, enum backend_table table, struct bytes key)
{
    change(kv, BACKEND_DELETE, table, key, (struct bytes){0});
}

void batch_delete_revision(struct kv *kv, struct revision revision, bool tombstone)
{
    uint8_t key[ROW_REVISION_MAX];
    size_t len = row_revision_put(key, revision, tombstone);
    batch_delete(kv, BACKEND_KEY, bytes_of(key, len));
}

void batch_finished_compact(struct kv *kv, int64_t revision)
{
    uint8_t value[ROW_REVISION_MAX];
    size_t len = row_revision_put(value, (struct revision){revision, 0}, false);
    batch_put(kv, BACKEND_META, bytes_str("finishedCompactRev"), bytes_of(value, len));
    open_batch(kv)->finished_compact = revision;
}

void batch_entry_end(struct kv *kv)
{
    struct batch *batch = growing(kv);
    batch->index = kv->applied_index;
    batch->term = kv->applied_term;
    batch->revision = kv->revision;
    if (batch->bytes >= BATCH_BYTES || batch->count >= BATCH_OPS) {
        batch_new(kv);
    }
}

size_t kv_pending_bytes(const struct kv *kv)
{
    return kv->batches.held;
}

static bool batch_empty(const struct kv *kv, const struct batch *batch)
{
    return batch->count == 0 && batch->index <= kv->stored_index;
}

bool kv_batch_wanted(const struct kv *kv)
{
    const struct batch *batch = list_first(&kv->batches.queue, struct batch, node);
    bool open = batch->node.next == &kv->batches.queue;
    return kv->batches.out == NULL && !batch_empty(kv, batch) && !(open && kv->applying);
}

bool kv_batch_close(struct kv *kv, struct backend_batch *out)
{
    if (!kv_batch_wanted(kv)) {
        return false;
    }
    struct batch *batch = list_first(&kv->batches.queue, struct batch, node);
    kv->batches.out = batch;
    *out = (struct backend_batch){
        .ops = batch->ops,
        .count = batch->count,
        .index = batch->index,
        .term = batch->term,
        .bytes = batch->bytes,
    };
    return true;
}

void kv_batch_done(struct kv *kv, int error)
{
    struct batch *batch = kv->batches.out;
    CHECK(batch != NULL, "no batch is out");
    CHECK(error == 0 || error == ERR_DISK_FULL, "%s", error_name(error));
    kv->batches.out = NULL;
    if (error != 0) {
        return;
    }
    kv->stored_index = batch->index;
    kv->stored_term = batch->term;
    pending_drop(&kv->pending, batch->revision);
    if (batch->finished_compact != INT64_MIN) {
        kv->compactions.finished_stored = batch->finished_compact;
    }
    kv->batches.held -= batch->held;
    list_remove(&batch->node);
    list_push_back(&kv->batches.stored, &batch->node);
    if (list_empty(&kv->batches.queue)) {
        batch_new(kv);
    }
}

/* Freeing 16 MiB takes the system a millisecond or two. */
bool kv_tidy(struct kv *kv)
{
    if (list_empty(&kv->batches.stored)) {
        return false;
    }
    struct batch *batch = list_first(&kv->batches.stored, struct batch, node);
    if (!arena_free_some(&batch->arena, TIDY_BLOCKS)) {
        batch_destroy(batch);
    }
    return !list_empty(&kv->batches.stored);
}
