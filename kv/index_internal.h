/* The inside of the index, for kv/index*.c only. */
#ifndef KV_INDEX_INTERNAL_H
#define KV_INDEX_INTERNAL_H

#include "kv/index_tree.h"

#define CHUNK_CHANGES 128

struct chunk {
    uint32_t count, capacity;
    struct index_change changes[];
};

/* Oldest chunk first; no chunk is empty. */
struct index_history {
    uint32_t count, capacity;
    struct chunk *chunks[];
};

struct birth {
    int64_t main;
    const struct index_key *key;
    bool born; /* else died */
};

struct index {
    struct tree tree;
    uint64_t revisions;
    uint64_t births;    /* ever put into the ring */
    int64_t ring_floor; /* the ring knows all births and deaths with main > this */
    struct birth ring[INDEX_RING];
};

struct index_key *index_key_new(struct bytes bytes, const struct index_change *change);
/* Appends to the key's older changes. */
void index_history_push(struct index_key *key, const struct index_change *change);

#endif
