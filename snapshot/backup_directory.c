/* A directory as a target. What is being written is called .NAME.part, is locked (flock) by who writes it, and gets its
 * name when it is durable: link() refuses a name that is taken already. */
#include "snapshot/backup_target.h"

#include "base/check.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/folder.h"
#include "base/list.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part"
#define SETTLE_BYTES ((uint64_t)1 << 20)

struct directory {
    struct backup_target target; /* first */
    char *path;
    char *part, *name; /* what is written, and what it will be called; NULL = nothing is */
    int fd;
    uint64_t written, settled; /* bytes; those that are on their way to the disk */
    struct snapshot_file file; /* opened to read */
};

static struct directory *of(struct backup_target *target)
{
    return container_of(target, struct directory, target);
}

/* errno as a result, with the reason: "could not write /backups/x: No space left on device". */
static int failed(struct directory *d, const char *what, const char *name)
{
    int number = errno;
    snprintf(d->target.reason, sizeof d->target.reason, "could not %s %s%s%s: %s", what, d->path,
             name == NULL ? "" : "/", name == NULL ? "" : name, strerror(number));
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case ENOENT:
        return ERR_ABSENT;
    default:
        return ERR_IO;
    }
}

static char *inside(const struct directory *d, const char *name)
{
    return mem_printf("%s/%s", d->path, name);
}

/* --- reading --- */

static int list(struct backup_target *target, struct backup_listing *out)
{
    struct directory *d = of(target);
    DIR *stream = opendir(d->path);
    if (stream == NULL) {
        return failed(d, "read", NULL);
    }
    struct dirent *entry;
    for (errno = 0; (entry = readdir(stream)) != NULL; errno = 0) {
        struct stat st;
        if (entry->d_name[0] != '.' && fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            backup_listing_add(out, entry->d_name, (uint64_t)st.st_size);
        }
    }
    int error = errno == 0 ? 0 : failed(d, "read", NULL);
    closedir(stream);
    backup_listing_sort(out);
    return error;
}

static int read_all(struct directory *d, int fd, const char *name, size_t max, struct buffer *out)
{
    for (size_t all = 0;;) {
        ssize_t n = read(fd, buffer_reserve(out, 4096), 4096);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? 0 : failed(d, "read", name);
        }
        out->len += (size_t)n;
        all += (size_t)n;
        if (all > max) {
            errno = EFBIG;
            failed(d, "read", name);
            return ERR_IO;
        }
    }
}

