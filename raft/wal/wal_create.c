/* A new log. It is complete and durable under a temporary name before its first segment gets its own, so a crash leaves
 * either no log or one with everything in it that a new cluster begins with. */
#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include "raft/wire.h"
#include <errno.h>
#include <stdlib.h>

static int make_dir(struct wal *w)
{
    int error = w->fs->make_dir(w->fs, w->dir);
    if (error == -EEXIST) {
        return 0;
    }
    const char *slash = strrchr(w->dir, '/');
    char *parent = slash == NULL ? mem_strdup(".") : mem_printf("%.*s", (int)(slash - w->dir), w->dir);
    if (error == 0) {
        error = w->fs->sync_dir(w->fs, parent[0] == '\0' ? "/" : parent);
    }
    free(parent);
    return error;
}

static int write_first(struct wal *w, const struct raft_entry *entries, size_t count,
                       const struct raft_hard_state *state)
{
    struct wal_file *file = wal_tail(w)->file;
    wal_begin_segment(w, 0, true);
    for (size_t i = 0; i < count; i++) {
        wal_add_entry(w, &entries[i]);
    }
    if (state != NULL && state->term != 0) {
        w->state = *state;
        w->state_waits = true;
        wal_add_state(w);
    }
    w->allocated = w->segment_bytes;
    int error = wal_write_waiting(w, file);
    return error != 0 ? error : w->fs->sync(file);
}

static int publish(struct wal *w)
{
    char *temporary = mem_printf("%s/0.tmp", w->dir), *path = wal_path(w, wal_tail(w)->name);
    int error = w->fs->rename(w->fs, temporary, path);
    free(temporary);
    free(path);
    return error != 0 ? error : w->fs->sync_dir(w->fs, w->dir);
}

static int create(struct wal *w, const struct raft_entry *entries, size_t count, const struct raft_hard_state *state,
                  char **reason)
{
    struct wal_file *file;
    int error = make_dir(w);
    if (error != 0) {
        return wal_fail(reason, wal_error(error), "create %s: %s", w->dir, strerror(-error));
    }
    error = wal_create_next(w, &file);
    if (error != 0) {
        return wal_fail(reason, error, "%s", wal_reason(w));
    }
    wal_add_segment(w, (struct wal_name){0}, file);
    error = write_first(w, entries, count, state);
    if (error == 0) {
        error = publish(w);
    }
    return error == 0 ? 0 : wal_fail(reason, wal_error(error), "write a new log to %s: %s", w->dir, strerror(-error));
}

int wal_create(const struct wal_config *config, struct wal_metadata metadata, const struct raft_entry *entries,
               size_t count, const struct raft_hard_state *state, struct wal **out, char **reason)
{
    bool exists;
    int error = wal_exists(config->fs, config->dir, &exists, reason);
    if (error == 0 && exists) {
        error = wal_fail(reason, ERR_INVALID, "%s: there is a log already", config->dir);
    }
    if (error != 0) {
        return error;
    }
    struct wal *w = wal_new(config);
    wire_append_number(&w->metadata, 1, metadata.node_id);
    wire_append_number(&w->metadata, 2, metadata.cluster_id);
    error = create(w, entries, count, state, reason);
    if (error != 0) {
        wal_abandon(w);
        return error;
    }
    *out = w;
    return 0;
}
