/* The commands and flags of kedgectl: those of etcdctl 3.7.1 (facts: etcdctl.tsv). */
#include "cmd/kedgeutl/commands.h"
#include "cmd/kedgectl/verbs.h"

#define KV "Key-value commands"
#define MAINTENANCE "Cluster maintenance commands"
#define CONCURRENCY "Concurrency commands"
#define AUTHENTICATION "Authentication commands"
#define UTILITY "Utility commands"

#define END                                                                                                            \
    {                                                                                                                  \
        0                                                                                                              \
    }
#define BOOL(name, help)                                                                                               \
    {                                                                                                                  \
        name, 0, CLI_BOOL, "false", NULL, false, help                                                                  \
    }
#define NUMBER(name, help)                                                                                             \
    {                                                                                                                  \
        name, 0, CLI_INT64, "0", NULL, false, help                                                                     \
    }
#define TIME(name, preset, help)                                                                                       \
    {                                                                                                                  \
        name, 0, CLI_DURATION, preset, NULL, false, help                                                               \
    }
#define LATER(name, letter, type, preset, help)                                                                        \
    {                                                                                                                  \
        name, letter, type, preset, NULL, true, help                                                                   \
    }

/* clang-format off */
static const struct cli_flag globals[] = {
    {"endpoints", 0, CLI_STRINGS, "127.0.0.1:2379", NULL, false, "servers to talk to, separated by commas"},
    TIME("dial-timeout", "2s", "longest time of one attempt to connect"),
    TIME("command-timeout", "5s", "longest time of a command, connecting included"),
    TIME("keepalive-time", "2s", "silence after which the server is pinged"),
    TIME("keepalive-timeout", "6s", "further silence after which the connection is given up"),
    {"write-out", 'w', CLI_STRING, "simple", "fields|json|protobuf|simple|table", false, "output format"},
    BOOL("hex", "print keys, values and ids as hexadecimal digits"),
    BOOL("debug", "show the settings on standard error"),
    {"max-request-bytes", 0, CLI_INT, "0", NULL, false, "largest request that is sent; 0 = 2 MiB"},
    {"max-recv-bytes", 0, CLI_INT, "0", NULL, false, "largest answer that is taken; 0 = 2 GiB"},
    LATER("insecure-transport", 0, CLI_BOOL, "true", "connect without TLS"),
    LATER("insecure-skip-tls-verify", 0, CLI_BOOL, "false", "do not check the server's certificate"),
    LATER("insecure-discovery", 0, CLI_BOOL, "true", "take servers without TLS from SRV records"),
    LATER("cert", 0, CLI_STRING, "", "the client's certificate"),
    LATER("key", 0, CLI_STRING, "", "the client's key"),
    LATER("cacert", 0, CLI_STRING, "", "certificates that the server's must be signed by"),
    LATER("user", 0, CLI_STRING, "", "user name, or name:password"),
    LATER("password", 0, CLI_STRING, "", "the user's password"),
    LATER("auth-jwt-token", 0, CLI_STRING, "", "token instead of user and password"),
    LATER("discovery-srv", 'd', CLI_STRING, "", "domain whose SRV records name the servers"),
    LATER("discovery-srv-name", 0, CLI_STRING, "", "service name in these records"),
    END,
};

static const struct cli_flag get_flags[] = {
    {"consistency", 0, CLI_STRING, "l", "l|s", false, "linearizable (l) or serializable (s)"},
    {"order", 0, CLI_STRING, "", "ASCEND|DESCEND", false, "order of the answer"},
    {"sort-by", 0, CLI_STRING, "", "CREATE|KEY|MODIFY|VALUE|VERSION", false, "what the answer is sorted by"},
    NUMBER("limit", "most keys to answer, 0 = all"),
    BOOL("prefix", "all keys that begin with <key>"),
    BOOL("from-key", "all keys from <key> on, in the order of bytes"),
    NUMBER("rev", "the store as it was at this revision"),
    BOOL("keys-only", "only keys, no values"),
    BOOL("count-only", "only the number of keys; needs --write-out=fields"),
    BOOL("print-value-only", "only values; needs --write-out=simple"),
    NUMBER("min-create-rev", "only keys created at this revision or later"),
    NUMBER("max-create-rev", "only keys created at this revision or earlier"),
    NUMBER("min-mod-rev", "only keys changed at this revision or later"),
    NUMBER("max-mod-rev", "only keys changed at this revision or earlier"),
    BOOL("stream", "have the answer sent in pieces (RangeStream)"),
    END,
};

