/* Answers that are not in key order, or that leave keys out: the keys are collected first, then sorted, in slices. The
 * sort is stable (ties stay in key order). */
#ifndef KV_RANGE_SORT_H
#define KV_RANGE_SORT_H

#include "kv/index.h"

/* One key of an answer as of its revision. */
struct range_item {
    const struct index_key *key;
    struct revision revision;
    int64_t created, version;
    int64_t lease;  /* only looked up when the answer needs it */
    uint64_t order; /* what is sorted by; of a value its first 8 bytes */
    uint32_t len;   /* of the row */
};

struct range_items {
    struct range_item *items;
    size_t count, capacity;
};

void range_items_add(struct range_items *list, const struct range_item *item);
void range_items_free(struct range_items *list);

/* Merge sort from the bottom up. compare: < 0, 0, > 0; equal items keep their order. */
struct range_sort {
    struct range_items *list;
    struct range_item *spare; /* as long as the list */
    size_t width;             /* runs of this length are sorted */
    size_t at;                /* the pair of runs being merged begins here */
    size_t left, right, out;  /* in the pair */
    int (*compare)(void *arg, const struct range_item *a, const struct range_item *b);
    void *arg;
};

void range_sort_begin(struct range_sort *sort, struct range_items *list,
                      int (*compare)(void *arg, const struct range_item *a, const struct range_item *b), void *arg);
/* true = done; the list is sorted. Reduces *budget by the items moved. */
bool range_sort_step(struct range_sort *sort, size_t *budget);
void range_sort_free(struct range_sort *sort);

#endif
