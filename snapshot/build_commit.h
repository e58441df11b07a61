/* Batches of rows on their way to a new store: while one is committed the next is filled. Private to snapshot/build*.c.
 */
#ifndef SNAPSHOT_BUILD_COMMIT_H
#define SNAPSHOT_BUILD_COMMIT_H

#include "kv/backend.h"
#include <pthread.h>

enum { BUILD_BATCH_BYTES = 4 << 20, BUILD_BATCH_OPS = 20000 };

/* Keys and values lie in `data`, one behind the other. */
struct build_batch {
    struct backend_op ops[BUILD_BATCH_OPS];
    size_t count;
    struct buffer data;
    uint64_t index, term;
};

struct build_commit {
    struct backend *store;
    int file;         /* the store's; -1 = none */
    uint64_t written; /* so far its writing has begun */
    struct build_batch batches[2];
    struct build_batch *filling;
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct build_batch *handed; /* under the lock, as the rest */
    bool stop;
    int error; /* of the first commit that failed */
};

/* path: of the store's file; NULL = one without. */
void build_commit_begin(struct build_commit *c, struct backend *store, const char *path, bool threaded);
/* Adds a row to the batch that is filled. */
void build_commit_add(struct build_commit *c, enum backend_table table, struct bytes key, struct bytes value);
bool build_commit_is_full(const struct build_commit *c);
/* Commits the batch, now or soon: 0, or the error of this one or of one before. */
int build_commit_batch(struct build_commit *c, uint64_t index, uint64_t term);
/* Waits until nothing is under way. */
int build_commit_settle(struct build_commit *c);
/* Zero-initialised is allowed. */
void build_commit_free(struct build_commit *c);

#endif
