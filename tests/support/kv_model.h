/* A dumb twin of the state machine: all changes ever made, in one array, searched from end to end. Keys are a single
 * letter, or a letter and a digit; values short texts. No slices, no store, no index. */
#ifndef TESTS_SUPPORT_KV_MODEL_H
#define TESTS_SUPPORT_KV_MODEL_H

#include "kv/kv.h"

struct model_row {
    char key[8], value[24];
    int64_t main, sub, created, version, lease;
    bool dead;
};

struct kv_model {
    struct model_row *rows;
    size_t count, capacity;
    int64_t revision, compact_revision;
    int64_t main, sub; /* of the write transaction */
    int64_t leases[16];
    size_t lease_count;
};

void kv_model_free(struct kv_model *m);
/* The row of a key as of a revision, NULL if it is not there then. */
const struct model_row *kv_model_at(const struct kv_model *m, const char *key, int64_t revision);
bool kv_model_has_lease(const struct kv_model *m, int64_t id);

void kv_model_begin(struct kv_model *m);
void kv_model_end(struct kv_model *m);
/* The present of a write transaction. */
int64_t kv_model_now(const struct kv_model *m);
void kv_model_put(struct kv_model *m, const char *key, const char *value, int64_t lease);
void kv_model_delete(struct kv_model *m, const char *key);

/* Rows of [key, end) as of a revision, in key order. At most max. */
size_t kv_model_list(const struct kv_model *m, const char *key, const char *end, size_t end_len, int64_t revision,
                     const struct model_row **out, size_t max);

/* HashKV by the book. */
uint32_t kv_model_hash(const struct kv_model *m, int64_t revision, int64_t compact_revision);

#endif
