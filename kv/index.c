/* Histories of keys, and the ring of births and deaths. The newest change stands in the key itself: most keys have no
 * other, and most reads want no other. Older ones are kept in chunks, so that a key with a million changes is never
 * copied as a whole. */
#include "kv/index.h"
#include "base/check.h"
#include "kv/index_internal.h"

#include <stdlib.h>

struct index *index_new(void)
{
    struct index *index = mem_alloc(sizeof *index);
    index->tree = (struct tree){0};
    index->revisions = 0;
    index->births = 0;
    index->ring_floor = 0;
    return index;
}

static void key_free(struct index_key *key)
{
    struct index_history *history = key->history;
    for (uint32_t i = 0; history != NULL && i < history->count; i++) {
        free(history->chunks[i]);
    }
    free(history);
    free(key);
}

void index_free(struct index *index)
{
    if (index != NULL) {
        tree_each(&index->tree, key_free);
        tree_free(&index->tree);
        free(index);
    }
}

uint64_t index_keys(const struct index *index)
{
    return index->tree.keys;
}

uint64_t index_revisions(const struct index *index)
{
    return index->revisions;
}

/* --- changing --- */

/* Makes room for one more chunk. */
static struct index_history *history_room(struct index_key *key)
{
    struct index_history *history = key->history;
    uint32_t count = history == NULL ? 0 : history->count;
    if (history == NULL || count == history->capacity) {
        uint32_t capacity = count == 0 ? 1 : count * 2;
        history = mem_realloc(history, sizeof *history + capacity * sizeof history->chunks[0]);
        history->count = count;
        history->capacity = capacity;
        key->history = history;
    }
    return history;
}

void index_history_push(struct index_key *key, const struct index_change *change)
{
    struct index_history *history = key->history;
    struct chunk *chunk = history == NULL ? NULL : history->chunks[history->count - 1];
    if (chunk == NULL || chunk->count == CHUNK_CHANGES) {
        history = history_room(key);
        uint32_t capacity = chunk == NULL ? 2 : CHUNK_CHANGES;
        chunk = mem_alloc(sizeof *chunk + capacity * sizeof chunk->changes[0]);
        chunk->count = 0;
        chunk->capacity = capacity;
        history->chunks[history->count++] = chunk;
    } else if (chunk->count == chunk->capacity) {
        chunk->capacity *= 2;
        chunk = mem_realloc(chunk, sizeof *chunk + chunk->capacity * sizeof chunk->changes[0]);
        history->chunks[history->count - 1] = chunk;
    }
    chunk->changes[chunk->count++] = *change;
}

/* A key's history lies two pointers away, and of many keys none of it is in the processor's cache: a third of an
 * apply's time went into waiting for it. So it is asked for while the row is made. */
void index_expect_put(const struct index_key *key)
{
    if (key != NULL) {
        __builtin_prefetch(key->history);
    }
}

void index_expect_put_soon(const struct index_key *key)
{
    if (key != NULL && key->history != NULL) {
        const struct chunk *chunk = key->history->chunks[key->history->count - 1];
        __builtin_prefetch(chunk, 1);
    }
}

void index_next(const struct index_key *key, int64_t main, int64_t *created, int64_t *version)
{
    bool live = key != NULL && index_change_live(&key->newest);
    *created = live ? key->newest.created : main;
    *version = live ? key->newest.version + 1 : 1;
}

static void ring_add(struct index *index, int64_t main, const struct index_key *key, bool born)
{
    struct birth *slot = &index->ring[index->births % INDEX_RING];
    if (index->births >= INDEX_RING) {
        index->ring_floor = slot->main;
    }
    *slot = (struct birth){main, key, born};
    index->births++;
}

struct index_key *index_key_new(struct bytes bytes, const struct index_change *change)
{
    struct index_key *key = mem_alloc(sizeof *key + bytes.len);
    key->history = NULL;
    key->newest = *change;
    key->len = (uint32_t)bytes.len;
    memcpy(key->data, bytes.data, bytes.len);
    return key;
}

struct index_key *index_put(struct index *index, struct index_key *key, struct bytes key_bytes,
                            const struct index_change *change)
{
    index->revisions++;
    if (key == NULL) {
        key = index_key_new(key_bytes, change);
        tree_insert(&index->tree, key);
        if (index_change_live(change)) {
            ring_add(index, change->main, key, true);
        }
        return key;
    }
    struct index_sum before = index_key_sum(key);
    index_history_push(key, &key->newest);
    key->newest = *change;
    struct index_sum after = index_key_sum(key);
    if (before.bytes != after.bytes) {
        tree_adjust(&index->tree, key, (int64_t)(after.keys - before.keys), (int64_t)(after.bytes - before.bytes));
    }
    if (before.keys != after.keys) {
        ring_add(index, change->main, key, after.keys == 1);
    }
    return key;
}

