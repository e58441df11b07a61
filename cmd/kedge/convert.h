/* A data directory that an etcd 3.5, 3.6 or 3.7 left: its store, a bbolt file under member/snap/db, is made into
 * kedge's. Everything else in the directory is in etcd's format in kedge too (log, checkpoints), is used as it is, and
 * goes on from where etcd stopped: the member keeps its ids, its place in its cluster and what its log has not yet
 * given the store.
 *
 * The order of steps. At each point `db` is a whole store that begins what follows in the log; what a crash leaves is
 * told by the first bytes of `db` alone:
 *
 *   1. flock(EX) on `db`, as etcd takes it: no etcd runs on it, and no other conversion.
 *   2. What an earlier try left goes: db.tmp.etcd, and a name db.etcd.* that is still the same file as `db`.
 *   3. It is read, and refused here if it cannot be a member's store of this program's. Nothing was changed so far.
 *   4. db.tmp.etcd is built from it (snapshot/install.h), which reads every page and row, and synced. A crash here or
 *      before: `db` is etcd's, the next start begins anew.
 *   5. Opened once more, all pages and checksums walked; position, members and version are compared with the log's:
 *      refused, or what was asked for (authentication off) is committed to it durably. It is closed.
 *   6. link(db, db.etcd.POSITION), and the folder is synced: the original has its second name. A crash here: as 4.
 *   7. rename(db.tmp.etcd, db), in one step in place of the original's first name. A crash here: `db` is etcd's
 *      (as 4) or kedge's (done).
 *   8. The folder is synced. Only after this the member opens `db`, and may write to it and to the log.
 *
 * The original is never written to, and never removed: it stays as member/snap/db.etcd.POSITION (16 digits,
 * hexadecimal: the log entry that it ends with; .2, .3 … behind it if that name is taken). Neither kedge nor etcd look
 * at it. It is one moment of the past: the way back to etcd is `kedgeutl export`, which takes what was written since.
 *
 * Thread: the one that starts the member, before there are others. */
#ifndef CMD_KEDGE_CONVERT_H
#define CMD_KEDGE_CONVERT_H

#include "raft/wal/wal.h"

struct convert_config {
    const char *snap_dir, *db_path; /* DIR/member/snap, and db in it */
    const char *wal_dir;
    uint64_t map_bytes, quota_bytes; /* as backend_lmdb_config's */
    /* --migrate-disable-auth: what to do about a store whose cluster has authentication enabled. False: refuse. True:
     * switch it off in the new store, as `auth disable` does; for a member alone that was stopped in order. */
    bool disable_auth;
};

/* Is there a database of etcd's under this path? Absent and unreadable ones are not: whoever opens them says why. */
bool convert_is_needed(const char *db_path);

/* Converts; progress goes to the log. `log` is what the write-ahead log holds. 0, or an error with a heap text in
 * *reason that says what is wrong and what would be right; then the directory is as it was. */
int convert_store(const struct convert_config *config, const struct wal_contents *log, char **reason);

#endif
