/* A member's life: put together from its disk as cmd/kedge/member.c does it, taken apart by a crash. */
#include "base/error.h"
#include "chaos/sim/internal.h"
#include "raft/ids.h"
#include "tests/support/memory_fs.h"
#include <inttypes.h>
#include <stdlib.h>

#define WAL_DIR "member/wal"
#define MEMBER_ID UINT64_C(0x8e9e05c52164694d)
#define CLUSTER_ID UINT64_C(0xcdf818194e3a8c32)
#define WALL_BASE_MS INT64_C(1700000000000)
#define HEARTBEAT_MS 100
#define ELECTION_MS 1000
#define LOG_CHUNK_BYTES ((size_t)1 << 16)

bool sim_disk_dead(const struct sim *s)
{
    return memory_fs_failed_call(s->disk)[0] != '\0';
}

/* false = something went wrong: the disk died, or a failure to report. */
static bool went_well(struct sim *s, int error, const char *what, char *reason)
{
    if (sim_disk_dead(s)) {
        s->crashed = true;
    } else if (error != 0) {
        sim_fail(s, "%s: %s %s", what, error_name(error), reason == NULL ? "" : reason);
    }
    free(reason);
    return !s->crashed && error == 0;
}

static struct wal_config wal_settings(const struct sim *s)
{
    return (struct wal_config){.fs = memory_fs_vtable(s->disk),
                               .dir = WAL_DIR,
                               .segment_bytes = 8192 << (s->config.seed % 4),
                               .reserve_bytes = 1024};
}

static bool bootstrap(struct sim *s)
{
    struct arena arena = {0};
    const char *const urls[] = {"http://localhost:2380"};
    struct bytes change = kv_bootstrap_conf_change(MEMBER_ID, "sim", urls, 1, &arena);
    const struct raft_entry entry = {
        .index = 1, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(change)};
    const struct raft_hard_state state = {.term = 1, .commit = 1};
    struct wal_config settings = wal_settings(s);
    char *reason = NULL;
    struct wal *wal = NULL;
    int error = wal_create(&settings, (struct wal_metadata){MEMBER_ID, CLUSTER_ID}, &entry, 1, &state, &wal, &reason);
    shared_unref(entry.data);
    arena_free(&arena);
    if (wal != NULL) {
        wal_abandon(wal);
    }
    return went_well(s, error, "the log cannot be made", reason);
}

static bool open_log(struct sim *s)
{
    struct wal_config settings = wal_settings(s);
    bool exists = false;
    char *reason = NULL;
    int error = wal_exists(settings.fs, WAL_DIR, &exists, &reason);
    if (!went_well(s, error, "the log cannot be listed", reason)) {
        return false;
    }
    if (!exists && s->check.log_count > 0) {
        sim_fail(s, "the log is gone, %zu entries were synced", s->check.log_count);
        return false;
    }
    if (!exists && !bootstrap(s)) {
        return false;
    }
    reason = NULL;
    error = wal_open(&settings, &s->wal, &s->contents, &reason);
    return went_well(s, error, "the log cannot be opened", reason);
}

/* Every entry that the segments still have goes to the checker. */
static bool show_log(struct sim *s)
{
    uint64_t at = wal_first_index(s->wal);
    while (at <= s->contents.last_index) {
        struct raft_entry *entries = NULL;
        size_t count = 0;
        char *reason = NULL;
        int error = wal_read(s->wal, at, s->contents.last_index, LOG_CHUNK_BYTES, &entries, &count, &reason);
        if (!went_well(s, error, "the log cannot be read", reason)) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            sim_check_recovered(&s->check, &entries[i]);
        }
        at += count;
        wal_entries_free(entries, count);
    }
    sim_check_judge(&s->check, s->contents.last_index);
    s->recovered = s->contents.last_index;
    return !s->result->failed;
}

