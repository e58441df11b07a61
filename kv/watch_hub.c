/* The hub: publishing, the fan-out of published batches in slices, and the order in which waiting work is done. */
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

#define MIB ((size_t)1 << 20)

static size_t or_default(size_t value, size_t otherwise)
{
    return value == 0 ? otherwise : value;
}

struct watch_hub *watch_hub_new(const struct watch_config *config, uint64_t now_ms)
{
    struct watch_hub *h = mem_zalloc(sizeof *h);
    h->config = *config;
    h->config.max_request_bytes = or_default(config->max_request_bytes, MIB * 3 / 2);
    h->config.progress_interval_ms = or_default(config->progress_interval_ms, 600000);
    h->config.ring_bytes = or_default(config->ring_bytes, 16 * MIB);
    h->config.stream_credit_bytes = or_default(config->stream_credit_bytes, MIB);
    h->config.held_bytes = or_default(config->held_bytes, 64 * MIB);
    h->now_ms = now_ms;
    random_seed(&h->random, config->seed);
    struct list *lists[] = {&h->streams,    &h->closing,    &h->waiting, &h->sweeping,
                            &h->touched[0], &h->touched[1], &h->by_pull, &h->progress_wait};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    keymap_init(&h->by_id, config->seed);
    watch_index_init(&h->live, config->seed);
    watch_index_init(&h->lag, config->seed);
    h->published = h->fanned = watch_now(h);
    h->ring.first = h->published + 1;
    return h;
}

static void fan_release(struct watch_hub *h)
{
    for (size_t i = 0; i < h->fan.targets.count; i++) {
        struct watch_target *t = h->fan.targets.at[i];
        t->pins--;
        watch_index_release(&h->live, t);
    }
    h->fan.targets.count = 0;
}

static void sweep_drop(struct watch_hub *h)
{
    if (h->sweep.partial != NULL) {
        watch_batch_unref(h->sweep.partial);
    }
    if (h->sweep.ring != NULL) {
        watch_batch_unref(h->sweep.ring);
    }
    h->sweep = (struct watch_sweep){.number = h->sweep.number, .targets = h->sweep.targets};
}

void watch_hub_free(struct watch_hub *h)
{
    if (h == NULL) {
        return;
    }
    list_each(node, &h->streams)
    {
        watch_stream_close(container_of(node, struct watch_stream, all));
    }
    size_t budget;
    do {
        budget = SIZE_MAX;
    } while (watch_close_step(h, &budget));
    fan_release(h);
    sweep_drop(h);
    watch_ring_clear(&h->ring, 0);
    free(h->fan.targets.at);
    free(h->sweep.targets.at);
    watch_index_free(&h->live);
    watch_index_free(&h->lag);
    keymap_free(&h->by_id);
    heap_free(&h->progress);
    while (h->free_items != NULL) {
        struct watch_item *next = h->free_items->next;
        free(h->free_items);
        h->free_items = next;
    }
    CHECK(h->held == 0 && h->watchers == 0 && h->pending == 0, "%zu bytes, %zu watchers are left", h->held,
          h->watchers);
    free(h);
}

void watch_set_term(struct watch_hub *h, uint64_t term)
{
    h->term = term;
}

/* --- publishing --------------------------------------------------------------------------------------------------- */

/* Nobody watches: whatever waits is for nobody. History has it all for those who come later. */
static void skip_backlog(struct watch_hub *h)
{
    fan_release(h);
    h->fan.batch = NULL;
    h->fan.group = NULL;
    watch_ring_clear(&h->ring, h->published + 1);
    h->fanned = h->published;
    h->backlog = 0;
    watch_flush_touched(h, WATCH_BY_FAN);
}

void watch_publish_begin(struct watch_hub *h, int64_t revision)
{
    CHECK(!h->publishing && revision == h->published + 1, "revision %lld is published after %lld", (long long)revision,
          (long long)h->published);
    h->publishing = true;
    if (h->watchers == 0) {
        skip_backlog(h);
    } else {
        h->open = watch_batch_new(h, revision);
    }
}

