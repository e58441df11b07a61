#include "kv/range_sort.h"

#include <stdlib.h>

void range_items_add(struct range_items *list, const struct range_item *item)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        list->items = mem_realloc(list->items, list->capacity * sizeof list->items[0]);
    }
    list->items[list->count++] = *item;
}

void range_items_free(struct range_items *list)
{
    free(list->items);
    *list = (struct range_items){0};
}

static size_t bounded(size_t at, size_t count)
{
    return at < count ? at : count;
}

static void pair_begin(struct range_sort *sort)
{
    sort->left = sort->out = sort->at;
    sort->right = bounded(sort->at + sort->width, sort->list->count);
}

void range_sort_begin(struct range_sort *sort, struct range_items *list,
                      int (*compare)(void *arg, const struct range_item *a, const struct range_item *b), void *arg)
{
    *sort = (struct range_sort){.list = list, .width = 1, .compare = compare, .arg = arg};
    sort->spare = mem_alloc((list->count + 1) * sizeof sort->spare[0]);
    pair_begin(sort);
}

/* Moves one item of the pair to the spare list; false when the pair is through. */
static bool merge_one(struct range_sort *sort)
{
    const struct range_item *items = sort->list->items;
    size_t middle = bounded(sort->at + sort->width, sort->list->count);
    size_t end = bounded(sort->at + 2 * sort->width, sort->list->count);
    if (sort->out == end) {
        return false;
    }
    bool left = sort->right == end ||
                (sort->left < middle && sort->compare(sort->arg, &items[sort->left], &items[sort->right]) <= 0);
    sort->spare[sort->out++] = left ? items[sort->left++] : items[sort->right++];
    return true;
}

bool range_sort_step(struct range_sort *sort, size_t *budget)
{
    size_t count = sort->list->count;
    while (sort->width < count) {
        while (*budget > 0 && merge_one(sort)) {
            --*budget;
        }
        if (*budget == 0) {
            return false;
        }
        sort->at += 2 * sort->width;
        if (sort->at >= count) {
            struct range_item *sorted = sort->spare;
            sort->spare = sort->list->items;
            sort->list->items = sorted;
            sort->width *= 2;
            sort->at = 0;
        }
        pair_begin(sort);
    }
    return true;
}

void range_sort_free(struct range_sort *sort)
{
    free(sort->spare);
    sort->spare = NULL;
}
