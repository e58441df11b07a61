/* The core's world: what the server's threads do (cmd/kedge/engine.c), done late by a random while in virtual time. A
 * job is carried out at one moment and reported at a later one; a crash may come in between. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/internal.h"
#include "raft/wal/snap_file.h"
#include "tests/support/memory_fs.h"
#include <stdlib.h>

#define LOG_LATE_MS 4
#define STORE_LATE_MS 30
#define WORK_LATE_MS 20
#define REPORT_LATE_MS 3
#define SNAP_DIR "member/snap"

static void finish(struct sim *s, struct core_job *job)
{
    CHECK(s->finished_count < sizeof s->finished / sizeof s->finished[0]);
    uint64_t due = s->now_ms + random_below(&s->random, REPORT_LATE_MS);
    /* Jobs of one queue are reported in order. */
    for (size_t i = 0; i < s->finished_count; i++) {
        due = s->finished[i].due_ms > due ? s->finished[i].due_ms : due;
    }
    s->finished[s->finished_count++] = (struct sim_finished){.job = job, .due_ms = due};
}

static void disk_died(struct sim *s, struct core_job *job, int error)
{
    if (!sim_disk_dead(s)) {
        sim_fail(s, "job %d failed: %s", (int)job->kind, error_name(error));
    }
    s->crashed = true;
    finish(s, job);
}

/* --- the log -------------------------------------------------------------------------------------------------------
 */

/* All saves that wait, with one sync. */
static void save_group(struct sim *s)
{
    struct list group;
    list_init(&group);
    bool must_sync = false;
    int error = 0;
    while (error == 0 && !list_empty(&s->log_queue.jobs) &&
           list_first(&s->log_queue.jobs, struct core_job, node)->kind == CORE_SAVE) {
        struct core_job *job = container_of(list_pop_front(&s->log_queue.jobs), struct core_job, node);
        list_push_back(&group, &job->node);
        const struct core_save *save = &job->save;
        const struct raft_hard_state none = {0};
        error = wal_save(s->wal, save->entries, save->count,
                         raft_hard_state_equal(save->hard_state, none) ? NULL : &save->hard_state);
        must_sync |= save->must_sync;
    }
    if (error == 0 && must_sync) {
        error = wal_sync(s->wal);
    }
    struct list *node;
    while ((node = list_pop_front(&group)) != NULL) {
        struct core_job *job = container_of(node, struct core_job, node);
        if (error != 0 || sim_disk_dead(s)) {
            disk_died(s, job, error);
            continue;
        }
        for (size_t i = 0; i < job->save.count; i++) {
            sim_check_synced(&s->check, &job->save.entries[i]);
        }
        finish(s, job);
    }
}

static int checkpoint(struct sim *s, struct core_checkpoint *c)
{
    char *reason = NULL;
    int error = snap_file_write(memory_fs_vtable(s->disk), SNAP_DIR, c->at, &c->conf, c->data, &reason);
    if (error == 0) {
        error = wal_save_snapshot(s->wal, c->at, &c->conf);
    }
    if (error == 0) {
        error = wal_release(s->wal, c->at.index, 1 + s->life % 3, NULL);
    }
    if (error == 0) {
        error = snap_file_purge(memory_fs_vtable(s->disk), SNAP_DIR, 2, &reason);
    }
    free(reason);
    c->first_index = wal_first_index(s->wal);
    return error;
}

static int log_read(struct sim *s, struct core_log_read *read)
{
    char *reason = NULL;
    int error = wal_read(s->wal, read->from, read->to, read->max_bytes, &read->entries, &read->count, &reason);
    free(reason);
    return error;
}

static void run_log(struct sim *s)
{
    while (!list_empty(&s->log_queue.jobs) && !s->crashed) {
        struct core_job *job = list_first(&s->log_queue.jobs, struct core_job, node);
        sim_trace(s, "log job", job->kind, memory_fs_calls(s->disk));
        if (job->kind == CORE_SAVE) {
            save_group(s);
            continue;
        }
        list_remove(&job->node);
        job->error = job->kind == CORE_CHECKPOINT ? checkpoint(s, &job->checkpoint) : log_read(s, &job->log_read);
        if (sim_disk_dead(s) || (job->error != 0 && job->error != ERR_ABSENT)) {
            disk_died(s, job, job->error);
        } else {
            finish(s, job);
        }
    }
    if (!s->crashed) {
        wal_prepare(s->wal);
        s->crashed = sim_disk_dead(s);
    }
}

/* --- the store, the worker -----------------------------------------------------------------------------------------
 */

static void run_store_job(struct sim *s, struct core_job *job)
{
    sim_trace(s, "store job", job->kind, job->kind == CORE_COMMIT ? job->commit.index : 0);
    switch (job->kind) {
    case CORE_COMMIT:
        job->error = backend_commit(s->backend, &job->commit);
        break;
    case CORE_VIEW:
        job->error = backend_view_open(s->backend, &job->view);
        break;
    default:
        job->error = backend_repack(s->backend, job->repack.budget_bytes, &job->repack.cursor);
        break;
    }
    if (job->error != 0) {
        sim_fail(s, "store job %d failed: %s", (int)job->kind, error_name(job->error));
    }
    finish(s, job);
}

