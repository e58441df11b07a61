#include "core/internal.h"

#include "base/check.h"

/* One turn of the core. The order matters only for latency: what events brought is turned into log jobs first, so that
 * the disk works while the rest of the turn runs; then what became committed is applied and answered; background work
 * (compaction, leases, the store) comes last and in bounded slices. */
bool core_turn(struct core *core, uint64_t now_ms, int64_t wall_ms)
{
    CHECK(now_ms >= core->now_ms);
    core->now_ms = now_ms;
    core->wall_ms = wall_ms;
    core->stats.turns_total++;

    propose_stamp(core);
    raft_tick(core->raft, now_ms);
    members_slice(core);
    read_ask(core);
    log_carry_out(core);
    bool more = apply_slice(core);
    more |= read_serve(core);
    more |= propose_timeouts(core);
    more |= read_retry(core);
    more |= compact_slice(core);
    more |= watch_step(core->hub, now_ms, CORE_WATCH_BUDGET);
    more |= clock_slice(core);
    more |= lease_call_slice(core);
    space_slice(core);
    publish_slice(core);
    view_slice(core);
    install_slice(core);
    store_slice(core);
    more |= kv_tidy(core->kv);
    log_carry_out(core); /* what the slices proposed */
    core_check(core);
    return more || raft_update_pending(core->raft);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t core_deadline(const struct core *core)
{
    uint64_t at = raft_update_pending(core->raft) ? core->now_ms : core->raft_deadline_ms;
    at = earlier(at, store_deadline(core));
    if (core->stopping) { /* nothing else is begun any more */
        return at;
    }
    at = earlier(at, propose_deadline(core));
    at = earlier(at, members_deadline(core));
    at = earlier(at, read_deadline(core));
    at = earlier(at, watch_deadline(core->hub));
    at = earlier(at, compact_deadline(core));
    at = earlier(at, view_deadline(core));
    at = earlier(at, install_deadline(core));
    at = earlier(at, defragment_deadline(core));
    at = earlier(at, space_deadline(core));
    at = earlier(at, clock_deadline(core));
    at = earlier(at, lease_call_deadline(core));
    return earlier(at, publish_deadline(core));
}

struct core *core_new(const struct core_config *config, struct raft *raft, struct kv *kv, struct watch_hub *hub,
                      struct core_env *env, uint64_t checkpoint_index, uint64_t now_ms, int64_t wall_ms)
{
    struct core *core = mem_zalloc(sizeof *core);
    core->config = *config;
    if (core->config.heartbeat_ms == 0) {
        core->config.heartbeat_ms = 100;
    }
    if (core->config.election_ms == 0) {
        core->config.election_ms = 1000;
    }
    if (core->config.request_timeout_ms == 0) {
        core->config.request_timeout_ms = 5000 + 2 * core->config.election_ms;
    }
    if (core->config.batch_interval_ms == 0) {
        core->config.batch_interval_ms = 100;
    }
    if (core->config.snapshot_count == 0) {
        core->config.snapshot_count = 10000;
    }
    if (core->config.expiry_interval_ms == 0) {
        core->config.expiry_interval_ms = 500;
    }
    core->env = env;
    core->raft = raft;
    core->kv = kv;
    core->hub = hub;
    core->now_ms = now_ms;
    core->wall_ms = wall_ms;
    core->applied = kv_applied_index(kv);
    core->commit = core->applied;
    core->checkpoint_index = checkpoint_index;
    list_init(&core->timeouts);
    list_init(&core->fresh);
    list_init(&core->held);
    list_init(&core->doubtful);
    list_init(&core->waiting);
    list_init(&core->view_waits);
    list_init(&core->views);
    list_init(&core->hashes);
    list_init(&core->compact_waits);
    list_init(&core->defragment_waits);
    list_init(&core->hash_waits);
    list_init(&core->commit_job.node);
    propose_init(core);
    members_init(core);
    read_init(core);
    lease_call_init(core);
    return core;
}

/* Everything that is open. */
static void end_all(struct core *core)
{
    propose_fail_all(core, ERR_STOPPED);
    members_fail_all(core, ERR_STOPPED);
    version_stop(core);
    read_fail_all(core, ERR_STOPPED);
    lease_call_fail_all(core, ERR_STOPPED);
    compact_fail_all(core, ERR_STOPPED);
    defragment_fail_all(core, ERR_STOPPED);
    hash_fail_all(core, ERR_STOPPED);
    view_fail_all(core, ERR_STOPPED);
    forwarded_drop_all(core);
}

void core_free(struct core *core)
{
    CHECK(core->jobs_out == 0);
    end_all(core);
    if (core->applying) {
        shared_unref(core->apply_data);
    }
    while (core->free_saves != NULL) {
        struct core_job *job = core->free_saves;
        core->free_saves = job->owner;
        free(job->save.entries);
        free(job);
    }
    install_free(core);
    defragment_free(core);
    kv_close(core->kv);
    raft_free(core->raft);
    arena_free(&core->apply_arena);
    arena_free(&core->spent);
    buffer_free(&core->repack_job.repack.cursor);
    free(core);
}

void core_job_start(struct core *core, struct core_job *job)
{
    core->jobs_out++;
    job->error = 0;
    core->env->start(core->env, job);
}

void core_job_done(struct core *core, struct core_job *job)
{
    CHECK(core->jobs_out > 0);
    core->jobs_out--;
    job->done(job);
}

void core_step(struct core *core, const struct raft_message *message)
{
    if (message->type == RAFT_MSG_SNAPSHOT) {
        install_step(core, message);
    } else if (!forwarded_hold(core, message) && !forwarded_hold_stand(core, message)) {
        raft_step(core->raft, message);
    }
}

void core_unreachable(struct core *core, uint64_t id)
{
    raft_unreachable(core->raft, id);
}

void core_snapshot_reported(struct core *core, uint64_t id, bool taken)
{
    raft_snapshot_reported(core->raft, id, taken);
}

void core_advance_election(struct core *core, uint64_t by_ms)
{
    raft_advance_election(core->raft, by_ms);
}

void core_stop(struct core *core)
{
    core->stopping = true;
    end_all(core);
    log_flush_commit(core);
}

bool core_stopped(const struct core *core)
{
    return core->stopping && core->jobs_out == 0 && !core->applying && core->views_out == 0 && install_idle(core) &&
           store_idle(core);
}

bool core_ready(const struct core *core)
{
    return core->ready;
}

void core_on_ready(struct core *core, void (*ready)(void *arg), void *arg)
{
    core->on_ready = ready;
    core->on_ready_arg = arg;
}

struct kv *core_kv(struct core *core)
{
    return core->kv;
}

struct watch_hub *core_watch(struct core *core)
{
    return core->hub;
}

struct raft_status core_raft_status(const struct core *core)
{
    return raft_status(core->raft);
}

uint64_t core_now_ms(const struct core *core)
{
    return core->now_ms;
}

uint64_t core_member_id(const struct core *core)
{
    return core->config.member_id;
}

uint64_t core_cluster_id(const struct core *core)
{
    return core->config.cluster_id;
}

bool core_has_leader(const struct core *core)
{
    return core->leader != RAFT_NONE;
}

struct core_stats core_stats(const struct core *core)
{
    struct core_stats stats = core->stats;
    stats.proposals_committed = core->commit;
    return stats;
}

void core_header(const struct core *core, Etcdserverpb__ResponseHeader *header, bool revision)
{
    header->cluster_id = core->config.cluster_id;
    header->member_id = core->config.member_id;
    header->raft_term = core->term;
    if (revision) {
        header->revision = kv_revision(core->kv);
    }
}

/* What must hold after every turn, whatever came in. */
void core_check(const struct core *core)
{
    CHECK(core->applied <= core->commit);
    CHECK(kv_applied_index(core->kv) == core->applied, "the store is at %llu, the core at %llu",
          (unsigned long long)kv_applied_index(core->kv), (unsigned long long)core->applied);
    CHECK(core->checkpoint_index <= core->applied);
}
