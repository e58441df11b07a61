/* A file that holds a store, of whatever kind: what it is is seen from its first page.
 *
 *   SNAPSHOT_INPUT_BACKUP  a snapshot file as snapshot save and etcd write it: bbolt with a SHA-256 at its end
 *   SNAPSHOT_INPUT_BBOLT   bbolt without: the `db` of an etcd, an image between members
 *   SNAPSHOT_INPUT_LMDB    the `db` of a kedge, of a member that is stopped, or a copy; each of its rows has a checksum
 *
 * The first two may be packed as --backup-compress=zstd does it (snapshot/backup_zstd.h).
 *
 * All give out the same: etcd's buckets by name, each with its rows by key. Nothing in the file is believed before it
 * was checked (snapshot/reader.h, kv/lmdb_check.h). A db of kedge is locked while it is read, shared; one that a member
 * has open is refused. What is read is not changed.
 *
 * Any thread, one at a time. */
#ifndef SNAPSHOT_INPUT_H
#define SNAPSHOT_INPUT_H

#include "snapshot/reader.h"

enum snapshot_input_kind { SNAPSHOT_INPUT_BACKUP, SNAPSHOT_INPUT_BBOLT, SNAPSHOT_INPUT_LMDB };

struct snapshot_input;

/* Opens it: 0; ERR_ABSENT, ERR_IO: snapshot_input_errno says more; ERR_LOCKED; ERR_CORRUPT_DATA, ERR_INVALID: a db of
 * kedge that is damaged. *out is made in any case, for the reason. source (may be NULL): a bbolt image in place of the
 * file, which is then only a name; it outlives the input. verify: a SHA-256 that is there must be right. */
int snapshot_input_open(const char *path, struct snapshot_source *source, bool verify, struct snapshot_input **out);
void snapshot_input_close(struct snapshot_input *input); /* NULL is allowed */

/* Before the first step: reads the file through memory (snapshot_file_map). For tools. */
void snapshot_input_map(struct snapshot_input *input);

/* As snapshot_reader_step. */
int snapshot_input_step(struct snapshot_input *input, struct snapshot_visitor *visitor, size_t rows);

/* "FILE: offset N: what is wrong", after an error of its own; "" if there was none. */
const char *snapshot_input_reason(const struct snapshot_input *input);
int snapshot_input_errno(const struct snapshot_input *input); /* of a failed open; 0 = none */
/* The file is no database of any kind (etcd's "invalid database"). */
bool snapshot_input_is_no_database(const struct snapshot_input *input);

/* Whether a file is LMDB's, by its first two pages: one of them may be damaged. */
bool snapshot_input_is_lmdb(struct snapshot_source *source);

enum snapshot_input_kind snapshot_input_kind(const struct snapshot_input *input);
/* Of the pages in use. After the first step that did not fail. */
uint64_t snapshot_input_bytes(const struct snapshot_input *input);
/* Bytes of the file read so far, and in all. */
void snapshot_input_progress(const struct snapshot_input *input, uint64_t *done, uint64_t *all);

const char *snapshot_input_kind_text(enum snapshot_input_kind kind); /* "a snapshot file", … */

#endif
