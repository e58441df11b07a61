/* Puts, deletes and txns on the state machine: what apply and read-only txns run (mvcc.md "Put", "DeleteRange", "Txn").
 */
#ifndef KV_TXN_H
#define KV_TXN_H

#include "kv/kv.h"
#include "kv/range.h"
#include "kv/store.h"

/* --- put --- */

/* On the state before the write transaction: 0, ERR_LEASE_NOT_FOUND, ERR_KEY_NOT_FOUND. */
int txn_check_put(const struct kv *kv, const Etcdserverpb__PutRequest *request);
/* Inside a write transaction. wanted: the answer is read by somebody. ERR_CORRUPT_DATA when an old row cannot be read.
 */
int txn_put(struct kv *kv, const Etcdserverpb__PutRequest *request, bool wanted, struct arena *arena,
            Etcdserverpb__PutResponse *response);

/* --- delete range --- */

struct txn_delete {
    const Etcdserverpb__DeleteRangeRequest *request;
    Etcdserverpb__DeleteRangeResponse *response;
    struct index_range range;
    struct index_walk walk;
    size_t capacity; /* of response->prev_kvs */
    bool wanted;
};

void txn_delete_begin(struct txn_delete *del, struct kv *kv, const Etcdserverpb__DeleteRangeRequest *request,
                      bool wanted, Etcdserverpb__DeleteRangeResponse *response);
/* KV_DONE, KV_MORE or ERR_CORRUPT_DATA. The header's revision is set when done. */
int txn_delete_step(struct txn_delete *del, struct kv *kv, struct arena *arena, size_t *budget);

/* --- txn --- */

struct txn_run;

/* current: the revision that its reads and compares see as the present. read_only: changes nothing. */
struct txn_run *txn_begin(struct kv *kv, const Etcdserverpb__TxnRequest *request, int64_t current, bool read_only,
                          bool wanted, struct arena *arena);
/* KV_DONE (*error and *response are filled), KV_MORE, or ERR_CORRUPT_DATA. Nothing was changed when *error != 0. The
 * write transaction is begun by the caller before the first step, and ended by it. */
int txn_step(struct txn_run *run, size_t *budget, int *error, Etcdserverpb__TxnResponse **response);
/* Lets go of an open range; the rest lives in the arena. */
void txn_end(struct txn_run *run);

#endif
