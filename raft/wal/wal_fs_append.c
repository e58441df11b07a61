#include "raft/wal/wal_fs_append.h"

#include "base/check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What direct writes begin at and are long, on the devices that there are: a multiple of their logical block. */
enum { BLOCK = 4096 };

/* --- the descriptor --- */

static bool set_direct(struct wal_fs_append *a, int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) < 0) {
        return false;
    }
    a->direct = direct;
    return true;
}

/* EINVAL is how a file system says that it has no direct I/O, or none with such blocks: then without. */
static bool refused(struct wal_fs_append *a, int fd)
{
    if (errno != EINVAL || !a->direct) {
        return false;
    }
    a->refused = true;
    return set_direct(a, fd, false);
}

static int write_blocks(struct wal_fs_append *a, int fd, size_t from, size_t to)
{
    while (from < to) {
        ssize_t n = pwrite(fd, a->window + from, to - from, (off_t)(a->at + from));
        if (n < 0 && errno != EINTR && !refused(a, fd)) {
            return -errno;
        }
        from += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

static int read_blocks(struct wal_fs_append *a, int fd)
{
    for (size_t got = 0; got < a->len;) {
        ssize_t n = pread(fd, a->window + got, a->len - got, (off_t)(a->at + got));
        if (n == 0 || (n < 0 && errno != EINTR && !refused(a, fd))) {
            return n == 0 ? -EIO : -errno;
        }
        got += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

/* --- the window --- */

static int whole_blocks(int fd, uint64_t *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    *out = (uint64_t)st.st_size / BLOCK * BLOCK;
    return 0;
}

static int move_window(struct wal_fs_append *a, int fd, uint64_t to)
{
    uint64_t end = 0;
    int error = whole_blocks(fd, &end);
    if (error != 0) {
        return error;
    }
    if (a->window == NULL) {
        a->window = aligned_alloc(BLOCK, WAL_FS_WINDOW);
        CHECK(a->window != NULL);
    }
    CHECK(to < end);
    a->at = to;
    a->len = end - to < WAL_FS_WINDOW ? (size_t)(end - to) : WAL_FS_WINDOW;
    a->fresh = true;
    return read_blocks(a, fd);
}

/* --- the parts of a write --- */

struct parts {
    const struct iovec *next;
    size_t used; /* of the next one */
};

static void gather(struct parts *parts, uint8_t *to, size_t len)
{
    while (len > 0) {
        size_t left = parts->next->iov_len - parts->used, n = left < len ? left : len;
        memcpy(to, (const uint8_t *)parts->next->iov_base + parts->used, n);
        to += n;
        len -= n;
        parts->used += n;
        if (n == left) {
            *parts = (struct parts){.next = parts->next + 1};
        }
    }
}

static uint64_t bytes_of_all(const struct iovec *iov, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

/* --- the face --- */

static bool in_window(const struct wal_fs_append *a, uint64_t offset)
{
    return a->window != NULL && a->at <= offset && offset < a->at + a->len;
}

static int write_all(struct wal_fs_append *a, int fd, struct parts parts, uint64_t offset, uint64_t end)
{
    while (offset < end) {
        int error = in_window(a, offset) ? 0 : move_window(a, fd, offset / WAL_FS_WINDOW * WAL_FS_WINDOW);
        if (error != 0) {
            return error;
        }
        size_t from = (size_t)(offset - a->at), to = end - a->at < a->len ? (size_t)(end - a->at) : a->len;
        gather(&parts, a->window + from, to - from);
        offset = a->at + to;
        error = write_blocks(a, fd, from / BLOCK * BLOCK, a->fresh ? a->len : (to + BLOCK - 1) / BLOCK * BLOCK);
        if (error != 0) {
            return error;
        }
        a->fresh = false;
    }
    return 0;
}

bool wal_fs_append(struct wal_fs_append *a, int fd, const struct iovec *iov, size_t count, uint64_t offset, int *error)
{
    uint64_t end = offset + bytes_of_all(iov, count), blocks_end = a->at + a->len;
    *error = in_window(a, offset) && end <= blocks_end ? 0 : whole_blocks(fd, &blocks_end);
    if (*error == 0 && end > blocks_end) {
        return false;
    }
    if (!a->direct && !a->refused && !set_direct(a, fd, true)) {
        a->refused = true;
    }
    if (*error == 0) {
        *error = write_all(a, fd, (struct parts){.next = iov}, offset, end);
    }
    return true;
}

void wal_fs_append_end(struct wal_fs_append *a, int fd)
{
    if (a->direct) {
        CHECK(set_direct(a, fd, false));
    }
    free(a->window);
    a->window = NULL;
}
