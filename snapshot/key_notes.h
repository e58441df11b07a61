/* The newest revision of each key, for whoever goes through the rows of bucket `key` in their order: keys as 128-bit
 * hashes, so that a million of them take 32 MB. */
#ifndef SNAPSHOT_KEY_NOTES_H
#define SNAPSHOT_KEY_NOTES_H

#include "base/bytes.h"

struct key_note {
    uint64_t hash[2]; /* the second is never 0 in one that is used */
    uint64_t main;
    uint32_t sub;
    bool live;
};

enum { KEY_NOTES_QUEUE = 16 };

/* Zero-initialised is empty. */
struct key_notes {
    struct key_note *slots;
    size_t mask, used;
    size_t live; /* keys whose newest change is no tombstone: after key_notes_settle */
    /* Rows whose slot is on its way from memory. */
    struct key_note queue[KEY_NOTES_QUEUE];
    unsigned first, queued;
};

/* Of a row: its key is a revision of 17 or 18 bytes (kv/row.h); a value that is no KeyValue counts as one without a
 * key. */
void key_notes_take(struct key_notes *notes, struct bytes revision, struct bytes value);
/* After the last row. */
void key_notes_settle(struct key_notes *notes);
/* Is this row's change its key's newest, and no tombstone? */
bool key_notes_is_newest(const struct key_notes *notes, struct bytes revision, struct bytes value);
bool key_notes_is_tombstone(struct bytes revision);
void key_notes_free(struct key_notes *notes);

/* Field 1 of a KeyValue; false: it is none. */
bool key_notes_key(struct bytes value, struct bytes *key);

#endif
