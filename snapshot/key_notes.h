/* The newest revision of each key, for whoever goes through the rows of bucket `key` in their order: keys as 128-bit
 * hashes, so that a million of them take 32 MB. */
#ifndef SNAPSHOT_KEY_NOTES_H
#define SNAPSHOT_KEY_NOTES_H

#include "base/bytes.h"

struct key_note;

/* Zero-initialised is empty. */
struct key_notes {
    struct key_note *slots;
    size_t mask, used;
    size_t live; /* keys whose newest change is no tombstone */
};

/* Of a row: its key is a revision of 17 or 18 bytes (kv/row.h); a value that is no KeyValue counts as one without a
 * key. */
void key_notes_take(struct key_notes *notes, struct bytes revision, struct bytes value);
/* Is this row's change its key's newest, and no tombstone? */
bool key_notes_is_newest(const struct key_notes *notes, struct bytes revision, struct bytes value);
bool key_notes_is_tombstone(struct bytes revision);
void key_notes_free(struct key_notes *notes);

/* Field 1 of a KeyValue; false: it is none. */
bool key_notes_key(struct bytes value, struct bytes *key);

#endif
