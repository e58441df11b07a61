/* A member, put together from its data directory: store, log, consensus, state machine, core (wal.md "Start-up order").
 * What stands in the directory decides who the member is; the configuration decides it only for an empty one. */
#ifndef CMD_KEDGE_MEMBER_H
#define CMD_KEDGE_MEMBER_H

#include "cmd/kedge/config.h"
#include "cmd/kedge/engine.h"
#include "kv/watch.h"

struct member {
    struct config *config;
    struct arena arena; /* paths */
    const char *member_dir, *snap_dir, *wal_dir, *db_path;
    uint64_t id, cluster_id;
    struct engine engine;
    struct generation_config generation;
    struct kv *kv;
    struct raft *raft;
    struct watch_hub *hub;
    struct core *core;
    struct loop *loop;
    /* A member that joins at this start: who is there already (peer_add_remote); otherwise none. */
    const struct kv_member *remotes;
    size_t remote_count;
    /* while it starts */
    struct wal *wal;
    struct backend *backend;
    struct wal_contents contents;
};

/* Opens or creates the directory and starts the member on the loop. Whatever is wrong ends the process with a log line
 * that says what and where; nothing is overwritten then. */
void member_start(struct member *member, struct config *config, struct loop *loop);
/* After core_stopped. */
void member_stop(struct member *member);

/* Ends the process if this program cannot be a member of the cluster that the store belongs to: authentication is on,
 * which it could not enforce, or the cluster is of a later version. */
void member_check_serves(const struct kv *kv);

/* The wall clock in milliseconds since 1970: the core only takes request ids from it. */
int64_t member_wall_ms(void);

#endif
