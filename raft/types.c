#include "raft/types.h"
#include <stdlib.h>

/* The place of id in the set, or where it would have to go. */
static size_t find(const struct raft_ids *set, uint64_t id)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool raft_ids_has(const struct raft_ids *set, uint64_t id)
{
    size_t i = find(set, id);
    return i < set->count && set->ids[i] == id;
}

void raft_ids_add(struct raft_ids *set, uint64_t id)
{
    size_t i = find(set, id);
    if (i < set->count && set->ids[i] == id) {
        return;
    }
    set->ids = mem_realloc(set->ids, (set->count + 1) * sizeof *set->ids);
    memmove(set->ids + i + 1, set->ids + i, (set->count - i) * sizeof *set->ids);
    set->ids[i] = id;
    set->count++;
}

void raft_ids_remove(struct raft_ids *set, uint64_t id)
{
    size_t i = find(set, id);
    if (i == set->count || set->ids[i] != id) {
        return;
    }
    set->count--;
    memmove(set->ids + i, set->ids + i + 1, (set->count - i) * sizeof *set->ids);
}

bool raft_ids_equal(const struct raft_ids *a, const struct raft_ids *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0);
}

static void copy_ids(struct raft_ids *to, const struct raft_ids *from)
{
    *to = (struct raft_ids){0};
    if (from->count > 0) {
        to->ids = mem_alloc(from->count * sizeof *to->ids);
        memcpy(to->ids, from->ids, from->count * sizeof *to->ids);
        to->count = from->count;
    }
}

void raft_conf_state_copy(struct raft_conf_state *to, const struct raft_conf_state *from)
{
    copy_ids(&to->voters, &from->voters);
    copy_ids(&to->learners, &from->learners);
    copy_ids(&to->voters_outgoing, &from->voters_outgoing);
    copy_ids(&to->learners_next, &from->learners_next);
    to->auto_leave = from->auto_leave;
}

void raft_conf_state_free(struct raft_conf_state *c)
{
    free(c->voters.ids);
    free(c->learners.ids);
    free(c->voters_outgoing.ids);
    free(c->learners_next.ids);
    *c = (struct raft_conf_state){0};
}

bool raft_conf_state_equal(const struct raft_conf_state *a, const struct raft_conf_state *b)
{
    return raft_ids_equal(&a->voters, &b->voters) && raft_ids_equal(&a->learners, &b->learners) &&
           raft_ids_equal(&a->voters_outgoing, &b->voters_outgoing) &&
           raft_ids_equal(&a->learners_next, &b->learners_next) && a->auto_leave == b->auto_leave;
}
