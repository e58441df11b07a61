/* A dry restore of a backup, packed or not. Any thread, blocking; see snapshot/backup_store.h. */
#ifndef SNAPSHOT_BACKUP_VERIFY_H
#define SNAPSHOT_BACKUP_VERIFY_H

#include "snapshot/backup_target.h"
#include <stdatomic.h>

struct backup_found {
    uint32_t hash;
    int64_t revision;
    uint64_t size, stored_size; /* of the snapshot, of the file */
    char version[32];
};

/* name: in the target; NULL = what is being written there. 0, ERR_CORRUPT_DATA, ERR_STOPPED (cancel), or the target's
 * error; then reason says what. */
int backup_verify(struct backup_target *target, const char *name, bool zstd, const atomic_bool *cancel,
                  struct backup_found *out, char *reason, size_t reason_size);

#endif
