/* Streams and watchers: create, cancel, progress, close. Texts and orders are etcd's (mvcc.md "Watch", errors.tsv). */
#include "base/canary.h"
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

#define ENDED_MAX 4096
#define NO_WATCH_ID (-1) /* of refusals and of progress for the whole stream */
/* Answers that nobody reads: from here on the transport should stop taking requests. */
#define CONTROL_LIMIT (256 * 1024)

/* --- groups ------------------------------------------------------------------------------------------------------- */

void watch_group_place(struct watch_group *g, struct watch_index *index, struct watch_target *target)
{
    g->index = index;
    g->target = target;
    target->pins++;
}

void watch_group_link(struct watch_group *g)
{
    list_push_back(&g->target->groups, &g->in_target);
}

void watch_group_unlink(struct watch_group *g)
{
    struct watch_fan *fan = &g->stream->hub->fan;
    if (fan->group == &g->in_target) {
        fan->group = g->in_target.next;
    }
    list_remove(&g->in_target);
}

void watch_group_leave_index(struct watch_group *g)
{
    watch_group_unlink(g);
    g->target->pins--;
    watch_index_release(g->index, g->target);
    g->target = NULL;
}

void watch_group_count(const struct watch_group *g, bool lagging, size_t count)
{
    size_t change = lagging ? count : 0 - count;
    g->stream->lagging_count += change;
    g->stream->hub->slow_watchers += change;
}

static struct watch_group *group_new(struct watch_stream *s, struct watch_index *index, struct watch_target *target)
{
    struct watch_group *g = mem_zalloc(sizeof *g);
    g->stream = s;
    g->from = INT64_MAX;
    list_init(&g->watchers);
    list_init(&g->lag);
    list_init(&g->in_target);
    watch_group_place(g, index, target);
    return g;
}

void watch_group_add(struct watch_group *g, struct watcher *w)
{
    w->group = g;
    list_push_back(&g->watchers, &w->in_group);
    g->count++;
    g->want_prev += w->prev_kv;
    g->from = w->next_rev < g->from ? w->next_rev : g->from;
    if (g->state == WATCH_LAGGING) {
        watch_group_count(g, true, 1);
    }
}

void watch_group_drop(struct watch_group *g, struct watcher *w)
{
    struct watch_stream *s = g->stream;
    if (s->cursor == &w->in_group) {
        s->cursor = w->in_group.next;
    }
    list_remove(&w->in_group);
    w->group = NULL;
    g->count--;
    g->want_prev -= w->prev_kv;
    if (g->state == WATCH_LAGGING) {
        watch_group_count(g, false, 1);
    }
    if (g->count > 0) {
        return;
    }
    if (s->last_group == g) {
        s->last_group = NULL;
    }
    list_remove(&g->lag);
    watch_group_leave_index(g);
    g->state = WATCH_DEAD;
    g->sweep = 0;
    if (g->items == 0) {
        free(g);
    }
}

/* --- watchers ----------------------------------------------------------------------------------------------------- */

static void make_id_key(uint8_t key[16], const struct watch_stream *s, int64_t id)
{
    put_be64(key, s->serial);
    put_be64(key + 8, (uint64_t)id);
}

/* Also one that has ended. */
static struct watcher *find_any(const struct watch_stream *s, int64_t id)
{
    uint8_t key[16];
    make_id_key(key, s, id);
    struct keymap_node *node = keymap_find(&s->hub->by_id, bytes_of(key, sizeof key));
    return node == NULL ? NULL : container_of(node, struct watcher, by_id);
}

struct watcher *watcher_find(const struct watch_stream *s, int64_t id)
{
    struct watcher *w = find_any(s, id);
    return w == NULL || w->group == NULL ? NULL : w;
}

/* Takes a live watcher out of everything but the table of ids. */
static void retire(struct watcher *w)
{
    struct watch_stream *s = w->group->stream;
    list_remove(&w->in_stream);
    list_remove(&w->in_progress);
    s->watcher_count--;
    s->hub->watchers--;
    watch_group_drop(w->group, w);
    w->group = NULL;
}

