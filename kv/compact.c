/* Physical compaction. Which rows go is decided in the index, key by key, oldest first: it knows all revisions, so the
 * store is not read. Batches keep that order: whatever prefix of them a crash leaves, no tombstone is lost before what
 * it hides, and starting over comes to the same end. */
#include "base/check.h"
#include "base/failpoint.h"
#include "kv/store.h"

#include <stdlib.h>

/* Deletes wait while more than this is on its way to the store. */
#define PENDING_BYTES (32u << 20)
#define KEY_CHANGES 256 /* of one key dropped at once */

void compact_init(struct kv *kv)
{
    kv->compactions = (struct compactions){.finished = INT64_MIN, .finished_stored = INT64_MIN};
}

void compact_free(struct kv *kv)
{
    free(kv->compactions.queue);
    buffer_free(&kv->compactions.cursor);
}

static void push(struct kv *kv, const struct compaction *compaction)
{
    struct compactions *c = &kv->compactions;
    if (c->count == c->capacity) {
        c->capacity = c->capacity == 0 ? 4 : c->capacity * 2;
        c->queue = mem_realloc(c->queue, c->capacity * sizeof c->queue[0]);
    }
    c->queue[c->count++] = *compaction;
    if (c->count == 1) {
        c->hash_done = !compaction->hash_wanted;
        c->hash_ok = false;
    }
}

int compact_apply(struct kv *kv, int64_t revision, uint64_t index)
{
    if (revision <= kv->compact_revision) {
        return ERR_COMPACTED;
    }
    if (revision > kv->revision) {
        return ERR_FUTURE_REV;
    }
    struct compaction compaction = {
        .revision = revision,
        .previous = kv->compact_revision,
        .index = index,
        .hash_wanted = kv->compactions.count == 0,
    };
    uint8_t value[ROW_REVISION_MAX];
    size_t len = row_revision_put(value, (struct revision){revision, 0}, false);
    batch_put(kv, BACKEND_META, bytes_str("scheduledCompactRev"), bytes_of(value, len));
    kv->compact_revision = revision;
    push(kv, &compaction);
    return 0;
}

void compact_resume(struct kv *kv, int64_t revision, int64_t finished)
{
    struct compaction compaction = {.revision = revision, .previous = finished < -1 ? -1 : finished};
    push(kv, &compaction);
}

enum kv_compact_state kv_compact_state(struct kv *kv)
{
    const struct compactions *c = &kv->compactions;
    if (c->count == 0) {
        return KV_COMPACT_IDLE;
    }
    if (!c->hash_done) {
        return KV_COMPACT_HASH;
    }
    bool pinned = store_oldest_pin(kv) < c->queue[0].revision;
    return pinned || kv_pending_bytes(kv) > PENDING_BYTES || kv->applying ? KV_COMPACT_WAIT : KV_COMPACT_RUN;
}

int64_t kv_compact_next(const struct kv *kv)
{
    return kv->compactions.count == 0 ? -1 : kv->compactions.queue[0].revision;
}

uint64_t kv_compact_index(const struct kv *kv)
{
    return kv->compactions.count == 0 ? 0 : kv->compactions.queue[0].index;
}

int64_t kv_compact_previous(const struct kv *kv)
{
    return kv->compactions.count == 0 ? -1 : kv->compactions.queue[0].previous;
}

void kv_compact_hashed(struct kv *kv, bool ok, uint32_t hash)
{
    struct compactions *c = &kv->compactions;
    CHECK(c->count > 0 && !c->hash_done, "no hash was asked for");
    c->hash_done = true;
    c->hash_ok = ok;
    c->hash = hash;
}

bool kv_compact_finished(const struct kv *kv, int64_t revision)
{
    return kv->compactions.finished_stored >= revision;
}

bool kv_repack_wanted(struct kv *kv)
{
    bool wanted = kv->compactions.repack_wanted;
    kv->compactions.repack_wanted = false;
    return wanted;
}

/* --- running --- */

static void drop_row(void *arg, const struct index_change *change)
{
    struct kv *kv = arg;
    batch_delete_revision(kv, index_change_revision(change), !index_change_live(change));
}

/* Where the next step goes on. */
static void remember(struct compactions *c, const struct index_key *key)
{
    c->cursor.len = 0;
    buffer_append(&c->cursor, key->data, key->len);
}

static void keep_hash(struct compactions *c, const struct compaction *done)
{
    if (!c->hash_ok) {
        return;
    }
    if (c->hash_count == COMPACT_HASHES) {
        memmove(&c->hashes[0], &c->hashes[1], (COMPACT_HASHES - 1) * sizeof c->hashes[0]);
        c->hash_count--;
    }
    c->hashes[c->hash_count++] = (struct compact_hash){done->revision, done->previous, c->hash};
}

static void finish(struct kv *kv)
{
    struct compactions *c = &kv->compactions;
    struct compaction done = c->queue[0];
    keep_hash(c, &done);
    batch_finished_compact(kv, done.revision);
    c->finished = done.revision;
    c->repack_wanted = c->repack_wanted || c->dropped > 0;
    c->dropped = 0;
    c->running = false;
    c->cursor.len = 0;
    c->count--;
    memmove(&c->queue[0], &c->queue[1], c->count * sizeof c->queue[0]);
    c->hash_ok = false;
    c->hash_done = c->count == 0 || !c->queue[0].hash_wanted;
}

/* Drops what goes of one key. True = it is through with it; the key may have left the index then. */
static bool drop_of_key(struct kv *kv, struct index_key *key, size_t *budget)
{
    struct compactions *c = &kv->compactions;
    bool gone;
    size_t limit, dropped;
    do {
        limit = *budget < KEY_CHANGES ? *budget : KEY_CHANGES;
        dropped = index_compact(kv->index, key, c->queue[0].revision, limit, drop_row, kv, &gone);
        c->dropped += dropped;
        *budget -= dropped;
    } while (dropped == limit && !gone && *budget > 0);
    return gone || dropped < limit;
}

/* Walks on from the cursor; true at the end of the index. The next key is fetched before this one may leave. */
static bool drop_some(struct kv *kv, size_t budget)
{
    struct compactions *c = &kv->compactions;
    struct index_range rest = {buffer_bytes(&c->cursor), bytes_of("", 1)};
    struct index_walk walk;
    index_walk_range(&walk, kv->index, &rest);
    struct index_key *key = index_walk_next(&walk);
    while (key != NULL && budget > 0) {
        struct index_key *next = index_walk_next(&walk);
        if (!drop_of_key(kv, key, &budget)) {
            break;
        }
        budget -= budget > 0;
        key = next;
    }
    if (key != NULL) {
        remember(c, key);
    }
    return key == NULL;
}

int kv_compact_step(struct kv *kv, size_t budget)
{
    if (kv_compact_state(kv) != KV_COMPACT_RUN) {
        return KV_DONE;
    }
    kv->compactions.running = true;
    if (drop_some(kv, budget)) {
        FAILPOINT(compactBeforeSetFinishedCompact);
        finish(kv);
    }
    batch_entry_end(kv); /* a batch of deletes is bounded as well */
    return kv_compact_state(kv) == KV_COMPACT_RUN ? KV_MORE : KV_DONE;
}