static void run_queue(struct sim *s, struct sim_queue *queue)
{
    if (s->now_ms < queue->due_ms || s->crashed) {
        return;
    }
    queue->due_ms = SIM_NEVER;
    if (queue == &s->log_queue) {
        run_log(s);
        return;
    }
    struct list *node;
    while ((node = list_pop_front(&queue->jobs)) != NULL) {
        struct core_job *job = container_of(node, struct core_job, node);
        if (queue == &s->store_queue) {
            run_store_job(s, job);
        } else {
            job->error = job->work.run(job->work.arg);
            finish(s, job);
        }
    }
}

static void report(struct sim *s)
{
    size_t done = 0;
    while (done < s->finished_count && s->finished[done].due_ms <= s->now_ms) {
        struct core_job *job = s->finished[done++].job;
        if (job->kind == CORE_COMMIT || job->kind == CORE_REPACK) {
            s->commits_told = backend_memory_commits(s->backend); /* one of them at a time */
        }
        core_job_done(s->core, job);
    }
    s->finished_count -= done;
    memmove(s->finished, s->finished + done, s->finished_count * sizeof s->finished[0]);
}

void sim_jobs_run(struct sim *s)
{
    run_queue(s, &s->log_queue);
    run_queue(s, &s->store_queue);
    run_queue(s, &s->work_queue);
    if (!s->crashed) {
        report(s);
    }
}

uint64_t sim_jobs_due(const struct sim *s)
{
    uint64_t due = s->finished_count > 0 ? s->finished[0].due_ms : SIM_NEVER;
    due = s->log_queue.due_ms < due ? s->log_queue.due_ms : due;
    due = s->store_queue.due_ms < due ? s->store_queue.due_ms : due;
    return s->work_queue.due_ms < due ? s->work_queue.due_ms : due;
}

/* --- from the core -------------------------------------------------------------------------------------------------
 */

static void checkpoint_data(struct sim *s, struct core_checkpoint *c)
{
    size_t count;
    const struct kv_member *members = kv_members(s->kv, &count);
    struct snap_file_member *list = mem_zalloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct snap_file_member){.id = members[i].id, .name = members[i].name};
    }
    buffer_free(&c->data_owner);
    snap_file_v2_json(&c->data_owner, list, count, NULL, 0, kv_cluster_version(s->kv));
    c->data = buffer_bytes(&c->data_owner);
    free(list);
}

static struct sim_queue *queue_of(struct sim *s, enum core_job_kind kind)
{
    switch (kind) {
    case CORE_SAVE:
    case CORE_CHECKPOINT:
    case CORE_LOG_READ:
        return &s->log_queue;
    case CORE_WORK:
        return &s->work_queue;
    default:
        return &s->store_queue;
    }
}

static void start(struct core_env *env, struct core_job *job)
{
    struct sim *s = container_of(env, struct sim, env);
    struct sim_queue *queue = queue_of(s, job->kind);
    list_push_back(&queue->jobs, &job->node);
    if (s->dying) {
        return;
    }
    if (job->kind == CORE_CHECKPOINT) {
        checkpoint_data(s, &job->checkpoint);
    }
    for (size_t i = 0; job->kind == CORE_SAVE && i < job->save.count; i++) {
        sim_check_saving(&s->check, &job->save.entries[i]);
    }
    if (queue->due_ms == SIM_NEVER) {
        uint64_t late = queue == &s->log_queue ? LOG_LATE_MS : queue == &s->store_queue ? STORE_LATE_MS : WORK_LATE_MS;
        queue->due_ms = s->now_ms + random_below(&s->random, late);
    }
}

static struct core_space space(struct core_env *env)
{
    (void)env;
    return (struct core_space){UINT64_MAX, UINT64_MAX};
}

static void queue_init(struct sim_queue *queue)
{
    list_init(&queue->jobs);
    queue->due_ms = SIM_NEVER;
}

void sim_jobs_init(struct sim *s)
{
    s->env = (struct core_env){.start = start, .space = space};
    queue_init(&s->log_queue);
    queue_init(&s->store_queue);
    queue_init(&s->work_queue);
    s->finished_count = 0;
}

/* The process is gone; its memory is taken apart in order all the same. Jobs come back as if they had been done, to
 * nobody's benefit: the core takes no turn any more. */
static void give_back(struct sim *s, struct core_job *job)
{
    job->error = 0;
    if (job->kind == CORE_LOG_READ) {
        job->error = job->log_read.count > 0 ? 0 : ERR_ABSENT;
    } else if (job->kind == CORE_VIEW && job->view == NULL) {
        CHECK(backend_view_open(s->backend, &job->view) == 0);
    } else if (job->kind == CORE_CHECKPOINT) {
        job->checkpoint.first_index = 0;
    }
    core_job_done(s->core, job);
}

void sim_jobs_abandon(struct sim *s)
{
    struct sim_queue *queues[] = {&s->log_queue, &s->store_queue, &s->work_queue};
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < s->finished_count; i++) {
            give_back(s, s->finished[i].job);
        }
        s->finished_count = 0;
        for (size_t i = 0; i < 3; i++) {
            struct list *node;
            while ((node = list_pop_front(&queues[i]->jobs)) != NULL) {
                struct core_job *job = container_of(node, struct core_job, node);
                if (job->kind == CORE_WORK) {
                    job->work.run(job->work.arg);
                }
                give_back(s, job);
                more = true;
            }
        }
    }
}
