#include "snapshot/build_commit.h"

#include "base/check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The disk begins with what the file has grown by, and has less to do in the end. What is written once more later is
 * little: LMDB goes on behind its last page. */
static void begin_writing(struct build_commit *c)
{
    enum { PIECE = 32 << 20 };
    uint64_t size = backend_stats(c->store).size_bytes;
    if (c->file >= 0 && size >= c->written + PIECE) {
        sync_file_range(c->file, (off_t)c->written, (off_t)(size - c->written), SYNC_FILE_RANGE_WRITE);
        c->written = size;
    }
}

static int commit_now(struct build_commit *c, struct build_batch *batch)
{
    const uint8_t *at = batch->data.data;
    for (size_t k = 0; k < batch->count; k++) {
        struct backend_op *op = &batch->ops[k];
        op->key.data = at;
        op->value.data = at + op->key.len;
        at += op->key.len + op->value.len;
    }
    const struct backend_batch ops = {
        .ops = batch->ops, .count = batch->count, .bytes = batch->data.len, .index = batch->index, .term = batch->term};
    int error = backend_commit(c->store, &ops);
    batch->count = 0;
    batch->data.len = 0;
    begin_writing(c);
    return error;
}

/* --- another thread --- */

static void *run(void *arg)
{
    struct build_commit *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stop || c->handed != NULL) {
        if (c->handed == NULL) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        struct build_batch *batch = c->handed;
        pthread_mutex_unlock(&c->lock);
        int error = commit_now(c, batch);
        pthread_mutex_lock(&c->lock);
        c->error = c->error != 0 ? c->error : error;
        c->handed = NULL;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Hands a batch over (NULL: none) once the one before is done. */
static int hand_over(struct build_commit *c, struct build_batch *batch)
{
    pthread_mutex_lock(&c->lock);
    while (c->handed != NULL) {
        pthread_cond_wait(&c->changed, &c->lock);
    }
    int error = c->error;
    if (batch != NULL && error == 0) {
        c->handed = batch;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    return error;
}

/* --- the face --- */

void build_commit_begin(struct build_commit *c, struct backend *store, const char *path, bool threaded)
{
    c->store = store;
    c->filling = &c->batches[0];
    c->file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->threaded = threaded && pthread_create(&c->thread, NULL, run, c) == 0;
}

void build_commit_add(struct build_commit *c, enum backend_table table, struct bytes key, struct bytes value)
{
    struct build_batch *batch = c->filling;
    CHECK(batch->count < BUILD_BATCH_OPS);
    batch->ops[batch->count++] = (struct backend_op){
        .kind = BACKEND_PUT, .table = (uint8_t)table, .key = {.len = key.len}, .value = {.len = value.len}};
    buffer_append(&batch->data, key.data, key.len);
    if (value.len > 0) {
        buffer_append(&batch->data, value.data, value.len);
    }
}

bool build_commit_is_full(const struct build_commit *c)
{
    return c->filling->count == BUILD_BATCH_OPS || c->filling->data.len >= BUILD_BATCH_BYTES;
}

int build_commit_batch(struct build_commit *c, uint64_t index, uint64_t term)
{
    struct build_batch *batch = c->filling;
    batch->index = index;
    batch->term = term;
    if (!c->threaded) {
        return commit_now(c, batch);
    }
    c->filling = batch == &c->batches[0] ? &c->batches[1] : &c->batches[0];
    return hand_over(c, batch);
}

int build_commit_settle(struct build_commit *c)
{
    return c->threaded ? hand_over(c, NULL) : 0;
}

void build_commit_free(struct build_commit *c)
{
    if (c->filling == NULL) {
        return;
    }
    if (c->threaded) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        CHECK(pthread_join(c->thread, NULL) == 0);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    if (c->file >= 0) {
        close(c->file);
    }
    buffer_free(&c->batches[0].data);
    buffer_free(&c->batches[1].data);
    c->filling = NULL;
}