static const struct cli_flag put_flags[] = {
    {"lease", 0, CLI_STRING, "0", NULL, false, "lease (hexadecimal) that the key is attached to"},
    BOOL("prev-kv", "print what the key was before"),
    BOOL("ignore-value", "keep the key's value"),
    BOOL("ignore-lease", "keep the key's lease"),
    END,
};

static const struct cli_flag del_flags[] = {
    BOOL("prefix", "all keys that begin with <key>"),
    BOOL("from-key", "all keys from <key> on, in the order of bytes"),
    BOOL("range", "delete a range without two seconds to think about it"),
    BOOL("prev-kv", "print what was deleted"),
    END,
};

static const struct cli_flag txn_flags[] = {
    {"interactive", 'i', CLI_BOOL, "false", NULL, false, "say what is asked for"},
    END,
};

static const struct cli_flag watch_flags[] = {
    {"interactive", 'i', CLI_BOOL, "false", NULL, false, "take lines \"watch ...\" and \"progress\" from standard input"},
    BOOL("prefix", "all keys that begin with <key>"),
    NUMBER("rev", "begin at this revision"),
    BOOL("prev-kv", "print what the key was before"),
    BOOL("progress-notify", "have the server tell its revision now and then"),
    END,
};

static const struct cli_flag compaction_flags[] = {
    BOOL("physical", "wait until the history is gone from the store"),
    END,
};

static const struct cli_flag timetolive_flags[] = {BOOL("keys", "print the keys attached to the lease"), END};
static const struct cli_flag keep_alive_flags[] = {BOOL("once", "renew once instead of for ever"), END};
static const struct cli_flag endpoint_flags[] = {BOOL("cluster", "ask all members of the cluster"), END};
static const struct cli_flag hashkv_flags[] = {NUMBER("rev", "hash up to this revision; 0 = the latest"), END};
static const struct cli_flag defrag_flags[] = {BOOL("cluster", "all members of the cluster"), END};
static const struct cli_flag lock_flags[] = {
    {"ttl", 0, CLI_INT, "10", NULL, false, "seconds after which the lock is free when its holder is not heard of"},
    END,
};
static const struct cli_flag elect_flags[] = {
    {"listen", 'l', CLI_BOOL, "false", NULL, false, "tell who leads, and each change"},
    END,
};
static const struct cli_flag member_list_flags[] = {
    {"consistency", 0, CLI_STRING, "l", "l|s", false, "linearizable (l) or serializable (s)"},
    END,
};

static const struct cli_flag member_add_flags[] = {
    {"peer-urls", 0, CLI_STRING, "", NULL, false, "where the other members reach the new one, separated by commas"},
    BOOL("learner", "it takes part without a vote, until it is promoted"),
    END,
};
static const struct cli_flag member_update_flags[] = {
    {"peer-urls", 0, CLI_STRING, "", NULL, false, "where the other members reach it from now on, separated by commas"},
    END,
};

