#include "cmd/kedge/convert_store.h"

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "cmd/kedge/convert_members.h"
#include "kv/version.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static int refuse(char **reason, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CHECK(vasprintf(reason, format, args) >= 0);
    va_end(args);
    return error;
}

static int open_store(const struct convert_store_config *config, struct backend **out, char **reason)
{
    const struct backend_lmdb_config settings = {
        .path = config->path, .map_bytes = config->map_bytes, .quota_bytes = config->quota_bytes};
    int error = backend_open_lmdb(&settings, out, reason);
    if (error != 0 && *reason == NULL) {
        *reason = mem_strdup(error_text(error));
    }
    return error;
}

static int commit(struct backend *store, struct backend_op *ops, size_t count, char **reason)
{
    const struct backend_batch batch = {.ops = ops, .count = count, .bytes = 1024};
    int error = backend_commit(store, &batch);
    return error == 0 ? 0 : refuse(reason, error, "cannot write to the new store: %s", error_text(error));
}

/* --- looking --- */

static uint64_t number(struct backend_read *read, enum backend_table table, const char *name)
{
    struct bytes value;
    bool there = backend_get(read, table, bytes_str(name), &value) == 0 && value.len == 8;
    return there ? get_be64(value.data) : 0;
}

static int read_version(struct backend_read *read, struct convert_position *at, char **reason)
{
    struct bytes value;
    unsigned major = 3, minor = 5;
    if (backend_get(read, BACKEND_META, bytes_str("storageVersion"), &value) == 0) {
        snprintf(at->version, sizeof at->version, "%.*s", (int)value.len, (const char *)value.data);
        if (!version_parse(value, &major, &minor)) {
            return refuse(reason, ERR_CORRUPT_DATA, "its storage version is \"%s\"", at->version);
        }
    } else if (at->term == 0) {
        return refuse(
            reason, ERR_INVALID,
            "it was written by etcd 3.4 or an older one. Let etcd 3.5 take over this member first, or restore a"
            " snapshot of it with `kedgeutl snapshot restore`");
    } else {
        snprintf(at->version, sizeof at->version, "3.5.0");
    }
    if (major != 3 || minor < 5 || minor > 7) {
        return refuse(reason, ERR_INVALID, "its storage version is %s; this kedge reads 3.5, 3.6 and 3.7", at->version);
    }
    return 0;
}

static int check_log(const struct convert_position *at, const struct wal_contents *log, char **reason)
{
    if (log->first_index > at->index + 1) {
        return refuse(reason, ERR_INVALID,
                      "the write-ahead log begins with entry %" PRIu64 ", etcd's database ends with %" PRIu64
                      ": they are not of one member, or the database is an older copy",
                      log->first_index, at->index);
    }
    if (log->last_index < at->index) {
        return refuse(reason, ERR_INVALID,
                      "the write-ahead log ends with entry %" PRIu64 ", etcd's database with %" PRIu64
                      ": they are not of one member, or the log is an older copy",
                      log->last_index, at->index);
    }
    return 0;
}

/* etcd was to take over an image that its leader had sent: the start does it after the conversion (member.c). */
static bool has_later_image(const struct convert_store_config *config, const struct convert_position *at)
{
    if (config->log->snapshot.index <= at->index) {
        return false;
    }
    char *image = mem_printf("%s/%016" PRIx64 ".snap.db", config->snap_dir, config->log->snapshot.index);
    bool there = access(image, F_OK) == 0;
    free(image);
    return there;
}

static int look(const struct convert_store_config *config, struct backend_read *read, struct convert_position *at,
                char **reason)
{
    at->index = number(read, BACKEND_META, "consistent_index");
    at->term = number(read, BACKEND_META, "term");
    at->rows = backend_count(read, BACKEND_KEY);
    int error = read_version(read, at, reason);
    if (error != 0 || has_later_image(config, at)) {
        return error;
    }
    error = check_log(at, config->log, reason);
    return error != 0 ? error : convert_members_check(read, at->index, config->log, config->wal_dir, reason);
}

/* --- authentication --- */

/* Only where nobody else decides by it, and nothing waits in the log that etcd might have denied somebody: kedge, which
 * does not ask, would apply it. */
static int check_may_disable(struct backend_read *read, const struct convert_position *at,
                             const struct wal_contents *log, char **reason)
{
    uint64_t members = backend_count(read, BACKEND_MEMBERS);
    if (members > 1) {
        return refuse(reason, ERR_INVALID,
                      "--migrate-disable-auth is for a cluster of one member, this one has %" PRIu64
                      ": run `etcdctl auth disable` while etcd serves it",
                      members);
    }
    if (log->last_index > at->index) {
        return refuse(
            reason, ERR_INVALID,
            "--migrate-disable-auth needs an etcd that was stopped in order, and the log of this one has %" PRIu64
            " entries that its database lacks: start etcd once more and stop it with SIGTERM",
            log->last_index - at->index);
    }
    return 0;
}

/* As the entry of `auth disable` does it: the revision goes up, users and roles stay. */
static int disable_auth(struct backend *store, uint64_t revision, char **reason)
{
    static const uint8_t off[] = {0};
    uint8_t next[8];
    put_be64(next, revision + 1);
    struct backend_op ops[] = {
        {BACKEND_PUT, BACKEND_AUTH, bytes_str("authEnabled"), bytes_of(off, sizeof off)},
        {BACKEND_PUT, BACKEND_AUTH, bytes_str("authRevision"), bytes_of(next, sizeof next)},
    };
    log_warn("authentication is switched off: everybody who reaches this member may read and write all keys",
             log_uint("auth-revision", revision + 1));
    return commit(store, ops, 2, reason);
}

/* --- the face --- */

int convert_store_finish(const struct convert_store_config *config, struct convert_position *out, char **reason)
{
    struct backend *store;
    struct backend_read *read;
    *out = (struct convert_position){0};
    int error = open_store(config, &store, reason);
    if (error != 0) {
        return error;
    }
    CHECK(backend_read_begin(store, &read) == 0);
    error = look(config, read, out, reason);
    if (error == 0 && config->disable_auth) {
        error = check_may_disable(read, out, config->log, reason);
    }
    uint64_t auth_revision = number(read, BACKEND_AUTH, "authRevision");
    backend_read_end(read);
    if (error == 0 && config->disable_auth) {
        error = disable_auth(store, auth_revision, reason);
    }
    backend_close(store);
    return error;
}

int convert_store_make_empty(const struct convert_store_config *config, struct backend_op *rows, size_t count,
                             char **reason)
{
    struct backend *store;
    if (config->log->first_index > 1) {
        return refuse(reason, ERR_INVALID,
                      "etcd's database is empty, and the write-ahead log does not begin at the first entry any more");
    }
    if (config->log->last_index == 0) {
        log_warn(
            "neither etcd's database nor its log has an entry: a member that joins others gets them; any other etcd"
            " ended before it had begun, and would not come back either: remove its data directory",
            log_str("path", config->path));
    }
    int error = open_store(config, &store, reason);
    if (error == 0) {
        error = commit(store, rows, count, reason);
        backend_close(store);
    }
    return error;
}
