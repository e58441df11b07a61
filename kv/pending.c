#include "kv/pending.h"
#include "base/check.h"

#include <stdlib.h>

static void rows_grow(struct pending *p)
{
    size_t capacity = p->rows == NULL ? 1024 : (p->mask + 1) * 2;
    const struct row **rows = mem_alloc(capacity * sizeof rows[0]);
    for (uint64_t at = p->first; at < p->end; at++) {
        rows[at & (capacity - 1)] = p->rows[at & p->mask];
    }
    free(p->rows);
    p->rows = rows;
    p->mask = capacity - 1;
}

static void starts_grow(struct pending *p)
{
    size_t capacity = p->starts == NULL ? 1024 : (p->starts_mask + 1) * 2;
    uint64_t *starts = mem_alloc(capacity * sizeof starts[0]);
    for (uint64_t i = 0; i < p->main_count; i++) {
        uint64_t at = p->starts_first + i;
        starts[at & (capacity - 1)] = p->starts[at & p->starts_mask];
    }
    free(p->starts);
    p->starts = starts;
    p->starts_mask = capacity - 1;
}

static uint64_t start_of(const struct pending *p, int64_t main)
{
    uint64_t i = (uint64_t)(main - p->first_main);
    return i >= p->main_count ? p->end : p->starts[(p->starts_first + i) & p->starts_mask];
}

void pending_add(struct pending *p, const struct row *row)
{
    int64_t main = row->revision.main;
    if (p->rows == NULL || p->end - p->first > p->mask) {
        rows_grow(p);
    }
    if (p->main_count == 0) {
        p->first_main = main;
    }
    if (main == p->first_main + (int64_t)p->main_count) {
        CHECK(row->revision.sub == 0, "first row of a revision has sub %lld", (long long)row->revision.sub);
        if (p->starts == NULL || p->main_count > p->starts_mask) {
            starts_grow(p);
        }
        p->starts[(p->starts_first + p->main_count) & p->starts_mask] = p->end;
        p->main_count++;
    } else {
        CHECK(main == p->first_main + (int64_t)p->main_count - 1 &&
                  start_of(p, main) + (uint64_t)row->revision.sub == p->end,
              "row out of order");
    }
    p->rows[p->end++ & p->mask] = row;
}

const struct row *pending_find(const struct pending *p, struct revision revision)
{
    if (p->main_count == 0 || revision.main < p->first_main) {
        return NULL;
    }
    uint64_t at = start_of(p, revision.main) + (uint64_t)revision.sub;
    return at < start_of(p, revision.main + 1) ? pending_row(p, at) : NULL;
}

uint64_t pending_seek(const struct pending *p, struct revision revision)
{
    if (p->main_count == 0 || revision.main < p->first_main) {
        return p->first;
    }
    uint64_t at = start_of(p, revision.main) + (uint64_t)revision.sub;
    uint64_t next = start_of(p, revision.main + 1);
    return at < next ? at : next;
}

void pending_drop(struct pending *p, int64_t main)
{
    if (p->main_count == 0 || main < p->first_main) {
        return;
    }
    uint64_t mains = (uint64_t)(main - p->first_main) + 1;
    mains = mains < p->main_count ? mains : p->main_count;
    p->first = start_of(p, p->first_main + (int64_t)mains);
    p->starts_first += mains;
    p->first_main += (int64_t)mains;
    p->main_count -= mains;
}

void pending_free(struct pending *p)
{
    free(p->rows);
    free(p->starts);
    *p = (struct pending){0};
}
