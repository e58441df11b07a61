/* A merge sort that can stop between any two elements: what is long must not take longer than a slice of a turn.
 * Stable. The array stays whole all the time: what sort_end gives holds every element, also when it was not finished.
 */
#ifndef BASE_SORT_H
#define BASE_SORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sort {
    uint8_t *from, *to; /* as long as each other */
    size_t size, count;
    size_t width;            /* runs of this length are in order */
    size_t left, right, out; /* the pair being merged: next of the left run, of the right run, next to write */
    size_t left_end, right_end;
    bool done;
    int (*compare)(const void *a, const void *b); /* < 0, 0, > 0 */
};

/* items: `count` elements of `size` bytes in a heap array that sort_end gives back, or another instead. */
void sort_begin(struct sort *sort, void *items, size_t count, size_t size, int (*compare)(const void *, const void *));
/* true = in order. Reduces *budget by the elements moved. */
bool sort_step(struct sort *sort, size_t *budget);
void *sort_end(struct sort *sort);

#endif
