/* The trees of an LMDB file: pages, nodes, keys, leaves. See lmdb_check_walk.h for the layout. */
#include "base/error.h"
#include "kv/lmdb_check_walk.h"
#include <stdarg.h>
#include <stdio.h>

int walk_refuse(struct walk *w, enum lmdb_check_class class, const void *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->out->reason, sizeof w->out->reason, format, args);
    va_end(args);
    w->out->class = class;
    w->out->offset = at == NULL ? 0 : (uint64_t)((const uint8_t *)at - w->image.data);
    return ERR_CORRUPT_DATA;
}

/* --- pages --- */

/* Marks pages as accounted for: each may be so once only. `at` is who refers to them. */
static int claim(struct walk *w, uint64_t first, uint64_t count, const void *at, enum lmdb_check_class class)
{
    if (first < 2 || first > w->last_page || count > w->last_page + 1 - first) {
        return walk_refuse(w, class, at, "page number %llu is out of range", (unsigned long long)first);
    }
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t bit = (uint64_t)1 << (n & 63);
        if (w->seen_bits[n >> 6] & bit) {
            return walk_refuse(w, class, at, "page %llu is in use twice", (unsigned long long)n);
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
        return walk_refuse(w, LMDB_CHECK_CUT, at, "page %llu is behind the file's end", (unsigned long long)first);
    }
    return error;
}

/* Head of a branch or leaf page in the file; *count = nodes. */
int walk_page_head(struct walk *w, uint64_t number, unsigned flags, unsigned *count)
{
    const uint8_t *p = walk_page(w, number);
    unsigned lower = u16(p + 12), upper = u16(p + 14);
    if (u64(p) != number) {
        return walk_refuse(w, LMDB_CHECK_PAGE, p, "page %llu calls itself %llu", (unsigned long long)number,
                           (unsigned long long)u64(p));
    }
    if (u16(p + 10) != flags) {
        return walk_refuse(w, LMDB_CHECK_PAGE, p + 10, "page has flags %#x in place of %#x", u16(p + 10), flags);
    }
    if (lower < HEAD || lower % 2 != 0 || upper < lower || upper > w->page_bytes || upper % 2 != 0) {
        return walk_refuse(w, LMDB_CHECK_PAGE, p + 12, "page has bounds %u and %u", lower, upper);
    }
    *count = (lower - HEAD) / 2;
    return 0;
}

/* --- nodes --- */

