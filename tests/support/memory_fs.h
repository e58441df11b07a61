/* A file system in memory behind raft/wal/wal_fs.h, for tests: any call can be made to fail, and a crash leaves what
 * the header says it may leave. */
#ifndef TESTS_SUPPORT_MEMORY_FS_H
#define TESTS_SUPPORT_MEMORY_FS_H

#include "raft/wal/wal_fs.h"

struct memory_fs;

struct memory_fs *memory_fs_new(void);
void memory_fs_free(struct memory_fs *m);
const struct wal_fs *memory_fs_vtable(struct memory_fs *m);

/* The call with this number (from 1, counted since the last call of this function) fails with a negative errno, and
 * those after it too if `from_then_on`. 0: none fails. A failed write may leave half of its bytes. */
void memory_fs_fail(struct memory_fs *m, uint64_t call, int negative_errno, bool from_then_on);
uint64_t memory_fs_calls(const struct memory_fs *m);          /* since memory_fs_fail was last called */
const char *memory_fs_failed_call(const struct memory_fs *m); /* name of the function that failed last, or "" */

/* Space in bytes over all files (allocated or written); UINT64_MAX at first. */
void memory_fs_space(struct memory_fs *m, uint64_t bytes);
uint64_t memory_fs_used(const struct memory_fs *m);

/* Power loss: what was not synced survives in part, decided by the seed. Files that were open may only be
 * closed after it (wal_abandon does that). */
void memory_fs_crash(struct memory_fs *m, uint64_t seed);
/* The process dies, the machine doesn't: everything written stays. */
void memory_fs_kill(struct memory_fs *m);

/* Whole files, durable at once. get: a view until the next call, empty with a NULL pointer if absent. */
void memory_fs_put(struct memory_fs *m, const char *path, struct bytes content);
struct bytes memory_fs_get(struct memory_fs *m, const char *path);
/* The names in a directory, sorted, separated by spaces; heap. */
char *memory_fs_names(struct memory_fs *m, const char *dir);

#endif
