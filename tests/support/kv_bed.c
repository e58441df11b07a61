#include "tests/support/kv_bed.h"
#include "base/check.h"
#include "base/pb.h"

#include <stdlib.h>

void kv_bed_open(struct kv_bed *bed, const struct kv_config *config)
{
    char *reason = NULL;
    *bed = (struct kv_bed){.term = 2};
    if (config != NULL) {
        bed->config = *config;
    }
    bed->backend = backend_open_memory();
    int error = kv_open(&bed->config, bed->backend, &bed->kv, &reason);
    CHECK(error == 0, "open: %s", reason);
}

void kv_bed_forget(struct kv_bed *bed)
{
    arena_reset(&bed->arena);
}

void kv_bed_close(struct kv_bed *bed)
{
    kv_close(bed->kv);
    backend_close(bed->backend);
    arena_free(&bed->arena);
    for (size_t i = 0; i < bed->log_count; i++) {
        free((void *)bed->log[i].data.data);
    }
    free(bed->log);
}

void kv_bed_commit(struct kv_bed *bed)
{
    struct backend_batch batch;
    while (kv_batch_close(bed->kv, &batch)) {
        CHECK(backend_commit(bed->backend, &batch) == 0);
        kv_batch_done(bed->kv, 0);
    }
}

void kv_bed_crash(struct kv_bed *bed, size_t lost)
{
    char *reason = NULL;
    size_t commits = backend_memory_commits(bed->backend);
    kv_close(bed->kv);
    bed->backend = backend_memory_crash(bed->backend, lost > commits ? 0 : commits - lost);
    int error = kv_open(&bed->config, bed->backend, &bed->kv, &reason);
    CHECK(error == 0, "open: %s", reason);
    bed->index = kv_applied_index(bed->kv);
}

static size_t step_budget(const struct kv_bed *bed)
{
    return bed->budget == 0 ? KV_BUDGET : bed->budget;
}

static void log_entry(struct kv_bed *bed, enum kv_entry_type type, struct bytes data)
{
    if (bed->log_count == bed->log_capacity) {
        bed->log_capacity = bed->log_capacity == 0 ? 64 : bed->log_capacity * 2;
        bed->log = mem_realloc(bed->log, bed->log_capacity * sizeof bed->log[0]);
    }
    uint8_t *copy = mem_alloc(data.len + 1);
    memcpy(copy, data.len == 0 ? copy : data.data, data.len);
    bed->log[bed->log_count++] = (struct kv_bed_logged){type, bed->term, bytes_of(copy, data.len)};
}

static void apply(struct kv_bed *bed, enum kv_entry_type type, struct bytes data, bool wanted)
{
    bed->index++;
    bed->apply = (struct kv_apply){
        .index = bed->index,
        .term = bed->term,
        .type = type,
        .data = data,
        .arena = &bed->arena,
        .wanted = wanted,
    };
    kv_apply_begin(bed->kv, &bed->apply);
    int progress;
    while ((progress = kv_apply_step(bed->kv, &bed->apply, step_budget(bed))) == KV_MORE) {
    }
    CHECK(progress == KV_DONE);
}

void kv_bed_replay(struct kv_bed *bed)
{
    while (bed->index < bed->log_count) {
        const struct kv_bed_logged *entry = &bed->log[bed->index];
        bed->term = entry->term;
        apply(bed, entry->type, entry->data, false);
    }
}

ProtobufCMessage *kv_bed_entry(struct kv_bed *bed, enum kv_entry_type type, struct bytes data, int *error)
{
    if (bed->index == bed->log_count) {
        log_entry(bed, type, data);
    }
    apply(bed, type, data, true);
    *error = bed->apply.error;
    return bed->apply.response;
}

ProtobufCMessage *kv_bed_apply(struct kv_bed *bed, Etcdserverpb__InternalRaftRequest *request, int *error)
{
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    header.id = bed->index + 1000;
    request->header = &header;
    struct bytes data = pb_pack(&request->base, &bed->arena);
    return kv_bed_entry(bed, KV_ENTRY_NORMAL, data, error);
}

ProtobufCBinaryData kv_bed_bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

Etcdserverpb__PutResponse *kv_bed_put(struct kv_bed *bed, const char *key, const char *value, int64_t lease)
{
    int error;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    put.key = kv_bed_bytes(key);
    put.value = kv_bed_bytes(value);
    put.lease = lease;
    request.put = &put;
    ProtobufCMessage *answer = kv_bed_apply(bed, &request, &error);
    CHECK(error == 0, "put %s: %s", key, error_text(error));
    return (Etcdserverpb__PutResponse *)answer;
}

