/* What goes to the store: changes of the tables, collected in the order of the log into batches that each end at an
 * entry's end. */
#ifndef KV_BATCH_H
#define KV_BATCH_H

#include "base/arena.h"
#include "base/list.h"
#include "kv/backend.h"
#include "kv/row.h"

/* A batch closes by itself at the end of the entry that made it reach one of these. */
#define BATCH_BYTES (16u << 20)
#define BATCH_OPS 20000

struct kv;

struct batch {
    struct list node;
    struct backend_op *ops;
    size_t count, capacity;
    size_t bytes;             /* of ops' keys and values */
    size_t held;              /* memory that goes when it is done: kv_pending_bytes */
    struct arena arena;       /* rows, and the keys and values of other ops */
    uint64_t index, term;     /* of the last entry in it */
    int64_t revision;         /* current revision after it */
    int64_t finished_compact; /* finishedCompactRev that it stores; INT64_MIN = none */
};

struct batches {
    struct list queue;  /* of struct batch; the last is open for more */
    struct batch *out;  /* lent to the store thread: the first of the queue */
    struct list stored; /* done; their memory goes in slices: kv_tidy */
    size_t held;
};

void batch_init(struct kv *kv);
void batch_free(struct kv *kv);
/* Makes a row in the batch's memory: it is there until the batch is done. */
const struct row *batch_add_row(struct kv *kv, struct revision revision, bool tombstone,
                                const struct row_fields *fields);
/* key and value are copied. */
void batch_put(struct kv *kv, enum backend_table table, struct bytes key, struct bytes value);
void batch_delete(struct kv *kv, enum backend_table table, struct bytes key);
void batch_delete_revision(struct kv *kv, struct revision revision, bool tombstone);
/* The compaction at this revision is over: stores finishedCompactRev and remembers when that is durable. */
void batch_finished_compact(struct kv *kv, int64_t revision);
/* An entry is over: the open batch now brings the store to it. */
void batch_entry_end(struct kv *kv);

#endif
