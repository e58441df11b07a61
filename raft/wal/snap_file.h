/* The .snap files: a checkpoint's position, configuration and, for members up to 3.6 and old tools, the members as the
 * v2 store's JSON (wal.md ".snap file"). 3.7 writes it and never reads it. Any thread. */
#ifndef RAFT_WAL_SNAP_FILE_H
#define RAFT_WAL_SNAP_FILE_H

#include "raft/types.h"
#include "raft/wal/wal_fs.h"

/* The whole file's bytes / the parts of it. Decoding fills *conf (overwritten; the caller's to free) and makes *data a
 * view into `file`. ERR_CORRUPT_DATA with a reason that never changes (NULL allowed). */
void snap_file_encode(struct buffer *out, struct raft_position at, const struct raft_conf_state *conf,
                      struct bytes data);
int snap_file_decode(struct bytes file, struct raft_position *at, struct raft_conf_state *conf, struct bytes *data,
                     const char **reason);

/* Writes DIR/%016x-%016x.snap (term, index): temporary name, sync, rename, directory sync. 0, ERR_DISK_FULL, ERR_IO. */
int snap_file_write(const struct wal_fs *fs, const char *dir, struct raft_position at,
                    const struct raft_conf_state *conf, struct bytes data, char **reason);

/* Removes the oldest beyond max_files (0 = keep all), and leftovers of interrupted writes. */
int snap_file_purge(const struct wal_fs *fs, const char *dir, size_t max_files, char **reason);

/* A member for the v2 JSON. */
struct snap_file_member {
    uint64_t id;
    const char *const *peer_urls;
    size_t peer_url_count;
    const char *name;               /* NULL: attributes not known yet */
    const char *const *client_urls; /* no attributes node if there are none */
    size_t client_url_count;
    bool learner;
};

/* The v2 store as JSON, built from nothing (wal.md). cluster_version: "3.7.0" or NULL. Members in ascending id order.
 */
void snap_file_v2_json(struct buffer *out, const struct snap_file_member *members, size_t member_count,
                       const uint64_t *removed_ids, size_t removed_count, const char *cluster_version);

#endif
