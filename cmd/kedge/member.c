#include "cmd/kedge/member.h"

#include "base/check.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/random.h"
#include "cmd/kedge/bootstrap.h"
#include "cmd/kedge/convert.h"
#include "cmd/kedge/force_new.h"
#include "grpc/services.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Entries that are kept in memory behind the log: what a member that is a little behind asks for. Older ones come back
 * from the files. */
#define LOG_MEMORY_BYTES ((size_t)16 << 20)

static __attribute__((noreturn)) void refuse(const char *what, const char *path, const char *reason)
{
    log_fatal(what, log_str("path", path), log_str("error", reason));
}

int64_t member_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- directories --- */

static void make_above(const char *path)
{
    if (folder_make_above(path) != 0) {
        refuse("cannot create the folders above", path, strerror(errno));
    }
}

static void make_dir(const char *path)
{
    struct stat info;
    if (mkdir(path, 0700) == 0) {
        return;
    }
    if (errno != EEXIST || stat(path, &info) != 0) {
        refuse("cannot create directory", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        refuse("cannot create directory", path, "there is something else of that name");
    }
    if ((info.st_mode & 0777) != 0700) {
        log_warn("check file permission",
                 log_str("error", "directory exists, but others than its owner may use it; 0700 is"
                                  " recommended to prevent possible unprivileged access"),
                 log_str("path", path));
    }
}

/* Leftovers of interrupted work (wal.md "Data dir"). */
static void remove_leftovers(const char *dir)
{
    DIR *stream = opendir(dir);
    if (stream == NULL) {
        refuse("cannot list directory", dir, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strncmp(entry->d_name, "tmp", 3) == 0 || strncmp(entry->d_name, "db.tmp", 6) == 0) {
            unlinkat(dirfd(stream), entry->d_name, 0);
        }
    }
    closedir(stream);
}

static void prepare_dirs(struct member *member)
{
    const struct config *config = member->config;
    struct arena *arena = &member->arena;
    member->member_dir = arena_printf(arena, "%s/member", config->data_dir);
    member->snap_dir = arena_printf(arena, "%s/snap", member->member_dir);
    member->wal_dir = config->wal_dir[0] != '\0' ? config->wal_dir : arena_printf(arena, "%s/wal", member->member_dir);
    member->db_path = arena_printf(arena, "%s/db", member->snap_dir);
    make_above(config->data_dir);
    make_dir(config->data_dir);
    make_above(member->wal_dir);
    make_dir(member->member_dir);
    make_dir(member->snap_dir);
}

/* --- store and log --- */

/* Damage that somebody met, or a disk that fails: the member ends here, whoever it was. */
static void store_fault(const char *text)
{
    log_fatal("the store is damaged or cannot be read", log_str("error", text));
}

static struct backend_lmdb_config store_settings(struct member *member)
{
    return (struct backend_lmdb_config){
        .path = member->db_path,
        .map_bytes = member->config->backend_map_bytes,
        .quota_bytes = member->config->quota_backend_bytes > 0 ? (uint64_t)member->config->quota_backend_bytes : 0,
        .unsafe_no_sync = member->config->unsafe_no_fsync,
        .fault = store_fault,
    };
}

static void open_store(struct member *member)
{
    const struct backend_lmdb_config config = store_settings(member);
    char *reason = NULL;
    int error = backend_open_lmdb(&config, &member->backend, &reason);
    if (error != 0) {
        refuse("failed to open the store", member->db_path, reason != NULL ? reason : error_text(error));
    }
}

static uint64_t stored_number(struct backend *backend, const char *name)
{
    struct backend_read *read;
    struct bytes value;
    CHECK(backend_read_begin(backend, &read) == 0);
    int error = backend_get(read, BACKEND_KEDGE, bytes_str(name), &value);
    uint64_t number = error == 0 && value.len == 8 ? get_be64(value.data) : 0;
    backend_read_end(read);
    return number;
}

/* Did a member ever write to it? A first start that ended between making the store and making the log leaves one that
 * is not, and the next start goes on from there. */
static bool store_is_used(struct member *member)
{
    struct backend_read *read;
    struct bytes value;
    CHECK(backend_read_begin(member->backend, &read) == 0);
    bool used = backend_get(read, BACKEND_META, bytes_str("consistent_index"), &value) != ERR_ABSENT ||
                backend_get(read, BACKEND_KEDGE, bytes_str(GENERATION_MEMBER_ID), &value) != ERR_ABSENT ||
                backend_count(read, BACKEND_KEY) > 0;
    backend_read_end(read);
    return used;
}

static void store_ids(struct member *member)
{
    uint8_t id[8], cluster[8];
    put_be64(id, member->id);
    put_be64(cluster, member->cluster_id);
    struct backend_op ops[] = {
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_MEMBER_ID), bytes_of(id, 8)},
        {BACKEND_PUT, BACKEND_KEDGE, bytes_str(GENERATION_CLUSTER_ID), bytes_of(cluster, 8)},
    };
    const struct backend_batch batch = {.ops = ops, .count = 2, .bytes = 64};
    int error = backend_commit(member->backend, &batch);
    if (error != 0) {
        refuse("failed to write to the store", member->db_path, error_text(error));
    }
}

