/* hashkv: the hash of a file's history, as a member's HashKV says it, in the words of etcdutl (output.tsv). */
#include "snapshot/hashkv.h"
#include "base/error.h"
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgeutl/formats.h"
#include <stdio.h>

const struct cli_flag commands_hashkv_flags[] = {
    {"rev", 0, CLI_INT64, "0", NULL, false, "hash the history up to this revision; 0 = the current one"},
    {0},
};

static void print_table(struct cli_call *call, enum print_format format, const struct snapshot_hashkv *hash)
{
    static const char *const headings[] = {"hash", "hash revision", "compact revision"};
    struct table table = {.columns = 3, .headings = headings, .arena = &call->arena};
    const char **row = table_row(&table);
    row[0] = arena_printf(&call->arena, "%u", hash->hash);
    row[1] = arena_printf(&call->arena, "%lld", (long long)hash->revision);
    row[2] = arena_printf(&call->arena, "%lld", (long long)hash->compact_revision);
    formats_print(&table, format);
}

static void print(struct cli_call *call, enum print_format format, const struct snapshot_hashkv *hash)
{
    long long revision = hash->revision, compact = hash->compact_revision;
    switch (format) {
    case PRINT_FIELDS:
        printf("\"Hash\" : %u\n\"Hash revision\" : %lld\n\"Compact revision\" : %lld\n", hash->hash, revision, compact);
        break;
    case PRINT_JSON:
        printf("{\"hash\":%u,\"hashRevision\":%lld,\"compactRevision\":%lld}\n", hash->hash, revision, compact);
        break;
    default:
        print_table(call, format, hash);
        break;
    }
}

static int fail_with(struct cli_call *call, int error, const struct snapshot_hashkv *hash)
{
    static const char prefix[] = "etcdserver: ";
    if (error == ERR_COMPACTED || error == ERR_FUTURE_REV) {
        return cli_fail(CLI_ERROR, "%s", error_text(error) + sizeof prefix - 1);
    }
    if (hash->error_number != 0) {
        return cli_fail(CLI_ERROR, "stat %s: %s", call->args[0], formats_errno(call, hash->error_number));
    }
    return hash->no_database ? cli_fail(CLI_ERROR, "invalid database") : cli_fail(CLI_ERROR, "%s", hash->reason);
}

int commands_hashkv(struct cli_call *call)
{
    struct snapshot_hashkv hash;
    enum print_format format;
    int status = cli_expect_args(call, 1);
    status = status != CLI_OK ? status : formats_find(call, &format);
    if (status != CLI_OK) {
        return status;
    }
    int error = snapshot_hashkv(call->args[0], cli_number(call, "rev"), &hash);
    if (error != 0) {
        return fail_with(call, error, &hash);
    }
    print(call, format, &hash);
    return CLI_OK;
}
