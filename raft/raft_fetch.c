/* Entries that memory has dropped come back from the WAL's segments: for apply, which puts them into the log's slots,
 * and for followers that are behind, each of which keeps its own run of them until it was sent. One read at a time;
 * apply goes first, then followers in turn. */
#include "base/check.h"
#include "base/error.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

void fetched_clear(struct fetched *f)
{
    for (size_t i = 0; i < f->count; i++) {
        shared_unref(f->entries[i].data);
    }
    free(f->entries);
    *f = (struct fetched){0};
}

const struct raft_entry *raft_fetched(struct raft *r, struct member *m, size_t *count)
{
    struct fetched *f = &m->fetched;
    uint64_t next = m->progress.next;
    if (next >= f->from && next < f->from + f->count) {
        *count = (size_t)(f->from + f->count - next);
        return f->entries + (next - f->from);
    }
    if (r->fetch_out && r->fetch_for == m->progress.id) {
        return NULL;
    }
    f->wanted = next;
    return NULL;
}

/* Not before: messages of the update point to them. */
void raft_fetched_drop_sent(struct raft *r)
{
    for (size_t i = 0; i < r->member_count; i++) {
        struct fetched *f = &r->members[i].fetched;
        if (f->count > 0 &&
            (r->members[i].progress.next < f->from || r->members[i].progress.next >= f->from + f->count)) {
            uint64_t wanted = f->wanted;
            fetched_clear(f);
            f->wanted = wanted;
        }
    }
}

/* The last entry from `from` on that isn't in memory. */
static uint64_t absent_to(const struct raft *r, uint64_t from)
{
    const struct raft_log *l = &r->log;
    if (from < l->first) {
        return l->first - 1;
    }
    CHECK(from >= l->hollow_from && from < l->hollow_to);
    return l->hollow_to - 1;
}

static bool is_absent(const struct raft *r, uint64_t index)
{
    bool here = false;
    return raft_log_slot(&r->log, index, &here) == NULL || !here;
}

static void want(struct raft *r, struct raft_update *u, uint64_t id, uint64_t from, size_t max_bytes)
{
    r->fetch_for = id;
    u->log_read.wanted = true;
    u->log_read.from = from;
    u->log_read.to = absent_to(r, from);
    u->log_read.max_bytes = max_bytes;
}

void raft_fetch_fill(struct raft *r, struct raft_update *u)
{
    if (r->fetch_out) {
        return;
    }
    if (r->apply_wants != 0) {
        want(r, u, RAFT_NONE, r->apply_wants, r->log.bytes_max / 4);
        u->log_read.to = u->log_read.to < r->commit ? u->log_read.to : r->commit;
        return;
    }
    for (size_t i = 0; i < r->member_count && r->role == RAFT_LEADER; i++) {
        struct member *m = &r->members[(r->fetch_next + i) % r->member_count];
        uint64_t from = m->fetched.wanted;
        if (from == 0) {
            continue;
        }
        m->fetched.wanted = 0;
        if (from > r->log.start.index && from <= r->log.durable && is_absent(r, from)) {
            r->fetch_next = (r->fetch_next + i + 1) % r->member_count;
            want(r, u, m->progress.id, from, RAFT_FETCH_BYTES);
            return;
        }
    }
}

static void fill_for_apply(struct raft *r, const struct raft_entry *entries, size_t count)
{
    r->apply_wants = 0;
    for (size_t i = 0; i < count; i++) {
        if (!raft_log_fill(&r->log, &entries[i])) {
            break;
        }
    }
    raft_log_trim(&r->log, r->applied);
}

/* The read may be older than a change of leaders: only what is in the log counts. */
static void fill_for_member(struct raft *r, uint64_t from, const struct raft_entry *entries, size_t count)
{
    struct member *m = raft_member(r, r->fetch_for);
    if (m == NULL || r->role != RAFT_LEADER) {
        return;
    }
    struct fetched *f = &m->fetched;
    fetched_clear(f);
    f->from = from;
    f->entries = count == 0 ? NULL : mem_alloc(count * sizeof *f->entries);
    for (size_t i = 0; i < count && raft_log_term(&r->log, from + i) == entries[i].term; i++) {
        f->entries[i] = entries[i];
        if (entries[i].data != NULL) {
            shared_ref(entries[i].data);
        }
        f->count++;
    }
}

void raft_log_entries(struct raft *r, uint64_t from, const struct raft_entry *entries, size_t count, int error)
{
    raft_event(r);
    CHECK(r->fetch_out);
    CHECK(error == 0 || count == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(entries[i].index == from + i);
    }
    r->fetch_out = false;
    r->dirty = true;
    if (r->fetch_for == RAFT_NONE) {
        fill_for_apply(r, entries, count);
    } else if (error == ERR_ABSENT && from <= r->applied && from <= r->log.durable) {
        raft_log_compact(&r->log, from); /* the segment went while it was asked for: who needs it gets an image */
    } else {
        fill_for_member(r, from, entries, count);
    }
}
