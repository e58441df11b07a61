/* The state machine at its dumbest: all changes in one array, those of a key in a chain, nothing ever forgotten. It
 * knows the requests that the simulated clients make and nothing else. */
#ifndef CHAOS_SIM_MODEL_H
#define CHAOS_SIM_MODEL_H

#include "kv/raft_internal.pb-c.h"
#include "kv/row.h"

enum { MODEL_KEYS = 24, MODEL_KEY_LEN = 3, MODEL_VALUE_MAX = 24 };

struct model_change {
    int64_t main, sub;
    int key;
    bool dead;
    size_t before; /* the change of this key before this one, counted from 1; 0 = none */
    int64_t create, version, lease;
    char value[MODEL_VALUE_MAX];
};

struct model_lease {
    int64_t id, ttl_s;
    bool there;
};

/* What a request's caller is told. */
struct model_outcome {
    int error;
    int64_t revision; /* header.revision; 0 where it isn't compared */
    int64_t deleted;
    bool succeeded;
    uint64_t digest; /* of all rows in the answer */
};

struct model {
    struct model_change *changes;
    size_t count, capacity;
    size_t newest[MODEL_KEYS];  /* as `before` */
    struct model_lease *leases; /* [i] = lease i + 1 */
    size_t lease_count, lease_capacity;
    uint64_t alarms[16]; /* members that have no space */
    size_t alarm_count;
    int64_t revision, compacted;
    int64_t sub; /* changes of the transaction under way */
};

void model_init(struct model *m);
void model_free(struct model *m);

/* Keys are "k00" to "k23". */
void model_key_name(int key, char out[MODEL_KEY_LEN + 1]);
int model_key_number(struct bytes key); /* -1 = none of them */
/* The keys [*lo, *hi) of a request's range. */
void model_range(ProtobufCBinaryData key, ProtobufCBinaryData end, int *lo, int *hi);

/* Applies one entry's request; requests of the member itself change nothing here. */
void model_apply(struct model *m, const Etcdserverpb__InternalRaftRequest *request, struct model_outcome *outcome);

/* The row of a key as of a revision; NULL = not there. */
const struct model_change *model_at(const struct model *m, int key, int64_t revision);
struct model_lease *model_lease(const struct model *m, int64_t id); /* NULL = there never was one */

/* Digests of rows, to compare answers with. */
uint64_t model_digest_row(uint64_t digest, const struct row_fields *row);
uint64_t model_digest_change(uint64_t digest, const struct model_change *c);
uint64_t model_digest_range(const struct model *m, int lo, int hi, int64_t revision, size_t *count);

/* The row's fields, with views into the change and `name`. */
struct row_fields model_fields(const struct model_change *c, char name[MODEL_KEY_LEN + 1]);
uint32_t model_hash_kv(const struct model *m, int64_t compacted, int64_t revision); /* as of the revision */

#endif
