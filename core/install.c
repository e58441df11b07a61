/* An image from the leader takes the place of the store. A new generation (store, index, leases, alarms, members) is
 * built beside the one that serves, by another thread, and checked while it is built. Then, in this order, so that a
 * crash at any step starts again from the file that was received (design.md "Snapshot files"):
 *
 *     BUILDING   CORE_INSTALL: the new store under a name of its own; the member goes on as before
 *     WAITING    for what the old store has under way: an entry between two steps, a commit, a checkpoint
 *     RECORDING  CORE_CHECKPOINT: the .snap file, the log's snapshot record, the commit index: from here on the member
 *                is at the image's position, whatever happens
 *     PLACING    CORE_PLACE: the new store gets the old one's name
 *     then, in one go, the core works with the new generation, raft's log begins behind the image, and the answer to
 *     the leader goes out.
 *
 * From RECORDING on nothing is applied and nothing goes to the store. Reads that were open go on in the old generation,
 * which is kept until the last of them ends; watchers go on from their position in the new one's history. */
#include "core/internal.h"

#include "base/check.h"

#define RETIRED_CHECK_MS 100

enum install_stage { INSTALL_NONE, INSTALL_BUILDING, INSTALL_WAITING, INSTALL_RECORDING, INSTALL_PLACING };

/* --- generations that are read from --- */

static void retire(struct core *core, struct kv *kv)
{
    core->retired = mem_realloc(core->retired, (core->retired_count + 1) * sizeof(struct kv *));
    core->retired[core->retired_count++] = kv;
}

static void retire_unused(struct core *core)
{
    size_t kept = 0;
    for (size_t i = 0; i < core->retired_count; i++) {
        struct kv *kv = core->retired[i];
        if (kv_unused(kv)) {
            core->env->retire(core->env, kv);
        } else {
            core->retired[kept++] = kv;
        }
    }
    core->retired_count = kept;
}

/* --- the end of an install --- */

static void over(struct core *core)
{
    raft_conf_state_free(&core->install.conf);
    core->install.kv = NULL;
    core->install.stage = INSTALL_NONE;
}

static void drop_image(struct core *core, struct raft_position at)
{
    if (core->env->drop_image != NULL) {
        core->env->drop_image(core->env, at);
    }
}

static void give_up(struct core *core)
{
    drop_image(core, core->install.at);
    if (core->install.kv != NULL) {
        core->env->retire(core->env, core->install.kv);
    }
    over(core);
    raft_snapshot_failed(core->raft);
}

/* A hash of the old generation says nothing about the new one's compaction. */
static void drop_compact_hash(struct core *core)
{
    if (core->compact_hash != NULL) {
        core_hash_cancel(core->compact_hash);
        core->compact_hash = NULL;
    }
}

/* All in one turn. */
static void swap(struct core *core)
{
    struct kv *old = core->kv, *kv = core->install.kv;
    const struct raft_position at = core->install.at;
    CHECK(kv_applied_index(kv) == at.index && at.index >= core->applied);
    drop_compact_hash(core);
    core->kv = kv;
    core->applied = at.index;
    core->commit = core->commit > at.index ? core->commit : at.index;
    core->checkpoint_index = at.index;
    core->commit_due_ms = core->commit_retry_ms = 0;
    core->commit_wanted = core->repack_wanted = core->disk_full = false;
    core->unsaved = false;
    raft_snapshot_done(core->raft, at, &core->install.conf);
    kv_set_watch(old, NULL);
    kv_set_watch(kv, core->hub);
    watch_set_source(core->hub, kv_watch_source(kv));
    watch_restore(core->hub);
    core->stats.images_installed_total++;
    over(core);
    retire(core, old);
    store_applied(core);
    if (core->env->members_changed != NULL) {
        core->env->members_changed(core->env);
    }
}

static void placed(struct core_job *job)
{
    CHECK(job->error == 0);
    swap(job->owner);
}

/* --- steps --- */

static void start_job(struct core *core, enum core_job_kind kind, void (*done)(struct core_job *job))
{
    struct core_job *job = &core->install.job;
    job->kind = kind;
    job->owner = core;
    job->done = done;
    list_init(&job->node);
    core_job_start(core, job);
}

static void recorded(struct core_job *job)
{
    struct core *core = job->owner;
    int error = job->error;
    raft_conf_state_free(&job->checkpoint.conf);
    buffer_free(&job->checkpoint.data_owner);
    CHECK(error == 0 || error == ERR_DISK_FULL);
    if (error != 0) {
        give_up(core); /* the leader comes again */
        return;
    }
    core->install.stage = INSTALL_PLACING;
    job->install = (struct core_install){.at = core->install.at, .kv = core->install.kv};
    start_job(core, CORE_PLACE, placed);
}

static bool quiet(const struct core *core)
{
    return !core->applying && !core->commit_out && !core->repack_out && !core->defragment_out &&
           !core->checkpoint_out && !core->log_read_out;
}

static void record(struct core *core)
{
    if (core->applied > core->install.at.index) {
        give_up(core);
        return;
    }
    core->install.stage = INSTALL_RECORDING;
    core->install.job.checkpoint = (struct core_checkpoint){.at = core->install.at, .kv = core->install.kv};
    raft_conf_state_copy(&core->install.job.checkpoint.conf, &core->install.conf);
    start_job(core, CORE_CHECKPOINT, recorded);
}

static void built(struct core_job *job)
{
    struct core *core = job->owner;
    core->install.kv = job->error == 0 ? job->install.kv : NULL;
    if (job->error != 0 || core->stopping) {
        give_up(core);
    } else {
        core->install.stage = INSTALL_WAITING;
    }
}

void install_begin(struct core *core, const struct raft_message *message)
{
    CHECK(core->install.stage == INSTALL_NONE);
    core->install.stage = INSTALL_BUILDING;
    core->install.at = message->snapshot;
    raft_conf_state_copy(&core->install.conf, message->snapshot_conf);
    core->install.job.install = (struct core_install){.at = message->snapshot};
    start_job(core, CORE_INSTALL, built);
}

void install_step(struct core *core, const struct raft_message *message)
{
    bool before = raft_status(core->raft).installing;
    raft_step(core->raft, message);
    bool wanted = !before && raft_status(core->raft).installing;
    bool in_use = core->install.stage != INSTALL_NONE && core->install.at.index == message->snapshot.index;
    if (!wanted && !in_use) {
        drop_image(core, message->snapshot);
    }
}

void install_slice(struct core *core)
{
    if (core->install.stage == INSTALL_WAITING) {
        if (core->stopping) {
            give_up(core);
        } else if (quiet(core)) {
            record(core);
        }
    }
    if (core->retired_count > 0) {
        retire_unused(core);
    }
}

bool install_holds(const struct core *core)
{
    return core->install.stage >= INSTALL_RECORDING;
}

uint64_t install_commit(const struct core *core)
{
    return install_holds(core) ? core->install.at.index : 0;
}

bool install_idle(const struct core *core)
{
    return core->install.stage == INSTALL_NONE;
}

/* When one of the things that WAITING waits for ends, a turn comes. */
uint64_t install_deadline(const struct core *core)
{
    return core->retired_count > 0 ? core->now_ms + RETIRED_CHECK_MS : UINT64_MAX;
}

void install_free(struct core *core)
{
    for (size_t i = 0; i < core->retired_count; i++) {
        core->env->retire(core->env, core->retired[i]);
    }
    free(core->retired);
    if (core->install.kv != NULL) {
        core->env->retire(core->env, core->install.kv); /* built, and never used */
    }
    raft_conf_state_free(&core->install.conf);
}