/* False: there are none yet. A start ended before they were written, or the store was imported. */
static bool check_ids(struct member *member)
{
    uint64_t id = stored_number(member->backend, GENERATION_MEMBER_ID);
    uint64_t cluster = stored_number(member->backend, GENERATION_CLUSTER_ID);
    if (id == 0 && cluster == 0) {
        return false;
    }
    if (id != member->id || cluster != member->cluster_id) {
        refuse("the store is another member's", member->db_path,
               arena_printf(&member->arena,
                            "store: member %" PRIx64 " of cluster %" PRIx64 ", write-ahead log: member %" PRIx64
                            " of cluster %" PRIx64 "; were directories swapped?",
                            id, cluster, member->id, member->cluster_id));
    }
    return true;
}

static struct wal_config wal_settings(struct member *member)
{
    return (struct wal_config){
        .fs = wal_fs_posix(), .dir = member->wal_dir, .no_sync = member->config->unsafe_no_fsync};
}

/* --- a new member --- */

static void bootstrap(struct member *member)
{
    struct bootstrap begin;
    const char *wrong = bootstrap_begin(member->config, &begin);
    if (wrong != NULL) {
        log_fatal("discovery failed", log_str("error", wrong));
    }
    member->id = begin.member_id;
    member->cluster_id = begin.cluster_id;
    member->remotes = begin.remotes;
    member->remote_count = begin.remote_count;
    struct wal_config settings = wal_settings(member);
    char *reason = NULL;
    int error = wal_create(&settings, (struct wal_metadata){member->id, member->cluster_id}, begin.entries,
                           begin.entry_count, begin.entry_count == 0 ? NULL : &begin.state, &member->wal, &reason);
    if (error != 0) {
        refuse("failed to create the write-ahead log", member->wal_dir, reason != NULL ? reason : error_text(error));
    }
    bootstrap_free(&begin);
    wal_close(member->wal); /* and opened as every other time: one path */
    log_info("starting local member", log_hex("local-member-id", member->id),
             log_hex("cluster-id", member->cluster_id));
}

/* --- what is there --- */

static void take_ids(struct member *member)
{
    member->id = member->contents.metadata.node_id;
    member->cluster_id = member->contents.metadata.cluster_id;
}

/* Reads the log without a change to it. */
static void read_log(struct member *member)
{
    struct wal_config settings = wal_settings(member);
    char *reason = NULL;
    int error = wal_verify(&settings, &member->contents, &reason);
    if (error != 0) {
        refuse("failed to read the write-ahead log", member->wal_dir, reason != NULL ? reason : error_text(error));
    }
    take_ids(member);
}

