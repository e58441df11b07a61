#include "base/folder.h"

#include "base/arena.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int rc = fsync(fd), failed = errno;
    close(fd);
    errno = failed;
    return rc;
}

int folder_sync_of(const char *file)
{
    char *folder = mem_strdup(file), *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder] = '\0';
    }
    int rc = folder_sync(slash == NULL ? "." : folder), failed = errno;
    free(folder);
    errno = failed;
    return rc;
}

int folder_make_above(const char *path)
{
    char *above = mem_strdup(path);
    int rc = 0;
    for (char *slash = strchr(above, '/'); slash != NULL && rc == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (slash != above) {
            rc = mkdir(above, 0700) == 0 ? folder_sync_of(above) : errno == EEXIST ? 0 : -1;
        }
        *slash = '/';
    }
    int failed = errno;
    free(above);
    errno = failed;
    return rc;
}

uint64_t folder_room(int fd)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0 || fs.f_blocks == 0) {
        return UINT64_MAX;
    }
    return (uint64_t)(geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
}
