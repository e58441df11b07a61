/* The replicated half of the leases, and questions. Those with long answers are in lease_query.c,
 * the clock half is in lease_clock.c, revoking in lease_revoke.c, rows in lease_row.c. */
#include "kv/lease.h"

#include "base/check.h"
#include "kv/lease_internal.h"
#include <stdlib.h>

struct lease_table *lease_table_new(const struct lease_config *config)
{
    struct lease_table *t = mem_zalloc(sizeof *t);
    t->config = *config;
    if (t->config.min_ttl_s <= 0) {
        t->config.min_ttl_s = 2;
    }
    if (t->config.retry_ms == 0) {
        t->config.retry_ms = 7000;
    }
    keymap_init(&t->by_id, config->hash_seed);
    keymap_init(&t->by_key, config->hash_seed);
    list_init(&t->all);
    list_init(&t->queries);
    return t;
}

void lease_table_free(struct lease_table *t)
{
    if (t == NULL) {
        return;
    }
    lease_query_lose(t);
    list_each(node, &t->all)
    {
        lease_remove(t, container_of(node, struct lease, all));
    }
    keymap_free(&t->by_id);
    keymap_free(&t->by_key);
    heap_free(&t->expiries);
    heap_free(&t->checkpoints);
    lease_spread_free(&t->spread);
    free(t);
}

struct lease *lease_find(const struct lease_table *t, int64_t id)
{
    uint8_t key[8];
    put_be64(key, (uint64_t)id);
    struct keymap_node *node = keymap_find(&t->by_id, bytes_of(key, sizeof key));
    return node == NULL ? NULL : container_of(node, struct lease, by_id);
}

bool lease_exists(const struct lease_table *t, int64_t id)
{
    return lease_find(t, id) != NULL;
}

size_t lease_count(const struct lease_table *t)
{
    return t->by_id.count;
}

static struct lease *add(struct lease_table *t, int64_t id, int64_t ttl_s)
{
    struct lease *l = mem_zalloc(sizeof *l);
    l->id = id;
    l->ttl_s = ttl_s < t->config.min_ttl_s ? t->config.min_ttl_s : ttl_s;
    l->expiry_ms = LEASE_FOREVER;
    list_init(&l->waiters);
    put_be64(l->id_bytes, (uint64_t)id);
    keymap_insert(&t->by_id, &l->by_id, bytes_of(l->id_bytes, sizeof l->id_bytes));
    l->granted = ++t->granted;
    list_push_back(&t->all, &l->all);
    return l;
}

int lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, uint64_t now_ms, int64_t *granted_ttl_s)
{
    if (id == 0) {
        return ERR_LEASE_NOT_FOUND;
    }
    if (ttl_s > LEASE_TTL_MAX_S) {
        return ERR_LEASE_TTL_TOO_LARGE;
    }
    if (lease_exists(t, id)) {
        return ERR_LEASE_EXIST;
    }
    struct lease *l = add(t, id, ttl_s);
    t->stats.granted++;
    if (t->primary) {
        lease_set_expiry(t, l, now_ms + (uint64_t)l->ttl_s * 1000);
        lease_schedule_checkpoint(t, l, now_ms);
    }
    if (granted_ttl_s != NULL) {
        *granted_ttl_s = l->ttl_s;
    }
    return 0;
}

int lease_checkpoint(struct lease_table *t, int64_t id, int64_t remaining_ttl_s, uint64_t now_ms)
{
    struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    l->remaining_ttl_s = remaining_ttl_s;
    l->checkpoint_out = false;
    l->clears_out -= remaining_ttl_s == 0 && l->clears_out > 0;
    if (t->primary) {
        lease_schedule_checkpoint(t, l, now_ms);
    }
    return 0;
}

