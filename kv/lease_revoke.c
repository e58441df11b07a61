/* Revoking a lease in slices. A lease may hold a million keys, all deleted in one revision in byte order, and no turn
 * of the core may take longer than 2 ms: so the keys are put in order in slices, and then handed out one by one, each
 * leaving the table as it goes. */
#include "base/check.h"
#include "kv/lease_internal.h"
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const struct lease_key *const *ka = a, *const *kb = b;
    return bytes_compare(bytes_of((*ka)->key, (*ka)->len), bytes_of((*kb)->key, (*kb)->len));
}

static void begin(struct lease *l)
{
    l->revocation = mem_zalloc(sizeof *l->revocation);
    sort_begin(&l->revocation->sort, l->keys, l->key_count, sizeof l->keys[0], compare);
    l->keys = NULL; /* the sort's until it ends */
}

static bool sort_some(struct lease *l, size_t *budget)
{
    if (!l->revocation->sorted && sort_step(&l->revocation->sort, budget)) {
        l->keys = sort_end(&l->revocation->sort);
        l->revocation->sorted = true;
    }
    return l->revocation->sorted;
}

void lease_revoke_abandon(struct lease *l)
{
    struct lease_revocation *r = l->revocation;
    free(r->handed);
    if (!r->sorted) {
        l->keys = sort_end(&r->sort);
    }
    l->key_count -= r->next;
    if (l->key_count > 0) {
        memmove(l->keys, l->keys + r->next, l->key_count * sizeof *l->keys);
    }
    free(r);
    l->revocation = NULL;
}

enum lease_revoke lease_revoke_next(struct lease_table *t, int64_t id, size_t *budget, struct bytes *key)
{
    struct lease *l = lease_find(t, id);
    CHECK(l != NULL, "lease %lld does not exist", (long long)id);
    if (l->revocation == NULL) {
        begin(l);
    }
    struct lease_revocation *r = l->revocation;
    bool sorted = sort_some(l, budget);
    free(r->handed);
    r->handed = NULL;
    if (sorted && r->next == l->key_count) {
        free(r);
        l->revocation = NULL;
        l->key_count = 0; /* all of them are freed */
        lease_remove(t, l);
        t->stats.revoked++;
        return LEASE_END;
    }
    if (!sorted || *budget == 0) {
        return LEASE_MORE;
    }
    --*budget;
    r->handed = l->keys[r->next++];
    keymap_remove(&t->by_key, &r->handed->by_key);
    t->keys--;
    *key = bytes_of(r->handed->key, r->handed->len);
    return LEASE_KEY;
}
