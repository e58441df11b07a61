#include "snapshot/export.h"

#include "base/check.h"
#include "base/error.h"
#include "snapshot/page_tree.h"
#include <openssl/evp.h>
#include <stdlib.h>

const enum backend_table snapshot_tables[SNAPSHOT_TABLES] = {
    BACKEND_ALARM, BACKEND_AUTH,  BACKEND_AUTH_ROLES, BACKEND_AUTH_USERS,      BACKEND_CLUSTER,
    BACKEND_KEY,   BACKEND_LEASE, BACKEND_MEMBERS,    BACKEND_MEMBERS_REMOVED, BACKEND_META,
};

enum { FIRST_PAGE = 2 }; /* behind the two meta pages */

struct snapshot_export {
    struct page_tree_sink sink; /* first */
    struct backend_read *view;
    EVP_MD_CTX *digest;
    struct page_tree tree;
    struct page_meta meta; /* complete after the first pass */
    bool planned, metas_out;

    /* the pass under way */
    unsigned table;       /* position in snapshot_tables */
    struct buffer cursor; /* the first row that was not taken */
    bool stopped;
    size_t budget; /* rows left of this slice */
    uint64_t rows; /* of this table so far */
    uint64_t roots[SNAPSHOT_TABLES];
    bool ended;

    /* where the second pass puts pages */
    uint8_t *out;
    size_t cap, len;
    struct buffer spill; /* what there was no room for: goes first into the next `out` */
};

/* --- the second pass's output --- */

static void put(struct page_tree_sink *sink, const void *data, size_t len)
{
    struct snapshot_export *e = (struct snapshot_export *)sink;
    size_t room = e->cap - e->len, n = len < room ? len : room;
    if (n > 0) {
        memcpy(e->out + e->len, data, n);
        e->len += n;
    }
    if (n < len) {
        buffer_append(&e->spill, (const uint8_t *)data + n, len - n);
    }
}

static void put_spill(struct snapshot_export *e)
{
    size_t n = e->spill.len < e->cap ? e->spill.len : e->cap;
    if (n > 0) {
        memcpy(e->out, e->spill.data, n);
        e->len = n;
        buffer_consume(&e->spill, n);
    }
}

/* Meta 0 is the transaction's, meta 1 the one before it. */
static void put_metas(struct snapshot_export *e)
{
    uint8_t page[PAGE_BYTES] = {0};
    struct page_meta before = e->meta;
    before.txid--;
    page_meta_put(page, 0, &e->meta);
    put(&e->sink, page, sizeof page);
    page_meta_put(page, 1, &before);
    put(&e->sink, page, sizeof page);
    e->metas_out = true;
}

/* --- both passes --- */

static bool used_up(const struct snapshot_export *e)
{
    return e->planned ? e->len == e->cap : e->budget == 0;
}

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    struct snapshot_export *e = arg;
    if (used_up(e)) {
        e->cursor.len = 0;
        buffer_append(&e->cursor, key.data, key.len);
        e->stopped = true;
        return false;
    }
    e->budget -= e->budget > 0;
    e->rows++;
    page_tree_add(&e->tree, key, value, false);
    return true;
}

/* One table's rest, or as much of it as the slice has room for. */
static int table_slice(struct snapshot_export *e)
{
    enum backend_table table = snapshot_tables[e->table];
    struct buffer from = e->cursor;
    if (from.len == 0) {
        page_tree_begin(&e->tree, &e->sink);
        e->rows = 0;
    }
    e->cursor = (struct buffer){0};
    e->stopped = false;
    /* The first pass only wants to know how long rows are. */
    int error = (e->planned ? backend_scan : backend_scan_lengths)(e->view, table, buffer_bytes(&from), visit, e);
    buffer_free(&from);
    if (error != 0 || e->stopped) {
        return error != 0 ? error : SNAPSHOT_MORE;
    }
    if (e->rows != backend_count(e->view, table)) {
        return ERR_CORRUPT_DATA;
    }
    e->roots[e->table] = page_tree_end(&e->tree);
    return SNAPSHOT_DONE;
}

