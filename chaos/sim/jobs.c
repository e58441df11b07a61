/* The core's world: what the server's threads do (cmd/kedge/engine.c), done late by a random while in virtual time. A
 * job is carried out at one moment and reported at a later one; a crash may come in between. */
#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/image.h"
#include "chaos/sim/internal.h"
#include "raft/wal/snap_file.h"
#include "tests/support/memory_fs.h"
#include <stdlib.h>

#define LOG_LATE_MS 4
#define STORE_LATE_MS 30
#define WORK_LATE_MS 20
#define REPORT_LATE_MS 3
#define FULL_DISK_RETRY_MS 100
#define SNAP_DIR "member/snap"

static void finish(struct sim_member *m, struct core_job *job)
{
    if (m->finished_count == m->finished_capacity) {
        m->finished_capacity = m->finished_capacity * 2 + 64;
        m->finished = mem_realloc(m->finished, m->finished_capacity * sizeof *m->finished);
    }
    uint64_t due = m->sim->now_ms + random_below(&m->sim->random, REPORT_LATE_MS);
    /* Jobs of one queue are reported in order. */
    for (size_t i = 0; i < m->finished_count; i++) {
        due = m->finished[i].due_ms > due ? m->finished[i].due_ms : due;
    }
    m->finished[m->finished_count++] = (struct sim_finished){.job = job, .due_ms = due};
}

static void disk_died(struct sim_member *m, struct core_job *job, int error)
{
    if (!sim_disk_dead(m)) {
        sim_fail(m->sim, "job %d failed: %s", (int)job->kind, error_name(error));
    }
    m->crashed = true;
    finish(m, job);
}

/* --- the log -------------------------------------------------------------------------------------------------------
 */

static bool next_is_save(const struct sim_member *m)
{
    const struct list *jobs = &m->log_queue.jobs;
    return !list_empty(jobs) && list_first(jobs, struct core_job, node)->kind == CORE_SAVE;
}

static void saved(struct sim_member *m, struct list *group, bool synced, int error)
{
    struct list *node;
    while ((node = list_pop_front(group)) != NULL) {
        struct core_job *job = container_of(node, struct core_job, node);
        if (error != 0 || sim_disk_dead(m)) {
            disk_died(m, job, error);
            continue;
        }
        if (synced) {
            sim_check_synced(m, job->save.entries, job->save.count, &job->save.hard_state);
        }
        finish(m, job);
    }
}

/* All saves that wait, with one sync. False: there is no space for the next one. */
static bool save_group(struct sim_member *m)
{
    struct list group;
    list_init(&group);
    bool must_sync = false;
    int error = 0;
    while (error == 0 && next_is_save(m)) {
        struct core_job *job = list_first(&m->log_queue.jobs, struct core_job, node);
        const struct core_save *save = &job->save;
        const struct raft_hard_state none = {0};
        error = wal_save(m->wal, save->entries, save->count,
                         raft_hard_state_equal(save->hard_state, none) ? NULL : &save->hard_state);
        if (error != ERR_DISK_FULL) {
            list_remove(&job->node);
            list_push_back(&group, &job->node);
            must_sync |= save->must_sync;
        }
    }
    bool full = error == ERR_DISK_FULL;
    error = full ? 0 : error;
    if (error == 0 && must_sync) {
        error = wal_sync(m->wal);
    }
    saved(m, &group, must_sync, error);
    return !full;
}

static int checkpoint(struct sim_member *m, struct core_checkpoint *c)
{
    char *reason = NULL;
    int error = snap_file_write(memory_fs_vtable(m->disk), SNAP_DIR, c->at, &c->conf, c->data, &reason);
    if (error == 0) {
        error = wal_save_snapshot(m->wal, c->at, &c->conf);
    }
    if (error == 0) {
        error = wal_release(m->wal, c->at.index, 1 + m->life % 3, NULL);
    }
    if (error == 0) {
        error = snap_file_purge(memory_fs_vtable(m->disk), SNAP_DIR, 2, &reason);
    }
    free(reason);
    c->first_index = wal_first_index(m->wal);
    if (error == 0 && c->kv != NULL && !sim_disk_dead(m)) { /* of an image: the log goes on behind it */
        sim_check_image(m, c->at);
    }
    return error;
}

static int log_read(struct sim_member *m, struct core_log_read *read)
{
    char *reason = NULL;
    int error = wal_read(m->wal, read->from, read->to, read->max_bytes, &read->entries, &read->count, &reason);
    free(reason);
    return error;
}