/* --- reading --- */

struct index_key *index_find(const struct index *index, struct bytes key)
{
    return tree_find(&index->tree, key);
}

static const struct index_change *chunk_at(const struct chunk *chunk, int64_t main)
{
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk->changes[middle].main <= main) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : &chunk->changes[low - 1];
}

/* How many chunks begin at or before main: the last of them has the newest change up to it. */
static uint32_t chunks_until(const struct index_history *history, int64_t main)
{
    uint32_t low = 0, high = history == NULL ? 0 : history->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (history->chunks[middle]->changes[0].main <= main) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct index_change *history_at(const struct index_history *history, int64_t main)
{
    uint32_t n = chunks_until(history, main);
    return n == 0 ? NULL : chunk_at(history->chunks[n - 1], main);
}

/* The newest change with main <= this, dead or alive. */
static const struct index_change *change_at(const struct index_key *key, int64_t main)
{
    return key->newest.main <= main ? &key->newest : history_at(key->history, main);
}

const struct index_change *index_at(const struct index_key *key, int64_t main)
{
    const struct index_change *change = change_at(key, main);
    return change != NULL && index_change_live(change) ? change : NULL;
}

static bool end_is_open(struct bytes end)
{
    return end.len == 1 && end.data[0] == 0;
}

bool index_range_has(const struct index_range *range, struct bytes key)
{
    if (range->end.len == 0) {
        return bytes_equal(range->key, key);
    }
    return bytes_compare(range->key, key) <= 0 && (end_is_open(range->end) || bytes_compare(key, range->end) < 0);
}

/* Sums before the range's start and before its end. */
static void range_sums(const struct index *index, const struct index_range *range, struct index_sum *start,
                       struct index_sum *end)
{
    *start = tree_sum_before(&index->tree, range->key);
    if (end_is_open(range->end)) {
        *end = tree_sum_all(&index->tree);
    } else if (bytes_compare(range->key, range->end) >= 0) {
        *end = *start;
    } else {
        *end = tree_sum_before(&index->tree, range->end);
    }
}

struct index_sum index_measure(const struct index *index, const struct index_range *range)
{
    struct index_sum start, end;
    if (range->end.len == 0) {
        const struct index_key *key = index_find(index, range->key);
        return key == NULL ? (struct index_sum){0} : index_key_sum(key);
    }
    range_sums(index, range, &start, &end);
    return (struct index_sum){end.keys - start.keys, end.bytes - start.bytes};
}

struct index_sum index_measure_first(const struct index *index, const struct index_range *range, uint64_t limit)
{
    struct index_sum start, end;
    if (range->end.len == 0) {
        return limit == 0 ? (struct index_sum){0} : index_measure(index, range);
    }
    range_sums(index, range, &start, &end);
    if (end.keys - start.keys > limit) {
        end = tree_sum_first(&index->tree, start.keys + limit);
    }
    return (struct index_sum){end.keys - start.keys, end.bytes - start.bytes};
}

/* How many births and deaths came after main; the ring must reach back so far. */
static uint64_t births_since(const struct index *index, int64_t main)
{
    uint64_t low = index->births < INDEX_RING ? 0 : index->births - INDEX_RING, high = index->births;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index->ring[middle % INDEX_RING].main <= main) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return index->births - low;
}

enum index_counted index_count_at(const struct index *index, const struct index_range *range, int64_t main,
                                  struct index_count *count, size_t *budget)
{
    if (main < index->ring_floor) {
        return INDEX_COUNT_UNKNOWN;
    }
    if (!count->begun) {
        uint64_t live = index_measure(index, range).keys;
        if (births_since(index, main) > 4 * live + 256) {
            return INDEX_COUNT_UNKNOWN;
        }
        *count = (struct index_count){index->births, (int64_t)live, true};
    }
    /* What was overwritten meanwhile is at or below ring_floor, so at or below main. */
    while (count->next > 0 && index->births - count->next < INDEX_RING) {
        const struct birth *birth = &index->ring[(count->next - 1) % INDEX_RING];
        if (birth->main <= main) {
            break;
        }
        if (*budget == 0) {
            return INDEX_COUNT_MORE;
        }
        --*budget;
        count->next--;
        if (index_range_has(range, index_key_bytes(birth->key))) {
            count->keys += birth->born ? -1 : 1;
        }
    }
    return INDEX_COUNT_DONE;
}

