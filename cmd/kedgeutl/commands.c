#include "cmd/kedgeutl/commands.h"
#include "cmd/version.h"

#define UTILITY "Commands"

/* clang-format off */
static const struct cli_flag globals[] = {
    {"write-out", 'w', CLI_STRING, "simple", "fields|json|protobuf|simple|table", false, "output format"},
    {"timeout", 0, CLI_DURATION, "10s", NULL, false, "how long to wait for a data folder that is in use"},
    {0},
};

static const char check_about[] =
    "Walks all pages of the store and trusts nothing in them: each page used once or free, keys in order, rows and pages\n"
    "counted, each row's checksum. The member must not run. The place of the first damage is told as an offset in the\n"
    "file.";

static const char export_about[] =
    "Writes the data folder of a stopped member of kedge as one that etcd 3.7 starts from: the same member of the same\n"
    "cluster, with all that it had. The folder to make must be absent or empty; it is there whole or not at all.";
static const struct cli_flag export_flags[] = {
    {"wal-dir", 0, CLI_STRING, "", NULL, false, "where the member has its write-ahead log; empty = in its data folder"},
    {0},
};

static const char status_about[] =
    "Reads all of a backup (a bbolt file, as snapshot save and etcd write it), checks its pages and its checksum, and\n"
    "prints a hash of its content, the last revision, how many keys live, and its size.";
/* clang-format on */

static int run_version(struct cli_call *call)
{
    version_print_tool(call->program->name);
    return CLI_OK;
}

/* clang-format off */
#define VERB(path, args, brief, about, run) {path, UTILITY, args, brief, about, NULL, false, false, false, run}
#define HIDDEN(path, run) {path, NULL, "", "", NULL, NULL, false, true, false, run}
/* clang-format on */

static const struct cli_command commands[] = {
    VERB("check", "<data-dir>", "Look for damage in a member's store", check_about, commands_check),
    {"defrag", UTILITY, "", "Give free space back to the file system", NULL, commands_defrag_flags, false, false, false,
     commands_defrag},
    {"export", UTILITY, "<data-dir> <output-dir>", "Write a member's data folder as etcd's", export_about, export_flags,
     false, false, false, commands_export},
    {"hashkv", UTILITY, "<filename>", "Print the hash of a backup's history", NULL, commands_hashkv_flags, false, false,
     false, commands_hashkv},
    {"migrate", UTILITY, "", "Change a data folder's storage version", NULL, commands_migrate_flags, false, false,
     false, commands_migrate},
    {"snapshot", UTILITY, "", "Backups", NULL, NULL, false, false, false, NULL},
    {"snapshot restore", NULL, "<filename> --data-dir {output dir} [options]", "Make a data directory of a backup",
     commands_restore_about, commands_restore_flags, false, false, false, commands_snapshot_restore},
    {"snapshot status", NULL, "<filename>", "Print what a backup holds", status_about, NULL, false, false, false,
     commands_snapshot_status},
    VERB("completion", "[bash|zsh|fish|powershell]", "Print a script that completes command lines", NULL,
         cli_run_completion),
    VERB("help", "[command]", "Say what a command does", NULL, cli_run_help),
    VERB("version", "", "Print the version", NULL, run_version),
    HIDDEN("__complete", cli_run_complete),
    HIDDEN("__completeNoDesc", cli_run_complete),
    HIDDEN("__markdown", cli_run_markdown),
};

const struct cli_program kedgeutl = {
    .name = "kedgeutl",
    .other_name = "etcdutl",
    .brief = "Works on the files of kedge.",
    .globals = globals,
    .commands = commands,
    .command_count = sizeof commands / sizeof commands[0],
    .repeats_errors = true,
};
