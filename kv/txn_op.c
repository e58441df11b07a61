/* Put and delete range, alone or inside a txn. */
#include "kv/op.h"
#include "kv/txn.h"

#define PREV_BYTES (64u << 10)
#define PREV_COST 4 /* budget for an old row that is read, besides its bytes */

static Etcdserverpb__ResponseHeader *header_new(struct arena *arena, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof *header);
    etcdserverpb__response_header__init(header);
    header->revision = revision;
    return header;
}

/* --- put --- */

int txn_check_put(const struct kv *kv, const Etcdserverpb__PutRequest *request)
{
    if (request->lease != 0 && !lease_exists(kv->leases, request->lease)) {
        return ERR_LEASE_NOT_FOUND;
    }
    if (request->ignore_value || request->ignore_lease) {
        const struct index_key *key = index_find(kv->index, op_bytes(request->key));
        if (key == NULL || !index_change_live(&key->newest)) {
            return ERR_KEY_NOT_FOUND;
        }
    }
    return 0;
}

static int put_over_old(struct kv *kv, struct index_key *key, const Etcdserverpb__PutRequest *request, bool wanted,
                        struct arena *arena, Etcdserverpb__PutResponse *response)
{
    struct store_rows rows = {0};
    struct row_fields old;
    struct bytes row;
    int error = store_row(kv, &rows, index_change_revision(&key->newest), &row);
    error = error != 0 ? error : row_decode(row, &old);
    if (error == 0) {
        struct bytes value = request->ignore_value ? old.value : op_bytes(request->value);
        int64_t lease = request->ignore_lease ? old.lease : request->lease;
        if (request->prev_kv && wanted) {
            response->prev_kv = range_message(&old, arena);
        }
        store_write_put(kv, key, op_bytes(request->key), value, lease);
    }
    store_rows_end(&rows);
    return error;
}

int txn_put(struct kv *kv, const Etcdserverpb__PutRequest *request, bool wanted, struct arena *arena,
            Etcdserverpb__PutResponse *response)
{
    int error = 0;
    struct index_key *key = index_find(kv->index, op_bytes(request->key));
    bool live = key != NULL && index_change_live(&key->newest);
    bool old_wanted = request->ignore_value || request->ignore_lease || (request->prev_kv && wanted);
    if (live && old_wanted) {
        error = put_over_old(kv, key, request, wanted, arena, response);
    } else {
        store_write_put(kv, key, op_bytes(request->key), op_bytes(request->value), request->lease);
    }
    response->header = header_new(arena, kv->write.main);
    return error;
}

/* --- delete --- */

void txn_delete_begin(struct txn_delete *del, struct kv *kv, const Etcdserverpb__DeleteRangeRequest *request,
                      bool wanted, Etcdserverpb__DeleteRangeResponse *response)
{
    *del = (struct txn_delete){.request = request, .response = response, .wanted = wanted};
    del->range = (struct index_range){op_bytes(request->key), op_bytes(request->range_end)};
    index_walk_range(&del->walk, kv->index, &del->range);
}

static int add_prev(struct txn_delete *del, struct kv *kv, struct store_rows *rows, const struct index_key *key,
                    struct arena *arena)
{
    Etcdserverpb__DeleteRangeResponse *response = del->response;
    struct row_fields fields;
    struct bytes row;
    if (store_row(kv, rows, index_change_revision(&key->newest), &row) != 0 || row_decode(row, &fields) != 0) {
        return ERR_CORRUPT_DATA;
    }
    if (response->n_prev_kvs == del->capacity) {
        del->capacity = del->capacity == 0 ? 8 : del->capacity * 2;
        Mvccpb__KeyValue **grown = arena_alloc(arena, del->capacity * sizeof grown[0]);
        if (response->n_prev_kvs > 0) {
            memcpy(grown, response->prev_kvs, response->n_prev_kvs * sizeof grown[0]);
        }
        response->prev_kvs = grown;
    }
    response->prev_kvs[response->n_prev_kvs++] = range_message(&fields, arena);
    return 0;
}

static int delete_some(struct txn_delete *del, struct kv *kv, struct store_rows *rows, struct arena *arena,
                       size_t *budget)
{
    bool prev = del->request->prev_kv && del->wanted;
    while (*budget > 0 && rows->bytes < PREV_BYTES) {
        struct index_key *key = index_walk_next(&del->walk);
        if (key == NULL) {
            return KV_DONE;
        }
        size_t cost = prev ? PREV_COST + key->newest.len / KV_BUDGET_BYTES : 1;
        *budget -= *budget < cost ? *budget : cost;
        if (!index_change_live(&key->newest)) {
            continue;
        }
        if (prev && add_prev(del, kv, rows, key, arena) != 0) {
            return ERR_CORRUPT_DATA;
        }
        store_write_delete(kv, key, false);
        del->response->deleted++;
    }
    return KV_MORE;
}

int txn_delete_step(struct txn_delete *del, struct kv *kv, struct arena *arena, size_t *budget)
{
    struct store_rows rows = {0};
    int progress = delete_some(del, kv, &rows, arena, budget);
    store_rows_end(&rows);
    if (progress == KV_DONE) {
        del->response->header = header_new(arena, store_write_revision(kv));
    }
    return progress;
}
