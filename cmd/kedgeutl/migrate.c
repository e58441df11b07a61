/* migrate: the storage version that a stopped member's store says it is of (backend.md "Storage version"). From 3.5 on
 * nothing differs in the store but the version's own row, which 3.5 does not have; and the log holds nothing that 3.5
 * does not know, whatever kedge wrote to it. */
#include "base/error.h"
#include "base/gotext.h"
#include "base/log.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/data.h"
#include "kv/version.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MAJOR = 3, OLDEST = 5, NEWEST = 7 };

#define STORAGE_VERSION "storageVersion"

const struct cli_flag commands_migrate_flags[] = {
    {"data-dir", 0, CLI_STRING, "", NULL, false, "the member's data directory (required)"},
    {"target-version", 0, CLI_STRING, "", NULL, false, "the storage version to change to, as 3.6 (required)"},
    {"force", 0, CLI_BOOL, "false", NULL, false, "do it whatever the log holds"},
    {0},
};

/* "X.Y" and nothing behind it. */
static bool parse_target(const char *text, unsigned *major, unsigned *minor)
{
    int end = 0;
    return sscanf(text, "%3u.%3u%n", major, minor, &end) == 2 && text[end] == '\0' && text[0] >= '0' && text[0] <= '9';
}

/* What there is: "3.5" without a row of its own. False: the store is of no version that can be. */
static bool find_current(struct backend *store, unsigned *major, unsigned *minor)
{
    struct backend_read *read;
    struct bytes value;
    *major = MAJOR;
    *minor = OLDEST;
    if (backend_read_begin(store, &read) != 0) {
        return false;
    }
    int error = backend_get(read, BACKEND_META, bytes_str(STORAGE_VERSION), &value);
    bool good = error == 0 ? version_parse(value, major, minor)
                           : error == ERR_ABSENT && backend_get(read, BACKEND_META, bytes_str("term"), &value) == 0;
    backend_read_end(read);
    return good;
}

static int set_version(struct backend *store, unsigned minor)
{
    char text[16];
    snprintf(text, sizeof text, "%d.%u.0", MAJOR, minor);
    const struct backend_op op = {.kind = minor == OLDEST ? BACKEND_DELETE : BACKEND_PUT,
                                  .table = BACKEND_META,
                                  .key = bytes_str(STORAGE_VERSION),
                                  .value = minor == OLDEST ? (struct bytes){0} : bytes_str(text)};
    struct backend_op ops[] = {op};
    const struct backend_batch batch = {.ops = ops, .count = 1, .bytes = 64};
    int error = backend_commit(store, &batch);
    if (error != 0) {
        return cli_fail(CLI_ERROR, "cannot write the storage version: %s", error_text(error));
    }
    log_info("updated storage version", log_str("new-storage-version", text));
    return CLI_OK;
}

static int step_by_step(struct backend *store, unsigned from, unsigned to)
{
    int status = CLI_OK;
    while (from != to && status == CLI_OK) {
        from = from < to ? from + 1 : from - 1;
        status = set_version(store, from);
    }
    return status;
}

static int migrate(struct cli_call *call, struct backend *store, unsigned major, unsigned minor)
{
    unsigned from_major, from;
    if (!find_current(store, &from_major, &from)) {
        return cli_fail(CLI_ERROR, "cannot detect storage schema version: missing confstate information");
    }
    if (from_major == major && from == minor) {
        log_info("storage version up-to-date",
                 log_str("storage-version", arena_printf(&call->arena, "%u.%u", major, minor)));
        return CLI_OK;
    }
    if (major != from_major) {
        return cli_fail(CLI_ERROR, "cannot create migration plan: changing major storage version is not supported");
    }
    if (minor > NEWEST) {
        return cli_fail(CLI_ERROR, "cannot create migration plan: version \"%u.%u.0\" is not supported", major, minor);
    }
    return step_by_step(store, from, minor);
}

int commands_migrate(struct cli_call *call)
{
    const char *target = cli_string(call, "target-version");
    const char *path = data_store_path(call, cli_string(call, "data-dir"));
    unsigned major, minor;
    struct backend *store;
    struct stat st;
    int status = cli_require(call, (const char *const[]){"data-dir", "target-version", NULL});
    if (status != CLI_OK) {
        return status;
    }
    log_configure(LOG_INFO, LOG_CONSOLE_SECONDS);
    if (!parse_target(target, &major, &minor)) {
        return cli_fail(CLI_BAD_ARGS, "wrong target version format, expected \"X.Y\", got %s",
                        gotext_quoted(&call->arena, target));
    }
    if (major < MAJOR || (major == MAJOR && minor < OLDEST)) {
        return cli_fail(CLI_BAD_ARGS, "target version \"%u.%u\" not supported. Minimal \"3.5\"", major, minor);
    }
    if (stat(path, &st) != 0) {
        return cli_fail(CLI_ERROR, "stat %s: no such file or directory", path);
    }
    status = data_open(call, path, &store);
    if (status == CLI_OK) {
        status = migrate(call, store, major, minor);
        backend_close(store);
    }
    return status;
}