static void other_job(struct sim_member *m, struct core_job *job)
{
    list_remove(&job->node);
    job->error = job->kind == CORE_CHECKPOINT ? checkpoint(m, &job->checkpoint) : log_read(m, &job->log_read);
    if (sim_disk_dead(m) || (job->error != 0 && job->error != ERR_ABSENT && job->error != ERR_DISK_FULL)) {
        disk_died(m, job, job->error);
    } else {
        finish(m, job);
    }
}

/* Saves wait for space, in their order. */
static void pass_by(struct sim_member *m)
{
    list_each(node, &m->log_queue.jobs)
    {
        struct core_job *job = container_of(node, struct core_job, node);
        if (core_job_passes_saves(job) && !m->crashed) {
            other_job(m, job);
        }
    }
}

static void run_log(struct sim_member *m)
{
    bool full = false;
    while (!list_empty(&m->log_queue.jobs) && !m->crashed && !full) {
        struct core_job *job = list_first(&m->log_queue.jobs, struct core_job, node);
        sim_trace(m->sim, "log job", job->kind, memory_fs_calls(m->disk));
        if (job->kind == CORE_SAVE) {
            full = !save_group(m);
        } else {
            other_job(m, job);
        }
    }
    if (full) {
        pass_by(m);
    }
    if (!m->crashed) {
        full |= wal_prepare(m->wal) == ERR_DISK_FULL;
        m->crashed = sim_disk_dead(m);
    }
    if (full) {
        m->log_queue.due_ms = m->sim->now_ms + FULL_DISK_RETRY_MS;
    }
}

/* --- the store, the worker -----------------------------------------------------------------------------------------
 */

static void run_store_job(struct sim_member *m, struct core_job *job)
{
    sim_trace(m->sim, "store job", job->kind, job->kind == CORE_COMMIT ? job->commit.index : 0);
    switch (job->kind) {
    case CORE_COMMIT:
        job->error = backend_commit(m->backend, &job->commit);
        break;
    case CORE_VIEW:
        job->error = backend_view_open(m->backend, &job->view);
        break;
    case CORE_PLACE:
        sim_image_place(m, job->install.at);
        break;
    case CORE_DEFRAGMENT: /* nothing to gain in memory */
        break;
    default:
        job->error = backend_repack(m->backend, job->repack.budget_bytes, &job->repack.cursor);
        break;
    }
    if (job->error != 0) {
        sim_fail(m->sim, "store job %d failed: %s", (int)job->kind, error_name(job->error));
    }
    finish(m, job);
}

static void run_work(struct sim_member *m, struct core_job *job)
{
    if (job->kind == CORE_INSTALL) {
        job->error = sim_image_build(m, job->install.at, &job->install.kv);
    } else {
        job->error = job->work.run(job->work.arg);
    }
    finish(m, job);
}

static void run_queue(struct sim_member *m, struct sim_queue *queue)
{
    if (m->sim->now_ms < queue->due_ms || m->crashed) {
        return;
    }
    queue->due_ms = SIM_NEVER;
    if (queue == &m->log_queue) {
        run_log(m);
        return;
    }
    struct list *node;
    while ((node = list_pop_front(&queue->jobs)) != NULL) {
        struct core_job *job = container_of(node, struct core_job, node);
        if (queue == &m->store_queue) {
            run_store_job(m, job);
        } else {
            run_work(m, job);
        }
    }
}

static bool report(struct sim_member *m)
{
    size_t done = 0;
    while (done < m->finished_count && m->finished[done].due_ms <= m->sim->now_ms) {
        struct core_job *job = m->finished[done++].job;
        if (job->kind == CORE_COMMIT || job->kind == CORE_REPACK) {
            m->commits_told = backend_memory_commits(m->backend); /* one of them at a time */
        }
        core_job_done(m->core, job);
    }
    if (done == 0) {
        return false;
    }
    m->finished_count -= done;
    memmove(m->finished, m->finished + done, m->finished_count * sizeof m->finished[0]);
    return true;
}

bool sim_jobs_run(struct sim_member *m)
{
    run_queue(m, &m->log_queue);
    run_queue(m, &m->store_queue);
    run_queue(m, &m->work_queue);
    return !m->crashed && report(m);
}

