/* Users, roles and whether they are enforced (backend.md "auth", "authUsers", "authRoles"): kept as the log made them,
 * so that a cluster which has them loses nothing through a kedge member, and read by the Auth service. kedge enforces
 * nothing yet: a member that finds authentication enabled must not serve (kv_auth_enabled). One thread: the core's. */
#ifndef KV_AUTH_H
#define KV_AUTH_H

#include "base/arena.h"
#include "kv/auth.pb-c.h"
#include "kv/backend.h"
#include "kv/raft_internal.pb-c.h"

struct kv;

struct auth_row {
    struct shared *name, *value; /* value: authpb.User or authpb.Role */
};

/* By name. */
struct auth_rows {
    struct auth_row *items;
    size_t count, capacity;
};

struct auth {
    bool enabled;
    uint64_t revision; /* 1 = nothing was changed yet */
    struct auth_rows users, roles;
};

void auth_free(struct auth *auth);

/* Rows of the three tables at start: 0 or ERR_CORRUPT_DATA. */
int auth_load(struct auth *auth, enum backend_table table, struct bytes key, struct bytes value);

/* Applies one of the entries 1000 to 1204 as etcd does. 0, or the error for the waiter. */
int auth_apply(struct kv *kv, const Etcdserverpb__InternalRaftRequest *request, struct arena *arena);

/* --- reading --- */

/* 0 or ERR_CORRUPT_DATA. */
int auth_status(struct kv *kv, bool *enabled, uint64_t *revision);
/* All names of BACKEND_AUTH_USERS or BACKEND_AUTH_ROLES in byte order, as C strings in the arena. 0 or
 * ERR_CORRUPT_DATA. */
int auth_names(struct kv *kv, enum backend_table table, struct arena *arena, char ***names, size_t *count);
/* 0, ERR_USER_NOT_FOUND or ERR_ROLE_NOT_FOUND, ERR_CORRUPT_DATA. */
int auth_user(struct kv *kv, const char *name, struct arena *arena, Authpb__User **user);
int auth_role(struct kv *kv, const char *name, struct arena *arena, Authpb__Role **role);

/* --- between kv/auth.c and kv/auth_apply.c: rows in memory and in the store --- */

void auth_put(struct kv *kv, enum backend_table table, struct bytes name, const ProtobufCMessage *row);
void auth_delete(struct kv *kv, enum backend_table table, struct bytes name);

#endif
