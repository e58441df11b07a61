#include "cmd/kedge/engine.h"

#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "raft/wal/snap_file.h"
#include <stdlib.h>

/* How often what a full disk held back is tried again, and the next segment is. */
#define FULL_DISK_RETRY_MS 100
#define PREPARE_RETRY_MS 1000

static void finish(struct engine *engine, struct core_job *job)
{
    mailbox_post(&engine->finished, &job->node);
}

/* --- the log's thread --- */

/* 0, or ERR_DISK_FULL: nothing of it was taken. */
static int save(struct engine *engine, const struct core_save *save)
{
    const struct raft_hard_state none = {0};
    const struct raft_hard_state *state = raft_hard_state_equal(save->hard_state, none) ? NULL : &save->hard_state;
    int error = wal_save(engine->wal, save->entries, save->count, state);
    if (error != 0 && error != ERR_DISK_FULL) {
        log_fatal("failed to save Raft entries", log_str("error", wal_reason(engine->wal)));
    }
    return error;
}

static bool next_is_save(const struct list *jobs)
{
    return !list_empty(jobs) && list_first(jobs, struct core_job, node)->kind == CORE_SAVE;
}

/* Takes the saves at the front and makes them durable with one sync. ERR_DISK_FULL: there was no room for the next one;
 * those before it are through. */
static int save_group(struct engine *engine, struct list *jobs)
{
    struct list group;
    list_init(&group);
    bool must_sync = false;
    int error = 0;
    while (next_is_save(jobs)) {
        struct core_job *job = list_first(jobs, struct core_job, node);
        error = save(engine, &job->save);
        if (error != 0) {
            break;
        }
        must_sync |= job->save.must_sync;
        list_remove(&job->node);
        list_push_back(&group, &job->node);
    }
    if (must_sync && wal_sync(engine->wal) != 0) {
        log_fatal("failed to sync the write-ahead log", log_str("error", wal_reason(engine->wal)));
    }
    struct list *node;
    while ((node = list_pop_front(&group)) != NULL) {
        finish(engine, container_of(node, struct core_job, node));
    }
    return error;
}

static int checkpoint(struct engine *engine, struct core_checkpoint *checkpoint)
{
    char *reason = NULL;
    FAILPOINT(raftBeforeSaveSnap);
    int error =
        snap_file_write(engine->fs, engine->snap_dir, checkpoint->at, &checkpoint->conf, checkpoint->data, &reason);
    FAILPOINT(raftAfterSaveSnap);
    if (error == 0) {
        error = wal_save_snapshot(engine->wal, checkpoint->at, &checkpoint->conf);
    }
    FAILPOINT(raftAfterSnapshotRecord);
    if (error == ERR_DISK_FULL) {
        free(reason);
        return error; /* the core comes back with a later one */
    }
    if (error != 0) {
        log_fatal("failed to save a checkpoint", log_str("error", reason != NULL ? reason : wal_reason(engine->wal)));
    }
    log_info("saved snapshot to disk", log_uint("snapshot-index", checkpoint->at.index));
    uint64_t kept = engine->catchup_entries; /* behind the checkpoint, for members that are behind */
    uint64_t index = checkpoint->at.index > kept ? checkpoint->at.index - kept : 0;
    error = wal_release(engine->wal, index, engine->max_wals, NULL);
    if (error == 0) {
        error = snap_file_purge(engine->fs, engine->snap_dir, engine->max_snapshots, &reason);
    }
    if (error != 0) {
        log_warn("failed to purge old files", log_str("error", reason != NULL ? reason : wal_reason(engine->wal)));
        free(reason);
    }
    checkpoint->first_index = wal_first_index(engine->wal);
    return 0;
}

static int log_read(struct engine *engine, struct core_log_read *read)
{
    char *reason = NULL;
    int error = wal_read(engine->wal, read->from, read->to, read->max_bytes, &read->entries, &read->count, &reason);
    if (error != 0 && error != ERR_ABSENT) {
        log_fatal("failed to read the write-ahead log", log_str("error", reason));
    }
    free(reason);
    return error;
}

static void other_job(struct engine *engine, struct core_job *job)
{
    list_remove(&job->node);
    job->error = job->kind == CORE_CHECKPOINT ? checkpoint(engine, &job->checkpoint) : log_read(engine, &job->log_read);
    finish(engine, job);
}

/* Saves wait for room, in their order. */
static void pass_by(struct engine *engine, struct list *jobs)
{
    list_each(node, jobs)
    {
        struct core_job *job = container_of(node, struct core_job, node);
        if (core_job_passes_saves(job)) {
            other_job(engine, job);
        }
    }
}

