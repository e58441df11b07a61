/* Physical compaction: takes what a compaction made unreachable out of index and store, in slices (mvcc.md
 * "Compaction", bbolt.md "Compaction hash cache"). The interface is in kv/kv.h; here is what the other kv files see. */
#ifndef KV_COMPACT_H
#define KV_COMPACT_H

#include "base/bytes.h"

struct kv;

#define COMPACT_HASHES 10

struct compact_hash {
    int64_t revision, compact_revision;
    uint32_t hash;
};

/* One compaction that was decided by the log and is not finished. */
struct compaction {
    int64_t revision;
    int64_t previous; /* compact revision before it */
    uint64_t index;   /* of its entry */
    bool hash_wanted; /* the one before it had finished */
};

struct compactions {
    struct compaction *queue; /* oldest first */
    size_t count, capacity;
    bool hash_done; /* of queue[0], or not wanted */
    bool hash_ok;
    uint32_t hash;
    bool running;         /* queue[0] is deleting */
    struct buffer cursor; /* the first key not looked at */
    bool repack_wanted;
    size_t dropped;          /* by the running one */
    int64_t finished;        /* finishedCompactRev, also if not stored yet; INT64_MIN = never */
    int64_t finished_stored; /* the same, durable */
    struct compact_hash hashes[COMPACT_HASHES];
    size_t hash_count; /* newest last */
};

void compact_init(struct kv *kv);
void compact_free(struct kv *kv);
/* The log said so: 0, ERR_COMPACTED, ERR_FUTURE_REV. */
int compact_apply(struct kv *kv, int64_t revision, uint64_t index);
/* At start: this one was decided and not finished. */
void compact_resume(struct kv *kv, int64_t revision, int64_t finished);

#endif
