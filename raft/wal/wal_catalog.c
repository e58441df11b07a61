/* Remembers where entries stand: a mark each 64 KiB, at the start of each segment, and wherever an entry replaced an
 * earlier one or follows some that don't count. So an index is found with one search and at most 64 KiB of reading, at
 * 48 bytes a mark. */
#include "base/canary.h"
#include "raft/wal/wal_impl.h"
#include <stdlib.h>

enum { MARK_BYTES = 64 << 10 };

void wal_catalog_init(struct wal_catalog *c, uint64_t next_index)
{
    *c = (struct wal_catalog){.first = next_index, .last = next_index - 1};
}

void wal_catalog_free(struct wal_catalog *c)
{
    free(c->marks);
    terms_free(&c->terms);
    *c = (struct wal_catalog){0};
}

/* Forgets entries from index on. */
static void cut(struct wal_catalog *c, uint64_t index)
{
    while (c->mark_count > 0 && c->marks[c->mark_count - 1].index >= index) {
        c->mark_count--;
    }
    terms_cut(&c->terms, index);
    c->last = index - 1;
}

static void add_mark(struct wal_catalog *c, const struct wal_mark *at)
{
    if (c->mark_count == c->mark_capacity) {
        c->mark_capacity = c->mark_capacity * 2 + 64;
        c->marks = mem_realloc(c->marks, c->mark_capacity * sizeof *c->marks);
    }
    c->marks[c->mark_count++] = *at;
}

void wal_catalog_add(struct wal_catalog *c, uint64_t index, uint64_t term, const struct wal_mark *at)
{
    bool follows = c->last >= c->first && index == c->last + 1 && c->mark_count > 0 && !c->interrupted;
    if (!follows) {
        cut(c, index > c->last + 1 || index < c->first ? 0 : index);
        if (c->mark_count == 0) {
            terms_cut(&c->terms, 0);
            c->first = index;
        }
        add_mark(c, at);
    } else {
        const struct wal_mark *before = &c->marks[c->mark_count - 1];
        if (before->segment.sequence != at->segment.sequence || at->offset - before->offset >= MARK_BYTES) {
            add_mark(c, at);
        }
    }
    terms_add(&c->terms, index, term);
    c->last = index;
    c->interrupted = false;
}

void wal_catalog_pass_over(struct wal_catalog *c)
{
    c->interrupted = !CANARY(REPLACED_ENTRIES_RETURN);
}

void wal_catalog_release(struct wal_catalog *c, uint64_t sequence)
{
    size_t gone = 0;
    while (gone < c->mark_count && c->marks[gone].segment.sequence < sequence) {
        gone++;
    }
    if (gone == 0) {
        return;
    }
    c->mark_count -= gone;
    memmove(c->marks, c->marks + gone, c->mark_count * sizeof *c->marks);
    c->first = c->mark_count > 0 ? c->marks[0].index : c->last + 1;
    if (c->mark_count > 0) {
        terms_drop(&c->terms, c->first);
    } else {
        terms_cut(&c->terms, 0);
    }
}

uint64_t wal_catalog_term(const struct wal_catalog *c, uint64_t index)
{
    if (index < c->first || index > c->last) {
        return 0;
    }
    return terms_at(&c->terms, index);
}

bool wal_catalog_find(const struct wal_catalog *c, uint64_t index, struct wal_mark *mark, uint64_t *until)
{
    if (index < c->first || index > c->last || c->mark_count == 0) {
        return false;
    }
    size_t low = 0, high = c->mark_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (c->marks[middle].index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *mark = c->marks[low];
    *until = low + 1 < c->mark_count ? c->marks[low + 1].index - 1 : c->last;
    return true;
}