void index_walk_range(struct index_walk *walk, const struct index *index, const struct index_range *range)
{
    *walk = (struct index_walk){.index = index, .start = range->key, .end = range->end};
    walk->unbounded = end_is_open(range->end);
}

/* Finds the place again: behind the last key given, or at the start. */
static void walk_seek(struct index_walk *walk)
{
    struct bytes from = walk->paused ? buffer_bytes(&walk->place) : walk->start;
    if (walk->last != NULL) {
        from = index_key_bytes(walk->last);
    }
    struct tree_place place = tree_seek(&walk->index->tree, from, walk->last != NULL || walk->paused);
    walk->leaf = place.leaf;
    walk->slot = place.slot;
    walk->shape = walk->index->tree.shape;
}

static bool walk_inside(const struct index_walk *walk, struct bytes key)
{
    if (walk->end.len == 0) {
        return bytes_equal(key, walk->start);
    }
    return walk->unbounded || bytes_compare(key, walk->end) < 0;
}

struct index_key *index_walk_next(struct index_walk *walk)
{
    if (walk->last == NULL || walk->shape != walk->index->tree.shape) {
        walk_seek(walk);
    }
    struct tree_leaf *leaf = walk->leaf;
    if (leaf != NULL && walk->slot == leaf->node.count) {
        walk->leaf = leaf = leaf->next;
        walk->slot = 0;
    }
    if (leaf == NULL || !walk_inside(walk, index_key_bytes(leaf->keys[walk->slot]))) {
        return NULL;
    }
    struct index_key *key = leaf->keys[walk->slot++];
    walk->last = key;
    return key;
}

void index_walk_pause(struct index_walk *walk)
{
    if (walk->last != NULL) {
        walk->place.len = 0;
        buffer_append(&walk->place, walk->last->data, walk->last->len);
        walk->last = NULL;
        walk->paused = true;
    }
}

void index_walk_end(struct index_walk *walk)
{
    buffer_free(&walk->place);
    walk->last = NULL;
    walk->paused = false;
}

/* --- compaction --- */

/* How many of the history's changes, oldest first, a compaction at main drops, at most limit. */
static size_t history_drop(struct index_key *key, const struct index_change *keep_from, size_t limit,
                           void (*drop)(void *arg, const struct index_change *change), void *arg)
{
    struct index_history *history = key->history;
    size_t dropped = 0;
    while (history != NULL && dropped < limit) {
        struct chunk *chunk = history->chunks[0];
        uint32_t n = 0;
        while (n < chunk->count && dropped < limit && &chunk->changes[n] != keep_from) {
            drop(arg, &chunk->changes[n++]);
            dropped++;
        }
        if (n < chunk->count) {
            chunk->count -= n;
            memmove(chunk->changes, &chunk->changes[n], chunk->count * sizeof chunk->changes[0]);
            break;
        }
        free(chunk);
        history->count--;
        memmove(history->chunks, history->chunks + 1, history->count * sizeof history->chunks[0]);
        if (history->count == 0) {
            free(history);
            key->history = history = NULL;
        }
    }
    return dropped;
}

/* The change behind this one, which history_at found. */
static const struct index_change *history_after(const struct index_key *key, const struct index_change *change)
{
    const struct index_history *history = key->history;
    uint32_t n = chunks_until(history, change->main);
    const struct chunk *chunk = history->chunks[n - 1];
    CHECK(change >= chunk->changes && change < chunk->changes + chunk->count, "change is not of this key");
    if (change + 1 < chunk->changes + chunk->count) {
        return change + 1;
    }
    return n < history->count ? history->chunks[n]->changes : &key->newest;
}

size_t index_compact(struct index *index, struct index_key *key, int64_t main, size_t limit,
                     void (*drop)(void *arg, const struct index_change *change), void *arg, bool *gone)
{
    *gone = false;
    const struct index_change *last = change_at(key, main);
    if (last == NULL) {
        return 0;
    }
    bool dead = !index_change_live(last) && last->main < main;
    const struct index_change *keep_from = last;
    if (dead && last != &key->newest) {
        keep_from = history_after(key, last);
    }
    size_t dropped = history_drop(key, keep_from, limit, drop, arg);
    if (dead && last == &key->newest && dropped < limit) {
        drop(arg, &key->newest);
        dropped++;
        tree_remove(&index->tree, key);
        key_free(key);
        *gone = true;
    }
    index->revisions -= dropped;
    return dropped;
}
