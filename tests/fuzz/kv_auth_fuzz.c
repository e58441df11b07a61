/* Entries about users and roles, several in a row (two bytes of length, little-endian, before each): whatever they say,
 * a store that was loaded again has the same users and roles, in order. */
#include "base/check.h"
#include "base/pb.h"
#include "kv/auth.h"
#include "tests/support/kv_bed.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Only these fields; and no password that etcd would have hashed before it proposed it. */
static bool wanted(const Etcdserverpb__InternalRaftRequest *r)
{
    if (r->auth_user_add != NULL && *r->auth_user_add->hashedpassword == '\0' && *r->auth_user_add->password != '\0') {
        return false;
    }
    if (r->auth_user_change_password != NULL && *r->auth_user_change_password->hashedpassword == '\0' &&
        *r->auth_user_change_password->password != '\0') {
        return false;
    }
    return r->auth_enable != NULL || r->auth_disable != NULL || r->auth_user_add != NULL ||
           r->auth_user_delete != NULL || r->auth_user_change_password != NULL || r->auth_user_grant_role != NULL ||
           r->auth_user_revoke_role != NULL || r->auth_role_add != NULL || r->auth_role_delete != NULL ||
           r->auth_role_grant_permission != NULL || r->auth_role_revoke_permission != NULL;
}

static void apply(struct kv_bed *bed, struct bytes bytes)
{
    struct arena arena = {0};
    const Etcdserverpb__InternalRaftRequest *r = (const Etcdserverpb__InternalRaftRequest *)pb_unpack(
        &etcdserverpb__internal_raft_request__descriptor, bytes, &arena, NULL);
    if (r != NULL && wanted(r)) {
        int error;
        kv_bed_entry(bed, KV_ENTRY_NORMAL, bytes, &error);
        kv_bed_forget(bed);
    }
    arena_free(&arena);
}

/* All of it as one text; CHECKs the order of names. */
static struct buffer contents(struct kv_bed *bed)
{
    struct buffer out = {0};
    struct arena arena = {0};
    bool enabled;
    uint64_t revision;
    auth_status(bed->kv, &enabled, &revision);
    buffer_printf(&out, "%d %llu ", enabled, (unsigned long long)revision);
    for (int t = 0; t < 2; t++) {
        char **names;
        size_t count;
        enum backend_table table = t == 0 ? BACKEND_AUTH_USERS : BACKEND_AUTH_ROLES;
        auth_names(bed->kv, table, &arena, &names, &count);
        for (size_t i = 0; i < count; i++) {
            Authpb__User *user;
            Authpb__Role *role;
            CHECK(i == 0 || strcmp(names[i - 1], names[i]) < 0);
            buffer_printf(&out, "%s:", names[i]);
            if (t == 0) {
                CHECK(auth_user(bed->kv, names[i], &arena, &user) == 0);
                pb_append(&out, &user->base);
            } else {
                CHECK(auth_role(bed->kv, names[i], &arena, &role) == 0);
                pb_append(&out, &role->base);
            }
        }
    }
    arena_free(&arena);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    while (size >= 2) {
        size_t len = data[0] | (size_t)data[1] << 8;
        len = len > size - 2 ? size - 2 : len;
        apply(&bed, bytes_of(data + 2, len));
        data += 2 + len;
        size -= 2 + len;
    }
    struct buffer before = contents(&bed);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    struct buffer after = contents(&bed);
    CHECK(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
    buffer_free(&before);
    buffer_free(&after);
    kv_bed_close(&bed);
    return 0;
}