/* etcd's store becomes kedge's before anything else looks at it (cmd/kedge/convert.h). */
static void convert(struct member *member, bool have_log)
{
    const struct config *config = member->config;
    const struct backend_lmdb_config store = store_settings(member);
    const struct convert_config settings = {.snap_dir = member->snap_dir,
                                            .db_path = member->db_path,
                                            .wal_dir = member->wal_dir,
                                            .map_bytes = store.map_bytes,
                                            .quota_bytes = store.quota_bytes,
                                            .disable_auth = config->migrate_disable_auth};
    char *reason = NULL;
    if (!have_log) {
        refuse("cannot convert the store of etcd", member->db_path,
               "there is no write-ahead log beside it: if etcd ran with --wal-dir, kedge needs it too");
    }
    read_log(member);
    if (convert_store(&settings, &member->contents, &reason) != 0) {
        refuse("cannot convert the store of etcd", member->db_path, reason);
    }
    wal_contents_free(&member->contents);
}

/* A store that was lost can only be made again from a whole log. Said before an empty one is made in its place. */
static void check_store_is_there(struct member *member)
{
    if (access(member->db_path, F_OK) == 0) {
        return;
    }
    read_log(member);
    if (member->contents.first_index > 1) {
        refuse("there is a write-ahead log but no store", member->db_path,
               "the log does not begin at the first entry any more; put the store back");
    }
    wal_contents_free(&member->contents);
}

static void open_log(struct member *member)
{
    struct wal_config settings = wal_settings(member);
    char *reason = NULL;
    int error = wal_open(&settings, &member->wal, &member->contents, &reason);
    if (error != 0) {
        refuse("failed to open the write-ahead log", member->wal_dir, reason != NULL ? reason : error_text(error));
    }
    if (member->contents.repaired) {
        log_warn("repaired the end of the write-ahead log", log_str("path", member->contents.repaired_file),
                 log_uint("offset", member->contents.repaired_offset),
                 log_uint("bytes", member->contents.repaired_bytes));
    }
    take_ids(member);
}

/* The store and the log must be of one history (design.md "Disk checkpoint and start"). */
static void check_positions(struct member *member)
{
    const struct wal_contents *log = &member->contents;
    struct kv_stats stats = kv_stats(member->kv);
    uint64_t applied = stats.applied_index;
    const char *wrong = NULL;
    if (log->first_index > applied + 1) {
        wrong = "the write-ahead log starts above what the store has applied";
    } else if (log->last_index < applied) {
        wrong = "the write-ahead log ends below what the store has applied";
    } else if (member->wal != NULL && applied > 0 && stats.applied_term != 0 &&
               wal_term(member->wal, applied) != stats.applied_term) {
        wrong = "the write-ahead log and the store disagree about the term of the last applied entry";
    }
    if (wrong != NULL) {
        log_fatal(wrong, log_str("wal", member->wal_dir), log_str("store", member->db_path),
                  log_uint("wal-first-index", log->first_index), log_uint("wal-last-index", log->last_index),
                  log_uint("store-applied-index", applied), log_uint("store-applied-term", stats.applied_term));
    }
}

static uint32_t election_ticks(const struct config *config)
{
    return (uint32_t)(config->election_timeout_ms / config->heartbeat_interval_ms);
}

static struct kv_config state_settings(const struct member *member)
{
    const struct config *config = member->config;
    /* ceil(3/2 election timeouts) in seconds, from ticks as etcd reckons it (mvcc.md "Leases") */
    uint64_t min_ttl_ms = (uint64_t)(3 * election_ticks(config)) / 2 * config->heartbeat_interval_ms;
    return (struct kv_config){
        .member_id = member->id,
        .quota_bytes = config->quota_backend_bytes,
        .max_txn_ops = (uint32_t)config->max_txn_ops,
        .max_request_bytes = (uint32_t)config->max_request_bytes,
        .max_learners = config->max_learners <= 0 ? KV_NO_LEARNERS : (uint32_t)config->max_learners,
        .lease = {.min_ttl_s = (int64_t)((min_ttl_ms + 999) / 1000),
                  .retry_ms = 5000 + 2 * config->election_timeout_ms,
                  .hash_seed = random_entropy()},
    };
}

