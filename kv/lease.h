/* Leases: which keys live how long. A pure data structure of the core thread: no clock, no I/O, no log. Time comes in
 * as now_ms, monotonic milliseconds of any origin; TTLs are seconds, as on the wire.
 *
 * Two halves. The replicated half (which leases exist, their TTL, which keys they hold) changes only by apply and is
 * the same on every member. The clock half (when a lease expires) exists only on the leader ("primary"): lease_promote
 * starts it, lease_demote forgets it; elsewhere a lease never expires. Rules: mvcc.md "Leases", limits.tsv area lease.
 *
 * Law: no lease ever expires sooner than the time its holder was told. Whatever is uncertain makes it longer: a
 * millisecond that has begun when a lease is renewed is over before the lease is.
 *
 * The table copies all bytes that it is given. Views that it returns are valid until the next call that changes it. */
#ifndef KV_LEASE_H
#define KV_LEASE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/list.h"

#define LEASE_TTL_MAX_S 9000000000LL /* a grant above it is ERR_LEASE_TTL_TOO_LARGE */
#define LEASE_EXPIRED_MAX 500        /* leases handed out by one lease_expired; call it at most every 500 ms */
#define LEASE_SPREAD_COUNT 1000      /* from so many leases on a promotion spreads the expiries … */
#define LEASE_SPREAD_PER_SECOND 750  /* … to so many a second */
#define LEASE_FOREVER UINT64_MAX     /* a deadline that never comes */

struct lease_config {
    int64_t min_ttl_s;               /* ceil(1.5 x election timeout); lower TTLs are raised silently; 0 = 2 */
    uint64_t retry_ms;               /* an expired lease that nobody revoked is handed out again after it; 0 = 7000 */
    uint64_t checkpoint_interval_ms; /* 0 = no checkpoints (etcd's gate LeaseCheckpoint is off) */
    uint64_t hash_seed;              /* spreads the keys in the hash table; any number */
};

struct lease_table;
struct lease_table *lease_table_new(const struct lease_config *config);
void lease_table_free(struct lease_table *t);

/* --- the replicated half: called by apply and at start ----------------------------------------------------------- */

/* Makes a lease; *granted_ttl_s (may be NULL) is the TTL after the minimum. now_ms counts only on the primary.
 * Errors, in etcd's order: ERR_LEASE_NOT_FOUND (id 0), ERR_LEASE_TTL_TOO_LARGE, ERR_LEASE_EXIST. */
int lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, uint64_t now_ms, int64_t *granted_ttl_s);

bool lease_exists(const struct lease_table *t, int64_t id);

/* Binds a key to a lease, away from the one that had it. ERR_LEASE_NOT_FOUND. A key belongs to at most one lease. */
int lease_attach(struct lease_table *t, int64_t id, struct bytes key);
/* Unbinds a key from whatever lease it has: the lease's id, or 0 if it had none. */
int64_t lease_detach(struct lease_table *t, struct bytes key);
/* The lease of a key; 0 = none. */
int64_t lease_of(const struct lease_table *t, struct bytes key);

/* Revoking in slices. Each call hands out the next key of the lease in byte order, already detached, for the caller to
 * delete; *key is valid until the next call. *budget is reduced by the work done; LEASE_MORE = used up, call again.
 * LEASE_END: all keys were handed out and the lease is gone (waiters were told). The lease must exist; between the
 * first call and LEASE_END nothing may be attached to it, and nothing else of it changes. No key: LEASE_END at once.
 *     while ((r = lease_revoke_next(t, id, &budget, &key)) == LEASE_KEY) delete(key); */
enum lease_revoke { LEASE_KEY, LEASE_MORE, LEASE_END };
enum lease_revoke lease_revoke_next(struct lease_table *t, int64_t id, size_t *budget, struct bytes *key);

/* Applies one leasepb.LeaseCheckpoint: the remaining TTL to count from after the next promotion; 0 = the full TTL
 * again. ERR_LEASE_NOT_FOUND. The caller stores the row again (lease_row) if the cluster version is >= 3.6. */
int lease_checkpoint(struct lease_table *t, int64_t id, int64_t remaining_ttl_s, uint64_t now_ms);

