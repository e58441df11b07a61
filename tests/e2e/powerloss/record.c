/* A library to preload: records what a process does to the files under a folder.
 *
 *   POWERLOSS_ROOT=/data POWERLOSS_TRACE=/tmp/trace LD_PRELOAD=./record.so program
 *
 * Each call goes through to the real one and its effect is appended to the trace, both under one lock, so the trace has
 * the order in which the kernel saw them. A descriptor opened with O_DSYNC or O_SYNC is synced by each write. Not seen:
 * writes through a shared mapping, stdio (it calls no exported write), io_uring. The programs here use none of them for
 * data. fallocate that keeps the size changes nothing that a reader could see, and is left out. */
#include "tests/e2e/powerloss/record.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 65536, FILES = 65536, PATHS = 4096 };

struct descriptor {
    uint32_t file; /* 0 = not recorded */
    bool sync, folder, acked;
    char *path; /* below the root */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct descriptor fds[FDS];
static struct {
    dev_t device;
    ino_t inode;
} files[FILES]; /* [file - 1] */
static uint32_t file_count;
static int trace = -1;
static char root[PATHS];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether there is anything to record. */
static bool begin(void)
{
    const char *path = getenv("POWERLOSS_TRACE"), *folder = getenv("POWERLOSS_ROOT");
    if (trace < 0 && path != NULL && folder != NULL && realpath(folder, root) != NULL) {
        trace = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return trace >= 0;
}

__attribute__((constructor)) static void start(void)
{
    begin();
}

/* --- the trace --- */

static void append(enum record_kind kind, uint32_t file, uint64_t offset, const void *bytes, size_t len)
{
    struct record head = {.kind = kind, .file = file, .offset = offset, .len = len};
    struct iovec parts[2] = {{.iov_base = &head, .iov_len = sizeof head},
                             {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len}};
    if (REAL(writev)(trace, parts, 2) != (ssize_t)(sizeof head + len)) {
        abort();
    }
}

/* The path below the root, or NULL if it isn't. `folder` is openat's descriptor. */
static char *below_root(int folder, const char *path)
{
    char full[2 * PATHS], resolved[PATHS + 256], parent[2 * PATHS], link[64];
    if (trace < 0) {
        return NULL;
    }
    if (path[0] == '/') {
        snprintf(full, sizeof full, "%s", path);
    } else {
        char base[PATHS];
        ssize_t n = 0;
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if (folder == AT_FDCWD ? getcwd(base, sizeof base) == NULL : (n = readlink(link, base, sizeof base - 1)) < 0) {
            return NULL;
        }
        base[folder == AT_FDCWD ? (ssize_t)strlen(base) : n] = 0;
        snprintf(full, sizeof full, "%s/%s", base, path);
    }
    /* The last part may not exist: the parent must. */
    snprintf(parent, sizeof parent, "%s", full);
    char *slash = strrchr(parent, '/');
    const char *name = strrchr(full, '/') + 1;
    if (*name == 0 || strcmp(name, ".") == 0) {
        if (realpath(full, resolved) == NULL) {
            return NULL;
        }
    } else {
        *slash = 0;
        if (realpath(slash == parent ? "/" : parent, resolved) == NULL) {
            return NULL;
        }
        size_t n = strlen(resolved);
        snprintf(resolved + n, sizeof resolved - n, "/%s", name);
    }
    size_t n = strlen(root);
    if (strncmp(resolved, root, n) != 0 || (resolved[n] != 0 && resolved[n] != '/')) {
        return NULL;
    }
    return strdup(resolved[n] == 0 ? "" : resolved + n + 1);
}

static uint32_t file_of(const struct stat *st, bool *known)
{
    for (uint32_t i = file_count; i > 0; i--) {
        if (files[i - 1].device == st->st_dev && files[i - 1].inode == st->st_ino) {
            *known = true;
            return i;
        }
    }
    *known = false;
    files[file_count].device = st->st_dev;
    files[file_count].inode = st->st_ino;
    return ++file_count;
}

/* An inode's number may be used again by a new file once the old one is gone. */
static void file_forget(const struct stat *st)
{
    bool known;
    uint32_t file = file_of(st, &known);
    files[file - 1].inode = 0;
}

static void append_content(int fd, uint32_t file, uint64_t size)
{
    char bytes[65536], self[64];
    ssize_t n;
    uint64_t at = 0;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int reader = REAL(open)(self, O_RDONLY | O_CLOEXEC);
    while (at < size && (n = pread(reader, bytes, sizeof bytes, (off_t)at)) > 0) {
        append(RECORD_WRITE, file, at, bytes, (size_t)n);
        at += (uint64_t)n;
    }
    REAL(close)(reader);
    append(RECORD_SYNC, file, 0, NULL, 0);
}

/* --- opening --- */

static void opened(int fd, char *path, int flags, bool existed)
{
    struct stat st;
    bool known;
    struct descriptor *d = &fds[fd];
    if (fd >= FDS || fstat(fd, &st) != 0) {
        abort();
    }
    free(d->path);
    *d = (struct descriptor){.path = path, .sync = (flags & (O_DSYNC | O_SYNC)) != 0};
    d->folder = S_ISDIR(st.st_mode);
    d->acked = strcmp(path, "acked") == 0;
    if (d->folder || d->acked || !S_ISREG(st.st_mode)) {
        return;
    }
    d->file = file_of(&st, &known);
    if (!existed) {
        append(RECORD_CREATE, d->file, 0, path, strlen(path));
    } else if (!known) {
        append(RECORD_EXISTS, d->file, 0, path, strlen(path));
        append_content(fd, d->file, (uint64_t)st.st_size);
    } else if (flags & O_TRUNC) {
        append(RECORD_SIZE, d->file, 0, NULL, 0);
    }
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    pthread_mutex_lock(&lock);
    char *below = below_root(folder, path);
    struct stat st;
    bool existed = below != NULL && fstatat(folder, path, &st, 0) == 0;
    int fd = REAL(openat)(folder, path, flags, mode);
    int error = errno;
    if (fd >= 0 && below != NULL) {
        opened(fd, below, flags, existed);
    } else {
        free(below);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(args, int) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return open_at(AT_FDCWD, path, flags, mode);                                                                   \
    }
#define OPENAT(name)                                                                                                   \
    int name(int folder, const char *path, int flags, ...)                                                             \
    {                                                                                                                  \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return open_at(folder, path, flags, mode);                                                                     \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS) {
        free(fds[fd].path);
        fds[fd] = (struct descriptor){0};
    }
    int rc = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* --- writing --- */

static void written(int fd, uint64_t offset, const struct iovec *parts, int count, ssize_t len)
{
    struct descriptor *d = &fds[fd];
    for (int i = 0; i < count && len > 0; i++) {
        size_t n = (size_t)len < parts[i].iov_len ? (size_t)len : parts[i].iov_len;
        if (d->acked) {
            uint64_t number = 0;
            memcpy(&number, parts[i].iov_base, n < 8 ? n : 8);
            append(RECORD_ACKED, 0, number, NULL, 0);
            return;
        }
        append(RECORD_WRITE, d->file, offset, parts[i].iov_base, n);
        offset += n;
        len -= (ssize_t)n;
    }
    if (d->sync) {
        append(RECORD_SYNC, d->file, 0, NULL, 0);
    }
}

static bool is_recorded(int fd)
{
    return fd >= 0 && fd < FDS && (fds[fd].file != 0 || fds[fd].acked);
}

/* offset < 0: at the descriptor's own position. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset)
{
    pthread_mutex_lock(&lock);
    off_t at = offset;
    if (is_recorded(fd) && offset < 0) {
        at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t n = offset < 0 ? REAL(writev)(fd, parts, count) : REAL(pwritev)(fd, parts, count, offset);
    int error = errno;
    if (n > 0 && is_recorded(fd)) {
        written(fd, (uint64_t)at, parts, count, n);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (!is_recorded(fd)) {
        return REAL(write)(fd, bytes, len);
    }
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    return write_parts(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return is_recorded(fd) ? write_parts(fd, parts, count, -1) : REAL(writev)(fd, parts, count);
}

#define PWRITE(name)                                                                                                   \
    ssize_t name(int fd, const void *bytes, size_t len, off_t offset)                                                  \
    {                                                                                                                  \
        struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};                                    \
        return write_parts(fd, &part, 1, offset);                                                                      \
    }
#define PWRITEV(name)                                                                                                  \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset)                                           \
    {                                                                                                                  \
        return write_parts(fd, parts, count, offset);                                                                  \
    }

PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)

/* --- sizes --- */

static void size_changed(int fd)
{
    struct stat st;
    if (is_recorded(fd) && fstat(fd, &st) == 0) {
        append(RECORD_SIZE, fds[fd].file, (uint64_t)st.st_size, NULL, 0);
    }
}

#define SIZED(name, parameters, call)                                                                                  \
    int name parameters                                                                                                \
    {                                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        int rc = call;                                                                                                 \
        int error = errno;                                                                                             \
        if (rc == 0) {                                                                                                 \
            size_changed(fd);                                                                                          \
        }                                                                                                              \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return rc;                                                                                                     \
    }

SIZED(ftruncate, (int fd, off_t size), REAL(ftruncate)(fd, size))
SIZED(ftruncate64, (int fd, off_t size), REAL(ftruncate)(fd, size))
SIZED(fallocate, (int fd, int mode, off_t offset, off_t len), REAL(fallocate)(fd, mode, offset, len))
SIZED(fallocate64, (int fd, int mode, off_t offset, off_t len), REAL(fallocate)(fd, mode, offset, len))
SIZED(posix_fallocate, (int fd, off_t offset, off_t len), REAL(posix_fallocate)(fd, offset, len))
SIZED(posix_fallocate64, (int fd, off_t offset, off_t len), REAL(posix_fallocate)(fd, offset, len))

/* --- syncing --- */

static void synced(int fd)
{
    if (fd >= 0 && fd < FDS && fds[fd].folder) {
        append(RECORD_SYNC_NAMES, 0, 0, fds[fd].path, strlen(fds[fd].path));
    } else if (is_recorded(fd) && !fds[fd].acked) {
        append(RECORD_SYNC, fds[fd].file, 0, NULL, 0);
    }
}

#define SYNC(name)                                                                                                     \
    int name(int fd)                                                                                                   \
    {                                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        int rc = REAL(name)(fd);                                                                                       \
        int error = errno;                                                                                             \
        if (rc == 0) {                                                                                                 \
            synced(fd);                                                                                                \
        }                                                                                                              \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return rc;                                                                                                     \
    }

SYNC(fsync)
SYNC(fdatasync)

/* --- names --- */

static int rename_at(int from_folder, const char *from, int to_folder, const char *to)
{
    pthread_mutex_lock(&lock);
    char *a = below_root(from_folder, from), *b = below_root(to_folder, to);
    struct stat st;
    bool replaces = b != NULL && fstatat(to_folder, to, &st, 0) == 0;
    int rc = REAL(renameat)(from_folder, from, to_folder, to);
    int error = errno;
    if (rc == 0 && a != NULL && b != NULL) {
        char both[2 * PATHS];
        size_t n = strlen(a) + 1, m = strlen(b);
        memcpy(both, a, n);
        memcpy(both + n, b, m);
        append(RECORD_RENAME, 0, 0, both, n + m);
        if (replaces && st.st_nlink == 1) {
            file_forget(&st);
        }
    }
    free(a);
    free(b);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

/* A second name of a file that was opened before: its content is the same whatever it is called. */
int link(const char *from, const char *to)
{
    pthread_mutex_lock(&lock);
    char *below = below_root(AT_FDCWD, to);
    struct stat st;
    bool known;
    int rc = REAL(link)(from, to);
    int error = errno;
    if (rc == 0 && below != NULL && stat(from, &st) == 0) {
        append(RECORD_CREATE, file_of(&st, &known), 0, below, strlen(below));
    }
    free(below);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return rename_at(from_folder, from, to_folder, to);
}

static int remove_at(int folder, const char *path, int flags)
{
    pthread_mutex_lock(&lock);
    char *below = below_root(folder, path);
    struct stat st;
    bool existed = below != NULL && fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    int rc = REAL(unlinkat)(folder, path, flags);
    int error = errno;
    if (rc == 0 && existed) {
        append(RECORD_REMOVE, 0, 0, below, strlen(below));
        if (st.st_nlink == 1 || (flags & AT_REMOVEDIR) != 0) {
            file_forget(&st);
        }
    }
    free(below);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

int unlink(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    return remove_at(folder, path, flags);
}

int rmdir(const char *path)
{
    return remove_at(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    pthread_mutex_lock(&lock);
    char *below = below_root(folder, path);
    int rc = REAL(mkdirat)(folder, path, mode);
    int error = errno;
    if (rc == 0 && below != NULL) {
        append(RECORD_FOLDER, 0, 0, below, strlen(below));
    }
    free(below);
    pthread_mutex_unlock(&lock);
    errno = error;
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* --- what is there already --- */

static int note_existing(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    const char *below = path + strlen(root);
    (void)st;
    if (kind == FTW_D && at->level > 0) {
        append(RECORD_EXISTS, 0, 0, below + 1, strlen(below + 1));
    } else if (kind == FTW_F) {
        close(open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
    }
    return 0;
}

/* POWERLOSS_EXISTING=1: what is in the folder belongs to the trace, all of it durable. It ends with RECORD_ACKED 1. */
__attribute__((constructor)) static void start_existing(void)
{
    enum { OPEN_FOLDERS = 8 };
    if (getenv("POWERLOSS_EXISTING") != NULL && begin()) {
        nftw(root, note_existing, OPEN_FOLDERS, FTW_PHYS);
        append(RECORD_ACKED, 0, 1, NULL, 0);
    }
}
