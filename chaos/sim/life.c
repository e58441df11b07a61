/* A member's life: put together from its disk as cmd/kedge/member.c does it, taken apart by a crash. */
#include "base/error.h"
#include "chaos/sim/image.h"
#include "chaos/sim/internal.h"
#include "raft/ids.h"
#include "tests/support/memory_fs.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WAL_DIR "member/wal"
#define CLUSTER_ID UINT64_C(0xcdf818194e3a8c32)
#define LOG_CHUNK_BYTES ((size_t)1 << 16)

bool sim_disk_dead(const struct sim_member *m)
{
    return memory_fs_failed_call(m->disk)[0] != '\0';
}

/* false = something went wrong: the disk died, or a failure to report. */
static bool went_well(struct sim_member *m, int error, const char *what, char *reason)
{
    if (sim_disk_dead(m)) {
        m->crashed = true;
    } else if (error != 0) {
        sim_fail(m->sim, "%s: %s %s", what, error_name(error), reason == NULL ? "" : reason);
    }
    free(reason);
    return !m->crashed && error == 0;
}

/* Some lives have segments and checkpoints of a few entries, so that others need images soon; and others not, so that
 * what an image replaces stays in the log behind it. */
static bool short_log(const struct sim_member *m)
{
    return m->sim->short_logs && (m->serial + m->life) % 2 == 0;
}

static struct wal_config wal_settings(const struct sim_member *m)
{
    return (struct wal_config){.fs = memory_fs_vtable(m->disk),
                               .dir = WAL_DIR,
                               .segment_bytes = short_log(m) ? 512 : 8192 << (m->sim->config.seed % 4),
                               .reserve_bytes = 1024};
}

/* What a new cluster's log begins with: its members, committed. One that joins begins with nothing. */
static bool bootstrap(struct sim_member *m)
{
    struct arena arena = {0};
    struct raft_entry entries[SIM_MEMBERS_MAX];
    size_t count = 0;
    for (unsigned i = 0; m->first && i < m->sim->config.members; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://10.0.0.%u:2380", i + 1);
        const char *const urls[] = {url};
        struct bytes change = kv_bootstrap_conf_change(m->sim->first_ids[i], "sim", urls, 1, &arena);
        entries[count] = (struct raft_entry){
            .index = count + 1, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(change)};
        count++;
    }
    const struct raft_hard_state state = {.term = count == 0 ? 0 : 1, .commit = count};
    struct wal_config settings = wal_settings(m);
    char *reason = NULL;
    struct wal *wal = NULL;
    int error = wal_create(&settings, (struct wal_metadata){m->id, CLUSTER_ID}, count == 0 ? NULL : entries, count,
                           &state, &wal, &reason);
    for (size_t i = 0; i < count; i++) {
        shared_unref(entries[i].data);
    }
    arena_free(&arena);
    if (wal != NULL) {
        wal_abandon(wal);
    }
    return went_well(m, error, "the log cannot be made", reason);
}

static bool open_log(struct sim_member *m)
{
    struct wal_config settings = wal_settings(m);
    bool exists = false;
    char *reason = NULL;
    int error = wal_exists(settings.fs, WAL_DIR, &exists, &reason);
    if (!went_well(m, error, "the log cannot be listed", reason)) {
        return false;
    }
    if (!exists && m->shadow.durable > 0) {
        sim_fail(m->sim, "the log of member %u is gone, %" PRIu64 " entries were synced", m->slot, m->shadow.durable);
        return false;
    }
    if (!exists && !bootstrap(m)) {
        return false;
    }
    reason = NULL;
    error = wal_open(&settings, &m->wal, &m->contents, &reason);
    return went_well(m, error, "the log cannot be opened", reason);
}

/* Every entry that the segments still have goes to the checker. */
static bool show_log(struct sim_member *m)
{
    uint64_t at = m->imaged ? m->contents.first_index : wal_first_index(m->wal);
    const struct raft_position snapshot = m->contents.snapshot;
    if (snapshot.index > m->shadow.count) { /* an image, and the crash came while it was recorded */
        sim_check_image(m, snapshot);
        at = m->contents.first_index;
    }
    while (at <= m->contents.last_index) {
        struct raft_entry *entries = NULL;
        size_t count = 0;
        char *reason = NULL;
        int error = wal_read(m->wal, at, m->contents.last_index, LOG_CHUNK_BYTES, &entries, &count, &reason);
        if (!went_well(m, error, "the log cannot be read", reason)) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            sim_check_recovered(m, &entries[i]);
        }
        at += count;
        wal_entries_free(entries, count);
    }
    sim_check_recovered_all(m, m->contents.last_index, m->contents.hard_state);
    m->recovered = m->contents.last_index;
    return !m->sim->result->failed;
}

struct kv_config sim_kv_config(const struct sim_member *m)
{
    return (struct kv_config){
        .member_id = m->id,
        .lease = {.min_ttl_s = 2,
                  .retry_ms = 5000 + 2 * SIM_ELECTION_MS,
                  .checkpoint_interval_ms = m->sim->lease_checkpoints ? 200 : 0,
                  .hash_seed = m->sim->config.seed},
    };
}

