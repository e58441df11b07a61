/* Users and roles as entries of the log make them (the same entries give an etcd 3.7.1 the same hash over all its
 * buckets: tests/interop). */
#include "base/error.h"
#include "kv/auth.h"
#include "tests/support/kv_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Applies a request of one field; the rest sets it up: r_.name = "a". */
#define apply(bed, Type, field, TYPE, ...)                                                                             \
    ({                                                                                                                 \
        Etcdserverpb__##Type##Request r_ = ETCDSERVERPB__##TYPE##_REQUEST__INIT;                                       \
        __VA_ARGS__;                                                                                                   \
        Etcdserverpb__InternalRaftRequest internal_ = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;                       \
        internal_.field = &r_;                                                                                         \
        int error_;                                                                                                    \
        kv_bed_apply(bed, &internal_, &error_);                                                                        \
        error_;                                                                                                        \
    })

static int user_add(struct kv_bed *bed, const char *name)
{
    return apply(bed, AuthUserAdd, auth_user_add, AUTH_USER_ADD, r_.name = (char *)name,
                 r_.hashedpassword = "aGFzaA==");
}

static int role_add(struct kv_bed *bed, const char *name)
{
    return apply(bed, AuthRoleAdd, auth_role_add, AUTH_ROLE_ADD, r_.name = (char *)name);
}

static int grant(struct kv_bed *bed, const char *user, const char *role)
{
    return apply(bed, AuthUserGrantRole, auth_user_grant_role, AUTH_USER_GRANT_ROLE, r_.user = (char *)user,
                 r_.role = (char *)role);
}

static int permit(struct kv_bed *bed, const char *role, int type, const char *key, const char *end)
{
    Authpb__Permission perm = AUTHPB__PERMISSION__INIT;
    perm.permtype = (Authpb__Permission__Type)type;
    perm.key = kv_bed_bytes(key);
    perm.range_end = kv_bed_bytes(end);
    return apply(bed, AuthRoleGrantPermission, auth_role_grant_permission, AUTH_ROLE_GRANT_PERMISSION,
                 r_.name = (char *)role, r_.perm = &perm);
}

static void expect_revision(struct kv_bed *bed, uint64_t expected)
{
    bool enabled;
    uint64_t revision;
    auth_status(bed->kv, &enabled, &revision);
    assert_int_equal(revision, expected);
}

/* "roles password" */
static void expect_user(struct kv_bed *bed, const char *name, const char *expected)
{
    struct arena arena = {0};
    Authpb__User *user;
    const char *text = "";
    assert_int_equal(auth_user(bed->kv, name, &arena, &user), 0);
    for (size_t i = 0; i < user->n_roles; i++) {
        text = arena_printf(&arena, "%s%s ", text, user->roles[i]);
    }
    assert_string_equal(arena_printf(&arena, "%s%.*s", text, (int)user->password.len, (char *)user->password.data),
                        expected);
    assert_non_null(user->options);
    arena_free(&arena);
}

static void expect_permissions(struct kv_bed *bed, const char *name, const char *expected)
{
    struct arena arena = {0};
    Authpb__Role *role;
    const char *text = "";
    assert_int_equal(auth_role(bed->kv, name, &arena, &role), 0);
    for (size_t i = 0; i < role->n_keypermission; i++) {
        const Authpb__Permission *p = role->keypermission[i];
        text = arena_printf(&arena, "%s%d[%.*s,%.*s) ", text, (int)p->permtype, (int)p->key.len, (char *)p->key.data,
                            (int)p->range_end.len, (char *)p->range_end.data);
    }
    assert_string_equal(text, expected);
    arena_free(&arena);
}

