#include "snapshot/key_notes.h"

#include "base/hash128.h"
#include <stdlib.h>

enum { PUT = 17, FIRST_MASK = 4095 };

bool key_notes_is_tombstone(struct bytes revision)
{
    return revision.len > PUT;
}

bool key_notes_key(struct bytes row, struct bytes *key)
{
    enum { VARINT = 0, LENGTH = 2, KEY = 1 };
    *key = (struct bytes){0};
    while (row.len > 0) {
        uint64_t tag, n;
        size_t used = varint_get(row, &tag);
        row = bytes_of(row.data + used, row.len - used);
        size_t more = used == 0 ? 0 : varint_get(row, &n);
        if (more == 0 || ((tag & 7) != VARINT && (tag & 7) != LENGTH)) {
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

static size_t first_slot(const struct key_notes *notes, const uint64_t hash[2])
{
    return (size_t)(hash[0] ^ hash[1] >> 7) & notes->mask;
}

static struct key_note *slot_of(const struct key_notes *notes, const uint64_t hash[2])
{
    size_t at = first_slot(notes, hash);
    while (notes->slots[at].hash[1] != 0 &&
           (notes->slots[at].hash[0] != hash[0] || notes->slots[at].hash[1] != hash[1])) {
        at = (at + 1) & notes->mask;
    }
    return &notes->slots[at];
}

static void grow(struct key_notes *notes)
{
    struct key_notes old = *notes;
    notes->mask = old.slots == NULL ? FIRST_MASK : old.mask * 2 + 1;
    notes->slots = mem_zalloc((notes->mask + 1) * sizeof *notes->slots);
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++) {
        if (old.slots[i].hash[1] != 0) {
            *slot_of(notes, old.slots[i].hash) = old.slots[i];
        }
    }
    free(old.slots);
}

static struct key_note note_of(struct bytes revision, struct bytes value)
{
    struct bytes key;
    struct key_note note = {.main = get_be64(revision.data),
                            .sub = (uint32_t)get_be64(revision.data + 9),
                            .live = !key_notes_is_tombstone(revision)};
    key_notes_key(value, &key);
    hash128(key, note.hash);
    note.hash[1] |= 1; /* zero is a free slot */
    return note;
}

static void settle_one(struct key_notes *notes)
{
    const struct key_note *note = &notes->queue[notes->first];
    struct key_note *slot = slot_of(notes, note->hash);
    notes->used += slot->hash[1] == 0;
    notes->live += (size_t)note->live - (size_t)slot->live;
    *slot = *note;
    notes->first = (notes->first + 1) % KEY_NOTES_QUEUE;
    notes->queued--;
}

void key_notes_settle(struct key_notes *notes)
{
    while (notes->queued > 0) {
        settle_one(notes);
    }
}

void key_notes_take(struct key_notes *notes, struct bytes revision, struct bytes value)
{
    if (notes->slots == NULL || (notes->used + KEY_NOTES_QUEUE) * 4 > notes->mask * 3) {
        key_notes_settle(notes);
        grow(notes);
    }
    if (notes->queued == KEY_NOTES_QUEUE) {
        settle_one(notes);
    }
    struct key_note *note = &notes->queue[(notes->first + notes->queued++) % KEY_NOTES_QUEUE];
    *note = note_of(revision, value);
    __builtin_prefetch(&notes->slots[first_slot(notes, note->hash)], 1);
}

bool key_notes_is_newest(const struct key_notes *notes, struct bytes revision, struct bytes value)
{
    if (notes->slots == NULL) {
        return false;
    }
    struct key_note note = note_of(revision, value);
    const struct key_note *slot = slot_of(notes, note.hash);
    return slot->hash[1] != 0 && slot->live && slot->main == note.main && slot->sub == note.sub;
}

void key_notes_free(struct key_notes *notes)
{
    free(notes->slots);
    *notes = (struct key_notes){0};
}