static int get(struct backup_target *target, const char *name, size_t max, struct buffer *out)
{
    struct directory *d = of(target);
    char *path = inside(d, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    if (fd < 0) {
        return failed(d, "open", name);
    }
    int error = read_all(d, fd, name, max, out);
    close(fd);
    return error;
}

static int open_source(struct backup_target *target, const char *name, struct snapshot_source **out)
{
    struct directory *d = of(target);
    char *path = inside(d, name != NULL ? name : d->part);
    int error = snapshot_file_open(&d->file, path);
    free(path);
    if (error != 0) {
        errno = -error;
        return failed(d, "open", name != NULL ? name : d->part);
    }
    *out = &d->file.source;
    return 0;
}

static void close_source(struct backup_target *target, struct snapshot_source *source)
{
    struct directory *d = of(target);
    CHECK(source == &d->file.source);
    snapshot_file_close(&d->file);
}

/* --- writing --- */

static int sync_directory(struct directory *d)
{
    return folder_sync(d->path) == 0 ? 0 : failed(d, "sync", NULL);
}

static void drop(struct directory *d)
{
    if (d->fd >= 0) {
        close(d->fd);
    }
    d->fd = -1;
    free(d->part);
    free(d->name);
    d->part = d->name = NULL;
}

static void abort_writing(struct backup_target *target)
{
    struct directory *d = of(target);
    if (d->part != NULL) {
        char *path = inside(d, d->part);
        unlink(path);
        free(path);
        drop(d);
    }
}

/* Opens what is to be written, locked; -1 with errno. Who sweeps may have had the lock first, and removed it. */
static int open_part(const char *path, int flags)
{
    for (;;) {
        struct stat st;
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
        if (fd < 0) {
            return -1;
        }
        /* a file system without locks: sweep leaves what it cannot lock */
        if (flock(fd, LOCK_EX) != 0 || fstat(fd, &st) != 0 || st.st_nlink > 0) {
            return fd;
        }
        close(fd);
    }
}

static int begin(struct backup_target *target, const char *name)
{
    struct directory *d = of(target);
    CHECK(d->part == NULL);
    d->written = d->settled = 0;
    d->name = mem_strdup(name);
    d->part = mem_printf(".%s" PART, name);
    char *path = inside(d, d->part);
    d->fd = open_part(path, O_EXCL);
    int error = d->fd < 0 ? failed(d, "create", d->part) : 0;
    free(path);
    if (error != 0) {
        drop(d);
        return error;
    }
    return 0;
}

/* What is written goes to the disk piece by piece: all of it at once, by the sync at the end, would hold up the log's
 * syncs if it is the same disk. A file system that cannot do it does it at the end. */
static void settle(struct directory *d)
{
    while (d->written - d->settled >= SETTLE_BYTES) {
        (void)sync_file_range(d->fd, (off_t)d->settled, SETTLE_BYTES, SYNC_FILE_RANGE_WRITE);
        if (d->settled >= SETTLE_BYTES) {
            (void)sync_file_range(d->fd, (off_t)(d->settled - SETTLE_BYTES), SETTLE_BYTES,
                                  SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        }
        d->settled += SETTLE_BYTES;
    }
}

static int write_part(struct backup_target *target, struct bytes part)
{
    struct directory *d = of(target);
    while (part.len > 0) {
        ssize_t n = write(d->fd, part.data, part.len);
        if (n < 0 && errno != EINTR) {
            return failed(d, "write", d->part);
        }
        part = bytes_skip(part, n < 0 ? 0 : (size_t)n);
        d->written += n < 0 ? 0 : (uint64_t)n;
    }
    settle(d);
    return 0;
}

static int finish(struct backup_target *target)
{
    struct directory *d = of(target);
    return fsync(d->fd) != 0 ? failed(d, "sync", d->part) : 0;
}

/* False with errno: also if there is a file of the new name. */
static bool rename_to_new(const char *from, const char *to)
{
    if (link(from, to) == 0) {
        FAILPOINT(backupTwoNames);
        unlink(from);
        return true;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) {
        return false;
    }
    if (access(to, F_OK) == 0) { /* a file system without hard links */
        errno = EEXIST;
        return false;
    }
    return rename(from, to) == 0;
}

static int commit(struct backup_target *target)
{
    struct directory *d = of(target);
    char *from = inside(d, d->part), *to = inside(d, d->name);
    int error = rename_to_new(from, to) ? 0 : failed(d, "give its name to", d->part);
    free(from);
    free(to);
    if (error != 0) {
        return error;
    }
    drop(d);
    return sync_directory(d);
}

static int put(struct backup_target *target, const char *name, struct bytes content)
{
    struct directory *d = of(target);
    char *part = mem_printf(".%s" PART, name), *from = inside(d, part), *to = inside(d, name);
    struct directory writer = {.path = d->path, .part = part};
    int error = 0;
    writer.fd = open_part(from, O_TRUNC);
    if (writer.fd < 0) {
        error = failed(d, "create", part);
    } else {
        error = write_part(&writer.target, content);
        error = error != 0 ? error : finish(&writer.target);
        if (error != 0) {
            memcpy(d->target.reason, writer.target.reason, sizeof d->target.reason);
        } else if (rename(from, to) != 0) {
            error = failed(d, "rename", part);
        }
        close(writer.fd);
        if (error != 0) {
            unlink(from);
        }
    }
    free(part);
    free(from);
    free(to);
    return error != 0 ? error : sync_directory(d);
}

static int remove_item(struct backup_target *target, const char *name)
{
    struct directory *d = of(target);
    char *path = inside(d, name);
    int error = unlink(path) != 0 && errno != ENOENT ? failed(d, "remove", name) : 0;
    free(path);
    return error;
}

/* --- what died --- */

static bool is_part(const char *name)
{
    size_t len = strlen(name);
    return strncmp(name, ".kedge-", 7) == 0 && len > strlen(PART) && strcmp(name + len - strlen(PART), PART) == 0;
}

static int sweep(struct backup_target *target)
{
    struct directory *d = of(target);
    DIR *stream = opendir(d->path);
    if (stream == NULL) {
        return failed(d, "read", NULL);
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        int fd = is_part(entry->d_name)
                     ? openat(dirfd(stream), entry->d_name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
                     : -1;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlinkat(dirfd(stream), entry->d_name, 0);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    closedir(stream);
    return 0;
}

static void free_directory(struct backup_target *target)
{
    struct directory *d = of(target);
    abort_writing(target);
    free(d->path);
    free(d);
}

struct backup_target *backup_directory_new(const char *path)
{
    static const struct backup_target_ops ops = {
        .list = list,
        .get = get,
        .put = put,
        .remove = remove_item,
        .begin = begin,
        .write = write_part,
        .finish = finish,
        .commit = commit,
        .abort = abort_writing,
        .open = open_source,
        .close = close_source,
        .sweep = sweep,
        .free = free_directory,
    };
    struct directory *d = mem_zalloc(sizeof *d);
    d->target.ops = &ops;
    d->path = mem_strdup(path);
    d->fd = -1;
    return &d->target;
}
