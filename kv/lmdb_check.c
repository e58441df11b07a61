/* The walk. Structure offsets are those of LMDB 0.9 on a 64-bit machine; numbers are in the machine's own byte order.
 *
 *   page    0 number u64 | 8 pad u16 | 10 flags u16 | 12 lower u16, upper u16 (or u32 pages of an overflow run) | 16
 * slots node    0 lo u16 | 2 hi u16 | 4 flags u16 | 6 key length u16 | 8 key, data          slots: u16 offsets of nodes
 *   record  0 pad u32 | 4 flags u16 | 6 depth u16 | 8 branch pages u64 | 16 leaf pages | 24 overflow pages | 32 rows |
 * 40 root meta    16 magic u32 | 20 version u32 | 24 address u64 | 32 map size u64 | 40 free record | 88 main record |
 * 136 last page u64 | 144 transaction u64
 *
 * The free record's pad is the page size. In a branch node lo, hi and flags together are the child's page number. In a
 * leaf node lo and hi are the data's length. */
#include "kv/lmdb_check.h"
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HEAD = 16,
    NODE = 8,
    RECORD = 48,
    META_END = 152,
    PAGE_LEAST = 512,
    PAGE_MOST = 32768,
    DEPTH_MOST = 32,
    KEY_MOST = 511,
    TABLES_MOST = 64,

    P_BRANCH = 1,
    P_LEAF = 2,
    P_OVERFLOW = 4,
    P_META = 8,
    N_BIG = 1,
    N_TABLE = 2,
    RECORD_INTEGERKEY = 8,
    ENV_NOSUBDIR = 0x4000, /* kept in the free record's flags */
};

#define MAGIC 0xBEEFC0DEu
#define NO_PAGE UINT64_MAX

/* A tree as its record describes it. */
struct record {
    uint64_t offset; /* of the record in the file */
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, rows, root;
};

struct meta {
    uint64_t offset;
    uint64_t last_page, txn;
    struct record free, main;
};

enum tree_kind { TREE_FREE, TREE_MAIN, TREE_TABLE };

/* A tree being walked, and what was seen of it. */
struct tree {
    enum tree_kind kind;
    unsigned table;
    struct record record;
    uint64_t branches, leaves, overflows, rows;
    struct bytes least; /* the next key must be above this, or equal if it is a branch's key */
    bool least_is_branch, least_known;
};

struct step {
    const uint8_t *page;
    unsigned next, count;
};

struct walk {
    struct bytes image;
    const struct lmdb_check_tables *tables;
    struct lmdb_check *out;
    uint32_t page_bytes;
    uint64_t file_pages, last_page, seen;
    uint64_t *seen_bits;
    struct meta meta;
    unsigned table_count;
    unsigned table_numbers[TABLES_MOST];
    struct record table_records[TABLES_MOST];
};

const char *lmdb_check_class_name(enum lmdb_check_class class)
{
    static const char *const names[LMDB_CHECK_CLASSES] = {"fine",  "cut",   "meta", "page",  "node",
                                                          "order", "count", "free", "table", "row"};
    return names[class];
}

__attribute__((cold, format(printf, 4, 5))) static int refuse(struct walk *w, enum lmdb_check_class class,
                                                              const void *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->out->reason, sizeof w->out->reason, format, args);
    va_end(args);
    w->out->class = class;
    w->out->offset = at == NULL ? 0 : (uint64_t)((const uint8_t *)at - w->image.data);
    return ERR_CORRUPT_DATA;
}

static uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static struct record record_at(const struct walk *w, const uint8_t *p)
{
    return (struct record){.offset = (uint64_t)(p - w->image.data),
                           .flags = u16(p + 4),
                           .depth = u16(p + 6),
                           .branches = u64(p + 8),
                           .leaves = u64(p + 16),
                           .overflows = u64(p + 24),
                           .rows = u64(p + 32),
                           .root = u64(p + 40)};
}

/* --- pages --- */

