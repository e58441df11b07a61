/* The terms of a log's entries, kept as runs: a log of a million entries and three terms costs three runs. Indexes are
 * those of the user; nothing is known outside of what was added. */
#ifndef RAFT_TERMS_H
#define RAFT_TERMS_H

#include <stddef.h>
#include <stdint.h>

struct terms_run {
    uint64_t index, term; /* entries from index on, up to the next run, have this term */
};

/* Zero-initialised is empty and valid. */
struct terms {
    struct terms_run *runs;
    size_t count, capacity;
};

void terms_add(struct terms *t, uint64_t index, uint64_t term); /* index follows all that were added */
void terms_cut(struct terms *t, uint64_t index);                /* forgets index and what follows */
void terms_drop(struct terms *t, uint64_t index);               /* forgets what is before index, keeps index */
uint64_t terms_at(const struct terms *t, uint64_t index);       /* index is one that was added; 0 if nothing was */
uint64_t terms_begin(const struct terms *t, uint64_t index);    /* where the run that index is in begins */
void terms_free(struct terms *t);                               /* leaves it empty */

#endif
