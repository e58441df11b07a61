/* Faults of memory under a mapped database file. A page that the disk cannot give, or that a cut file no longer has,
 * arrives as SIGBUS; a damaged page number that LMDB followed out of the map arrives as SIGSEGV. Both end the member
 * with a line (a JSON object, as the log has them) that names the file and, where it is known, the offset (design.md
 * "Storage"): there is no way back out of LMDB in the middle of an operation.
 *
 * Faults that have nothing to do with a registered map go to the handler that was there before. */
#ifndef KV_LMDB_GUARD_H
#define KV_LMDB_GUARD_H

#include <stddef.h>

struct lmdb_guard;

/* From now on a fault in [map, map + len) is reported with this file's name. Installs the signal handlers the first
 * time. NULL when there is no room (64 maps at a time): the map is then not guarded. The name is copied, cut at 4,095
 * bytes. */
struct lmdb_guard *lmdb_guard_add(const char *path, const void *map, size_t len);
void lmdb_guard_remove(struct lmdb_guard *guard); /* NULL is allowed */

/* Between these two, a SIGSEGV of this thread anywhere is put down to this file. Nests one deep: enter returns what
 * leave puts back. A store to a thread's own variable: cheap enough for each read. */
struct lmdb_guard *lmdb_guard_enter(struct lmdb_guard *guard);
void lmdb_guard_leave(struct lmdb_guard *before);

#endif