void watch_publish_put(struct watch_hub *h, struct bytes key, struct bytes kv, bool created, struct bytes prev)
{
    if (h->open != NULL) {
        watch_batch_put(h->open, key, kv, created, prev);
    }
}

void watch_publish_delete(struct watch_hub *h, struct bytes key, struct bytes prev)
{
    if (h->open != NULL) {
        watch_batch_delete(h->open, key, prev);
    }
}

static void trim_ring(struct watch_hub *h)
{
    while (h->ring.bytes > h->config.ring_bytes && h->ring.first <= h->fanned) {
        watch_ring_drop(&h->ring);
    }
}

void watch_publish_end(struct watch_hub *h)
{
    CHECK(h->publishing, "nothing is being published");
    h->publishing = false;
    h->published++;
    if (h->open == NULL) { /* who came since the begin was made a laggard: watch_create */
        h->fanned = h->published;
        h->ring.first = h->published + 1;
        return;
    }
    CHECK(h->open->count > 0, "revision %lld has no events", (long long)h->published);
    h->open->published_bytes = h->open->bytes;
    h->backlog += h->open->bytes;
    watch_ring_push(&h->ring, h->open);
    h->open = NULL;
    trim_ring(h);
}

/* --- fan-out ------------------------------------------------------------------------------------------------------ */

/* A catch-up response holds at most so much; it ends between two revisions. */
#define CATCH_UP_REVISIONS 1000
#define CATCH_UP_BYTES (256 * 1024)

static bool may_grow(const struct watch_item *item, int by)
{
    return item != NULL && item->catch_up && by == WATCH_BY_SWEEP && item->revisions < CATCH_UP_REVISIONS &&
           item->cost < CATCH_UP_BYTES;
}

/* Puts one event of a batch into the queue of the group's stream, or parks the group at this revision if the stream has
 * enough. A revision whose first event was queued is queued whole. */
void watch_offer(struct watch_group *g, struct watch_batch *batch, uint32_t event, int by)
{
    struct watch_stream *s = g->stream;
    if (s->closed || batch->rev < g->from) {
        return;
    }
    struct watch_item *item = g->open;
    bool begun = item != NULL && watch_item_last(item) == batch;
    if (!begun && s->cost >= s->hub->config.stream_credit_bytes) {
        watch_park(g, batch->rev);
        return;
    }
    if (g->want_prev > 0) {
        watch_event_want_prev(batch, &batch->events[event]);
    }
    if (!begun && !may_grow(item, by)) {
        item = watch_item_new(s, WATCH_ITEM_EVENTS);
        item->group = g;
        item->catch_up = by == WATCH_BY_SWEEP;
        g->open = item;
        g->items++;
    }
    if (!begun) {
        item->rev = item->catch_up ? watch_now(s->hub) : batch->rev;
    }
    watch_item_add(item, batch, event);
    watch_touch(s, by);
}

/* So many bytes of a row that is read for its event cost as much as a watcher that is touched. */
#define LOOK_UP_BYTES 128

size_t watch_look_up_work(struct watch_hub *h)
{
    size_t work = h->looked_up / LOOK_UP_BYTES;
    h->looked_up = 0;
    return work;
}

static void fan_match(struct watch_hub *h)
{
    struct watch_fan *f = &h->fan;
    fan_release(h);
    watch_index_match(&h->live, watch_event_key(&f->batch->events[f->event]), &f->targets);
    for (size_t i = 0; i < f->targets.count; i++) {
        f->targets.at[i]->pins++;
    }
    f->target = 0;
    f->group = f->targets.count == 0 ? NULL : f->targets.at[0]->groups.next;
}

