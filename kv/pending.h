/* Rows that were applied and are not stored yet, in order of revision. Readers find them here until the store has them
 * durably. One thread. The rows' memory is their batch's: drop them before it goes. */
#ifndef KV_PENDING_H
#define KV_PENDING_H

#include "kv/row.h"

struct pending {
    /* Ring of rows; positions count up for ever, slot = position & mask. */
    const struct row **rows;
    uint64_t first, end;
    size_t mask; /* capacity - 1; 0 = nothing allocated */
    /* Ring of the positions at which each main begins, for mains first_main … first_main + main_count - 1. */
    uint64_t *starts;
    size_t starts_mask;
    uint64_t starts_first;
    int64_t first_main;
    size_t main_count;
};

/* Revisions come in order: sub 0, 1, 2 … of main, then of main + 1. */
void pending_add(struct pending *pending, const struct row *row);
/* NULL if it is not here. */
const struct row *pending_find(const struct pending *pending, struct revision revision);
/* Lets go of all rows with main <= this. */
void pending_drop(struct pending *pending, int64_t main);
void pending_free(struct pending *pending);

/* Rows of the lowest main that is here and up; INT64_MAX when empty. */
static inline int64_t pending_first_main(const struct pending *pending)
{
    return pending->main_count == 0 ? INT64_MAX : pending->first_main;
}

/* The first row at or after this revision: its position, to walk on to pending->end with pending_row. */
uint64_t pending_seek(const struct pending *pending, struct revision revision);

static inline const struct row *pending_row(const struct pending *pending, uint64_t position)
{
    return pending->rows[position & pending->mask];
}

#endif
