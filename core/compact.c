/* Physical compaction, driven a slice a turn: first the hash that etcd keeps of each compaction (bbolt.md "Compaction
 * hash cache"), then the deletes, which reach the store with the ordinary batches. */
#include "core/internal.h"

#include "base/check.h"

#define COMPACT_POLL_MS 20 /* while an older reader's pin holds it back */

static void hashed(struct core_hash *hash, int error)
{
    struct core *core = hash->core;
    kv_compact_hashed(core->kv, error == 0, hash->result.hash);
    free(core->compact_hash);
    core->compact_hash = NULL;
}

static void hash_begin(struct core *core)
{
    if (core->compact_hash != NULL || core->stopping) {
        return;
    }
    struct core_hash *hash = mem_zalloc(sizeof *hash);
    hash->kind = KV_HASH_COMPACTION;
    hash->revision = kv_compact_next(core->kv);
    hash->previous = kv_compact_previous(core->kv);
    hash->index = kv_compact_index(core->kv);
    hash->done = hashed;
    core->compact_hash = hash;
    hash_start(core, hash);
}

/* Those who asked for a physical compaction and wait for its end. `done` may take others of them back. */
static void tell_waiters(struct core *core)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &core->compact_waits);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        if (kv_compact_finished(core->kv, (int64_t)request->id)) {
            request->state = REQUEST_NONE;
            request->done(request, 0, NULL);
        } else {
            list_push_back(&core->compact_waits, node);
        }
    }
    if (!list_empty(&core->compact_waits) && kv_compact_state(core->kv) == KV_COMPACT_IDLE) {
        core->commit_wanted = true; /* all of it is done, and has to be stored */
    }
}

void compact_fail_all(struct core *core, int error)
{
    struct list *node;
    while ((node = list_pop_front(&core->compact_waits)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        request->state = REQUEST_NONE;
        request->done(request, error, NULL);
    }
}

void core_wait_compacted(struct core *core, struct core_request *request, int64_t revision)
{
    request->id = (uint64_t)revision;
    request->state = REQUEST_COMPACTED;
    list_push_back(&core->compact_waits, &request->node);
}

bool compact_slice(struct core *core)
{
    bool more = false;
    core->compact_check_ms = 0;
    if (install_holds(core)) {
        return false;
    }
    switch (kv_compact_state(core->kv)) {
    case KV_COMPACT_IDLE:
        break;
    case KV_COMPACT_WAIT:
        core->compact_check_ms = core->now_ms + COMPACT_POLL_MS;
        break;
    case KV_COMPACT_HASH:
        hash_begin(core);
        break;
    case KV_COMPACT_RUN:
        if (!core->stopping) {
            int progress = kv_compact_step(core->kv, KV_BUDGET);
            CHECK(progress >= 0, "%s", error_name(progress));
            store_applied(core);
            more = progress == KV_MORE;
        }
        break;
    }
    if (!list_empty(&core->compact_waits)) {
        tell_waiters(core);
    }
    hash_compaction_over(core);
    return more;
}

uint64_t compact_deadline(const struct core *core)
{
    return core->compact_check_ms == 0 ? UINT64_MAX : core->compact_check_ms;
}
