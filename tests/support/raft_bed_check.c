/* What must hold of all members together (Raft thesis, figure 3.2): at most one leader a term; a committed entry is in
 * the log of every later leader; who applies an index applies the same entry with the same outcome; and what is said to
 * be committed is durable on a majority. */
#include "base/check.h"
#include "tests/support/raft_bed.h"
#include <stdlib.h>

enum { TERMS_MAX = 100000 };

struct fact {
    uint64_t term;
    uint64_t hash; /* of the state machine after it */
};

struct raft_bed_truth {
    uint64_t leaders[TERMS_MAX]; /* of each term */
    struct fact *facts;          /* of committed entries, index 1 first */
    size_t fact_count, fact_capacity;
};

void raft_bed_truth_new(struct raft_bed *bed)
{
    bed->truth = mem_zalloc(sizeof *bed->truth);
}

void raft_bed_truth_free(struct raft_bed *bed)
{
    free(bed->truth->facts);
    free(bed->truth);
}

uint64_t raft_bed_committed(const struct raft_bed *bed)
{
    return bed->truth->fact_count;
}

uint64_t raft_bed_hash(uint64_t before, const struct raft_entry *e)
{
    uint64_t h = before ^ (e->index * UINT64_C(0x9e3779b97f4a7c15)) ^ (e->term << 32) ^ (uint64_t)e->type;
    struct bytes data = shared_bytes(e->data);
    for (size_t i = 0; i < data.len; i++) {
        h = (h ^ data.data[i]) * UINT64_C(0x100000001b3);
    }
    return h * UINT64_C(0xff51afd7ed558ccd) + 1;
}

/* Election safety, and leader completeness for all that is known to be committed. */
void raft_bed_check_leader(struct raft_bed_member *m)
{
    struct raft_bed_truth *t = m->bed->truth;
    CHECK(m->term < TERMS_MAX);
    CHECK(t->leaders[m->term] == 0 || t->leaders[m->term] == m->id, "%lx and %lx both lead in term %lu",
          (unsigned long)t->leaders[m->term], (unsigned long)m->id, (unsigned long)m->term);
    t->leaders[m->term] = m->id;
    uint64_t first = raft_first_index(m->raft) - 1;
    for (uint64_t i = first == 0 ? 1 : first; i <= t->fact_count; i++) {
        CHECK(raft_term_at(m->raft, i) == t->facts[i - 1].term, "leader %lx of term %lu lacks committed entry %lu",
              (unsigned long)m->id, (unsigned long)m->term, (unsigned long)i);
    }
}

/* Is the entry on this member's disk, in its log or in what an image brought? */
static bool on_disk(const struct raft_bed_member *m, uint64_t index, uint64_t term)
{
    if (index <= m->start.index) {
        return true;
    }
    return index <= m->start.index + m->log_count && m->log[index - m->start.index - 1].term == term;
}

static bool majority_has(struct raft_bed *bed, const struct raft_ids *voters, uint64_t index, uint64_t term)
{
    size_t have = 0;
    for (size_t i = 0; i < voters->count; i++) {
        const struct raft_bed_member *m = raft_bed_find(bed, voters->ids[i]);
        have += m != NULL && on_disk(m, index, term);
    }
    return voters->count == 0 || have > voters->count / 2;
}

static void add_fact(struct raft_bed_truth *t, uint64_t term)
{
    if (t->fact_count == t->fact_capacity) {
        t->fact_capacity = t->fact_capacity * 2 + 1024;
        t->facts = mem_realloc(t->facts, t->fact_capacity * sizeof *t->facts);
    }
    t->facts[t->fact_count++] = (struct fact){.term = term};
}

void raft_bed_check_commit(struct raft_bed_member *m, uint64_t commit)
{
    struct raft_bed_truth *t = m->bed->truth;
    while (t->fact_count < commit) {
        uint64_t index = t->fact_count + 1, term = raft_term_at(m->raft, index);
        CHECK(term != 0);
        /* The leader that says so decides with the configuration that it has applied. */
        if (m->role == RAFT_LEADER && index == commit) {
            CHECK(majority_has(m->bed, &raft_conf(m->raft)->voters, index, term) &&
                      majority_has(m->bed, &raft_conf(m->raft)->voters_outgoing, index, term),
                  "entry %lu of term %lu is no majority's yet", (unsigned long)index, (unsigned long)term);
        }
        add_fact(t, term);
    }
    uint64_t known = raft_term_at(m->raft, commit);
    CHECK(known == 0 || known == t->facts[commit - 1].term, "%lx: entry %lu has term %lu, not %lu",
          (unsigned long)m->id, (unsigned long)commit, (unsigned long)known, (unsigned long)t->facts[commit - 1].term);
}

void raft_bed_check_apply(struct raft_bed_member *m, const struct raft_entry *e, uint64_t hash)
{
    struct raft_bed_truth *t = m->bed->truth;
    CHECK(e->index <= t->fact_count);
    struct fact *f = &t->facts[e->index - 1];
    CHECK(f->term == e->term, "%lx applies entry %lu of term %lu, not %lu", (unsigned long)m->id,
          (unsigned long)e->index, (unsigned long)e->term, (unsigned long)f->term);
    CHECK(f->hash == 0 || f->hash == hash, "%lx: state machines differ at entry %lu", (unsigned long)m->id,
          (unsigned long)e->index);
    f->hash = hash;
}
