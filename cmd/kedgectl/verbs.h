/* What the commands of kedgectl do; the table that names them is commands.c. */
#ifndef CMD_KEDGECTL_VERBS_H
#define CMD_KEDGECTL_VERBS_H

#include "cmd/cli.h"

cli_run verb_get, verb_put, verb_del, verb_txn, verb_watch, verb_compaction;
cli_run verb_lease_grant, verb_lease_revoke, verb_lease_timetolive, verb_lease_list, verb_lease_keep_alive;
cli_run verb_endpoint_health, verb_endpoint_status, verb_endpoint_hashkv;
cli_run verb_member_list, verb_member_add, verb_member_remove, verb_member_update, verb_member_promote,
    verb_move_leader;
cli_run verb_backup_list, verb_backup_now, verb_backup_verify, verb_backup_status;
cli_run verb_make_mirror, verb_check_perf, verb_check_datascale;
cli_run verb_alarm_list, verb_alarm_disarm, verb_snapshot_save, verb_snapshot_status, verb_snapshot_restore,
    verb_version;
cli_run verb_defrag, verb_downgrade_validate, verb_downgrade_enable, verb_downgrade_cancel, verb_lock, verb_elect;

extern const struct cli_program kedgectl;

#endif
