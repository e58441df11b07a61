/* The real file layer. */
#include "base/check.h"
#include "base/folder.h"
#include "raft/wal/wal_fs.h"
#include "raft/wal/wal_fs_append.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct posix_file {
    struct wal_file base;
    int fd;
    bool appended; /* WAL_FS_APPEND */
    struct wal_fs_append append;
};

/* For all but writing at the end and syncing: from here on the file goes through the page cache again. */
static int plain_fd(struct wal_file *file)
{
    struct posix_file *posix = (struct posix_file *)file;
    wal_fs_append_end(&posix->append, posix->fd);
    return posix->fd;
}

static int result(int status)
{
    return status < 0 ? -errno : 0;
}

static int posix_make_dir(const struct wal_fs *fs, const char *path)
{
    (void)fs;
    return result(mkdir(path, 0700));
}

static int posix_remove_dir(const struct wal_fs *fs, const char *path)
{
    (void)fs;
    return result(rmdir(path));
}

static int posix_list(const struct wal_fs *fs, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(arg, entry->d_name);
        }
    }
    int error = -errno;
    closedir(dir);
    return error;
}

static int posix_rename(const struct wal_fs *fs, const char *from, const char *to)
{
    (void)fs;
    return result(rename(from, to));
}

static int posix_unlink(const struct wal_fs *fs, const char *path)
{
    (void)fs;
    return result(unlink(path));
}

static int posix_sync_dir(const struct wal_fs *fs, const char *path)
{
    (void)fs;
    return result(folder_sync(path));
}

static int posix_open(const struct wal_fs *fs, const char *path, unsigned flags, struct wal_file **out)
{
    int how = O_CLOEXEC | ((flags & WAL_FS_WRITE) ? O_RDWR : O_RDONLY) | ((flags & WAL_FS_CREATE) ? O_CREAT : 0) |
              ((flags & WAL_FS_TRUNCATE) ? O_TRUNC : 0);
    int fd = open(path, how, (flags & WAL_FS_SHARED_MODE) ? 0666 : 0600);
    if (fd < 0) {
        return -errno;
    }
    struct posix_file *file = mem_alloc(sizeof *file);
    *file = (struct posix_file){.base = {.fs = fs}, .fd = fd, .appended = (flags & WAL_FS_APPEND) != 0};
    *out = &file->base;
    return 0;
}

static void posix_close(struct wal_file *file)
{
    close(plain_fd(file));
    free(file);
}

static int posix_size(struct wal_file *file, uint64_t *out)
{
    struct stat st;
    if (fstat(plain_fd(file), &st) < 0) {
        return -errno;
    }
    *out = (uint64_t)st.st_size;
    return 0;
}

static int posix_read(struct wal_file *file, void *data, size_t len, uint64_t offset, size_t *got)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(plain_fd(file), (uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        done += n < 0 ? 0 : (size_t)n;
    }
    *got = done;
    return 0;
}

static int posix_write(struct wal_file *file, struct iovec *iov, size_t count, uint64_t offset)
{
    struct posix_file *posix = (struct posix_file *)file;
    int error;
    if (posix->appended && wal_fs_append(&posix->append, posix->fd, iov, count, offset, &error)) {
        return error;
    }
    while (count > 0) {
        ssize_t n = pwritev(plain_fd(file), iov, (int)(count > IOV_MAX ? IOV_MAX : count), (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        offset += (uint64_t)n;
        size_t left = (size_t)n;
        while (count > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            count--;
        }
        if (count > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

/* A file system gives a file all that is left before it says that it is too little. Meanwhile nobody else could write,
 * and the store's writes would fail without a reason that can be seen afterwards. */
static bool room_for(int fd, uint64_t end)
{
    struct stat st;
    uint64_t has = fstat(fd, &st) < 0 ? end : (uint64_t)st.st_blocks * 512;
    return end <= has || end - has <= folder_room(fd);
}

static int posix_allocate(struct wal_file *file, uint64_t offset, uint64_t len)
{
    int status;
    if (!room_for(plain_fd(file), offset + len)) {
        return -ENOSPC;
    }
    do {
        status = fallocate(plain_fd(file), 0, (off_t)offset, (off_t)len);
    } while (status < 0 && errno == EINTR);
    if (status == 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) {
        return result(status);
    }
    uint64_t size = 0;
    int error = posix_size(file, &size);
    if (error == 0 && size < offset + len) {
        error = result(ftruncate(plain_fd(file), (off_t)(offset + len)));
    }
    return error != 0 ? error : -EOPNOTSUPP;
}

static int posix_zero(struct wal_file *file, uint64_t offset, uint64_t len)
{
    int status;
    do {
        status = fallocate(plain_fd(file), FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)len);
    } while (status < 0 && errno == EINTR);
    return status < 0 && errno == ENOSYS ? -EOPNOTSUPP : result(status);
}

static int posix_truncate(struct wal_file *file, uint64_t len)
{
    return result(ftruncate(plain_fd(file), (off_t)len));
}

static int posix_sync(struct wal_file *file)
{
    return result(fdatasync(((struct posix_file *)file)->fd));
}

static int posix_lock(struct wal_file *file)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(plain_fd(file), F_OFD_SETLK, &lock) == 0) {
        return 0;
    }
    if (errno == EINVAL || errno == ENOLCK) { /* no OFD locks there: as etcd, the older kind */
        return flock(plain_fd(file), LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    return errno == EACCES ? -EAGAIN : -errno;
}

const struct wal_fs *wal_fs_posix(void)
{
    static const struct wal_fs fs = {
        .make_dir = posix_make_dir,
        .remove_dir = posix_remove_dir,
        .list = posix_list,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .sync_dir = posix_sync_dir,
        .open = posix_open,
        .close = posix_close,
        .size = posix_size,
        .read = posix_read,
        .write = posix_write,
        .allocate = posix_allocate,
        .zero = posix_zero,
        .truncate = posix_truncate,
        .sync = posix_sync,
        .lock = posix_lock,
    };
    return &fs;
}
