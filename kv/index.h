/* The index: every key with its history (mvcc.md "Revisions and key history"), ordered by key, in memory. Values stay
 * in the store; the index knows what can be answered without them: which revision of a key a reader sees, its create
 * and modify revision and version, and the length of its row.
 *
 * A B+tree whose inner nodes carry the number of live keys and live answer bytes below each child, so that counting a
 * range, measuring its answer and finding the n-th key cost O(log n), whatever lies between.
 *
 * "Live" is always "as of the newest change". What was true at an older revision is found key by key (index_at), or,
 * for counts, from the ring of recent births and deaths (index_count_at).
 *
 * One thread. Pointers to keys stay valid until the key leaves the index, which only index_compact does. */
#ifndef KV_INDEX_H
#define KV_INDEX_H

#include "base/bytes.h"
#include "kv/row.h"

/* One change of a key. */
struct index_change {
    int64_t main;
    int64_t created; /* create_revision; 0 = a tombstone */
    int64_t version; /* 0 = a tombstone */
    uint32_t sub;
    uint32_t len; /* of the row's bytes */
};

static inline bool index_change_live(const struct index_change *change)
{
    return change->created != 0;
}

/* What a live change adds to the `kvs` of an answer: tag, length, row. */
static inline uint64_t index_change_bytes(const struct index_change *change)
{
    return 1 + varint_size(change->len) + (uint64_t)change->len;
}

struct index_history;

struct index_key {
    struct index_history *history; /* older changes, NULL = none */
    struct index_change newest;
    uint32_t len;
    uint8_t data[];
};

static inline struct bytes index_key_bytes(const struct index_key *key)
{
    return bytes_of(key->data, key->len);
}

struct index;

struct index *index_new(void);
void index_free(struct index *index);

/* --- changing --- */

/* Appends a change, newer than all others in the index (of its key). A put: version and created are worked out from the
 * key's history and returned in *change, whose main, sub and len the caller has set… except that len depends on them:
 * so first index_next says what they will be, then index_put. */
void index_next(const struct index_key *key, int64_t main, int64_t *created, int64_t *version); /* key NULL = new */
/* Neither is needed: they fetch what index_put will touch into the processor's cache, the first some 200 ns before, the
 * other later. key may be NULL. */
void index_expect_put(const struct index_key *key);
void index_expect_put_soon(const struct index_key *key);
/* key_bytes is copied if the key is new. Returns the key. `key`, if not NULL, is what index_find(key_bytes) gave. */
struct index_key *index_put(struct index *index, struct index_key *key, struct bytes key_bytes,
                            const struct index_change *change);

/* --- loading: changes in ascending order of revision, any order of keys, then index_load_end sorts and builds --- */

struct index_loader;
struct index_loader *index_load_begin(void);
/* For index_load_add; better asked some changes ahead, because it has the key's place fetched into the cache. */
uint32_t index_load_hash(const struct index_loader *loader, struct bytes key_bytes);
/* created 0 = tombstone. Returns the key (stable). */
struct index_key *index_load_add(struct index_loader *loader, struct bytes key_bytes, uint32_t hash,
                                 const struct index_change *change);
struct index *index_load_end(struct index_loader *loader); /* frees the loader */

/* --- reading --- */

struct index_key *index_find(const struct index *index, struct bytes key);
/* The change of this key that a reader at `main` sees; NULL if it did not exist then or was deleted. */
const struct index_change *index_at(const struct index_key *key, int64_t main);

uint64_t index_keys(const struct index *index);      /* in the tree, dead ones included */
uint64_t index_revisions(const struct index *index); /* changes held */

/* A range as etcd writes it: end empty = the one key; end "\0" = every key >= key; else [key, end). */
struct index_range {
    struct bytes key, end;
};
bool index_range_has(const struct index_range *range, struct bytes key);

struct index_sum {
    uint64_t keys;  /* live keys */
    uint64_t bytes; /* of their `kvs` elements */
};
/* Of the live keys of a range now. */
struct index_sum index_measure(const struct index *index, const struct index_range *range);
/* Of the first `limit` live keys of it. */
struct index_sum index_measure_first(const struct index *index, const struct index_range *range, uint64_t limit);

/* How many keys of the range were live at `main`: the live count less births plus deaths since, from a ring of recent
 * ones. In slices: zeroed at first, *budget is reduced by the births and deaths looked at. */
#define INDEX_RING 65536
struct index_count {
    uint64_t next; /* births and deaths below this are still to be looked at */
    int64_t keys;  /* out, when done */
    bool begun;
};
enum index_counted {
    INDEX_COUNT_DONE,
    INDEX_COUNT_MORE,
    INDEX_COUNT_UNKNOWN /* the ring does not reach back that far, or a walk is cheaper */
};
enum index_counted index_count_at(const struct index *index, const struct index_range *range, int64_t main,
                                  struct index_count *count, size_t *budget);

/* A walk in key order, over live and dead keys alike. Puts do not disturb it. Before a compaction may run, it is
 * paused: then it goes on behind the last key it gave, whatever happened to that one. */
struct index_walk {
    const struct index *index;
    const struct index_key *last; /* NULL at first, and when paused */
    struct bytes start, end;
    bool unbounded;
    bool paused;
    struct buffer place; /* paused: the last key's bytes */
    /* position cache, valid while the tree's shape is unchanged */
    uint64_t shape;
    void *leaf;
    unsigned slot;
};
/* start and end are views that must outlive the walk. */
void index_walk_range(struct index_walk *walk, const struct index *index, const struct index_range *range);
struct index_key *index_walk_next(struct index_walk *walk); /* NULL at the end */
void index_walk_pause(struct index_walk *walk);
void index_walk_end(struct index_walk *walk); /* needed for one that was paused; harmless twice, or when zeroed */

/* --- compaction (mvcc.md "Compaction") --- */

/* Drops the changes of one key that do not survive a compaction at `main`, oldest first, at most `limit` of them, and
 * calls drop for each before. Returns how many went; *gone = the key had nothing left and has left the index. Call it
 * again while it returns `limit`. */
size_t index_compact(struct index *index, struct index_key *key, int64_t main, size_t limit,
                     void (*drop)(void *arg, const struct index_change *change), void *arg, bool *gone);

#endif
