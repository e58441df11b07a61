/* A state machine on a store in memory, for tests: requests go in as log entries and come out applied. */
#ifndef TESTS_SUPPORT_KV_BED_H
#define TESTS_SUPPORT_KV_BED_H

#include "kv/kv.h"

struct kv_bed_logged {
    enum kv_entry_type type;
    uint64_t term;
    struct bytes data; /* heap */
};

struct kv_bed {
    struct kv_config config;
    struct backend *backend;
    struct kv *kv;
    struct arena arena;        /* of requests and answers; emptied by kv_bed_forget */
    struct kv_apply apply;     /* the last one */
    size_t budget;             /* of each step; 0 = KV_BUDGET */
    uint64_t index, term;      /* of the last entry */
    struct kv_bed_logged *log; /* all entries so far */
    size_t log_count, log_capacity;
};

void kv_bed_open(struct kv_bed *bed, const struct kv_config *config);
void kv_bed_close(struct kv_bed *bed);
/* Frees what was answered. */
void kv_bed_forget(struct kv_bed *bed);
/* Makes all that is applied durable, batch by batch. */
void kv_bed_commit(struct kv_bed *bed);
/* A crash: all commits so far are kept but the last `lost`. bed->index becomes what the store says. */
void kv_bed_crash(struct kv_bed *bed, size_t lost);
/* After it: what the log has beyond the store's position is applied again, with nobody waiting. */
void kv_bed_replay(struct kv_bed *bed);

/* Applies one entry: the answer (NULL with an error) and its error in *error. */
ProtobufCMessage *kv_bed_entry(struct kv_bed *bed, enum kv_entry_type type, struct bytes data, int *error);
ProtobufCMessage *kv_bed_apply(struct kv_bed *bed, Etcdserverpb__InternalRaftRequest *request, int *error);

/* Short ways. Keys and values are C strings, or bytes. */
ProtobufCBinaryData kv_bed_bytes(const char *text);
Etcdserverpb__PutResponse *kv_bed_put(struct kv_bed *bed, const char *key, const char *value, int64_t lease);
int64_t kv_bed_delete(struct kv_bed *bed, const char *key, ProtobufCBinaryData end); /* deleted */
Etcdserverpb__TxnResponse *kv_bed_txn(struct kv_bed *bed, Etcdserverpb__TxnRequest *txn, int *error);
int kv_bed_compact(struct kv_bed *bed, int64_t revision);
/* Physical compaction to its end, hash included. */
void kv_bed_compact_run(struct kv_bed *bed);
Etcdserverpb__RangeRequest *kv_bed_range_request(struct kv_bed *bed, const char *key, ProtobufCBinaryData end);
/* The encoded kvs decoded again, with count and more; the length is checked. Resolved and read in small steps. */
Etcdserverpb__RangeResponse *kv_bed_range(struct kv_bed *bed, const Etcdserverpb__RangeRequest *request, int *error);
/* HashKV by a job over a view, or from the cache. */
int kv_bed_hashkv(struct kv_bed *bed, int64_t revision, struct kv_hash_result *result);

#endif
