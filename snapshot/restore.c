#include "snapshot/restore.h"

#include "base/error.h"
#include "kv/content.h"
#include "snapshot/build.h"
#include "snapshot/restore_log.h"
#include "snapshot/restore_place.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum restore_phase { RESTORE_BEGIN, RESTORE_ROWS, RESTORE_OVER };

struct snapshot_restore {
    struct snapshot_visitor visitor; /* first */
    struct snapshot_restore_config config;
    enum restore_phase phase;
    struct snapshot_input *input;
    enum backend_table table; /* of the bucket that comes; BACKEND_TABLES = none of etcd's */
    bool seen[BACKEND_TABLES + 1];
    struct snapshot_status_visitor status;
    struct kv_content *content;

    /* not of a dry restore: */
    struct restore_place place;
    struct restore_log log; /* who is in the cluster */
    struct snapshot_build *build;

    struct snapshot_restore_result result;
    char reason[1100];
};

__attribute__((format(printf, 3, 4))) static int fail(struct snapshot_restore *r, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
    return error;
}

/* --- the beginning --- */

/* In etcdutl's words, which begin with a small letter. */
static int fail_open(struct snapshot_restore *r, int error, int number)
{
    char text[128];
    snprintf(text, sizeof text, "%s", strerror(number));
    text[0] = (char)tolower((unsigned char)text[0]);
    return fail(r, error, "open %s: %s", r->config.file, text);
}

static int open_input(struct snapshot_restore *r)
{
    const struct snapshot_restore_config *c = &r->config;
    int error = snapshot_input_open(c->file, c->source, !c->skip_hash_check, &r->input);
    if (error != 0) {
        int number = snapshot_input_errno(r->input);
        return number != 0 ? fail_open(r, error, number) : fail(r, error, "%s", snapshot_input_reason(r->input));
    }
    if (c->map_file) {
        snapshot_input_map(r->input);
    }
    r->result.kind = snapshot_input_kind(r->input);
    r->result.hash_checked = r->result.kind == SNAPSHOT_INPUT_BACKUP && !c->skip_hash_check;
    if (r->result.kind == SNAPSHOT_INPUT_BBOLT && !c->skip_hash_check) {
        return fail(r, ERR_CORRUPT_DATA, "snapshot missing hash but --skip-hash-check=false");
    }
    return 0;
}

static int begin(struct snapshot_restore *r)
{
    const struct snapshot_restore_config *c = &r->config;
    if (!c->dry_run) {
        int error = restore_place_begin(&r->place, c->data_dir, c->wal_dir);
        if (error != 0) {
            return error;
        }
        restore_log_init(&r->log, c);
        r->result.cluster_id = r->log.cluster_id;
        r->result.member_id = r->log.member_id;
    }
    return open_input(r);
}

/* --- rows --- */

/* Only when the first bucket comes: a file whose checksum is wrong is refused before anything is made. */
static int begin_build(struct snapshot_restore *r)
{
    const struct snapshot_build_config config = {.image = r->config.file,
                                                 .store = r->place.store,
                                                 .new_cluster = true,
                                                 .disable_auth = r->config.disable_auth,
                                                 .bump_revision = r->config.bump_revision,
                                                 .threaded = true,
                                                 .map_bytes = r->config.map_bytes};
    int error = restore_place_make(&r->place);
    if (error == 0) {
        r->build = snapshot_build_new(&config);
        error = snapshot_build_begin(r->build);
    }
    return error;
}

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct snapshot_restore *r = (struct snapshot_restore *)visitor;
    r->table = BACKEND_TABLES;
    for (unsigned k = 0; k < SNAPSHOT_TABLES; k++) {
        if (bytes_equal(name, bytes_str(backend_table_name(snapshot_tables[k])))) {
            r->table = snapshot_tables[k];
        }
    }
    r->seen[r->table] = true;
    int error = r->build != NULL || r->config.dry_run ? 0 : begin_build(r);
    if (error != 0) {
        return error;
    }
    return r->build == NULL ? r->status.visitor.bucket(&r->status.visitor, name)
                            : snapshot_build_bucket(r->build, name);
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct snapshot_restore *r = (struct snapshot_restore *)visitor;
    int error = r->table == BACKEND_TABLES ? 0 : kv_content_row(r->content, r->table, key, value);
    if (error != 0) {
        return error;
    }
    return r->build == NULL ? r->status.visitor.row(&r->status.visitor, key, value)
                            : snapshot_build_row(r->build, key, value);
}

/* --- the end --- */

static int judge(struct snapshot_restore *r, const struct kv_content_facts *facts)
{
    uint64_t by = r->config.bump_revision;
    if (!r->seen[BACKEND_KEY] || !r->seen[BACKEND_META]) {
        return fail(r, ERR_CORRUPT_DATA, "%s: it has no bucket %s", r->config.file,
                    r->seen[BACKEND_KEY] ? "meta" : "key");
    }
    if (facts->auth_enabled && !r->config.disable_auth) {
        return fail(r, ERR_INVALID,
                    "%s: authentication is enabled in it, which this version of kedge does not have: restore it "
                    "with --disable-auth, or with etcdutl for an etcd",
                    r->config.file);
    }
    if (facts->cluster_too_new) {
        return fail(r, ERR_INVALID, "%s: it is of a cluster of version %s, which is later than this program's",
                    r->config.file, facts->cluster_version);
    }
    if (by > (uint64_t)(INT64_MAX - facts->revision)) {
        return fail(r, ERR_INVALID, "revision %lld and %llu more is beyond what a revision can be",
                    (long long)facts->revision, (unsigned long long)by);
    }
    return 0;
}

