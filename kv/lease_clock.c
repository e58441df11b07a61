/* The clock half of the leases: when they expire on the leader. A lease without an expiry (LEASE_FOREVER) never does,
 * so every step that is not yet done errs to the long side. */
#include "base/canary.h"
#include "base/check.h"
#include "kv/lease_internal.h"
#include <stdlib.h>

void lease_set_expiry(struct lease_table *t, struct lease *l, uint64_t expiry_ms)
{
    l->expiry_ms = expiry_ms;
    heap_update(&t->expiries, &l->expires, expiry_ms);
}

void lease_schedule_checkpoint(struct lease_table *t, struct lease *l, uint64_t now_ms)
{
    uint64_t interval_ms = t->config.checkpoint_interval_ms;
    if (interval_ms == 0) {
        return;
    }
    if ((uint64_t)lease_run_s(l) > interval_ms / 1000) {
        heap_update(&t->checkpoints, &l->checkpoint, now_ms + interval_ms);
    } else {
        heap_remove(&t->checkpoints, &l->checkpoint);
    }
}

void lease_clock_forget(struct lease_table *t, struct lease *l)
{
    heap_remove(&t->expiries, &l->expires);
    heap_remove(&t->checkpoints, &l->checkpoint);
    if (t->cursor == &l->all) {
        t->cursor = l->all.next;
    }
}

void lease_tell_waiters(struct lease *l, int error)
{
    struct list *node;
    while ((node = list_pop_front(&l->waiters)) != NULL) {
        struct lease_waiter *w = container_of(node, struct lease_waiter, node);
        w->done(w, error);
    }
}

/* --- promotion ---------------------------------------------------------------------------------------------------- */

static struct lease_second *spread_slot(struct lease_spread *s, uint64_t second)
{
    size_t i = (size_t)(second * 0x9e3779b97f4a7c15ULL >> 20) & s->mask;
    while (s->slots[i].second != 0 && s->slots[i].second != second + 1) {
        i = (i + 1) & s->mask;
    }
    return &s->slots[i];
}

static void spread_grow(struct lease_spread *s)
{
    struct lease_spread old = *s;
    size_t slots = old.slots == NULL ? 64 : (old.mask + 1) * 2;
    s->slots = mem_zalloc(slots * sizeof *s->slots);
    s->mask = slots - 1;
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++) {
        if (old.slots[i].second != 0) {
            *spread_slot(s, old.slots[i].second - 1) = old.slots[i];
        }
    }
    free(old.slots);
}

void lease_spread_free(struct lease_spread *s)
{
    free(s->slots);
    *s = (struct lease_spread){0};
}

/* The first second from `second` on that has room, counted. Full seconds remember how far to skip. */
static struct lease_second *spread_take(struct lease_spread *s, uint64_t second)
{
    if (s->slots == NULL || s->used * 2 > s->mask) {
        spread_grow(s);
    }
    uint64_t at = second;
    struct lease_second *slot;
    while ((slot = spread_slot(s, at))->second != 0 && slot->count >= LEASE_SPREAD_PER_SECOND) {
        at = slot->next;
    }
    if (slot->second == 0) {
        *slot = (struct lease_second){.second = at + 1, .next = at + 1};
        s->used++;
    }
    slot->count++;
    if (at != second) {
        spread_slot(s, second)->next = at;
    }
    return slot;
}

/* etcd moves a lease by whole seconds too; this keeps the order of seconds and never moves one forward. */
static uint64_t spread(struct lease_table *t, uint64_t expiry_ms)
{
    if (!t->spreading) {
        return expiry_ms;
    }
    uint64_t second = expiry_ms / 1000;
    const struct lease_second *slot = spread_take(&t->spread, second);
    uint64_t taken = slot->second - 1;
    return taken == second ? expiry_ms : taken * 1000 + (slot->count - 1) * 1000 / LEASE_SPREAD_PER_SECOND;
}

void lease_promote(struct lease_table *t, uint64_t now_ms, uint64_t extend_ms)
{
    if (t->primary) {
        lease_demote(t);
    }
    t->primary = true;
    t->promote_base_ms = now_ms + extend_ms;
    if (CANARY(LEASES_NOT_EXTENDED)) {
        t->promote_base_ms = now_ms > 3000 ? now_ms - 3000 : 0;
    }
    t->cursor = t->all.next;
    t->spreading = lease_count(t) >= LEASE_SPREAD_COUNT;
}

bool lease_promote_step(struct lease_table *t, size_t budget)
{
    for (; t->cursor != NULL && t->cursor != &t->all && budget > 0; budget--) {
        struct lease *l = container_of(t->cursor, struct lease, all);
        t->cursor = t->cursor->next;
        if (l->expiry_ms == LEASE_FOREVER) { /* else granted or renewed since */
            lease_set_expiry(t, l, spread(t, t->promote_base_ms + (uint64_t)lease_run_s(l) * 1000));
            lease_schedule_checkpoint(t, l, t->promote_base_ms);
        }
    }
    if (t->cursor == &t->all) {
        t->cursor = NULL;
        lease_spread_free(&t->spread);
        t->spreading = false;
    }
    return t->cursor != NULL;
}

