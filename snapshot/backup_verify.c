#include "snapshot/backup_verify.h"

#include "base/error.h"
#include "snapshot/backup_zstd.h"
#include "snapshot/restore.h"
#include <stdio.h>

#define STEP_ROWS 10000

static bool is_cancelled(const atomic_bool *cancel)
{
    return cancel != NULL && atomic_load(cancel);
}

static int read_through(struct snapshot_source *source, const atomic_bool *cancel, struct backup_found *out,
                        char *reason, size_t reason_size)
{
    const struct snapshot_restore_config config = {
        .file = "the snapshot", .source = source, .disable_auth = true, .no_keys = true, .dry_run = true};
    struct snapshot_restore *restore = snapshot_restore_new(&config);
    int progress = SNAPSHOT_MORE;
    while (progress == SNAPSHOT_MORE) {
        progress = is_cancelled(cancel) ? ERR_STOPPED : snapshot_restore_step(restore, STEP_ROWS);
    }
    if (progress == SNAPSHOT_DONE) {
        const struct snapshot_status *status = &snapshot_restore_result(restore)->status;
        out->hash = status->hash;
        out->revision = status->revision;
        out->size = source->size;
        memcpy(out->version, status->version, sizeof out->version);
    } else {
        snprintf(reason, reason_size, "%s",
                 progress == ERR_STOPPED ? "it was given up" : snapshot_restore_reason(restore));
    }
    snapshot_restore_free(restore);
    return progress;
}

static int read_packed(struct snapshot_source *packed, const atomic_bool *cancel, struct backup_found *out,
                       char *reason, size_t reason_size)
{
    const char *why;
    struct backup_unpacker *unpacker = backup_unpacker_new(packed, &why);
    if (unpacker == NULL) {
        snprintf(reason, reason_size, "%s", why);
        return ERR_CORRUPT_DATA;
    }
    int error = read_through(backup_unpacker_source(unpacker), cancel, out, reason, reason_size);
    if (error == ERR_IO && backup_unpacker_damage(unpacker) != NULL) {
        snprintf(reason, reason_size, "%s", backup_unpacker_damage(unpacker));
        error = ERR_CORRUPT_DATA;
    }
    backup_unpacker_free(unpacker);
    return error;
}

int backup_verify(struct backup_target *target, const char *name, bool zstd, const atomic_bool *cancel,
                  struct backup_found *out, char *reason, size_t reason_size)
{
    struct snapshot_source *source;
    *out = (struct backup_found){0};
    int error = target->ops->open(target, name, &source);
    if (error != 0) {
        snprintf(reason, reason_size, "%s", target->reason);
        return error;
    }
    out->stored_size = source->size;
    error = (zstd ? read_packed : read_through)(source, cancel, out, reason, reason_size);
    target->ops->close(target, source);
    return error;
}
