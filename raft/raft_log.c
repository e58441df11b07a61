#include "raft/raft_log.h"
#include "base/check.h"
#include <stdlib.h>

void raft_log_init(struct raft_log *l, struct raft_position start, size_t bytes_max)
{
    *l = (struct raft_log){.start = start,
                           .first = start.index + 1,
                           .last = start.index,
                           .hollow_from = start.index + 1,
                           .hollow_to = start.index + 1,
                           .saved = start.index,
                           .durable = start.index,
                           .bytes_max = bytes_max};
}

static struct raft_entry *slot(const struct raft_log *l, uint64_t index)
{
    return &l->slots[l->head + (size_t)(index - l->first)];
}

static void drop_data(struct raft_log *l, struct raft_entry *e)
{
    l->bytes -= raft_entry_bytes(e);
    shared_unref(e->data);
    e->data = NULL;
}

void raft_log_free(struct raft_log *l)
{
    for (uint64_t i = l->first; i <= l->last; i++) {
        shared_unref(slot(l, i)->data);
    }
    free(l->slots);
    terms_free(&l->terms);
    *l = (struct raft_log){0};
}

static void make_room(struct raft_log *l)
{
    size_t count = (size_t)(l->last + 1 - l->first);
    if (l->head + count < l->capacity) {
        return;
    }
    if (l->head <= count) {
        l->capacity = l->capacity * 2 + 64;
        l->slots = mem_realloc(l->slots, l->capacity * sizeof *l->slots);
    }
    memmove(l->slots, l->slots + l->head, count * sizeof *l->slots);
    l->head = 0;
}

void raft_log_append(struct raft_log *l, const struct raft_entry *e)
{
    CHECK(e->index == l->last + 1, "entry %lu after %lu", (unsigned long)e->index, (unsigned long)l->last);
    CHECK(e->term >= raft_log_term(l, l->last));
    make_room(l);
    l->slots[l->head + (size_t)(e->index - l->first)] = *e;
    l->last = e->index;
    if (e->data != NULL) {
        shared_ref(e->data);
        l->bytes += e->data->len;
    }
    terms_add(&l->terms, e->index, e->term);
}

void raft_log_truncate(struct raft_log *l, uint64_t from)
{
    CHECK(from >= l->first);
    for (uint64_t i = from; i <= l->last; i++) {
        drop_data(l, slot(l, i));
    }
    terms_cut(&l->terms, from);
    l->last = from - 1;
    l->saved = l->saved < l->last ? l->saved : l->last;
    l->durable = l->durable < l->last ? l->durable : l->last;
    l->hollow_to = l->hollow_to < from ? l->hollow_to : from;
    l->hollow_from = l->hollow_from < l->hollow_to ? l->hollow_from : l->hollow_to;
}

/* Forgets the slot at the front. */
static void pop(struct raft_log *l)
{
    drop_data(l, slot(l, l->first));
    l->first++;
    l->head++;
    l->hollow_from = l->hollow_from > l->first ? l->hollow_from : l->first;
    l->hollow_to = l->hollow_to > l->first ? l->hollow_to : l->first;
}

void raft_log_compact(struct raft_log *l, uint64_t index)
{
    if (index <= l->start.index) {
        return;
    }
    CHECK(index <= l->durable);
    uint64_t term = raft_log_term(l, index);
    while (l->first <= index) {
        pop(l);
    }
    terms_drop(&l->terms, index + 1);
    if (index == l->last) {
        terms_cut(&l->terms, 0);
    }
    l->start = (struct raft_position){.index = index, .term = term};
}

uint64_t raft_log_term(const struct raft_log *l, uint64_t index)
{
    if (index == l->start.index) {
        return l->start.term;
    }
    return index < l->start.index || index > l->last ? 0 : terms_at(&l->terms, index);
}

static bool is_here(const struct raft_log *l, uint64_t index)
{
    return index < l->hollow_from || index >= l->hollow_to;
}

const struct raft_entry *raft_log_slot(const struct raft_log *l, uint64_t index, bool *here)
{
    if (index < l->first || index > l->last) {
        return NULL;
    }
    *here = is_here(l, index);
    return slot(l, index);
}

const struct raft_entry *raft_log_view(const struct raft_log *l, uint64_t index, size_t *count)
{
    *count = 0;
    if (index < l->first || index > l->last || !is_here(l, index)) {
        return NULL;
    }
    uint64_t to = index < l->hollow_from && l->hollow_from < l->hollow_to ? l->hollow_from - 1 : l->last;
    *count = (size_t)(to + 1 - index);
    return slot(l, index);
}

uint64_t raft_log_last_of_term(const struct raft_log *l, uint64_t index, uint64_t term)
{
    while (index > l->start.index && terms_at(&l->terms, index) > term) {
        index = terms_begin(&l->terms, index) - 1;
    }
    return index > l->start.index ? index : l->start.index;
}

bool raft_log_fill(struct raft_log *l, const struct raft_entry *e)
{
    if (e->index != l->hollow_from || l->hollow_from == l->hollow_to) {
        return e->index < l->first || (e->index <= l->last && is_here(l, e->index)); /* overtaken: no harm */
    }
    struct raft_entry *to = slot(l, e->index);
    if (to->term != e->term || to->type != e->type) {
        return false;
    }
    if (e->data != NULL) {
        to->data = shared_ref(e->data);
        l->bytes += e->data->len;
    }
    l->hollow_from++;
    return true;
}

void raft_log_trim(struct raft_log *l, uint64_t applied)
{
    while (l->bytes > l->bytes_max && l->first <= applied && l->first <= l->durable) {
        pop(l);
    }
    /* Then the newest durable ones: apply comes to them last. The first that is to be applied stays. What is hollow is
     * above applied, because applying brings it back. */
    uint64_t lowest = applied + 2 > l->first ? applied + 2 : l->first;
    if (l->hollow_from == l->hollow_to) {
        l->hollow_from = l->hollow_to = l->durable + 1;
    }
    while (l->bytes > l->bytes_max) {
        if (l->hollow_to <= l->durable && l->hollow_to >= lowest) {
            drop_data(l, slot(l, l->hollow_to++));
        } else if (l->hollow_from > lowest) {
            drop_data(l, slot(l, --l->hollow_from));
        } else {
            return;
        }
    }
}
