/* Who is in the new cluster, and the log that says so: ids, rows of table members, and a log that begins with an entry
 * a member and a checkpoint behind them (wal.md "etcdutl snapshot restore"). Private to snapshot/restore*.c. */
#ifndef SNAPSHOT_RESTORE_LOG_H
#define SNAPSHOT_RESTORE_LOG_H

#include "base/arena.h"
#include "raft/types.h"
#include "snapshot/restore.h"

struct restore_log {
    struct arena arena;
    const struct snapshot_restore_config *config;
    const struct snapshot_restore_member **members; /* by ascending id */
    uint64_t *ids;                                  /* theirs */
    uint64_t cluster_id, member_id;
    struct backend_op *rows; /* of table members */
    size_t row_count;
    struct raft_position at; /* of the checkpoint: the store's position */
    char reason[700];
};

/* The config lives as long. */
void restore_log_init(struct restore_log *log, const struct snapshot_restore_config *config);
/* Writes the log and its .snap file, synced. 0, ERR_DISK_FULL, ERR_IO. */
int restore_log_write(struct restore_log *log, const char *wal_dir, const char *snap_dir);
void restore_log_free(struct restore_log *log);

#endif
