/* An image as a store: reads a bbolt file (snapshot/reader.h) and writes a new LMDB file beside the one in use. The new
 * file is whole and synced, or not there: whatever fails leaves nothing behind. While it is built it has no position,
 * so that half of one is never taken for a store.
 *
 * Buckets that etcd does not have are left out, and the table `kedge` of whatever wrote the image too.
 *
 * Any thread, one at a time; by slices. */
#ifndef SNAPSHOT_INSTALL_H
#define SNAPSHOT_INSTALL_H

#include "snapshot/source.h"
#include "snapshot/tables.h"

struct snapshot_install_config {
    const char *image; /* path of the file */
    const char *store; /* path of the new one; a leftover there is removed */
    /* In place of files, for tests and the simulator (NULL = files; image and store are then only names): */
    struct snapshot_source *source;
    struct backend *into; /* empty */
    bool verify;          /* the SHA-256 at the image's end, if it has one */
    /* The position of the log that the new store gets: index and term of the last entry in it. An image that says of
     * itself that it is beyond it is refused. index 0 = as the image says. */
    uint64_t index, term;
    const struct backend_op *rows; /* written besides (table kedge: ids); live until the install is freed */
    size_t row_count;
    uint64_t map_bytes; /* as backend_lmdb_config's */
    uint64_t quota_bytes;
};

struct snapshot_install;

/* The texts must live until snapshot_install_free. */
struct snapshot_install *snapshot_install_new(const struct snapshot_install_config *config);
/* About `rows` rows. SNAPSHOT_MORE; SNAPSHOT_DONE: the file is complete, synced and closed; ERR_CORRUPT_DATA: the image
 * is refused; ERR_DISK_FULL, ERR_IO, ERR_ABSENT (no such image). */
int snapshot_install_step(struct snapshot_install *i, size_t rows);
/* After an error: "FILE: offset N: what is wrong". */
const char *snapshot_install_reason(const struct snapshot_install *i);
/* Bytes of the image read so far, and in all. */
void snapshot_install_progress(const struct snapshot_install *i, uint64_t *done, uint64_t *all);
/* Without SNAPSHOT_DONE before, removes what was written. NULL is allowed. */
void snapshot_install_free(struct snapshot_install *i);

#endif
