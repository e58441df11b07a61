/* A hash table from one number to another, for the checkers: what was seen under this term, this request id, this
 * position of the log. Grows, forgets nothing. Its order is never looked at. */
#ifndef CHAOS_SIM_TABLE_H
#define CHAOS_SIM_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct sim_table_slot {
    uint64_t key, value;
};

struct sim_table {
    struct sim_table_slot *slots; /* zero-initialised is empty and valid */
    size_t count, capacity;
};

/* The value of a key, never 0 as key; made with value 0 if there is none. Valid until the next call. */
uint64_t *sim_table_at(struct sim_table *t, uint64_t key);
/* 0 if there is none. */
uint64_t sim_table_get(const struct sim_table *t, uint64_t key);
void sim_table_free(struct sim_table *t);

#endif