static void forget(struct watch_stream *s, struct watcher *w)
{
    keymap_remove(&s->hub->by_id, &w->by_id);
    free(w);
}

void watcher_remove(struct watcher *w)
{
    struct watch_stream *s = w->group->stream;
    retire(w);
    forget(s, w);
}

static void ended_remove(struct watch_stream *s, struct watcher *w)
{
    list_remove(&w->in_stream);
    s->ended_count--;
    forget(s, w);
}

/* More than anybody has; a client that makes them on purpose loses the oldest. */
static void ended_add(struct watch_stream *s, struct watcher *w)
{
    list_push_back(&s->ended, &w->in_stream);
    if (++s->ended_count > ENDED_MAX) {
        ended_remove(s, list_first(&s->ended, struct watcher, in_stream));
    }
}

void watcher_end(struct watcher *w)
{
    struct watch_stream *s = w->group->stream;
    retire(w);
    ended_add(s, w);
}

static void take_id(struct watch_stream *s, struct watcher *w)
{
    make_id_key(w->id_key, s, w->id);
    keymap_insert(&s->hub->by_id, &w->by_id, bytes_of(w->id_key, sizeof w->id_key));
}

static struct watcher *watcher_new(struct watch_stream *s, const struct watch_request *request, int64_t id)
{
    struct watcher *w = mem_zalloc(sizeof *w);
    w->id = id;
    w->serial = ++s->hub->serials;
    w->prev_kv = request->prev_kv;
    w->no_put = request->no_put;
    w->no_delete = request->no_delete;
    w->fragment = request->fragment;
    w->progress = w->progress_due = request->progress_notify;
    w->progress_number = s->progress_number;
    take_id(s, w);
    list_push_back(&s->watchers, &w->in_stream);
    list_init(&w->in_progress);
    if (w->progress) {
        list_push_back(&s->progress_watchers, &w->in_progress);
    }
    s->watcher_count++;
    s->hub->watchers++;
    return w;
}

/* The first revision that no fan-out has begun: who starts there misses nothing by being live. */
static int64_t live_from(const struct watch_hub *h)
{
    if (h->publishing && h->open == NULL) {
        return h->published + 2; /* the revision being published is not kept */
    }
    return (h->fan.batch != NULL ? h->fan.batch->rev : h->fanned) + 1;
}

/* Live watchers of one range on one stream share a group; the newest one's is tried, and all if there are few. */
static struct watch_group *live_group(struct watch_stream *s, struct watch_target *target)
{
    struct watch_group *g = s->last_group;
    if (g != NULL && g->state == WATCH_LIVE && g->target == target) {
        return g;
    }
    size_t tries = 8;
    list_each(node, &target->groups)
    {
        g = container_of(node, struct watch_group, in_target);
        if (g->stream == s) {
            return g;
        }
        if (--tries == 0) {
            break;
        }
    }
    g = group_new(s, &s->hub->live, target);
    watch_group_link(g);
    return g;
}

struct range {
    struct bytes key, end;
    bool unbounded;
};

static void watcher_place(struct watch_stream *s, struct watcher *w, const struct range *r)
{
    struct watch_hub *h = s->hub;
    struct watch_index *index = w->next_rev >= live_from(h) ? &h->live : &h->lag;
    struct watch_target *target = watch_index_target(index, r->key, r->end, r->unbounded);
    struct watch_group *g;
    if (index == &h->live) {
        g = live_group(s, target);
        s->last_group = g;
    } else {
        g = group_new(s, index, target);
        g->state = WATCH_LAGGING;
        g->next_rev = w->next_rev;
        list_push_back(&h->waiting, &g->lag);
    }
    watch_group_add(g, w);
}

void watcher_move(struct watcher *w)
{
    struct watch_group *g = w->group;
    struct watch_stream *s = g->stream;
    struct watch_index *index = g->index;
    struct watch_target *target = g->target;
    const struct range range = {target->key, target->end, target->unbounded};
    target->pins++;
    watch_group_drop(g, w);
    watcher_place(s, w, &range);
    target->pins--;
    watch_index_release(index, target);
}

