/* A range read at work, for kv/range*.c only. */
#ifndef KV_RANGE_WORK_H
#define KV_RANGE_WORK_H

#include "kv/range.h"
#include "kv/range_sort.h"

enum range_stage { STAGE_COUNT, STAGE_COLLECT, STAGE_SORT, STAGE_MEASURE, STAGE_READY };

struct kv_range_work {
    struct index_range range;
    int64_t current; /* the present for this reader: a write transaction's own changes count for it */
    const Etcdserverpb__RangeRequest *request;
    enum range_stage stage;
    bool collected; /* the answer is a list of items */
    struct index_count counting;
    bool counted;   /* range->count is known before the walk */
    uint64_t limit; /* of keys to fetch; UINT64_MAX = none */
    struct index_walk walk;
    struct range_items items;
    struct range_sort sort;
    size_t looked;          /* bytes of rows that the last comparison had to look at */
    struct store_rows rows; /* for a step */
    size_t at;              /* items: measured or read so far */
    uint64_t read_left;     /* kvs not read yet */
    uint64_t chunk_left;    /* of these, up to the end of the chunk; UINT64_MAX = no chunks */
    uint64_t chunk_counted; /* rows of the chunk being cut, its bytes */
    uint64_t chunk_bytes;
    struct index_walk chunk_walk;
    size_t chunk_at;
    bool chunk_open;
    /* the kv being copied out */
    struct range_item item;
    uint8_t head[16];
    size_t head_len;
    size_t offset;      /* of what is copied, head included; 0 = none open */
    struct buffer made; /* a row that is not the stored one (keys only), or one that goes out in several slices */
    bool kept;          /* made holds the open row */
};

bool range_has_filter(const Etcdserverpb__RangeRequest *request);
/* The key as of a revision; false if it is not there then. */
bool range_item_at(struct range_item *item, const struct index_key *key, int64_t revision);
struct row_fields range_item_fields(const struct range_item *item); /* without the value */
/* Length of this kv in the answer, tag and length included. */
uint64_t range_item_bytes(const Etcdserverpb__RangeRequest *request, const struct range_item *item);

#endif
