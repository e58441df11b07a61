/* Commits. LMDB writes the changed pages, syncs, writes one meta page through a descriptor that syncs: that order is
 * what makes a commit whole or absent, so MDB_NOSYNC is for tests only.
 *
 * No space is the one failure that may be tried again: what LMDB wrote lies in pages that nothing refers to. LMDB tells
 * a write that the file system cut short as EIO, so an EIO is asked after: would the file system give room at this
 * moment? Any other failure ends the store for good (law 6 of design.md): a sync that failed once must not be believed
 * later. */
#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/folder.h"
#include "kv/backend_lmdb.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Would a file of this size be refused? Asks for room behind the end of the file without making it longer. A file
 * system writes in steps of up to some megabytes, and cuts a write short before a step that it has not all of the room
 * for. */
static bool no_space(const struct lmdb *l)
{
    enum { ROOM = 1 << 20, LARGE_STEP = 16 << 20 };
    struct stat st;
    struct rlimit limit;
    if (fstat(l->lock_fd, &st) != 0) {
        return false;
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (uint64_t)st.st_size + l->page_bytes > limit.rlim_cur) {
        return true;
    }
    if (folder_room(l->lock_fd) < LARGE_STEP) {
        return true;
    }
    if (fallocate(l->lock_fd, FALLOC_FL_KEEP_SIZE, st.st_size, ROOM) == 0) {
        return false;
    }
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
}

int lmdb_commit_failed(struct lmdb *l, int rc, const char *what)
{
    int error = rc == EIO && no_space(l) ? ERR_DISK_FULL : lmdb_error(rc);
    if (error == ERR_DISK_FULL) {
        return error; /* the caller tells, once: this may come every 100 ms */
    }
    l->failed = true;
    return lmdb_fail(l, rc, what);
}

int lmdb_txn_finish(struct lmdb *l, MDB_txn *txn)
{
    FAILPOINT(beforeCommit);
    int rc = mdb_txn_commit(txn);
    if (rc != 0) {
        return lmdb_commit_failed(l, rc, "commit");
    }
    FAILPOINT(afterCommit);
    return lmdb_measure(l);
}

/* A write transaction at work. */
struct writer {
    struct lmdb *l;
    MDB_txn *txn;
    MDB_cursor *append; /* at the end of table `key`, or NULL */
};

/* LMDB's cursor that believes to be at the end is not to be trusted after a change through another one. */
static void append_stop(struct writer *w)
{
    if (w->append != NULL) {
        mdb_cursor_close(w->append);
        w->append = NULL;
    }
}

/* Keys of table `key` ascend, so nearly each is put behind the last one without a search, and leaves fill up. Anything
 * else is told as MDB_KEYEXIST. */
static int put_last(struct writer *w, MDB_val *key, MDB_val *value)
{
    int rc = w->append != NULL ? 0 : mdb_cursor_open(w->txn, w->l->tables[BACKEND_KEY], &w->append);
    return rc != 0 ? rc : mdb_cursor_put(w->append, key, value, MDB_APPEND | MDB_RESERVE);
}

static int put(struct writer *w, enum backend_table table, struct bytes key, struct bytes value)
{
    MDB_val k = lmdb_val(key), v = {.mv_size = value.len + LMDB_ROW_CRC};
    int rc = table == BACKEND_KEY ? put_last(w, &k, &v) : MDB_KEYEXIST;
    if (rc == MDB_KEYEXIST) {
        if (table == BACKEND_KEY) {
            append_stop(w);
        }
        v = (MDB_val){.mv_size = value.len + LMDB_ROW_CRC};
        rc = mdb_put(w->txn, w->l->tables[table], &k, &v, MDB_RESERVE);
    }
    if (rc == 0) {
        lmdb_row_seal(table, key, value, v.mv_data);
    }
    return rc;
}

static int delete_row(struct writer *w, enum backend_table table, struct bytes key)
{
    MDB_val k = lmdb_val(key);
    if (table == BACKEND_KEY) {
        append_stop(w);
    }
    int rc = mdb_del(w->txn, w->l->tables[table], &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_position(struct writer *w, const struct backend_batch *batch)
{
    uint8_t number[8];
    if (batch->index == 0) {
        return 0;
    }
    put_be64(number, batch->index);
    int rc = put(w, BACKEND_META, bytes_str(BACKEND_CONSISTENT_INDEX), bytes_of(number, 8));
    if (rc == 0 && batch->term != 0) {
        put_be64(number, batch->term);
        rc = put(w, BACKEND_META, bytes_str(BACKEND_TERM), bytes_of(number, 8));
    }
    return rc;
}

static int put_all(struct writer *w, const struct backend_batch *batch)
{
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct backend_op *op = &batch->ops[i];
        if (op->kind == BACKEND_PUT) {
            rc = put(w, op->table, op->key, op->value);
        } else {
            rc = delete_row(w, op->table, op->key);
        }
    }
    if (rc == 0) {
        rc = put_position(w, batch);
    }
    append_stop(w);
    return rc;
}

int lmdb_commit(struct backend *b, const struct backend_batch *batch)
{
    struct lmdb *l = (struct lmdb *)b;
    struct writer w = {.l = l};
    CHECK(!l->read_only);
    if (l->failed) {
        return ERR_IO;
    }
    int rc = mdb_txn_begin(l->env, NULL, 0, &w.txn);
    if (rc != 0) {
        return lmdb_commit_failed(l, rc, "commit");
    }
    struct lmdb_guard *before = lmdb_guard_enter(l->guard);
    int error;
    rc = put_all(&w, batch);
    if (rc != 0) {
        mdb_txn_abort(w.txn);
        error = lmdb_commit_failed(l, rc, "commit");
    } else {
        error = lmdb_txn_finish(l, w.txn);
    }
    lmdb_guard_leave(before);
    return error;
}