static const uint8_t *page_at(const struct walk *w, uint64_t number)
{
    return w->image.data + number * w->page_bytes;
}

/* Marks pages as accounted for: each may be so once only. `at` is who refers to them. */
static int claim(struct walk *w, uint64_t first, uint64_t count, const void *at, enum lmdb_check_class class)
{
    if (first < 2 || first > w->last_page || count > w->last_page + 1 - first) {
        return refuse(w, class, at, "page number %llu is out of range", (unsigned long long)first);
    }
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t bit = (uint64_t)1 << (n & 63);
        if (w->seen_bits[n >> 6] & bit) {
            return refuse(w, class, at, "page %llu is in use twice", (unsigned long long)n);
        }
        w->seen_bits[n >> 6] |= bit;
    }
    w->seen += count;
    return 0;
}

static int claim_in_file(struct walk *w, uint64_t first, uint64_t count, const void *at)
{
    int error = claim(w, first, count, at, LMDB_CHECK_PAGE);
    if (error == 0 && first + count > w->file_pages) {
        return refuse(w, LMDB_CHECK_CUT, at, "page %llu is behind the file's end", (unsigned long long)first);
    }
    return error;
}

/* Head of a branch or leaf page in the file; *count = nodes. */
static int page_head(struct walk *w, uint64_t number, unsigned flags, unsigned *count)
{
    const uint8_t *p = page_at(w, number);
    unsigned lower = u16(p + 12), upper = u16(p + 14);
    if (u64(p) != number) {
        return refuse(w, LMDB_CHECK_PAGE, p, "page %llu calls itself %llu", (unsigned long long)number,
                      (unsigned long long)u64(p));
    }
    if (u16(p + 10) != flags) {
        return refuse(w, LMDB_CHECK_PAGE, p + 10, "page has flags %#x in place of %#x", u16(p + 10), flags);
    }
    if (lower < HEAD || lower % 2 != 0 || upper < lower || upper > w->page_bytes || upper % 2 != 0) {
        return refuse(w, LMDB_CHECK_PAGE, p + 12, "page has bounds %u and %u", lower, upper);
    }
    *count = (lower - HEAD) / 2;
    return 0;
}

/* --- nodes --- */

struct node {
    const uint8_t *at;
    unsigned flags;
    uint64_t child; /* of a branch node */
    struct bytes key;
    struct bytes data; /* of a leaf node: in its own page, or in an overflow run once that was entered */
    uint32_t data_len;
};

/* The node in a slot; its extent is inside the page. Adds to *used what it takes of the page. */
static int node_at(struct walk *w, const uint8_t *page, unsigned slot, bool leaf, struct node *n, unsigned *used)
{
    unsigned offset = u16(page + HEAD + 2 * slot), upper = u16(page + 14);
    if (offset < upper || offset % 2 != 0 || offset + NODE > w->page_bytes) {
        return refuse(w, LMDB_CHECK_NODE, page + HEAD + 2 * slot, "slot points to %u", offset);
    }
    n->at = page + offset;
    n->flags = u16(n->at + 4);
    uint32_t number = u16(n->at) | (uint32_t)u16(n->at + 2) << 16;
    unsigned key_len = u16(n->at + 6);
    uint64_t size = (uint64_t)NODE + key_len;
    n->child = number | (uint64_t)n->flags << 32;
    n->data_len = number;
    if (leaf) {
        size += n->flags & N_BIG ? 8 : number;
    }
    if (key_len > KEY_MOST || size > w->page_bytes - offset) {
        return refuse(w, LMDB_CHECK_NODE, n->at, "node of %llu bytes, key %u", (unsigned long long)size, key_len);
    }
    n->key = bytes_of(n->at + NODE, key_len);
    n->data = bytes_of(n->at + NODE + key_len, size - NODE - key_len);
    *used += (unsigned)(size + 1) & ~1u;
    return 0;
}

