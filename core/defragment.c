/* Free space goes back to the file system: the store's thread copies what is in use to a new file, checks it, and gives
 * it the store's name (kv/backend.h); then, in one turn, the core goes over to it. What is in the two files is the
 * same, because nothing is committed meanwhile: what is applied stays in memory, as it does behind any slow commit.
 * Reads go on in whichever file they began in; the old one is closed when the last of them has ended.
 *
 * Whoever asks has often compacted just before. So the deletes and the repacking that follow are waited for, but not
 * for long. A store with little free space is left as it is: there is nothing to give back. */
#include "core/internal.h"

#include "base/check.h"

#define PATIENCE_MS 2000
#define WORTH_PARTS 32 /* free space below this part of the file is not worth copying the rest */
#define OLD_CHECK_MS 100

static void answer(struct core *core, int error)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &core->defragment_waits);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_request *request = container_of(node, struct core_request, node);
        request->state = REQUEST_NONE;
        request->done(request, error, NULL);
    }
}

/* --- stores that are still read from --- */

static void close_unread(struct core *core)
{
    size_t kept = 0;
    for (size_t i = 0; i < core->old_store_count; i++) {
        struct backend *old = core->old_stores[i];
        if (backend_is_read(old)) {
            core->old_stores[kept++] = old;
        } else {
            core->env->close_store(core->env, old);
        }
    }
    core->old_store_count = kept;
}

static void keep_old(struct core *core, struct backend *old)
{
    core->old_stores = mem_realloc(core->old_stores, (core->old_store_count + 1) * sizeof(struct backend *));
    core->old_stores[core->old_store_count++] = old;
}

/* --- the copy --- */

static void copied(struct core_job *job)
{
    struct core *core = job->owner;
    core->defragment_out = false;
    if (job->defragment.store != NULL) {
        keep_old(core, kv_replace_backend(core->kv, job->defragment.store));
        core->stats.defragments_total++;
    }
    answer(core, job->defragment.error);
}

static void begin(struct core *core)
{
    core->defragment_next = false;
    core->defragment_out = true;
    core->defragment_job.kind = CORE_DEFRAGMENT;
    core->defragment_job.owner = core;
    core->defragment_job.done = copied;
    core->defragment_job.defragment = (struct core_defragment){.error = 0};
    core_job_start(core, &core->defragment_job);
}

/* Is everything gone that a compaction deletes? */
static bool settled(const struct core *core)
{
    return !core->commit_wanted && !core->repack_wanted && kv_compact_state(core->kv) == KV_COMPACT_IDLE;
}

static bool worth_it(const struct core *core)
{
    struct kv_stats stats = kv_stats(core->kv);
    return stats.size_in_use_bytes < stats.size_bytes &&
           (stats.size_bytes - stats.size_in_use_bytes) * WORTH_PARTS >= stats.size_bytes;
}

void defragment_slice(struct core *core)
{
    if (core->old_store_count > 0) {
        close_unread(core);
    }
    if (list_empty(&core->defragment_waits) || core->defragment_out || core->stopping || install_holds(core) ||
        core->commit_out || core->repack_out) {
        return;
    }
    if (!core->defragment_next && !settled(core) && core->now_ms < core->defragment_at_ms) {
        return;
    }
    if (worth_it(core)) {
        begin(core);
    } else {
        core->defragment_next = false;
        answer(core, 0);
    }
}

bool defragment_holds(const struct core *core)
{
    return core->defragment_out || core->defragment_next;
}

void defragment_patience(struct core *core)
{
    core->defragment_next = !list_empty(&core->defragment_waits) && !core->defragment_out && !core->stopping &&
                            !install_holds(core) && core->now_ms >= core->defragment_at_ms;
}

uint64_t defragment_deadline(const struct core *core)
{
    uint64_t at = core->old_store_count > 0 ? core->now_ms + OLD_CHECK_MS : UINT64_MAX;
    bool waiting = !list_empty(&core->defragment_waits) && !core->defragment_out && !core->defragment_next;
    return waiting && core->defragment_at_ms < at ? core->defragment_at_ms : at;
}

int core_defragment(struct core *core, struct core_request *request)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    if (list_empty(&core->defragment_waits)) {
        core->defragment_at_ms = core->now_ms + PATIENCE_MS;
        core->commit_wanted = true;
    }
    request->state = REQUEST_DEFRAGMENT;
    list_push_back(&core->defragment_waits, &request->node);
    return 0;
}

void defragment_fail_all(struct core *core, int error)
{
    answer(core, error);
}

void defragment_free(struct core *core)
{
    for (size_t i = 0; i < core->old_store_count; i++) {
        backend_close(core->old_stores[i]);
    }
    free(core->old_stores);
}
