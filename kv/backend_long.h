/* Long keys in the two tables whose keys are names from outside (users, roles): LMDB's keys end at 511 bytes, bbolt's
 * at 32,768. Private to kv/backend.c, and the same over each implementation.
 *
 * A key of BACKEND_LONG bytes or more becomes a row key of exactly 511 bytes, the first 479 and a SHA-256 of all of it;
 * the row's value is the key's length (four bytes, big-endian), the key, the value. Shorter keys are rows as they are.
 * So rows whose keys begin with the same 479 bytes may stand out of order: scans gather such a run and sort it. */
#ifndef KV_BACKEND_LONG_H
#define KV_BACKEND_LONG_H

#include "kv/backend_driver.h"

bool backend_long_table(enum backend_table table);

/* Does the batch hold keys that must be made shorter? Then *out is a batch for the driver, in the arena `memory`. */
bool backend_long_batch(const struct backend_batch *batch, struct backend_batch *out, struct buffer *memory);

/* backend_get and backend_scan of such a table. */
int backend_long_get(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value);
int backend_long_scan(struct backend_read *r, enum backend_table table, struct bytes from,
                      bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);

#endif
