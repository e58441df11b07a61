/* Encoding WatchResponses when the transport asks for them. A response = gRPC's 5-byte prefix, the header (the same for
 * all watchers of an item, encoded once), watch_id, fragment, and the shared bytes of the events. */
#include "base/canary.h"
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

enum { TAG_WATCH_ID = 0x10, TAG_FRAGMENT = 0x38, TAG_EVENTS = 0x5a };

#define FRAGMENT_MARGIN (512 * 1024)
#define PREFIX 5

/* --- output ------------------------------------------------------------------------------------------------------- */

void watch_out_reset(struct watch_out *out)
{
    for (size_t i = 0; i < out->cut_count; i++) {
        shared_unref(out->cuts[i].owner);
    }
    out->cut_count = out->total = out->messages = out->bytes.len = 0;
}

void watch_out_free(struct watch_out *out)
{
    watch_out_reset(out);
    buffer_free(&out->bytes);
    free(out->cuts);
    *out = (struct watch_out){0};
}

static void put_copy(struct watch_out *out, const void *data, size_t len)
{
    memcpy(buffer_reserve(&out->bytes, len), data, len);
    out->bytes.len += len;
    out->total += len;
}

static void put_shared(struct watch_out *out, struct shared *owner, size_t offset, size_t len)
{
    if (len < WATCH_SHARE_BYTES) {
        put_copy(out, owner->data + offset, len);
        return;
    }
    if (out->cut_count == out->cut_capacity) {
        out->cut_capacity = out->cut_capacity == 0 ? 8 : out->cut_capacity * 2;
        out->cuts = mem_realloc(out->cuts, out->cut_capacity * sizeof *out->cuts);
    }
    out->cuts[out->cut_count++] = (struct watch_cut){
        .at = out->bytes.len, .content = bytes_of(owner->data + offset, len), .owner = shared_ref(owner)};
    out->total += len;
}

/* --- one response ------------------------------------------------------------------------------------------------- */

/* A place among an item's events, as one watcher sees them. */
struct place {
    uint32_t segment, event;
};

struct response {
    struct watch_stream *stream;
    const struct watch_item *item;
    struct watcher *watcher;
    const uint8_t *header;
    size_t header_len;
};

/* The event at the place, or the next one that the watcher wants; NULL = no more. Moves the place onto it. */
static const struct watch_event *next_event(const struct response *r, struct place *at)
{
    const struct watcher *w = r->watcher;
    for (; at->segment < r->item->segment_count; at->segment++, at->event = 0) {
        const struct watch_segment *segment = &r->item->segments[at->segment];
        if (segment->batch->rev < w->next_rev) {
            continue;
        }
        for (; at->event < segment->count; at->event++) {
            const struct watch_event *e = &segment->batch->events[segment->first + at->event];
            if (!(e->is_delete ? w->no_delete : w->no_put)) {
                return e;
            }
        }
    }
    return NULL;
}

/* Does this watcher get the pair from before the event? Not when that revision was compacted since, though the event
 * may still have it: etcd looks it up when it sends. */
static bool has_prev(const struct response *r, const struct place *at, const struct watch_event *e)
{
    if (!r->watcher->prev_kv || e->prev == NULL) {
        return false;
    }
    const struct watch_source *source = &r->stream->hub->config.source;
    return r->item->segments[at->segment].batch->rev - 1 >= source->compacted(source->arg);
}

static size_t event_len(const struct response *r, const struct place *at, const struct watch_event *e)
{
    if (!has_prev(r, at, e)) {
        return watch_event_len(e);
    }
    size_t body = e->body_len + e->prev->len;
    return 1 + varint_size(body) + body;
}

static void put_head(struct watch_out *out, const struct response *r, size_t events_len, bool fragment)
{
    uint8_t head[PREFIX + WATCH_HEADER_BYTES + 16], *p = head + PREFIX;
    memcpy(p, r->header, r->header_len);
    p += r->header_len;
    if (r->watcher->id != 0) {
        *p++ = TAG_WATCH_ID;
        p += varint_put(p, (uint64_t)r->watcher->id);
    }
    if (fragment) {
        *p++ = TAG_FRAGMENT;
        *p++ = 1;
    }
    size_t len = (size_t)(p - head) - PREFIX + events_len;
    CHECK(len <= UINT32_MAX, "a watch response of %zu bytes", len);
    head[0] = 0;
    put_be32(head + 1, (uint32_t)len);
    put_copy(out, head, (size_t)(p - head));
    out->messages++;
}