/* The member stops: nobody waits for room any more. What is refused here was never acknowledged. */
static void refuse_saves(struct engine *engine, struct list *jobs)
{
    while (next_is_save(jobs)) {
        struct core_job *job = list_first(jobs, struct core_job, node);
        list_remove(&job->node);
        job->error = ERR_STOPPED;
        finish(engine, job);
    }
}

/* Until there is room for the first of the jobs, or the member stops. */
static bool wait_for_room(struct engine *engine, struct list *jobs)
{
    log_warn("no space left for the write-ahead log; writes wait", log_str("error", wal_reason(engine->wal)));
    while (save_group(engine, jobs) == ERR_DISK_FULL) {
        if (atomic_load(&engine->giving_up)) {
            return false;
        }
        pass_by(engine, jobs);
        mailbox_wait_ms(&engine->log.box, jobs, FULL_DISK_RETRY_MS);
        wal_prepare(engine->wal);
    }
    log_info("the write-ahead log has space again");
    return true;
}

/* Failing harms nothing: the open segment grows on (raft/wal/wal.h). */
static bool prepare(struct engine *engine, bool failing)
{
    int error = wal_prepare(engine->wal);
    if (error != 0 && !failing) {
        log_warn("failed to prepare the next segment", log_str("error", wal_reason(engine->wal)));
    }
    return error != 0;
}

static void *log_thread(void *arg)
{
    struct engine *engine = arg;
    struct list jobs;
    list_init(&jobs);
    bool failing = false, refusing = false;
    while (failing ? mailbox_wait_ms(&engine->log.box, &jobs, PREPARE_RETRY_MS)
                   : mailbox_wait(&engine->log.box, &jobs)) {
        do {
            while (!list_empty(&jobs)) {
                if (!next_is_save(&jobs)) {
                    other_job(engine, list_first(&jobs, struct core_job, node));
                } else if (refusing) {
                    refuse_saves(engine, &jobs);
                } else if (save_group(engine, &jobs) == ERR_DISK_FULL) {
                    refusing = !wait_for_room(engine, &jobs);
                }
            }
        } while (mailbox_take(&engine->log.box, &jobs));
        failing = prepare(engine, failing);
    }
    return NULL;
}

/* --- the store's thread --- */

/* From here on the store is the new one. The old one stays open for who still reads from it. */
static int place(struct engine *engine, const struct core_install *install)
{
    struct generation placed = {.backend = kv_backend(install->kv), .kv = install->kv};
    int error = generation_place(engine->generation, &placed, install->at.index);
    if (error == 0) {
        engine->backend = placed.backend;
        log_info("applied snapshot", log_uint("snapshot-index", install->at.index));
    }
    return error;
}

/* The store without its free space, under its own name: what is not to be believed after a crash is not begun with. */
static int defragment(struct engine *engine, struct core_defragment *work)
{
    struct backend *store = NULL;
    char *reason = NULL;
    struct backend_stats before = backend_stats(engine->backend);
    uint64_t begun = loop_clock_ns();
    log_info("defragmenting", log_str("path", engine->generation->store.path),
             log_uint("current-db-size-bytes", before.size_bytes),
             log_uint("current-db-size-in-use-bytes", before.size_in_use_bytes));
    work->error = generation_copy(engine->generation, engine->backend, &store, &reason);
    if (work->error != 0) {
        log_warn("failed to defragment", log_str("error", reason != NULL ? reason : error_text(work->error)));
        free(reason);
        return 0;
    }
    FAILPOINT(defragBeforeRename);
    int error = backend_lmdb_rename(store, engine->generation->store.path);
    FAILPOINT(defragAfterRename);
    if (error == 0) {
        struct backend_stats after = backend_stats(store);
        engine->backend = work->store = store;
        log_info("finished defragmenting directory", log_str("path", engine->generation->store.path),
                 log_int("current-db-size-bytes-diff", (int64_t)after.size_bytes - (int64_t)before.size_bytes),
                 log_uint("current-db-size-bytes", after.size_bytes),
                 log_uint("current-db-size-in-use-bytes", after.size_in_use_bytes),
                 log_uint("took-ms", (loop_clock_ns() - begun) / 1000000));
    }
    return error;
}

static int store_job(struct engine *engine, struct core_job *job)
{
    switch (job->kind) {
    case CORE_COMMIT:
        return backend_commit(engine->backend, &job->commit);
    case CORE_VIEW:
        return backend_view_open(engine->backend, &job->view);
    case CORE_PLACE:
        return place(engine, &job->install);
    case CORE_DEFRAGMENT:
        return defragment(engine, &job->defragment);
    default:
        CHECK(job->kind == CORE_REPACK);
        return backend_repack(engine->backend, job->repack.budget_bytes, &job->repack.cursor);
    }
}