#define LOADS "s|small|m|medium|l|large|xl|xLarge"
static const struct cli_flag check_perf_flags[] = {
    {"load", 0, CLI_STRING, "s", LOADS, false, "how much is asked of the cluster"},
    {"prefix", 0, CLI_STRING, "/etcdctl-check-perf/", NULL, false, "what the keys of the load begin with"},
    BOOL("auto-compact", "compact the history of these keys afterwards"),
    BOOL("auto-defrag", "defragment the endpoints' stores afterwards"),
    END,
};
static const struct cli_flag check_datascale_flags[] = {
    {"load", 0, CLI_STRING, "s", LOADS, false, "how many keys are written"},
    {"prefix", 0, CLI_STRING, "/etcdctl-check-datascale/", NULL, false, "what the keys of the load begin with"},
    BOOL("auto-compact", "compact the history of these keys afterwards"),
    BOOL("auto-defrag", "defragment the endpoints' stores afterwards"),
    END,
};

static const struct cli_flag make_mirror_flags[] = {
    {"prefix", 0, CLI_STRING, "", NULL, false, "only keys that begin with it"},
    NUMBER("rev", "follow the changes from this revision on, without a copy of what is there"),
    {"max-txn-ops", 0, CLI_UINT, "128", NULL, false, "most changes put into one transaction of the destination"},
    {"dest-prefix", 0, CLI_STRING, "", NULL, false, "what stands in the place of --prefix in the destination"},
    BOOL("no-dest-prefix", "leave --prefix out in the destination"),
    LATER("dest-cert", 0, CLI_STRING, "", "the client's certificate for the destination"),
    LATER("dest-key", 0, CLI_STRING, "", "the client's key for the destination"),
    LATER("dest-cacert", 0, CLI_STRING, "", "certificates that the destination's must be signed by"),
    LATER("dest-insecure-transport", 0, CLI_BOOL, "true", "connect to the destination without TLS"),
    LATER("dest-user", 0, CLI_STRING, "", "user name, or name:password, for the destination"),
    LATER("dest-password", 0, CLI_STRING, "", "the user's password for the destination"),
    END,
};

static const char check_perf_about[] =
    "Puts random keys for a minute, with 256 bytes in the key and 1024 in the value, and deletes them again: 150 a second\n"
    "over 50 connections (s), 1,000 over 200 (m), 8,000 over 500 (l) or 15,000 over 1,000 (xl). It fails if less than nine\n"
    "tenths of that are taken, one takes longer than half a second, or the times' standard deviation is more than a\n"
    "tenth of a second. Begins only if no key has the prefix yet.";

static const char check_datascale_about[] =
    "Puts 10,000 (s), 100,000 (m), 1,000,000 (l) or 3,000,000 (xl) random keys of 1024 bytes with their values, as fast as\n"
    "they are taken, and compares what the first endpoint's /metrics tells of its memory before and after. Then deletes\n"
    "them. Begins only if no key has the prefix yet.";

static const char completion_about[] =
    "Load it in the running shell, or put it where the shell looks for such scripts at its start:\n"
    "\n"
    "    source <(kedgectl completion bash)\n"
    "    source <(kedgectl completion zsh)\n"
    "    kedgectl completion fish | source\n"
    "    kedgectl completion powershell | Out-String | Invoke-Expression\n"
    "\n"
    "make install puts them into place for bash, zsh and fish.";

static const char make_mirror_about[] =
    "Copies the keys as they are at one revision, then follows the changes in their order until it is interrupted. Both\n"
    "sides may be kedge or etcd. Prints the number of keys and changes copied every 30 seconds. Leases are not copied.\n"
    "Nobody else should write these keys in the destination. With --rev the keys keep their --prefix, which etcdctl 3.7\n"
    "leaves out then.";

static const char member_add_about[] =
    "Prints what the new member is to be started with. It is started after this command.";

static const struct cli_flag user_add_flags[] = {
    {"interactive", 0, CLI_BOOL, "true", NULL, false, "ask for the password; =false: read it from standard input"},
    {"new-user-password", 0, CLI_STRING, "", NULL, false, "the password"},
    BOOL("no-password", "a user without a password, known by a certificate's common name only"),
    END,
};
static const struct cli_flag user_passwd_flags[] = {
    {"interactive", 0, CLI_BOOL, "true", NULL, false, "ask for the password; =false: read it from standard input"},
    END,
};
static const struct cli_flag user_get_flags[] = {BOOL("detail", "print the permissions of the roles too"), END};
static const struct cli_flag role_flags[] = {
    BOOL("prefix", "all keys that begin with <key>"),
    BOOL("from-key", "all keys from <key> on, in the order of bytes"),
    END,
};

