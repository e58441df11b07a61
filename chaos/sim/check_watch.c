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

static void judge_event(struct sim *s, struct sim_watch *w, const struct sim_record *r)
{
    const struct model *m = &s->check.model;
    const struct model_change *c = next_change(m, w);
    if (c == NULL || c->main != r->rev || c->key != r->key || c->dead != r->dead || event_digest(c) != r->digest) {
        sim_fail(s, "a watch of keys %d to %d got key %d at revision %" PRId64 ", due was key %d at %" PRId64, w->lo,
                 w->hi, r->key, r->rev, c == NULL ? -1 : c->key, c == NULL ? 0 : c->main);
        return;
    }
    const struct model_change *old = model_at(m, c->key, c->main - 1);
    bool wrong = r->has_prev ? old == NULL || !w->prev_kv || model_digest_change(1, old) != r->prev_digest
                             : w->prev_kv && old != NULL && c->main - 1 >= m->compacted;
    if (wrong) {
        sim_fail(s, "the event of key %d at revision %" PRId64 " has the wrong previous value, or none", c->key,
                 c->main);
    }
    w->next++;
}

static void judge(struct sim *s, struct sim_watch *w, const struct sim_record *r)
{
    const struct model_change *c;
    switch (r->kind) {
    case SIM_EVENT:
        judge_event(s, w, r);
        break;
    case SIM_PROGRESS:
        c = next_change(&s->check.model, w);
        if (c != NULL && c->main <= r->rev) {
            sim_fail(s, "a watch of keys %d to %d was told progress %" PRId64 " before the event of revision %" PRId64,
                     w->lo, w->hi, r->rev, c->main);
        }
        break;
    case SIM_COMPACTED:
        if (r->rev > s->check.model.compacted) {
            sim_fail(s, "a watch was cancelled by compaction %" PRId64 ", which there was not", r->rev);
        }
        w->position = r->rev;
        break;
    }
}

void sim_check_watches(struct sim *s, bool complete)
{
    for (int i = 0; i < SIM_WATCHERS; i++) {
        for (int j = 0; j < SIM_WATCHES; j++) {
            struct sim_watch *w = &s->watchers[i].watches[j];
            for (size_t k = 0; k < w->record_count; k++) {
                judge(s, w, &w->records[k]);
            }
            w->record_count = 0;
            const struct model_change *c = complete && w->alive ? next_change(&s->check.model, w) : NULL;
            if (c != NULL) {
                sim_fail(s, "a watch of keys %d to %d never got revision %" PRId64, w->lo, w->hi, c->main);
            }
        }
    }
}
