/* Logs match, and disks keep what they promised.
 *
 * Every entry that any member ever gives to its disk is noted under its index and term. Two of one index and term must
 * be the same in everything, also in the term of the entry before them: from this the log matching property follows by
 * induction (Raft thesis 3.5). Each member's log is followed as it is written (its shadow), with the mark up to which
 * it was synced; a start must find all of that, and otherwise only entries that were written before. */
#include "base/bytes.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

#define TERM_BITS 24

static uint64_t digest_of(const struct raft_entry *e, uint64_t term_before)
{
    uint64_t digest = 0xcbf29ce484222325ULL ^ (uint64_t)e->type;
    digest = (digest ^ term_before) * 0x100000001b3ULL;
    struct bytes data = shared_bytes(e->data);
    for (size_t i = 0; i < data.len; i++) {
        digest = (digest ^ data.data[i]) * 0x100000001b3ULL;
    }
    return (digest ^ data.len) | 1;
}

static void note(struct sim_member *m, const struct raft_entry *e, uint64_t digest)
{
    uint64_t *known = sim_table_at(&m->sim->check.known, e->index << TERM_BITS | e->term);
    if (*known != 0 && *known != digest) {
        sim_fail(m->sim, "member %u has another entry %" PRIu64 " of term %" PRIu64 " than somebody else", m->slot,
                 e->index, e->term);
    }
    *known = digest;
}

static void cut_back(struct sim_shadow *shadow, uint64_t count)
{
    while (shadow->count > count) {
        shared_unref(shadow->entries[--shadow->count].data);
    }
    if (shadow->durable > count) {
        shadow->durable = count;
    }
}

static void append(struct sim_shadow *shadow, struct sim_shadow_entry entry)
{
    if (shadow->count == shadow->capacity) {
        shadow->capacity = shadow->capacity * 2 + 256;
        shadow->entries = mem_realloc(shadow->entries, shadow->capacity * sizeof *shadow->entries);
    }
    shadow->entries[shadow->count++] = entry;
}

static struct sim_shadow_entry shadow_of(struct sim_member *m, const struct raft_entry *e)
{
    uint64_t before = e->index > 1 ? m->shadow.entries[e->index - 2].term : 0;
    struct sim_shadow_entry entry = {.term = e->term, .type = e->type, .digest = digest_of(e, before)};
    note(m, e, entry.digest);
    if (e->data != NULL && e->index > m->shadow.applied) {
        entry.data = shared_ref(e->data);
    }
    return entry;
}

void sim_check_saving(struct sim_member *m, const struct raft_entry *entries, size_t count)
{
    struct sim_shadow *shadow = &m->shadow;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        if (e->index > shadow->count + 1 || e->index <= shadow->applied) {
            sim_fail(m->sim, "member %u saves entry %" PRIu64 ", it has %zu and has applied %" PRIu64, m->slot,
                     e->index, shadow->count, shadow->applied);
            return;
        }
        cut_back(shadow, e->index - 1);
        append(shadow, shadow_of(m, e));
    }
}

void sim_check_synced(struct sim_member *m, const struct raft_entry *entries, size_t count,
                      const struct raft_hard_state *state)
{
    struct sim_shadow *shadow = &m->shadow;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        if (e->index == shadow->durable + 1 && e->index <= shadow->count &&
            shadow->entries[e->index - 1].term == e->term) {
            shadow->durable = e->index;
        }
    }
    if (state->term != 0) {
        shadow->hard_state = *state;
    }
    m->sim->result->entries += count;
}

void sim_check_recovered(struct sim_member *m, const struct raft_entry *e)
{
    struct sim_shadow *shadow = &m->shadow;
    if (e->index > shadow->count + 1) {
        sim_fail(m->sim, "the log of member %u has entry %" PRIu64 " but not %zu", m->slot, e->index,
                 shadow->count + 1);
        return;
    }
    uint64_t before = e->index > 1 ? shadow->entries[e->index - 2].term : 0, digest = digest_of(e, before);
    bool same = e->index <= shadow->count && shadow->entries[e->index - 1].digest == digest &&
                shadow->entries[e->index - 1].term == e->term;
    if (same) {
        return;
    }
    /* Not what was written last: something older, that was replaced by what got lost. */
    if (e->index <= shadow->durable) {
        sim_fail(m->sim, "entry %" PRIu64 " of member %u is another one than the one that was synced", e->index,
                 m->slot);
        return;
    }
    bool first = e->index <= m->sim->config.members && e->term == 1; /* written when the log was made */
    if (!first && sim_table_get(&m->sim->check.known, e->index << TERM_BITS | e->term) != digest) {
        sim_fail(m->sim, "entry %" PRIu64 " of member %u was never written", e->index, m->slot);
        return;
    }
    cut_back(shadow, e->index - 1);
    append(shadow, shadow_of(m, e));
}

void sim_check_recovered_all(struct sim_member *m, uint64_t last_index, struct raft_hard_state state)
{
    struct sim_shadow *shadow = &m->shadow;
    if (last_index < shadow->durable) {
        sim_fail(m->sim, "the log of member %u ends at %" PRIu64 ", entry %" PRIu64 " was synced", m->slot, last_index,
                 shadow->durable);
        return;
    }
    const struct raft_hard_state *synced = &shadow->hard_state;
    if (state.term < synced->term || (state.term == synced->term && synced->vote != 0 && state.vote != synced->vote)) {
        sim_fail(m->sim,
                 "member %u starts with term %" PRIu64 " and vote %" PRIx64 ", term %" PRIu64 " and vote %" PRIx64
                 " were synced",
                 m->slot, state.term, state.vote, synced->term, synced->vote);
    }
    cut_back(shadow, last_index);
    shadow->durable = last_index;
    shadow->hard_state = state;
    shadow->led_term = 0;
}

void sim_check_image_sent(struct sim_member *m, const struct raft_conf_state *conf)
{
    size_t count, same = 0;
    const struct kv_member *members = kv_members(m->kv, &count); /* the v2 JSON is made of these */
    for (size_t i = 0; i < count; i++) {
        same += raft_ids_has(members[i].learner ? &conf->learners : &conf->voters, members[i].id);
    }
    if (same != count || count != conf->voters.count + conf->learners.count) {
        sim_fail(m->sim, "member %u sends an image of %zu members and tells of %zu", m->slot,
                 conf->voters.count + conf->learners.count, count);
    }
}

/* What an image replaces was committed: the common log has it. */
void sim_check_image(struct sim_member *m, struct raft_position at)
{
    struct sim_shadow *shadow = &m->shadow;
    const struct sim_check *c = &m->sim->check;
    if (at.index > c->log_count || c->log[at.index - 1].term != at.term) {
        sim_fail(m->sim, "member %u has an image of entry %" PRIu64 ", which was never applied", m->slot, at.index);
        return;
    }
    if (at.index <= shadow->count && shadow->entries[at.index - 1].term == at.term) {
        return;
    }
    m->imaged = true;
    cut_back(shadow, 0);
    for (uint64_t i = 0; i < at.index; i++) {
        append(shadow, (struct sim_shadow_entry){.term = c->log[i].term, .digest = c->log[i].digest});
    }
    shadow->durable = at.index;
}

void sim_shadow_free(struct sim_shadow *shadow)
{
    cut_back(shadow, 0);
    free(shadow->entries);
    *shadow = (struct sim_shadow){0};
}
