#include "chaos/sim/table.h"

#include "base/bytes.h"
#include "base/check.h"
#include <stdlib.h>

#define SPREAD UINT64_C(0x9e3779b97f4a7c15)

/* The key's slot, or the empty one where it would go. */
static struct sim_table_slot *slot_of(const struct sim_table *t, uint64_t key)
{
    size_t mask = t->capacity - 1, at = (size_t)((key * SPREAD) >> 20) & mask;
    while (t->slots[at].key != 0 && t->slots[at].key != key) {
        at = (at + 1) & mask;
    }
    return &t->slots[at];
}

static void grow(struct sim_table *t)
{
    struct sim_table old = *t;
    t->capacity = old.capacity == 0 ? 64 : old.capacity * 2;
    t->slots = mem_zalloc(t->capacity * sizeof *t->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].key != 0) {
            *slot_of(t, old.slots[i].key) = old.slots[i];
        }
    }
    free(old.slots);
}

uint64_t *sim_table_at(struct sim_table *t, uint64_t key)
{
    CHECK(key != 0);
    if (t->count * 2 >= t->capacity) {
        grow(t);
    }
    struct sim_table_slot *slot = slot_of(t, key);
    if (slot->key == 0) {
        slot->key = key;
        t->count++;
    }
    return &slot->value;
}

uint64_t sim_table_get(const struct sim_table *t, uint64_t key)
{
    return t->capacity == 0 || key == 0 ? 0 : slot_of(t, key)->value;
}

void sim_table_free(struct sim_table *t)
{
    free(t->slots);
    *t = (struct sim_table){0};
}
