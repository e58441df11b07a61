/* A copy without free pages. LMDB writes the pages that are in use one after another; rows keep their checksums. */
#include "base/error.h"
#include "base/log.h"
#include "kv/backend_lmdb.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int backend_lmdb_copy(struct backend *b, const char *path)
{
    struct lmdb *l = (struct lmdb *)b;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? errno : 0;
    if (rc == 0) {
        struct lmdb_guard *before = lmdb_guard_enter(l->guard);
        rc = mdb_env_copyfd2(l->env, fd, MDB_CP_COMPACT);
        lmdb_guard_leave(before);
    }
    if (rc == 0 && fsync(fd) != 0) {
        rc = errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rc != 0) {
        log_warn("failed to copy the store", log_str("path", path), log_str("error", mdb_strerror(rc)));
        unlink(path);
        return lmdb_error(rc);
    }
    return 0;
}
