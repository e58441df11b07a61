/* The log as consensus has it in memory: the terms of all entries since the snapshot, and the data of some of them,
 * bounded by bytes. Entries whose data isn't here come back from the WAL.
 *
 *     start    first        hollow_from      hollow_to             durable   saved   last
 *       |        |---- here -----|---- dropped ---|------- here -------|---------|-----|
 *
 * Dropped first is what was applied, from the front. If what is not yet applied alone exceeds the bound, the newest
 * durable entries lose their data (apply comes to them last); what isn't durable keeps it. */
#ifndef RAFT_RAFT_LOG_H
#define RAFT_RAFT_LOG_H

#include "raft/terms.h"
#include "raft/types.h"

struct raft_log {
    struct raft_position start; /* the log begins after it; its term is known */
    struct terms terms;
    struct raft_entry *slots; /* of first..last; data of the hollow ones is NULL */
    size_t head, capacity;
    uint64_t first, last;
    uint64_t hollow_from, hollow_to; /* [from, to) has no data; from == to: there is none such */
    uint64_t saved, durable;
    size_t bytes, bytes_max;
};

void raft_log_init(struct raft_log *l, struct raft_position start, size_t bytes_max);
void raft_log_free(struct raft_log *l);

void raft_log_append(struct raft_log *l, const struct raft_entry *e); /* index last + 1; takes a reference */
void raft_log_truncate(struct raft_log *l, uint64_t from);            /* drops from..last */
void raft_log_compact(struct raft_log *l, uint64_t index);            /* the log begins after index */

uint64_t raft_log_term(const struct raft_log *l, uint64_t index); /* 0: unknown */
/* The entry's index, term and type; *here tells whether its data is. NULL below first or above last. */
const struct raft_entry *raft_log_slot(const struct raft_log *l, uint64_t index, bool *here);
/* Entries from index on, as far as they follow each other with their data here; *count of them. NULL and 0: the first
 * isn't here. Valid until the log changes. */
const struct raft_entry *raft_log_view(const struct raft_log *l, uint64_t index, size_t *count);
/* The highest index at or below `index` whose term is at most `term`; the start of the log if there is none above. */
uint64_t raft_log_last_of_term(const struct raft_log *l, uint64_t index, uint64_t term);
/* Puts data back. False if it isn't the entry that was dropped. */
bool raft_log_fill(struct raft_log *l, const struct raft_entry *e);
/* Keeps to bytes_max, as far as what isn't durable allows. */
void raft_log_trim(struct raft_log *l, uint64_t applied);

#endif
