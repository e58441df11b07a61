/* What the files of the watch hub share; nobody else includes it.
 *
 *   watch_event.c    batches: the encoded events of one revision; the ring of recent ones
 *   watch_index.c    who watches a key: a hash for single keys, an interval tree for ranges
 *   watch_hub.c      publishing, fan-out in slices, the order of work
 *   watch_catchup.c  laggards: parking, the sweep through history and ring, rejoining, giving memory back
 *   watch_stream.c   streams and watchers: create, cancel, close, progress
 *   watch_queue.c    a stream's queue of what is to be sent
 *   watch_pull.c     encoding responses when they are pulled
 *
 * Watchers of one stream on the same range form a group: the unit of fan-out, of queueing and of lagging. An item in a
 * stream's queue says "these events of these batches are for this group"; the group's watchers get their responses when
 * the item is pulled. So an event for 10,000 watchers on 100 streams costs 100 items, and 10,000 response heads written
 * one behind the other.
 *
 * Why order holds. A stream's queue is first in, first out, and only two writers put events into it: the fan-out for
 * live groups, one revision after the other, and the sweep for lagging ones, likewise. A group is either live or
 * lagging; it becomes lagging at the revision the fan-out could not queue, and live in the turn in which the sweep has
 * reached the fan-out's position, between two batches. A watcher skips what is below its own next_rev. */
#ifndef KV_WATCH_INTERNAL_H
#define KV_WATCH_INTERNAL_H

#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/random.h"
#include "kv/keymap.h"
#include "kv/watch.h"

/* --- events ------------------------------------------------------------------------------------------------------- */

enum watch_prev { WATCH_PREV_UNKNOWN, WATCH_PREV_ABSENT, WATCH_PREV_THERE };

/* One event, encoded as the field `events` of WatchResponse: head (tag, length), then the body (type, kv). With prev_kv
 * the head is written anew and the field prev_kv follows the body. */
struct watch_event {
    struct shared *block; /* the batch's */
    struct shared *prev;  /* the encoded field prev_kv; NULL unless WATCH_PREV_THERE */
    uint32_t offset;      /* of the head in the block */
    uint32_t body_len;
    uint32_t key_offset, key_len; /* the key inside the block */
    uint8_t head_len;
    bool is_delete;
    uint8_t prev_state; /* enum watch_prev */
};

/* The events of one revision. Shared by the ring and by items. */
struct watch_batch {
    struct watch_hub *hub;
    int64_t rev;
    unsigned refs;
    bool in_ring;
    bool sealed; /* all of the revision's items are in the queues: they may be pulled */
    uint32_t count, capacity;
    struct watch_event *events; /* &one while there is one */
    struct watch_event one;
    struct shared **blocks;
    struct shared *one_block;
    uint32_t block_count, block_capacity;
    size_t block_used;      /* bytes of the newest block */
    size_t bytes;           /* memory that it holds */
    size_t published_bytes; /* … that it held when it was published: its part of the hub's backlog */
};

struct watch_batch *watch_batch_new(struct watch_hub *h, int64_t rev);
struct watch_batch *watch_batch_ref(struct watch_batch *b);
void watch_batch_unref(struct watch_batch *b);
void watch_batch_put(struct watch_batch *b, struct bytes key, struct bytes kv, bool created, struct bytes prev);
void watch_batch_delete(struct watch_batch *b, struct bytes key, struct bytes prev);
/* Looks the previous value up if nobody has yet. */
void watch_event_want_prev(struct watch_batch *b, struct watch_event *e);
/* Key and creation out of a row of the table key; false = unreadable. */
bool watch_row_key(struct bytes row, struct bytes *key, bool *created);

static inline struct bytes watch_event_key(const struct watch_event *e)
{
    return bytes_of(e->block->data + e->key_offset, e->key_len);
}
static inline size_t watch_event_len(const struct watch_event *e)
{
    return (size_t)e->head_len + e->body_len;
}