static const char auth_later[] = "Users, roles and passwords come together with the server's authentication.";

static const char put_about[] =
    "A <value> that begins with a dash would be taken for a flag: put \"--\" before it. Without a <value> it is read\n"
    "from standard input, unless --ignore-value is given.";

static const char backup_now_about[] =
    "It is taken by the server that is asked, unless another member of its cluster is at one. Without --command-timeout\n"
    "it may take as long as it takes; the server goes on with it when this command is interrupted.";

static const char snapshot_save_about[] =
    "The file is written as FILE.part and gets its name when it is whole: compared\n"
    "with the server's checksum, each page of it read again, and on the disk. Until\n"
    "then a file that had the name stays. Only its owner may read it.\n"
    "\n"
    "Whatever ends it before (an error, a full disk, SIGINT, SIGTERM) removes\n"
    "FILE.part; only SIGKILL or a crash leave it, and the next save to FILE writes\n"
    "over it. A second save to FILE beside the first is refused.\n"
    "\n"
    "With \"-\" in place of FILE the snapshot goes to standard output, as it comes:\n"
    "there only the checksum is compared, so what was written is a backup only if\n"
    "the command succeeds.\n"
    "\n"
    "The backup is of one member: --endpoints must name one. Without\n"
    "--command-timeout it may take as long as it takes.";

static const char lock_about[] =
    "Waits for the lock, prints its key and keeps it until it is interrupted. With a command: runs it while the lock is\n"
    "held, with ETCD_LOCK_KEY and ETCD_LOCK_REV in its environment, and ends with its exit status. Put \"--\" before a\n"
    "command that has flags.";

static const char elect_about[] =
    "Waits to be elected, prints the own key and leads until it is interrupted.";

static const char downgrade_about[] =
    "The version is one minor below the cluster's, as \"3.6\". The cluster's version is lowered, and members of that\n"
    "version may join.";

static const char txn_about[] =
    "Reads from standard input, each list ended by an empty line: compares, operations for when all of them hold,\n"
    "operations for when one does not.\n"
    "\n"
    "    mod(\"key1\") > \"0\"\n"
    "    value(\"key1\") = \"old\"\n"
    "\n"
    "    put key1 \"new\"\n"
    "\n"
    "    get key1\n"
    "    put key2 \"two words\"\n"
    "\n"
    "Compares are create (c), mod (m), version (ver), value (val) and lease, with =, !=, < or >. Operations are get, put\n"
    "and del with their flags.";

static const char watch_about[] =
    "Prints events until it is interrupted. A command behind \"--\" is run at each event with ETCD_WATCH_REVISION,\n"
    "ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE in its environment. Instead of arguments key and end of\n"
    "the range may stand in ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END.";

#define VERB(path, args, brief, about, flags, run) {path, NULL, args, brief, about, flags, false, false, false, run}
#define TOP(path, group, args, brief, about, flags, run) {path, group, args, brief, about, flags, false, false, false, run}
#define GROUP(path, group, brief) {path, group, "", brief, NULL, NULL, false, false, false, NULL}
#define MISSING(path, group, args, brief) {path, group, args, brief, NULL, NULL, false, false, true, NULL}
#define AUTH_LATER(path, args, brief, flags) {path, NULL, args, brief, auth_later, flags, false, false, true, NULL}
#define HIDDEN(path, run) {path, NULL, "", "", NULL, NULL, false, true, false, run}

