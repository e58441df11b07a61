/* What a stream has to send, in order. Control answers are encoded at once; events stay references until they are
 * pulled. */
#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

/* What an item costs besides the events it holds: itself, its share of bookkeeping. */
#define ITEM_COST 256
#define REASON_MAX 512
/* Freed items that are kept: enough for a fan-out to all streams. */
#define FREE_ITEMS_MAX 16384

struct watch_item *watch_item_new(struct watch_stream *s, enum watch_item_kind kind)
{
    struct watch_hub *h = s->hub;
    struct watch_item *item = h->free_items;
    if (item != NULL) {
        h->free_items = item->next;
        h->free_item_count--;
        *item = (struct watch_item){0};
    } else {
        item = mem_zalloc(sizeof *item);
    }
    item->kind = kind;
    item->segments = &item->one;
    item->segment_capacity = 1;
    item->cost = ITEM_COST;
    *s->tail = item;
    s->tail = &item->next;
    if (kind == WATCH_ITEM_EVENTS) {
        s->cost += item->cost;
        if (list_empty(&s->by_pull)) {
            list_push_back(&h->by_pull, &s->by_pull);
        }
    }
    return item;
}

void watch_item_free(struct watch_stream *s, struct watch_item *item)
{
    struct watch_hub *h = s->hub;
    if (item->kind == WATCH_ITEM_EVENTS) {
        for (uint32_t i = 0; i < item->segment_count; i++) {
            h->pending -= item->segments[i].count;
            watch_batch_unref(item->segments[i].batch);
        }
        s->cost -= item->cost;
        if (s->cost == 0) {
            list_remove(&s->by_pull);
        }
    } else if (item->kind == WATCH_ITEM_BYTES) {
        s->control_cost -= item->cost;
        if (item->data != item->small) {
            free(item->data);
        }
    }
    struct watch_group *g = item->group;
    if (g != NULL) {
        if (g->open == item) {
            g->open = NULL;
        }
        if (--g->items == 0 && g->state == WATCH_DEAD) {
            free(g);
        }
    }
    if (item->segments != &item->one) {
        free(item->segments);
    }
    if (h->free_item_count == FREE_ITEMS_MAX) {
        free(item);
        return;
    }
    item->next = h->free_items;
    h->free_items = item;
    h->free_item_count++;
}

void watch_item_pop(struct watch_stream *s)
{
    struct watch_item *item = s->head;
    s->head = item->next;
    if (s->head == NULL) {
        s->tail = &s->head;
    }
    s->cursor = NULL;
    watch_item_free(s, item);
}

void watch_item_add(struct watch_item *item, struct watch_batch *batch, uint32_t event)
{
    struct watch_stream *s = item->group->stream;
    const struct watch_event *e = &batch->events[event];
    struct watch_segment *last = item->segment_count == 0 ? NULL : &item->segments[item->segment_count - 1];
    size_t cost = watch_event_len(e) + (e->prev == NULL ? 0 : e->prev->len) + sizeof *e;
    s->hub->pending++;
    if (last != NULL && last->batch == batch && last->first + last->count == event) {
        last->count++;
    } else {
        if (last == NULL || last->batch != batch) {
            item->revisions++;
        }
        if (item->segment_count == item->segment_capacity) {
            uint32_t capacity = item->segment_capacity * 4;
            struct watch_segment *old = item->segments == &item->one ? NULL : item->segments;
            struct watch_segment *segments = mem_realloc(old, capacity * sizeof *segments);
            if (old == NULL) {
                segments[0] = item->one;
            }
            item->segments = segments;
            item->segment_capacity = capacity;
        }
        item->segments[item->segment_count++] =
            (struct watch_segment){.batch = watch_batch_ref(batch), .first = event, .count = 1};
        cost += sizeof *last;
    }
    item->cost += cost;
    s->cost += cost;
}

void watch_item_take_back(struct watch_item *item, const struct watch_batch *batch)
{
    struct watch_stream *s = item->group->stream;
    while (item->segment_count > 0 && item->segments[item->segment_count - 1].batch == batch) {
        struct watch_segment *last = &item->segments[--item->segment_count];
        s->hub->pending -= last->count;
        watch_batch_unref(last->batch);
    }
}

void watch_wake(struct watch_stream *s)
{
    if (s->idle && !s->closed && s->head != NULL) {
        s->idle = false;
        s->hub->config.ready(s, s->arg);
    }
}

void watch_touch(struct watch_stream *s, int by)
{
    if (list_empty(&s->touched[by])) {
        list_push_back(&s->hub->touched[by], &s->touched[by]);
    }
}

void watch_flush_touched(struct watch_hub *h, int by)
{
    struct list *node;
    while ((node = list_pop_front(&h->touched[by])) != NULL) {
        watch_wake(container_of(node - by, struct watch_stream, touched));
    }
}

size_t watch_encode_header(const struct watch_hub *h, int64_t rev, uint8_t *out)
{
    const uint64_t fields[] = {h->config.cluster_id, h->config.member_id, (uint64_t)rev, h->term};
    uint8_t *p = out + 2;
    for (unsigned i = 0; i < 4; i++) {
        if (fields[i] != 0) {
            *p++ = (uint8_t)((i + 1) << 3);
            p += varint_put(p, fields[i]);
        }
    }
    out[0] = 0x0a;
    out[1] = (uint8_t)(p - out - 2); /* at most 44 */
    return (size_t)(p - out);
}

static uint8_t *put_int(uint8_t *p, uint8_t field, int64_t value)
{
    if (value != 0) {
        *p++ = (uint8_t)(field << 3);
        p += varint_put(p, (uint64_t)value);
    }
    return p;
}

size_t watch_encode_control(const struct watch_hub *h, const struct watch_control *control, uint8_t *out)
{
    uint8_t *p = out + 5;
    p += watch_encode_header(h, control->header_rev, p);
    p = put_int(p, 2, control->watch_id);
    p = put_int(p, 3, control->created);
    p = put_int(p, 4, control->canceled);
    p = put_int(p, 5, control->compact_rev);
    if (control->reason != NULL) {
        size_t len = strlen(control->reason);
        *p++ = 0x32;
        p += varint_put(p, len);
        memcpy(p, control->reason, len);
        p += len;
    }
    out[0] = 0;
    put_be32(out + 1, (uint32_t)(p - out - 5));
    return (size_t)(p - out);
}

void watch_answer(struct watch_stream *s, struct watch_control control)
{
    struct watch_item *item = watch_item_new(s, WATCH_ITEM_BYTES);
    uint8_t message[WATCH_CONTROL_BYTES + REASON_MAX];
    CHECK(control.reason == NULL || strlen(control.reason) <= REASON_MAX);
    item->len = watch_encode_control(s->hub, &control, message);
    item->data = item->len <= sizeof item->small ? item->small : mem_alloc(item->len);
    memcpy(item->data, message, item->len);
    item->cost += item->len;
    s->control_cost += item->cost;
    watch_wake(s);
}
