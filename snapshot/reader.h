/* Reads a bbolt image: a snapshot file, an image from another member, etcd's own database. It trusts no number in it:
 * page numbers, counts, offsets, lengths and overflows are compared with what there is before they are used, each page
 * is met at most once (so there is no cycle), depth is bounded, keys must ascend and lie where the branches say. What
 * it accepts is what bbolt's own check accepts, less what no etcd writes: buckets in buckets, values beside buckets.
 *
 * Memory: one page a level of the tree (a page may be as long as its longest row), and two bits for each page.
 *
 * Any thread, one at a time. The source outlives the reader. */
#ifndef SNAPSHOT_READER_H
#define SNAPSHOT_READER_H

#include "snapshot/page.h"
#include "snapshot/source.h"
#include "snapshot/tables.h"

/* What is in it, in the order of bbolt: buckets by name, each with its rows by key. Views are valid during the call. A
 * result other than 0 ends the reading with it. */
struct snapshot_visitor {
    int (*bucket)(struct snapshot_visitor *visitor, struct bytes name);
    int (*row)(struct snapshot_visitor *visitor, struct bytes key, struct bytes value);
};

struct snapshot_reader;

/* verify: check the SHA-256 at the end, if there is one, before anything else. */
struct snapshot_reader *snapshot_reader_new(struct snapshot_source *source, bool verify);
void snapshot_reader_free(struct snapshot_reader *r); /* NULL is allowed */

/* A slice: about `rows` rows, or some MiB of the checksum. SNAPSHOT_MORE; SNAPSHOT_DONE: all of it was given out and
 * nothing was wrong; ERR_CORRUPT_DATA, ERR_IO: see snapshot_reader_reason; or the visitor's result. */
int snapshot_reader_step(struct snapshot_reader *r, struct snapshot_visitor *visitor, size_t rows);

/* "offset N: what is wrong", after an error of its own. The caller knows the file's name. */
const char *snapshot_reader_reason(const struct snapshot_reader *r);
/* No meta page was good: this is no database at all (etcd's "invalid database"). */
bool snapshot_reader_is_no_database(const struct snapshot_reader *r);

/* Once the first step did not fail: is there a SHA-256 at the end (bbolt.md: size % 512 == 32)? Pages in use, in bytes;
 * bytes of the image that were read so far. */
bool snapshot_reader_has_checksum(const struct snapshot_reader *r);
uint64_t snapshot_reader_bytes(const struct snapshot_reader *r);
uint64_t snapshot_reader_progress(const struct snapshot_reader *r);

#endif
