/* Users and roles as the store has them (backend.md "auth", "authUsers", "authRoles"), read only: nothing changes them
 * yet. One thread: the core's. */
#ifndef KV_AUTH_H
#define KV_AUTH_H

#include "base/arena.h"
#include "kv/auth.pb-c.h"
#include "kv/backend.h"

struct kv;

/* 0 or ERR_CORRUPT_DATA. */
int auth_status(struct kv *kv, bool *enabled, uint64_t *revision);
/* All names of BACKEND_AUTH_USERS or BACKEND_AUTH_ROLES in byte order, as C strings in the arena. 0 or
 * ERR_CORRUPT_DATA. */
int auth_names(struct kv *kv, enum backend_table table, struct arena *arena, char ***names, size_t *count);
/* 0, ERR_USER_NOT_FOUND or ERR_ROLE_NOT_FOUND, ERR_CORRUPT_DATA. */
int auth_user(struct kv *kv, const char *name, struct arena *arena, Authpb__User **user);
int auth_role(struct kv *kv, const char *name, struct arena *arena, Authpb__Role **role);

#endif
