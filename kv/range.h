/* Range reads as the kv files use them among themselves; the public part is in kv/kv.h. */
#ifndef KV_RANGE_H
#define KV_RANGE_H

#include "kv/kv.h"
#include "kv/row.h"
#include "kv/store.h"

/* A range inside a txn: reads at `current` (the txn's view of the present) unless the request names a revision. The
 * revision was checked. */
void range_start_at(struct kv *kv, const Etcdserverpb__RangeRequest *request, int64_t current, struct kv_range *range);

/* The next kv of a resolved range, one by one, instead of kv_range_read: fields are views valid until
 * store_rows_end(rows). KV_MORE = *fields is filled, KV_DONE = there is none any more, or an error. */
int range_next(struct kv_range *range, struct store_rows *rows, struct row_fields *fields);

/* A KeyValue message in the arena, its bytes copied. */
Mvccpb__KeyValue *range_message(const struct row_fields *fields, struct arena *arena);

/* An answer made of messages: allocates kvs for the resolved range and fills header.revision, count and more. */
Etcdserverpb__RangeResponse *range_response(const struct kv_range *range, struct arena *arena);
/* Appends up to budget kvs. KV_DONE when all are in. */
int range_fill(struct kv_range *range, Etcdserverpb__RangeResponse *response, struct arena *arena, size_t *budget);

#endif
