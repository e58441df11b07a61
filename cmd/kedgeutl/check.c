#include "base/error.h"
#include "cmd/kedgeutl/commands.h"
#include "kv/backend.h"
#include "kv/lmdb_check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The store of a data folder; a file is taken for the store itself. */
static const char *store_path(struct cli_call *call)
{
    struct stat st;
    const char *given = call->args[0];
    bool folder = stat(given, &st) != 0 || S_ISDIR(st.st_mode);
    return folder ? arena_printf(&call->arena, "%s/member/snap/db", given) : given;
}

/* Waits until no member holds the store, for as long as --timeout. The lock is kept until the process ends. */
static int lock_store(struct cli_call *call, const char *path)
{
    int64_t wait_ns = cli_number(call, "timeout");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(CLI_ERROR, "%s: %s", path, strerror(errno));
    }
    while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || wait_ns <= 0) {
            close(fd);
            return cli_fail(CLI_BAD_CONNECTION, "%s is in use: stop the member first", path);
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        wait_ns -= 100000000;
    }
    return CLI_OK;
}

int commands_check(struct cli_call *call)
{
    struct lmdb_check found = {0};
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "check command needs the data folder as argument");
    }
    const char *path = store_path(call);
    int status = lock_store(call, path);
    if (status != CLI_OK) {
        return status;
    }
    if (backend_check_file(path, &found) != 0) {
        return cli_fail(CLI_ERROR, "%s: damaged %s at offset %llu: %s", path, lmdb_check_class_name(found.class),
                        (unsigned long long)found.offset, found.reason);
    }
    printf("%s is whole: %llu rows, %llu pages of %u bytes (%llu free), commit %llu\n", path,
           (unsigned long long)found.rows, (unsigned long long)found.pages, found.page_bytes,
           (unsigned long long)found.free_pages, (unsigned long long)found.txn);
    return CLI_OK;
}
