/* A dumb store under a watch hub, for tests: all changes that ever were, in an array; and the hub's messages decoded
 * again. Keys and values are short texts. */
#ifndef TESTS_SUPPORT_WATCH_BED_H
#define TESTS_SUPPORT_WATCH_BED_H

#include "base/arena.h"
#include "base/random.h"
#include "kv/rpc.pb-c.h"
#include "kv/watch.h"

struct watch_change {
    int64_t rev, sub;
    bool tombstone, created;
    struct bytes key, row; /* heap */
};

struct watch_bed {
    struct watch_change *changes;
    size_t count, capacity;
    int64_t current, compacted;
    struct random random;
    bool moody; /* rows may wait and stop early */
    struct watch_hub *hub;
    struct bytes none;
};

/* A hub over this store, cluster 7, member 9, term 3. Streams' arguments are `int *`, counted up by each ready. */
struct watch_hub *watch_bed_hub(struct watch_bed *s, struct watch_config config);
void watch_bed_free(struct watch_bed *s);

/* What the key was as of a revision; NULL = not there. */
const struct watch_change *watch_bed_newest(const struct watch_bed *s, struct bytes key, int64_t rev);
/* One change of the transaction under way (revision current + 1), published if there is a hub. */
void watch_bed_change(struct watch_bed *s, int64_t sub, struct bytes key, bool tombstone, struct bytes value);
/* Whole transactions. */
void watch_bed_put(struct watch_bed *s, const char *key, const char *value);
void watch_bed_delete(struct watch_bed *s, const char *key);

/* The output as one run of bytes, appended to `all`. */
void watch_bed_flatten(const struct watch_out *out, struct buffer *all);
/* Takes the first message off; NULL = none. */
Etcdserverpb__WatchResponse *watch_bed_message(struct buffer *all, struct arena *arena);
/* Runs the hub dry and pulls everything of the stream into `all`. */
void watch_bed_pull(struct watch_hub *h, struct watch_stream *s, struct buffer *all);

#endif