static void fan_finish(struct watch_hub *h)
{
    fan_release(h);
    h->fan.batch->sealed = true;
    h->fanned = h->fan.batch->rev;
    h->backlog -= h->fan.batch->published_bytes;
    h->fan.batch = NULL;
    h->fan.group = NULL;
    watch_flush_touched(h, WATCH_BY_FAN);
    trim_ring(h);
}

/* Offers the events of the next batch to live groups. Returns the work done; stops between two batches while laggards
 * rejoin, as they must not miss the start of one. */
static size_t fan_step(struct watch_hub *h, size_t budget)
{
    struct watch_fan *f = &h->fan;
    size_t work = 0;
    while (work < budget) {
        if (f->batch == NULL) {
            if (h->fanned == h->published || h->sweep.rejoining) {
                break;
            }
            f->batch = watch_ring_get(&h->ring, h->fanned + 1);
            f->event = 0;
            fan_match(h);
        }
        work++;
        if (f->event == f->batch->count) {
            fan_finish(h);
        } else if (f->target == f->targets.count) {
            if (++f->event < f->batch->count) {
                fan_match(h);
            }
        } else if (f->group == &f->targets.at[f->target]->groups) {
            f->target++;
            f->group = f->target < f->targets.count ? f->targets.at[f->target]->groups.next : NULL;
        } else {
            struct watch_group *g = container_of(f->group, struct watch_group, in_target);
            f->group = f->group->next; /* before the offer, which may take g out */
            watch_offer(g, f->batch, f->event, WATCH_BY_FAN);
            work += watch_look_up_work(h);
        }
    }
    return work;
}

/* --- the order of work -------------------------------------------------------------------------------------------- */

bool watch_step(struct watch_hub *h, uint64_t now_ms, size_t budget)
{
    h->now_ms = now_ms;
    watch_progress_due(h, now_ms);
    size_t done = fan_step(h, budget);
    watch_progress_step(h);
    /* Laggards get a share even when the fan-out could use all of it. */
    size_t left = budget > done ? budget - done : 0;
    size_t rest = left > budget / 4 ? left : budget / 4 + 1;
    size_t swept = watch_sweep_step(h, rest);
    rest = rest > swept ? rest - swept : 1;
    watch_close_step(h, &rest);
    watch_evict(h);
    return watch_busy(h);
}

bool watch_busy(const struct watch_hub *h)
{
    if (h->fanned < h->published || !list_empty(&h->closing)) {
        return true;
    }
    if (h->source_waits || (h->publishing && h->open == NULL)) {
        return false;
    }
    return h->sweep.active || !list_empty(&h->waiting);
}

uint64_t watch_deadline(const struct watch_hub *h)
{
    const struct heap_node *first = heap_min(&h->progress);
    return first == NULL ? UINT64_MAX : first->key;
}

size_t watch_backlog_bytes(const struct watch_hub *h)
{
    return h->backlog;
}

void watch_source_ready(struct watch_hub *h)
{
    h->source_waits = false;
}

void watch_restore(struct watch_hub *h)
{
    CHECK(!h->publishing, "the store is replaced while a revision is published");
    /* What was published is true in the new store as well: it goes out first. */
    while (h->fanned < h->published) {
        h->sweep.rejoining = false;
        fan_step(h, SIZE_MAX);
    }
    CHECK(h->backlog == 0, "%zu bytes are left of what was fanned out", h->backlog);
    watch_lag_all(h);
    sweep_drop(h);
    h->published = h->fanned = watch_now(h);
    watch_ring_clear(&h->ring, h->published + 1);
}

void watch_set_source(struct watch_hub *h, struct watch_source source)
{
    h->config.source = source;
    h->source_waits = false;
}

struct watch_stats watch_stats(const struct watch_hub *h)
{
    return (struct watch_stats){
        .streams = h->stream_count,
        .watchers = h->watchers,
        .slow_watchers = h->slow_watchers,
        .events = h->delivered,
        .pending_events = h->pending,
        .held_bytes = h->held,
    };
}