static bool open_state(struct sim *s)
{
    const struct kv_config settings = {
        .member_id = MEMBER_ID,
        .lease = {.min_ttl_s = 2, .retry_ms = 5000 + 2 * ELECTION_MS, .hash_seed = s->config.seed},
    };
    char *reason = NULL;
    int error = kv_open(&settings, s->backend, &s->kv, &reason);
    if (!went_well(s, error, "the store cannot be used", reason)) {
        return false;
    }
    struct kv_stats stats = kv_stats(s->kv);
    const struct wal_contents *log = &s->contents;
    bool term_differs = stats.applied_index > 0 && stats.applied_term != 0 &&
                        wal_term(s->wal, stats.applied_index) != stats.applied_term;
    if (log->first_index > stats.applied_index + 1 || log->last_index < stats.applied_index || term_differs) {
        sim_fail(s,
                 "the log has entries %" PRIu64 " to %" PRIu64 ", the store has applied %" PRIu64 " (terms differ: %d)",
                 log->first_index, log->last_index, stats.applied_index, term_differs);
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
static struct raft *open_raft(struct sim *s)
{
    struct arena arena = {0};
    struct raft_config settings = {
        .id = MEMBER_ID,
        .seed = random_next(&s->random),
        .now_ms = sim_core_now(s),
        .heartbeat_ms = HEARTBEAT_MS,
        .election_ms = ELECTION_MS,
        .pre_vote = true,
        .log_bytes = 100 + random_below(&s->random, 2000), /* small: entries come back from the segments */
        .hard_state = s->contents.hard_state,
        .snapshot = s->contents.snapshot,
        .applied = kv_applied_index(s->kv),
    };
    kv_conf_state(s->kv, &arena, &settings.conf.voters.ids, &settings.conf.voters.count, &settings.conf.learners.ids,
                  &settings.conf.learners.count);
    struct raft *raft = raft_new(&settings);
    arena_free(&arena);
    char *reason = NULL;
    int error = wal_replay(s->wal, s->contents.first_index, restore_entry, raft, &reason);
    if (!went_well(s, error, "the log cannot be replayed", reason)) {
        raft_free(raft);
        return NULL;
    }
    raft_start(raft);
    return raft;
}

static void make_hub(struct sim *s)
{
    const struct watch_config settings = {
        .cluster_id = CLUSTER_ID,
        .member_id = MEMBER_ID,
        .progress_interval_ms = 500,
        .ring_bytes = 500 + random_below(&s->random, 8000),
        .stream_credit_bytes = 500 + random_below(&s->random, 4000),
        .held_bytes = 5000 + random_below(&s->random, 10000),
        .seed = random_next(&s->random),
        .source = kv_watch_source(s->kv),
        .ready = sim_watch_ready,
    };
    s->hub = watch_hub_new(&settings, sim_core_now(s));
    kv_set_watch(s->kv, s->hub);
}

static void make_core(struct sim *s, struct raft *raft)
{
    static const char *const urls[] = {"http://localhost:2379"};
    const struct core_config settings = {
        .member_id = MEMBER_ID,
        .cluster_id = CLUSTER_ID,
        .seed = random_next(&s->random),
        .heartbeat_ms = HEARTBEAT_MS,
        .election_ms = ELECTION_MS,
        .batch_interval_ms = 20 + (uint32_t)random_below(&s->random, 200),
        .snapshot_count = 10 + random_below(&s->random, 200),
        .name = "sim",
        .client_urls = urls,
        .client_url_count = 1,
    };
    sim_jobs_init(s);
    s->core = core_new(&settings, raft, s->kv, s->hub, &s->env, s->contents.snapshot.index, sim_core_now(s),
                       WALL_BASE_MS + (int64_t)s->now_ms);
}

void sim_life_start(struct sim *s)
{
    s->life++;
    s->crashed = s->dying = s->hashed = false;
    if (s->backend == NULL) {
        s->backend = backend_open_memory();
    }
    if (!open_log(s) || !show_log(s) || !open_state(s)) {
        return;
    }
    struct raft *raft = open_raft(s);
    if (raft == NULL) {
        return;
    }
    make_hub(s);
    make_core(s, raft);
    for (int i = 0; i < SIM_WATCHERS; i++) {
        sim_watcher_start(&s->watchers[i]);
    }
    sim_trace(s, "start", s->recovered, kv_applied_index(s->kv));
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

static void cut_clients(struct sim *s)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        sim_client_cut(&s->clients[i]);
    }
    for (int i = 0; i < SIM_WATCHERS; i++) {
        sim_watcher_cut(&s->watchers[i]);
    }
    if (s->hash != NULL) {
        core_hash_cancel(s->hash);
        s->hash = NULL;
    }
}

static void take_apart(struct sim *s, bool orderly)
{
    s->dying = true;
    if (s->core != NULL) {
        cut_clients(s);
        sim_jobs_abandon(s);
        core_free(s->core); /* and the state machine */
    } else if (s->kv != NULL) {
        kv_close(s->kv);
    }
    watch_hub_free(s->hub);
    if (s->wal != NULL && orderly) {
        wal_close(s->wal);
    } else if (s->wal != NULL) {
        wal_abandon(s->wal);
    }
    wal_contents_free(&s->contents);
    s->contents = (struct wal_contents){0};
    s->core = NULL;
    s->kv = NULL;
    s->hub = NULL;
    s->wal = NULL;
}

void sim_life_stop(struct sim *s)
{
    take_apart(s, true);
}

void sim_life_crash(struct sim *s)
{
    bool power_loss = random_below(&s->random, 3) > 0;
    sim_trace(s, "crash", power_loss, memory_fs_calls(s->disk));
    take_apart(s, false);
    memory_fs_fail(s->disk, 0, 0, false);
    if (power_loss) {
        memory_fs_crash(s->disk, random_next(&s->random));
        s->result->power_losses++;
    } else {
        memory_fs_kill(s->disk);
    }
    /* What the core was told is durable; a commit that it wasn't told of may have happened or not. */
    size_t commits = backend_memory_commits(s->backend);
    size_t kept = s->commits_told + random_below(&s->random, commits - s->commits_told + 1);
    s->backend = backend_memory_crash(s->backend, kept);
    s->commits_told = 0;
    s->result->crashes++;
}
