/* What was applied, on its way to the store: batches in the background, checkpoints of the log once the store is
 * durable that far, repacking when there is nothing better to do. */
#include "core/internal.h"

#include "base/check.h"

#define DISK_FULL_RETRY_MS 1000
#define REPACK_SLICE_BYTES ((size_t)1 << 20)

void store_applied(struct core *core)
{
    if (core->commit_due_ms == 0 && kv_batch_wanted(core->kv)) {
        core->commit_due_ms = core->now_ms + core->config.batch_interval_ms;
    }
    if (kv_pending_bytes(core->kv) >= CORE_BATCH_BYTES) {
        core->commit_wanted = true;
    }
}

/* --- checkpoints --- */

static void checkpointed(struct core_job *job)
{
    struct core *core = job->owner;
    CHECK(job->error == 0 || job->error == ERR_DISK_FULL);
    core->checkpoint_out = false;
    if (job->error == 0) {
        core->checkpoint_index = job->checkpoint.at.index;
        core->stats.checkpoints_total++;
        if (job->checkpoint.first_index > 1) {
            raft_compact(core->raft, job->checkpoint.first_index - 1);
        }
    }
    raft_conf_state_free(&job->checkpoint.conf);
    buffer_free(&job->checkpoint.data_owner);
}

static bool checkpoint_due(const struct core *core, uint64_t stored)
{
    bool wanted = core->checkpoint_wanted_index > core->checkpoint_index && stored >= core->checkpoint_wanted_index;
    return wanted || stored >= core->checkpoint_index + core->config.snapshot_count;
}

/* "Once LMDB has durably committed index i" (design.md "Disk checkpoint and start"). A change of members that was
 * applied after i is in the configuration already; applying it again from the log changes nothing. */
static void checkpoint(struct core *core, struct raft_position stored)
{
    if (core->checkpoint_out || core->stopping || install_holds(core) || !checkpoint_due(core, stored.index)) {
        return;
    }
    core->checkpoint_job.kind = CORE_CHECKPOINT;
    core->checkpoint_job.owner = core;
    core->checkpoint_job.done = checkpointed;
    core->checkpoint_job.checkpoint = (struct core_checkpoint){.at = stored};
    raft_conf_state_copy(&core->checkpoint_job.checkpoint.conf, raft_conf(core->raft));
    core->checkpoint_out = true;
    log_flush_commit(core); /* the commit index in the log must cover the checkpoint (wal.md "Start-up order" 3) */
    core_job_start(core, &core->checkpoint_job);
}

static void committed(struct core_job *job)
{
    struct core *core = job->owner;
    const struct raft_position stored = {.index = job->commit.index, .term = job->commit.term};
    core->commit_out = false;
    kv_batch_done(core->kv, job->error);
    if (job->error == ERR_DISK_FULL) {
        core->commit_retry_ms = core->now_ms + DISK_FULL_RETRY_MS;
        core->given_up = core->stopping; /* all of it is in the log */
        space_disk_full(core);
    } else {
        CHECK(job->error == 0);
        core->disk_full = false;
        core->commit_retry_ms = 0;
        core->stats.commits_total++;
        checkpoint(core, stored);
    }
    store_applied(core);
}

/* What the log has not made durable must not get into the store: after a crash the store would be ahead of the log. */
static bool durable_in_log(const struct core *core)
{
    return raft_status(core->raft).durable_index >= core->applied;
}

/* When one of these ends, a turn comes. */
static bool commit_blocked(const struct core *core)
{
    return core->commit_out || core->repack_out || core->given_up || install_holds(core) || defragment_holds(core) ||
           !durable_in_log(core);
}

static void commit(struct core *core)
{
    bool due =
        core->commit_wanted || core->stopping || (core->commit_due_ms != 0 && core->now_ms >= core->commit_due_ms);
    if (!due || commit_blocked(core) || (core->now_ms < core->commit_retry_ms && !core->stopping)) {
        return;
    }
    core->commit_wanted = false;
    core->commit_due_ms = 0;
    if (!kv_batch_close(core->kv, &core->commit_job.commit)) {
        return;
    }
    core->commit_job.kind = CORE_COMMIT;
    core->commit_job.owner = core;
    core->commit_job.done = committed;
    core->commit_out = true;
    log_flush_commit(core);
    core_job_start(core, &core->commit_job);
}

/* --- repacking --- */

static void repacked(struct core_job *job)
{
    struct core *core = job->owner;
    CHECK(job->error == 0 || job->error == ERR_DISK_FULL);
    core->repack_out = false;
    core->repack_wanted = job->error == 0 && job->repack.cursor.len > 0;
}

static void repack(struct core *core)
{
    if (kv_repack_wanted(core->kv)) {
        core->repack_wanted = true;
        core->repack_job.repack.cursor.len = 0;
    }
    if (!core->repack_wanted || core->repack_out || core->commit_out || core->stopping || install_holds(core) ||
        defragment_holds(core)) {
        return;
    }
    core->repack_job.kind = CORE_REPACK;
    core->repack_job.owner = core;
    core->repack_job.done = repacked;
    core->repack_job.repack.budget_bytes = REPACK_SLICE_BYTES;
    core->repack_out = true;
    core_job_start(core, &core->repack_job);
}

void store_slice(struct core *core)
{
    defragment_patience(core);
    commit(core);
    repack(core);
    defragment_slice(core);
}

uint64_t store_deadline(const struct core *core)
{
    if (core->commit_due_ms == 0 || commit_blocked(core)) {
        return UINT64_MAX;
    }
    return core->commit_due_ms > core->commit_retry_ms ? core->commit_due_ms : core->commit_retry_ms;
}

bool store_idle(const struct core *core)
{
    bool stored = core->given_up || core->log_refused || !kv_batch_wanted(core->kv);
    return !core->commit_out && !core->repack_out && !core->defragment_out && !core->checkpoint_out && stored;
}
