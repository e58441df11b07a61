#include "kv/auth.h"

#include "base/check.h"
#include "base/error.h"
#include "base/pb.h"
#include "kv/store.h"
#include <stdlib.h>

/* --- rows in memory --- */

static size_t place(const struct auth_rows *rows, struct bytes name)
{
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(shared_bytes(rows->items[middle].name), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct auth_row *find(const struct auth_rows *rows, struct bytes name)
{
    size_t at = place(rows, name);
    bool there = at < rows->count && bytes_equal(shared_bytes(rows->items[at].name), name);
    return there ? &rows->items[at] : NULL;
}

static void set(struct auth_rows *rows, struct bytes name, struct bytes value)
{
    struct auth_row *row = find(rows, name);
    if (row == NULL) {
        size_t at = place(rows, name);
        if (rows->count == rows->capacity) {
            rows->capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
            rows->items = mem_realloc(rows->items, rows->capacity * sizeof rows->items[0]);
        }
        row = &rows->items[at];
        memmove(row + 1, row, (rows->count - at) * sizeof *row);
        rows->count++;
        row->name = shared_copy(name);
    } else {
        shared_unref(row->value);
    }
    row->value = shared_copy(value);
}

static void row_free(struct auth_row *row)
{
    shared_unref(row->name);
    shared_unref(row->value);
}

static void rows_free(struct auth_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        row_free(&rows->items[i]);
    }
    free(rows->items);
}

void auth_free(struct auth *auth)
{
    rows_free(&auth->users);
    rows_free(&auth->roles);
    *auth = (struct auth){0};
}

static struct auth_rows *rows_of(struct auth *auth, enum backend_table table)
{
    return table == BACKEND_AUTH_USERS ? &auth->users : &auth->roles;
}

static int load_setting(struct auth *auth, struct bytes key, struct bytes value)
{
    if (bytes_equal(key, bytes_str("authEnabled"))) {
        auth->enabled = value.len == 1 && value.data[0] == 1;
        return 0;
    }
    if (!bytes_equal(key, bytes_str("authRevision"))) {
        return 0;
    }
    if (value.len != 8) {
        return ERR_CORRUPT_DATA;
    }
    auth->revision = get_be64(value.data);
    return 0;
}

int auth_load(struct auth *auth, enum backend_table table, struct bytes key, struct bytes value)
{
    if (table == BACKEND_AUTH) {
        return load_setting(auth, key, value);
    }
    const ProtobufCMessageDescriptor *type =
        table == BACKEND_AUTH_USERS ? &authpb__user__descriptor : &authpb__role__descriptor;
    struct arena arena = {0};
    bool readable = pb_unpack(type, value, &arena, NULL) != NULL;
    arena_free(&arena);
    if (!readable) {
        return ERR_CORRUPT_DATA;
    }
    set(rows_of(auth, table), key, value);
    return 0;
}

/* --- changes --- */

void auth_put(struct kv *kv, enum backend_table table, struct bytes name, const ProtobufCMessage *row)
{
    struct buffer bytes = {0};
    CHECK(name.len <= BACKEND_NAME_MAX, "a name of %zu bytes: an etcd ends here too", name.len);
    pb_append(&bytes, row);
    set(rows_of(&kv->auth, table), name, buffer_bytes(&bytes));
    batch_put(kv, table, name, buffer_bytes(&bytes));
    buffer_free(&bytes);
}

void auth_delete(struct kv *kv, enum backend_table table, struct bytes name)
{
    struct auth_rows *rows = rows_of(&kv->auth, table);
    struct auth_row *row = find(rows, name);
    CHECK(row != NULL);
    batch_delete(kv, table, name);
    row_free(row);
    rows->count--;
    memmove(row, row + 1, (size_t)(&rows->items[rows->count] - row) * sizeof *row);
}

/* --- reading --- */

bool kv_auth_enabled(const struct kv *kv)
{
    return kv->auth.enabled;
}

int auth_status(struct kv *kv, bool *enabled, uint64_t *revision)
{
    *enabled = kv->auth.enabled;
    *revision = kv->auth.revision;
    return 0;
}

int auth_names(struct kv *kv, enum backend_table table, struct arena *arena, char ***names, size_t *count)
{
    const struct auth_rows *rows = rows_of(&kv->auth, table);
    *count = rows->count;
    *names = arena_alloc(arena, (rows->count + 1) * sizeof **names);
    for (size_t i = 0; i < rows->count; i++) {
        struct bytes name = shared_bytes(rows->items[i].name);
        (*names)[i] = arena_printf(arena, "%.*s", (int)name.len, (const char *)name.data);
    }
    return 0;
}

static int get(struct kv *kv, enum backend_table table, const char *name, struct arena *arena,
               const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
    const struct auth_row *row = find(rows_of(&kv->auth, table), bytes_str(name));
    *out = row == NULL ? NULL : pb_unpack(type, arena_copy(arena, shared_bytes(row->value)), arena, NULL);
    return row == NULL ? ERR_ABSENT : *out == NULL ? ERR_CORRUPT_DATA : 0;
}

int auth_user(struct kv *kv, const char *name, struct arena *arena, Authpb__User **user)
{
    ProtobufCMessage *message;
    int error = get(kv, BACKEND_AUTH_USERS, name, arena, &authpb__user__descriptor, &message);
    *user = (Authpb__User *)message;
    return error == ERR_ABSENT ? ERR_USER_NOT_FOUND : error;
}

int auth_role(struct kv *kv, const char *name, struct arena *arena, Authpb__Role **role)
{
    ProtobufCMessage *message;
    int error = get(kv, BACKEND_AUTH_ROLES, name, arena, &authpb__role__descriptor, &message);
    *role = (Authpb__Role *)message;
    return error == ERR_ABSENT ? ERR_ROLE_NOT_FOUND : error;
}