static size_t head_len(const struct response *r)
{
    return r->header_len + (r->watcher->id == 0 ? 0 : 1 + varint_size((uint64_t)r->watcher->id));
}

static void put_with_prev(struct watch_out *out, const struct watch_event *e)
{
    uint8_t head[16] = {TAG_EVENTS};
    put_copy(out, head, 1 + varint_put(head + 1, e->body_len + e->prev->len));
    put_shared(out, e->block, e->offset + e->head_len, e->body_len);
    put_shared(out, e->prev, 0, e->prev->len);
}

/* Writes `count` events from the place on; those that lie side by side in one block go as one piece. */
static void put_events(struct watch_out *out, const struct response *r, struct place *at, size_t count)
{
    struct shared *block = NULL;
    size_t begin = 0, end = 0;
    for (; count > 0; count--, at->event++) {
        const struct watch_event *e = next_event(r, at);
        bool with_prev = has_prev(r, at, e);
        if (block != NULL && (with_prev || block != e->block || end != e->offset)) {
            put_shared(out, block, begin, end - begin);
            block = NULL;
        }
        if (with_prev) {
            put_with_prev(out, e);
            continue;
        }
        if (block == NULL) {
            block = e->block;
            begin = e->offset;
        }
        end = e->offset + watch_event_len(e);
    }
    if (block != NULL) {
        put_shared(out, block, begin, end - begin);
    }
}

/* How many events from the place on, at most `max`, go into one fragment: as many as stay below the limit, at least
 * one. */
static size_t fragment_count(const struct response *r, struct place at, size_t max, size_t limit, size_t *len)
{
    size_t count = 0, base = head_len(r) + 2;
    *len = 0;
    while (count < max) {
        const struct watch_event *e = next_event(r, &at);
        size_t more = event_len(r, &at, e);
        if (count > 0 && base + *len + more >= limit) {
            break;
        }
        *len += more;
        count++;
        at.event++;
    }
    return count;
}

static void put_fragments(struct watch_out *out, const struct response *r, size_t count, size_t limit)
{
    struct place at = {0};
    while (count > 0) {
        size_t len, n = fragment_count(r, at, count, limit, &len);
        count -= n;
        put_head(out, r, len, count > 0);
        put_events(out, r, &at, n);
    }
}

/* Always-on: ascending, no repeat, nothing at or below what a response told to be complete. */
static void check_order(const struct response *r, int64_t first)
{
    const struct watcher *w = r->watcher;
    const struct watch_stream *s = r->stream;
    if (CANARY(WATCH_REPEATS) || CANARY(PROGRESS_AHEAD)) {
        return; /* for those outside to notice */
    }
    CHECK(first > w->told, "watch %lld gets revision %lld after %lld", (long long)w->id, (long long)first,
          (long long)w->told);
    CHECK(first > s->told || w->progress_number >= s->told_number, "watch %lld gets revision %lld after progress %lld",
          (long long)w->id, (long long)first, (long long)s->told);
}

static void put_response(struct watch_out *out, const struct response *r)
{
    struct watcher *w = r->watcher;
    struct place at = {0};
    size_t count = 0, len = 0;
    const struct watch_event *e;
    int64_t first = 0;
    for (; (e = next_event(r, &at)) != NULL; at.event++, count++) {
        if (count == 0) {
            first = r->item->segments[at.segment].batch->rev;
        }
        len += event_len(r, &at, e);
    }
    if (count == 0) {
        return;
    }
    check_order(r, first);
    w->told = r->item->segments[r->item->segment_count - 1].batch->rev;
    w->progress_due = false;
    r->stream->hub->delivered += count;
    size_t limit = r->stream->hub->config.max_request_bytes + FRAGMENT_MARGIN;
    if (w->fragment && count >= 2 && head_len(r) + len >= limit) {
        put_fragments(out, r, count, limit);
        return;
    }
    put_head(out, r, len, false);
    at = (struct place){0};
    put_events(out, r, &at, count);
}

