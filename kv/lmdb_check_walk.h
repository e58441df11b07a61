/* The walk's inside: what lmdb_check.c (meta pages, the whole) and lmdb_check_tree.c (pages, nodes, trees) share.
 * Structure offsets are those of LMDB 0.9 on a 64-bit machine; numbers are in the machine's own byte order.
 *
 * page:   0 number u64, 8 pad u16, 10 flags u16, 12 lower u16, 14 upper u16, 16 slots: u16 offsets of nodes. An
 * overflow run has its count of pages, u32, at 12, and data from 16 on.
 *
 * node:   0 lo u16, 2 hi u16, 4 flags u16, 6 key length u16, 8 key, then data. In a branch lo, hi and flags together
 * are the child's page number; in a leaf lo and hi are the data's length.
 *
 * record: 0 pad u32, 4 flags u16, 6 depth u16, 8 branch pages u64, 16 leaf pages, 24 overflow pages, 32 rows, 40 root.
 *
 * meta:   16 magic u32, 20 version u32, 24 address u64, 32 map size u64, 40 record of the free list (its pad is the
 * page size), 88 record of the main tree, 136 last page u64, 144 transaction u64. */
#ifndef KV_LMDB_CHECK_WALK_H
#define KV_LMDB_CHECK_WALK_H

#include "kv/lmdb_check.h"
#include "kv/lmdb_file.h"

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

/* A node, found to lie inside its page. */
struct node {
    const uint8_t *at;
    unsigned flags;
    uint64_t child; /* of a branch node */
    struct bytes key;
    struct bytes data; /* of a leaf node: in its own page, or in an overflow run once that was entered */
    uint32_t data_len;
};

static inline uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline struct record walk_record(const struct walk *w, const uint8_t *p)
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

static inline const uint8_t *walk_page(const struct walk *w, uint64_t number)
{
    return w->image.data + number * w->page_bytes;
}

/* Fills w->out: damage of this class was noticed at `at` (a place in the image, or NULL). Returns ERR_CORRUPT_DATA. */
__attribute__((cold, format(printf, 4, 5))) int walk_refuse(struct walk *w, enum lmdb_check_class class, const void *at,
                                                            const char *format, ...);

/* The head of a branch or leaf page that is in the file; *count = its nodes. */
int walk_page_head(struct walk *w, uint64_t number, unsigned flags, unsigned *count);

/* The node in a slot of such a page. Adds to *used what it takes of the page. */
int walk_node(struct walk *w, const uint8_t *page, unsigned slot, bool leaf, struct node *n, unsigned *used);

/* Walks a whole tree, claims its pages, checks what its leaves hold and its record's counts. */
int walk_tree(struct walk *w, struct tree *t);

#endif
