/* snapshot status: what a backup holds, in the words of etcdutl (output.tsv). Where etcdutl dies of a damaged file, the
 * place of the damage is told; a checksum at the end that is wrong is told too (etcdutl leaves that to restore). */
#include "base/error.h"
#include "cmd/kedgectl/json.h"
#include "cmd/kedgectl/printer.h"
#include "cmd/kedgectl/table.h"
#include "cmd/kedgeutl/commands.h"
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

static void print_json(struct buffer *out, const struct snapshot_status *status)
{
    buffer_printf(out, "{\"hash\":%u,\"revision\":%lld,\"totalKey\":%llu,\"totalSize\":%llu,\"version\":", status->hash,
                  (long long)status->revision, (unsigned long long)status->keys, (unsigned long long)status->size);
    json_string(out, bytes_str(status->version));
    buffer_printf(out, "}\n");
}

static void print(struct cli_call *call, enum print_format format, const struct snapshot_status *status)
{
    struct buffer out = {0};
    struct table table = as_table(call, status);
    switch (format) {
    case PRINT_FIELDS:
        print_fields(status);
        break;
    case PRINT_JSON:
        print_json(&out, status);
        break;
    case PRINT_TABLE:
        table_print(&table, &out);
        break;
    default:
        table_print_plain(&table, &out);
        break;
    }
    fwrite(out.data, 1, out.len, stdout);
    buffer_free(&out);
}

/* --- the file --- */

static int fail_read(const char *path, const struct snapshot_reader *reader,
                     const struct snapshot_status_visitor *visitor)
{
    if (snapshot_reader_is_no_database(reader)) {
        return cli_fail(CLI_ERROR, "invalid database");
    }
    const char *reason = visitor->reason != NULL ? visitor->reason : snapshot_reader_reason(reader);
    return cli_fail(CLI_ERROR, "%s: %s", path, reason);
}

static int read_status(struct snapshot_file *file, const char *path, struct snapshot_status *status)
{
    struct snapshot_status_visitor visitor;
    struct snapshot_reader *reader = snapshot_reader_new(&file->source, true);
    int progress, result = CLI_OK;
    snapshot_status_begin(&visitor);
    while ((progress = snapshot_reader_step(reader, &visitor.visitor, STEP_ROWS)) == SNAPSHOT_MORE) {
    }
    if (progress == SNAPSHOT_DONE) {
        snapshot_status_end(&visitor, reader);
        *status = visitor.status;
    } else {
        result = fail_read(path, reader, &visitor);
    }
    snapshot_status_free(&visitor);
    snapshot_reader_free(reader);
    return result;
}

int commands_snapshot_status(struct cli_call *call)
{
    struct snapshot_file file;
    struct snapshot_status status = {0};
    enum print_format format;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "snapshot status requires exactly one argument");
    }
    if (!printer_find_format(cli_string(call, "write-out"), &format)) {
        return cli_fail(CLI_BAD_FEATURE, "unsupported output format");
    }
    if (format == PRINT_PROTOBUF) {
        return cli_fail(CLI_BAD_FEATURE, "protobuf not supported as output format");
    }
    const char *path = call->args[0];
    int failed = -snapshot_file_open(&file, path);
    if (failed != 0) {
        char reason[128];
        snprintf(reason, sizeof reason, "%s", strerror(failed));
        reason[0] = (char)(reason[0] | 0x20); /* as Go words it */
        return cli_fail(CLI_ERROR, "stat %s: %s", path, reason);
    }
    int result = read_status(&file, path, &status);
    snapshot_file_close(&file);
    if (result == CLI_OK) {
        print(call, format, &status);
    }
    return result;
}
