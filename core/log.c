/* Carrying out what consensus asks for: jobs for the log, entries back from it, what became committed, who leads. */
#include "core/internal.h"

#include "base/canary.h"
#include "base/check.h"

static struct core_job *save_take(struct core *core)
{
    struct core_job *job = core->free_saves;
    if (job == NULL) {
        job = mem_zalloc(sizeof *job);
        list_init(&job->node);
        job->kind = CORE_SAVE;
    } else {
        core->free_saves = job->owner;
    }
    job->owner = core;
    return job;
}

static void saved(struct core_job *job)
{
    struct core *core = job->owner;
    struct core_save *save = &job->save;
    CHECK(job->error == 0 || (job->error == ERR_STOPPED && core->stopping));
    for (size_t i = 0; i < save->count; i++) {
        shared_unref(save->entries[i].data);
    }
    if (job->error != 0) {
        core->log_refused = true; /* raft is not told, so nothing that rests on it leaves */
    } else if (save->must_sync && !CANARY(ANSWER_BEFORE_SYNC)) {
        raft_durable(core->raft, save->save);
    }
    save->count = 0;
    job->owner = core->free_saves;
    core->free_saves = job;
}

static void save_start(struct core *core, const struct raft_update *update, struct raft_hard_state state)
{
    struct core_job *job = save_take(core);
    struct core_save *save = &job->save;
    if (update->append_count > save->capacity) {
        save->capacity = update->append_count;
        save->entries = mem_realloc(save->entries, save->capacity * sizeof *save->entries);
    }
    for (size_t i = 0; i < update->append_count; i++) {
        save->entries[i] = update->append[i];
        if (save->entries[i].data != NULL) {
            shared_ref(save->entries[i].data);
        }
    }
    save->count = update->append_count;
    if (state.term != 0 && state.commit < install_commit(core)) {
        state.commit = install_commit(core); /* the log says so already */
    }
    save->hard_state = state;
    save->must_sync = update->must_sync;
    save->save = update->save;
    job->done = saved;
    core->stats.saves_total++;
    core_job_start(core, job);
}

/* A hard state in which only the commit index moved may wait (raft.md "Persistence order"): it rides on the next save,
 * which saves a hop to the log's thread for each commit. */
static void save(struct core *core, const struct raft_update *update)
{
    if (update->append_count == 0 && !update->hard_state_changed) {
        return;
    }
    if (!update->must_sync) {
        core->unsaved_commit = update->hard_state;
        core->unsaved = true;
        return;
    }
    struct raft_hard_state state = {0};
    if (update->hard_state_changed) {
        state = update->hard_state;
    } else if (core->unsaved) {
        state = core->unsaved_commit;
    }
    core->unsaved = false;
    save_start(core, update, state);
}

/* --- messages --- */

static void send(struct core *core, const struct raft_message *messages, size_t count)
{
    if (count > 0 && core->env->send != NULL) {
        core->env->send(core->env, messages, count);
    }
}

void log_flush_commit(struct core *core)
{
    if (!core->unsaved) {
        return;
    }
    core->unsaved = false;
    const struct raft_update none = {0};
    save_start(core, &none, core->unsaved_commit);
}

static void log_read_done(struct core_job *job)
{
    struct core *core = job->owner;
    core->log_read_out = false;
    raft_log_entries(core->raft, job->log_read.from, job->log_read.entries, job->log_read.count, job->error);
    for (size_t i = 0; i < job->log_read.count; i++) {
        shared_unref(job->log_read.entries[i].data);
    }
    free(job->log_read.entries);
    job->log_read.entries = NULL;
}

static void log_read_start(struct core *core, const struct raft_update *update)
{
    if (!update->log_read.wanted || core->log_read_out) {
        return;
    }
    core->log_read_out = true;
    core->log_read = (struct core_job){.kind = CORE_LOG_READ,
                                       .owner = core,
                                       .done = log_read_done,
                                       .log_read = {.from = update->log_read.from,
                                                    .to = update->log_read.to,
                                                    .max_bytes = update->log_read.max_bytes}};
    list_init(&core->log_read.node);
    core_job_start(core, &core->log_read);
}

static void soft_state(struct core *core, const struct raft_update *update)
{
    bool lost = core->leading && (update->role != RAFT_LEADER || update->term != core->term);
    if (update->leader != RAFT_NONE && (update->leader != core->leader || update->term != core->elected_term)) {
        core->leader_news = true;
        core->elected_ms = core->now_ms;
        core->elected_term = update->term;
        core->stats.leader_changes_total++;
    }
    core->role = update->role;
    core->leader = update->leader;
    if (core->term != update->term) {
        core->term = update->term;
        watch_set_term(core->hub, core->term);
    }
    if (lost) {
        core->leading = false;
        clock_leader_changed(core, false);
    }
}

/* Everything but what may bring new events: the update is open. */
static void take_up(struct core *core, const struct raft_update *update)
{
    save(core, update);
    send(core, update->messages, update->message_count);
    for (size_t i = 0; i < update->image_count && core->env->send_image != NULL; i++) {
        image_wanted(core, &update->images[i]);
    }
    if (update->soft_changed) {
        soft_state(core, update);
    }
    if (update->commit > core->commit) {
        core->commit = update->commit;
    }
    for (size_t i = 0; i < update->read_count; i++) {
        read_answered(core, &update->reads[i]);
    }
    log_read_start(core, update);
    if (update->snapshot != NULL) {
        install_begin(core, update->snapshot);
    }
    core->raft_deadline_ms = update->deadline_ms;
}

/* Those who wait for a leader, or for another one. */
static void tell_waiting(struct core *core)
{
    if (core->leader_news) {
        core->leader_news = false;
        propose_leader_changed(core);
        read_leader_changed(core);
        lease_call_leader_changed(core);
    }
    forwarded_release(core);
    if (core->leader != RAFT_NONE && !list_empty(&core->waiting)) {
        propose_waiting(core);
    }
}

static void taken_up(struct core *core, struct raft_save given)
{
    raft_update_done(core->raft);
    if (CANARY(ANSWER_BEFORE_SYNC)) {
        raft_durable(core->raft, given);
    }
}

void log_carry_out(struct core *core)
{
    while (raft_update_pending(core->raft)) {
        const struct raft_update *update = raft_update(core->raft);
        take_up(core, update);
        taken_up(core, update->save);
        tell_waiting(core);
    }
}
