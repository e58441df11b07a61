/* Hashes over whole tables. They are taken from a view: the store is first brought up to what is applied now, then a
 * worker reads the view from beginning to end while everything else goes on. */
#include "core/internal.h"

#include "base/check.h"

#define HASH_STEP_ROWS 10000

/* On a worker's thread: touches nothing of the core. */
static int hash_run(void *arg)
{
    struct core_hash *hash = arg;
    int progress;
    do {
        progress = kv_hash_step(hash->work, HASH_STEP_ROWS);
    } while (progress == KV_MORE);
    backend_view_close(hash->view);
    return progress;
}

static void hash_ended(struct core_job *job)
{
    struct core_hash *hash = job->owner;
    struct core *core = hash->core;
    store_view_closed(core);
    if (job->error == 0) {
        hash->result = kv_hash_result(hash->work);
    }
    kv_hash_free(hash->work);
    hash->work = NULL;
    if (hash->cancelled) {
        free(hash);
        return;
    }
    hash->running = false;
    hash->done(hash, job->error);
}

void hash_view_opened(struct core *core, struct core_hash *hash)
{
    CHECK(hash->job.error == 0);
    hash->view = hash->job.view;
    hash->work = kv_hash_new(hash->kind, hash->revision, hash->previous, hash->view);
    hash->job.kind = CORE_WORK;
    hash->job.owner = hash;
    hash->job.done = hash_ended;
    hash->job.work = (struct core_work){.run = hash_run, .arg = hash};
    core_job_start(core, &hash->job);
}

int hash_start(struct core *core, struct core_hash *hash)
{
    hash->core = core;
    hash->running = true;
    list_init(&hash->node);
    list_init(&hash->job.node);
    list_push_back(&core->view_waits, &hash->node);
    return 0;
}

static bool compacting(struct core *core)
{
    enum kv_compact_state state = kv_compact_state(core->kv);
    return state == KV_COMPACT_HASH || state == KV_COMPACT_RUN;
}

/* 0: a job was started. Otherwise as core_hash. */
static int look_up(struct core *core, struct core_hash *hash)
{
    if (hash->kind == KV_HASH_KV) {
        int error = kv_hash_cached(core->kv, hash->revision, &hash->result);
        if (error != ERR_ABSENT) {
            return error == 0 ? CORE_READY : error;
        }
    }
    hash->index = core->applied;
    return hash_start(core, hash);
}

int core_hash(struct core *core, struct core_hash *hash, enum kv_hash_kind kind, int64_t revision)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    hash->core = core;
    hash->kind = kind;
    hash->revision = revision;
    /* A compaction that is under way will leave its own hash of this revision: what is asked now is answered as if it had
     * finished, as a client of etcd nearly always finds it. */
    if (kind == KV_HASH_KV && compacting(core)) {
        hash->running = true;
        list_init(&hash->node);
        list_push_back(&core->hash_waits, &hash->node);
        return 0;
    }
    return look_up(core, hash);
}

void hash_compaction_over(struct core *core)
{
    struct list now;
    if (list_empty(&core->hash_waits) || compacting(core)) {
        return;
    }
    list_init(&now);
    list_splice(&now, &core->hash_waits);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_hash *hash = container_of(node, struct core_hash, node);
        int error = look_up(core, hash);
        if (error != 0) {
            hash->running = false;
            hash->done(hash, error == CORE_READY ? 0 : error);
        }
    }
}

void core_hash_cancel(struct core_hash *hash)
{
    if (!hash->running) {
        free(hash);
    } else if (!list_empty(&hash->node)) { /* still waits for its turn */
        list_remove(&hash->node);
        free(hash);
    } else {
        hash->cancelled = true; /* hash_ended frees it */
    }
}