int lease_load(struct lease_table *t, struct bytes row_key, struct bytes row_value)
{
    int64_t id, ttl_s, remaining_ttl_s;
    int error = lease_row_decode(row_key, row_value, &id, &ttl_s, &remaining_ttl_s);
    if (error != 0) {
        return error;
    }
    if (lease_exists(t, id)) {
        return ERR_LEASE_EXIST;
    }
    add(t, id, ttl_s)->remaining_ttl_s = remaining_ttl_s;
    return 0;
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static struct lease_key *find_key(const struct lease_table *t, struct bytes key)
{
    struct keymap_node *node = keymap_find(&t->by_key, key);
    return node == NULL ? NULL : container_of(node, struct lease_key, by_key);
}

/* Takes the key out of its lease's array; the last one fills the hole. */
static void unbind(struct lease_key *k)
{
    struct lease *l = k->lease;
    CHECK(l->revocation == NULL, "a key of lease %lld was moved while it is revoked", (long long)l->id);
    size_t last = --l->key_count;
    if (k->slot != last) {
        l->keys[k->slot] = l->keys[last];
        l->keys[k->slot]->slot = k->slot;
    }
}

static void bind(struct lease *l, struct lease_key *k)
{
    CHECK(l->revocation == NULL, "a key was bound to lease %lld while it is revoked", (long long)l->id);
    if (l->key_count == l->key_capacity) {
        l->key_capacity = l->key_capacity == 0 ? 4 : l->key_capacity * 2;
        l->keys = mem_realloc(l->keys, l->key_capacity * sizeof *l->keys);
    }
    k->lease = l;
    k->slot = l->key_count;
    l->keys[l->key_count++] = k;
}

void lease_key_free(struct lease_table *t, struct lease_key *k)
{
    keymap_remove(&t->by_key, &k->by_key);
    t->keys--;
    free(k);
}

int lease_attach(struct lease_table *t, int64_t id, struct bytes key)
{
    struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    struct lease_key *k = find_key(t, key);
    if (k != NULL) {
        if (k->lease != l) {
            unbind(k);
            bind(l, k);
        }
        return 0;
    }
    k = mem_alloc(sizeof *k + key.len);
    k->len = key.len;
    memcpy(k->key, key.data, key.len);
    keymap_insert(&t->by_key, &k->by_key, bytes_of(k->key, k->len));
    t->keys++;
    bind(l, k);
    return 0;
}

int64_t lease_detach(struct lease_table *t, struct bytes key)
{
    struct lease_key *k = find_key(t, key);
    if (k == NULL) {
        return 0;
    }
    int64_t id = k->lease->id;
    unbind(k);
    lease_key_free(t, k);
    return id;
}

int64_t lease_of(const struct lease_table *t, struct bytes key)
{
    const struct lease_key *k = find_key(t, key);
    return k == NULL ? 0 : k->lease->id;
}

void lease_remove(struct lease_table *t, struct lease *l)
{
    lease_clock_forget(t, l);
    if (l->revocation != NULL) {
        lease_revoke_abandon(l);
    }
    for (size_t i = 0; i < l->key_count; i++) {
        lease_key_free(t, l->keys[i]);
    }
    lease_query_passes(t, l);
    keymap_remove(&t->by_id, &l->by_id);
    list_remove(&l->all);
    lease_tell_waiters(l, ERR_LEASE_NOT_FOUND);
    free(l->keys);
    free(l);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static int64_t seconds_left(const struct lease_table *t, const struct lease *l, uint64_t now_ms)
{
    if (!t->primary) {
        return l->ttl_s;
    }
    /* Promoted, but its turn has not come: at least this much. */
    uint64_t expiry =
        l->expiry_ms != LEASE_FOREVER ? l->expiry_ms : t->promote_base_ms + (uint64_t)lease_run_s(l) * 1000;
    if (expiry >= now_ms) {
        return (int64_t)((expiry - now_ms) / 1000);
    }
    return -(int64_t)((now_ms - expiry) / 1000);
}

int lease_info(const struct lease_table *t, int64_t id, uint64_t now_ms, struct lease_info *out)
{
    const struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    *out = (struct lease_info){
        .id = id,
        .granted_ttl_s = l->ttl_s,
        .ttl_s = seconds_left(t, l, now_ms),
        .expiry_ms = l->expiry_ms,
        .keys = l->key_count,
    };
    return 0;
}

struct lease_stats lease_stats(const struct lease_table *t)
{
    struct lease_stats stats = t->stats;
    stats.leases = lease_count(t);
    stats.keys = t->keys;
    return stats;
}
