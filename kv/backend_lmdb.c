/* The store on disk: opening, creating, locking, closing.
 *
 * A new file is built under another name and renamed when it is whole and synced, so a file at the path is always one
 * that held a complete store: anything less there is damage, and is refused before LMDB (which would quietly make a new
 * store of an empty file) gets to see it. The lock is flock on the file itself: it goes with the inode through the
 * rename, and the kernel drops it with the process. */
#include "kv/backend_lmdb.h"
#include "base/check.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t map_least = (uint64_t)16 << 30, map_most = (uint64_t)1 << 40, map_last_try = (uint64_t)64 << 20;

/* Version of what stands in the file, the row "format" of table `kedge`. */
#define FORMAT_KEY "format"
#define FORMAT "1"

/* --- errors --- */

int lmdb_error(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CURSOR_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_VALSIZE:
        return ERR_CORRUPT_DATA;
    case MDB_READERS_FULL:
        return ERR_AGAIN;
    default:
        return ERR_IO;
    }
}

static void remember(struct lmdb *l, char *text)
{
    log_error("storage fault", log_str("error", text));
    if (l->on_fault != NULL) {
        l->on_fault(text);
    }
    pthread_mutex_lock(&l->lock);
    if (l->fault == NULL) {
        l->fault = text;
        text = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    free(text);
}

int lmdb_fail(struct lmdb *l, int rc, const char *what)
{
    CHECK(rc != 0);
    int error = lmdb_error(rc);
    if (error != ERR_AGAIN && error != ERR_DISK_FULL) {
        remember(l, mem_printf("%s: %s: %s", l->path, what, mdb_strerror(rc)));
    }
    return error;
}

int lmdb_damage(struct lmdb *l, const void *at, const char *what)
{
    const uint8_t *p = at;
    if (p != NULL && l->map != NULL && p >= l->map && p < l->map + l->map_bytes) {
        remember(l, mem_printf("%s: offset %zu: %s", l->path, (size_t)(p - l->map), what));
    } else {
        remember(l, mem_printf("%s: %s", l->path, what));
    }
    return ERR_CORRUPT_DATA;
}

/* Says *reason (which may be NULL) and returns the error. */
__attribute__((format(printf, 3, 4))) static int refuse(char **reason, int error, const char *format, ...)
{
    if (reason != NULL) {
        char text[5000];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        *reason = mem_strdup(text);
    }
    return error;
}

/* LMDB's own assertions: the file contradicts itself in a way that LMDB noticed. */
__attribute__((noreturn)) static void assertion(MDB_env *env, const char *text)
{
    const struct lmdb *l = mdb_env_get_userctx(env);
    log_fatal("damaged database", log_str("path", l->path), log_str("error", text));
}

/* --- sizes --- */

static size_t pages_of(const struct lmdb *l, MDB_txn *txn)
{
    size_t pages = 2; /* the meta pages */
    for (MDB_dbi i = 0; i < BACKEND_TABLES + 2; i++) {
        MDB_stat stat;
        MDB_dbi dbi = i < BACKEND_TABLES ? l->tables[i] : i - BACKEND_TABLES; /* 0 and 1: LMDB's free list and main */
        if (mdb_stat(txn, dbi, &stat) == 0) {
            pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
        }
    }
    return pages;
}

int lmdb_measure(struct lmdb *l)
{
    MDB_envinfo info;
    struct backend_read *r;
    int error = lmdb_read_begin(&l->base, &r);
    if (error != 0) {
        return error;
    }
    r->backend = &l->base;
    mdb_env_info(l->env, &info);
    size_t pages = pages_of(l, ((struct lmdb_read *)r)->txn);
    lmdb_read_end(r);
    atomic_store(&l->size, (info.me_last_pgno + 1) * l->page_bytes);
    atomic_store(&l->size_in_use, pages * l->page_bytes);
    return 0;
}

static struct backend_stats lmdb_stats(const struct backend *b)
{
    const struct lmdb *l = (const struct lmdb *)b;
    return (struct backend_stats){.size_bytes = atomic_load(&l->size),
                                  .size_in_use_bytes = atomic_load(&l->size_in_use)};
}

static char *lmdb_fault(const struct backend *b)
{
    struct lmdb *l = (struct lmdb *)(uintptr_t)b;
    pthread_mutex_lock(&l->lock);
    char *text = l->fault == NULL ? NULL : mem_strdup(l->fault);
    pthread_mutex_unlock(&l->lock);
    return text;
}

/* --- closing --- */

static void release(struct lmdb *l)
{
    lmdb_reads_close(l);
    lmdb_guard_remove(l->guard);
    if (l->env != NULL) {
        mdb_env_close(l->env);
    }
    if (l->lock_fd >= 0) {
        close(l->lock_fd);
    }
    pthread_mutex_destroy(&l->lock);
    free(l->fault);
    free(l->path);
    free(l);
}

static void lmdb_close(struct backend *b)
{
    release((struct lmdb *)b);
}

static const struct backend_driver driver = {
    .commit = lmdb_commit,
    .read_begin = lmdb_read_begin,
    .read_end = lmdb_read_end,
    .get = lmdb_get,
    .missing = lmdb_missing,
    .scan = lmdb_scan,
    .scan_lengths = lmdb_scan_lengths,
    .count = lmdb_count,
    .stats = lmdb_stats,
    .repack = lmdb_repack,
    .fault = lmdb_fault,
    .close = lmdb_close,
};

static struct lmdb *lmdb_new(const char *path, bool read_only)
{
    struct lmdb *l = mem_zalloc(sizeof *l);
    l->base.driver = &driver;
    l->path = mem_strdup(path);
    l->read_only = read_only;
    l->lock_fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

/* --- the environment --- */

static uint64_t map_size(const struct backend_lmdb_config *config)
{
    if (config->map_bytes != 0) {
        return config->map_bytes;
    }
    uint64_t size = config->quota_bytes > map_most / 4 ? map_most : config->quota_bytes * 4;
    return size < map_least ? map_least : size;
}

static int env_try(struct lmdb *l, const struct backend_lmdb_config *config, uint64_t map_bytes)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
    flags |= config->read_only ? MDB_RDONLY : 0;
    flags |= config->unsafe_no_sync ? MDB_NOSYNC : 0;
    int rc = mdb_env_create(&l->env);
    if (rc != 0) {
        return rc;
    }
    mdb_env_set_userctx(l->env, l);
    mdb_env_set_assert(l->env, assertion);
    if ((rc = mdb_env_set_maxdbs(l->env, BACKEND_TABLES)) != 0 ||
        (rc = mdb_env_set_maxreaders(l->env, LMDB_READERS)) != 0 ||
        (rc = mdb_env_set_mapsize(l->env, map_bytes)) != 0 || (rc = mdb_env_open(l->env, l->path, flags, 0600)) != 0) {
        mdb_env_close(l->env);
        l->env = NULL;
    }
    return rc;
}

/* The map is fixed for the life of the process: growing it would have to wait for all readers. Address space costs
 * nothing, but may be limited (ulimit -v, valgrind): then less. */
static int env_open(struct lmdb *l, const struct backend_lmdb_config *config)
{
    uint64_t size = map_size(config);
    int rc;
    while ((rc = env_try(l, config, size)) == ENOMEM && size / 2 >= map_last_try) {
        size /= 2;
    }
    if (rc == 0) {
        MDB_envinfo info;
        MDB_stat stat;
        mdb_env_info(l->env, &info);
        mdb_env_stat(l->env, &stat);
        int dead; /* reads that ended with their process, while a tool kept the lock file in use */
        mdb_reader_check(l->env, &dead);
        l->map_bytes = info.me_mapsize;
        l->page_bytes = stat.ms_psize;
    }
    return rc;
}

static int tables_open(struct lmdb *l, MDB_txn *txn, unsigned flags)
{
    int rc = 0;
    for (int i = 0; i < BACKEND_TABLES && rc == 0; i++) {
        rc = mdb_dbi_open(txn, backend_table_name((enum backend_table)i), flags, &l->tables[i]);
    }
    return rc;
}

/* --- creating --- */

static int fill_new(struct lmdb *l)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0) {
        return rc;
    }
    struct bytes key = bytes_str(FORMAT_KEY), value = bytes_str(FORMAT);
    MDB_val k = lmdb_val(key), v = {.mv_size = value.len + LMDB_ROW_CRC};
    if ((rc = tables_open(l, txn, MDB_CREATE)) != 0 ||
        (rc = mdb_put(txn, l->tables[BACKEND_KEDGE], &k, &v, MDB_RESERVE)) != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    lmdb_row_seal(BACKEND_KEDGE, key, value, v.mv_data);
    return mdb_txn_commit(txn);
}

