/* The plain HTTP pages beside gRPC: /health, /livez, /readyz, /version, /metrics (http.tsv), CORS, and the whitelist of
 * hosts. For the client port, the metrics port and the peer port (with grpc/peer_pages.h). */
#ifndef GRPC_PAGES_H
#define GRPC_PAGES_H

#include "base/net/http1.h"
#include "core/core.h"

enum pages_port { PAGES_CLIENT, PAGES_METRICS, PAGES_PEER };

struct pages {
    struct core *core;
    enum pages_port port;
    struct metrics_page *metrics; /* NULL = no such page: the peer port */
    const char *const *cors;      /* allowed origins; "*" = all. Client port */
    size_t cors_count;
    const char *const *hosts; /* allowed hosts; "*" or none = all. Client port */
    size_t host_count;
    /* Asked last, true if it took the request: the JSON gateway on the client port, raft's pages on the peer port. NULL
     * = there is nothing more. */
    bool (*more)(void *owner, struct http1_request *request);
    void *more_owner;
};

/* For http1_options.handle; owner is a struct pages. */
void pages_handle(void *owner, struct http1_request *request);

#endif
