/* Lays rows that come in order of their keys out as the pages of one bbolt tree, from the leaves up. Holds one open
 * page a level. Pages go to the sink in the order in which they become full; a branch page behind its children. */
#ifndef SNAPSHOT_TREE_H
#define SNAPSHOT_TREE_H

#include "snapshot/page.h"

enum { TREE_LEVELS = 40 }; /* a branch has at least two children: more than 2^39 leaves never come */

/* Where pages go to. */
struct tree_sink {
    uint64_t next_page; /* id of the next one */
    /* Appends bytes to the file. NULL: pages are only counted. */
    void (*put)(struct tree_sink *sink, const void *data, size_t len);
};

struct tree_level;

struct tree {
    struct tree_sink *sink;
    struct tree_level *levels[TREE_LEVELS]; /* kept for the next tree */
    unsigned height;                        /* levels in use */
};

/* A new tree: what the one before left is forgotten. The first time on a zeroed struct. */
void tree_begin(struct tree *tree, struct tree_sink *sink);
/* key: 1 to PAGE_KEY_MAX bytes, above the one before. */
void tree_add(struct tree *tree, struct bytes key, struct bytes value, bool bucket);
/* Gives out what is open, and returns the root page. */
uint64_t tree_end(struct tree *tree);
void tree_free(struct tree *tree);

#endif
