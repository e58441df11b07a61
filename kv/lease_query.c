/* Copying goes over things that change between two slices. Leases stand in a list: the table moves a cursor on when its
 * lease goes (lease_query_passes). Keys stand in an array in which the last fills the hole of one that goes: walked
 * from its end to its beginning no key can jump over the cursor unseen, some come twice, and equal neighbours are
 * dropped when the keys are in order. */
#include "kv/lease_query.h"

#include "base/check.h"
#include "base/sort.h"
#include "kv/lease_internal.h"
#include <stdlib.h>

enum stage { STAGE_COPY, STAGE_SORT, STAGE_UNIQUE, STAGE_DONE };

#define FREE_BLOCKS 32

struct lease_query {
    struct list node;          /* in the table's queries */
    struct lease_table *table; /* NULL = lost */
    bool keys;                 /* of lease `id`; else all leases */
    int64_t id;
    enum stage stage;
    struct list *cursor; /* leases: the next one */
    uint64_t last;       /* leases: those granted later are not looked at */
    size_t at;           /* keys: those below are still to be copied */
    void *items;         /* struct lease_entry or struct bytes */
    size_t count, capacity;
    size_t read; /* while duplicates are dropped */
    struct sort sort;
    struct arena arena; /* the keys' bytes */
};

static size_t item_size(const struct lease_query *q)
{
    return q->keys ? sizeof(struct bytes) : sizeof(struct lease_entry);
}

static struct lease_query *query_new(struct lease_table *t)
{
    struct lease_query *q = mem_zalloc(sizeof *q);
    q->table = t;
    list_push_back(&t->queries, &q->node);
    return q;
}

struct lease_query *lease_query_leases(struct lease_table *t)
{
    struct lease_query *q = query_new(t);
    q->cursor = t->all.next;
    q->last = t->granted;
    return q;
}

struct lease_query *lease_query_keys(struct lease_table *t, int64_t id)
{
    struct lease_query *q = query_new(t);
    struct lease *l = lease_find(t, id);
    q->keys = true;
    q->id = id;
    q->at = l == NULL ? 0 : l->key_count;
    return q;
}

/* --- what the table tells --- */

bool lease_table_asked(const struct lease_table *t)
{
    return !list_empty(&t->queries);
}

void lease_query_passes(struct lease_table *t, const struct lease *l)
{
    list_each(node, &t->queries)
    {
        struct lease_query *q = container_of(node, struct lease_query, node);
        if (q->cursor == &l->all) {
            q->cursor = l->all.next;
        }
    }
}

void lease_query_lose(struct lease_table *t)
{
    struct list *node;
    while ((node = list_pop_front(&t->queries)) != NULL) {
        container_of(node, struct lease_query, node)->table = NULL;
    }
}

/* --- stages --- */

static void *item_new(struct lease_query *q)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity == 0 ? 64 : q->capacity * 2;
        q->items = mem_realloc(q->items, q->capacity * item_size(q));
    }
    return (uint8_t *)q->items + q->count++ * item_size(q);
}

static bool copy_leases(struct lease_query *q, size_t *budget)
{
    for (; q->cursor != &q->table->all && *budget > 0; --*budget) {
        const struct lease *l = container_of(q->cursor, struct lease, all);
        if (l->granted > q->last) {
            return true;
        }
        *(struct lease_entry *)item_new(q) = (struct lease_entry){.id = l->id, .expiry_ms = l->expiry_ms};
        q->cursor = q->cursor->next;
    }
    return q->cursor == &q->table->all;
}

static bool copy_keys(struct lease_query *q, size_t *budget)
{
    const struct lease *l = lease_find(q->table, q->id);
    if (l == NULL || l->revocation != NULL) {
        q->count = 0;
        return true;
    }
    q->at = q->at < l->key_count ? q->at : l->key_count;
    while (q->at > 0 && *budget > 0) {
        const struct lease_key *k = l->keys[--q->at];
        size_t cost = 1 + k->len / 256;
        *(struct bytes *)item_new(q) = arena_copy(&q->arena, bytes_of(k->key, k->len));
        *budget -= *budget < cost ? *budget : cost;
    }
    return q->at == 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct lease_entry *ea = a, *eb = b;
    if (ea->expiry_ms != eb->expiry_ms) {
        return ea->expiry_ms < eb->expiry_ms ? -1 : 1;
    }
    return (ea->id > eb->id) - (ea->id < eb->id);
}

static int compare_keys(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static bool drop_doubles(struct lease_query *q, size_t *budget)
{
    struct bytes *keys = q->items;
    for (; q->keys && q->read<q->sort.count && * budget> 0; q->read++, --*budget) {
        if (q->count == 0 || !bytes_equal(keys[q->count - 1], keys[q->read])) {
            keys[q->count++] = keys[q->read];
        }
    }
    return !q->keys || q->read == q->sort.count;
}

static void begin_sort(struct lease_query *q)
{
    sort_begin(&q->sort, q->items, q->count, item_size(q), q->keys ? compare_keys : compare_entries);
    q->items = NULL;
    q->stage = STAGE_SORT;
}

static void begin_unique(struct lease_query *q)
{
    q->items = sort_end(&q->sort);
    q->count = q->keys ? 0 : q->count;
    q->stage = STAGE_UNIQUE;
}

bool lease_query_step(struct lease_query *q, size_t budget)
{
    CHECK(q->table != NULL, "a question to a table that is gone");
    if (q->stage == STAGE_COPY && (q->keys ? copy_keys(q, &budget) : copy_leases(q, &budget))) {
        begin_sort(q);
    }
    if (q->stage == STAGE_SORT && sort_step(&q->sort, &budget)) {
        begin_unique(q);
    }
    if (q->stage == STAGE_UNIQUE && drop_doubles(q, &budget)) {
        q->stage = STAGE_DONE;
    }
    return q->stage == STAGE_DONE;
}

bool lease_query_lost(const struct lease_query *q)
{
    return q->table == NULL;
}

/* --- what was found --- */

const struct lease_entry *lease_query_entries(const struct lease_query *q, size_t *count)
{
    CHECK(q->stage == STAGE_DONE && !q->keys);
    *count = q->count;
    return q->items;
}

const struct bytes *lease_query_found_keys(const struct lease_query *q, size_t *count)
{
    CHECK(q->stage == STAGE_DONE && q->keys);
    *count = q->count;
    return q->items;
}

bool lease_query_free_some(struct lease_query *q)
{
    if (arena_free_some(&q->arena, FREE_BLOCKS)) {
        return false;
    }
    if (q->table != NULL) {
        list_remove(&q->node);
    }
    if (q->stage == STAGE_SORT) {
        q->items = sort_end(&q->sort);
    }
    free(q->items);
    free(q);
    return true;
}

void lease_query_free(struct lease_query *q)
{
    arena_free(&q->arena);
    lease_query_free_some(q);
}