/* The nodes of a page fill it from `upper` to the end. */
static int page_full(struct walk *w, const uint8_t *page, unsigned used)
{
    if (used != w->page_bytes - u16(page + 14)) {
        return refuse(w, LMDB_CHECK_NODE, page + 14, "nodes take %u bytes of %u", used, w->page_bytes - u16(page + 14));
    }
    return 0;
}

/* Data in pages of its own. */
static int overflow_run(struct walk *w, struct tree *t, struct node *n)
{
    uint64_t first = u64(n->data.data), need = (HEAD - 1 + (uint64_t)n->data_len) / w->page_bytes + 1;
    int error = claim_in_file(w, first, 1, n->data.data);
    if (error != 0) {
        return error;
    }
    const uint8_t *p = page_at(w, first);
    uint64_t count = u32(p + 12);
    if (u64(p) != first || u16(p + 10) != P_OVERFLOW) {
        return refuse(w, LMDB_CHECK_PAGE, p, "overflow page %llu calls itself %llu, flags %#x",
                      (unsigned long long)first, (unsigned long long)u64(p), u16(p + 10));
    }
    if (count < need) {
        return refuse(w, LMDB_CHECK_PAGE, p + 12, "overflow run of %llu pages for %u bytes", (unsigned long long)count,
                      n->data_len);
    }
    if (count > 1 && (error = claim_in_file(w, first + 1, count - 1, p + 12)) != 0) {
        return error;
    }
    t->overflows += count;
    n->data = bytes_of(p + HEAD, n->data_len);
    return 0;
}

/* --- keys --- */

static int compare(const struct tree *t, struct bytes a, struct bytes b)
{
    if (t->kind == TREE_FREE) {
        uint64_t x = u64(a.data), y = u64(b.data);
        return (x > y) - (x < y);
    }
    return bytes_compare(a, b);
}

/* Takes the key as the next one in order. */
static int key_next(struct walk *w, struct tree *t, struct bytes key, bool branch)
{
    if (key.len == 0 || (t->kind == TREE_FREE && key.len != 8)) {
        return refuse(w, LMDB_CHECK_NODE, key.data, "key of %zu bytes", key.len);
    }
    if (t->least_known) {
        int order = compare(t, key, t->least);
        if (order < 0 || (order == 0 && !(t->least_is_branch && !branch))) {
            return refuse(w, LMDB_CHECK_ORDER, key.data, "key is out of order");
        }
    }
    t->least = key;
    t->least_is_branch = branch;
    t->least_known = true;
    return 0;
}

/* --- what leaves hold --- */

static int free_record(struct walk *w, const struct tree *t, const struct node *n)
{
    uint64_t room = n->data.len / 8, txn = u64(n->key.data);
    if (n->data.len < 8 || n->data.len % 8 != 0 || txn == 0 || txn > w->meta.txn) {
        return refuse(w, LMDB_CHECK_FREE, n->at, "free list of transaction %llu, %zu bytes", (unsigned long long)txn,
                      n->data.len);
    }
    uint64_t count = u64(n->data.data), before = NO_PAGE;
    if (count >= room) {
        return refuse(w, LMDB_CHECK_FREE, n->data.data, "free list of %llu pages has room for %llu",
                      (unsigned long long)count, (unsigned long long)room - 1);
    }
    for (uint64_t i = 1; i <= count; i++) {
        const uint8_t *at = n->data.data + 8 * i;
        uint64_t page = u64(at);
        if (page >= before) {
            return refuse(w, LMDB_CHECK_FREE, at, "free pages are out of order");
        }
        before = page;
        int error = claim(w, page, 1, at, LMDB_CHECK_FREE);
        if (error != 0) {
            return error;
        }
    }
    w->out->free_pages += count;
    (void)t;
    return 0;
}

