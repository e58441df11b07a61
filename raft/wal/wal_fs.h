/* The file layer under the WAL and the .snap files: all that they ask of an operating system. Real: wal_fs_posix().
 * Simulated (chaos/sim): unsynced writes are lost or torn at a crash, any call can be made to fail.
 *
 * What is durable, and when (an implementation that simulates crashes keeps exactly to this):
 *   - bytes written, zeroes allocated and a new length: after sync() of the file returned 0. Until then any subset of
 *     the written 512-byte sectors may survive, in any order; length and content may survive apart from each other.
 *   - a name created, renamed or removed in a directory: after sync_dir() of that directory returned 0. Until then each
 *     such operation may or may not have happened, but a rename happens wholly or not at all.
 *   - a file whose name is durable but whose content was never synced has any content, zeroes or nothing.
 *   - after a failed sync nothing is known of what was written since the last good one; the WAL never calls it again.
 *
 * Functions return 0 or a negative errno value (-EIO, -ENOSPC, -EDQUOT, -ENOENT, -EEXIST, -EAGAIN, …); numbers rather
 * than errors of base/error.h so that messages can say what the system said. Paths are '/'-separated and belong to the
 * caller. Calls on different files may come from different threads; calls on one file come from one at a time. */
#ifndef RAFT_WAL_WAL_FS_H
#define RAFT_WAL_WAL_FS_H

#include "base/bytes.h"
#include <sys/uio.h>

enum {
    WAL_FS_WRITE = 1,       /* open for reading and writing; without it for reading only */
    WAL_FS_CREATE = 2,      /* create if absent, mode 0600 */
    WAL_FS_TRUNCATE = 4,    /* to length 0 */
    WAL_FS_SHARED_MODE = 8, /* with CREATE: mode 0666 less the umask (.snap files) */
    WAL_FS_APPEND = 16,     /* written at the end of what it holds, into zeroes, and synced after each time */
};

/* An open file. An implementation's own struct begins with it. */
struct wal_file {
    const struct wal_fs *fs;
};

struct wal_fs {
    /* Directories. make_dir: mode 0700; -EEXIST if there is one. list: each name except "." and "..", in any order; the
     * names are views. rename replaces the target if it is a file; it moves directories too. */
    int (*make_dir)(const struct wal_fs *fs, const char *path);
    int (*remove_dir)(const struct wal_fs *fs, const char *path); /* empty ones only: -ENOTEMPTY */
    int (*list)(const struct wal_fs *fs, const char *path, void (*each)(void *arg, const char *name), void *arg);
    int (*rename)(const struct wal_fs *fs, const char *from, const char *to);
    int (*unlink)(const struct wal_fs *fs, const char *path);
    int (*sync_dir)(const struct wal_fs *fs, const char *path);

    /* Files. */
    int (*open)(const struct wal_fs *fs, const char *path, unsigned flags, struct wal_file **out);
    void (*close)(struct wal_file *file); /* gives the lock back; writes nothing */
    int (*size)(struct wal_file *file, uint64_t *out);
    /* Reads up to len bytes; *got is less only at the end of the file. */
    int (*read)(struct wal_file *file, void *data, size_t len, uint64_t offset, size_t *got);
    /* Writes all, growing the file if need be, or fails; after a failure any part of it may have been written. iov may
     * be changed by the call. */
    int (*write)(struct wal_file *file, struct iovec *iov, size_t count, uint64_t offset);
    /* Space for bytes offset..offset+len, growing the length; what was not there before reads as zeroes. After it a
     * write inside fails for lack of space only where the file system can't promise otherwise. -EOPNOTSUPP: grown, but
     * without a promise (the caller goes on). */
    int (*allocate)(struct wal_file *file, uint64_t offset, uint64_t len);
    /* Bytes offset..offset+len, inside of the file, read as zeroes from now on and keep their space; without writing or
     * reading them. Optional: NULL or -EOPNOTSUPP, then zeroes are written over what isn't zero. */
    int (*zero)(struct wal_file *file, uint64_t offset, uint64_t len);
    int (*truncate)(struct wal_file *file, uint64_t len); /* shorter or longer; longer reads as zeroes */
    int (*sync)(struct wal_file *file);                   /* fdatasync: content and length */
    /* An exclusive lock on the whole file for as long as it is open (F_OFD_SETLK; etcd's WAL does the same, so the two
     * exclude each other). -EAGAIN if somebody else, also in this process, holds it. Needs WAL_FS_WRITE. */
    int (*lock)(struct wal_file *file);
};

/* The real one. Never freed. */
const struct wal_fs *wal_fs_posix(void);

#endif