static void test_users_and_roles_come_and_go_as_the_log_says_and_survive_a_crash(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    expect_revision(&bed, 1);
    assert_int_equal(user_add(&bed, "a"), 0);
    assert_int_equal(user_add(&bed, "a"), ERR_USER_ALREADY_EXIST);
    assert_int_equal(user_add(&bed, ""), ERR_USER_EMPTY);
    assert_int_equal(role_add(&bed, "r"), 0);
    assert_int_equal(role_add(&bed, "r"), ERR_ROLE_ALREADY_EXIST);
    assert_int_equal(role_add(&bed, ""), ERR_ROLE_EMPTY);
    assert_int_equal(role_add(&bed, "b"), 0);
    assert_int_equal(grant(&bed, "a", "r"), 0);
    assert_int_equal(grant(&bed, "a", "b"), 0);
    expect_revision(&bed, 6);
    assert_int_equal(grant(&bed, "a", "r"), 0); /* has it: nothing changes */
    expect_revision(&bed, 6);
    assert_int_equal(grant(&bed, "a", "x"), ERR_ROLE_NOT_FOUND);
    assert_int_equal(grant(&bed, "x", "r"), ERR_USER_NOT_FOUND);
    assert_int_equal(grant(&bed, "a", "root"), 0); /* a role that needs no row */
    expect_user(&bed, "a", "b r root hash");
    kv_bed_commit(&bed);
    assert_int_equal(apply(&bed, AuthRoleDelete, auth_role_delete, AUTH_ROLE_DELETE, r_.role = "r"), 0);
    expect_user(&bed, "a", "b root hash");
    kv_bed_crash(&bed, 0);
    expect_user(&bed, "a", "b r root hash");
    kv_bed_replay(&bed);
    expect_user(&bed, "a", "b root hash");
    expect_revision(&bed, 8);
    assert_int_equal(
        apply(&bed, AuthUserRevokeRole, auth_user_revoke_role, AUTH_USER_REVOKE_ROLE, r_.name = "a", r_.role = "r"),
        ERR_ROLE_NOT_GRANTED);
    assert_int_equal(apply(&bed, AuthUserChangePassword, auth_user_change_password, AUTH_USER_CHANGE_PASSWORD,
                           r_.name = "a", r_.hashedpassword = "bmV3"),
                     0);
    expect_user(&bed, "a", "b root new");
    assert_int_equal(apply(&bed, AuthUserDelete, auth_user_delete, AUTH_USER_DELETE, r_.name = "a"), 0);
    assert_int_equal(apply(&bed, AuthUserDelete, auth_user_delete, AUTH_USER_DELETE, r_.name = "a"),
                     ERR_USER_NOT_FOUND);
    kv_bed_close(&bed);
}

static void test_permissions_stand_in_the_order_of_their_keys(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    assert_int_equal(role_add(&bed, "r"), 0);
    assert_int_equal(permit(&bed, "r", 0, "k", ""), 0);
    assert_int_equal(permit(&bed, "r", 1, "a", "b"), 0);
    assert_int_equal(permit(&bed, "r", 1, "k", "z"), 0);
    assert_int_equal(permit(&bed, "r", 2, "k", ""), 0);
    expect_permissions(&bed, "r", "1[a,b) 2[k,) 1[k,z) ");
    assert_int_equal(permit(&bed, "r", 0, "z", "a"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(permit(&bed, "r", 0, "", "a"), ERR_INVALID_AUTH_MGMT);
    assert_int_equal(permit(&bed, "x", 0, "a", ""), ERR_ROLE_NOT_FOUND);
    assert_int_equal(apply(&bed, AuthRoleRevokePermission, auth_role_revoke_permission, AUTH_ROLE_REVOKE_PERMISSION,
                           r_.role = "r", r_.key = kv_bed_bytes("k"), r_.range_end = kv_bed_bytes("z")),
                     0);
    expect_permissions(&bed, "r", "1[a,b) 2[k,) ");
    kv_bed_close(&bed);
}

static void test_a_member_finds_out_that_authentication_was_enabled(void **state)
{
    (void)state;
    struct kv_bed bed;
    kv_bed_open(&bed, NULL);
    assert_int_equal(apply(&bed, AuthEnable, auth_enable, AUTH_ENABLE, ), ERR_ROOT_USER_NOT_EXIST);
    assert_int_equal(user_add(&bed, "root"), 0);
    assert_int_equal(apply(&bed, AuthEnable, auth_enable, AUTH_ENABLE, ), ERR_ROOT_ROLE_NOT_EXIST);
    assert_int_equal(grant(&bed, "root", "root"), 0);
    assert_false(kv_auth_enabled(bed.kv));
    assert_int_equal(apply(&bed, AuthEnable, auth_enable, AUTH_ENABLE, ), 0);
    assert_true(kv_auth_enabled(bed.kv));
    expect_revision(&bed, 3);
    kv_bed_commit(&bed);
    kv_bed_crash(&bed, 0);
    assert_true(kv_auth_enabled(bed.kv));
    assert_int_equal(apply(&bed, AuthDisable, auth_disable, AUTH_DISABLE, ), 0);
    assert_false(kv_auth_enabled(bed.kv));
    expect_revision(&bed, 4);
    kv_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_and_roles_come_and_go_as_the_log_says_and_survive_a_crash),
        cmocka_unit_test(test_permissions_stand_in_the_order_of_their_keys),
        cmocka_unit_test(test_a_member_finds_out_that_authentication_was_enabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