static void *store_thread(void *arg)
{
    struct engine *engine = arg;
    struct list jobs;
    list_init(&jobs);
    while (mailbox_wait(&engine->store.box, &jobs)) {
        struct list *node;
        while ((node = list_pop_front(&jobs)) != NULL) {
            struct core_job *job = container_of(node, struct core_job, node);
            job->error = store_job(engine, job);
            if (job->error != 0 && job->error != ERR_DISK_FULL) {
                log_fatal("the store failed", log_str("error", error_text(job->error)));
            }
            finish(engine, job);
        }
    }
    return NULL;
}

/* --- a worker --- */

static void *worker_thread(void *arg)
{
    struct engine *engine = arg;
    struct list jobs;
    list_init(&jobs);
    while (mailbox_wait(&engine->worker.box, &jobs)) {
        struct list *node;
        while ((node = list_pop_front(&jobs)) != NULL) {
            struct core_job *job = container_of(node, struct core_job, node);
            job->error = job->work.run(job->work.arg);
            finish(engine, job);
        }
    }
    return NULL;
}

/* --- generations --- */

static int build(struct engine *engine, struct core_install *install)
{
    struct generation built;
    char *reason = NULL;
    log_info("applying snapshot", log_uint("incoming-snapshot-index", install->at.index),
             log_uint("incoming-snapshot-term", install->at.term));
    int error = generation_build(engine->generation, install->at, &engine->giving_up, &built, &reason);
    if (error == 0) {
        install->kv = built.kv;
    } else {
        log_warn("failed to install a snapshot", log_uint("incoming-snapshot-index", install->at.index),
                 log_str("error", reason != NULL ? reason : error_text(error)));
    }
    free(reason);
    return error;
}

static int close_generation(void *kv)
{
    struct generation unused = {.backend = kv_backend(kv), .kv = kv};
    generation_close(&unused);
    return 0;
}

/* Builds generations, and closes those that nobody uses any more: both may take seconds. */
static void *builder_thread(void *arg)
{
    struct engine *engine = arg;
    struct list jobs;
    list_init(&jobs);
    while (mailbox_wait(&engine->builder.box, &jobs)) {
        struct list *node;
        while ((node = list_pop_front(&jobs)) != NULL) {
            struct core_job *job = container_of(node, struct core_job, node);
            if (job->kind == CORE_INSTALL) {
                job->error = build(engine, &job->install);
                finish(engine, job);
            } else {
                job->work.run(job->work.arg);
                free(job); /* of post_work */
            }
        }
    }
    return NULL;
}

/* For the builder, which nobody waits for. */
static void post_work(struct engine *engine, int (*run)(void *arg), void *arg)
{
    struct core_job *job = mem_zalloc(sizeof *job);
    list_init(&job->node);
    job->kind = CORE_WORK;
    job->work = (struct core_work){.run = run, .arg = arg};
    mailbox_post(&engine->builder.box, &job->node);
}

static void retire(struct core_env *env, struct kv *kv)
{
    post_work(container_of(env, struct engine, env), close_generation, kv);
}

static int close_backend(void *store)
{
    backend_close(store);
    return 0;
}

static void close_store(struct core_env *env, struct backend *store)
{
    post_work(container_of(env, struct engine, env), close_backend, store);
}

struct dropped {
    const struct generation_config *config;
    uint64_t index;
};

static int remove_image(void *arg)
{
    struct dropped *dropped = arg;
    generation_drop_image(dropped->config, dropped->index);
    free(dropped);
    return 0;
}

static void drop_image(struct core_env *env, struct raft_position at)
{
    struct engine *engine = container_of(env, struct engine, env);
    struct dropped *dropped = mem_zalloc(sizeof *dropped);
    *dropped = (struct dropped){.config = engine->generation, .index = at.index};
    post_work(engine, remove_image, dropped);
}

void engine_installs(struct engine *engine, const struct generation_config *config)
{
    engine->generation = config;
}

/* --- between the core and the threads --- */

/* The v2 JSON is made where the members may be read: on the core's thread. */
void engine_v2_json(const struct kv *kv, struct buffer *out)
{
    size_t count;
    const struct kv_member *members = kv_members(kv, &count);
    struct snap_file_member *list = mem_zalloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct snap_file_member){
            .id = members[i].id,
            .peer_urls = (const char *const *)members[i].peer_urls,
            .peer_url_count = members[i].peer_url_count,
            .name = members[i].name,
            .client_urls = (const char *const *)members[i].client_urls,
            .client_url_count = members[i].client_url_count,
            .learner = members[i].learner,
        };
    }
    size_t removed_count;
    const uint64_t *removed = kv_members_removed(kv, &removed_count);
    snap_file_v2_json(out, list, count, removed, removed_count, kv_cluster_version(kv));
    free(list);
}

