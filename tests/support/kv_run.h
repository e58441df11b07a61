/* Random requests for a state machine, and what its dumb twin (kv_model.h) says to them: the parts of a test that runs
 * both. Everything is allocated from the bed's arena. */
#ifndef TESTS_KV_RUN_H
#define TESTS_KV_RUN_H

#include "base/random.h"
#include "tests/support/kv_bed.h"
#include "tests/support/kv_model.h"

#define KV_RUN_MAX_ROWS 4096

struct kv_run {
    struct random random;
    struct kv_bed bed;
    struct kv_model model;
    uint64_t seed;
    unsigned step;
};

static inline uint64_t kv_run_below(struct kv_run *r, uint64_t n)
{
    return random_below(&r->random, n);
}

/* --- kv_run_random.c: a few keys, ends of ranges, leases, so that requests meet each other --- */

char *kv_run_random_key(struct kv_run *r);
ProtobufCBinaryData kv_run_random_end(struct kv_run *r);
int64_t kv_run_random_revision(struct kv_run *r);
Etcdserverpb__RangeRequest *kv_run_random_range(struct kv_run *r);
Etcdserverpb__PutRequest *kv_run_random_put(struct kv_run *r);
Etcdserverpb__DeleteRangeRequest *kv_run_random_delete(struct kv_run *r);
Etcdserverpb__TxnRequest *kv_run_random_txn(struct kv_run *r, unsigned depth);

/* --- kv_run_judge.c: what the model answers; expect_… compare, model_… change it as the state machine has been --- */

size_t kv_run_model_range(struct kv_run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                          const struct model_row **rows, int64_t *count, bool *more);
void kv_run_expect_range(struct kv_run *r, const Etcdserverpb__RangeRequest *q, int64_t now,
                         const Etcdserverpb__RangeResponse *got);
int kv_run_range_error(const struct kv_run *r, const Etcdserverpb__RangeRequest *q);
int kv_run_put_error(const struct kv_run *r, const Etcdserverpb__PutRequest *put, int64_t now);
void kv_run_model_put(struct kv_run *r, const Etcdserverpb__PutRequest *put, const Etcdserverpb__PutResponse *got);
void kv_run_model_delete(struct kv_run *r, const Etcdserverpb__DeleteRangeRequest *del,
                         const Etcdserverpb__DeleteRangeResponse *got);
int kv_run_model_txn_check(struct kv_run *r, const Etcdserverpb__TxnRequest *txn);
void kv_run_expect_branches(struct kv_run *r, const Etcdserverpb__TxnRequest *txn,
                            const Etcdserverpb__TxnResponse *got);
void kv_run_model_txn(struct kv_run *r, const Etcdserverpb__TxnRequest *txn, const Etcdserverpb__TxnResponse *got);

#endif
