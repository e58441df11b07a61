#include "grpc/routes.h"
#include "base/check.h"
#include <stdlib.h>

/* Paths share long beginnings and differ in their ends: the last bytes and the length tell them apart. */
static size_t hash(struct bytes path)
{
    uint64_t tail = 0;
    size_t n = path.len < 8 ? path.len : 8;
    memcpy(&tail, path.data + path.len - n, n);
    tail = (tail ^ path.len) * 0x9E3779B97F4A7C15u;
    return (size_t)(tail >> 32);
}

const struct routes_entry *routes_find(const struct routes *r, struct bytes path)
{
    if (r->capacity == 0 || path.len == 0) {
        return NULL;
    }
    for (size_t i = hash(path);; i++) {
        const struct routes_entry *e = &r->entries[i & (r->capacity - 1)];
        if (e->route == NULL) {
            return NULL;
        }
        if (e->path_len == path.len && memcmp(e->route->path, path.data, path.len) == 0) {
            return e;
        }
    }
}

static void insert(struct routes *r, struct routes_entry entry)
{
    size_t i = hash(bytes_of(entry.route->path, entry.path_len));
    while (r->entries[i & (r->capacity - 1)].route != NULL) {
        i++;
    }
    r->entries[i & (r->capacity - 1)] = entry;
}

static void grow(struct routes *r)
{
    struct routes old = *r;
    r->capacity = old.capacity == 0 ? 64 : old.capacity * 2;
    r->entries = mem_zalloc(r->capacity * sizeof *r->entries);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.entries[i].route != NULL) {
            insert(r, old.entries[i]);
        }
    }
    free(old.entries);
}

void routes_add(struct routes *r, const struct call_route *route, void *service)
{
    struct bytes path = bytes_str(route->path);
    CHECK(routes_find(r, path) == NULL, "route %s is there twice", route->path);
    if (r->count * 4 >= r->capacity) {
        grow(r);
    }
    insert(r, (struct routes_entry){.route = route, .service = service, .path_len = (uint32_t)path.len});
    r->count++;
}

bool routes_has_service(const struct routes *r, struct bytes service)
{
    for (size_t i = 0; i < r->capacity; i++) {
        const struct routes_entry *e = &r->entries[i];
        if (e->route != NULL && e->path_len > service.len + 1 && e->route->path[service.len + 1] == '/' &&
            memcmp(e->route->path + 1, service.data, service.len) == 0) {
            return true;
        }
    }
    return false;
}

void routes_free(struct routes *r)
{
    free(r->entries);
    *r = (struct routes){0};
}