static int64_t choose_id(struct watch_stream *s)
{
    while (find_any(s, s->next_id) != NULL) {
        s->next_id++;
    }
    return s->next_id++;
}

void watch_refuse(struct watch_stream *s, const char *reason)
{
    struct watch_control refusal = {
        .watch_id = NO_WATCH_ID, .header_rev = watch_now(s->hub), .created = true, .canceled = true, .reason = reason};
    watch_answer(s, refusal);
}

/* "\0" as end: all keys from the key on; an empty key is the lowest there is. false = empty range. */
static bool understand_range(const struct watch_request *request, struct range *r)
{
    r->key = request->key.len == 0 ? bytes_of("", 1) : request->key;
    r->unbounded = request->range_end.len == 1 && request->range_end.data[0] == 0;
    r->end = r->unbounded ? (struct bytes){0} : request->range_end;
    return r->end.len == 0 || bytes_compare(r->key, r->end) < 0;
}

void watch_create(struct watch_stream *s, const struct watch_request *request)
{
    struct watch_hub *h = s->hub;
    struct range range;
    if (request->start_revision < 0) {
        watch_refuse(s, error_text(ERR_COMPACTED));
        return;
    }
    if (!understand_range(request, &range)) {
        watch_refuse(s, "mvcc: watcher range is empty");
        return;
    }
    if (request->watch_id != 0 && find_any(s, request->watch_id) != NULL) {
        watch_refuse(s, "mvcc: duplicate watch ID provided on the WatchStream");
        return;
    }
    int64_t now = watch_now(h), id = request->watch_id != 0 ? request->watch_id : choose_id(s);
    int64_t start = request->start_revision == 0 ? now + 1 : request->start_revision;
    watch_answer(s, (struct watch_control){.watch_id = id, .header_rev = now, .created = true});
    int64_t compact_rev = h->config.source.compacted(h->config.source.arg);
    if (start <= now && start < compact_rev) {
        watch_answer(s, (struct watch_control){.watch_id = id, .canceled = true, .compact_rev = compact_rev});
        struct watcher *ended = mem_zalloc(sizeof *ended);
        ended->id = id;
        take_id(s, ended);
        ended_add(s, ended);
        return;
    }
    struct watcher *w = watcher_new(s, request, id);
    w->next_rev = start;
    w->told = start - 1;
    w->start = request->start_revision;
    s->last_asked = w->start > s->last_asked ? w->start : s->last_asked;
    s->last_start = start > s->last_start ? start : s->last_start;
    watcher_place(s, w, &range);
}

