/* --force-new-cluster: a member whose cluster has lost its quorum for good goes on alone, with all that it has (wal.md,
 * "Start-up order"). Its log gets the entries that remove all others (and, if need be, add it), and all of it is
 * committed by decree.
 *
 * etcd drops what is above the commit index that this member knew of. kedge keeps it: the members that are lost may
 * have committed and acknowledged it. Only before an entry that removes this member the log ends, if it isn't known to
 * be committed. */
#ifndef CMD_KEDGE_FORCE_NEW_H
#define CMD_KEDGE_FORCE_NEW_H

#include "cmd/kedge/member.h"

/* Log and store are open. Afterwards the log must be read anew (true), or nothing was to be done. Ends the process when
 * it is not possible. */
bool force_new_cluster(struct member *member);

#endif