static void take_facts(struct snapshot_restore *r, const struct kv_content_facts *facts)
{
    struct snapshot_restore_result *result = &r->result;
    uint64_t by = r->config.bump_revision;
    snapshot_status_end(&r->status, snapshot_input_bytes(r->input));
    result->status = r->status.status;
    result->status.revision = facts->last_revision;
    result->revision = facts->revision;
    result->compact_revision = facts->compact_revision;
    if (by > 0) {
        result->revision = result->compact_revision = result->status.revision + (int64_t)by;
    }
    result->leases = facts->leases;
    result->users = facts->users;
    result->roles = facts->roles;
    result->alarms = facts->alarms;
    result->old_members = facts->members;
    result->auth_enabled = facts->auth_enabled;
    result->kubernetes = facts->kubernetes;
}

static int write_directory(struct snapshot_restore *r)
{
    int error = 0;
    for (size_t i = 0; i < r->log.row_count && error == 0; i++) {
        error = snapshot_build_add(r->build, &r->log.rows[i]);
    }
    error = error != 0 ? error : snapshot_build_end(r->build, r->log.at.index, r->log.at.term);
    error = error != 0 ? error : restore_log_write(&r->log, r->place.wal, r->place.snap);
    return error != 0 ? error : restore_place_end(&r->place);
}

static int finish(struct snapshot_restore *r)
{
    struct kv_content_facts facts;
    kv_content_facts(r->content, &facts);
    int error = judge(r, &facts);
    if (error == 0) {
        take_facts(r, &facts);
    }
    return error != 0 || r->config.dry_run ? error : write_directory(r);
}

/* --- the face --- */

struct snapshot_restore *snapshot_restore_new(const struct snapshot_restore_config *config)
{
    struct snapshot_restore *r = mem_zalloc(sizeof *r);
    r->visitor = (struct snapshot_visitor){.bucket = visit_bucket, .row = visit_row};
    r->config = *config;
    r->table = BACKEND_TABLES;
    r->content = kv_content_new();
    snapshot_status_begin(&r->status);
    r->status.no_keys = config->no_keys;
    return r;
}

static int advance(struct snapshot_restore *r, size_t rows)
{
    int result;
    switch (r->phase) {
    case RESTORE_BEGIN:
        result = begin(r);
        r->phase = RESTORE_ROWS;
        return result != 0 ? result : SNAPSHOT_MORE;
    case RESTORE_ROWS:
        result = snapshot_input_step(r->input, &r->visitor, rows);
        if (result == SNAPSHOT_DONE) {
            result = finish(r);
        }
        return result;
    case RESTORE_OVER:
        break;
    }
    return SNAPSHOT_DONE;
}

/* Whoever failed has said why; these are in the order in which a step goes through them. */
static void find_reason(struct snapshot_restore *r)
{
    const char *input = r->input == NULL ? "" : snapshot_input_reason(r->input);
    const char *wrong_hash = strstr(input, "expected sha256 ");
    const char *text = wrong_hash != NULL           ? wrong_hash
                       : *input != '\0'             ? input
                       : r->place.reason[0] != '\0' ? r->place.reason
                       : r->log.reason[0] != '\0'   ? r->log.reason
                       : r->build == NULL           ? ""
                                                    : snapshot_build_reason(r->build);
    if (r->input != NULL && snapshot_input_is_no_database(r->input)) {
        fail(r, 0, "%s: invalid database", r->config.file);
    } else if (*text != '\0') {
        fail(r, 0, "%s", text);
    } else {
        text = r->status.reason != NULL ? r->status.reason : kv_content_reason(r->content);
        fail(r, 0, "%s: %s", r->config.file, text);
    }
}

int snapshot_restore_step(struct snapshot_restore *r, size_t rows)
{
    int result = advance(r, rows);
    if (result != SNAPSHOT_MORE) {
        r->phase = RESTORE_OVER;
    }
    if (result < 0 && r->reason[0] == '\0') {
        find_reason(r);
    }
    return result;
}

const char *snapshot_restore_reason(const struct snapshot_restore *r)
{
    return r->reason;
}

const struct snapshot_restore_result *snapshot_restore_result(const struct snapshot_restore *r)
{
    return &r->result;
}

void snapshot_restore_progress(const struct snapshot_restore *r, uint64_t *done, uint64_t *all)
{
    *done = *all = 0;
    if (r->input != NULL) {
        snapshot_input_progress(r->input, done, all);
    }
}

void snapshot_restore_free(struct snapshot_restore *r)
{
    if (r == NULL) {
        return;
    }
    snapshot_build_free(r->build);
    snapshot_input_close(r->input);
    if (!r->config.dry_run) {
        restore_place_free(&r->place);
        restore_log_free(&r->log);
    }
    snapshot_status_free(&r->status);
    kv_content_free(r->content);
    free(r);
}