static int table_record(struct walk *w, const struct node *n)
{
    unsigned number = 0;
    if (n->flags != N_TABLE || n->data.len != RECORD) {
        return refuse(w, LMDB_CHECK_TABLE, n->at, "not a table");
    }
    while (number < w->tables->count && !bytes_equal(n->key, bytes_str(w->tables->name(number)))) {
        number++;
    }
    if ((w->tables->count != 0 && number == w->tables->count) || w->table_count == TABLES_MOST) {
        return refuse(w, LMDB_CHECK_TABLE, n->key.data, "unknown table");
    }
    w->table_numbers[w->table_count] = number;
    w->table_records[w->table_count] = record_at(w, n->data.data);
    w->table_count++;
    return 0;
}

static int leaf_node(struct walk *w, struct tree *t, struct node *n)
{
    int error = key_next(w, t, n->key, false);
    if (error != 0) {
        return error;
    }
    if (n->flags & ~(unsigned)(N_BIG | N_TABLE) || (n->flags != 0 && t->kind == TREE_MAIN && n->flags != N_TABLE) ||
        ((n->flags & N_TABLE) && t->kind != TREE_MAIN)) {
        return refuse(w, LMDB_CHECK_NODE, n->at + 4, "node has flags %#x", n->flags);
    }
    if ((n->flags & N_BIG) && (error = overflow_run(w, t, n)) != 0) {
        return error;
    }
    t->rows++;
    switch (t->kind) {
    case TREE_FREE:
        return free_record(w, t, n);
    case TREE_MAIN:
        return table_record(w, n);
    case TREE_TABLE:
        w->out->rows++;
        if (w->tables->row != NULL && !w->tables->row(t->table, n->key, n->data)) {
            return refuse(w, LMDB_CHECK_ROW, n->data.data, "a row's checksum is wrong");
        }
        return 0;
    }
    return 0;
}

/* --- trees --- */

static int leaf(struct walk *w, struct tree *t, const uint8_t *page, unsigned count)
{
    unsigned used = 0;
    if (count == 0) {
        return refuse(w, LMDB_CHECK_PAGE, page + 12, "empty leaf");
    }
    for (unsigned i = 0; i < count; i++) {
        struct node n;
        int error = node_at(w, page, i, true, &n, &used);
        if (error == 0) {
            error = leaf_node(w, t, &n);
        }
        if (error != 0) {
            return error;
        }
    }
    t->leaves++;
    return page_full(w, page, used);
}

/* Enters the page: a leaf is done at once, a branch is pushed. */
static int enter(struct walk *w, struct tree *t, uint64_t number, const void *at, struct step *stack, unsigned *depth)
{
    unsigned count = 0;
    bool is_leaf = *depth + 1 == t->record.depth;
    int error = claim_in_file(w, number, 1, at);
    if (error == 0) {
        error = page_head(w, number, is_leaf ? P_LEAF : P_BRANCH, &count);
    }
    if (error != 0) {
        return error;
    }
    const uint8_t *page = page_at(w, number);
    if (is_leaf) {
        return leaf(w, t, page, count);
    }
    if (count < (t->kind == TREE_FREE ? 1 : 2)) {
        return refuse(w, LMDB_CHECK_PAGE, page + 12, "branch page with %u children", count);
    }
    unsigned used = 0;
    for (unsigned i = 0; i < count; i++) {
        struct node n;
        if ((error = node_at(w, page, i, false, &n, &used)) != 0) {
            return error;
        }
    }
    t->branches++;
    stack[(*depth)++] = (struct step){.page = page, .count = count};
    return page_full(w, page, used);
}

/* The first key of a branch page is never looked at by LMDB and may be empty; each other one is the least key that may
 * stand under its child. */
/* The page that will be next is fetched from memory while this one is looked at: a walk waits for nothing but memory.
 */
static void prefetch_next(const struct walk *w, const struct step *top)
{
    const uint8_t *at = top->page + u16(top->page + HEAD + 2 * top->next);
    uint64_t number = u16(at) | (uint64_t)u16(at + 2) << 16 | (uint64_t)u16(at + 4) << 32;
    if (number < w->file_pages) {
        const uint8_t *p = page_at(w, number);
        for (unsigned i = 0; i < w->page_bytes; i += 64) {
            __builtin_prefetch(p + i);
        }
    }
}