/* --- items -------------------------------------------------------------------------------------------------------- */

static bool may_go(const struct watch_hub *h, const struct watch_item *item)
{
    const struct watch_batch *last = watch_item_last(item);
    return last == NULL || (last->sealed && !(item->catch_up && last == h->sweep.ring));
}

/* false = out is full; the next call goes on with the next watcher. */
static bool pull_events(struct watch_stream *s, const struct watch_item *item, struct watch_out *out, size_t max_bytes)
{
    struct watch_group *g = item->group;
    uint8_t header[WATCH_HEADER_BYTES];
    struct response r = {.stream = s, .item = item, .header = header};
    r.header_len = watch_encode_header(s->hub, item->rev, header);
    if (s->cursor == NULL) {
        s->cursor = g->watchers.next;
        if (g->open == item) {
            g->open = NULL;
        }
    }
    while (s->cursor != &g->watchers) {
        if (out->total >= max_bytes) {
            return false;
        }
        r.watcher = container_of(s->cursor, struct watcher, in_group);
        s->cursor = s->cursor->next;
        put_response(out, &r);
    }
    return true;
}

static void pull_progress(struct watch_stream *s, const struct watch_item *item, struct watch_out *out)
{
    struct watcher all = {.id = item->watch_id}, *w = &all;
    if (item->kind == WATCH_ITEM_PROGRESS_ALL) {
        CHECK(item->rev >= s->told, "progress %lld after %lld", (long long)item->rev, (long long)s->told);
        s->told = item->rev;
        s->told_number = item->number;
    } else {
        w = watcher_find(s, item->watch_id);
        if (w == NULL || w->serial != item->number) {
            return; /* cancelled since; its id may be another one's now */
        }
        CHECK(item->rev >= w->told, "watch %lld gets progress %lld after %lld", (long long)w->id, (long long)item->rev,
              (long long)w->told);
        w->told = item->rev;
    }
    uint8_t header[WATCH_HEADER_BYTES];
    struct response r = {.stream = s, .watcher = w, .header = header};
    r.header_len = watch_encode_header(s->hub, item->rev, header);
    put_head(out, &r, 0, false);
}

/* The group's watchers started or stood below the compacted revision. */
static void pull_compacted(struct watch_stream *s, const struct watch_item *item, struct watch_out *out)
{
    struct watch_group *g = item->group; /* lives as long as the item */
    while (g->state != WATCH_DEAD) {
        struct watcher *w = list_first(&g->watchers, struct watcher, in_group);
        struct watch_control control = {.watch_id = w->id, .canceled = true, .compact_rev = item->rev};
        uint8_t message[WATCH_CONTROL_BYTES];
        put_copy(out, message, watch_encode_control(s->hub, &control, message));
        out->messages++;
        watcher_end(w);
    }
}

/* Streams are ordered by their last pull: who takes nothing for longest gives memory back first. */
static void note_pull(struct watch_stream *s)
{
    s->pulled_ms = s->hub->now_ms;
    list_remove(&s->by_pull);
    if (s->cost > 0) {
        list_push_back(&s->hub->by_pull, &s->by_pull);
    }
    if (s->cost <= s->hub->config.stream_credit_bytes / 2) {
        watch_unpark(s);
    }
}

bool watch_pull(struct watch_stream *s, struct watch_out *out, size_t max_bytes)
{
    struct watch_item *item;
    bool more = false;
    while ((item = s->head) != NULL) {
        if (out->total >= max_bytes) {
            more = true;
            break;
        }
        if (item->kind == WATCH_ITEM_BYTES) {
            put_copy(out, item->data, item->len);
            out->messages++;
        } else if (item->kind == WATCH_ITEM_PROGRESS || item->kind == WATCH_ITEM_PROGRESS_ALL) {
            pull_progress(s, item, out);
        } else if (item->kind == WATCH_ITEM_COMPACTED) {
            pull_compacted(s, item, out);
        } else if (item->group->state != WATCH_DEAD) {
            if (!may_go(s->hub, item)) {
                break;
            }
            if (!pull_events(s, item, out, max_bytes)) {
                more = true;
                break;
            }
        }
        watch_item_pop(s);
    }
    s->idle = !more;
    note_pull(s);
    return more;
}
