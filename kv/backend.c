/* Dispatch to the implementation, and what both have in common: names of the tables, the limit of views. */
#include "kv/backend.h"
#include "base/check.h"
#include "base/error.h"
#include "kv/backend_long.h"

const char *backend_table_name(enum backend_table table)
{
    static const char *const names[BACKEND_TABLES] = {
        [BACKEND_KEY] = "key",
        [BACKEND_META] = "meta",
        [BACKEND_LEASE] = "lease",
        [BACKEND_ALARM] = "alarm",
        [BACKEND_CLUSTER] = "cluster",
        [BACKEND_MEMBERS] = "members",
        [BACKEND_MEMBERS_REMOVED] = "members_removed",
        [BACKEND_AUTH] = "auth",
        [BACKEND_AUTH_USERS] = "authUsers",
        [BACKEND_AUTH_ROLES] = "authRoles",
        [BACKEND_KEDGE] = "kedge",
    };
    CHECK((unsigned)table < BACKEND_TABLES, "%u", (unsigned)table);
    return names[table];
}

static void check_batch(const struct backend_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct backend_op *op = &batch->ops[i];
        CHECK(op->table < BACKEND_TABLES && op->kind <= BACKEND_DELETE, "table %u, kind %u", op->table, op->kind);
        size_t most = backend_long_table((enum backend_table)op->table) ? BACKEND_NAME_MAX : BACKEND_KEY_MAX;
        CHECK(op->key.len >= 1 && op->key.len <= most, "%zu", op->key.len);
    }
}

int backend_commit(struct backend *b, const struct backend_batch *batch)
{
    struct backend_batch shortened;
    struct buffer memory = {0};
    check_batch(batch);
    int error = b->driver->commit(b, backend_long_batch(batch, &shortened, &memory) ? &shortened : batch);
    buffer_free(&memory);
    return error;
}

int backend_read_begin(struct backend *b, struct backend_read **out)
{
    int error = b->driver->read_begin(b, out);
    if (error == 0) {
        atomic_fetch_add(&b->reads, 1);
        (*out)->backend = b;
        (*out)->view = false;
    }
    return error;
}

void backend_read_end(struct backend_read *r)
{
    CHECK(!r->view);
    atomic_fetch_sub(&r->backend->reads, 1);
    r->backend->driver->read_end(r);
}

int backend_get(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value)
{
    return backend_long_table(table) ? backend_long_get(r, table, key, value)
                                     : r->backend->driver->get(r, table, key, value);
}

int backend_get_known(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value)
{
    int error = backend_get(r, table, key, value);
    return error == ERR_ABSENT ? r->backend->driver->missing(r->backend, table) : error;
}

int backend_scan(struct backend_read *r, enum backend_table table, struct bytes from,
                 bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    return backend_long_table(table) ? backend_long_scan(r, table, from, visit, arg)
                                     : r->backend->driver->scan(r, table, from, visit, arg);
}

int backend_scan_lengths(struct backend_read *r, enum backend_table table, struct bytes from,
                         bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    return backend_long_table(table) ? backend_long_scan(r, table, from, visit, arg)
                                     : r->backend->driver->scan_lengths(r, table, from, visit, arg);
}

uint64_t backend_count(struct backend_read *r, enum backend_table table)
{
    return r->backend->driver->count(r, table);
}

int backend_view_open(struct backend *b, struct backend_read **out)
{
    if (atomic_fetch_add(&b->views, 1) >= BACKEND_VIEWS) {
        atomic_fetch_sub(&b->views, 1);
        return ERR_AGAIN;
    }
    int error = backend_read_begin(b, out);
    if (error != 0) {
        atomic_fetch_sub(&b->views, 1);
        return error;
    }
    (*out)->view = true;
    return 0;
}

void backend_view_close(struct backend_read *r)
{
    CHECK(r->view);
    r->view = false;
    atomic_fetch_sub(&r->backend->views, 1);
    backend_read_end(r);
}

bool backend_is_read(const struct backend *b)
{
    return atomic_load(&b->reads) > 0;
}

struct backend_stats backend_stats(const struct backend *b)
{
    return b->driver->stats(b);
}

int backend_repack(struct backend *b, size_t budget_bytes, struct buffer *cursor)
{
    return b->driver->repack(b, budget_bytes, cursor);
}

char *backend_fault(const struct backend *b)
{
    return b->driver->fault(b);
}

void backend_close(struct backend *b)
{
    if (b == NULL) {
        return;
    }
    CHECK(atomic_load(&b->reads) == 0, "%d reads open", atomic_load(&b->reads));
    b->driver->close(b);
}