/* Batches of the revisions [first, first + count), without a hole. */
struct watch_ring {
    struct watch_batch **slots;
    size_t mask, head, count;
    int64_t first;
    size_t bytes;
};
void watch_ring_push(struct watch_ring *r, struct watch_batch *b); /* takes the reference over */
void watch_ring_drop(struct watch_ring *r);                        /* the oldest */
void watch_ring_clear(struct watch_ring *r, int64_t next);
struct watch_batch *watch_ring_get(const struct watch_ring *r, int64_t rev);

/* --- who watches what --------------------------------------------------------------------------------------------- */

/* One key or range that somebody watches. */
struct watch_target {
    struct keymap_node by_key;                  /* single keys */
    struct watch_target *left, *right, *widest; /* ranges: a treap ordered by (key, end); widest end of the subtree */
    uint64_t priority;
    struct list groups;
    unsigned pins; /* groups that hold it; the fan-out stands on it */
    bool single, unbounded;
    struct bytes key, end;
    uint8_t storage[];
};

struct watch_index {
    struct keymap singles;
    struct watch_target *root;
    struct random random;
};

struct watch_targets {
    struct watch_target **at;
    size_t count, capacity;
};

void watch_index_init(struct watch_index *x, uint64_t seed);
void watch_index_free(struct watch_index *x);
/* The target of this range, made if there is none. end.len == 0 and !unbounded: a single key. */
struct watch_target *watch_index_target(struct watch_index *x, struct bytes key, struct bytes end, bool unbounded);
/* Appends all targets that contain the key. */
void watch_index_match(const struct watch_index *x, struct bytes key, struct watch_targets *out);
/* Frees the target if nothing holds it any more. */
void watch_index_release(struct watch_index *x, struct watch_target *t);

/* --- groups, watchers, streams ------------------------------------------------------------------------------------ */

enum watch_group_state { WATCH_LIVE, WATCH_LAGGING, WATCH_DEAD };

struct watch_group {
    struct watch_target *target; /* in `index`; NULL when dead */
    struct watch_index *index;   /* the hub's live or lag index */
    struct list in_target;
    struct list lag; /* lagging: in the hub's `waiting` or `sweeping`, or in its stream's `parked` */
    struct watch_stream *stream;
    struct list watchers;
    size_t count, want_prev;
    int64_t from; /* no watcher wants anything below it */
    enum watch_group_state state;
    uint64_t sweep;   /* number of the sweep it takes part in; 0 = none */
    uint64_t evicted; /* number of the eviction that rewound it last */
    int64_t next_rev; /* lagging: first revision that is not in the queue (in a sweep: or where the sweep stands) */
    struct watch_item *open; /* newest item of the queue that may still grow */
    size_t items;            /* in the stream's queue */
    bool compacted;          /* its cancelling stands in the queue */
};

struct watcher {
    struct keymap_node by_id;
    uint8_t id_key[16]; /* stream serial, watch id */
    struct list in_group, in_stream, in_progress;
    struct watch_group *group; /* NULL: cancelled by compaction, only its id is kept (watch_stream.ended) */
    int64_t id;
    uint64_t serial;          /* ids come back */
    int64_t start;            /* as asked for; 0 = from now on */
    int64_t next_rev;         /* below it nothing is for this watcher */
    int64_t told;             /* the highest revision that a response told it was complete */
    uint64_t progress_number; /* the stream's when it was created */
    bool prev_kv, no_put, no_delete, fragment, progress;
    bool progress_due; /* no events since the last tick */
};

/* PROGRESS_ALL is told under the id -1, which a client may also have given to a watcher: the id does not tell them
 * apart. */
enum watch_item_kind {
    WATCH_ITEM_BYTES,
    WATCH_ITEM_PROGRESS,
    WATCH_ITEM_PROGRESS_ALL,
    WATCH_ITEM_EVENTS,
    WATCH_ITEM_COMPACTED,
};