static const struct cli_command commands[] = {
    TOP("get", KV, "<key> [range_end]", "Print a key or a range of keys", NULL, get_flags, verb_get),
    TOP("put", KV, "<key> <value>", "Store a key", put_about, put_flags, verb_put),
    TOP("del", KV, "<key> [range_end]", "Delete a key or a range of keys", NULL, del_flags, verb_del),
    TOP("txn", KV, "", "Do several operations as one, if compares hold", txn_about, txn_flags, verb_txn),
    TOP("watch", KV, "[key] [range_end] [-- command ...]", "Print changes of a key or a range of keys", watch_about,
        watch_flags, verb_watch),
    TOP("compaction", KV, "<revision>", "Forget the history before a revision", NULL, compaction_flags, verb_compaction),
    GROUP("lease", KV, "Leases: keys that go by themselves"),
    VERB("lease grant", "<ttl>", "Make a lease that lives so many seconds", NULL, NULL, verb_lease_grant),
    VERB("lease revoke", "<leaseID>", "End a lease, and the keys attached to it", NULL, NULL, verb_lease_revoke),
    VERB("lease timetolive", "<leaseID>", "Print how long a lease still lives", NULL, timetolive_flags,
         verb_lease_timetolive),
    VERB("lease list", "", "Print all leases", NULL, NULL, verb_lease_list),
    VERB("lease keep-alive", "<leaseID>", "Renew a lease until it is gone", NULL, keep_alive_flags,
         verb_lease_keep_alive),

    {"endpoint", MAINTENANCE, "", "Single servers", NULL, endpoint_flags, true, false, false, NULL},
    VERB("endpoint health", "", "Check that each server answers through the quorum", NULL, NULL, verb_endpoint_health),
    VERB("endpoint status", "", "Print version, size, leader and log position of each server", NULL, NULL,
         verb_endpoint_status),
    VERB("endpoint hashkv", "", "Print the hash of each server's history", NULL, hashkv_flags, verb_endpoint_hashkv),
    GROUP("member", MAINTENANCE, "Members of the cluster"),
    VERB("member list", "", "Print all members", NULL, member_list_flags, verb_member_list),
    VERB("member add", "<memberName>", "Add a member", member_add_about, member_add_flags, verb_member_add),
    VERB("member remove", "<memberID>", "Remove a member", NULL, NULL, verb_member_remove),
    VERB("member update", "<memberID>", "Change a member's peer URLs", NULL, member_update_flags, verb_member_update),
    VERB("member promote", "<memberID>", "Make a learner a voter", NULL, NULL, verb_member_promote),
    GROUP("alarm", MAINTENANCE, "Alarms"),
    VERB("alarm list", "", "Print the alarms that are raised", NULL, NULL, verb_alarm_list),
    VERB("alarm disarm", "", "Take back all alarms", NULL, NULL, verb_alarm_disarm),
    TOP("defrag", MAINTENANCE, "", "Give free space back to the file system", NULL, defrag_flags, verb_defrag),
    TOP("move-leader", MAINTENANCE, "<memberID>", "Hand leadership to another member", NULL, NULL, verb_move_leader),
    GROUP("backup", MAINTENANCE, "Backups that servers take themselves (kedge's --backup-dir)"),
    VERB("backup list", "", "Print the backups in a server's target", NULL, NULL, verb_backup_list),
    VERB("backup now", "", "Have a server take one", backup_now_about, NULL, verb_backup_now),
    VERB("backup verify", "[name]", "Have a server read one as a restore would; the newest without a name", NULL, NULL,
         verb_backup_verify),
    VERB("backup status", "", "Print schedule, last backup and last failure of each server", NULL, NULL,
         verb_backup_status),
    GROUP("snapshot", MAINTENANCE, "Backups"),
    VERB("snapshot restore", "<filename> --data-dir {output dir} [options]",
         "Make a data directory of a backup, as kedgeutl does", commands_restore_about, commands_restore_flags,
         verb_snapshot_restore),
    VERB("snapshot save", "<filename>", "Write a backup to a file", snapshot_save_about, NULL, verb_snapshot_save),
    VERB("snapshot status", "<filename>", "Print what a backup holds, as kedgeutl does", NULL, NULL,
         verb_snapshot_status),
    GROUP("downgrade", MAINTENANCE, "Going back to an older version"),
    VERB("downgrade validate", "<version>", "Check whether it is possible", NULL, NULL, verb_downgrade_validate),
    VERB("downgrade enable", "<version>", "Begin", downgrade_about, NULL, verb_downgrade_enable),
    VERB("downgrade cancel", "", "Give up", NULL, NULL, verb_downgrade_cancel),

    TOP("lock", CONCURRENCY, "<lockname> [command ...]", "Hold a named lock", lock_about, lock_flags, verb_lock),
    TOP("elect", CONCURRENCY, "<election> [proposal]", "Take part in an election, or observe it", elect_about,
        elect_flags, verb_elect),

    GROUP("auth", AUTHENTICATION, "Authentication on and off"),
    AUTH_LATER("auth enable", "", "Turn it on", NULL),
    AUTH_LATER("auth disable", "", "Turn it off", NULL),
    AUTH_LATER("auth status", "", "Print whether it is on", NULL),
    GROUP("user", AUTHENTICATION, "Users"),
    AUTH_LATER("user add", "<user>", "Add a user", user_add_flags),
    AUTH_LATER("user delete", "<user>", "Delete a user", NULL),
    AUTH_LATER("user get", "<user>", "Print a user's roles", user_get_flags),
    AUTH_LATER("user list", "", "Print all users", NULL),
    AUTH_LATER("user passwd", "<user>", "Change a user's password", user_passwd_flags),
    AUTH_LATER("user grant-role", "<user> <role>", "Give a role to a user", NULL),
    AUTH_LATER("user revoke-role", "<user> <role>", "Take a role from a user", NULL),
    GROUP("role", AUTHENTICATION, "Roles"),
    AUTH_LATER("role add", "<role>", "Add a role", NULL),
    AUTH_LATER("role delete", "<role>", "Delete a role", NULL),
    AUTH_LATER("role get", "<role>", "Print a role's permissions", NULL),
    AUTH_LATER("role list", "", "Print all roles", NULL),
    AUTH_LATER("role grant-permission", "<role> <type> <key> [endkey]", "Give a permission to a role", role_flags),
    AUTH_LATER("role revoke-permission", "<role> <key> [endkey]", "Take a permission from a role", role_flags),

    GROUP("check", UTILITY, "Measure a cluster"),
    VERB("check perf", "", "Measure how fast and how evenly it takes writes", check_perf_about, check_perf_flags,
         verb_check_perf),
    VERB("check datascale", "", "Measure how much memory its first endpoint needs for more keys", check_datascale_about,
         check_datascale_flags, verb_check_datascale),
    TOP("completion", UTILITY, "[bash|zsh|fish|powershell]", "Print a script that completes command lines",
        completion_about, NULL, cli_run_completion),
    TOP("help", UTILITY, "[command]", "Say what a command does", NULL, NULL, cli_run_help),
    TOP("make-mirror", UTILITY, "<destination>", "Copy keys to another cluster, and every change after that",
        make_mirror_about, make_mirror_flags, verb_make_mirror),
    TOP("options", UTILITY, "", "Print the flags that all commands have", NULL, NULL, cli_run_options),
    TOP("version", UTILITY, "", "Print the version", NULL, NULL, verb_version),
    HIDDEN("__complete", cli_run_complete),
    HIDDEN("__completeNoDesc", cli_run_complete),
    HIDDEN("__markdown", cli_run_markdown),
};
/* clang-format on */

const struct cli_program kedgectl = {
    .name = "kedgectl",
    .other_name = "etcdctl",
    .brief = "Command line client for kedge and etcd.",
    .variables = "ETCDCTL",
    .globals = globals,
    .commands = commands,
    .command_count = sizeof commands / sizeof commands[0],
};
