/* Lays rows that come in order of their keys out as the pages of one bbolt tree, from the leaves up. Holds one open
 * page a level. Pages go to the sink in the order in which they become full; a branch page behind its children. */
#ifndef SNAPSHOT_PAGE_TREE_H
#define SNAPSHOT_PAGE_TREE_H

#include "snapshot/page.h"

enum { PAGE_TREE_LEVELS = 40 }; /* a branch has at least two children: more than 2^39 leaves never come */

/* Where pages go to. */
struct page_tree_sink {
    uint64_t next_page; /* id of the next one */
    /* Appends bytes to the file. NULL: pages are only counted. */
    void (*put)(struct page_tree_sink *sink, const void *data, size_t len);
};

struct page_tree_level;

struct page_tree {
    struct page_tree_sink *sink;
    struct page_tree_level *levels[PAGE_TREE_LEVELS]; /* kept for the next tree */
    unsigned height;                                  /* levels in use */
};

/* A new tree: what the one before left is forgotten. The first time on a zeroed struct. */
void page_tree_begin(struct page_tree *tree, struct page_tree_sink *sink);
/* key: 1 to PAGE_KEY_MAX bytes, above the one before. */
void page_tree_add(struct page_tree *tree, struct bytes key, struct bytes value, bool bucket);
/* Gives out what is open, and returns the root page. */
uint64_t page_tree_end(struct page_tree *tree);
void page_tree_free(struct page_tree *tree);

#endif
