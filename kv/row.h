/* A row of table `key`: one change of one key, as it stands in the store, in pending and in events. The bytes are made
 * once, at apply, in the memory of the batch that brings them to the store; readers find them there until then.
 *
 * Revision key (backend.md, "key"): 17 bytes `main i64 BE | '_' | sub i64 BE` for a put, 18 with a 't' behind for a
 * tombstone. Value: a mvccpb.KeyValue with its fields ascending and zero fields left out; a tombstone's has only the
 * key. Two members that applied the same log hold the same bytes. */
#ifndef KV_ROW_H
#define KV_ROW_H

#include "base/arena.h"
#include "base/bytes.h"

#define ROW_REVISION_MAX 18

/* The position of a change in the history of the store: main is the transaction, sub the change in it. */
struct revision {
    int64_t main;
    int64_t sub;
};

static inline int revision_compare(struct revision a, struct revision b)
{
    return a.main != b.main ? (a.main < b.main ? -1 : 1) : (a.sub > b.sub) - (a.sub < b.sub);
}

/* Writes the row's key into out (ROW_REVISION_MAX bytes); returns 17 or 18. */
size_t row_revision_put(uint8_t *out, struct revision revision, bool tombstone);
/* 0, or ERR_CORRUPT_DATA when these are not 17 or 18 bytes of that form. */
int row_revision_get(struct bytes in, struct revision *revision, bool *tombstone);

/* Immutable once made: the store thread reads it too. */
struct row {
    uint32_t len;                 /* of data */
    uint32_t key_offset, key_len; /* the user's key inside data */
    struct revision revision;
    uint8_t revision_len; /* 17, or 18 = tombstone */
    uint8_t revision_bytes[ROW_REVISION_MAX];
    uint8_t data[]; /* the KeyValue */
};

static inline bool row_tombstone(const struct row *row)
{
    return row->revision_len == ROW_REVISION_MAX;
}

static inline struct bytes row_bytes(const struct row *row)
{
    return bytes_of(row->data, row->len);
}

static inline struct bytes row_key(const struct row *row)
{
    return bytes_of(row->data + row->key_offset, row->key_len);
}

/* What a KeyValue says. key and value are views into the bytes it was read from. */
struct row_fields {
    struct bytes key, value;
    int64_t create_revision, mod_revision, version, lease;
};

/* Length of the KeyValue that row_encode writes. */
size_t row_size(const struct row_fields *fields);
size_t row_encode(uint8_t *out, const struct row_fields *fields);
/* Reads a KeyValue: 0 or ERR_CORRUPT_DATA. Accepts what any encoder of protobuf may write; unknown fields are skipped.
 */
int row_decode(struct bytes in, struct row_fields *fields);

/* A new row in the arena. mod_revision must equal revision.main for a put; for a tombstone only the key counts. */
struct row *row_new(struct arena *arena, struct revision revision, bool tombstone, const struct row_fields *fields);

#endif