/* Writes an empty store to the locked, empty file at `path`. */
static int build_new(const char *path, const struct backend_lmdb_config *config)
{
    struct lmdb *l = lmdb_new(path, false);
    int rc = env_open(l, config);
    if (rc == 0) {
        rc = fill_new(l);
    }
    release(l);
    char *lock_path = mem_printf("%s-lock", path);
    unlink(lock_path);
    free(lock_path);
    return rc;
}

/* *fd is then locked and at the path. ERR_AGAIN: somebody else created it meanwhile. */
static int create(const struct backend_lmdb_config *config, const char *path_new, int *fd, char **reason)
{
    *fd = open(path_new, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) {
        return refuse(reason, lmdb_error(errno), "%s: cannot create: %s", path_new, strerror(errno));
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        return refuse(reason, ERR_LOCKED, "%s: in use by another process", path_new);
    }
    if (access(config->path, F_OK) == 0) {
        return ERR_AGAIN;
    }
    int rc = ftruncate(*fd, 0) == 0 ? 0 : errno; /* what an earlier try left */
    rc = rc != 0 ? rc : build_new(path_new, config);
    rc = rc != 0 ? rc : fsync(*fd) == 0 ? 0 : errno;
    rc = rc != 0 ? rc : rename(path_new, config->path) == 0 ? 0 : errno;
    rc = rc != 0 ? rc : folder_sync_of(config->path) == 0 ? 0 : errno;
    if (rc != 0) {
        return refuse(reason, lmdb_error(rc), "%s: cannot create: %s", config->path, mdb_strerror(rc));
    }
    return 0;
}