/* Rows of the table `lease` (backend.md): key = 8-byte big endian id, value = leasepb.Lease. */
#define LEASE_ROW_KEY_BYTES 8
#define LEASE_ROW_MAX_BYTES 33
struct lease_row {
    uint8_t key[LEASE_ROW_KEY_BYTES];
    uint8_t value[LEASE_ROW_MAX_BYTES];
    size_t value_len;
};
/* false = no such lease. */
bool lease_row(const struct lease_table *t, int64_t id, struct lease_row *out);
void lease_row_key(int64_t id, uint8_t key[LEASE_ROW_KEY_BYTES]);
/* At start: takes one row in. ERR_CORRUPT_DATA (key or value unreadable, ids differ), ERR_LEASE_EXIST. Keys are
 * attached afterwards with lease_attach, one for each live key that names a lease. */
int lease_load(struct lease_table *t, struct bytes row_key, struct bytes row_value);

size_t lease_count(const struct lease_table *t);

/* --- questions --------------------------------------------------------------------------------------------------- */

struct lease_info {
    int64_t id;
    int64_t granted_ttl_s;
    int64_t
        ttl_s; /* whole seconds left (floor, may be negative while the revoke is on its way); granted if not primary */
    uint64_t expiry_ms; /* LEASE_FOREVER if not primary */
    size_t keys;
};
/* ERR_LEASE_NOT_FOUND (TimeToLive answers TTL -1 then). */
int lease_info(const struct lease_table *t, int64_t id, uint64_t now_ms, struct lease_info *out);

/* All leases, and all keys of a lease: kv/lease_query.h. */

/* --- the clock half: the leader only ------------------------------------------------------------------------------ */

/* This member leads: call it when the own term's empty entry is applied. Each lease gets now + extend_ms + remaining
 * TTL (of its checkpoint, or full). The work is done by lease_promote_step in slices; until a lease's turn has come it
 * does not expire. From LEASE_SPREAD_COUNT leases on at most LEASE_SPREAD_PER_SECOND get the same second. */
void lease_promote(struct lease_table *t, uint64_t now_ms, uint64_t extend_ms);
/* true = more to do. */
bool lease_promote_step(struct lease_table *t, size_t budget);
/* Leadership is gone: nothing expires any more; waiters get ERR_NOT_PRIMARY. */
void lease_demote(struct lease_table *t);
bool lease_is_primary(const struct lease_table *t);

/* Keepalive. 0 with *ttl_s = granted TTL; ERR_NOT_PRIMARY; ERR_LEASE_NOT_FOUND (the answer is TTL 0); ERR_AGAIN with
 * *clear_checkpoint false: expired but not yet revoked, etcd answers only when that is decided: use lease_wait.
 * ERR_AGAIN with *clear_checkpoint true: the lease has a checkpoint, or one on its way: propose one of 0 and renew
 * again when it is applied. clear_checkpoint NULL: checkpoints stay as they are (tests). */
int lease_renew(struct lease_table *t, int64_t id, uint64_t now_ms, int64_t *ttl_s, bool *clear_checkpoint);

/* Told once, when the lease is revoked (ERR_LEASE_NOT_FOUND) or this member stops to lead (ERR_NOT_PRIMARY). The waiter
 * is the caller's; it is out of the table when done is called. lease_unwait takes it out unheard. */
struct lease_waiter {
    struct list node;
    void (*done)(struct lease_waiter *w, int error);
};
/* 0, or ERR_LEASE_NOT_FOUND / ERR_NOT_PRIMARY at once (done is not called then). */
int lease_wait(struct lease_table *t, int64_t id, struct lease_waiter *waiter);
void lease_unwait(struct lease_waiter *waiter);

/* Leases whose time is up, at most `max` (LEASE_EXPIRED_MAX), for the leader to propose LeaseRevoke for (as root, at
 * most 16 in flight). Each is handed out again after retry_ms if it still exists. */
size_t lease_expired(struct lease_table *t, uint64_t now_ms, int64_t *ids, size_t max);

/* Leases whose checkpoint is due, with the remaining whole seconds (rounded up), for the leader to propose. */
struct lease_checkpoint_due {
    int64_t id, remaining_ttl_s;
};
size_t lease_checkpoints(struct lease_table *t, uint64_t now_ms, struct lease_checkpoint_due *out, size_t max);

/* When lease_expired, lease_checkpoints or lease_promote_step next has something to do; LEASE_FOREVER = never. */
uint64_t lease_deadline(const struct lease_table *t);

struct lease_stats {
    uint64_t granted, revoked, renewed,
        expired; /* totals since start: etcd_debugging_lease_*_total, server_lease_expired */
    size_t leases, keys;
};
struct lease_stats lease_stats(const struct lease_table *t);

#endif
