/* Laggards. A group lags because its watcher asked for the past, because its stream had no credit for a revision, or
 * because memory was short. All groups that can go on share one sweep: it starts at the lowest position, reads rows
 * from the store's history and then batches from the ring, encodes what somebody wants once, and offers it as the
 * fan-out does. When it stands at the fan-out's position, between two batches, its groups become live.
 *
 * A group is in one of three lists: parked at its stream (no credit), waiting for the next sweep, or sweeping. Groups
 * that come while a sweep is under way wait for the next one, as the sweep may be past their position. */
#include "base/canary.h"
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

/* Groups taken into one sweep: the later ones would wait too long for it to begin. */
#define SWEEP_GROUPS 4096
/* What one row from history, one group that is taken in, one event for a group cost, in touches. */
#define ROW_WORK 4
#define GROUP_WORK 2
#define OFFER_WORK 2
/* A stream that was not pulled for so long is taken for stalled. */
#define STALLED_MS 1000

static int64_t compacted(const struct watch_hub *h)
{
    return h->config.source.compacted(h->config.source.arg);
}

/* --- going out of the live set and back ----------------------------------------------------------------------------
 */

static void to_index(struct watch_group *g, struct watch_index *x)
{
    const struct watch_target *old = g->target;
    struct watch_target *target = watch_index_target(x, old->key, old->end, old->unbounded);
    watch_group_leave_index(g);
    watch_group_place(g, x, target);
}

static void make_lag(struct watch_group *g, int64_t rev)
{
    if (g->state == WATCH_LIVE) {
        to_index(g, &g->stream->hub->lag);
        g->state = WATCH_LAGGING;
        watch_group_count(g, true, g->count);
    }
    watch_group_unlink(g);
    list_remove(&g->lag);
    g->sweep = 0;
    g->next_rev = CANARY(WATCH_REPEATS) ? rev - 1 : rev;
}

void watch_park(struct watch_group *g, int64_t rev)
{
    make_lag(g, rev);
    list_push_back(&g->stream->parked, &g->lag);
}

void watch_unpark(struct watch_stream *s)
{
    list_splice(&s->hub->waiting, &s->parked);
}

/* If nothing is queued for it any more, and its stream has a live group of the same range, the two become one. What
 * that group still has queued is below where these watchers stand. */
static void merge(struct watch_group *g)
{
    struct watch_stream *s = g->stream;
    struct watch_group *into = s->last_group;
    if (g->items > 0 || into == g) {
        return;
    }
    if (into == NULL || into->state != WATCH_LIVE || into->target != g->target) {
        s->last_group = g;
        return;
    }
    for (size_t left = g->count; left > 0; left--) { /* the last one takes the group with it */
        struct watcher *w = list_first(&g->watchers, struct watcher, in_group);
        if (w->next_rev <= s->hub->fanned) {
            w->next_rev = s->hub->fanned + 1;
        }
        watch_group_drop(g, w);
        watch_group_add(into, w);
    }
}

/* All that went through this group's queue stays valid; from here on it gets what the fan-out gets. */
static void make_live(struct watch_group *g)
{
    struct watch_hub *h = g->stream->hub;
    CHECK(g->next_rev <= h->fanned + 1, "a group at %lld rejoins at %lld", (long long)g->next_rev,
          (long long)h->fanned);
    watch_group_count(g, false, g->count);
    list_remove(&g->lag);
    g->sweep = 0;
    g->open = NULL; /* what comes next stands behind progress responses that may come now */
    g->state = WATCH_LIVE;
    to_index(g, &h->live);
    watch_group_link(g);
    merge(g);
}

/* --- the sweep ---------------------------------------------------------------------------------------------------- */

/* A group may lag below where some of its watchers begin: those are not concerned. false = none was. */
static bool keep_later_watchers(struct watch_group *g, int64_t compact_rev)
{
    size_t left = g->count;
    list_each(node, &g->watchers)
    {
        struct watcher *w = container_of(node, struct watcher, in_group);
        if (w->next_rev >= compact_rev) {
            left--;
            watcher_move(w); /* the last one takes the group with it */
        }
        if (left == 0) {
            return false;
        }
    }
    return true;
}

/* What is queued for the group is delivered before: a progress response behind it has promised it. */
static void cancel_compacted(struct watch_group *g, int64_t compact_rev)
{
    list_remove(&g->lag);
    g->compacted = true;
    struct watch_item *item = watch_item_new(g->stream, WATCH_ITEM_COMPACTED);
    item->group = g;
    item->rev = compact_rev;
    g->items++;
    g->open = NULL;
    watch_wake(g->stream);
}

static void drop_partial(struct watch_hub *h)
{
    if (h->sweep.partial != NULL) {
        watch_batch_unref(h->sweep.partial);
        h->sweep.partial = NULL;
    }
}

