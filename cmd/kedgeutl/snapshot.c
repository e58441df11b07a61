/* snapshot status: what a backup holds, in the words of etcdutl (output.tsv). Where etcdutl dies of a damaged file, the
 * place of the damage is told; a checksum at the end that is wrong is told too (etcdutl leaves that to restore). */
#include "base/error.h"
#include "base/gojson.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/formats.h"
#include "snapshot/input.h"
#include "snapshot/status.h"
#include <stdio.h>

enum { STEP_ROWS = 100000 };

/* --- formats --- */

static struct table as_table(struct cli_call *call, const struct snapshot_status *status)
{
    static const char *const headings[] = {"hash", "revision", "total keys", "total size", "version"};
    struct table table = {.columns = 5, .headings = headings, .arena = &call->arena};
    const char **row = table_row(&table);
    row[0] = arena_printf(&call->arena, "%x", status->hash);
    row[1] = arena_printf(&call->arena, "%lld", (long long)status->revision);
    row[2] = arena_printf(&call->arena, "%llu", (unsigned long long)status->keys);
    row[3] = printer_bytes(&call->arena, status->size);
    row[4] = status->version;
    return table;
}

static void print_fields(const struct snapshot_status *status)
{
    printf("\"Hash\" : %u\n\"Revision\" : %lld\n\"Keys\" : %llu\n\"Size\" : %llu\n\"Version\" : %s\n", status->hash,
           (long long)status->revision, (unsigned long long)status->keys, (unsigned long long)status->size,
           status->version);
}

static void print_json(const struct snapshot_status *status)
{
    struct buffer version = {0};
    gojson_string(&version, bytes_str(status->version));
    printf("{\"hash\":%u,\"revision\":%lld,\"totalKey\":%llu,\"totalSize\":%llu,\"version\":%.*s}\n", status->hash,
           (long long)status->revision, (unsigned long long)status->keys, (unsigned long long)status->size,
           (int)version.len, (const char *)version.data);
    buffer_free(&version);
}

static void print(struct cli_call *call, enum print_format format, const struct snapshot_status *status)
{
    struct table table;
    switch (format) {
    case PRINT_FIELDS:
        print_fields(status);
        break;
    case PRINT_JSON:
        print_json(status);
        break;
    default:
        table = as_table(call, status);
        formats_print(&table, format);
        break;
    }
}

/* --- the file --- */

static int fail_read(struct cli_call *call, const struct snapshot_input *input,
                     const struct snapshot_status_visitor *visitor)
{
    const char *path = call->args[0];
    if (snapshot_input_errno(input) != 0) {
        return cli_fail(CLI_ERROR, "stat %s: %s", path, formats_errno(call, snapshot_input_errno(input)));
    }
    if (snapshot_input_is_no_database(input)) {
        return cli_fail(CLI_ERROR, "invalid database");
    }
    if (visitor->reason != NULL) {
        return cli_fail(CLI_ERROR, "%s: %s", path, visitor->reason);
    }
    return cli_fail(CLI_ERROR, "%s", snapshot_input_reason(input));
}

static int read_status(struct cli_call *call, struct snapshot_status *status)
{
    struct snapshot_status_visitor visitor;
    struct snapshot_input *input;
    int result = snapshot_input_open(call->args[0], NULL, true, &input);
    snapshot_status_begin(&visitor);
    snapshot_input_map(input);
    result = result == 0 ? SNAPSHOT_MORE : result;
    while (result == SNAPSHOT_MORE) {
        result = snapshot_input_step(input, &visitor.visitor, STEP_ROWS);
    }
    if (result == SNAPSHOT_DONE) {
        snapshot_status_end(&visitor, snapshot_input_bytes(input));
        *status = visitor.status;
    } else {
        result = fail_read(call, input, &visitor);
    }
    snapshot_status_free(&visitor);
    snapshot_input_close(input);
    return result;
}

int commands_snapshot_status(struct cli_call *call)
{
    struct snapshot_status status = {0};
    enum print_format format;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "snapshot status requires exactly one argument");
    }
    int result = formats_find(call, &format);
    result = result != CLI_OK ? result : read_status(call, &status);
    if (result == CLI_OK) {
        print(call, format, &status);
    }
    return result;
}
