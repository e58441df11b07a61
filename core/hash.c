/* Hashes over whole tables. They are taken from a view: the store is first brought up to what is applied now, then a
 * worker reads the view from beginning to end while everything else goes on. */
#include "core/internal.h"

#include "base/check.h"

#define HASH_STEP_ROWS 10000

/* WAITING: in hash_waits, for a compaction's end. VIEWING: it has a view or waits for one. */
enum hash_state { HASH_NONE, HASH_WAITING, HASH_VIEWING };

/* On a worker's thread: touches nothing of the core. */
static int hash_run(void *arg)
{
    struct core_hash *hash = arg;
    int progress;
    do {
        progress = atomic_load(&hash->give_up) ? ERR_STOPPED : kv_hash_step(hash->work, HASH_STEP_ROWS);
    } while (progress == KV_MORE);
    return progress;
}

/* The last thing that happens to it. */
static void view_closed(struct core_view *view)
{
    struct core_hash *hash = view->owner;
    list_remove(&hash->node);
    hash->state = HASH_NONE;
    if (hash->work != NULL) {
        kv_hash_free(hash->work);
        hash->work = NULL;
    }
    if (hash->cancelled) {
        free(hash);
    } else {
        hash->done(hash, hash->error);
    }
}

static void hashed(struct core_view *view, int error)
{
    struct core_hash *hash = view->owner;
    hash->error = error;
    if (error == 0) {
        hash->result = kv_hash_result(hash->work);
    }
    core_view_close(view);
}

static void view_opened(struct core_view *view, int error)
{
    struct core_hash *hash = view->owner;
    hash->error = error;
    if (error != 0) {
        core_view_close(view);
        return;
    }
    hash->work = kv_hash_new(hash->kind, hash->revision, hash->previous, view->read);
    core_view_work(view, hash_run, hash, hashed);
}

void hash_start(struct core *core, struct core_hash *hash)
{
    hash->core = core;
    hash->state = HASH_VIEWING;
    list_push_back(&core->hashes, &hash->node);
    hash->view = (struct core_view){.opened = view_opened, .closed = view_closed, .owner = hash};
    CHECK(core_view_open(core, &hash->view, hash->index) == 0);
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
        hash->state = HASH_WAITING;
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
    case HASH_VIEWING: /* view_closed frees it, now or soon */
        hash->cancelled = true;
        atomic_store(&hash->give_up, true);
        core_view_close(&hash->view);
        break;
    }
}

void hash_fail_all(struct core *core, int error)
{
    list_each(node, &core->hashes)
    {
        atomic_store(&container_of(node, struct core_hash, node)->give_up, true);
    }
    struct list *node;
    while ((node = list_pop_front(&core->hash_waits)) != NULL) {
        struct core_hash *hash = container_of(node, struct core_hash, node);
        hash->state = HASH_NONE;
        hash->done(hash, error);
    }
}
