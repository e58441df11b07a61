/* The walk as a whole: both meta pages, the trees they record, the tables, every page accounted for. */
#include "base/error.h"
#include "kv/lmdb_check_walk.h"
#include <stdlib.h>

const char *lmdb_check_class_name(enum lmdb_check_class class)
{
    static const char *const names[LMDB_CHECK_CLASSES] = {"fine",  "cut",   "meta", "page",  "node",
                                                          "order", "count", "free", "table", "row"};
    return names[class];
}

/* --- meta pages --- */

static int meta_page(struct walk *w, unsigned number, struct meta *m)
{
    const uint8_t *p = w->image.data + (size_t)number * w->page_bytes;
    if (u64(p) != number || u16(p + 10) != P_META) {
        return walk_refuse(w, LMDB_CHECK_META, p, "meta page calls itself %llu, flags %#x", (unsigned long long)u64(p),
                           u16(p + 10));
    }
    if (!lmdb_file_is_meta(p) || u32(p + 20) != 1) {
        return walk_refuse(w, LMDB_CHECK_META, p + 16, "not an LMDB file: magic %#x, version %u", u32(p + 16),
                           u32(p + 20));
    }
    if (u32(p + 40) != w->page_bytes) {
        return walk_refuse(w, LMDB_CHECK_META, p + 40, "page size %u", u32(p + 40));
    }
    *m = (struct meta){.offset = (uint64_t)(p - w->image.data),
                       .free = walk_record(w, p + 40),
                       .main = walk_record(w, p + 88),
                       .last_page = u64(p + 136),
                       .txn = u64(p + 144)};
    if (m->last_page < 1 || m->last_page - 1 > w->file_pages + w->image.len / 8) {
        return walk_refuse(w, LMDB_CHECK_META, p + 136, "last page %llu", (unsigned long long)m->last_page);
    }
    return 0;
}

static int metas(struct walk *w, struct meta both[2])
{
    if (w->image.len < 2 * PAGE_LEAST) {
        return walk_refuse(w, LMDB_CHECK_CUT, NULL, "file of %zu bytes", w->image.len);
    }
    uint32_t size = u32(w->image.data + 40);
    if (!lmdb_file_is_meta(w->image.data)) {
        return walk_refuse(w, LMDB_CHECK_META, w->image.data + 16, "not an LMDB file: magic %#x",
                           u32(w->image.data + 16));
    }
    if (size < PAGE_LEAST || size > PAGE_MOST || (size & (size - 1)) != 0) {
        return walk_refuse(w, LMDB_CHECK_META, w->image.data + 40, "page size %u", size);
    }
    if (w->image.len < 2 * (size_t)size) {
        return walk_refuse(w, LMDB_CHECK_CUT, NULL, "file of %zu bytes", w->image.len);
    }
    w->page_bytes = w->out->page_bytes = size;
    w->file_pages = w->image.len / size;
    for (unsigned i = 0; i < 2; i++) {
        int error = meta_page(w, i, &both[i]);
        if (error != 0) {
            return error;
        }
    }
    unsigned newest = both[1].txn > both[0].txn;
    if (both[newest].txn != both[!newest].txn + 1 || (both[newest].txn & 1) != newest) {
        return walk_refuse(w, LMDB_CHECK_META, w->image.data + both[newest].offset + 144,
                           "meta pages of transactions %llu and %llu", (unsigned long long)both[0].txn,
                           (unsigned long long)both[1].txn);
    }
    w->meta = both[newest];
    w->last_page = w->meta.last_page;
    w->out->txn = w->meta.txn;
    w->out->pages = w->last_page + 1;
    return 0;
}

/* Each commit but a file's first frees at least one page and lists it under its own number, last. So the last number in
 * the free list of a meta page says what transaction that page is really of. */
