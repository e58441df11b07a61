/* What the files of the leases share; nobody else includes it. */
#ifndef KV_LEASE_INTERNAL_H
#define KV_LEASE_INTERNAL_H

#include "base/error.h"
#include "base/heap.h"
#include "base/sort.h"
#include "kv/keymap.h"
#include "kv/lease.h"

/* A key bound to a lease: found by its key, and at `slot` in its lease's array (unordered until somebody asks). */
struct lease_key {
    struct keymap_node by_key;
    struct lease *lease;
    size_t slot;
    size_t len;
    uint8_t key[];
};

struct lease {
    struct keymap_node by_id;
    uint8_t id_bytes[8]; /* big endian: the key of by_id */
    struct list all;
    uint64_t granted; /* 1 for the table's first, and so on: the order of `all` */
    int64_t id, ttl_s, remaining_ttl_s;
    struct lease_key **keys;
    size_t key_count, key_capacity;

    /* The clock half. A lease has an expiry exactly when `expires` is in the heap or `handed_out` moved its heap key.
     */
    uint64_t expiry_ms;       /* LEASE_FOREVER: none */
    struct heap_node expires; /* when to hand it out (again) */
    struct heap_node checkpoint;
    bool checkpoint_out; /* one was handed out and is not applied yet */
    uint32_t clears_out; /* of zero that renewals wait for: one handed out now would be applied behind them */
    struct list waiters;

    struct lease_revocation *revocation; /* while it is revoked */
};

/* First the keys are put in order, in slices, then handed out. */
struct lease_revocation {
    struct sort sort; /* has the lease's array until `sorted` */
    bool sorted;
    size_t next;              /* handing out */
    struct lease_key *handed; /* freed by the next call */
};

/* How many expiries were put into which second by a promotion: an open hash table. */
struct lease_second {
    uint64_t second; /* + 1; 0 = free slot */
    uint64_t next;   /* where to look when this one is full */
    uint32_t count;
};
struct lease_spread {
    struct lease_second *slots;
    size_t mask, used;
};

struct lease_table {
    struct lease_config config;
    struct keymap by_id, by_key;
    struct list all;
    uint64_t granted;    /* leases so far */
    struct list queries; /* struct lease_query.node */
    size_t keys;
    struct heap expiries, checkpoints;
    bool primary;
    /* Promotion in slices: leases from `cursor` on have no expiry yet. */
    struct list *cursor; /* NULL = done */
    uint64_t promote_base_ms;
    struct lease_spread spread;
    bool spreading;
    struct lease_stats stats;
};

struct lease *lease_find(const struct lease_table *t, int64_t id);
void lease_set_expiry(struct lease_table *t, struct lease *l, uint64_t expiry_ms);
void lease_schedule_checkpoint(struct lease_table *t, struct lease *l, uint64_t now_ms);
void lease_clock_forget(struct lease_table *t, struct lease *l); /* it is being removed */
void lease_tell_waiters(struct lease *l, int error);
void lease_spread_free(struct lease_spread *s);
void lease_revoke_abandon(struct lease *l); /* back to an ordinary array of the keys not handed out */
void lease_remove(struct lease_table *t, struct lease *l);
void lease_query_passes(struct lease_table *t, const struct lease *l); /* it is being removed */
void lease_query_lose(struct lease_table *t);                          /* the table is being freed */
/* ERR_CORRUPT_DATA, or 0 with the three fields. */
int lease_row_decode(struct bytes key, struct bytes value, int64_t *id, int64_t *ttl_s, int64_t *remaining_ttl_s);
void lease_key_free(struct lease_table *t, struct lease_key *k);
/* Seconds that the lease runs from the next promotion on. */
static inline int64_t lease_run_s(const struct lease *l)
{
    return l->remaining_ttl_s > 0 ? l->remaining_ttl_s : l->ttl_s;
}

#endif
