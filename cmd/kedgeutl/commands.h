/* The commands and flags of kedgeutl: those of etcdutl 3.7.1 (facts: etcdutl.tsv), and "check". */
#ifndef CMD_KEDGEUTL_COMMANDS_H
#define CMD_KEDGEUTL_COMMANDS_H

#include "cmd/cli.h"

extern const struct cli_program kedgeutl;

/* check DATA-DIR: walks the store's pages. Exit status 0 = whole; 1 = damaged, or not a store; 2 = in use. */
int commands_check(struct cli_call *call);
/* export DATA-DIR OUTPUT-DIR: a member's data folder as etcd's. Exit statuses as check. */
int commands_export(struct cli_call *call);
/* snapshot status FILE: what a backup holds. */
int commands_snapshot_status(struct cli_call *call);
/* snapshot restore FILE: a data directory of a backup. The flags and the text are for kedgectl's old spelling too. */
int commands_snapshot_restore(struct cli_call *call);
extern const struct cli_flag commands_restore_flags[];
extern const char commands_restore_about[];
/* hashkv FILE: the hash of its history. */
int commands_hashkv(struct cli_call *call);
extern const struct cli_flag commands_hashkv_flags[];
/* defrag --data-dir=DIR: gives the store's free pages back to the file system. */
int commands_defrag(struct cli_call *call);
extern const struct cli_flag commands_defrag_flags[];
/* migrate --data-dir=DIR --target-version=X.Y: changes the version that the store says it is of. */
int commands_migrate(struct cli_call *call);
extern const struct cli_flag commands_migrate_flags[];

#endif
