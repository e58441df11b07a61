/* The services of the client API, over the core. Each file grpc/service_*.c offers the methods of one service; a method
 * checks its request as etcd does, hands it to the core, and answers its call when the core is done.
 *
 * Thread: the core's, which is the loop's (--io-threads=0). */
#ifndef GRPC_SERVICES_H
#define GRPC_SERVICES_H

#include "core/core.h"
#include "grpc/server.h"

#define SERVER_VERSION "3.7.1" /* what programs parse (users.md section 3: exactly digits-dot-digits) */

struct services {
    struct core *core;
    struct loop *loop;
    uint32_t max_txn_ops;     /* --max-txn-ops */
    size_t max_request_bytes; /* --max-request-bytes: RangeStream's chunks are steered to it */
    uint32_t election_ms;     /* --election-timeout; 0 = 1000 */

    /* private */
    struct server *server;
    struct loop_hook hook;
    struct loop_timer no_leader; /* runs while there is none */
    bool leaderless;
    struct list tasks;    /* of service_task.node */
    struct list watching; /* watch streams with something to pull */
    struct list contests; /* of contest.node */
    bool stopping;
};

/* Registers all methods. `services` must outlive the server; core, loop and the limits are filled in. */
void services_register(struct services *services, struct server *server);
/* Before server_stop: calls that wait for others (locks, elections) end with ERR_STOPPED, as streams do then. */
void services_stop(struct services *services);
void services_close(struct services *services);

/* For server_options: what etcd's interceptors check, in their order (grpc.md "Metadata and interceptors"). */
int services_intercept(void *owner, struct call *call);
/* And the checks of a request that take long when it is long: a txn's. */
int services_check(const void *owner, const ProtobufCMessage *request);

/* Is this range one that a learner does not answer (ERR_NOT_SUPPORTED_FOR_LEARNER)? */
bool services_refuse_learner(struct services *services, const Etcdserverpb__RangeRequest *range);

/* The hub's ready callback (kv/watch.h, watch_config.ready): passed on to who opened the stream. */
struct watch_stream;
void service_watch_ready(struct watch_stream *stream, void *stream_arg);

/* --- between the files of the services --- */

/* Work that goes on in slices, one a turn or less, until the task is removed. In run it may be, and be freed. */
struct service_task {
    struct list node;
    void (*run)(struct service_task *task);
};
void service_task_add(struct services *services, struct service_task *task); /* from anywhere in a turn */
void service_task_remove(struct service_task *task);                         /* no effect if it is not added */

/* The argument of a watch stream: its owner's, embedded. ready: there is something to pull, not now but soon. */
struct service_watcher {
    void (*ready)(struct service_watcher *watcher);
};

/* Proposes and answers the call with what comes of it. `after` (may be NULL) runs instead of the reply on success. */
struct service_write {
    struct core_request request;
    struct call *call;
    struct services *services;
    void (*after)(struct service_write *write, ProtobufCMessage *response);
};
void service_propose(struct services *services, struct call *call, Etcdserverpb__InternalRaftRequest *internal,
                     void (*after)(struct service_write *write, ProtobufCMessage *response));

/* A method that etcd has and kedge has not yet: refused by its name, with Unimplemented. */
void service_not_yet(void *service, struct call *call, const ProtobufCMessage *message);

/* Maintenance.Snapshot. */
void service_snapshot(void *service, struct call *call, const ProtobufCMessage *message);
/* Maintenance.Downgrade. */
void service_downgrade(void *service, struct call *call, const ProtobufCMessage *message);

void service_kv(struct services *services, struct server *server);
void service_watch(struct services *services, struct server *server);
void service_lease(struct services *services, struct server *server);
void service_cluster(struct services *services, struct server *server);
void service_maintenance(struct services *services, struct server *server);
void service_auth(struct services *services, struct server *server);
void service_lock(struct services *services, struct server *server);
void service_election(struct services *services, struct server *server);
void service_health(struct services *services, struct server *server);

bool service_watch_run(struct services *services); /* pulls for streams that have become ready */

#endif
