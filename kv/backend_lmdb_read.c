/* Reads. An ended read transaction isn't freed but reset and kept: renewing it takes no lock of LMDB and no slot search
 * (it keeps its slot in the lock file), so a get costs what the tree costs. */
#include "base/check.h"
#include "base/error.h"
#include "kv/backend_lmdb.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static struct lmdb_read *pool_take(struct lmdb *l)
{
    pthread_mutex_lock(&l->lock);
    struct lmdb_read *r = l->idle;
    if (r != NULL) {
        l->idle = r->next;
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

int lmdb_read_begin(struct backend *b, struct backend_read **out)
{
    struct lmdb *l = (struct lmdb *)b;
    struct lmdb_read *r = pool_take(l);
    int rc;
    if (r != NULL) {
        rc = mdb_txn_renew(r->txn);
    } else {
        r = mem_zalloc(sizeof *r);
        rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &r->txn);
    }
    if (rc != 0) {
        if (r->txn != NULL) {
            mdb_txn_abort(r->txn);
        }
        free(r);
        return lmdb_fail(l, rc, "read transaction");
    }
    *out = &r->base;
    return 0;
}

void lmdb_read_end(struct backend_read *read)
{
    struct lmdb *l = (struct lmdb *)read->backend;
    struct lmdb_read *r = (struct lmdb_read *)read;
    mdb_txn_reset(r->txn);
    pthread_mutex_lock(&l->lock);
    r->next = l->idle;
    l->idle = r;
    pthread_mutex_unlock(&l->lock);
}

void lmdb_reads_close(struct lmdb *l)
{
    for (struct lmdb_read *r = l->idle; r != NULL;) {
        struct lmdb_read *next = r->next;
        mdb_txn_abort(r->txn);
        free(r);
        r = next;
    }
    l->idle = NULL;
}

/* Where LMDB says that a row is. A damaged length or page number may lead out of the map. */
static int row_open(struct lmdb *l, enum backend_table table, MDB_val k, MDB_val v, struct bytes *value)
{
    const uint8_t *at = v.mv_data;
    if (at < l->map || at >= l->map + l->map_bytes || v.mv_size > (size_t)(l->map + l->map_bytes - at)) {
        return lmdb_damage(l, k.mv_data, "a row leads out of the file");
    }
    if (!lmdb_row_open(table, lmdb_bytes(k), lmdb_bytes(v), value)) {
        return lmdb_damage(l, at, "a row's checksum is wrong");
    }
    return 0;
}

int lmdb_get(struct backend_read *read, enum backend_table table, struct bytes key, struct bytes *value)
{
    struct lmdb *l = (struct lmdb *)read->backend;
    MDB_val k = lmdb_val(key), v;
    if (key.len == 0 || key.len > BACKEND_KEY_MAX) {
        return ERR_ABSENT;
    }
    struct lmdb_guard *before = lmdb_guard_enter(l->guard);
    int rc = mdb_get(((struct lmdb_read *)read)->txn, l->tables[table], &k, &v);
    int error = rc == MDB_NOTFOUND ? ERR_ABSENT : 0;
    if (rc == 0) {
        error = row_open(l, table, k, v, value);
    } else if (rc != MDB_NOTFOUND) {
        error = lmdb_fail(l, rc, "get");
    }
    lmdb_guard_leave(before);
    return error;
}

int lmdb_missing(struct backend *b, enum backend_table table)
{
    char what[80];
    snprintf(what, sizeof what, "a row of table %s is missing that was there before", backend_table_name(table));
    return lmdb_damage((struct lmdb *)b, NULL, what);
}

/* Where a scan is. */
struct scan {
    struct lmdb *l;
    enum backend_table table;
    MDB_cursor *cursor;
    uint8_t last[BACKEND_KEY_MAX]; /* the row before, for the order check */
    size_t last_len;
    uint64_t rows;
    bool whole;       /* from the table's first row to its last */
    bool lengths;     /* values are not looked at */
    uintptr_t page;   /* the row before's */
    uint8_t *windows; /* a whole scan: one bit for each window of the file, set once it was mapped; NULL = not done */
    size_t window_count;
};

/* Long scans wait for memory more than for anything else. So on each new leaf the page behind it is fetched, which in a
 * file that grew by appending is the next leaf; and in whole scans the pages around are mapped a window at a time,
 * before the first touch would fault them in one by one. */
static void scan_ahead(struct scan *s, const void *row)
{
    enum { WINDOW = 2 << 20, LINE = 64 };
    uintptr_t page = (uintptr_t)row & ~(uintptr_t)(s->l->page_bytes - 1), before = s->page;
    if (page == before) {
        return;
    }
    s->page = page;
    size_t offset = page - (uintptr_t)s->l->map, window = offset / WINDOW;
    if (window < s->window_count && !(s->windows[window / 8] >> window % 8 & 1)) {
        s->windows[window / 8] |= (uint8_t)(1 << window % 8);
        madvise((uint8_t *)(uintptr_t)s->l->map + window * WINDOW, WINDOW, MADV_POPULATE_READ);
    }
    for (unsigned i = 0; before != 0 && i < s->l->page_bytes; i += LINE) {
        __builtin_prefetch((const uint8_t *)page + s->l->page_bytes + i);
    }
}

static void scan_ahead_start(struct scan *s)
{
    enum { WINDOW = 2 << 20, WORTH_IT = 1 << 20 };
    size_t size = atomic_load(&s->l->size);
    if (s->whole && size >= WORTH_IT) {
        s->window_count = size / WINDOW; /* not the last one: it may go beyond the file's end */
        s->windows = mem_zalloc(s->window_count / 8 + 1);
    }
}

static int row_length(struct lmdb *l, MDB_val k, MDB_val v, struct bytes *value)
{
    if (v.mv_size < LMDB_ROW_CRC || v.mv_size > l->map_bytes) {
        return lmdb_damage(l, k.mv_data, "a row's length cannot be");
    }
    *value = bytes_of(NULL, v.mv_size - LMDB_ROW_CRC);
    return 0;
}

static int scan_row(struct scan *s, MDB_val k, MDB_val v, struct bytes *value)
{
    struct bytes key = lmdb_bytes(k);
    int error = s->lengths ? row_length(s->l, k, v, value) : row_open(s->l, s->table, k, v, value);
    if (error != 0) {
        return error;
    }
    if (key.len > sizeof s->last || (s->rows > 0 && bytes_compare(bytes_of(s->last, s->last_len), key) >= 0)) {
        return lmdb_damage(s->l, k.mv_data, "keys are out of order");
    }
    memcpy(s->last, key.data, key.len);
    s->last_len = key.len;
    s->rows++;
    return 0;
}

static int scan_rows(struct scan *s, struct bytes from, bool (*visit)(void *, struct bytes, struct bytes), void *arg)
{
    MDB_val k = lmdb_val(from), v;
    int rc = mdb_cursor_get(s->cursor, &k, &v, s->whole ? MDB_FIRST : MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(s->cursor, &k, &v, MDB_NEXT)) {
        struct bytes value = {0};
        scan_ahead(s, k.mv_data);
        int error = scan_row(s, k, v, &value);
        if (error != 0) {
            return error;
        }
        if (!visit(arg, lmdb_bytes(k), value)) {
            s->whole = false;
            return 0;
        }
    }
    return rc == MDB_NOTFOUND ? 0 : lmdb_fail(s->l, rc, "scan");
}

uint64_t lmdb_count(struct backend_read *read, enum backend_table table)
{
    struct lmdb *l = (struct lmdb *)read->backend;
    MDB_stat stat = {0};
    int rc = mdb_stat(((struct lmdb_read *)read)->txn, l->tables[table], &stat);
    CHECK(rc == 0, "%s: %s", l->path, mdb_strerror(rc));
    return stat.ms_entries;
}

static int scan(struct backend_read *read, enum backend_table table, struct bytes from, bool lengths,
                bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    struct lmdb *l = (struct lmdb *)read->backend;
    struct scan s = {.l = l, .table = table, .whole = from.len == 0, .lengths = lengths};
    if (from.len > BACKEND_KEY_MAX) {
        return 0;
    }
    int rc = mdb_cursor_open(((struct lmdb_read *)read)->txn, l->tables[table], &s.cursor);
    if (rc != 0) {
        return lmdb_fail(l, rc, "scan");
    }
    struct lmdb_guard *before = lmdb_guard_enter(l->guard);
    scan_ahead_start(&s);
    int error = scan_rows(&s, from, visit, arg);
    free(s.windows);
    lmdb_guard_leave(before);
    mdb_cursor_close(s.cursor);
    if (error == 0 && s.whole && s.rows != lmdb_count(read, table)) {
        return lmdb_damage(l, NULL, "a table has not as many rows as it counts");
    }
    return error;
}

int lmdb_scan(struct backend_read *read, enum backend_table table, struct bytes from,
              bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    return scan(read, table, from, false, visit, arg);
}

int lmdb_scan_lengths(struct backend_read *read, enum backend_table table, struct bytes from,
                      bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    return scan(read, table, from, true, visit, arg);
}