/* The log says that an image was taken over, and the store is still the one before it (cmd/kedge/member.c). */
static bool take_image(struct sim_member *m)
{
    const struct raft_position at = m->contents.snapshot;
    struct kv *kv;
    if (at.index <= kv_applied_index(m->kv)) {
        return true;
    }
    if (sim_image_build(m, at, &kv) != 0) {
        return false;
    }
    struct backend *before = m->backend;
    sim_image_place(m, at);
    kv_close(m->kv);
    backend_close(before);
    m->kv = kv;
    return true;
}

static bool open_state(struct sim_member *m)
{
    const struct kv_config settings = sim_kv_config(m);
    char *reason = NULL;
    int error = kv_open(&settings, m->backend, &m->kv, &reason);
    if (!went_well(m, error, "the store cannot be used", reason) || !take_image(m)) {
        return false;
    }
    sim_image_remove_files(m);
    struct kv_stats stats = kv_stats(m->kv);
    const struct wal_contents *log = &m->contents;
    bool term_differs = stats.applied_index > 0 && stats.applied_term != 0 &&
                        wal_term(m->wal, stats.applied_index) != stats.applied_term;
    if (log->first_index > stats.applied_index + 1 || log->last_index < stats.applied_index || term_differs) {
        sim_fail(m->sim,
                 "the log of member %u has entries %" PRIu64 " to %" PRIu64 ", the store has applied %" PRIu64
                 " (terms differ: %d)",
                 m->slot, log->first_index, log->last_index, stats.applied_index, term_differs);
        return false;
    }
    return true;
}

static int restore_entry(void *arg, const struct raft_entry *entry)
{
    raft_restore_entry(arg, entry);
    return 0;
}

/* NULL when the disk died meanwhile. */
static struct raft *open_raft(struct sim_member *m)
{
    struct arena arena = {0};
    struct raft_config settings = {
        .id = m->id,
        .seed = random_next(&m->sim->random),
        .now_ms = sim_member_clock(m),
        .heartbeat_ms = SIM_HEARTBEAT_MS,
        .election_ms = SIM_ELECTION_MS,
        .notice_ms = 1,
        .pre_vote = m->sim->config.seed % 8 != 7,
        .log_bytes = 100 + random_below(&m->sim->random, 2000), /* small: entries come back from the segments */
        .hard_state = m->contents.hard_state,
        .snapshot = m->contents.snapshot,
        .applied = kv_applied_index(m->kv),
    };
    kv_conf_state(m->kv, &arena, &settings.conf.voters.ids, &settings.conf.voters.count, &settings.conf.learners.ids,
                  &settings.conf.learners.count);
    struct raft *raft = raft_new(&settings);
    arena_free(&arena);
    char *reason = NULL;
    int error = wal_replay(m->wal, m->contents.first_index, restore_entry, raft, &reason);
    if (!went_well(m, error, "the log cannot be replayed", reason)) {
        raft_free(raft);
        return NULL;
    }
    raft_start(raft);
    m->raft = raft;
    return raft;
}

static void make_hub(struct sim_member *m)
{
    const struct watch_config settings = {
        .cluster_id = CLUSTER_ID,
        .member_id = m->id,
        .progress_interval_ms = 500,
        .ring_bytes = 500 + random_below(&m->sim->random, 8000),
        .stream_credit_bytes = 500 + random_below(&m->sim->random, 4000),
        .held_bytes = 5000 + random_below(&m->sim->random, 10000),
        .seed = random_next(&m->sim->random),
        .source = kv_watch_source(m->kv),
        .ready = sim_watch_ready,
    };
    m->hub = watch_hub_new(&settings, sim_member_clock(m));
    kv_set_watch(m->kv, m->hub);
}

static void make_core(struct sim_member *m, struct raft *raft)
{
    static const char *const urls[] = {"http://localhost:2379"};
    const struct core_config settings = {
        .member_id = m->id,
        .cluster_id = CLUSTER_ID,
        .seed = random_next(&m->sim->random),
        .heartbeat_ms = SIM_HEARTBEAT_MS,
        .election_ms = SIM_ELECTION_MS,
        .batch_interval_ms = 20 + (uint32_t)random_below(&m->sim->random, 200),
        .snapshot_count =
            short_log(m) ? 2 + random_below(&m->sim->random, 10) : 10 + random_below(&m->sim->random, 200),
        .strict_reconfig = m->sim->config.seed % 2 == 0,
        .name = "sim",
        .client_urls = urls,
        .client_url_count = 1,
    };
    sim_jobs_init(m);
    m->core = core_new(&settings, raft, m->kv, m->hub, &m->env, m->contents.snapshot.index, sim_member_clock(m),
                       sim_member_wall(m));
}

/* Its clock begins anew, as after a boot. */
static void new_clock(struct sim_member *m)
{
    m->clock_base = 1000 + random_below(&m->sim->random, 100000);
    m->clock_from = m->sim->now_ms;
    m->rate = m->sim->config.canary == SIM_CANARY_FAST_CLOCK ? 1500 : 1000;
}

