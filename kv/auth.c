#include "kv/auth.h"

#include "base/error.h"
#include "base/pb.h"
#include "kv/store.h"

/* --- one row --- */

/* Copied into the arena. 0, ERR_ABSENT, ERR_CORRUPT_DATA. */
static int get(struct kv *kv, enum backend_table table, const char *key, struct arena *arena, struct bytes *row)
{
    struct backend_read *read;
    int error = backend_read_begin(kv->backend, &read);
    if (error != 0) {
        return error;
    }
    struct bytes value;
    error = backend_get(read, table, bytes_str(key), &value);
    if (error == 0) {
        *row = arena_copy(arena, value);
    }
    backend_read_end(read);
    return error;
}

int auth_status(struct kv *kv, bool *enabled, uint64_t *revision)
{
    struct arena arena = {0};
    struct bytes row = {0};
    int error = get(kv, BACKEND_AUTH, "authEnabled", &arena, &row);
    *enabled = error == 0 && row.len == 1 && row.data[0] == 1;
    if (error == 0 || error == ERR_ABSENT) {
        error = get(kv, BACKEND_AUTH, "authRevision", &arena, &row);
    }
    *revision = error == 0 && row.len == 8 ? get_be64(row.data) : 1; /* absent: its first commit is on the way */
    arena_free(&arena);
    return error == ERR_ABSENT ? 0 : error;
}

/* --- lists --- */

struct names {
    struct arena *arena;
    char **names;
    size_t count, capacity;
};

static bool add_name(void *arg, struct bytes key, struct bytes value)
{
    (void)value;
    struct names *names = arg;
    if (names->count == names->capacity) {
        names->capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        char **grown = arena_alloc(names->arena, names->capacity * sizeof *grown);
        if (names->count > 0) {
            memcpy(grown, names->names, names->count * sizeof *grown);
        }
        names->names = grown;
    }
    names->names[names->count++] = arena_printf(names->arena, "%.*s", (int)key.len, (const char *)key.data);
    return true;
}

int auth_names(struct kv *kv, enum backend_table table, struct arena *arena, char ***names, size_t *count)
{
    struct names list = {.arena = arena};
    struct backend_read *read;
    int error = backend_read_begin(kv->backend, &read);
    if (error == 0) {
        error = backend_scan(read, table, (struct bytes){0}, add_name, &list);
        backend_read_end(read);
    }
    *names = list.names;
    *count = list.count;
    return error;
}

/* --- messages --- */

static int get_message(struct kv *kv, enum backend_table table, const char *name, struct arena *arena,
                       const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
    struct bytes row = {0};
    int error = get(kv, table, name, arena, &row);
    if (error != 0) {
        return error;
    }
    *out = pb_unpack(type, row, arena, NULL);
    return *out != NULL ? 0 : ERR_CORRUPT_DATA;
}

int auth_user(struct kv *kv, const char *name, struct arena *arena, Authpb__User **user)
{
    ProtobufCMessage *message = NULL;
    int error = name[0] == '\0' ? ERR_ABSENT
                                : get_message(kv, BACKEND_AUTH_USERS, name, arena, &authpb__user__descriptor, &message);
    *user = (Authpb__User *)message;
    return error == ERR_ABSENT ? ERR_USER_NOT_FOUND : error;
}

int auth_role(struct kv *kv, const char *name, struct arena *arena, Authpb__Role **role)
{
    ProtobufCMessage *message = NULL;
    int error = name[0] == '\0' ? ERR_ABSENT
                                : get_message(kv, BACKEND_AUTH_ROLES, name, arena, &authpb__role__descriptor, &message);
    *role = (Authpb__Role *)message;
    return error == ERR_ABSENT ? ERR_ROLE_NOT_FOUND : error;
}
