#include "base/check.h"
#include "kv/watch_internal.h"
#include <stdlib.h>

/* Tags of WatchResponse.events, Event.type, Event.kv, Event.prev_kv, KeyValue.key, KeyValue.mod_revision. */
enum { TAG_EVENTS = 0x5a, TAG_TYPE = 0x08, TAG_KV = 0x12, TAG_PREV_KV = 0x1a, TAG_KEY = 0x0a, TAG_MOD = 0x18 };

/* The first block fits its event, as most revisions have one; later ones grow. */
#define SECOND_BLOCK ((size_t)4096)
#define LARGEST_BLOCK ((size_t)256 * 1024)

struct watch_batch *watch_batch_new(struct watch_hub *h, int64_t rev)
{
    struct watch_batch *b = mem_zalloc(sizeof *b);
    b->hub = h;
    b->rev = rev;
    b->refs = 1;
    b->events = &b->one;
    b->capacity = 1;
    b->blocks = &b->one_block;
    b->block_capacity = 1;
    b->bytes = sizeof *b;
    h->held += b->bytes;
    return b;
}

struct watch_batch *watch_batch_ref(struct watch_batch *b)
{
    b->refs++;
    return b;
}

void watch_batch_unref(struct watch_batch *b)
{
    if (--b->refs > 0) {
        return;
    }
    b->hub->held -= b->bytes;
    for (uint32_t i = 0; i < b->count; i++) {
        shared_unref(b->events[i].prev);
    }
    for (uint32_t i = 0; i < b->block_count; i++) {
        shared_unref(b->blocks[i]);
    }
    if (b->events != &b->one) {
        free(b->events);
    }
    if (b->blocks != &b->one_block) {
        free(b->blocks);
    }
    free(b);
}

static void account(struct watch_batch *b, size_t bytes)
{
    b->bytes += bytes;
    b->hub->held += bytes;
    if (b->in_ring) {
        b->hub->ring.bytes += bytes;
    }
}

static struct watch_event *add_event(struct watch_batch *b)
{
    if (b->count == b->capacity) {
        CHECK(b->capacity <= UINT32_MAX / 2, "too many events in a revision");
        uint32_t capacity = b->capacity * 2 < 8 ? 8 : b->capacity * 2;
        struct watch_event *events = mem_realloc(b->events == &b->one ? NULL : b->events, capacity * sizeof *events);
        if (b->events == &b->one) {
            events[0] = b->one;
        }
        account(b, (capacity - b->capacity) * sizeof *events);
        b->events = events;
        b->capacity = capacity;
    }
    struct watch_event *e = &b->events[b->count++];
    *e = (struct watch_event){0};
    return e;
}

/* Room for len bytes in one block; *offset says where. */
static struct shared *reserve(struct watch_batch *b, size_t len, size_t *offset)
{
    struct shared *last = b->block_count == 0 ? NULL : b->blocks[b->block_count - 1];
    if (last == NULL || last->len - b->block_used < len) {
        size_t size = last == NULL ? len : SECOND_BLOCK << (b->block_count < 7 ? b->block_count - 1 : 6);
        size = size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
        size = size < len ? len : size;
        if (b->block_count == b->block_capacity) {
            uint32_t capacity = b->block_capacity * 2 < 8 ? 8 : b->block_capacity * 2;
            struct shared **blocks =
                mem_realloc(b->blocks == &b->one_block ? NULL : b->blocks, capacity * sizeof *blocks);
            if (b->blocks == &b->one_block) {
                blocks[0] = b->one_block;
            }
            b->blocks = blocks;
            b->block_capacity = capacity;
        }
        last = shared_new(size);
        account(b, size + sizeof *last);
        b->blocks[b->block_count++] = last;
        b->block_used = 0;
    }
    *offset = b->block_used;
    b->block_used += len;
    return last;
}

static void set_prev(struct watch_batch *b, struct watch_event *e, struct bytes prev)
{
    size_t head = 1 + varint_size(prev.len);
    e->prev = shared_new(head + prev.len);
    e->prev->data[0] = TAG_PREV_KV;
    varint_put(e->prev->data + 1, prev.len);
    memcpy(e->prev->data + head, prev.data, prev.len);
    e->prev_state = WATCH_PREV_THERE;
    account(b, sizeof *e->prev + e->prev->len);
}

/* Writes head, type and the kv field's head; returns where the kv's bytes go, and their offset in the block. */
static uint8_t *begin_event(struct watch_batch *b, struct watch_event *e, size_t kv_len, size_t *kv_offset)
{
    size_t type_len = e->is_delete ? 2 : 0;
    size_t body_len = type_len + 1 + varint_size(kv_len) + kv_len;
    size_t head_len = 1 + varint_size(body_len), offset;
    CHECK(body_len <= UINT32_MAX / 2);
    e->block = reserve(b, head_len + body_len, &offset);
    e->offset = (uint32_t)offset;
    e->head_len = (uint8_t)head_len;
    e->body_len = (uint32_t)body_len;
    uint8_t *p = e->block->data + offset;
    *p++ = TAG_EVENTS;
    p += varint_put(p, body_len);
    if (e->is_delete) {
        *p++ = TAG_TYPE;
        *p++ = 1;
    }
    *p++ = TAG_KV;
    p += varint_put(p, kv_len);
    *kv_offset = (size_t)(p - e->block->data);
    return p;
}