static int descend(struct walk *w, struct tree *t, struct step *stack, unsigned *depth)
{
    struct step *top = &stack[*depth - 1];
    struct node n;
    unsigned used = 0, slot = top->next++;
    int error = node_at(w, top->page, slot, false, &n, &used);
    if (error == 0 && slot > 0) {
        error = key_next(w, t, n.key, true);
    }
    if (top->next < top->count) {
        prefetch_next(w, top);
    }
    return error != 0 ? error : enter(w, t, n.child, n.at, stack, depth);
}

static int counts(struct walk *w, const struct tree *t)
{
    const uint8_t *at = w->image.data + t->record.offset;
    const struct record *r = &t->record;
    if (t->rows != r->rows) {
        return refuse(w, LMDB_CHECK_COUNT, at + 32, "%llu rows are there, %llu are counted",
                      (unsigned long long)t->rows, (unsigned long long)r->rows);
    }
    if (t->branches != r->branches || t->leaves != r->leaves || t->overflows != r->overflows) {
        return refuse(w, LMDB_CHECK_COUNT, at + 8, "%llu, %llu, %llu pages are there, %llu, %llu, %llu are counted",
                      (unsigned long long)t->branches, (unsigned long long)t->leaves, (unsigned long long)t->overflows,
                      (unsigned long long)r->branches, (unsigned long long)r->leaves, (unsigned long long)r->overflows);
    }
    return 0;
}

static int tree(struct walk *w, struct tree *t)
{
    struct step stack[DEPTH_MOST];
    unsigned depth = 0;
    const uint8_t *at = w->image.data + t->record.offset;
    unsigned flags = t->kind == TREE_FREE ? RECORD_INTEGERKEY : 0;
    int error = 0;
    if ((t->record.flags & ~(t->kind == TREE_FREE ? ENV_NOSUBDIR : 0)) != flags) {
        return refuse(w, LMDB_CHECK_TABLE, at + 4, "table has flags %#x", t->record.flags);
    }
    if (t->record.depth > DEPTH_MOST || (t->record.depth == 0) != (t->record.root == NO_PAGE)) {
        return refuse(w, LMDB_CHECK_COUNT, at + 6, "tree of depth %u", t->record.depth);
    }
    if (t->record.depth != 0) {
        error = enter(w, t, t->record.root, at + 40, stack, &depth);
    }
    while (error == 0 && depth > 0) {
        if (stack[depth - 1].next == stack[depth - 1].count) {
            depth--;
        } else {
            error = descend(w, t, stack, &depth);
        }
    }
    return error != 0 ? error : counts(w, t);
}

/* --- meta pages --- */

static int meta_page(struct walk *w, unsigned number, struct meta *m)
{
    const uint8_t *p = w->image.data + (size_t)number * w->page_bytes;
    if (u64(p) != number || u16(p + 10) != P_META) {
        return refuse(w, LMDB_CHECK_META, p, "meta page calls itself %llu, flags %#x", (unsigned long long)u64(p),
                      u16(p + 10));
    }
    if (u32(p + 16) != MAGIC || u32(p + 20) != 1) {
        return refuse(w, LMDB_CHECK_META, p + 16, "not an LMDB file: magic %#x, version %u", u32(p + 16), u32(p + 20));
    }
    if (u32(p + 40) != w->page_bytes) {
        return refuse(w, LMDB_CHECK_META, p + 40, "page size %u", u32(p + 40));
    }
    *m = (struct meta){.offset = (uint64_t)(p - w->image.data),
                       .free = record_at(w, p + 40),
                       .main = record_at(w, p + 88),
                       .last_page = u64(p + 136),
                       .txn = u64(p + 144)};
    if (m->last_page < 1 || m->last_page - 1 > w->file_pages + w->image.len / 8) {
        return refuse(w, LMDB_CHECK_META, p + 136, "last page %llu", (unsigned long long)m->last_page);
    }
    return 0;
}

