#include "snapshot/status.h"

#include "base/crc32c.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

/* --- the keys that live, as 128-bit hashes: a deleted one stays in its slot and counts no more --- */

struct key_slot {
    unsigned __int128 hash; /* 0 = free */
    bool live;
};

struct snapshot_key_set {
    struct key_slot *slots;
    size_t mask, used, live;
};

static unsigned __int128 key_hash(struct bytes key)
{
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    unsigned __int128 h = (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;
    for (size_t i = 0; i < key.len; i++) {
        h = (h ^ key.data[i]) * prime;
    }
    return h == 0 ? 1 : h;
}

static struct key_slot *slot_of(const struct snapshot_key_set *set, unsigned __int128 hash)
{
    size_t at = (size_t)(hash ^ hash >> 64) & set->mask;
    while (set->slots[at].hash != 0 && set->slots[at].hash != hash) {
        at = (at + 1) & set->mask;
    }
    return &set->slots[at];
}

static void set_grow(struct snapshot_key_set *set)
{
    struct snapshot_key_set old = *set;
    set->mask = old.slots == NULL ? 1023 : old.mask * 2 + 1;
    set->slots = mem_zalloc((set->mask + 1) * sizeof *set->slots);
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++) {
        if (old.slots[i].hash != 0) {
            *slot_of(set, old.slots[i].hash) = old.slots[i];
        }
    }
    free(old.slots);
}

static void set_note(struct snapshot_key_set *set, struct bytes key, bool live)
{
    if (set->slots == NULL || set->used * 4 > set->mask * 3) {
        set_grow(set);
    }
    unsigned __int128 hash = key_hash(key);
    struct key_slot *slot = slot_of(set, hash);
    set->used += slot->hash == 0;
    set->live += (size_t)live - (size_t)slot->live;
    *slot = (struct key_slot){.hash = hash, .live = live};
}

/* --- rows --- */

/* Field 1 of a KeyValue. */
static bool row_key(struct bytes row, struct bytes *key)
{
    enum { LENGTH = 2, KEY = 1 };
    *key = (struct bytes){0};
    while (row.len > 0) {
        uint64_t tag, n;
        size_t used = varint_get(row, &tag);
        row = bytes_of(row.data + used, row.len - used);
        size_t more = used == 0 ? 0 : varint_get(row, &n);
        if (more == 0 || ((tag & 7) != 0 && (tag & 7) != LENGTH)) {
            return false;
        }
        row = bytes_of(row.data + more, row.len - more);
        if ((tag & 7) == LENGTH) {
            if (n > row.len) {
                return false;
            }
            *key = tag >> 3 == KEY ? bytes_of(row.data, (size_t)n) : *key;
            row = bytes_of(row.data + n, row.len - (size_t)n);
        }
    }
    return true;
}

static int refuse(struct snapshot_status_visitor *v, const char *reason)
{
    v->reason = reason;
    return ERR_CORRUPT_DATA;
}

static int note_revision(struct snapshot_status_visitor *v, struct bytes key, struct bytes value)
{
    enum { PUT = 17, TOMBSTONE = 18 };
    struct bytes name;
    if (key.len != PUT && (key.len != TOMBSTONE || key.data[PUT] != 't')) {
        return refuse(v, "a key of bucket key is no revision");
    }
    if (!row_key(value, &name)) {
        return refuse(v, "a value of bucket key is no KeyValue");
    }
    v->status.revision = (int64_t)get_be64(key.data);
    set_note(v->keys, name, key.len == PUT);
    return 0;
}

static void feed(struct snapshot_status *status, struct bytes b)
{
    status->hash = crc32c(status->hash, b.data, b.len);
}

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct snapshot_status_visitor *v = (struct snapshot_status_visitor *)visitor;
    feed(&v->status, name);
    v->bucket = bytes_equal(name, bytes_str("key"))    ? STATUS_KEY
                : bytes_equal(name, bytes_str("meta")) ? STATUS_META
                                                       : STATUS_OTHER;
    return 0;
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct snapshot_status_visitor *v = (struct snapshot_status_visitor *)visitor;
    feed(&v->status, key);
    feed(&v->status, value);
    if (v->bucket == STATUS_KEY) {
        return note_revision(v, key, value);
    }
    if (v->bucket == STATUS_META && bytes_equal(key, bytes_str("storageVersion"))) {
        snprintf(v->status.version, sizeof v->status.version, "%.*s", (int)value.len, (const char *)value.data);
    }
    return 0;
}

void snapshot_status_begin(struct snapshot_status_visitor *v)
{
    *v = (struct snapshot_status_visitor){.visitor = {.bucket = visit_bucket, .row = visit_row}};
    v->keys = mem_zalloc(sizeof *v->keys);
}

void snapshot_status_end(struct snapshot_status_visitor *v, uint64_t bytes)
{
    v->status.keys = v->keys->live;
    v->status.size = bytes;
}

void snapshot_status_free(struct snapshot_status_visitor *v)
{
    free(v->keys->slots);
    free(v->keys);
    v->keys = NULL;
}
