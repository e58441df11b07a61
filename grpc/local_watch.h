/* A watch of this process's own: what a client would do with a Watch stream, for services that wait for changes of keys
 * (locks, elections). It takes part in the hub as any stream does: in order, nothing lost, and one that is slow catches
 * up out of history.
 *
 * Thread: the loop's. */
#ifndef GRPC_LOCAL_WATCH_H
#define GRPC_LOCAL_WATCH_H

#include "grpc/services.h"
#include "kv/watch.h"

struct local_watch {
    /* One response, as a client would get it ("created" ones too), valid until it returns. The watch may be closed in
     * it, and freed. */
    void (*on_response)(struct local_watch *watch, const Etcdserverpb__WatchResponse *response);

    /* private */
    struct service_watcher watcher;
    struct service_task task;
    struct services *services;
    struct watch_stream *stream; /* NULL: not open */
    struct watch_out out;
    bool ready, held;
    bool *gone; /* of the delivery under way */
};

/* Zeroed, and with on_response set. The request's bytes are copied. */
void local_watch_open(struct local_watch *watch, struct services *services, const struct watch_request *request);
/* While held, no response comes. */
void local_watch_hold(struct local_watch *watch, bool held);
/* No effect on one that is not open. */
void local_watch_close(struct local_watch *watch);

#endif
