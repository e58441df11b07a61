/* Every flag of etcd 3.7.1, and kedge's own (facts: server-flags.tsv). Help is shown in this order. */
#include "cmd/kedge/flags.h"

#define MEMBER "Member"
#define CLUSTERING "Clustering"
#define SECURITY "Security"
#define AUTH "Auth"
#define METRICS "Metrics and tracing"
#define LOGGING "Logging"
#define UNSAFE "Unsafe"
#define OWN "kedge's own"

#define AT(field) offsetof(struct config, field)
#define WORKS(name, type, preset, field, section, help)                                                                \
    {                                                                                                                  \
        name, type, FLAG_WORKS, preset, NULL, AT(field), section, help                                                 \
    }
#define LATER(name, type, preset, section)                                                                             \
    {                                                                                                                  \
        name, type, FLAG_LATER, preset, NULL, FLAG_NO_FIELD, section, NULL                                             \
    }
#define MUTE(name)                                                                                                     \
    {                                                                                                                  \
        name, FLAG_IGNORED, FLAG_MUTE, "", NULL, FLAG_NO_FIELD, NULL, NULL                                             \
    }

/* clang-format off */
const struct flag_info flag_table[] = {
    WORKS("name", FLAG_STRING, "default", name, MEMBER, "name of this member, unique in the cluster"),
    WORKS("data-dir", FLAG_STRING, "", data_dir, MEMBER, "folder of the data; NAME.etcd if empty"),
    WORKS("wal-dir", FLAG_STRING, "", wal_dir, MEMBER, "folder of the write-ahead log, if it is to stand elsewhere"),
    WORKS("listen-client-urls", FLAG_URLS, "http://localhost:2379", listen_client_urls, MEMBER,
          "addresses for clients: gRPC and HTTP on one port"),
    WORKS("listen-peer-urls", FLAG_URLS, "http://localhost:2380", listen_peer_urls, MEMBER, "addresses for other members"),
    WORKS("listen-metrics-urls", FLAG_URLS, "", listen_metrics_urls, MEMBER,
          "further addresses that serve metrics and health only"),
    LATER("listen-client-http-urls", FLAG_URLS, "", MEMBER),
    WORKS("snapshot-count", FLAG_UINT, "10000", snapshot_count, MEMBER, "log entries between two checkpoints on disk"),
    WORKS("heartbeat-interval", FLAG_UINT, "100", heartbeat_interval_ms, MEMBER, "milliseconds between two heartbeats"),
    WORKS("election-timeout", FLAG_UINT, "1000", election_timeout_ms, MEMBER,
          "milliseconds without a leader before an election; at least 5 heartbeats, at most 50000"),
    WORKS("initial-election-tick-advance", FLAG_BOOL, "true", initial_election_tick_advance, MEMBER,
          "the first election after a start need not wait its whole time once others are reached"),
    WORKS("max-snapshots", FLAG_UINT, "5", max_snapshots, MEMBER, "checkpoint files kept, 0 = all (deprecated by etcd)"),
    WORKS("max-wals", FLAG_UINT, "5", max_wals, MEMBER, "write-ahead log files kept, 0 = all"),
    LATER("memory-mlock", FLAG_BOOL, "false", MEMBER),
    WORKS("quota-backend-bytes", FLAG_INT, "0", quota_backend_bytes, MEMBER,
          "size of the store at which writes are refused; 0 = 2 GiB, negative = none"),
    LATER("backend-bbolt-freelist-type", FLAG_STRING, "map", MEMBER),
    WORKS("backend-batch-interval", FLAG_DURATION, "0s", backend_batch_interval_ns, MEMBER,
          "longest time before changes are committed to the store; 0 = 100ms"),
    WORKS("backend-batch-limit", FLAG_INT, "0", backend_batch_limit, MEMBER,
          "only 0 and 10000 so far: batches end by time or 16 MiB"),
    WORKS("max-txn-ops", FLAG_UINT, "128", max_txn_ops, MEMBER, "operations allowed in a transaction"),
    WORKS("max-request-bytes", FLAG_UINT, "1572864", max_request_bytes, MEMBER, "largest request of a client"),
    WORKS("max-concurrent-streams", FLAG_UINT32, "4294967295", max_concurrent_streams, MEMBER,
          "streams that a connection may have open at a time"),
    WORKS("grpc-keepalive-min-time", FLAG_DURATION, "5s", grpc_keepalive_min_time_ns, MEMBER,
          "a client that pings more often is disconnected"),
    WORKS("grpc-keepalive-interval", FLAG_DURATION, "2h0m0s", grpc_keepalive_interval_ns, MEMBER,
          "silence after which the server pings a client, 0 = never"),
    WORKS("grpc-keepalive-timeout", FLAG_DURATION, "20s", grpc_keepalive_timeout_ns, MEMBER,
          "further silence after which it closes the connection"),
    WORKS("enable-grpc-gateway", FLAG_BOOL, "true", enable_grpc_gateway, MEMBER, "serve the JSON gateway"),
    WORKS("watch-progress-notify-interval", FLAG_DURATION, "0s", watch_progress_notify_interval_ns, MEMBER,
          "time between two progress notifications of an idle watch; 0 = 10m"),
    LATER("socket-reuse-port", FLAG_BOOL, "false", MEMBER),
    LATER("socket-reuse-address", FLAG_BOOL, "false", MEMBER),
    LATER("raft-read-timeout", FLAG_DURATION, "5s", MEMBER),
    LATER("raft-write-timeout", FLAG_DURATION, "5s", MEMBER),
    WORKS("snapshot-catchup-entries", FLAG_UINT, "5000", snapshot_catchup_entries, MEMBER,
          "entries that stay in the log behind a checkpoint, for members that are behind"),
    WORKS("max-learners", FLAG_INT, "1", max_learners, MEMBER, "learners that the cluster may have at a time"),
    LATER("compaction-batch-limit", FLAG_INT, "0", MEMBER),
    LATER("compaction-sleep-interval", FLAG_DURATION, "0s", MEMBER),
    LATER("compact-hash-check-time", FLAG_DURATION, "1m0s", MEMBER),
    LATER("corrupt-check-time", FLAG_DURATION, "0s", MEMBER),
    LATER("downgrade-check-time", FLAG_DURATION, "5s", MEMBER),
    LATER("warning-apply-duration", FLAG_DURATION, "100ms", MEMBER),
    LATER("warning-unary-request-duration", FLAG_DURATION, "300ms", MEMBER),
    LATER("bootstrap-defrag-threshold-megabytes", FLAG_UINT, "0", MEMBER),
    LATER("feature-gates", FLAG_GATES, "", MEMBER),
    LATER("config-file", FLAG_STRING, "", MEMBER),

    WORKS("initial-advertise-peer-urls", FLAG_URLS, "http://localhost:2380", initial_advertise_peer_urls, CLUSTERING,
          "peer URLs of this member, told to the others"),
    WORKS("initial-cluster", FLAG_STRING, "default=http://localhost:2380", initial_cluster, CLUSTERING,
          "NAME=PEER-URL,... of all members that begin the cluster"),
    {"initial-cluster-state", FLAG_ENUM, FLAG_WORKS, "new", "new|existing", AT(initial_cluster_state), CLUSTERING,
     "new, or existing to join a running cluster; of no meaning once there is data"},
    WORKS("initial-cluster-token", FLAG_STRING, "etcd-cluster", initial_cluster_token, CLUSTERING,
          "goes into the ids of cluster and members, so that clusters do not mix"),
    WORKS("advertise-client-urls", FLAG_URLS, "http://localhost:2379", advertise_client_urls, CLUSTERING,
          "client URLs of this member, told to clients; needed with --listen-client-urls"),
    WORKS("strict-reconfig-check", FLAG_BOOL, "true", strict_reconfig_check, CLUSTERING,
          "refuse membership changes that would lose the quorum"),
    WORKS("pre-vote", FLAG_BOOL, "true", pre_vote, CLUSTERING, "ask before an election whether it could be won"),
    WORKS("auto-compaction-mode", FLAG_STRING, "periodic", auto_compaction_mode, CLUSTERING, "periodic or revision"),
    WORKS("auto-compaction-retention", FLAG_STRING, "0", auto_compaction_retention, CLUSTERING,
          "history to keep; only 0, which is all, so far"),
    {"v2-deprecation", FLAG_ENUMS, FLAG_MUTE, "", "write-only|write-only-skip-check|write-only-drop-data|gone",
     FLAG_NO_FIELD, CLUSTERING, "of no meaning, as in etcd"},
    LATER("discovery-token", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-endpoints", FLAG_STRINGS, "", CLUSTERING),
    LATER("discovery-dial-timeout", FLAG_DURATION, "2s", CLUSTERING),
    LATER("discovery-request-timeout", FLAG_DURATION, "5s", CLUSTERING),
    LATER("discovery-keepalive-time", FLAG_DURATION, "2s", CLUSTERING),
    LATER("discovery-keepalive-timeout", FLAG_DURATION, "6s", CLUSTERING),
    LATER("discovery-insecure-transport", FLAG_BOOL, "true", CLUSTERING),
    LATER("discovery-insecure-skip-tls-verify", FLAG_BOOL, "false", CLUSTERING),
    LATER("discovery-cert", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-key", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-cacert", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-user", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-password", FLAG_STRING, "", CLUSTERING),
    {"discovery-fallback", FLAG_ENUM, FLAG_LATER, "exit", "exit|proxy", FLAG_NO_FIELD, CLUSTERING, NULL},
    LATER("discovery-srv", FLAG_STRING, "", CLUSTERING),
    LATER("discovery-srv-name", FLAG_STRING, "", CLUSTERING),

    WORKS("cors", FLAG_ORIGINS, "*", cors, SECURITY, "origins that browsers may call from"),
    WORKS("host-whitelist", FLAG_STRINGS, "*", host_whitelist, SECURITY, "host names that HTTP requests may name"),
    LATER("cert-file", FLAG_STRING, "", SECURITY),
    LATER("key-file", FLAG_STRING, "", SECURITY),
    LATER("client-cert-file", FLAG_STRING, "", SECURITY),
    LATER("client-key-file", FLAG_STRING, "", SECURITY),
    LATER("client-cert-auth", FLAG_BOOL, "false", SECURITY),
    LATER("client-crl-file", FLAG_STRING, "", SECURITY),
    LATER("client-cert-allowed-hostname", FLAG_STRINGS, "", SECURITY),
    LATER("trusted-ca-file", FLAG_STRING, "", SECURITY),
    LATER("auto-tls", FLAG_BOOL, "false", SECURITY),
    LATER("peer-cert-file", FLAG_STRING, "", SECURITY),
    LATER("peer-key-file", FLAG_STRING, "", SECURITY),
    LATER("peer-client-cert-file", FLAG_STRING, "", SECURITY),
    LATER("peer-client-key-file", FLAG_STRING, "", SECURITY),
    LATER("peer-client-cert-auth", FLAG_BOOL, "false", SECURITY),
    LATER("peer-trusted-ca-file", FLAG_STRING, "", SECURITY),
    LATER("peer-cert-allowed-cn", FLAG_STRINGS, "", SECURITY),
    LATER("peer-cert-allowed-hostname", FLAG_STRINGS, "", SECURITY),
    LATER("peer-auto-tls", FLAG_BOOL, "false", SECURITY),
    LATER("peer-crl-file", FLAG_STRING, "", SECURITY),
    LATER("peer-skip-client-san-verification", FLAG_BOOL, "false", SECURITY),
    LATER("self-signed-cert-validity", FLAG_UINT, "1", SECURITY),
    LATER("cipher-suites", FLAG_STRINGS, "", SECURITY),
    LATER("tls-min-version", FLAG_STRING, "TLS1.2", SECURITY),
    LATER("tls-max-version", FLAG_STRING, "", SECURITY),

    LATER("auth-token", FLAG_STRING, "simple", AUTH),
    LATER("auth-token-ttl", FLAG_UINT, "300", AUTH),
    LATER("bcrypt-cost", FLAG_UINT, "10", AUTH),

    LATER("metrics", FLAG_STRING, "basic", METRICS),
    LATER("enable-pprof", FLAG_BOOL, "false", METRICS),
    LATER("enable-distributed-tracing", FLAG_BOOL, "false", METRICS),
    LATER("distributed-tracing-address", FLAG_STRING, "localhost:4317", METRICS),
    LATER("distributed-tracing-service-name", FLAG_STRING, "etcd", METRICS),
    LATER("distributed-tracing-instance-id", FLAG_STRING, "", METRICS),
    LATER("distributed-tracing-sampling-rate", FLAG_INT, "0", METRICS),

    WORKS("logger", FLAG_STRING, "zap", logger, LOGGING, "only zap, the name of etcd's format"),
    WORKS("log-outputs", FLAG_STRINGS, "default", log_outputs, LOGGING, "default, stderr or stdout"),
    WORKS("log-level", FLAG_STRING, "info", log_level_text, LOGGING, "debug, info, warn, error, panic or fatal"),
    WORKS("log-format", FLAG_STRING, "json", log_format_text, LOGGING, "json or console"),
    LATER("enable-log-rotation", FLAG_BOOL, "false", LOGGING),
    LATER("log-rotation-config-json", FLAG_STRING,
          "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}", LOGGING),

    WORKS("unsafe-no-fsync", FLAG_BOOL, "false", unsafe_no_fsync, UNSAFE, "sync nothing to disk: data gets lost"),
    WORKS("force-new-cluster", FLAG_BOOL, "false", force_new_cluster, UNSAFE,
          "make this member's data a new cluster of one: for a cluster that has lost its quorum for good"),

    {"io-threads", FLAG_UINT, FLAG_OWN, "0", NULL, AT(io_threads), OWN,
     "threads for client connections; only 0, all on the core's thread, so far"},
    {"backend-map-bytes", FLAG_UINT, FLAG_OWN, "0", NULL, AT(backend_map_bytes), OWN,
     "address space of the store, for small limits of virtual memory; 0 = chosen by the quota"},
    {"migrate-disable-auth", FLAG_BOOL, FLAG_OWN, "false", NULL, AT(migrate_disable_auth), OWN,
     "convert a data folder of etcd's whose authentication is enabled, and switch it off"},
    {"backup-dir", FLAG_STRING, FLAG_OWN, "", NULL, AT(backup_dir), OWN,
     "folder for backups that the server takes itself; it must exist"},
    {"backup-schedule", FLAG_STRING, FLAG_OWN, "", NULL, AT(backup_schedule), OWN,
     "when: an interval (6h), five fields of cron in UTC (15 3 * * *), or @hourly, @daily, @weekly; empty = only when asked"},
    {"backup-keep", FLAG_STRING, FLAG_OWN, "last=7,hourly=24,daily=7,weekly=4", NULL, AT(backup_keep), OWN,
     "which stay: a count, or CLASS=COUNT,... of last, hourly, daily, weekly, monthly, yearly; all = all"},
    {"backup-compress", FLAG_ENUM, FLAG_OWN, "none", "none|zstd", AT(backup_compress), OWN,
     "none, or zstd (etcd's tools need it unpacked: zstd -d)"},
    {"version", FLAG_BOOL, FLAG_WORKS, "false", NULL, AT(print_version), NULL, NULL},

    MUTE("cluster-active-size"), MUTE("cluster-remove-delay"), MUTE("cluster-sync-interval"), MUTE("config"),
    MUTE("force"), MUTE("max-result-buffer"), MUTE("max-retry-attempts"), MUTE("peer-heartbeat-interval"),
    MUTE("peer-election-timeout"), MUTE("retry-interval"), MUTE("snapshot"), MUTE("v"), MUTE("vv"),
    MUTE("test.coverprofile"), MUTE("test.outputdir"),
};
/* clang-format on */

const size_t flag_count = sizeof flag_table / sizeof flag_table[0];