/* A run of events of one batch. */
struct watch_segment {
    struct watch_batch *batch; /* a reference */
    uint32_t first, count;
};

struct watch_item {
    struct watch_item *next;
    enum watch_item_kind kind;
    size_t cost;
    /* BYTES: an encoded message; in `small` if it fits, as all without a reason do */
    uint8_t *data;
    size_t len;
    uint8_t small[80];
    int64_t watch_id; /* PROGRESS */
    uint64_t number;  /* PROGRESS: the watcher's serial; PROGRESS_ALL: counts them */
    int64_t rev;      /* PROGRESS, PROGRESS_ALL, EVENTS: header.revision; COMPACTED: the compacted revision */
    /* EVENTS, COMPACTED: all watchers of the group are cancelled when it is pulled */
    struct watch_group *group;
    struct watch_segment one, *segments;
    uint32_t segment_count, segment_capacity, revisions;
    bool catch_up;
};

struct watch_stream {
    struct watch_hub *hub;
    void *arg;
    uint64_t serial;
    struct list all;        /* in the hub's streams or closing */
    struct list touched[2]; /* has something new: from the fan-out, from the sweep */
    struct list by_pull;    /* streams that hold events, the one longest without a pull first */
    struct list watchers, progress_watchers, parked;
    /* Watchers that compaction cancelled (their group is NULL). As in etcd their ids stay taken, and no progress is
     * told on request, until the client cancels them; Go's client does that by itself. */
    struct list ended;
    size_t ended_count;
    struct list progress_wait;
    int64_t progress_wanted; /* a progress request waits for the fan-out to reach this */
    size_t watcher_count, lagging_count;
    int64_t next_id;
    int64_t last_asked, last_start; /* the highest start of any watcher: as asked for, as it came out */
    struct watch_item *head, **tail;
    size_t cost, control_cost;
    uint64_t pulled_ms;             /* the last pull */
    struct list *cursor;            /* the head item's next watcher (its in_group node); NULL = not begun */
    struct watch_group *last_group; /* of the newest watcher: the next one often watches the same */
    uint64_t progress_number;       /* progress responses for the whole stream that were queued; the last one … */
    uint64_t told_number;           /* … that was pulled, and its revision */
    int64_t told;
    struct heap_node progress_due;
    uint64_t progress_interval_ms;
    bool idle, closed;
};

/* --- the hub ------------------------------------------------------------------------------------------------------ */

enum { WATCH_BY_FAN, WATCH_BY_SWEEP };

struct watch_fan {
    struct watch_batch *batch; /* NULL = between two batches */
    uint32_t event;
    struct watch_targets targets; /* pinned: those that the event matches */
    size_t target;
    struct list *group; /* next to be offered the event: an in_target node */
};

struct watch_sweep {
    uint64_t number;
    bool active, rejoining;
    size_t gathered; /* groups taken in so far, while it is not yet active */
    struct watch_position at;
    struct watch_batch *partial; /* read from history: the revision may go on */
    struct watch_batch *ring;    /* under way, from the ring */
    uint32_t ring_event;
    struct watch_targets targets;
    size_t work, budget; /* of the slice */
};

struct watch_hub {
    struct watch_config config;
    uint64_t term, now_ms;
    struct random random;
    struct list streams, closing;
    uint64_t serials;
    struct keymap by_id;
    struct watch_index live, lag;
    size_t watchers, slow_watchers, stream_count;
    uint64_t delivered, pending;
    int64_t published, fanned;
    size_t backlog;           /* bytes of the batches in between */
    struct watch_batch *open; /* being published */
    bool publishing;
    struct watch_ring ring;
    size_t held;      /* bytes of all batches */
    size_t looked_up; /* bytes of previous pairs, not counted as work yet: watch_look_up_work */
    struct watch_fan fan;
    struct watch_sweep sweep;
    struct list waiting, sweeping;
    bool source_waits;
    struct list touched[2], by_pull, progress_wait;
    struct heap progress;
    uint64_t evictions;
    struct watch_item *free_items; /* kept for reuse, up to a limit */
    size_t free_item_count;
};

