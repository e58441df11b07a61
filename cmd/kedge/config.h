/* What a member was told to do: the settings after the command line and the environment were read and checked, as
 * plain data for the program's assembly. Texts and lists live in the config's arena, until config_free. */
#ifndef CMD_KEDGE_CONFIG_H
#define CMD_KEDGE_CONFIG_H

#include "base/arena.h"
#include "base/log.h"
#include "base/url.h"

struct string_list {
    const char **items; /* sorted, each once */
    size_t count;
};

/* One name of --initial-cluster. */
struct config_member {
    const char *name;
    struct url_list peer_urls;
};

/* Fields are named like their flags; durations carry their unit. Values are effective ones: defaults are filled in. */
struct config {
    struct arena arena;

    /* member */
    const char *name;
    const char *data_dir; /* "<name>.etcd" if not given */
    const char *wal_dir;  /* "" = <data_dir>/member/wal */
    uint64_t snapshot_count, snapshot_catchup_entries;
    uint64_t heartbeat_interval_ms, election_timeout_ms;
    struct url_list listen_peer_urls, listen_client_urls, listen_metrics_urls; /* http only, host is an address */
    uint64_t max_snapshots, max_wals;                                          /* files kept, 0 = all */
    int64_t quota_backend_bytes;                                               /* > 0, or negative: no quota */
    int64_t backend_batch_interval_ns, backend_batch_limit;
    uint64_t max_txn_ops, max_request_bytes, max_concurrent_streams;
    int64_t grpc_keepalive_min_time_ns, grpc_keepalive_interval_ns, grpc_keepalive_timeout_ns; /* 0 = off */
    bool unsafe_no_fsync;

    /* clustering */
    struct url_list initial_advertise_peer_urls, advertise_client_urls;
    const char *initial_cluster;           /* the text, for logs */
    struct config_member *initial_members; /* the same, parsed; sorted by name */
    size_t initial_member_count;
    const char *initial_cluster_state; /* "new" or "existing": of interest only where no data is there yet */
    const char *initial_cluster_token;
    bool strict_reconfig_check, pre_vote, initial_election_tick_advance;
    int64_t max_learners;
    bool force_new_cluster;

    /* clients */
    struct string_list cors;           /* origins; "*" = all */
    struct string_list host_whitelist; /* host names; "*" or none = all */
    bool enable_grpc_gateway;
    int64_t watch_progress_notify_interval_ns;

    /* log */
    enum log_level log_level;
    enum log_format log_format;
    struct string_list log_outputs; /* "default", "stderr", "stdout" */

    /* compaction by itself */
    const char *auto_compaction_mode, *auto_compaction_retention;

    /* kedge's own */
    uint64_t io_threads;        /* 0 = all connections on the core's loop */
    bool migrate_disable_auth;  /* at the conversion of etcd's store (cmd/kedge/convert.h) */
    uint64_t backend_map_bytes; /* address space for LMDB's map; 0 = chosen by the backend */

    const char *backup_schedule, *backup_dir, *backup_keep, *backup_compress; /* checked: snapshot/backup_*.h */

    /* raw texts that config.c turns into the fields above */
    const char *log_level_text, *log_format_text, *logger;
    bool print_version;
};

/* Reads argv and the environment (variables ETCD_<FLAG>, for kedge's own flags KEDGE_<FLAG>), checks everything, and
 * sets up the log. Returns CONFIG_SERVE, or the exit status that the program should end with: what there was to say
 * (usage, version, an error that names the flag) has then been said. etcd's statuses: 2 for a bad flag, 1 for a bad
 * setting. */
#define CONFIG_SERVE (-1)
int config_load(struct config *c, int argc, char **argv, char **env);
void config_free(struct config *c);

/* --- the initial cluster: of meaning only for a member without data --- */

/* --initial-cluster's text into initial_members (config_load does it). NULL, or the error. */
const char *config_parse_members(struct config *c);

/* NULL, or why a member cannot begin with this configuration (etcd's words, in the config's arena): the own name is not
 * in --initial-cluster, a URL is there twice, or (state "new") the own URLs are not those advertised. Names may be
 * resolved, for up to 30 s. */
const char *config_check_bootstrap(struct config *c);

/* The peer URLs of the own name in --initial-cluster, or NULL. */
const struct config_member *config_self(const struct config *c);

/* "m1=http://a:1,m2=http://b:1": what etcd prints of these members. */
const char *config_members_text(struct arena *arena, const struct config_member *members, size_t count);

/* Are the two the same URLs, if need be after resolving their hosts (tried for timeout_s seconds)? NULL, or why not. */
const char *config_same_urls(struct arena *arena, const struct url_list *a, const struct url_list *b,
                             unsigned timeout_s);

#endif