void sim_life_start(struct sim_member *m)
{
    m->life++;
    m->state = SIM_UP;
    m->crashed = m->dying = m->checked = false;
    m->crash_ms = SIM_NEVER;
    m->paused_ms = m->stalled_ms = 0;
    memset(m->unreachable, 0, sizeof m->unreachable);
    new_clock(m);
    sim_nemesis_life(m);
    if (m->backend == NULL) {
        m->backend = backend_open_memory();
    }
    if (!open_log(m) || !show_log(m) || !open_state(m)) {
        return;
    }
    m->shadow.applied = kv_applied_index(m->kv);
    struct raft *raft = open_raft(m);
    if (raft == NULL) {
        return;
    }
    make_hub(m);
    make_core(m, raft);
    sim_net_links(m->sim);
    sim_trace(m->sim, "start", (uint64_t)m->slot << 32 | m->recovered, kv_applied_index(m->kv));
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

static void cut_clients(struct sim_member *m)
{
    for (int i = 0; i < m->sim->client_count; i++) {
        if (m->sim->clients[i].at == m) {
            sim_client_cut(&m->sim->clients[i]);
        }
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        if (m->sim->watchers[i].at == m) {
            sim_watcher_cut(&m->sim->watchers[i]);
        }
    }
    sim_images_cut(m);
    sim_calls_cut(m);
    sim_reshape_cut(m);
    if (m->hash != NULL) {
        core_hash_cancel(m->hash);
        m->hash = NULL;
    }
}

static void take_apart(struct sim_member *m, bool orderly)
{
    m->dying = true;
    if (m->core != NULL) {
        cut_clients(m);
        sim_jobs_abandon(m);
        sim_images_cut(m);  /* of views that were opened just now */
        core_free(m->core); /* and the state machine */
    } else if (m->kv != NULL) {
        kv_close(m->kv);
    }
    if (m->built != NULL) {
        backend_close(m->built);
        m->built = NULL;
    }
    watch_hub_free(m->hub);
    if (m->wal != NULL && orderly) {
        wal_close(m->wal);
    } else if (m->wal != NULL) {
        wal_abandon(m->wal);
    }
    wal_contents_free(&m->contents);
    m->contents = (struct wal_contents){0};
    m->core = NULL;
    m->raft = NULL;
    m->kv = NULL;
    m->hub = NULL;
    m->wal = NULL;
    m->state = SIM_DOWN;
    m->start_ms = SIM_NEVER;
    m->crash_ms = SIM_NEVER;
    m->crashed = m->dirty = false;
    sim_net_links(m->sim);
}

void sim_life_stop(struct sim_member *m)
{
    if (m->state == SIM_UP) {
        take_apart(m, true);
    }
    memory_fs_kill(m->disk);
}

static void lose_power(struct sim_member *m, bool power_loss)
{
    if (power_loss) {
        memory_fs_crash(m->disk, random_next(&m->sim->random));
        m->sim->result->power_losses++;
        sim_fault(m->sim, SIM_POWER_LOSS, m->slot, 0);
    } else {
        memory_fs_kill(m->disk);
        sim_fault(m->sim, SIM_KILL, m->slot, 0);
    }
    /* What the core was told is durable; a commit that it wasn't told of may have happened or not. */
    size_t commits = backend_memory_commits(m->backend);
    size_t kept = m->commits_told + random_below(&m->sim->random, commits - m->commits_told + 1);
    m->backend = backend_memory_crash(m->backend, kept);
    m->commits_told = 0;
}

void sim_life_crash(struct sim_member *m)
{
    struct sim *s = m->sim;
    if (sim_disk_dead(m)) {
        sim_fault(s, SIM_DISK_DEAD, m->slot, memory_fs_calls(m->disk));
    }
    bool power_loss = random_below(&s->random, 3) > 0;
    sim_trace(s, "crash", power_loss, memory_fs_calls(m->disk));
    take_apart(m, false);
    memory_fs_fail(m->disk, 0, 0, false);
    sim_nemesis_fill(m, false); /* a start needs some space */
    lose_power(m, power_loss);
    s->result->crashes++;
    bool soon = s->config.members == 1 || s->ending || !s->nemesis.storm;
    m->start_ms = s->now_ms + sim_between(s, 20, soon ? 220 : 4000);
    m->crash_ms = m->leaving ? s->now_ms : SIM_NEVER;
}

static void throw_away(struct sim_member *m)
{
    sim_image_remove_files(m);
    backend_close(m->backend);
    memory_fs_free(m->disk);
    sim_shadow_free(&m->shadow);
    free(m->finished);
    m->finished = NULL;
    m->finished_capacity = 0;
    m->backend = NULL;
    m->disk = NULL;
    m->state = SIM_ABSENT;
}

void sim_life_end(struct sim_member *m)
{
    if (m->state == SIM_UP) {
        take_apart(m, false);
    }
    if (m->state != SIM_ABSENT) {
        throw_away(m);
    }
}
