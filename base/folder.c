#include "base/folder.h"

#include "base/arena.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
