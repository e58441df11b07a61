/* What the files of the LMDB store share. Private to kv/backend_lmdb*.c.
 *
 * A row in the file is the caller's key, and the caller's value followed by its CRC-32C, four bytes little-endian,
 * over: the table's name, the key's length (two bytes little-endian), the key, the value. The length is in it so that
 * bytes which a damaged length moves from key to value are noticed. */
#ifndef KV_BACKEND_LMDB_H
#define KV_BACKEND_LMDB_H

#include "kv/backend_driver.h"
#include "kv/lmdb_check.h"
#include "kv/lmdb_guard.h"
#include <lmdb.h>
#include <pthread.h>

enum {
    LMDB_ROW_CRC = 4,
    LMDB_READERS = 256, /* slots of the lock file: read transactions at a time, idle ones in the pool too */
};

struct lmdb_read {
    struct backend_read base;
    MDB_txn *txn;
    struct lmdb_read *next; /* in the pool of idle ones */
};

struct lmdb {
    struct backend base;
    MDB_env *env;
    char *path;
    int lock_fd; /* holds the flock for life */
    bool read_only;
    bool failed;         /* a commit failed for another reason than space: none is tried again */
    unsigned page_bytes; /* of this file */
    size_t map_bytes;
    const uint8_t *map; /* where LMDB mapped the file */
    struct lmdb_guard *guard;
    MDB_dbi tables[BACKEND_TABLES];
    atomic_uint_fast64_t size, size_in_use;
    pthread_mutex_t lock; /* of the two below */
    struct lmdb_read *idle;
    char *fault;                    /* the first one met */
    void (*on_fault)(const char *); /* of the config; NULL until the open is done */
};

static inline MDB_val lmdb_val(struct bytes b)
{
    return (MDB_val){.mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data};
}

static inline struct bytes lmdb_bytes(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

/* --- backend_lmdb.c --- */

/* An LMDB result as an error of ours: 0, ERR_DISK_FULL, ERR_CORRUPT_DATA, ERR_AGAIN (no reader slot), else ERR_IO. */
int lmdb_error(int rc);
/* Remembers and logs "PATH: what: LMDB's words" for backend_fault, and returns lmdb_error(rc), which may not be 0. */
int lmdb_fail(struct lmdb *l, int rc, const char *what);
/* The same for damage at a place in the file; returns ERR_CORRUPT_DATA. `at` points into the map or is NULL. */
int lmdb_damage(struct lmdb *l, const void *at, const char *what);
/* Reads sizes as of the last commit into size and size_in_use. */
int lmdb_measure(struct lmdb *l);

/* --- backend_lmdb_row.c --- */

uint32_t lmdb_row_crc(enum backend_table table, struct bytes key, struct bytes value);
/* Cuts the checksum off what LMDB gave. False when it is wrong or missing. */
bool lmdb_row_open(enum backend_table table, struct bytes key, struct bytes stored, struct bytes *value);
/* Writes value and checksum to `to`, value.len + LMDB_ROW_CRC bytes. */
void lmdb_row_seal(enum backend_table table, struct bytes key, struct bytes value, uint8_t *to);

/* --- backend_lmdb_read.c --- */

int lmdb_read_begin(struct backend *b, struct backend_read **out);
void lmdb_read_end(struct backend_read *r);
int lmdb_get(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value);
int lmdb_missing(struct backend *b, enum backend_table table);
int lmdb_scan(struct backend_read *r, enum backend_table table, struct bytes from,
              bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
int lmdb_scan_lengths(struct backend_read *r, enum backend_table table, struct bytes from,
                      bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
uint64_t lmdb_count(struct backend_read *r, enum backend_table table);
void lmdb_reads_close(struct lmdb *l); /* frees the pool */

/* --- backend_lmdb_commit.c --- */

int lmdb_commit(struct backend *b, const struct backend_batch *batch);
/* A commit failed with this result of LMDB's: the error for its caller. Any but ERR_DISK_FULL is the end of the store.
 */
int lmdb_commit_failed(struct lmdb *l, int rc, const char *what);
/* Commits an LMDB transaction whatever it holds: the one way to disk. On failure it is aborted. */
int lmdb_txn_finish(struct lmdb *l, MDB_txn *txn);

/* --- backend_lmdb_check.c --- */

/* The tables and rows of a store, for lmdb_check_image. */
const struct lmdb_check_tables *lmdb_tables(void);
/* Walks an open file, all of it or the meta pages only. 0, ERR_CORRUPT_DATA, ERR_IO; *out says what and where. */
int lmdb_check_file(int fd, const char *path, bool whole, struct lmdb_check *out);

/* --- backend_lmdb_repack.c --- */

int lmdb_repack(struct backend *b, size_t budget_bytes, struct buffer *cursor);

#endif