void lease_demote(struct lease_table *t)
{
    if (!t->primary) {
        return;
    }
    t->primary = false;
    t->cursor = NULL;
    lease_spread_free(&t->spread);
    t->expiries.count = t->checkpoints.count = 0;
    list_each(node, &t->all)
    {
        struct lease *l = container_of(node, struct lease, all);
        l->expiry_ms = LEASE_FOREVER;
        l->expires.slot = l->checkpoint.slot = 0;
        l->checkpoint_out = false;
        l->clears_out = 0;
    }
    list_each(node, &t->all)
    {
        lease_tell_waiters(container_of(node, struct lease, all), ERR_NOT_PRIMARY);
    }
}

bool lease_is_primary(const struct lease_table *t)
{
    return t->primary;
}

/* --- keepalive ---------------------------------------------------------------------------------------------------- */

int lease_renew(struct lease_table *t, int64_t id, uint64_t now_ms, int64_t *ttl_s, bool *clear_checkpoint)
{
    if (clear_checkpoint != NULL) {
        *clear_checkpoint = false;
    }
    if (!t->primary) {
        return ERR_NOT_PRIMARY;
    }
    struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    if (l->revocation != NULL || l->expiry_ms < now_ms) {
        return ERR_AGAIN;
    }
    /* The next leader would go by it. One that is on its way would be applied behind this renewal; and one may be left
     * from a time when there were checkpoints. */
    if (clear_checkpoint != NULL && (l->remaining_ttl_s > 0 || l->checkpoint_out)) {
        *clear_checkpoint = true;
        l->clears_out++;
        return ERR_AGAIN;
    }
    /* An expiry that a promotion spread out may lie later than a full TTL from now: it was told to nobody, but the
     * lease was never told to be shorter either. As etcd does, the TTL counts from now. */
    lease_set_expiry(t, l, now_ms + (uint64_t)l->ttl_s * 1000);
    t->stats.renewed++;
    *ttl_s = l->ttl_s;
    return 0;
}

int lease_wait(struct lease_table *t, int64_t id, struct lease_waiter *waiter)
{
    list_init(&waiter->node);
    if (!t->primary) {
        return ERR_NOT_PRIMARY;
    }
    struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    list_push_back(&l->waiters, &waiter->node);
    return 0;
}

void lease_unwait(struct lease_waiter *waiter)
{
    list_remove(&waiter->node);
}

/* --- what is due -------------------------------------------------------------------------------------------------- */

size_t lease_expired(struct lease_table *t, uint64_t now_ms, int64_t *ids, size_t max)
{
    size_t n = 0;
    struct heap_node *node;
    while (n < max && (node = heap_min(&t->expiries)) != NULL && node->key < now_ms) {
        struct lease *l = container_of(node, struct lease, expires);
        CHECK(t->primary && l->expiry_ms < now_ms, "lease %lld expires too early", (long long)l->id);
        if (node->key == l->expiry_ms) {
            t->stats.expired++;
        }
        ids[n++] = l->id;
        heap_update(&t->expiries, node, now_ms + t->config.retry_ms);
    }
    return n;
}

size_t lease_checkpoints(struct lease_table *t, uint64_t now_ms, struct lease_checkpoint_due *out, size_t max)
{
    size_t n = 0;
    struct heap_node *node;
    while (n < max && (node = heap_min(&t->checkpoints)) != NULL && node->key <= now_ms) {
        struct lease *l = container_of(node, struct lease, checkpoint);
        heap_update(&t->checkpoints, node, now_ms + t->config.checkpoint_interval_ms);
        if (l->expiry_ms <= now_ms || l->expiry_ms == LEASE_FOREVER) {
            continue;
        }
        int64_t remaining_s = (int64_t)((l->expiry_ms - now_ms + 999) / 1000);
        if (remaining_s < l->ttl_s && l->clears_out == 0) { /* else it has just been renewed, or is about to be */
            out[n++] = (struct lease_checkpoint_due){.id = l->id, .remaining_ttl_s = remaining_s};
            l->checkpoint_out = true;
        }
    }
    return n;
}

uint64_t lease_deadline(const struct lease_table *t)
{
    if (t->cursor != NULL) {
        return 0;
    }
    const struct heap_node *expiry = heap_min(&t->expiries), *checkpoint = heap_min(&t->checkpoints);
    uint64_t deadline = expiry == NULL ? LEASE_FOREVER : expiry->key + 1;
    return checkpoint != NULL && checkpoint->key < deadline ? checkpoint->key : deadline;
}