/* The node in a slot; its extent is inside the page. Adds to *used what it takes of the page. */
int walk_node(struct walk *w, const uint8_t *page, unsigned slot, bool leaf, struct node *n, unsigned *used)
{
    unsigned offset = u16(page + HEAD + 2 * slot), upper = u16(page + 14);
    if (offset < upper || offset % 2 != 0 || offset + NODE > w->page_bytes) {
        return walk_refuse(w, LMDB_CHECK_NODE, page + HEAD + 2 * slot, "slot points to %u", offset);
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
        return walk_refuse(w, LMDB_CHECK_NODE, n->at, "node of %llu bytes, key %u", (unsigned long long)size, key_len);
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
        return walk_refuse(w, LMDB_CHECK_NODE, page + 14, "nodes take %u bytes of %u", used,
                           w->page_bytes - u16(page + 14));
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
    const uint8_t *p = walk_page(w, first);
    uint64_t count = u32(p + 12);
    if (u64(p) != first || u16(p + 10) != P_OVERFLOW) {
        return walk_refuse(w, LMDB_CHECK_PAGE, p, "overflow page %llu calls itself %llu, flags %#x",
                           (unsigned long long)first, (unsigned long long)u64(p), u16(p + 10));
    }
    if (count < need) {
        return walk_refuse(w, LMDB_CHECK_PAGE, p + 12, "overflow run of %llu pages for %u bytes",
                           (unsigned long long)count, n->data_len);
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
        return walk_refuse(w, LMDB_CHECK_NODE, key.data, "key of %zu bytes", key.len);
    }
    if (t->least_known) {
        int order = compare(t, key, t->least);
        if (order < 0 || (order == 0 && !(t->least_is_branch && !branch))) {
            return walk_refuse(w, LMDB_CHECK_ORDER, key.data, "key is out of order");
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
        return walk_refuse(w, LMDB_CHECK_FREE, n->at, "free list of transaction %llu, %zu bytes",
                           (unsigned long long)txn, n->data.len);
    }
    uint64_t count = u64(n->data.data), before = NO_PAGE;
    if (count >= room) {
        return walk_refuse(w, LMDB_CHECK_FREE, n->data.data, "free list of %llu pages has room for %llu",
                           (unsigned long long)count, (unsigned long long)room - 1);
    }
    for (uint64_t i = 1; i <= count; i++) {
        const uint8_t *at = n->data.data + 8 * i;
        uint64_t page = u64(at);
        if (page >= before) {
            return walk_refuse(w, LMDB_CHECK_FREE, at, "free pages are out of order");
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
        return walk_refuse(w, LMDB_CHECK_TABLE, n->at, "not a table");
    }
    while (number < w->tables->count && !bytes_equal(n->key, bytes_str(w->tables->name(number)))) {
        number++;
    }
    if ((w->tables->count != 0 && number == w->tables->count) || w->table_count == TABLES_MOST) {
        return walk_refuse(w, LMDB_CHECK_TABLE, n->key.data, "unknown table");
    }
    w->table_numbers[w->table_count] = number;
    w->table_records[w->table_count] = walk_record(w, n->data.data);
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
        return walk_refuse(w, LMDB_CHECK_NODE, n->at + 4, "node has flags %#x", n->flags);
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
            return walk_refuse(w, LMDB_CHECK_ROW, n->data.data, "a row's checksum is wrong");
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
        return walk_refuse(w, LMDB_CHECK_PAGE, page + 12, "empty leaf");
    }
    struct node n = {0};
    for (unsigned i = 0; i < count; i++) {
        int error = walk_node(w, page, i, true, &n, &used);
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
        error = walk_page_head(w, number, is_leaf ? P_LEAF : P_BRANCH, &count);
    }
    if (error != 0) {
        return error;
    }
    const uint8_t *page = walk_page(w, number);
    if (is_leaf) {
        return leaf(w, t, page, count);
    }
    if (count < (t->kind == TREE_FREE ? 1 : 2)) {
        return walk_refuse(w, LMDB_CHECK_PAGE, page + 12, "branch page with %u children", count);
    }
    unsigned used = 0;
    struct node n = {0};
    for (unsigned i = 0; i < count; i++) {
        if ((error = walk_node(w, page, i, false, &n, &used)) != 0) {
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
        const uint8_t *p = walk_page(w, number);
        for (unsigned i = 0; i < w->page_bytes; i += 64) {
            __builtin_prefetch(p + i);
        }
    }
}

static int descend(struct walk *w, struct tree *t, struct step *stack, unsigned *depth)
{
    struct step *top = &stack[*depth - 1];
    struct node n = {0};
    unsigned used = 0, slot = top->next++;
    int error = walk_node(w, top->page, slot, false, &n, &used);
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
        return walk_refuse(w, LMDB_CHECK_COUNT, at + 32, "%llu rows are there, %llu are counted",
                           (unsigned long long)t->rows, (unsigned long long)r->rows);
    }
    if (t->branches != r->branches || t->leaves != r->leaves || t->overflows != r->overflows) {
        return walk_refuse(
            w, LMDB_CHECK_COUNT, at + 8, "%llu, %llu, %llu pages are there, %llu, %llu, %llu are counted",
            (unsigned long long)t->branches, (unsigned long long)t->leaves, (unsigned long long)t->overflows,
            (unsigned long long)r->branches, (unsigned long long)r->leaves, (unsigned long long)r->overflows);
    }
    return 0;
}

int walk_tree(struct walk *w, struct tree *t)
{
    struct step stack[DEPTH_MOST];
    unsigned depth = 0;
    const uint8_t *at = w->image.data + t->record.offset;
    unsigned flags = t->kind == TREE_FREE ? RECORD_INTEGERKEY : 0;
    int error = 0;
    if ((t->record.flags & ~(t->kind == TREE_FREE ? ENV_NOSUBDIR : 0)) != flags) {
        return walk_refuse(w, LMDB_CHECK_TABLE, at + 4, "table has flags %#x", t->record.flags);
    }
    if (t->record.depth > DEPTH_MOST || (t->record.depth == 0) != (t->record.root == NO_PAGE)) {
        return walk_refuse(w, LMDB_CHECK_COUNT, at + 6, "tree of depth %u", t->record.depth);
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
