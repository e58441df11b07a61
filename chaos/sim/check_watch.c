/* What watches were sent against the model's changes: each change that matches, once, in order; no progress response
 * before an event that it covers; a watch is cancelled by compaction only below the compacted revision. */
#include "chaos/sim/internal.h"
#include <inttypes.h>

static bool matches(const struct sim_watch *w, const struct model_change *c)
{
    return c->key >= w->lo && c->key < w->hi && c->main >= w->position;
}

/* The next change that the watch has to see; NULL = none. */
static const struct model_change *next_change(const struct model *m, struct sim_watch *w)
{
    for (; w->next < m->count; w->next++) {
        if (matches(w, &m->changes[w->next])) {
            return &m->changes[w->next];
        }
    }
    return NULL;
}

static uint64_t event_digest(const struct model_change *c)
{
    if (!c->dead) {
        return model_digest_change(1, c);
    }
    char name[MODEL_KEY_LEN + 1];
    struct row_fields fields = model_fields(c, name);
    fields.mod_revision = c->main;
    return model_digest_row(1, &fields);
}

void sim_check_event(struct sim *s, struct sim_watch *w, const struct sim_event *e)
{
    const struct model *m = &s->check.model;
    const struct model_change *c = next_change(m, w);
    if (c == NULL || c->main != e->rev || c->key != e->key || c->dead != e->dead || event_digest(c) != e->digest) {
        sim_fail(s, "a watch of keys %d to %d got key %d at revision %" PRId64 ", due was key %d at %" PRId64, w->lo,
                 w->hi, e->key, e->rev, c == NULL ? -1 : c->key, c == NULL ? 0 : c->main);
        return;
    }
    const struct model_change *old = model_at(m, c->key, c->main - 1);
    bool wrong = e->has_prev ? old == NULL || !w->prev_kv || model_digest_change(1, old) != e->prev_digest
                             : w->prev_kv && old != NULL && c->main - 1 >= m->compacted;
    if (wrong) {
        sim_fail(s, "the event of key %d at revision %" PRId64 " has the wrong previous value, or none", c->key,
                 c->main);
    }
    w->next++;
}

void sim_check_progress(struct sim *s, struct sim_watch *w, int64_t rev)
{
    const struct model_change *c = next_change(&s->check.model, w);
    if (c != NULL && c->main <= rev) {
        sim_fail(s, "a watch of keys %d to %d was told progress %" PRId64 " before the event of revision %" PRId64,
                 w->lo, w->hi, rev, c->main);
    }
    if (rev > s->check.model.revision) {
        sim_fail(s, "a watch was told progress %" PRId64 ", the log ends at %" PRId64, rev, s->check.model.revision);
    }
}

void sim_check_cancelled(struct sim *s, struct sim_watch *w, int64_t compact_revision)
{
    if (compact_revision > s->check.model.compacted || compact_revision <= w->resume) {
        sim_fail(s, "a watch at revision %" PRId64 " was cancelled by compaction %" PRId64, w->resume,
                 compact_revision);
    }
    w->position = compact_revision;
}

void sim_check_watches_complete(struct sim *s)
{
    for (int i = 0; i < SIM_WATCHERS; i++) {
        for (int j = 0; j < SIM_WATCHES; j++) {
            struct sim_watch *w = &s->watchers[i].watches[j];
            const struct model_change *c = w->alive ? next_change(&s->check.model, w) : NULL;
            if (c != NULL) {
                sim_fail(s, "a watch of keys %d to %d never got revision %" PRId64, w->lo, w->hi, c->main);
            }
        }
    }
}
