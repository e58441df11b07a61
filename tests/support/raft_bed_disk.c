/* The disk of a member: its log, the jobs that are under way to it, its state machine as stored, images put in place.
 */
#include "base/check.h"
#include "base/error.h"
#include "tests/support/raft_bed_impl.h"
#include <stdlib.h>

void bed_store_copy(struct raft_bed_store *to, const struct raft_bed_store *from)
{
    raft_conf_state_free(&to->conf);
    *to = *from;
    raft_conf_state_copy(&to->conf, &from->conf);
}

void bed_log_cut(struct raft_bed_member *m, size_t count)
{
    while (m->log_count > count) {
        shared_unref(m->log[--m->log_count].data);
    }
}

void bed_log_append(struct raft_bed_member *m, const struct raft_entry *e)
{
    CHECK(e->index > m->start.index && e->index <= m->start.index + m->log_count + 1);
    bed_log_cut(m, (size_t)(e->index - m->start.index - 1));
    if (m->log_count == m->log_capacity) {
        m->log_capacity = m->log_capacity * 2 + 64;
        m->log = mem_realloc(m->log, m->log_capacity * sizeof *m->log);
    }
    m->log[m->log_count] = *e;
    if (e->data != NULL) {
        shared_ref(e->data);
    }
    m->log_count++;
}

/* The log begins after `start`. What there is above it stays, be it an image's left-overs. */
void bed_log_begin(struct raft_bed_member *m, struct raft_position start)
{
    size_t drop = (size_t)(start.index - m->start.index);
    drop = drop < m->log_count ? drop : m->log_count;
    for (size_t i = 0; i < drop; i++) {
        shared_unref(m->log[i].data);
    }
    m->log_count -= drop;
    if (m->log_count > 0) {
        memmove(m->log, m->log + drop, m->log_count * sizeof *m->log);
    }
    m->start = start;
}

void bed_job_start(struct raft_bed_member *m, const struct raft_update *u)
{
    struct raft_bed_job *job = mem_zalloc(sizeof *job);
    job->count = u->append_count;
    job->entries = mem_alloc((job->count + 1) * sizeof *job->entries);
    for (size_t i = 0; i < job->count; i++) {
        job->entries[i] = u->append[i];
        if (job->entries[i].data != NULL) {
            shared_ref(job->entries[i].data);
        }
    }
    job->state = u->hard_state;
    job->has_state = u->hard_state_changed;
    job->must_sync = u->must_sync;
    job->save = u->save;
    *m->jobs_tail = job;
    m->jobs_tail = &job->next;
}

void bed_job_end(struct raft_bed_member *m, bool written)
{
    struct raft_bed_job *job = m->jobs;
    m->jobs = job->next;
    if (m->jobs == NULL) {
        m->jobs_tail = &m->jobs;
    }
    for (size_t i = 0; i < job->count; i++) {
        if (written) {
            bed_log_append(m, &job->entries[i]);
        }
        shared_unref(job->entries[i].data);
    }
    if (written && job->has_state) {
        m->state = job->state;
    }
    free(job->entries);
    free(job);
}

size_t raft_bed_jobs(const struct raft_bed_member *m)
{
    size_t n = 0;
    for (const struct raft_bed_job *job = m->jobs; job != NULL; job = job->next) {
        n++;
    }
    return n;
}

bool raft_bed_disk(struct raft_bed_member *m, size_t jobs)
{
    bool any = false;
    for (; jobs > 0 && m->jobs != NULL; jobs--) {
        struct raft_save save = m->jobs->save;
        bool sync = m->jobs->must_sync;
        bed_job_end(m, true);
        any = true;
        if (sync) {
            raft_durable(m->raft, save);
        }
    }
    return any;
}

bool raft_bed_log_read(struct raft_bed_member *m)
{
    if (!m->log_read_out) {
        return false;
    }
    m->log_read_out = false;
    uint64_t from = m->log_read_from, last = m->start.index + m->log_count;
    if (from <= m->start.index || from > last) {
        raft_log_entries(m->raft, from, NULL, 0, ERR_ABSENT);
        return true;
    }
    const struct raft_entry *entries = &m->log[from - m->start.index - 1];
    size_t count = 1, bytes = raft_entry_bytes(entries);
    while (from + count <= m->log_read_to && from + count <= last &&
           bytes + raft_entry_bytes(&entries[count]) <= m->log_read_bytes) {
        bytes += raft_entry_bytes(&entries[count++]);
    }
    raft_log_entries(m->raft, from, entries, count, 0);
    return true;
}

void raft_bed_store(struct raft_bed_member *m)
{
    if (m->raft == NULL || raft_status(m->raft).durable_index < m->applied) {
        return;
    }
    struct raft_bed_store now = {.applied = m->applied, .hash = m->hash, .conf = m->conf};
    bed_store_copy(&m->store, &now);
}

void raft_bed_compact(struct raft_bed_member *m, uint64_t index)
{
    if (m->raft == NULL || index > m->store.applied || index <= m->start.index) {
        return;
    }
    uint64_t durable = m->start.index + m->log_count;
    if (index > durable) {
        return;
    }
    size_t drop = (size_t)(index - m->start.index);
    struct raft_position start = {.index = index, .term = m->log[drop - 1].term};
    bed_log_begin(m, start);
    raft_compact(m->raft, index);
}

void raft_bed_log_append(struct raft_bed_member *m, uint64_t term)
{
    const struct raft_entry e = {.index = m->start.index + m->log_count + 1, .term = term};
    bed_log_append(m, &e);
    m->state.term = m->state.term > term ? m->state.term : term;
}

bool raft_bed_install(struct raft_bed_member *m, bool good)
{
    if (!m->installing) {
        return false;
    }
    raft_bed_disk(m, SIZE_MAX);
    m->installing = false;
    if (!good) {
        raft_snapshot_failed(m->raft);
        return true;
    }
    bed_log_begin(m, (struct raft_position){.index = m->install.applied, .term = m->install_term});
    bed_store_copy(&m->store, &m->install);
    m->applied = m->store.applied;
    m->hash = m->store.hash;
    raft_conf_state_free(&m->conf);
    raft_conf_state_copy(&m->conf, &m->store.conf);
    raft_snapshot_done(m->raft, m->start, &m->conf);
    return true;
}
