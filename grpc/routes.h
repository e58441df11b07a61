/* The table of methods, by path. */
#ifndef GRPC_ROUTES_H
#define GRPC_ROUTES_H

#include "grpc/call.h"

struct routes_entry {
    const struct call_route *route; /* NULL = free */
    void *service;
    uint32_t path_len;
};

struct routes {
    struct routes_entry *entries; /* open addressing; zero-initialised is empty and valid */
    size_t count, capacity;       /* capacity is a power of two */
};

void routes_add(struct routes *routes, const struct call_route *route, void *service);
const struct routes_entry *routes_find(const struct routes *routes, struct bytes path); /* NULL if not there */
/* Does any route begin with "/SERVICE/"? */
bool routes_has_service(const struct routes *routes, struct bytes service);
void routes_free(struct routes *routes);

#endif