uint64_t sim_jobs_due(const struct sim_member *m)
{
    uint64_t due = m->finished_count > 0 ? m->finished[0].due_ms : SIM_NEVER;
    due = m->log_queue.due_ms < due ? m->log_queue.due_ms : due;
    due = m->store_queue.due_ms < due ? m->store_queue.due_ms : due;
    return m->work_queue.due_ms < due ? m->work_queue.due_ms : due;
}

/* --- from the core -------------------------------------------------------------------------------------------------
 */

static void checkpoint_data(struct sim_member *m, struct core_checkpoint *c)
{
    size_t count;
    const struct kv_member *members = kv_members(c->kv != NULL ? c->kv : m->kv, &count);
    struct snap_file_member *list = mem_zalloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct snap_file_member){.id = members[i].id, .name = members[i].name};
    }
    buffer_free(&c->data_owner);
    snap_file_v2_json(&c->data_owner, list, count, NULL, 0, kv_cluster_version(c->kv != NULL ? c->kv : m->kv));
    c->data = buffer_bytes(&c->data_owner);
    free(list);
}

static struct sim_queue *queue_of(struct sim_member *m, enum core_job_kind kind)
{
    switch (kind) {
    case CORE_SAVE:
    case CORE_CHECKPOINT:
    case CORE_LOG_READ:
        return &m->log_queue;
    case CORE_WORK:
    case CORE_INSTALL:
        return &m->work_queue;
    default:
        return &m->store_queue;
    }
}

static void start(struct core_env *env, struct core_job *job)
{
    struct sim_member *m = container_of(env, struct sim_member, env);
    struct sim_queue *queue = queue_of(m, job->kind);
    list_push_back(&queue->jobs, &job->node);
    if (m->dying) {
        return;
    }
    if (job->kind == CORE_CHECKPOINT) {
        checkpoint_data(m, &job->checkpoint);
    }
    if (job->kind == CORE_SAVE) {
        sim_check_saving(m, job->save.entries, job->save.count);
    }
    uint64_t late = queue == &m->log_queue ? LOG_LATE_MS : queue == &m->store_queue ? STORE_LATE_MS : WORK_LATE_MS;
    uint64_t due = m->sim->now_ms + random_below(&m->sim->random, late);
    due = due < m->stalled_ms ? m->stalled_ms : due;
    queue->due_ms = due < queue->due_ms ? due : queue->due_ms;
}

static struct core_space space(struct core_env *env)
{
    struct wal_space left = wal_space(container_of(env, struct sim_member, env)->wal);
    return (struct core_space){.ordinary_bytes = left.ordinary_bytes, .total_bytes = left.total_bytes};
}

static void queue_init(struct sim_queue *queue)
{
    list_init(&queue->jobs);
    queue->due_ms = SIM_NEVER;
}

void sim_jobs_init(struct sim_member *m)
{
    m->env = (struct core_env){.start = start, .space = space};
    sim_net_env(&m->env);
    queue_init(&m->log_queue);
    queue_init(&m->store_queue);
    queue_init(&m->work_queue);
    m->finished_count = 0;
}

/* The process is gone; its memory is taken apart in order all the same. Jobs come back as if they had been done, to
 * nobody's benefit: the core takes no turn any more. */
static void give_back(struct sim_member *m, struct core_job *job)
{
    job->error = 0;
    if (job->kind == CORE_LOG_READ) {
        job->error = job->log_read.count > 0 ? 0 : ERR_ABSENT;
    } else if (job->kind == CORE_VIEW && job->view == NULL) {
        CHECK(backend_view_open(m->backend, &job->view) == 0);
    } else if (job->kind == CORE_CHECKPOINT) {
        job->checkpoint.first_index = 0;
    } else if (job->kind == CORE_INSTALL && job->install.kv == NULL) {
        job->error = ERR_STOPPED;
    }
    core_job_done(m->core, job);
}

void sim_jobs_abandon(struct sim_member *m)
{
    struct sim_queue *queues[] = {&m->log_queue, &m->store_queue, &m->work_queue};
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < m->finished_count; i++) {
            give_back(m, m->finished[i].job);
        }
        m->finished_count = 0;
        for (size_t i = 0; i < 3; i++) {
            struct list *node;
            while ((node = list_pop_front(&queues[i]->jobs)) != NULL) {
                struct core_job *job = container_of(node, struct core_job, node);
                if (job->kind == CORE_WORK) {
                    job->work.run(job->work.arg);
                }
                give_back(m, job);
                more = true;
            }
        }
    }
}