static inline int64_t watch_now(const struct watch_hub *h)
{
    return h->config.source.revision(h->config.source.arg);
}

/* watch_queue.c */
struct watch_item *watch_item_new(struct watch_stream *s, enum watch_item_kind kind);
void watch_item_pop(struct watch_stream *s);                                             /* frees the head */
void watch_item_free(struct watch_stream *s, struct watch_item *item);                   /* it is out of the queue */
void watch_item_add(struct watch_item *item, struct watch_batch *batch, uint32_t event); /* one more event */
/* Takes the last events out again if they are of this batch; the item may be empty afterwards. */
void watch_item_take_back(struct watch_item *item, const struct watch_batch *batch);
static inline const struct watch_batch *watch_item_last(const struct watch_item *item)
{
    return item->segment_count == 0 ? NULL : item->segments[item->segment_count - 1].batch;
}
void watch_wake(struct watch_stream *s);
void watch_touch(struct watch_stream *s, int by);
void watch_flush_touched(struct watch_hub *h, int by);
/* Encodes ResponseHeader as field 1 of a message; at most WATCH_HEADER_BYTES. */
#define WATCH_HEADER_BYTES 46
size_t watch_encode_header(const struct watch_hub *h, int64_t rev, uint8_t *out);
/* A control response: fields of WatchResponse; reason may be NULL, header_rev 0 = a header without one. */
struct watch_control {
    int64_t watch_id, header_rev, compact_rev;
    bool created, canceled;
    const char *reason;
};
/* With gRPC's prefix. */
size_t watch_encode_control(const struct watch_hub *h, const struct watch_control *control, uint8_t *out);
#define WATCH_CONTROL_BYTES (5 + WATCH_HEADER_BYTES + 48) /* and the reason */
void watch_answer(struct watch_stream *s, struct watch_control control);
/* watch_hub.c */
void watch_offer(struct watch_group *g, struct watch_batch *batch, uint32_t event, int by);
/* What looking previous pairs up since the last call costs, in touches. */
size_t watch_look_up_work(struct watch_hub *h);

/* watch_stream.c */
/* A group holds its target; it is found there only while it is linked: live groups, and lagging ones in a sweep. */
void watch_group_place(struct watch_group *g, struct watch_index *index, struct watch_target *target);
void watch_group_link(struct watch_group *g);
void watch_group_unlink(struct watch_group *g);
void watch_group_leave_index(struct watch_group *g); /* its target may be gone afterwards */
/* A group's watchers become (lagging) or cease to be laggards. */
void watch_group_count(const struct watch_group *g, bool lagging, size_t count);
void watch_group_add(struct watch_group *g, struct watcher *w);
/* Takes the watcher out; a group without watchers dies, and is freed when nothing in the queue names it. */
void watch_group_drop(struct watch_group *g, struct watcher *w);
/* Into another group of the same range, by where the watcher stands. */
void watcher_move(struct watcher *w);
void watcher_remove(struct watcher *w);
void watcher_end(struct watcher *w); /* cancelled by compaction: its id stays known until the client cancels it */
struct watcher *watcher_find(const struct watch_stream *s, int64_t id);
/* Frees closed streams; true = more to do. */
bool watch_close_step(struct watch_hub *h, size_t *budget);
void watch_progress_step(struct watch_hub *h); /* answers progress requests that waited for the fan-out */
void watch_progress_due(struct watch_hub *h, uint64_t now_ms); /* periodic notifications */

/* watch_catchup.c */
void watch_park(struct watch_group *g, int64_t rev);
void watch_unpark(struct watch_stream *s);
size_t watch_sweep_step(struct watch_hub *h, size_t budget); /* work done */
void watch_evict(struct watch_hub *h);
void watch_lag_all(struct watch_hub *h); /* live groups and the sweep's go back to their positions */

#endif