static void open_state(struct member *member)
{
    const struct kv_config settings = state_settings(member);
    char *reason = NULL;
    int error = kv_open(&settings, member->backend, &member->kv, &reason);
    if (error != 0) {
        refuse("the store cannot be used", member->db_path, reason != NULL ? reason : error_text(error));
    }
    member_check_serves(member->kv);
}

void member_check_serves(const struct kv *kv)
{
    if (kv_cluster_too_new(kv)) {
        log_fatal("invalid downgrade; server version is lower than determined cluster version",
                  log_str("current-server-version", SERVER_VERSION),
                  log_str("determined-cluster-version", kv_cluster_version(kv)));
    }
    if (kv_auth_enabled(kv)) {
        log_fatal("authentication is enabled in this cluster, and this version of kedge does not have it",
                  log_str("error", "a member that asked nobody for a password would serve everybody; use etcd for this "
                                   "member, or disable authentication first (etcdctl auth disable)"));
    }
}

/* --- images --- */

static void set_generation(struct member *member)
{
    member->generation = (struct generation_config){
        .snap_dir = member->snap_dir,
        .store = store_settings(member),
        .kv = state_settings(member),
        .member_id = member->id,
        .cluster_id = member->cluster_id,
    };
}

/* The log says that an image was taken over, and the store is still the one before it: this process's predecessor ended
 * between the two (core/install.c). What it would have done is done now. */
static void take_image(struct member *member)
{
    const struct raft_position at = member->contents.snapshot;
    if (at.index <= kv_applied_index(member->kv)) {
        return;
    }
    struct generation generation;
    char *reason = NULL, *image = generation_image(&member->generation, at.index);
    if (access(image, F_OK) != 0) {
        free(image);
        return; /* check_positions tells what is wrong */
    }
    log_info("recovering from a received snapshot", log_str("path", image), log_uint("snapshot-index", at.index),
             log_uint("store-applied-index", kv_applied_index(member->kv)));
    if (generation_build(&member->generation, at, NULL, &generation, &reason) != 0) {
        refuse("cannot recover from a received snapshot", image, reason);
    }
    if (generation_place(&member->generation, &generation, at.index) != 0) {
        refuse("cannot recover from a received snapshot", image, "the store could not be replaced");
    }
    struct generation before = {.backend = member->backend, .kv = member->kv};
    generation_close(&before);
    member->backend = generation.backend;
    member->kv = generation.kv;
    free(image);
}

static int restore_entry(void *arg, const struct raft_entry *entry)
{
    raft_restore_entry(arg, entry);
    return 0;
}

static void open_raft(struct member *member)
{
    const struct config *config = member->config;
    struct raft_config settings = {
        .id = member->id,
        .seed = random_entropy(),
        .now_ms = loop_clock_ns() / 1000000,
        .heartbeat_ms = (uint32_t)config->heartbeat_interval_ms,
        .election_ms = (uint32_t)config->election_timeout_ms,
        .notice_ms = 1,
        .pre_vote = config->pre_vote,
        .hard_state = member->contents.hard_state,
        .snapshot = member->contents.snapshot,
        .applied = kv_applied_index(member->kv),
        .log_bytes = LOG_MEMORY_BYTES,
    };
    kv_conf_state(member->kv, &member->arena, &settings.conf.voters.ids, &settings.conf.voters.count,
                  &settings.conf.learners.ids, &settings.conf.learners.count);
    member->raft = raft_new(&settings);
    char *reason = NULL;
    if (wal_replay(member->wal, member->contents.first_index, restore_entry, member->raft, &reason) != 0) {
        refuse("failed to read the write-ahead log", member->wal_dir, reason);
    }
    raft_start(member->raft);
}

