/* Hashes over whole tables. They are taken from a view: the store is first brought up to what is applied now, then a
 * worker reads the view from beginning to end while everything else goes on. */
#include "core/internal.h"

#include "base/check.h"

#define HASH_STEP_ROWS 10000

/* WAITING: in one of the core's lists for a view or for a compaction's end. OPENING, RUNNING: a job has it. */
enum hash_state { HASH_NONE, HASH_WAITING, HASH_OPENING, HASH_RUNNING };

/* On a worker's thread: touches nothing of the core. */
static int hash_run(void *arg)
{
    struct core_hash *hash = arg;
    int progress;
    do {
        progress = atomic_load(&hash->give_up) ? ERR_STOPPED : kv_hash_step(hash->work, HASH_STEP_ROWS);
    } while (progress == KV_MORE);
    backend_view_close(hash->view);
    return progress;
}

/* Comes back from its last job. */
static void end(struct core *core, struct core_hash *hash, int error)
{
    store_view_closed(core);
    list_remove(&hash->node);
    hash->state = HASH_NONE;
    if (hash->cancelled) {
        free(hash);
    } else {
        hash->done(hash, error);
    }
}

static void hash_ended(struct core_job *job)
{
    struct core_hash *hash = job->owner;
    if (job->error == 0) {
        hash->result = kv_hash_result(hash->work);
    }
    kv_hash_free(hash->work);
    hash->work = NULL;
    end(hash->core, hash, job->error);
}

void hash_view_opening(struct core *core, struct core_hash *hash)
{
    list_remove(&hash->node);
    list_push_back(&core->hashes_out, &hash->node);
    hash->state = HASH_OPENING;
}

void hash_view_opened(struct core *core, struct core_hash *hash)
{
    CHECK(hash->job.error == 0);
    hash->view = hash->job.view;
    if (atomic_load(&hash->give_up)) {
        backend_view_close(hash->view);
        end(core, hash, ERR_STOPPED);
        return;
    }
    hash->state = HASH_RUNNING;
    hash->work = kv_hash_new(hash->kind, hash->revision, hash->previous, hash->view);
    hash->job.kind = CORE_WORK;
    hash->job.owner = hash;
    hash->job.done = hash_ended;
    hash->job.work = (struct core_work){.run = hash_run, .arg = hash};
    core_job_start(core, &hash->job);
}

static void wait_in(struct core_hash *hash, struct list *list)
{
    hash->state = HASH_WAITING;
    list_push_back(list, &hash->node);
}

void hash_start(struct core *core, struct core_hash *hash)
{
    hash->core = core;
    list_init(&hash->job.node);
    wait_in(hash, &core->view_waits);
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
    hash_start(core, hash);
    return 0;
}

int core_hash(struct core *core, struct core_hash *hash, enum kv_hash_kind kind, int64_t revision)
{
    if (core->stopping) {
        return ERR_STOPPED;
    }
    hash->core = core;
    hash->kind = kind;
    hash->revision = revision;
    /* A compaction that is under way will leave its own hash of this revision: what is asked now is answered as if it
     * had finished, as a client of etcd nearly always finds it. */
    if (kind == KV_HASH_KV && compacting(core)) {
        wait_in(hash, &core->hash_waits);
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
        hash->state = HASH_NONE;
        int error = look_up(core, hash);
        if (error != 0) {
            hash->done(hash, error == CORE_READY ? 0 : error);
        }
    }
}

void core_hash_cancel(struct core_hash *hash)
{
    switch ((enum hash_state)hash->state) {
    case HASH_WAITING:
        list_remove(&hash->node);
        free(hash);
        break;
    case HASH_NONE:
        free(hash);
        break;
    default: /* `end` frees it, soon */
        hash->cancelled = true;
        atomic_store(&hash->give_up, true);
        break;
    }
}

void hash_fail_all(struct core *core, int error)
{
    list_each(node, &core->hashes_out)
    {
        atomic_store(&container_of(node, struct core_hash, node)->give_up, true);
    }
    list_splice(&core->hash_waits, &core->view_waits);
    struct list *node;
    while ((node = list_pop_front(&core->hash_waits)) != NULL) {
        struct core_hash *hash = container_of(node, struct core_hash, node);
        hash->state = HASH_NONE;
        hash->done(hash, error);
    }
}