static void checkpoint_data(struct engine *engine, struct core_checkpoint *checkpoint)
{
    buffer_free(&checkpoint->data_owner);
    engine_v2_json(checkpoint->kv != NULL ? checkpoint->kv : core_kv(engine->core), &checkpoint->data_owner);
    checkpoint->data = buffer_bytes(&checkpoint->data_owner);
}

/* A leader's entries go to its followers before they go to its own disk (Raft thesis 10.2.1): their way is the longer
 * one. So the log's thread is woken at the end of the turn, behind the peers' connections and before the clients'. */
static void post_log(struct engine *engine, struct core_job *job)
{
    list_push_back(&engine->for_log, &job->node);
    loop_flush_ask_first(engine->loop, &engine->log_flush);
}

static void flush_log(struct loop_flush *flush)
{
    struct engine *engine = container_of(flush, struct engine, log_flush);
    struct list *node;
    while ((node = list_pop_front(&engine->for_log)) != NULL) {
        mailbox_post(&engine->log.box, node);
    }
}

static void start(struct core_env *env, struct core_job *job)
{
    struct engine *engine = container_of(env, struct engine, env);
    switch (job->kind) {
    case CORE_CHECKPOINT:
        checkpoint_data(engine, &job->checkpoint);
        post_log(engine, job);
        break;
    case CORE_SAVE:
    case CORE_LOG_READ:
        post_log(engine, job);
        break;
    case CORE_COMMIT:
    case CORE_VIEW:
    case CORE_REPACK:
    case CORE_PLACE:
    case CORE_DEFRAGMENT:
        mailbox_post(&engine->store.box, &job->node);
        break;
    case CORE_WORK:
        mailbox_post(&engine->worker.box, &job->node);
        break;
    case CORE_INSTALL:
        mailbox_post(&engine->builder.box, &job->node);
        break;
    }
}

static struct core_space space(struct core_env *env)
{
    struct wal_space space = wal_space(container_of(env, struct engine, env)->wal);
    return (struct core_space){.ordinary_bytes = space.ordinary_bytes, .total_bytes = space.total_bytes};
}

static bool deliver(struct loop_hook *hook)
{
    struct engine *engine = container_of(hook, struct engine, hook);
    struct list jobs;
    list_init(&jobs);
    mailbox_take(&engine->finished, &jobs);
    struct list *node;
    while ((node = list_pop_front(&jobs)) != NULL) {
        core_job_done(engine->core, container_of(node, struct core_job, node));
    }
    return false;
}

static void wake_loop(void *loop)
{
    loop_wake(loop);
}

static void thread_start(struct engine_thread *thread, void *(*run)(void *), struct engine *engine)
{
    mailbox_init(&thread->box, NULL, NULL);
    int failed = pthread_create(&thread->thread, NULL, run, engine);
    if (failed != 0) {
        log_fatal("failed to start a thread", log_str("error", strerror(failed)));
    }
}

static void thread_stop(struct engine_thread *thread)
{
    mailbox_close(&thread->box);
    pthread_join(thread->thread, NULL);
    mailbox_destroy(&thread->box);
}

void engine_start(struct engine *engine, struct loop *loop, struct wal *wal, struct backend *backend,
                  const struct wal_fs *fs, const char *snap_dir, size_t max_wals, size_t max_snapshots)
{
    *engine = (struct engine){
        .env = {.start = start, .space = space, .retire = retire, .close_store = close_store, .drop_image = drop_image},
        .loop = loop,
        .wal = wal,
        .backend = backend,
        .fs = fs,
        .snap_dir = snap_dir,
        .max_wals = max_wals,
        .max_snapshots = max_snapshots,
    };
    mailbox_init(&engine->finished, wake_loop, loop);
    engine->hook.run = deliver;
    loop_hook_add(loop, &engine->hook);
    list_init(&engine->for_log);
    loop_flush_init(&engine->log_flush, flush_log);
    thread_start(&engine->log, log_thread, engine);
    thread_start(&engine->store, store_thread, engine);
    thread_start(&engine->worker, worker_thread, engine);
    thread_start(&engine->builder, builder_thread, engine);
}

void engine_attach(struct engine *engine, struct core *core)
{
    engine->core = core;
}

void engine_give_up(struct engine *engine)
{
    atomic_store(&engine->giving_up, true);
}

void engine_stop_threads(struct engine *engine)
{
    CHECK(list_empty(&engine->for_log));
    thread_stop(&engine->log);
    thread_stop(&engine->store);
    thread_stop(&engine->worker);
    loop_hook_remove(engine->loop, &engine->hook);
    mailbox_destroy(&engine->finished);
}

void engine_close(struct engine *engine)
{
    thread_stop(&engine->builder); /* after the core, which may have given it generations to close */
    wal_close(engine->wal);
    backend_close(engine->backend);
}