static void make_hub(struct member *member)
{
    struct watch_config settings = {
        .cluster_id = member->cluster_id,
        .member_id = member->id,
        .max_request_bytes = member->config->max_request_bytes,
        .progress_interval_ms = (uint64_t)member->config->watch_progress_notify_interval_ns / 1000000,
        .seed = random_entropy(),
        .source = kv_watch_source(member->kv),
        .ready = service_watch_ready,
    };
    member->hub = watch_hub_new(&settings, loop_clock_ns() / 1000000);
    kv_set_watch(member->kv, member->hub);
}

static void make_core(struct member *member)
{
    const struct config *config = member->config;
    const struct core_config settings = {
        .member_id = member->id,
        .cluster_id = member->cluster_id,
        .seed = random_entropy(),
        .heartbeat_ms = (uint32_t)config->heartbeat_interval_ms,
        .election_ms = (uint32_t)config->election_timeout_ms,
        .batch_interval_ms = (uint32_t)(config->backend_batch_interval_ns / 1000000),
        .snapshot_count = config->snapshot_count,
        .strict_reconfig = config->strict_reconfig_check,
        .name = config->name,
        .client_urls = bootstrap_url_texts(&member->arena, &config->advertise_client_urls),
        .client_url_count = config->advertise_client_urls.count,
    };
    member->core = core_new(&settings, member->raft, member->kv, member->hub, &member->engine.env,
                            member->contents.snapshot.index, loop_clock_ns() / 1000000, member_wall_ms());
}

/* What is there is looked at as a whole before anything of it is changed: opening the log repairs its end. */
static void open_existing(struct member *member)
{
    read_log(member);
    bool named = check_ids(member);
    open_state(member);
    set_generation(member);
    take_image(member);
    check_positions(member);
    wal_contents_free(&member->contents);
    open_log(member);
    check_positions(member);
    if (!named) {
        store_ids(member);
    }
    if (member->config->force_new_cluster && force_new_cluster(member)) {
        wal_close(member->wal);
        wal_contents_free(&member->contents);
        open_log(member);
    }
}

static void open_new(struct member *member)
{
    if (store_is_used(member)) {
        refuse("there is a store but no write-ahead log", member->db_path,
               "put the log back, or move the whole data directory away to begin anew");
    }
    bootstrap(member);
    open_log(member);
    store_ids(member);
    open_state(member);
    set_generation(member);
}

void member_start(struct member *member, struct config *config, struct loop *loop)
{
    *member = (struct member){.config = config, .loop = loop};
    prepare_dirs(member);
    bool have_log = false;
    char *reason = NULL;
    if (wal_exists(wal_fs_posix(), member->wal_dir, &have_log, &reason) != 0) {
        refuse("cannot read directory", member->wal_dir, reason);
    }
    if (convert_is_needed(member->db_path)) {
        convert(member, have_log);
    }
    if (have_log) {
        check_store_is_there(member);
    }
    open_store(member); /* from here on the directory is this process's alone */
    remove_leftovers(member->snap_dir);
    if (have_log) {
        open_existing(member);
    } else {
        open_new(member);
    }
    generation_remove_images(&member->generation);
    make_hub(member);
    open_raft(member);
    if (have_log) {
        log_info("restarting local member", log_hex("cluster-id", member->cluster_id),
                 log_hex("local-member-id", member->id), log_uint("commit-index", raft_status(member->raft).commit));
    }
    engine_start(&member->engine, loop, member->wal, member->backend, wal_fs_posix(), member->snap_dir,
                 config->max_wals, config->max_snapshots);
    member->engine.catchup_entries = config->snapshot_catchup_entries;
    engine_installs(&member->engine, &member->generation);
    make_core(member);
    engine_attach(&member->engine, member->core);
    wal_contents_free(&member->contents);
}

void member_stop(struct member *member)
{
    engine_stop_threads(&member->engine);
    core_free(member->core);
    watch_hub_free(member->hub);
    engine_close(&member->engine);
    arena_free(&member->arena);
}