/* --- locking --- */

static bool is_at(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock_existing(const struct backend_lmdb_config *config, int *fd, char **reason)
{
    *fd = open(config->path, (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (*fd < 0) {
        int error = errno;
        return error == ENOENT ? ERR_ABSENT
                               : refuse(reason, ERR_IO, "%s: cannot open: %s", config->path, strerror(error));
    }
    if (flock(*fd, (config->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        return refuse(reason, ERR_LOCKED, "%s: in use by another process", config->path);
    }
    return is_at(*fd, config->path) ? 0 : ERR_AGAIN;
}

/* Opens or creates the file and locks it. Tries again when the file was renamed or created under its hands. */
static int open_locked(const struct backend_lmdb_config *config, int *fd, char **reason)
{
    char *path_new = mem_printf("%s.new", config->path);
    int error = ERR_AGAIN;
    *fd = -1;
    for (int tries = 0; tries < 10 && error == ERR_AGAIN; tries++) {
        error = lock_existing(config, fd, reason);
        if (error == ERR_ABSENT && !config->read_only) {
            error = create(config, path_new, fd, reason);
        }
        if (error != 0 && *fd >= 0) {
            close(*fd);
            *fd = -1;
        }
    }
    free(path_new);
    if (error == ERR_ABSENT) {
        return refuse(reason, error, "%s: no such file", config->path);
    }
    return error;
}

/* --- opening --- */

/* Finds where LMDB mapped the file: a page holds its own number, and the format row's page is a whole one. */
static void find_map(struct lmdb *l, const void *row)
{
    uintptr_t page = (uintptr_t)row / l->page_bytes * l->page_bytes;
    uint64_t number;
    memcpy(&number, (const void *)page, sizeof number);
    l->map = (const uint8_t *)(page - number * l->page_bytes);
    l->guard = lmdb_guard_add(l->path, l->map, l->map_bytes);
}

static int read_format(struct lmdb *l, MDB_txn *txn, char **reason)
{
    struct bytes key = bytes_str(FORMAT_KEY), value;
    MDB_val k = lmdb_val(key), v;
    int rc = tables_open(l, txn, 0);
    rc = rc != 0 ? rc : mdb_get(txn, l->tables[BACKEND_KEDGE], &k, &v);
    if (rc != 0) {
        return refuse(reason, ERR_CORRUPT_DATA, "%s: offset 0: not a kedge store: %s", l->path, mdb_strerror(rc));
    }
    find_map(l, v.mv_data);
    if (!lmdb_row_open(BACKEND_KEDGE, key, lmdb_bytes(v), &value)) {
        return refuse(reason, ERR_CORRUPT_DATA, "%s: offset %zu: a row's checksum is wrong", l->path,
                      (size_t)((const uint8_t *)v.mv_data - l->map));
    }
    if (!bytes_equal(value, bytes_str(FORMAT))) {
        return refuse(reason, ERR_INVALID, "%s: format %.*s, known is " FORMAT, l->path, (int)value.len,
                      (const char *)value.data);
    }
    return 0;
}

static int open_tables(struct lmdb *l, char **reason)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return refuse(reason, lmdb_error(rc), "%s: %s", l->path, mdb_strerror(rc));
    }
    int error = read_format(l, txn, reason);
    /* Handles opened in a transaction are the environment's once it was committed. */
    rc = mdb_txn_commit(txn);
    CHECK(rc == 0, "%s", mdb_strerror(rc));
    return error != 0 ? error : lmdb_measure(l);
}

int backend_open_lmdb(const struct backend_lmdb_config *config, struct backend **out, char **reason)
{
    struct lmdb *l = lmdb_new(config->path, config->read_only);
    struct lmdb_check check;
    if (reason != NULL) {
        *reason = NULL;
    }
    int error = open_locked(config, &l->lock_fd, reason);
    if (error == 0) {
        error = lmdb_check_file(l->lock_fd, config->path, !config->unchecked, &check);
        if (error != 0) {
            refuse(reason, error, "%s: offset %llu: %s", config->path, (unsigned long long)check.offset, check.reason);
        }
    }
    if (error == 0 && check.page_bytes != (uint32_t)sysconf(_SC_PAGESIZE)) {
        error = refuse(reason, ERR_INVALID, "%s: pages of %u bytes, this machine's are %ld: move it as a snapshot",
                       config->path, check.page_bytes, sysconf(_SC_PAGESIZE));
    }
    if (error == 0) {
        int rc = env_open(l, config);
        error = rc == 0 ? open_tables(l, reason)
                        : refuse(reason, lmdb_error(rc), "%s: cannot open: %s", config->path, mdb_strerror(rc));
    }
    if (error != 0) {
        release(l);
        return error;
    }
    l->on_fault = config->fault;
    *out = &l->base;
    return 0;
}

/* --- another name --- */

static int rename_durably(struct lmdb *l, const char *path)
{
    char *lock_from = mem_printf("%s-lock", l->path), *lock_to = mem_printf("%s-lock", path);
    int rc = rename(l->path, path) == 0 ? 0 : errno;
    if (rc == 0 && rename(lock_from, lock_to) != 0 && errno != ENOENT) {
        rc = errno;
    }
    free(lock_from);
    free(lock_to);
    return rc != 0 ? rc : folder_sync_of(path) == 0 ? 0 : errno;
}

int backend_lmdb_rename(struct backend *b, const char *path)
{
    struct lmdb *l = (struct lmdb *)b;
    CHECK(b->driver == &driver);
    int rc = rename_durably(l, path);
    if (rc != 0) {
        return lmdb_fail(l, rc, "rename");
    }
    pthread_mutex_lock(&l->lock);
    char *before = l->path;
    l->path = mem_strdup(path);
    pthread_mutex_unlock(&l->lock);
    free(before);
    /* Faults of the map carry the new name too. Nobody reads from this store yet. */
    lmdb_guard_remove(l->guard);
    l->guard = lmdb_guard_add(path, l->map, l->map_bytes);
    return 0;
}
