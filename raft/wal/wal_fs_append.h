/* Writing at a file's end past the page cache (O_DIRECT): a put waits for the log, and of the time that a small write
 * and its fdatasync take a tenth is the page cache's writeback.
 *
 * The file's space is there before (wal_fs.allocate), and zeroes. A window of it is kept in memory as it stands in the
 * file, so that whole blocks can be written again and again as they fill. The first write into a window goes on to the
 * window's end: it makes all of its blocks ones that were written, and a later write into them is nothing but data.
 *
 * Where the file system has no such writes the same ones go through the page cache. */
#ifndef RAFT_WAL_WAL_FS_APPEND_H
#define RAFT_WAL_WAL_FS_APPEND_H

#include "base/bytes.h"
#include <sys/uio.h>

enum { WAL_FS_WINDOW = 256 << 10 };

/* Zeroed before. One thread at a time, as the file. */
struct wal_fs_append {
    bool direct, refused; /* the descriptor has O_DIRECT; the file system wants none of it */
    bool fresh;           /* nothing of the window was written yet */
    uint8_t *window;      /* NULL: none */
    size_t len;           /* of what is kept, in whole blocks */
    uint64_t at;          /* where in the file it stands: a multiple of WAL_FS_WINDOW */
};

/* True: all of it was written, or *error is a negative errno value. False: it is not inside of the file's whole blocks,
 * and not for here. */
bool wal_fs_append(struct wal_fs_append *a, int fd, const struct iovec *iov, size_t count, uint64_t offset, int *error);
/* Before anything else is done to the file: it is written in the usual way from there on, and what the window holds is
 * forgotten. */
void wal_fs_append_end(struct wal_fs_append *a, int fd);

#endif