/* The bucket of buckets. */
static uint64_t put_root(struct snapshot_export *e)
{
    page_tree_begin(&e->tree, &e->sink);
    for (unsigned i = 0; i < SNAPSHOT_TABLES; i++) {
        uint8_t bucket[PAGE_BUCKET];
        page_bucket_put(bucket, e->roots[i]);
        page_tree_add(&e->tree, bytes_str(backend_table_name(snapshot_tables[i])), bytes_of(bucket, sizeof bucket),
                      true);
    }
    return page_tree_end(&e->tree);
}

static int slice(struct snapshot_export *e, uint64_t *root)
{
    while (e->table < SNAPSHOT_TABLES) {
        if (used_up(e)) {
            return SNAPSHOT_MORE;
        }
        int progress = table_slice(e);
        if (progress != SNAPSHOT_DONE) {
            return progress;
        }
        e->table++;
    }
    *root = put_root(e);
    return SNAPSHOT_DONE;
}

static void pass_begin(struct snapshot_export *e)
{
    e->sink.next_page = FIRST_PAGE;
    e->table = 0;
    e->cursor.len = 0;
}

/* --- the face --- */

struct snapshot_export *snapshot_export_new(struct backend_read *view, bool checksum)
{
    struct snapshot_export *e = mem_zalloc(sizeof *e);
    e->view = view;
    if (checksum) {
        e->digest = EVP_MD_CTX_new();
        CHECK(e->digest != NULL && EVP_DigestInit_ex(e->digest, EVP_sha256(), NULL) == 1);
    }
    pass_begin(e);
    return e;
}

void snapshot_export_free(struct snapshot_export *e)
{
    if (e == NULL) {
        return;
    }
    EVP_MD_CTX_free(e->digest);
    page_tree_free(&e->tree);
    buffer_free(&e->cursor);
    buffer_free(&e->spill);
    free(e);
}

/* The number of the transaction that the file is of: the log's index, so that it grows from file to file. */
static int read_txid(struct snapshot_export *e, uint64_t *txid)
{
    struct bytes index;
    int error = backend_get(e->view, BACKEND_META, bytes_str("consistent_index"), &index);
    *txid = 2 + (error == 0 && index.len == 8 ? get_be64(index.data) : 0);
    return error == ERR_ABSENT ? 0 : error;
}

int snapshot_export_plan(struct snapshot_export *e, size_t rows)
{
    uint64_t root;
    CHECK(!e->planned);
    e->budget = rows;
    int progress = slice(e, &root);
    if (progress != SNAPSHOT_DONE) {
        return progress;
    }
    e->meta = (struct page_meta){
        .page_bytes = PAGE_BYTES, .root = root, .freelist = PAGE_NO_FREELIST, .high_water = e->sink.next_page};
    int error = read_txid(e, &e->meta.txid);
    e->planned = true;
    e->sink.put = put;
    pass_begin(e);
    return error;
}

uint64_t snapshot_export_bytes(const struct snapshot_export *e)
{
    CHECK(e->planned);
    return e->meta.high_water * PAGE_BYTES;
}

static int fill(struct snapshot_export *e)
{
    put_spill(e);
    if (!e->metas_out) {
        put_metas(e);
    }
    if (!e->ended && e->len < e->cap) {
        uint64_t root;
        int progress = slice(e, &root);
        if (progress != SNAPSHOT_DONE) {
            return progress;
        }
        if (root != e->meta.root || e->sink.next_page != e->meta.high_water) {
            return ERR_CORRUPT_DATA;
        }
        e->ended = true;
    }
    return e->ended && e->spill.len == 0 ? SNAPSHOT_DONE : SNAPSHOT_MORE;
}

int snapshot_export_read(struct snapshot_export *e, uint8_t *out, size_t cap, size_t *len)
{
    CHECK(e->planned);
    e->out = out;
    e->cap = cap;
    e->len = 0;
    int progress = fill(e);
    *len = e->len;
    if (e->digest != NULL && e->len > 0) {
        CHECK(EVP_DigestUpdate(e->digest, out, e->len) == 1);
    }
    return progress;
}

void snapshot_export_checksum(const struct snapshot_export *e, uint8_t out[SNAPSHOT_CHECKSUM])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    CHECK(copy != NULL && e->digest != NULL && EVP_MD_CTX_copy_ex(copy, e->digest) == 1);
    CHECK(EVP_DigestFinal_ex(copy, out, NULL) == 1);
    EVP_MD_CTX_free(copy);
}
