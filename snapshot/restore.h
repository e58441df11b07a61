/* A data directory for one member of a new cluster, from a file that holds a store: what `etcdutl snapshot restore`
 * makes of it (wal.md "etcdutl snapshot restore"), in kedge's own format. And the same without the directory: a dry
 * restore reads every page and every row as a restore does, says whether it would succeed, and leaves nothing behind.
 *
 * The file is of one of the kinds of snapshot/input.h. Keys, leases, users, alarms and versions are kept; the members
 * are the new ones; the log begins anew with them, and the store's position is behind them.
 *
 * The directory is made under another name, synced, and gets its own in one step at the very end: DIR.part becomes DIR;
 * where DIR is there already and empty (it may be a mount point) DIR/restore.part/member becomes DIR/member. What an
 * earlier restore left half made is removed by the next one. With a wal_dir of its own that one is placed before.
 *
 * Any thread, one at a time; by slices: only the last one syncs. */
#ifndef SNAPSHOT_RESTORE_H
#define SNAPSHOT_RESTORE_H

#include "snapshot/input.h"
#include "snapshot/status.h"

/* One of --initial-cluster. Names and URLs were checked by the caller (base/url.h); URLs are written as they stand. */
struct snapshot_restore_member {
    const char *name;
    const char *const *peer_urls;
    size_t peer_url_count;
};

struct snapshot_restore_config {
    const char *file;
    struct snapshot_source *source; /* in place of the file, which is then only a name: a bbolt image; or NULL */
    bool map_file;                  /* for tools: see snapshot_input_map */
    bool skip_hash_check;           /* take a bbolt file that has no SHA-256 at its end, or a wrong one */

    /* Authentication that is enabled in the file is turned off. Without it such a file is refused: this version of
     * kedge would not serve it. Users and roles are kept in any case. */
    bool disable_auth;
    /* Adds this to the latest revision and marks all up to there as compacted, so that no client is given a revision
     * again that it has seen with something else in it. 0 = revisions go on where the file ends. */
    uint64_t bump_revision;

    bool no_keys; /* does not count keys, which takes memory for each */
    bool dry_run; /* nothing of what follows is looked at */

    const char *data_dir; /* absent, or an empty directory */
    const char *wal_dir;  /* absent; NULL = DATA_DIR/member/wal */
    const char *name;     /* one of members */
    const struct snapshot_restore_member *members;
    size_t member_count;
    const char *token;
    uint64_t map_bytes; /* as backend_lmdb_config's */
};

/* What a bump of "auto" is: what etcd's documentation recommends, a week of 1,500 writes a second. It must not depend
 * on anything but this: members restored from one file at different times must come out the same. */
#define SNAPSHOT_RESTORE_BUMP_AUTO UINT64_C(1000000000)

/* What was found in the file; complete after SNAPSHOT_DONE. */
struct snapshot_restore_result {
    enum snapshot_input_kind kind;
    bool hash_checked; /* the SHA-256 at the end was there and is right */
    /* As `snapshot status` says; but for the revision only of a dry restore: the others take longer than all the rest.
     */
    struct snapshot_status status;
    int64_t revision;         /* the current one after the restore: status.revision, or a compaction's, or bumped */
    int64_t compact_revision; /* -1 = never compacted */
    uint64_t leases, users, roles, alarms, old_members;
    bool auth_enabled;
    bool kubernetes; /* it has keys under /registry/: clients that cannot bear revisions to go back */
    /* Not of a dry restore: */
    uint64_t cluster_id, member_id;
};

struct snapshot_restore;

/* The texts and the members must live until snapshot_restore_free. */
struct snapshot_restore *snapshot_restore_new(const struct snapshot_restore_config *config);

/* About `rows` rows. SNAPSHOT_MORE; SNAPSHOT_DONE: the directory is there, whole and durable, under its own name.
 * ERR_ABSENT: no such file; ERR_CORRUPT_DATA: the file is refused; ERR_INVALID: the directory is, or a member;
 * ERR_DISK_FULL, ERR_IO, ERR_LOCKED (a store that is in use). After an error nothing was made. */
int snapshot_restore_step(struct snapshot_restore *r, size_t rows);

/* After an error: what is wrong, in which file and where, in etcd's words where it has some. */
const char *snapshot_restore_reason(const struct snapshot_restore *r);
const struct snapshot_restore_result *snapshot_restore_result(const struct snapshot_restore *r);
/* Bytes of the file read so far, and in all. */
void snapshot_restore_progress(const struct snapshot_restore *r, uint64_t *done, uint64_t *all);
/* Without SNAPSHOT_DONE before, removes what was written. NULL is allowed. */
void snapshot_restore_free(struct snapshot_restore *r);

#endif
