/* Entries about users and roles, judged as etcd 3.7.1's auth store judges them (server/auth/store.go). Nobody waits
 * here for an answer: kedge proposes none of them yet, they come from an etcd that leads. */
#include "base/check.h"
#include "base/error.h"
#include "kv/op.h"
#include "kv/store.h"
#include <stdlib.h>

static void save_revision(struct kv *kv)
{
    uint8_t number[8];
    put_be64(number, ++kv->auth.revision);
    batch_put(kv, BACKEND_AUTH, bytes_str("authRevision"), bytes_of(number, sizeof number));
}

static void put_user(struct kv *kv, const Authpb__User *user)
{
    auth_put(kv, BACKEND_AUTH_USERS, op_bytes(user->name), &user->base);
}

static void put_role(struct kv *kv, const Authpb__Role *role)
{
    auth_put(kv, BACKEND_AUTH_ROLES, op_bytes(role->name), &role->base);
}

static ProtobufCBinaryData text(const char *s)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)s, .len = strlen(s)};
}

/* --- roles of a user: sorted texts --- */

static bool has_role(const Authpb__User *user, const char *role)
{
    for (size_t i = 0; i < user->n_roles; i++) {
        if (strcmp(user->roles[i], role) == 0) {
            return true;
        }
    }
    return false;
}

static void add_role(Authpb__User *user, const char *role, struct arena *arena)
{
    char **roles = arena_alloc(arena, (user->n_roles + 1) * sizeof *roles);
    size_t n = 0;
    while (n < user->n_roles && strcmp(user->roles[n], role) < 0) {
        roles[n] = user->roles[n];
        n++;
    }
    roles[n] = (char *)(uintptr_t)role;
    for (size_t i = n; i < user->n_roles; i++) {
        roles[i + 1] = user->roles[i];
    }
    user->roles = roles;
    user->n_roles++;
}

static bool remove_role(Authpb__User *user, const char *role)
{
    size_t kept = 0;
    for (size_t i = 0; i < user->n_roles; i++) {
        if (strcmp(user->roles[i], role) != 0) {
            user->roles[kept++] = user->roles[i];
        }
    }
    bool removed = kept < user->n_roles;
    user->n_roles = kept;
    return removed;
}

/* --- users --- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Go's base64.StdEncoding: whole groups, padded; line ends are skipped. */
static bool from_base64(const char *in, struct arena *arena, ProtobufCBinaryData *out)
{
    uint32_t group = 0;
    unsigned digits = 0, padding = 0;
    out->data = arena_alloc(arena, strlen(in) + 1);
    out->len = 0;
    for (; *in != '\0'; in++) {
        if (*in == '\n' || *in == '\r') {
            continue;
        }
        int digit = *in == '=' ? 0 : base64_digit(*in);
        padding += *in == '=';
        if (digit < 0 || padding > 2 || (*in != '=' && padding > 0) || (*in == '=' && digits < 2)) {
            return false;
        }
        group = group << 6 | (uint32_t)digit;
        if (++digits == 4) {
            for (unsigned i = 0; i < 3 - padding; i++) {
                out->data[out->len++] = (uint8_t)(group >> (16 - 8 * i));
            }
            group = digits = 0;
            if (padding > 0 && in[1] != '\0') {
                return false;
            }
        }
    }
    return digits == 0;
}

/* etcd 3.6 and later hash before they propose. An older leader's entry has the password itself, and each member makes
 * a hash with a salt of its own of it. */
static int password_of(const char *plain, const char *hashed, struct arena *arena, ProtobufCBinaryData *out)
{
    CHECK(*plain == '\0' || *hashed != '\0',
          "an entry has a password that is not hashed: it is of an etcd before 3.6, whose users kedge cannot apply");
    return from_base64(hashed, arena, out) ? 0 : ERR_NO_PASSWORD_USER;
}

static int user_add(struct kv *kv, const Etcdserverpb__AuthUserAddRequest *r, struct arena *arena)
{
    Authpb__User *old, user = AUTHPB__USER__INIT;
    Authpb__UserAddOptions options = AUTHPB__USER_ADD_OPTIONS__INIT;
    if (*r->name == '\0') {
        return ERR_USER_EMPTY;
    }
    if (auth_user(kv, r->name, arena, &old) != ERR_USER_NOT_FOUND) {
        return ERR_USER_ALREADY_EXIST;
    }
    user.name = text(r->name);
    user.options = r->options == NULL ? &options : r->options;
    int error = user.options->no_password ? 0 : password_of(r->password, r->hashedpassword, arena, &user.password);
    if (error == 0) {
        put_user(kv, &user);
    }
    return error;
}