static int newest_free_record(struct walk *w, const struct meta *m)
{
    uint64_t number = m->free.root;
    unsigned depth = m->free.depth;
    const uint8_t *at = w->image.data + m->free.offset + 40;
    struct node n = {.at = NULL};
    if (depth > DEPTH_MOST || (depth == 0) != (number == NO_PAGE)) {
        return walk_refuse(w, LMDB_CHECK_META, at, "free list of depth %u", depth);
    }
    for (; depth > 0; depth--) {
        unsigned count = 0, used = 0;
        if (number < 2 || number >= w->file_pages) {
            return walk_refuse(w, number <= m->last_page ? LMDB_CHECK_CUT : LMDB_CHECK_META, at,
                               "page number %llu is out of range", (unsigned long long)number);
        }
        int error = walk_page_head(w, number, depth == 1 ? P_LEAF : P_BRANCH, &count);
        if (error == 0 && count == 0) {
            error = walk_refuse(w, LMDB_CHECK_PAGE, walk_page(w, number) + 12, "empty page");
        }
        if (error == 0) {
            error = walk_node(w, walk_page(w, number), count - 1, depth == 1, &n, &used);
        }
        if (error != 0) {
            return error;
        }
        number = n.child;
        at = n.at;
    }
    if (n.at != NULL && (n.key.len != 8 || u64(n.key.data) != m->txn)) {
        return walk_refuse(w, LMDB_CHECK_META, w->image.data + m->offset + 144,
                           "meta page of transaction %llu has another one's free list", (unsigned long long)m->txn);
    }
    return 0;
}

/* --- the whole --- */

static int table_trees(struct walk *w)
{
    if (w->tables->count != 0 && w->table_count != w->tables->count) {
        return walk_refuse(w, LMDB_CHECK_TABLE, w->image.data + w->meta.main.offset, "%u tables of %u", w->table_count,
                           w->tables->count);
    }
    for (unsigned i = 0; i < w->table_count; i++) {
        struct tree t = {.kind = TREE_TABLE, .table = w->table_numbers[i], .record = w->table_records[i]};
        int error = walk_tree(w, &t);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int all_pages_seen(struct walk *w)
{
    if (w->seen == w->last_page - 1) {
        return 0;
    }
    uint64_t n = 2;
    while (w->seen_bits[n >> 6] >> (n & 63) & 1) {
        n++;
    }
    const uint8_t *at = n < w->file_pages ? walk_page(w, n) : w->image.data + w->meta.offset + 136;
    return walk_refuse(w, LMDB_CHECK_PAGE, at, "page %llu is neither in use nor free", (unsigned long long)n);
}

/* The trees that a meta page itself records. */
static int own_trees(struct walk *w, const struct meta *m)
{
    struct tree free_tree = {.kind = TREE_FREE, .record = m->free};
    struct tree main_tree = {.kind = TREE_MAIN, .record = m->main};
    int error = walk_tree(w, &free_tree);
    return error != 0 ? error : walk_tree(w, &main_tree);
}

/* LMDB gives the pages of the commit before the newest to nobody until the next commit is done, so what the older meta
 * page says must still be true too; its tables are not walked again. A store's first meta page has no tree. */
static int older_meta(const struct walk *newest, const struct meta *m)
{
    struct lmdb_check *out = newest->out, seen = *out;
    struct walk w = *newest;
    if (m->last_page > newest->last_page) {
        return walk_refuse(&w, LMDB_CHECK_META, w.image.data + m->offset + 136, "last page %llu of %llu",
                           (unsigned long long)m->last_page, (unsigned long long)newest->last_page);
    }
    w.meta = *m;
    w.last_page = m->last_page;
    w.seen_bits = mem_zalloc((w.last_page / 64 + 1) * sizeof *w.seen_bits);
    int error = own_trees(&w, m);
    free(w.seen_bits);
    if (error == 0) {
        *out = seen;
    }
    return error;
}

static int everything(struct walk *w)
{
    struct meta both[2] = {{0}};
    int error = metas(w, both);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = newest_free_record(w, &both[i]);
    }
    if (error == 0) {
        error = older_meta(w, &both[both[0].txn > both[1].txn]);
    }
    if (error != 0) {
        return error;
    }
    w->seen_bits = mem_zalloc((w->last_page / 64 + 1) * sizeof *w->seen_bits);
    if ((error = own_trees(w, &w->meta)) == 0 && (error = table_trees(w)) == 0) {
        error = all_pages_seen(w);
    }
    free(w->seen_bits);
    return error;
}

int lmdb_check_image(struct bytes image, const struct lmdb_check_tables *tables, struct lmdb_check *out)
{
    static const struct lmdb_check_tables any = {0};
    struct walk w = {.image = image, .tables = tables == NULL ? &any : tables, .out = out};
    *out = (struct lmdb_check){.class = LMDB_CHECK_FINE};
    return everything(&w);
}

int lmdb_check_metas(struct bytes image, struct lmdb_check *out)
{
    struct walk w = {.image = image, .out = out};
    struct meta both[2] = {{0}};
    *out = (struct lmdb_check){.class = LMDB_CHECK_FINE};
    int error = metas(&w, both);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = newest_free_record(&w, &both[i]);
    }
    return error;
}
