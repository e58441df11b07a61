#include "kv/content.h"

#include "kv/lease_internal.h"
#include "kv/store.h"
#include <stdio.h>
#include <stdlib.h>

#define KUBERNETES "/registry/"

struct kv_content {
    struct kv_content_facts facts;
    int64_t scheduled, finished;
    struct auth auth;
    struct alarms alarms;
    struct versions versions;
    char reason[128];
};

struct kv_content *kv_content_new(void)
{
    struct kv_content *c = mem_zalloc(sizeof *c);
    c->scheduled = c->finished = -1;
    return c;
}

void kv_content_free(struct kv_content *c)
{
    if (c != NULL) {
        auth_free(&c->auth);
        alarm_free(&c->alarms);
        free(c);
    }
}

static int refuse(struct kv_content *c, enum backend_table table, const char *what)
{
    snprintf(c->reason, sizeof c->reason, "table %s: %s", backend_table_name(table), what);
    return ERR_CORRUPT_DATA;
}

/* --- table key --- */

/* etcdutl's bump of revisions leaves a put without a value: a key of no name. */
static bool is_bump(struct bytes value, bool tombstone)
{
    return value.len == 0 && !tombstone;
}

static const char *check_key(struct kv_content *c, struct bytes key, struct bytes value)
{
    struct revision revision;
    struct row_fields fields;
    bool tombstone;
    if (row_revision_get(key, &revision, &tombstone) != 0 || revision.sub > UINT32_MAX) {
        return "a key is no revision";
    }
    c->facts.last_revision = revision.main;
    c->facts.rows++;
    if (is_bump(value, tombstone)) {
        return NULL;
    }
    if (row_decode(value, &fields) != 0 || fields.key.len == 0 ||
        (!tombstone && (fields.mod_revision != revision.main || fields.create_revision <= 0 || fields.version <= 0))) {
        return "a row does not fit its revision";
    }
    c->facts.kubernetes |=
        fields.key.len > sizeof KUBERNETES - 1 && memcmp(fields.key.data, KUBERNETES, sizeof KUBERNETES - 1) == 0;
    return NULL;
}

/* --- table meta --- */

static const char *check_number(struct bytes value, uint64_t *number)
{
    if (value.len != 8) {
        return "consistent_index or term is no number";
    }
    *number = get_be64(value.data);
    return NULL;
}

static const char *check_compact(struct bytes value, int64_t *main)
{
    struct revision revision;
    bool tombstone;
    if (value.len == 0) {
        return NULL;
    }
    if (row_revision_get(value, &revision, &tombstone) != 0) {
        return "a compact revision is no revision";
    }
    *main = revision.main;
    return NULL;
}

static const char *check_meta(struct kv_content *c, struct bytes key, struct bytes value)
{
    if (bytes_equal(key, bytes_str("consistent_index"))) {
        return check_number(value, &c->facts.index);
    }
    if (bytes_equal(key, bytes_str("term"))) {
        return check_number(value, &c->facts.term);
    }
    if (bytes_equal(key, bytes_str("scheduledCompactRev"))) {
        return check_compact(value, &c->scheduled);
    }
    if (bytes_equal(key, bytes_str("finishedCompactRev"))) {
        return check_compact(value, &c->finished);
    }
    bool version = bytes_equal(key, bytes_str("storageVersion"));
    return version && version_load_storage(&c->versions, value) != 0 ? "the storage version is no version" : NULL;
}

/* --- all of them --- */

static const char *check_lease(struct kv_content *c, struct bytes key, struct bytes value)
{
    int64_t id, ttl_s, remaining_ttl_s;
    c->facts.leases++;
    return lease_row_decode(key, value, &id, &ttl_s, &remaining_ttl_s) == 0 ? NULL : "a row is no lease";
}

static const char *check_auth(struct kv_content *c, enum backend_table table, struct bytes key, struct bytes value)
{
    return auth_load(&c->auth, table, key, value) == 0 ? NULL : "a row is no setting, user or role";
}

static const char *check(struct kv_content *c, enum backend_table table, struct bytes key, struct bytes value)
{
    switch (table) {
    case BACKEND_KEY:
        return check_key(c, key, value);
    case BACKEND_META:
        return check_meta(c, key, value);
    case BACKEND_LEASE:
        return check_lease(c, key, value);
    case BACKEND_ALARM:
        return alarm_load(&c->alarms, key) == 0 ? NULL : "a row is no alarm";
    case BACKEND_CLUSTER:
        return version_load_cluster(&c->versions, key, value) == 0 ? NULL : "a row is no cluster fact";
    case BACKEND_MEMBERS:
        c->facts.members++;
        return NULL;
    case BACKEND_AUTH:
    case BACKEND_AUTH_USERS:
    case BACKEND_AUTH_ROLES:
        return check_auth(c, table, key, value);
    default:
        return NULL;
    }
}

int kv_content_row(struct kv_content *c, enum backend_table table, struct bytes key, struct bytes value)
{
    bool names = table == BACKEND_AUTH_USERS || table == BACKEND_AUTH_ROLES;
    const char *wrong = key.len > (size_t)(names ? BACKEND_NAME_MAX : BACKEND_KEY_MAX)
                            ? "a key is longer than this store can have"
                            : check(c, table, key, value);
    return wrong == NULL ? 0 : refuse(c, table, wrong);
}

const char *kv_content_reason(const struct kv_content *c)
{
    return c->reason;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void kv_content_facts(const struct kv_content *c, struct kv_content_facts *out)
{
    *out = c->facts;
    out->compact_revision = larger(c->scheduled, c->finished);
    out->revision = larger(c->facts.rows == 0 ? 1 : c->facts.last_revision, out->compact_revision);
    out->users = c->auth.users.count;
    out->roles = c->auth.roles.count;
    out->alarms = c->alarms.count;
    out->auth_enabled = c->auth.enabled;
    out->cluster_too_new = c->versions.too_new;
    snprintf(out->cluster_version, sizeof out->cluster_version, "%s", c->versions.cluster);
}
