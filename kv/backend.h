/* The store behind the state machine: tables of ordered byte strings, written by whole batches. The only users of LMDB
 * are behind this interface; an ordered in-memory twin (for chaos/sim) has the same behaviour and a crash that keeps a
 * prefix of whole batches.
 *
 * Threads: backend_commit is called by one thread at a time (the store thread). Reads may run on any thread at the same
 * time as a commit; a read sees all of the batches committed before it began and nothing of later ones.
 *
 * Batches carry the log position that they bring the tables to, and put it into the table `meta` (consistent_index,
 * term: backend.md) in the same transaction, so that what is stored is always a prefix of the log. */
#ifndef KV_BACKEND_H
#define KV_BACKEND_H

#include "base/bytes.h"
#include "base/list.h"

/* etcd's buckets (backend.md) and kedge's own table, which is never exported and in no hash. */
enum backend_table {
    BACKEND_KEY,
    BACKEND_META,
    BACKEND_LEASE,
    BACKEND_ALARM,
    BACKEND_CLUSTER,
    BACKEND_MEMBERS,
    BACKEND_MEMBERS_REMOVED,
    BACKEND_AUTH,
    BACKEND_AUTH_USERS,
    BACKEND_AUTH_ROLES,
    BACKEND_KEDGE,
    BACKEND_TABLES,
};

const char *
backend_table_name(enum backend_table table); /* etcd's bucket name: "key", "meta", … "authRoles", "kedge" */

/* Keys have 1 to BACKEND_KEY_MAX bytes, LMDB's limit; in the tables of users and roles up to BACKEND_NAME_MAX, which is
 * bbolt's (kv/backend_long.h). A commit CHECKs it. Values: up to 4 GiB less 64 KiB, may be empty. */
enum { BACKEND_KEY_MAX = 511, BACKEND_NAME_MAX = 32768 };

enum backend_kind { BACKEND_PUT, BACKEND_DELETE };

/* One change. key and value are views; their owner (pending, the batch's own arena) keeps them until the batch is done.
 */
struct backend_op {
    uint8_t kind;  /* enum backend_kind */
    uint8_t table; /* enum backend_table */
    struct bytes key;
    struct bytes value; /* empty for a delete */
};

struct backend_batch {
    struct backend_op *ops; /* applied in order; deleting what is not there is no error */
    size_t count;
    uint64_t index, term; /* log position after this batch; index 0 = leave the stored position alone. A term of 0 is
                             not written. */
    size_t bytes;         /* keys and values, for limits */
};

struct backend_stats {
    uint64_t size_bytes;        /* used pages x page size at the last commit (etcd's dbSize, and what quota looks at) */
    uint64_t size_in_use_bytes; /* that less the free pages */
};

struct backend;

/* Makes the batch durable, all of it or nothing. Retrying after ERR_DISK_FULL is allowed (nothing of the batch was
 * kept); after any other error the member must end. Returns 0, ERR_DISK_FULL, ERR_IO, ERR_CORRUPT_DATA. */
int backend_commit(struct backend *b, const struct backend_batch *batch);

/* A read transaction. Short: one slice, at most 256 KiB of values, never across turns of the loop (a long one stops all
 * reuse of pages). For whole-table work use a view. */
struct backend_read;
int backend_read_begin(struct backend *b, struct backend_read **out);
void backend_read_end(struct backend_read *r);

/* *value is a view into the store, valid until the read ends. 0, ERR_ABSENT, ERR_CORRUPT_DATA (row checksum). Damage to
 * what leads to a row shows as ERR_ABSENT: see backend_get_known. */
int backend_get(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value);

/* The same for a row that the caller knows to be there (the index names it): one that isn't is damage, and reported as
 * that. 0, ERR_CORRUPT_DATA. */
int backend_get_known(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value);

/* Visits rows with key >= from in key order until the table ends or visit returns false. visit gets views valid during
 * the call. Returns 0 or ERR_CORRUPT_DATA. Checks that a full scan sees as many rows as the table counts. */
