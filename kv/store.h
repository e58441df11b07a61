/* The inside of `struct kv` (kv/kv.h), for the kv/ files that make it up and for nobody else. One thread. */
#ifndef KV_STORE_H
#define KV_STORE_H

#include "kv/alarm.h"
#include "kv/auth.h"
#include "kv/batch.h"
#include "kv/compact.h"
#include "kv/index.h"
#include "kv/kv.h"
#include "kv/members.h"
#include "kv/pending.h"
#include "kv/version.h"

/* The write transaction of the entry being applied: its changes get revision main, sub 0, 1, 2 … They are in index and
 * pending at once, but readers go by kv->revision, which moves when the transaction ends. */
struct store_write {
    int64_t main; /* kv->revision + 1 */
    int64_t sub;  /* changes so far */
};

struct kv {
    struct kv_config config;
    struct backend *backend;
    struct index *index;
    struct lease_table *leases;
    struct members members;
    struct alarms alarms;
    struct versions versions;
    struct auth auth;

    int64_t revision;         /* current: of the last finished write transaction */
    int64_t compact_revision; /* -1 = never compacted */
    uint64_t applied_index, applied_term;
    uint64_t stored_index, stored_term;

    struct store_write write;
    bool applying; /* an entry is between begin and done */
    bool broken;   /* a row was missing or damaged: the member must end */

    struct pending pending;
    struct batches batches;
    struct list pins; /* of struct kv_pin, ascending revision */
    struct compactions compactions;
};

/* --- pins: readers that may still look at a revision --- */
void store_pin(struct kv *kv, struct kv_pin *pin, int64_t revision);
void store_unpin(struct kv_pin *pin);
int64_t store_oldest_pin(const struct kv *kv); /* INT64_MAX = none */

/* --- rows --- */

/* Gives rows out as views, from pending or through one read transaction that lasts until store_rows_end. Zeroed at
 * first. Short: within one step. */
struct store_rows {
    struct backend_read *read;
    size_t bytes; /* read from the backend so far */
};
/* 0 or ERR_CORRUPT_DATA (not there, or its checksum is wrong: both mean damage). */
int store_row(struct kv *kv, struct store_rows *rows, struct revision revision, struct bytes *row);
void store_rows_end(struct store_rows *rows);

/* --- writing: only while an entry is applied --- */

static inline bool store_write_dirty(const struct kv *kv)
{
    return kv->write.sub > 0;
}
/* The newest revision that the index knows: inside a write transaction that has changed something, that one. */
static inline int64_t store_write_revision(const struct kv *kv)
{
    return kv->revision + (store_write_dirty(kv) ? 1 : 0);
}
void store_write_begin(struct kv *kv);
/* key NULL = new (index_find). lease: the key's from now on, must exist or be 0. */
void store_write_put(struct kv *kv, struct index_key *key, struct bytes key_bytes, struct bytes value, int64_t lease);
/* The key must be live. keep_lease: the caller detaches (or has detached) it itself. */
void store_write_delete(struct kv *kv, struct index_key *key, bool keep_lease);
/* Makes the changes visible and hands their events out. */
void store_write_end(struct kv *kv);

static inline struct revision index_change_revision(const struct index_change *change)
{
    return (struct revision){change->main, change->sub};
}

#endif
