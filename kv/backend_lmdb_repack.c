/* Repacking. Compaction deletes rows all over table `key`; LMDB joins two leaves only when one is less than a quarter
 * full, so a store of which three quarters of the rows went keeps all of its leaves, a quarter full each.
 *
 * One slice: read through leaves from the cursor on, looking for runs of neighbours under half full that would need
 * fewer pages; copy the rows of such runs but for those of each run's first leaf; then, in one transaction, delete
 * these rows and put them again in order. They go to the end of the run's first leaf, and LMDB splits a leaf that grows
 * at its end so that the old one stays full. The leaves that became empty are free pages.
 *
 * Rows are moved as they are stored, with their checksums: what was damaged stays noticeable. A leaf with a row in
 * pages of its own is left alone, for rewriting it would rewrite those. */
#include "base/check.h"
#include "base/error.h"
#include "kv/backend_lmdb.h"
#include <stdlib.h>

enum {
    LEAVES_A_SLICE = 4096, /* looked at, at most: 16 MiB of pages, a few milliseconds */
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    SLOT = 2,
};

/* A row to move, its bytes in the slice's buffer. */
struct moved {
    size_t at;
    uint16_t key_len;
    uint32_t value_len;
};

/* A leaf being read, or a run of them. */
struct run {
    size_t leaves;
    size_t used;         /* bytes of all its leaves' nodes and slots */
    size_t first_bytes;  /* in the slice's buffer: where the first leaf's rows begin */
    size_t first_moved;  /* where they begin in the list */
    size_t second_moved; /* where the second leaf's rows begin in the list */
};

struct slice {
    struct lmdb *l;
    size_t budget;
    struct buffer rows;
    struct moved *moved;
    size_t count, capacity;
    struct run run;
    /* the leaf being read */
    uintptr_t page;
    size_t leaf_used;
    size_t leaf_bytes, leaf_moved; /* where its rows begin */
    bool leaf_big;
    size_t leaves;
};

static size_t capacity_of(const struct lmdb *l)
{
    return l->page_bytes - PAGE_HEAD;
}

static void remember_row(struct slice *s, MDB_val k, MDB_val v)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity * 2 + 256;
        s->moved = mem_realloc(s->moved, s->capacity * sizeof *s->moved);
    }
    s->moved[s->count++] =
        (struct moved){.at = s->rows.len, .key_len = (uint16_t)k.mv_size, .value_len = (uint32_t)v.mv_size};
    buffer_append(&s->rows, k.mv_data, k.mv_size);
    buffer_append(&s->rows, v.mv_data, v.mv_size);
}

/* Forgets the rows from here on. */
static void forget_rows(struct slice *s, size_t moved, size_t bytes)
{
    s->count = moved;
    s->rows.len = bytes;
}

/* The run has ended: its rows are kept, but for the first leaf's, if that saves a page. */
static void run_end(struct slice *s)
{
    struct run *r = &s->run;
    if (r->leaves >= 2 && r->used <= (r->leaves - 1) * capacity_of(s->l) / 10 * 9) {
        size_t tail = s->count - r->second_moved;
        memmove(s->moved + r->first_moved, s->moved + r->second_moved, tail * sizeof *s->moved);
        s->count = r->first_moved + tail; /* the first leaf's bytes stay in the buffer, unused */
    } else if (r->leaves > 0) {
        forget_rows(s, r->first_moved, r->first_bytes);
    }
    *r = (struct run){0};
}

/* A leaf was read to its end. */
static void leaf_end(struct slice *s)
{
    if (s->page == 0) {
        return;
    }
    s->leaves++;
    if (s->leaf_big || s->leaf_used >= capacity_of(s->l) / 2) {
        size_t moved = s->leaf_moved, bytes = s->leaf_bytes;
        forget_rows(s, moved, bytes);
        run_end(s);
        return;
    }
    struct run *r = &s->run;
    if (r->leaves == 0) {
        *r = (struct run){.first_bytes = s->leaf_bytes, .first_moved = s->leaf_moved};
    } else if (r->leaves == 1) {
        r->second_moved = s->leaf_moved;
    }
    r->leaves++;
    r->used += s->leaf_used;
}

