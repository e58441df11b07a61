#include "snapshot/restore_log.h"

#include "base/check.h"
#include "base/error.h"
#include "kv/members_json.h"
#include "raft/ids.h"
#include "raft/wal/snap_file.h"
#include "raft/wal/wal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- who --- */

static void sort_members(struct restore_log *log)
{
    for (size_t i = 1; i < log->row_count; i++) {
        for (size_t k = i; k > 0 && log->ids[k - 1] > log->ids[k]; k--) {
            uint64_t id = log->ids[k];
            const struct snapshot_restore_member *member = log->members[k];
            log->ids[k] = log->ids[k - 1];
            log->members[k] = log->members[k - 1];
            log->ids[k - 1] = id;
            log->members[k - 1] = member;
        }
    }
}

static void set_row(struct restore_log *log, size_t i)
{
    const struct snapshot_restore_member *m = log->members[i];
    const struct kv_member member = {.id = log->ids[i],
                                     .name = m->name,
                                     .peer_urls = (char *const *)m->peer_urls,
                                     .peer_url_count = m->peer_url_count};
    struct buffer json = {0};
    members_json_write(&json, &member);
    log->rows[i] = (struct backend_op){.kind = BACKEND_PUT,
                                       .table = BACKEND_MEMBERS,
                                       .key = bytes_str(arena_printf(&log->arena, "%" PRIx64, log->ids[i])),
                                       .value = arena_copy(&log->arena, buffer_bytes(&json))};
    buffer_free(&json);
}

void restore_log_init(struct restore_log *log, const struct snapshot_restore_config *config)
{
    size_t count = config->member_count;
    *log = (struct restore_log){.config = config, .row_count = count, .at = {.index = count, .term = 1}};
    log->members = arena_alloc(&log->arena, (count + 1) * sizeof *log->members);
    log->ids = arena_alloc(&log->arena, (count + 1) * sizeof *log->ids);
    log->rows = arena_zalloc(&log->arena, (count + 1) * sizeof *log->rows);
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_restore_member *m = &config->members[i];
        log->members[i] = m;
        log->ids[i] = ids_member(m->peer_urls, m->peer_url_count, config->token);
        log->member_id = strcmp(m->name, config->name) == 0 ? log->ids[i] : log->member_id;
    }
    CHECK(log->member_id != 0, "%s is no member", config->name);
    log->cluster_id = ids_cluster(log->ids, count);
    sort_members(log);
    for (size_t i = 0; i < count; i++) {
        set_row(log, i);
    }
}

void restore_log_free(struct restore_log *log)
{
    arena_free(&log->arena);
}

/* --- the log --- */

static struct raft_entry *entries_of(struct restore_log *log)
{
    struct raft_entry *entries = arena_zalloc(&log->arena, (log->row_count + 1) * sizeof *entries);
    for (size_t i = 0; i < log->row_count; i++) {
        const struct snapshot_restore_member *m = log->members[i];
        struct bytes change =
            kv_bootstrap_conf_change(log->ids[i], m->name, m->peer_urls, m->peer_url_count, &log->arena);
        entries[i] =
            (struct raft_entry){.index = i + 1, .term = 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(change)};
    }
    return entries;
}

static int take_reason(struct restore_log *log, int error, char *reason)
{
    if (error != 0) {
        snprintf(log->reason, sizeof log->reason, "%s", reason != NULL ? reason : error_text(error));
    }
    free(reason);
    return error;
}

static int write_wal(struct restore_log *log, const char *dir, const struct raft_conf_state *conf)
{
    const struct wal_config config = {.fs = wal_fs_posix(), .dir = dir};
    /* The lowest id has its own vote, as in etcdutl's. */
    const struct raft_hard_state state = {.term = 1, .vote = log->ids[0], .commit = log->at.index};
    struct raft_entry *entries = entries_of(log);
    struct wal *wal;
    char *reason = NULL;
    int error = wal_create(&config, (struct wal_metadata){log->member_id, log->cluster_id}, entries, log->row_count,
                           &state, &wal, &reason);
    if (error == 0) {
        error = wal_save_snapshot(wal, log->at, conf);
        reason = error == 0 ? NULL : mem_strdup(wal_reason(wal));
        wal_close(wal);
    }
    for (size_t i = 0; i < log->row_count; i++) {
        shared_unref(entries[i].data);
    }
    return take_reason(log, error, reason);
}

static int write_snap(struct restore_log *log, const char *dir, const struct raft_conf_state *conf)
{
    struct snap_file_member *members = arena_zalloc(&log->arena, (log->row_count + 1) * sizeof *members);
    for (size_t i = 0; i < log->row_count; i++) {
        const struct snapshot_restore_member *m = log->members[i];
        members[i] = (struct snap_file_member){
            .id = log->ids[i], .peer_urls = m->peer_urls, .peer_url_count = m->peer_url_count, .name = m->name};
    }
    struct buffer json = {0};
    char *reason = NULL;
    snap_file_v2_json(&json, members, log->row_count, NULL, 0, NULL);
    int error = snap_file_write(wal_fs_posix(), dir, log->at, conf, buffer_bytes(&json), &reason);
    buffer_free(&json);
    return take_reason(log, error, reason);
}

int restore_log_write(struct restore_log *log, const char *wal_dir, const char *snap_dir)
{
    const struct raft_conf_state conf = {.voters = {.ids = log->ids, .count = log->row_count}};
    int error = write_snap(log, snap_dir, &conf);
    return error != 0 ? error : write_wal(log, wal_dir, &conf);
}