void watch_batch_put(struct watch_batch *b, struct bytes key, struct bytes kv, bool created, struct bytes prev)
{
    struct watch_event *e = add_event(b);
    size_t kv_offset;
    memcpy(begin_event(b, e, kv.len, &kv_offset), kv.data, kv.len);
    /* KeyValue begins with the key: tag, length, bytes. */
    e->key_offset = (uint32_t)(kv_offset + 1 + varint_size(key.len));
    e->key_len = (uint32_t)key.len;
    CHECK(bytes_equal(watch_event_key(e), key), "the row does not begin with its key");
    if (created) {
        e->prev_state = WATCH_PREV_ABSENT;
    } else if (prev.data != NULL) {
        set_prev(b, e, prev);
    }
}

/* A deletion carries KeyValue {key, mod_revision} (mvcc.md "Events"). */
void watch_batch_delete(struct watch_batch *b, struct bytes key, struct bytes prev)
{
    struct watch_event *e = add_event(b);
    e->is_delete = true;
    size_t kv_len = 1 + varint_size(key.len) + key.len + 1 + varint_size((uint64_t)b->rev), kv_offset;
    uint8_t *p = begin_event(b, e, kv_len, &kv_offset);
    *p++ = TAG_KEY;
    p += varint_put(p, key.len);
    e->key_offset = (uint32_t)(p - e->block->data);
    e->key_len = (uint32_t)key.len;
    memcpy(p, key.data, key.len);
    p += key.len;
    *p++ = TAG_MOD;
    varint_put(p, (uint64_t)b->rev);
    if (prev.data != NULL) {
        set_prev(b, e, prev);
    }
}

void watch_event_want_prev(struct watch_batch *b, struct watch_event *e)
{
    if (e->prev_state != WATCH_PREV_UNKNOWN) {
        return;
    }
    const struct watch_source *source = &b->hub->config.source;
    struct buffer row = {0};
    e->prev_state = WATCH_PREV_ABSENT; /* also when it is compacted away */
    if (source->key_at(source->arg, watch_event_key(e), b->rev - 1, &row) == 0) {
        set_prev(b, e, buffer_bytes(&row));
        b->hub->looked_up += row.len;
    }
    buffer_free(&row);
}

/* Reads KeyValue's fields 1 (key), 2 (create_revision), 3 (mod_revision), which stand in front in ascending order. */
bool watch_row_key(struct bytes row, struct bytes *key, bool *created)
{
    uint64_t numbers[2] = {0}, len;
    if (row.len == 0 || row.data[0] != TAG_KEY) {
        return false;
    }
    size_t n = varint_get(bytes_of(row.data + 1, row.len - 1), &len);
    if (n == 0 || len > row.len - 1 - n) {
        return false;
    }
    *key = bytes_of(row.data + 1 + n, len);
    struct bytes rest = bytes_of(key->data + len, row.len - 1 - n - len);
    for (uint8_t field = 2; field <= 3 && rest.len > 0 && rest.data[0] == field << 3; field++) {
        n = varint_get(bytes_of(rest.data + 1, rest.len - 1), &numbers[field - 2]);
        if (n == 0) {
            return false;
        }
        rest = bytes_of(rest.data + 1 + n, rest.len - 1 - n);
    }
    *created = numbers[0] == numbers[1];
    return true;
}

/* --- the ring ----------------------------------------------------------------------------------------------------- */

void watch_ring_push(struct watch_ring *r, struct watch_batch *b)
{
    if (r->slots == NULL || r->count > r->mask) {
        size_t capacity = r->slots == NULL ? 64 : (r->mask + 1) * 2;
        struct watch_batch **slots = mem_alloc(capacity * sizeof(struct watch_batch *));
        for (size_t i = 0; i < r->count; i++) {
            slots[i] = r->slots[(r->head + i) & r->mask];
        }
        free(r->slots);
        r->slots = slots;
        r->mask = capacity - 1;
        r->head = 0;
    }
    CHECK(b->rev == r->first + (int64_t)r->count, "revision %lld is out of turn in the ring", (long long)b->rev);
    r->slots[(r->head + r->count++) & r->mask] = b;
    r->bytes += b->bytes;
    b->in_ring = true;
}

void watch_ring_drop(struct watch_ring *r)
{
    struct watch_batch *b = r->slots[r->head];
    r->head = (r->head + 1) & r->mask;
    r->count--;
    r->first++;
    r->bytes -= b->bytes;
    b->in_ring = false;
    watch_batch_unref(b);
}

void watch_ring_clear(struct watch_ring *r, int64_t next)
{
    while (r->count > 0) {
        watch_ring_drop(r);
    }
    free(r->slots);
    *r = (struct watch_ring){.first = next};
}

struct watch_batch *watch_ring_get(const struct watch_ring *r, int64_t rev)
{
    CHECK(rev >= r->first && rev < r->first + (int64_t)r->count, "revision %lld is not in the ring", (long long)rev);
    return r->slots[(r->head + (size_t)(rev - r->first)) & r->mask];
}
