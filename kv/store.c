/* Pins, rows and the write transaction: what apply, txns, ranges and compaction stand on. */
#include "kv/store.h"

/* --- pins --- */

void store_pin(struct kv *kv, struct kv_pin *pin, int64_t revision)
{
    pin->revision = revision;
    struct list *behind = kv->pins.prev;
    while (behind != &kv->pins && container_of(behind, struct kv_pin, node)->revision > revision) {
        behind = behind->prev;
    }
    list_push_front(behind, &pin->node);
}

void store_unpin(struct kv_pin *pin)
{
    if (pin->node.next != NULL) {
        list_remove(&pin->node);
    }
}

int64_t store_oldest_pin(const struct kv *kv)
{
    return list_empty(&kv->pins) ? INT64_MAX : list_first(&kv->pins, struct kv_pin, node)->revision;
}

/* --- rows --- */

static int row_from_backend(struct kv *kv, struct store_rows *rows, struct revision revision, struct bytes *row)
{
    uint8_t key[ROW_REVISION_MAX];
    size_t len = row_revision_put(key, revision, false);
    int error = rows->read != NULL ? 0 : backend_read_begin(kv->backend, &rows->read);
    if (error == 0) {
        error = backend_get_known(rows->read, BACKEND_KEY, bytes_of(key, len), row);
    }
    if (error != 0) {
        kv->broken = true;
        return ERR_CORRUPT_DATA;
    }
    rows->bytes += row->len;
    return 0;
}

int store_row(struct kv *kv, struct store_rows *rows, struct revision revision, struct bytes *row)
{
    const struct row *pending = pending_find(&kv->pending, revision);
    if (pending != NULL) {
        *row = row_bytes(pending);
        return 0;
    }
    return row_from_backend(kv, rows, revision, row);
}

void store_rows_end(struct store_rows *rows)
{
    if (rows->read != NULL) {
        backend_read_end(rows->read);
    }
    *rows = (struct store_rows){0};
}

int kv_row_at(struct kv *kv, struct bytes key_bytes, int64_t revision, struct buffer *out)
{
    if (revision < kv->compact_revision) {
        return ERR_COMPACTED;
    }
    const struct index_key *key = index_find(kv->index, key_bytes);
    const struct index_change *change = key == NULL ? NULL : index_at(key, revision);
    if (change == NULL) {
        return ERR_ABSENT;
    }
    struct store_rows rows = {0};
    struct bytes row;
    int error = store_row(kv, &rows, index_change_revision(change), &row);
    if (error == 0) {
        buffer_append(out, row.data, row.len);
    }
    store_rows_end(&rows);
    return error;
}

/* --- writing --- */

void store_write_begin(struct kv *kv)
{
    kv->write = (struct store_write){.main = kv->revision + 1};
}

static void announce(struct kv *kv, const struct row *row, bool created)
{
    if (kv->config.watch == NULL) {
        return;
    }
    if (row->revision.sub == 0) {
        watch_publish_begin(kv->config.watch, row->revision.main);
    }
    if (row_tombstone(row)) {
        watch_publish_delete(kv->config.watch, row_key(row), (struct bytes){0});
    } else {
        watch_publish_put(kv->config.watch, row_key(row), row_bytes(row), created, (struct bytes){0});
    }
}

/* Puts the row where it is found from now on, and on its way to the store. */
static void add_row(struct kv *kv, struct index_key *key, const struct row *row, const struct index_change *change)
{
    index_expect_put_soon(key);
    pending_add(&kv->pending, row);
    index_put(kv->index, key, row_key(row), change);
    kv->write.sub++;
    announce(kv, row, change->version == 1);
}

/* The key's lease becomes this one. */
static void move_lease(struct kv *kv, bool existed, struct bytes key, int64_t lease)
{
    if (lease != 0) {
        lease_attach(kv->leases, lease,
                     key); /* a lease kept from the old value may be gone: then it is only a number */
    } else if (existed && lease_count(kv->leases) > 0) {
        lease_detach(kv->leases, key);
    }
}

void store_write_put(struct kv *kv, struct index_key *key, struct bytes key_bytes, struct bytes value, int64_t lease)
{
    struct revision revision = {kv->write.main, kv->write.sub};
    struct index_change change = {.main = revision.main, .sub = (uint32_t)revision.sub};
    index_expect_put(key);
    index_next(key, revision.main, &change.created, &change.version);
    struct row_fields fields = {
        .key = key_bytes,
        .value = value,
        .create_revision = change.created,
        .mod_revision = revision.main,
        .version = change.version,
        .lease = lease,
    };
    const struct row *row = batch_add_row(kv, revision, false, &fields);
    change.len = row->len;
    bool existed = key != NULL && index_change_live(&key->newest);
    add_row(kv, key, row, &change);
    move_lease(kv, existed, row_key(row), lease);
}

void store_write_delete(struct kv *kv, struct index_key *key, bool keep_lease)
{
    struct revision revision = {kv->write.main, kv->write.sub};
    struct row_fields fields = {.key = index_key_bytes(key)};
    const struct row *row = batch_add_row(kv, revision, true, &fields);
    struct index_change change = {.main = revision.main, .sub = (uint32_t)revision.sub, .len = row->len};
    add_row(kv, key, row, &change);
    if (!keep_lease && lease_count(kv->leases) > 0) {
        lease_detach(kv->leases, row_key(row));
    }
}

void store_write_end(struct kv *kv)
{
    if (!store_write_dirty(kv)) {
        return;
    }
    if (kv->config.watch != NULL) {
        watch_publish_end(kv->config.watch);
    }
    kv->revision = kv->write.main;
    kv->write = (struct store_write){0};
}
