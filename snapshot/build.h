/* A new store, row by row: an LMDB file that is whole and synced in the end, or not there. While it is built it has no
 * position, so that half of one is never taken for a store.
 *
 * Any thread, one at a time. */
#ifndef SNAPSHOT_BUILD_H
#define SNAPSHOT_BUILD_H

#include "snapshot/reader.h"
#include "snapshot/tables.h"

struct snapshot_build_config {
    const char *image;    /* where rows come from: a name for reasons */
    const char *store;    /* path of the new file; a leftover there is removed */
    struct backend *into; /* in its place: an empty store, which stays the caller's (tests, the simulator); or NULL */
    /* It begins a new cluster: rows of tables members and members_removed are left out, and the position is the one
     * that snapshot_build_end is given, whatever the image says. */
    bool new_cluster;
    bool disable_auth; /* authentication that is enabled is not in the new store */
    /* Adds so much to the latest revision, and marks all as compacted up to there (wal.md, --bump-revision). 0 = no. */
    uint64_t bump_revision;
    bool threaded;      /* rows go into the file by a thread of its own, while more come */
    uint64_t map_bytes; /* as backend_lmdb_config's */
    uint64_t quota_bytes;
};

struct snapshot_build;

/* The texts must live until snapshot_build_free. */
struct snapshot_build *snapshot_build_new(const struct snapshot_build_config *config);
/* 0, or why there can be no such file: ERR_IO, ERR_DISK_FULL, … */
int snapshot_build_begin(struct snapshot_build *b);

/* What the image has, in its order. Buckets that etcd does not have are left out, and the table `kedge` of whatever
 * wrote the image too. 0, ERR_CORRUPT_DATA (the image), ERR_DISK_FULL, ERR_IO. */
int snapshot_build_bucket(struct snapshot_build *b, struct bytes name);
int snapshot_build_row(struct snapshot_build *b, struct bytes key, struct bytes value);
/* A row that is not in the image. */
int snapshot_build_add(struct snapshot_build *b, const struct backend_op *row);
/* The last rows and the position of the log that the store gets; 0 = the image's own. Then the file is complete, synced
 * and closed. An image that says of itself that it is beyond the position is refused, unless it is a new cluster. */
int snapshot_build_end(struct snapshot_build *b, uint64_t index, uint64_t term);

/* After an error: "FILE: …: what is wrong". */
const char *snapshot_build_reason(const struct snapshot_build *b);
/* Without a snapshot_build_end that was good, removes what was written. NULL is allowed. */
void snapshot_build_free(struct snapshot_build *b);

#endif
