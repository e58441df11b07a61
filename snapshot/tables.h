/* The buckets of an image, in the order in which bbolt has them (by name), and the tables of the store that they are.
 */
#ifndef SNAPSHOT_TABLES_H
#define SNAPSHOT_TABLES_H

#include "kv/backend.h"

enum { SNAPSHOT_TABLES = 10 };
extern const enum backend_table snapshot_tables[SNAPSHOT_TABLES];

/* What functions that do a bounded slice return besides errors. */
enum snapshot_progress { SNAPSHOT_DONE = 0, SNAPSHOT_MORE = 1 };

#endif