static int user_delete(struct kv *kv, const Etcdserverpb__AuthUserDeleteRequest *r, struct arena *arena)
{
    Authpb__User *user;
    if (kv->auth.enabled && strcmp(r->name, "root") == 0) {
        return ERR_INVALID_AUTH_MGMT;
    }
    int error = auth_user(kv, r->name, arena, &user);
    if (error == 0) {
        auth_delete(kv, BACKEND_AUTH_USERS, bytes_str(r->name));
    }
    return error;
}

static int user_change_password(struct kv *kv, const Etcdserverpb__AuthUserChangePasswordRequest *r,
                                struct arena *arena)
{
    Authpb__User *user;
    int error = auth_user(kv, r->name, arena, &user);
    if (error != 0) {
        return error;
    }
    user->password = (ProtobufCBinaryData){0};
    if (user->options == NULL || !user->options->no_password) {
        error = password_of(r->password, r->hashedpassword, arena, &user->password);
    }
    if (error == 0) {
        put_user(kv, user);
    }
    return error;
}

/* A role that the user has already changes nothing, not even the revision: *changed. */
static int user_grant(struct kv *kv, const Etcdserverpb__AuthUserGrantRoleRequest *r, struct arena *arena,
                      bool *changed)
{
    Authpb__User *user;
    Authpb__Role *role;
    int error = auth_user(kv, r->user, arena, &user);
    if (error == 0 && strcmp(r->role, "root") != 0) {
        error = auth_role(kv, r->role, arena, &role);
    }
    if (error != 0) {
        return error;
    }
    *changed = !has_role(user, r->role);
    if (*changed) {
        add_role(user, r->role, arena);
        put_user(kv, user);
    }
    return 0;
}

static int user_revoke(struct kv *kv, const Etcdserverpb__AuthUserRevokeRoleRequest *r, struct arena *arena)
{
    Authpb__User *user;
    if (kv->auth.enabled && strcmp(r->name, "root") == 0 && strcmp(r->role, "root") == 0) {
        return ERR_INVALID_AUTH_MGMT;
    }
    int error = auth_user(kv, r->name, arena, &user);
    if (error != 0) {
        return error;
    }
    if (!remove_role(user, r->role)) {
        return ERR_ROLE_NOT_GRANTED;
    }
    put_user(kv, user);
    return 0;
}

/* --- roles --- */

static int role_add(struct kv *kv, const Etcdserverpb__AuthRoleAddRequest *r, struct arena *arena)
{
    Authpb__Role *old, role = AUTHPB__ROLE__INIT;
    if (*r->name == '\0') {
        return ERR_ROLE_EMPTY;
    }
    if (auth_role(kv, r->name, arena, &old) != ERR_ROLE_NOT_FOUND) {
        return ERR_ROLE_ALREADY_EXIST;
    }
    role.name = text(r->name);
    put_role(kv, &role);
    return 0;
}

static int role_delete(struct kv *kv, const Etcdserverpb__AuthRoleDeleteRequest *r, struct arena *arena)
{
    Authpb__Role *role;
    char **users;
    size_t count;
    if (kv->auth.enabled && strcmp(r->role, "root") == 0) {
        return ERR_INVALID_AUTH_MGMT;
    }
    int error = auth_role(kv, r->role, arena, &role);
    if (error != 0) {
        return error;
    }
    auth_delete(kv, BACKEND_AUTH_ROLES, bytes_str(r->role));
    auth_names(kv, BACKEND_AUTH_USERS, arena, &users, &count);
    for (size_t i = 0; i < count; i++) {
        Authpb__User *user;
        if (auth_user(kv, users[i], arena, &user) == 0 && remove_role(user, r->role)) {
            put_user(kv, user);
        }
    }
    return 0;
}

static bool valid_range(const Authpb__Permission *p)
{
    struct bytes key = op_bytes(p->key), end = op_bytes(p->range_end);
    bool to_infinity = end.len == 1 && end.data[0] == 0;
    return key.len > 0 && (end.len == 0 || to_infinity || bytes_compare(key, end) < 0);
}