int64_t kv_bed_delete(struct kv_bed *bed, const char *key, ProtobufCBinaryData end)
{
    int error;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    del.key = kv_bed_bytes(key);
    del.range_end = end;
    request.delete_range = &del;
    ProtobufCMessage *answer = kv_bed_apply(bed, &request, &error);
    CHECK(error == 0, "delete %s: %s", key, error_text(error));
    return ((Etcdserverpb__DeleteRangeResponse *)answer)->deleted;
}

Etcdserverpb__TxnResponse *kv_bed_txn(struct kv_bed *bed, Etcdserverpb__TxnRequest *txn, int *error)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    request.txn = txn;
    return (Etcdserverpb__TxnResponse *)kv_bed_apply(bed, &request, error);
}

int kv_bed_compact(struct kv_bed *bed, int64_t revision)
{
    int error;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    compaction.revision = revision;
    request.compaction = &compaction;
    kv_bed_apply(bed, &request, &error);
    return error;
}

static int run_hash(struct kv_bed *bed, enum kv_hash_kind kind, int64_t revision, int64_t previous,
                    struct kv_hash_result *result)
{
    struct backend_read *view;
    kv_bed_commit(bed);
    CHECK(backend_view_open(bed->backend, &view) == 0);
    struct kv_hash *hash = kv_hash_new(kind, revision, previous, view);
    int progress;
    while ((progress = kv_hash_step(hash, 7)) == KV_MORE) {
    }
    *result = kv_hash_result(hash);
    kv_hash_free(hash);
    backend_view_close(view);
    return progress;
}

int kv_bed_hashkv(struct kv_bed *bed, int64_t revision, struct kv_hash_result *result)
{
    int error = kv_hash_cached(bed->kv, revision, result);
    return error != ERR_ABSENT ? error : run_hash(bed, KV_HASH_KV, revision, 0, result);
}

void kv_bed_compact_run(struct kv_bed *bed)
{
    enum kv_compact_state state;
    while ((state = kv_compact_state(bed->kv)) != KV_COMPACT_IDLE && state != KV_COMPACT_WAIT) {
        if (state == KV_COMPACT_HASH) {
            struct kv_hash_result result;
            int error =
                run_hash(bed, KV_HASH_COMPACTION, kv_compact_next(bed->kv), kv_compact_previous(bed->kv), &result);
            CHECK(error == 0);
            kv_compact_hashed(bed->kv, true, result.hash);
        } else {
            kv_compact_step(bed->kv, step_budget(bed));
        }
    }
    kv_bed_commit(bed);
}

Etcdserverpb__RangeRequest *kv_bed_range_request(struct kv_bed *bed, const char *key, ProtobufCBinaryData end)
{
    Etcdserverpb__RangeRequest *request = arena_alloc(&bed->arena, sizeof *request);
    etcdserverpb__range_request__init(request);
    request->key = kv_bed_bytes(key);
    request->range_end = end;
    return request;
}

static void read_all(struct kv_range *range, struct buffer *out, size_t cap)
{
    int progress = KV_MORE;
    while (progress == KV_MORE) {
        size_t n;
        uint8_t *room = buffer_reserve(out, cap);
        progress = kv_range_read(range, room, cap, &n);
        out->len += n;
    }
    CHECK(progress == KV_DONE);
}

Etcdserverpb__RangeResponse *kv_bed_range(struct kv_bed *bed, const Etcdserverpb__RangeRequest *request, int *error)
{
    struct kv_range range = {0};
    struct buffer bytes = {0};
    *error = kv_range_start(bed->kv, request, &range);
    if (*error != 0) {
        return NULL;
    }
    while (kv_range_resolve(&range, step_budget(bed)) == KV_MORE) {
    }
    read_all(&range, &bytes, step_budget(bed));
    CHECK(bytes.len == range.kvs_bytes, "%zu bytes came, %llu were told", bytes.len,
          (unsigned long long)range.kvs_bytes);
    struct pb_fault fault;
    Etcdserverpb__RangeResponse *response = (Etcdserverpb__RangeResponse *)pb_unpack(
        &etcdserverpb__range_response__descriptor, buffer_bytes(&bytes), &bed->arena, &fault);
    CHECK(response != NULL && response->n_kvs == range.kvs);
    response->count = range.count;
    response->more = range.more;
    kv_range_end(&range);
    buffer_free(&bytes);
    return response;
}
