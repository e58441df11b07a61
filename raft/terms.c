#include "raft/terms.h"
#include "base/bytes.h"
#include <stdlib.h>

void terms_add(struct terms *t, uint64_t index, uint64_t term)
{
    if (t->count > 0 && t->runs[t->count - 1].term == term) {
        return;
    }
    if (t->count == t->capacity) {
        t->capacity = t->capacity * 2 + 16;
        t->runs = mem_realloc(t->runs, t->capacity * sizeof *t->runs);
    }
    t->runs[t->count++] = (struct terms_run){.index = index, .term = term};
}

/* The run that index is in. */
static size_t find(const struct terms *t, uint64_t index)
{
    size_t low = 0, high = t->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (t->runs[middle].index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void terms_cut(struct terms *t, uint64_t index)
{
    while (t->count > 0 && t->runs[t->count - 1].index >= index) {
        t->count--;
    }
}

void terms_drop(struct terms *t, uint64_t index)
{
    size_t gone = t->count == 0 ? 0 : find(t, index);
    if (gone > 0) {
        t->count -= gone;
        memmove(t->runs, t->runs + gone, t->count * sizeof *t->runs);
    }
}

uint64_t terms_at(const struct terms *t, uint64_t index)
{
    return t->count == 0 ? 0 : t->runs[find(t, index)].term;
}

uint64_t terms_begin(const struct terms *t, uint64_t index)
{
    return t->count == 0 ? index : t->runs[find(t, index)].index;
}

void terms_free(struct terms *t)
{
    free(t->runs);
    *t = (struct terms){0};
}