/* Sorted by key; several ends of one key stand in the order in which they came. */
static int role_grant(struct kv *kv, const Etcdserverpb__AuthRoleGrantPermissionRequest *r, struct arena *arena)
{
    Authpb__Role *role;
    if (r->perm == NULL) {
        return ERR_PERMISSION_NOT_GIVEN;
    }
    if (!valid_range(r->perm)) {
        return ERR_INVALID_AUTH_MGMT;
    }
    int error = auth_role(kv, r->name, arena, &role);
    if (error != 0) {
        return error;
    }
    struct bytes key = op_bytes(r->perm->key), end = op_bytes(r->perm->range_end);
    size_t first = 0, behind = 0;
    while (behind < role->n_keypermission && bytes_compare(op_bytes(role->keypermission[behind]->key), key) <= 0) {
        first += bytes_compare(op_bytes(role->keypermission[behind]->key), key) < 0;
        behind++;
    }
    if (first < behind && bytes_equal(op_bytes(role->keypermission[first]->range_end), end)) {
        role->keypermission[first]->permtype = r->perm->permtype;
    } else {
        Authpb__Permission **list = arena_alloc(arena, (role->n_keypermission + 1) * sizeof *list);
        for (size_t i = 0; i < role->n_keypermission; i++) {
            list[i < behind ? i : i + 1] = role->keypermission[i];
        }
        list[behind] = r->perm;
        role->keypermission = list;
        role->n_keypermission++;
    }
    put_role(kv, role);
    return 0;
}

static int role_revoke(struct kv *kv, const Etcdserverpb__AuthRoleRevokePermissionRequest *r, struct arena *arena)
{
    Authpb__Role *role;
    int error = auth_role(kv, r->role, arena, &role);
    if (error != 0) {
        return error;
    }
    size_t kept = 0;
    for (size_t i = 0; i < role->n_keypermission; i++) {
        Authpb__Permission *p = role->keypermission[i];
        if (!bytes_equal(op_bytes(p->key), op_bytes(r->key)) ||
            !bytes_equal(op_bytes(p->range_end), op_bytes(r->range_end))) {
            role->keypermission[kept++] = p;
        }
    }
    if (kept == role->n_keypermission) {
        return ERR_PERMISSION_NOT_GRANTED;
    }
    role->n_keypermission = kept;
    put_role(kv, role);
    return 0;
}

/* --- on and off --- */

static int enable(struct kv *kv, struct arena *arena)
{
    static const uint8_t on = 1;
    Authpb__User *root;
    if (kv->auth.enabled) {
        return 0;
    }
    if (auth_user(kv, "root", arena, &root) != 0) {
        return ERR_ROOT_USER_NOT_EXIST;
    }
    if (!has_role(root, "root")) {
        return ERR_ROOT_ROLE_NOT_EXIST;
    }
    kv->auth.enabled = true;
    batch_put(kv, BACKEND_AUTH, bytes_str("authEnabled"), bytes_of(&on, 1));
    return 0;
}

static bool disable(struct kv *kv)
{
    static const uint8_t off = 0;
    if (!kv->auth.enabled) {
        return false;
    }
    kv->auth.enabled = false;
    batch_put(kv, BACKEND_AUTH, bytes_str("authEnabled"), bytes_of(&off, 1));
    return true;
}

/* --- all together --- */

static int change(struct kv *kv, const Etcdserverpb__InternalRaftRequest *r, struct arena *arena, bool *changed)
{
    return r->auth_user_add != NULL                ? user_add(kv, r->auth_user_add, arena)
           : r->auth_user_delete != NULL           ? user_delete(kv, r->auth_user_delete, arena)
           : r->auth_user_change_password != NULL  ? user_change_password(kv, r->auth_user_change_password, arena)
           : r->auth_user_grant_role != NULL       ? user_grant(kv, r->auth_user_grant_role, arena, changed)
           : r->auth_user_revoke_role != NULL      ? user_revoke(kv, r->auth_user_revoke_role, arena)
           : r->auth_role_add != NULL              ? role_add(kv, r->auth_role_add, arena)
           : r->auth_role_delete != NULL           ? role_delete(kv, r->auth_role_delete, arena)
           : r->auth_role_grant_permission != NULL ? role_grant(kv, r->auth_role_grant_permission, arena)
                                                   : role_revoke(kv, r->auth_role_revoke_permission, arena);
}

int auth_apply(struct kv *kv, const Etcdserverpb__InternalRaftRequest *r, struct arena *arena)
{
    bool changed = true;
    int error = 0;
    if (r->auth_enable != NULL) {
        return enable(kv, arena); /* the revision stays (backend.md "auth") */
    }
    if (r->auth_disable != NULL) {
        changed = disable(kv);
    } else if (r->authenticate != NULL) {
        return kv->auth.enabled ? 0 : ERR_AUTH_NOT_ENABLED;
    } else if (r->auth_status != NULL || r->auth_user_get != NULL || r->auth_user_list != NULL ||
               r->auth_role_get != NULL || r->auth_role_list != NULL) {
        return 0; /* questions */
    } else {
        error = change(kv, r, arena, &changed);
    }
    if (error == 0 && changed) {
        save_revision(kv);
    }
    return error;
}