int backend_scan(struct backend_read *r, enum backend_table table, struct bytes from,
                 bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
/* The same for who needs keys and lengths alone: values may come without their bytes (data NULL) and unchecked, so that
 * nothing of them is read. */
int backend_scan_lengths(struct backend_read *r, enum backend_table table, struct bytes from,
                         bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
uint64_t backend_count(struct backend_read *r, enum backend_table table);

/* A view: a read transaction for work on whole tables that lasts (hash, snapshot, backup), opened on the store thread
 * between two commits. The same functions read from it. At most two at a time: ERR_AGAIN for a third. */
int backend_view_open(struct backend *b, struct backend_read **out);
void backend_view_close(struct backend_read *r);

bool backend_is_read(const struct backend *b); /* is a read or a view open? Any thread */

struct backend_stats backend_stats(const struct backend *b); /* any thread */

/* What ERR_CORRUPT_DATA or ERR_IO was about: file, offset and reason of the first fault that was met, as a heap text
 * for the caller to free, or NULL. It was also logged when it was met. Any thread. */
char *backend_fault(const struct backend *b);

/* After many deletes: rewrites runs of leaves of table `key` that are less than half full, at most `budget_bytes` of
 * rows, as one durable commit (none if there is nothing to do); *cursor says where to go on (empty at first) and is
 * empty again when the table's end was reached. Leaves whose rows lie in pages of their own are left alone. Store
 * thread. 0 or an error as backend_commit. */
int backend_repack(struct backend *b, size_t budget_bytes, struct buffer *cursor);

/* All reads and views must have ended. NULL is allowed. */
void backend_close(struct backend *b);

/* --- LMDB (kv/backend_lmdb.c) --- */
struct backend_lmdb_config {
    const char *path;   /* of the file, DIR/member/snap/db; `PATH-lock` stands beside it */
    uint64_t map_bytes; /* 0 = 4 x quota_bytes between 16 GiB and 1 TiB, halved on failure */
    uint64_t quota_bytes;
    bool read_only;
    bool unsafe_no_sync; /* --unsafe-no-fsync: tests only */
    /* Called on whatever thread meets damage or a failed read or write, with the text of backend_fault, after it was
     * logged and before the error is returned. A server ends here (design.md "Storage"): nobody above has to. NULL =
     * nothing. */
    void (*fault)(const char *text);
    /* Tests only: look at the meta pages and nothing else. A server walks all pages and rows before the first use, at
     * each start, however it was stopped: 0.09 s for a million rows of 300 bytes. */
    bool unchecked;
};

/* Opens or creates the file, takes flock(EX) on it for life (SH if read_only). Errors: ERR_LOCKED, ERR_CORRUPT_DATA,
 * ERR_DISK_FULL, ERR_IO, ERR_ABSENT (read_only only), ERR_INVALID (a later format, another machine's page size). A
 * refused open has written nothing to the file. *reason (may be NULL) then gets a heap text that names the file and,
 * for ERR_CORRUPT_DATA, the offset; the caller frees it. A new store has one row, "format" in table `kedge`. */
int backend_open_lmdb(const struct backend_lmdb_config *config, struct backend **out, char **reason);

/* An open store's file, and its lock's, get these names in the same folder, in place of what is there; durable. The
 * store stays open. Whoever has the replaced file open goes on with it. 0, ERR_IO. Store thread. */
int backend_lmdb_rename(struct backend *b, const char *path);

/* Writes the rows to a new file without free space, synced; what was at the path is replaced. Takes as long as reading
 * and writing all of it. No fault of the store: an error leaves no file and the store as it was. 0, ERR_DISK_FULL,
 * ERR_IO, ERR_CORRUPT_DATA. Store thread. */
int backend_lmdb_copy(struct backend *b, const char *path);

/* Walks all pages and rows of a file that nobody has open (it takes no lock). 0, ERR_CORRUPT_DATA, ERR_ABSENT, ERR_IO;
 * *out (kv/lmdb_check.h) says what is wrong and where, or what is there. For `kedgeutl check`. */
struct lmdb_check;
int backend_check_file(const char *path, struct lmdb_check *out);

/* --- in memory (kv/backend_memory.c), deterministic --- */
struct backend *backend_open_memory(void);
/* What a crash leaves: a new backend with the first `batches` commits since the last crash applied (the others are
 * lost). backend_memory_commits says how many there are. The old one must not be used any more. */
size_t backend_memory_commits(const struct backend *b);
struct backend *backend_memory_crash(struct backend *b, size_t batches);
/* The next commit returns this error once (0 = none). */
void backend_memory_fail(struct backend *b, int error);

#endif
