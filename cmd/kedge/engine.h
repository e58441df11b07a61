/* The threads around the core: the log's, the store's, a worker and one that builds generations, each with a queue of
 * the core's jobs (core/job.h). The real counterpart of what chaos/sim simulates. What they finish comes back to the
 * core's loop through a mailbox.
 *
 * A job that fails for good ends the process here, with a log line that names file and offset (design.md, law 6). */
#ifndef CMD_KEDGE_ENGINE_H
#define CMD_KEDGE_ENGINE_H

#include "base/mailbox.h"
#include "base/net/loop.h"
#include "cmd/kedge/generation.h"
#include "core/core.h"
#include "raft/wal/wal.h"
#include <stdatomic.h>

struct engine_thread {
    pthread_t thread;
    struct mailbox box;
};

struct peers;

struct engine {
    struct core_env env; /* first: the core's world */
    struct peers *peers; /* cmd/kedge/peers.h: the env's half that speaks to others; NULL until it starts */
    struct core *core;   /* set by engine_attach */
    struct loop *loop;
    struct wal *wal;
    struct backend *backend;
    const struct wal_fs *fs;
    const char *snap_dir; /* DIR/member/snap */
    size_t max_wals, max_snapshots;
    uint64_t catchup_entries; /* --snapshot-catchup-entries; set after engine_start, 0 without */
    struct engine_thread log, store, worker, builder;
    struct list for_log; /* jobs for the log's thread, until the turn ends */
    struct loop_flush log_flush;
    const struct generation_config *generation; /* NULL: no image can be installed */
    atomic_bool giving_up;                      /* the log's thread stops waiting for space */
    struct mailbox finished;
    struct loop_hook hook;
};

/* wal and backend become the engine's (closed by engine_close). The texts must outlive it. */
void engine_start(struct engine *engine, struct loop *loop, struct wal *wal, struct backend *backend,
                  const struct wal_fs *fs, const char *snap_dir, size_t max_wals, size_t max_snapshots);
/* Images can be installed from now on. config is the caller's and outlives the engine. */
void engine_installs(struct engine *engine, const struct generation_config *config);
void engine_attach(struct engine *engine, struct core *core);
/* Before core_stop: what waits for space in the log comes back with ERR_STOPPED (core/job.h) instead of waiting on. */
void engine_give_up(struct engine *engine);
/* The v2 store's JSON of the members and the cluster's version as they are now. */
void engine_v2_json(const struct kv *kv, struct buffer *out);
/* After core_stopped: ends the threads. Then the core may be freed, and log and store be closed. */
void engine_stop_threads(struct engine *engine);
void engine_close(struct engine *engine);

#endif