/* Groups of the sweep back into the waiting list, at the position that it reached. */
static void sweep_stop(struct watch_hub *h)
{
    list_each(node, &h->sweeping)
    {
        struct watch_group *g = container_of(node, struct watch_group, lag);
        g->sweep = 0;
        watch_group_unlink(g);
        if (g->next_rev < h->sweep.at.main) {
            g->next_rev = h->sweep.at.main;
        }
    }
    list_splice(&h->waiting, &h->sweeping);
    if (h->sweep.ring != NULL) {
        watch_batch_unref(h->sweep.ring);
        h->sweep.ring = NULL;
    }
    h->sweep.active = h->sweep.rejoining = false;
    h->sweep.gathered = 0;
}

/* In the middle of a revision: what was queued of it is taken back. */
static void sweep_abort(struct watch_hub *h)
{
    list_each(node, &h->sweeping)
    {
        struct watch_item *open = container_of(node, struct watch_group, lag)->open;
        if (open != NULL && h->sweep.partial != NULL) {
            watch_item_take_back(open, h->sweep.partial);
        }
        if (open != NULL && h->sweep.ring != NULL) {
            watch_item_take_back(open, h->sweep.ring);
        }
    }
    drop_partial(h);
    sweep_stop(h);
}

/* Takes waiting groups into the next sweep, in slices; with the last of them it begins, at the lowest position. */
static void sweep_gather(struct watch_hub *h)
{
    struct watch_sweep *s = &h->sweep;
    int64_t compact_rev = compacted(h);
    if (s->gathered == 0) {
        s->number++;
        s->at = (struct watch_position){.main = INT64_MAX};
    }
    while (s->gathered < SWEEP_GROUPS && !list_empty(&h->waiting) && s->work < s->budget) {
        struct watch_group *g = list_first(&h->waiting, struct watch_group, lag);
        s->gathered++;
        s->work += GROUP_WORK;
        list_remove(&g->lag);
        if (g->next_rev < compact_rev && g->next_rev < h->ring.first) {
            if (keep_later_watchers(g, compact_rev)) {
                cancel_compacted(g, compact_rev);
            }
            continue;
        }
        list_push_back(&h->sweeping, &g->lag);
        watch_group_link(g);
        g->sweep = s->number;
        s->at.main = g->next_rev < s->at.main ? g->next_rev : s->at.main;
    }
    if (s->gathered == SWEEP_GROUPS || list_empty(&h->waiting)) {
        s->gathered = 0;
        s->active = !list_empty(&h->sweeping);
    }
}

/* Offers one event to the sweep's groups. The batch is made when the first of them wants it (history). */
static bool offer_targets(struct watch_hub *h, int64_t rev, struct watch_batch *batch, uint32_t event)
{
    bool wanted = false;
    for (size_t i = 0; i < h->sweep.targets.count; i++) {
        list_each(node, &h->sweep.targets.at[i]->groups)
        {
            struct watch_group *g = container_of(node, struct watch_group, in_target);
            h->sweep.work++;
            if (g->sweep != h->sweep.number || g->next_rev > rev) {
                continue;
            }
            wanted = true;
            if (batch != NULL) {
                h->sweep.work += OFFER_WORK;
                watch_offer(g, batch, event, WATCH_BY_SWEEP);
                h->sweep.work += watch_look_up_work(h);
            }
        }
    }
    return wanted;
}

static void seal_partial(struct watch_hub *h)
{
    if (h->sweep.partial != NULL) {
        h->sweep.partial->sealed = true;
        drop_partial(h);
    }
}

static bool visit_row(void *arg, int64_t main, int64_t sub, bool tombstone, struct bytes row)
{
    (void)sub;
    struct watch_hub *h = arg;
    struct bytes key;
    bool created = false;
    CHECK(watch_row_key(row, &key, &created), "the row %lld in the store is unreadable", (long long)main);
    if (h->sweep.partial != NULL && h->sweep.partial->rev != main) {
        seal_partial(h);
    }
    h->sweep.work += ROW_WORK;
    h->sweep.targets.count = 0;
    watch_index_match(&h->lag, key, &h->sweep.targets);
    if (offer_targets(h, main, NULL, 0)) {
        if (h->sweep.partial == NULL) {
            h->sweep.partial = watch_batch_new(h, main);
        }
        struct watch_batch *batch = h->sweep.partial;
        if (tombstone) {
            watch_batch_delete(batch, key, (struct bytes){0});
        } else {
            watch_batch_put(batch, key, row, created, (struct bytes){0});
        }
        offer_targets(h, main, batch, batch->count - 1);
    }
    return h->sweep.work < h->sweep.budget;
}

/* Rows up to the ring's begin. false = the source has to fetch them first. */
static bool sweep_history(struct watch_hub *h)
{
    struct watch_sweep *s = &h->sweep;
    int64_t to = h->ring.first - 1 < h->fanned ? h->ring.first - 1 : h->fanned;
    size_t budget = (s->budget - s->work) / ROW_WORK + 1;
    enum watch_rows result = h->config.source.rows(h->config.source.arg, &s->at, to, budget, visit_row, h);
    if (result == WATCH_ROWS_END) {
        seal_partial(h);
        s->at = (struct watch_position){.main = to + 1};
    } else if (s->partial != NULL && s->at.main > s->partial->rev) {
        seal_partial(h);
    }
    h->source_waits = result == WATCH_ROWS_WAIT;
    return !h->source_waits;
}

