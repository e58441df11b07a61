/* What was committed. The first member that applies an entry makes it part of the common log; from then on each member
 * must apply the same one there. At that moment a quorum must have it on its disks: only then may anybody be told. The
 * common log is all that the model is fed with; after each turn a member's revision must be the model's as of the
 * same entry, so that an entry applied twice, or not at all, shows at once. */
#include "base/pb.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

typedef Etcdserverpb__InternalRaftRequest Internal;

/* --- quorums -------------------------------------------------------------------------------------------------------
 */

static bool has_durable(struct sim *s, uint64_t id, uint64_t index, uint64_t term)
{
    const struct sim_member *m = sim_member_of(s, id);
    return m != NULL && m->shadow.durable >= index && m->shadow.entries[index - 1].term == term;
}

static bool quorum_has(struct sim *s, const struct sim_voters *v, uint64_t index, uint64_t term)
{
    size_t count = 0;
    for (size_t i = 0; i < v->count; i++) {
        count += has_durable(s, v->ids[i], index, term);
    }
    return 2 * count > v->count;
}

/* A change of members decides quorums from when the leader applied it, which is some time after its index: the voters
 * that were in force then, or those before. */
static void check_durable(struct sim_member *m, uint64_t index, uint64_t term)
{
    struct sim *s = m->sim;
    const struct sim_check *c = &s->check;
    if (index <= s->config.members) {
        return; /* what all begin with: each one's own */
    }
    for (size_t i = 0; i < 3 && i < c->voters_count; i++) {
        if (quorum_has(s, &c->voters[c->voters_count - 1 - i], index, term)) {
            return;
        }
    }
    if (c->voters_count > 0) {
        sim_fail(s, "member %u applies entry %" PRIu64 " of term %" PRIu64 ", which no quorum has on its disks",
                 m->slot, index, term);
    }
}

static void note_voters(struct sim_member *m)
{
    struct sim_check *c = &m->sim->check;
    const struct raft_conf_state *conf = raft_conf(m->raft);
    const struct sim_voters *last = c->voters_count == 0 ? NULL : &c->voters[c->voters_count - 1];
    struct sim_voters now = {.index = m->shadow.applied, .count = conf->voters.count};
    if (last != NULL &&
        (m->shadow.applied <= last->index ||
         (last->count == now.count && memcmp(last->ids, conf->voters.ids, now.count * sizeof now.ids[0]) == 0))) {
        return;
    }
    memcpy(now.ids, conf->voters.ids, now.count * sizeof now.ids[0]);
    c->voters = mem_realloc(c->voters, (c->voters_count + 1) * sizeof *c->voters);
    c->voters[c->voters_count++] = now;
}

/* --- the common log ------------------------------------------------------------------------------------------------
 */

/* What members propose by themselves. */
static bool own_kind(const Internal *request)
{
    return request->cluster_member_attr_set != NULL || request->cluster_version_set != NULL || request->alarm != NULL ||
           request->lease_revoke != NULL || request->lease_checkpoint != NULL;
}

static void feed_request(struct sim_member *m, Internal *request, uint64_t index)
{
    struct sim *s = m->sim;
    struct model_outcome outcome;
    if (s->config.canary == SIM_CANARY_WRONG_APPLY && request->put != NULL && index % 100 == 99) {
        request->put = NULL;
    }
    model_apply(&s->check.model, request, &outcome);
    if (sim_check_logged(s, request, index, &outcome)) {
        return;
    }
    if (!own_kind(request) || request->header == NULL || request->header->id == 0) {
        sim_fail(s, "entry %" PRIu64 " is a request that nobody made", index);
    } else if (request->lease_revoke != NULL) {
        sim_check_lease_revoked(s, request->lease_revoke->id);
    }
}

static void feed(struct sim_member *m, const struct sim_shadow_entry *entry, uint64_t index)
{
    struct bytes data = shared_bytes(entry->data);
    if (entry->type != RAFT_ENTRY_NORMAL || data.len == 0) {
        return;
    }
    struct arena arena = {0};
    Internal *request = (Internal *)pb_unpack(&etcdserverpb__internal_raft_request__descriptor, data, &arena, NULL);
    if (request == NULL) {
        sim_fail(m->sim, "entry %" PRIu64 " is unreadable", index);
    } else {
        feed_request(m, request, index);
    }
    arena_free(&arena);
}

static void add(struct sim_member *m, const struct sim_shadow_entry *entry, uint64_t index)
{
    struct sim_check *c = &m->sim->check;
    check_durable(m, index, entry->term);
    feed(m, entry, index);
    if (c->log_count == c->log_capacity) {
        c->log_capacity = c->log_capacity * 2 + 256;
        c->log = mem_realloc(c->log, c->log_capacity * sizeof *c->log);
    }
    c->log[c->log_count++] = (struct sim_entry){
        .term = entry->term, .digest = entry->digest, .revision = c->model.revision, .compacted = c->model.compacted};
}

static void compare(struct sim_member *m, const struct sim_shadow_entry *entry, uint64_t index)
{
    const struct sim_entry *common = &m->sim->check.log[index - 1];
    if (common->term != entry->term || common->digest != entry->digest) {
        sim_fail(m->sim,
                 "member %u applies entry %" PRIu64 " of term %" PRIu64 ", others have applied one of term %" PRIu64,
                 m->slot, index, entry->term, common->term);
    }
}

/* --- after each turn -----------------------------------------------------------------------------------------------
 */

static void check_revision(struct sim_member *m)
{
    const struct sim_entry *last = &m->sim->check.log[m->shadow.applied - 1];
    if (kv_revision(m->kv) != last->revision || kv_compact_revision(m->kv) != last->compacted) {
        sim_fail(m->sim,
                 "member %u: revision %" PRId64 " compacted %" PRId64 " after entry %" PRIu64 ", the model has %" PRId64
                 " and %" PRId64,
                 m->slot, kv_revision(m->kv), kv_compact_revision(m->kv), m->shadow.applied, last->revision,
                 last->compacted);
    }
}

void sim_check_applied(struct sim_member *m)
{
    struct sim_shadow *shadow = &m->shadow;
    uint64_t applied = kv_applied_index(m->kv);
    if (applied == shadow->applied) {
        return;
    }
    if (applied < shadow->applied || applied > shadow->count) {
        sim_fail(m->sim, "member %u has applied %" PRIu64 " after %" PRIu64 ", its log ends at %zu", m->slot, applied,
                 shadow->applied, shadow->count);
        return;
    }
    for (uint64_t i = shadow->applied + 1; i <= applied && !m->sim->result->failed; i++) {
        struct sim_shadow_entry *entry = &shadow->entries[i - 1];
        if (i > m->sim->check.log_count) {
            add(m, entry, i);
        } else {
            compare(m, entry, i);
        }
        shared_unref(entry->data);
        entry->data = NULL;
    }
    shadow->applied = applied;
    note_voters(m);
    if (!m->sim->result->failed) {
        check_revision(m);
    }
    sim_trace(m->sim, "applied", m->slot, applied);
}
