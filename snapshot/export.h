/* A view of the store as a bbolt file, as etcd streams it (bbolt.md "Snapshot stream and file"): all buckets of etcd,
 * with exactly the keys and values of the tables.
 *
 * Two passes over the view. The first lays out the trees without writing them, so that size and root pages are known;
 * the second gives out the same pages from the file's beginning to its end. Both go by slices, hold some pages and at
 * most one row in memory, and make no temporary file. A branch page is given out as soon as it is full, behind its
 * children, so a tree's pages stand in the order in which they become complete and its root is the last.
 *
 * Any thread, one at a time. The view is the caller's and outlives the export. */
#ifndef SNAPSHOT_EXPORT_H
#define SNAPSHOT_EXPORT_H

#include "snapshot/tables.h"

enum { SNAPSHOT_CHECKSUM = 32 }; /* SHA-256 of all that goes before */

struct snapshot_export;

/* checksum: reckon the SHA-256 too (clients' snapshots end with it; images for members have none). */
struct snapshot_export *snapshot_export_new(struct backend_read *view, bool checksum);
void snapshot_export_free(struct snapshot_export *e); /* NULL is allowed */

/* The first pass: about `rows` rows of it. SNAPSHOT_MORE, SNAPSHOT_DONE, ERR_CORRUPT_DATA. */
int snapshot_export_plan(struct snapshot_export *e, size_t rows);
/* After it: bytes of the file, without the checksum. */
uint64_t snapshot_export_bytes(const struct snapshot_export *e);

/* The second pass: fills out, wholly unless the file ends before. SNAPSHOT_MORE; SNAPSHOT_DONE with the last bytes;
 * ERR_CORRUPT_DATA (rows that were there in the first pass are not now). */
int snapshot_export_read(struct snapshot_export *e, uint8_t *out, size_t cap, size_t *len);
/* After SNAPSHOT_DONE. */
void snapshot_export_checksum(const struct snapshot_export *e, uint8_t out[SNAPSHOT_CHECKSUM]);

#endif