/* One batch of the ring, or as much of it as the budget allows. It stays ours even if the ring drops it meanwhile. */
static void sweep_ring(struct watch_hub *h)
{
    struct watch_sweep *s = &h->sweep;
    if (s->ring == NULL) {
        s->ring = watch_batch_ref(watch_ring_get(&h->ring, s->at.main));
        s->ring_event = 0;
    }
    while (s->ring_event < s->ring->count && s->work < s->budget) {
        s->targets.count = 0;
        watch_index_match(&h->lag, watch_event_key(&s->ring->events[s->ring_event]), &s->targets);
        offer_targets(h, s->at.main, s->ring, s->ring_event++);
        s->work++;
    }
    if (s->ring_event == s->ring->count) {
        watch_batch_unref(s->ring);
        s->ring = NULL;
        s->at.main++;
    }
}

static void sweep_rejoin(struct watch_hub *h)
{
    h->sweep.rejoining = true;
    CHECK(h->fan.batch == NULL && h->sweep.at.main == h->fanned + 1, "laggards rejoin at the wrong place");
    while (!list_empty(&h->sweeping) && h->sweep.work < h->sweep.budget) {
        make_live(list_first(&h->sweeping, struct watch_group, lag));
        h->sweep.work += ROW_WORK;
    }
}

size_t watch_sweep_step(struct watch_hub *h, size_t budget)
{
    struct watch_sweep *s = &h->sweep;
    s->work = 0;
    s->budget = budget;
    if (h->source_waits || (h->publishing && h->open == NULL)) {
        return 0;
    }
    while (s->work < budget) {
        s->work++;
        if (!s->active) {
            if (list_empty(&h->waiting)) {
                break;
            }
            sweep_gather(h);
        } else if (list_empty(&h->sweeping)) {
            sweep_stop(h); /* all rejoined, parked or gone */
            seal_partial(h);
        } else if (s->ring != NULL || (s->at.main >= h->ring.first && s->at.main <= h->fanned)) {
            seal_partial(h);
            sweep_ring(h);
        } else if (s->at.main > h->fanned) {
            seal_partial(h);
            if (h->fan.batch != NULL) {
                break; /* in the middle of a batch: after it */
            }
            sweep_rejoin(h);
        } else if (s->at.main < compacted(h)) {
            sweep_abort(h); /* those below are cancelled when the next sweep begins */
        } else if (!sweep_history(h)) {
            break;
        }
    }
    if (s->partial == NULL && s->ring == NULL) { /* else what was touched may not be pulled yet */
        watch_flush_touched(h, WATCH_BY_SWEEP);
    }
    return s->work;
}

void watch_lag_all(struct watch_hub *h)
{
    sweep_abort(h);
    list_each(node, &h->streams)
    {
        struct watch_stream *s = container_of(node, struct watch_stream, all);
        list_each(in_stream, &s->watchers)
        {
            struct watch_group *g = container_of(in_stream, struct watcher, in_stream)->group;
            if (g->state == WATCH_LIVE) {
                make_lag(g, h->fanned + 1);
                list_push_back(&h->waiting, &g->lag);
            }
        }
    }
    watch_flush_touched(h, WATCH_BY_SWEEP);
}

/* --- giving memory back ------------------------------------------------------------------------------------------- */

/* Takes the events out of a stream's queue that were not begun; their groups lag from the first of them on. Progress
 * responses behind them would come too early then, so they go too. A stream that is being read keeps its first item, so
 * that it gets on however short memory is. */
static void rewind_stream(struct watch_stream *s)
{
    struct watch_hub *h = s->hub;
    h->evictions++;
    struct watch_item **at = &s->head, *item;
    while (*at != NULL && (*at)->kind != WATCH_ITEM_EVENTS) {
        at = &(*at)->next;
    }
    if (*at != NULL && (s->cursor != NULL || h->now_ms < s->pulled_ms + STALLED_MS)) {
        (*at)->group->open = NULL; /* it must not grow any more */
        at = &(*at)->next;
    }
    while ((item = *at) != NULL) {
        if (item->kind == WATCH_ITEM_BYTES || item->kind == WATCH_ITEM_COMPACTED) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        if (item->kind == WATCH_ITEM_EVENTS && item->group->state != WATCH_DEAD &&
            item->group->evicted != h->evictions && item->segment_count > 0 && !item->group->compacted) {
            item->group->evicted = h->evictions;
            watch_park(item->group, item->segments[0].batch->rev);
        }
        watch_item_free(s, item);
    }
    s->tail = at;
}

/* Streams that nobody pulls keep old batches alive that the ring has long let go. Above the limit the ones longest
 * without a pull give theirs back. Only between two batches: an item under construction stays. */
void watch_evict(struct watch_hub *h)
{
    if (h->fan.batch != NULL || h->sweep.partial != NULL || h->sweep.ring != NULL) {
        return;
    }
    while (h->held > h->ring.bytes + h->config.held_bytes && !list_empty(&h->by_pull)) {
        struct watch_stream *s = list_first(&h->by_pull, struct watch_stream, by_pull);
        list_remove(&s->by_pull);
        rewind_stream(s);
    }
}
