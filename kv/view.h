/* What a view of the store (backend_view_open) is a view of: where in the log it stands, and what a generation built
 * from it would begin with. Nothing but the view is read. Any thread that has the view. */
#ifndef KV_VIEW_H
#define KV_VIEW_H

#include "kv/kv.h"

struct kv_view_facts {
    uint64_t index, term;        /* of the last entry applied in it */
    int64_t revision;            /* current; 1 = nothing was ever written */
    int64_t compact_revision;    /* -1 = never compacted */
    uint64_t *voters, *learners; /* ascending, as table members has them; arena */
    size_t voter_count, learner_count;
    const char *storage_version; /* "3.7.0"; "" if not set yet; arena */
};

/* 0 or ERR_CORRUPT_DATA. */
int kv_view_facts(struct backend_read *view, struct arena *arena, struct kv_view_facts *out);

/* The current revision, at least `floor`: of the last row of table key. */
int kv_view_revision(struct backend_read *view, int64_t floor, int64_t *revision);
/* The larger of the scheduled and the finished compaction's revision; -1 = none. */
int kv_view_compact(struct backend_read *view, int64_t *revision);

#endif
