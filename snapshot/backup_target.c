#include "snapshot/backup_target.h"

#include <stdlib.h>

void backup_listing_add(struct backup_listing *listing, const char *name, uint64_t size)
{
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        listing->items = mem_realloc(listing->items, listing->capacity * sizeof *listing->items);
    }
    listing->items[listing->count++] = (struct backup_item){.name = mem_strdup(name), .size = size};
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct backup_item *)a)->name, ((const struct backup_item *)b)->name);
}

void backup_listing_sort(struct backup_listing *listing)
{
    if (listing->count > 0) {
        qsort(listing->items, listing->count, sizeof *listing->items, compare);
    }
}

const struct backup_item *backup_listing_find(const struct backup_listing *listing, const char *name)
{
    const struct backup_item wanted = {.name = (char *)(uintptr_t)name};
    return listing->count == 0 ? NULL
                               : bsearch(&wanted, listing->items, listing->count, sizeof *listing->items, compare);
}

void backup_listing_free(struct backup_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->items[i].name);
    }
    free(listing->items);
    *listing = (struct backup_listing){0};
}