static void leaf_begin(struct slice *s, uintptr_t page)
{
    s->page = page;
    s->leaf_used = 0;
    s->leaf_big = false;
    s->leaf_bytes = s->rows.len;
    s->leaf_moved = s->count;
}

static void leaf_row(struct slice *s, MDB_val k, MDB_val v)
{
    uintptr_t value_page = (uintptr_t)v.mv_data & ~(uintptr_t)(s->l->page_bytes - 1);
    s->leaf_big = s->leaf_big || value_page != s->page;
    s->leaf_used += ((NODE_HEAD + k.mv_size + v.mv_size + 1) & ~(size_t)1) + SLOT;
    if (!s->leaf_big) {
        remember_row(s, k, v);
    }
}

/* Reads leaves until the budget is reached; *next is then the first key not looked at, or empty at the table's end. */
static int look(struct slice *s, MDB_cursor *c, struct buffer *next)
{
    MDB_val k = {.mv_size = next->len, .mv_data = next->data}, v;
    int rc = mdb_cursor_get(c, &k, &v, next->len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        uintptr_t page = (uintptr_t)k.mv_data & ~(uintptr_t)(s->l->page_bytes - 1);
        if (page != s->page) {
            leaf_end(s);
            if (s->rows.len >= s->budget || s->leaves >= LEAVES_A_SLICE) {
                next->len = 0;
                buffer_append(next, k.mv_data, k.mv_size);
                break;
            }
            leaf_begin(s, page);
        }
        leaf_row(s, k, v);
    }
    if (rc == MDB_NOTFOUND) {
        leaf_end(s);
        next->len = 0;
        rc = 0;
    }
    run_end(s);
    return rc;
}

static int look_in_read(struct slice *s, struct buffer *next)
{
    struct backend_read *r;
    MDB_cursor *c;
    int error = backend_read_begin(&s->l->base, &r);
    if (error != 0) {
        return error;
    }
    int rc = mdb_cursor_open(((struct lmdb_read *)r)->txn, s->l->tables[BACKEND_KEY], &c);
    if (rc == 0) {
        rc = look(s, c, next);
        mdb_cursor_close(c);
    }
    backend_read_end(r);
    return rc == 0 ? 0 : lmdb_fail(s->l, rc, "repack");
}

static int move_rows(struct slice *s, MDB_txn *txn)
{
    MDB_dbi dbi = s->l->tables[BACKEND_KEY];
    int rc = 0;
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        MDB_val k = {.mv_size = s->moved[i].key_len, .mv_data = s->rows.data + s->moved[i].at};
        rc = mdb_del(txn, dbi, &k, NULL);
    }
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        MDB_val k = {.mv_size = s->moved[i].key_len, .mv_data = s->rows.data + s->moved[i].at};
        MDB_val v = {.mv_size = s->moved[i].value_len, .mv_data = s->rows.data + s->moved[i].at + k.mv_size};
        rc = mdb_put(txn, dbi, &k, &v, MDB_NOOVERWRITE);
    }
    return rc;
}

static int rewrite(struct slice *s)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->l->env, NULL, 0, &txn);
    if (rc != 0) {
        return lmdb_commit_failed(s->l, rc, "repack");
    }
    if ((rc = move_rows(s, txn)) != 0) {
        mdb_txn_abort(txn);
        return lmdb_commit_failed(s->l, rc, "repack");
    }
    return lmdb_txn_finish(s->l, txn);
}

int lmdb_repack(struct backend *b, size_t budget_bytes, struct buffer *cursor)
{
    struct slice s = {.l = (struct lmdb *)b, .budget = budget_bytes};
    CHECK(!s.l->read_only);
    if (s.l->failed) {
        return ERR_IO;
    }
    struct buffer next = {0};
    buffer_append(&next, cursor->data, cursor->len);
    struct lmdb_guard *before = lmdb_guard_enter(s.l->guard);
    int error = look_in_read(&s, &next);
    if (error == 0 && s.count > 0) {
        error = rewrite(&s);
    }
    lmdb_guard_leave(before);
    if (error == 0) {
        cursor->len = 0;
        buffer_append(cursor, next.data, next.len);
    }
    buffer_free(&next);
    buffer_free(&s.rows);
    free(s.moved);
    return error;
}
