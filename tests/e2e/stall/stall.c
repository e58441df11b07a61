/* Preloaded into a server: its disk hangs while the file $STALL_FILE is there. Whoever writes into the page cache goes
 * on, as on a real disk; whoever wants it durable waits. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    const char *path = getenv("STALL_FILE");
    while (path != NULL && access(path, F_OK) == 0) {
        usleep(5000);
    }
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return next(fd);
}

int fsync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return next(fd);
}
