#include "cmd/kedgeutl/data.h"
#include "base/error.h"
#include "snapshot/source.h"
#include <stdlib.h>
#include <time.h>

const char *data_store_path(struct cli_call *call, const char *data_dir)
{
    return arena_printf(&call->arena, "%s%smember/snap/db", data_dir, *data_dir == '\0' ? "" : "/");
}

static bool is_bbolt(const char *path)
{
    enum { MAGIC_AT = 16 };
    struct snapshot_file file;
    uint8_t magic[4] = {0};
    int ignored;
    if (snapshot_file_open(&file, path) != 0) {
        return false;
    }
    bool read = file.source.size > 4096 && file.source.read(&file.source, MAGIC_AT, magic, sizeof magic, &ignored) == 0;
    snapshot_file_close(&file);
    return read && memcmp(magic, "\xed\xda\x0c\xed", sizeof magic) == 0;
}

int data_open(struct cli_call *call, const char *path, struct backend **out)
{
    const struct backend_lmdb_config config = {.path = path};
    int64_t wait_ns = cli_number(call, "timeout");
    const bool for_ever = wait_ns == 0;
    char *reason = NULL;
    int error, status;
    if (is_bbolt(path)) {
        return cli_fail(CLI_ERROR, "%s is of an etcd: use etcdutl for it, or start kedge on it, which converts it",
                        path);
    }
    while ((error = backend_open_lmdb(&config, out, &reason)) == ERR_LOCKED && (for_ever || wait_ns > 0)) {
        free(reason);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        wait_ns -= 100000000;
    }
    if (error == ERR_LOCKED) {
        status = cli_fail(CLI_BAD_CONNECTION, "%s is in use: stop the member first", path);
    } else {
        status = error == 0 ? CLI_OK : cli_fail(CLI_ERROR, "%s", reason != NULL ? reason : error_text(error));
    }
    free(reason);
    return status;
}