void watch_cancel(struct watch_stream *s, int64_t watch_id)
{
    struct watcher *w = find_any(s, watch_id);
    if (w == NULL) {
        return;
    }
    if (w->group != NULL) {
        watcher_remove(w);
    } else {
        ended_remove(s, w);
    }
    watch_answer(s, (struct watch_control){.watch_id = watch_id, .header_rev = watch_now(s->hub), .canceled = true});
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

static void send_progress(struct watch_stream *s, enum watch_item_kind kind, int64_t id, uint64_t number)
{
    struct watch_item *item = watch_item_new(s, kind);
    item->watch_id = id;
    item->rev = s->hub->fanned; /* all up to here stands in the queue before this */
    item->number = number;
    watch_wake(s);
}

/* A watcher that asked for a revision which is not there yet; one that asked for "from now on" did not. */
static bool starts_in_future(const struct watch_stream *s, int64_t rev)
{
    if (s->last_asked <= rev && s->last_start <= rev + 1) {
        return false;
    }
    list_each(node, &s->watchers)
    {
        const struct watcher *w = container_of(node, struct watcher, in_stream);
        if (w->start > rev || w->next_rev > rev + 1) {
            return true;
        }
    }
    return false;
}

static void answer_progress(struct watch_stream *s)
{
    list_remove(&s->progress_wait);
    if (s->watcher_count > 0 && s->ended_count == 0 && (s->lagging_count == 0 || CANARY(PROGRESS_AHEAD)) &&
        !starts_in_future(s, s->hub->fanned)) {
        send_progress(s, WATCH_ITEM_PROGRESS_ALL, NO_WATCH_ID, ++s->progress_number);
    }
}

void watch_progress(struct watch_stream *s)
{
    if (s->hub->fanned == s->hub->published) {
        answer_progress(s);
    } else if (list_empty(&s->progress_wait)) {
        s->progress_wanted = s->hub->published;
        list_push_back(&s->hub->progress_wait, &s->progress_wait);
    }
}

void watch_progress_step(struct watch_hub *h)
{
    list_each(node, &h->progress_wait)
    {
        struct watch_stream *s = container_of(node, struct watch_stream, progress_wait);
        if (s->progress_wanted <= h->fanned && h->fan.batch == NULL) {
            answer_progress(s);
        }
    }
}

/* etcd's ticker: at each tick, the watchers that got no events since the last one hear of the current revision if they
 * are synced. */
static void tick(struct watch_stream *s)
{
    list_each(node, &s->progress_watchers)
    {
        struct watcher *w = container_of(node, struct watcher, in_progress);
        if (w->progress_due && (w->group->state == WATCH_LIVE || CANARY(PROGRESS_AHEAD)) &&
            w->start <= s->hub->fanned && w->next_rev <= s->hub->fanned + 1) {
            send_progress(s, WATCH_ITEM_PROGRESS, w->id, w->serial);
        }
        w->progress_due = true;
    }
}

void watch_progress_due(struct watch_hub *h, uint64_t now_ms)
{
    struct heap_node *node;
    /* In the middle of a batch some watchers have more than others: after it. */
    while (h->fan.batch == NULL && (node = heap_min(&h->progress)) != NULL && node->key <= now_ms) {
        struct watch_stream *s = container_of(node, struct watch_stream, progress_due);
        heap_update(&h->progress, node, now_ms + s->progress_interval_ms);
        tick(s);
    }
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

struct watch_stream *watch_stream_open(struct watch_hub *h, void *stream_arg, uint64_t now_ms)
{
    struct watch_stream *s = mem_zalloc(sizeof *s);
    s->hub = h;
    s->pulled_ms = now_ms;
    s->arg = stream_arg;
    s->serial = ++h->serials;
    s->idle = true;
    s->tail = &s->head;
    struct list *lists[] = {&s->touched[0], &s->touched[1], &s->by_pull,       &s->watchers,         &s->ended,
                            &s->parked,     &s->all,        &s->progress_wait, &s->progress_watchers};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
    list_push_back(&h->streams, &s->all);
    h->stream_count++;
    uint64_t interval_ms = h->config.progress_interval_ms;
    s->progress_interval_ms = interval_ms + random_below(&h->random, interval_ms / 10 + 1);
    heap_insert(&h->progress, &s->progress_due, now_ms + s->progress_interval_ms);
    return s;
}

void watch_stream_close(struct watch_stream *s)
{
    CHECK(!s->closed, "a watch stream is closed twice");
    s->closed = true;
    list_remove(&s->all);
    list_push_back(&s->hub->closing, &s->all);
    s->hub->stream_count--;
    heap_remove(&s->hub->progress, &s->progress_due);
    list_remove(&s->progress_wait);
    list_remove(&s->touched[0]);
    list_remove(&s->touched[1]);
}

bool watch_close_step(struct watch_hub *h, size_t *budget)
{
    while (!list_empty(&h->closing) && *budget > 0) {
        struct watch_stream *s = list_first(&h->closing, struct watch_stream, all);
        --*budget;
        if (!list_empty(&s->watchers)) {
            watcher_remove(list_first(&s->watchers, struct watcher, in_stream));
        } else if (!list_empty(&s->ended)) {
            ended_remove(s, list_first(&s->ended, struct watcher, in_stream));
        } else if (s->head != NULL) {
            watch_item_pop(s);
        } else {
            list_remove(&s->all);
            list_remove(&s->by_pull);
            list_remove(&s->touched[0]);
            list_remove(&s->touched[1]);
            free(s);
        }
    }
    return !list_empty(&h->closing);
}

bool watch_stream_full(const struct watch_stream *s)
{
    return s->control_cost > CONTROL_LIMIT;
}