static int metas(struct walk *w, struct meta both[2])
{
    if (w->image.len < 2 * PAGE_LEAST) {
        return refuse(w, LMDB_CHECK_CUT, NULL, "file of %zu bytes", w->image.len);
    }
    uint32_t size = u32(w->image.data + 40);
    if (u32(w->image.data + 16) != MAGIC) {
        return refuse(w, LMDB_CHECK_META, w->image.data + 16, "not an LMDB file: magic %#x", u32(w->image.data + 16));
    }
    if (size < PAGE_LEAST || size > PAGE_MOST || (size & (size - 1)) != 0) {
        return refuse(w, LMDB_CHECK_META, w->image.data + 40, "page size %u", size);
    }
    if (w->image.len < 2 * (size_t)size) {
        return refuse(w, LMDB_CHECK_CUT, NULL, "file of %zu bytes", w->image.len);
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
        return refuse(w, LMDB_CHECK_META, w->image.data + both[newest].offset + 144,
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
        return refuse(w, LMDB_CHECK_META, at, "free list of depth %u", depth);
    }
    for (; depth > 0; depth--) {
        unsigned count = 0, used = 0;
        if (number < 2 || number >= w->file_pages) {
            return refuse(w, number <= m->last_page ? LMDB_CHECK_CUT : LMDB_CHECK_META, at,
                          "page number %llu is out of range", (unsigned long long)number);
        }
        int error = page_head(w, number, depth == 1 ? P_LEAF : P_BRANCH, &count);
        if (error == 0 && count == 0) {
            error = refuse(w, LMDB_CHECK_PAGE, page_at(w, number) + 12, "empty page");
        }
        if (error == 0) {
            error = node_at(w, page_at(w, number), count - 1, depth == 1, &n, &used);
        }
        if (error != 0) {
            return error;
        }
        number = n.child;
        at = n.at;
    }
    if (n.at != NULL && (n.key.len != 8 || u64(n.key.data) != m->txn)) {
        return refuse(w, LMDB_CHECK_META, w->image.data + m->offset + 144,
                      "meta page of transaction %llu has another one's free list", (unsigned long long)m->txn);
    }
    return 0;
}

/* --- the whole --- */

static int table_trees(struct walk *w)
{
    if (w->tables->count != 0 && w->table_count != w->tables->count) {
        return refuse(w, LMDB_CHECK_TABLE, w->image.data + w->meta.main.offset, "%u tables of %u", w->table_count,
                      w->tables->count);
    }
    for (unsigned i = 0; i < w->table_count; i++) {
        struct tree t = {.kind = TREE_TABLE, .table = w->table_numbers[i], .record = w->table_records[i]};
        int error = tree(w, &t);
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
    const uint8_t *at = n < w->file_pages ? page_at(w, n) : w->image.data + w->meta.offset + 136;
    return refuse(w, LMDB_CHECK_PAGE, at, "page %llu is neither in use nor free", (unsigned long long)n);
}

/* The trees that a meta page itself records. */
static int own_trees(struct walk *w, const struct meta *m)
{
    struct tree free_tree = {.kind = TREE_FREE, .record = m->free};
    struct tree main_tree = {.kind = TREE_MAIN, .record = m->main};
    int error = tree(w, &free_tree);
    return error != 0 ? error : tree(w, &main_tree);
}

/* LMDB gives the pages of the commit before the newest to nobody until the next commit is done, so what the older meta
 * page says must still be true too; its tables are not walked again. A store's first meta page has no tree. */
static int older_meta(const struct walk *newest, const struct meta *m)
{
    struct lmdb_check *out = newest->out, seen = *out;
    struct walk w = *newest;
    if (m->last_page > newest->last_page) {
        return refuse(&w, LMDB_CHECK_META, w.image.data + m->offset + 136, "last page %llu of %llu",
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
