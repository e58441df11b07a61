/* Revoking a lease in slices. A lease may hold a million keys, all deleted in one revision in byte order, and no turn
 * of the core may take longer than 2 ms: so the keys are put in order by a merge sort that can stop between any two
 * elements, and then handed out one by one, each leaving the table as it goes. */
#include "base/check.h"
#include "kv/lease_internal.h"
#include <stdlib.h>

static bool in_order(const struct lease_key *a, const struct lease_key *b)
{
    return bytes_compare(bytes_of(a->key, a->len), bytes_of(b->key, b->len)) <= 0;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void begin(struct lease *l)
{
    struct lease_revocation *r = mem_zalloc(sizeof *r);
    r->from = l->keys;
    r->width = 1;
    r->done = l->sorted || l->key_count <= 1;
    r->to = r->done ? NULL : mem_alloc(l->key_count * sizeof *r->to);
    l->revocation = r;
}

/* The next pair of runs; at the end of a pass the arrays change places and runs are twice as long. */
static void next_pair(struct lease_revocation *r, size_t count)
{
    if (r->out == count) {
        struct lease_key **swap = r->from;
        r->from = r->to;
        r->to = swap;
        r->width *= 2;
        r->out = 0;
        if (r->width >= count) {
            r->done = true;
            return;
        }
    }
    r->left = r->out;
    r->left_end = r->right = min_size(r->left + r->width, count);
    r->right_end = min_size(r->right + r->width, count);
    r->merging = true;
}

static void sort_some(struct lease *l, size_t *budget)
{
    struct lease_revocation *r = l->revocation;
    while (!r->done && *budget > 0) {
        if (!r->merging) {
            next_pair(r, l->key_count);
            continue;
        }
        bool from_left =
            r->left < r->left_end && (r->right == r->right_end || in_order(r->from[r->left], r->from[r->right]));
        r->to[r->out++] = from_left ? r->from[r->left++] : r->from[r->right++];
        r->merging = r->left < r->left_end || r->right < r->right_end;
        --*budget;
    }
    if (r->done) {
        l->keys = r->from;
        free(r->to);
        r->to = NULL;
    }
}

/* `from` holds every key at any time; one of the two arrays is l->keys. */
void lease_revoke_abandon(struct lease *l)
{
    struct lease_revocation *r = l->revocation;
    free(r->handed);
    free(r->to);
    l->keys = r->from;
    l->key_count -= r->next;
    memmove(l->keys, l->keys + r->next, l->key_count * sizeof *l->keys);
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
    sort_some(l, budget);
    free(r->handed);
    r->handed = NULL;
    if (r->done && r->next == l->key_count) {
        free(r);
        l->revocation = NULL;
        l->key_count = 0; /* all of them are freed */
        lease_remove(t, l);
        t->stats.revoked++;
        return LEASE_END;
    }
    if (*budget == 0) {
        return LEASE_MORE;
    }
    --*budget;
    r->handed = l->keys[r->next++];
    keymap_remove(&t->by_key, &r->handed->by_key);
    t->keys--;
    *key = bytes_of(r->handed->key, r->handed->len);
    return LEASE_KEY;
}
