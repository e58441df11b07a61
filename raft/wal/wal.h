/* The write-ahead log: etcd 3.7's format to the byte (wal.md), so that etcd starts on what kedge wrote and kedge on
 * what etcd wrote.
 *
 * A `struct wal` belongs to one thread at a time: the one that opened it hands it to the WAL thread. Only wal_read and
 * wal_space may be called from other threads meanwhile.
 *
 * The WAL thread's loop:
 *
 *     for each job that waits:   wal_save(w, entries, n, hard_state)         collected in memory
 *     if any of them must_sync:  wal_sync(w)                                 one write, one fdatasync for all
 *     answer the jobs: durable
 *     when nothing waits:        wal_prepare(w)                              the next segment's space
 *
 * Errors: ERR_DISK_FULL means that nothing of the call was written and that it may be tried again; after ERR_IO the log
 * is dead (every further call fails with it) and the member has to end: a sync that failed once is never repeated, what
 * it left behind is known to nobody (design.md, law 6). `reason`, where there is one, gets a heap text for the log that
 * names file and offset; the caller frees it; NULL is allowed. */
#ifndef RAFT_WAL_WAL_H
#define RAFT_WAL_WAL_H

#include "raft/types.h"
#include "raft/wal/wal_fs.h"

#define WAL_SEGMENT_BYTES UINT64_C(64000000) /* nominal (limits.tsv): a segment may exceed it by one save */

struct wal;

struct wal_config {
    const struct wal_fs *fs;
    const char *dir;        /* DIR/member/wal, without a slash at the end; copied */
    uint64_t segment_bytes; /* 0 = WAL_SEGMENT_BYTES */
    uint64_t reserve_bytes; /* kept back for wal_space; 0 = 1 MiB */
    bool no_sync;           /* --unsafe-no-fsync: everything is still written at each wal_sync, but not synced */
};

struct wal_metadata {
    uint64_t node_id, cluster_id;
};

/* Is there a log (any NAME.wal) in the directory? Foreign names don't count. 0, ERR_IO; an absent directory has none.
 */
int wal_exists(const struct wal_fs *fs, const char *dir, bool *exists, char **reason);

/* A new log, there wholly or not at all: metadata, an empty snapshot record, and what a new cluster begins with (the
 * entries that add its members and the state that commits them; count 0 and NULL for a member that joins). Built under
 * another name in the directory (made if absent, foreign files in it are left alone), synced, renamed, directory and
 * parent synced.
 * 0, ERR_LOCKED, ERR_IO, ERR_DISK_FULL, ERR_INVALID if there is a log already. */
int wal_create(const struct wal_config *config, struct wal_metadata metadata, const struct raft_entry *entries,
               size_t count, const struct raft_hard_state *state, struct wal **out, char **reason);

/* What an opened log holds. */
struct wal_contents {
    struct wal_metadata metadata;
    struct raft_hard_state hard_state;
    /* The newest checkpoint that the log's commit covers: entries follow it. conf is empty for index 0. */
    struct raft_position snapshot;
    struct raft_conf_state conf;
    uint64_t first_index; /* snapshot.index + 1 */
    uint64_t last_index;  /* snapshot.index if there are no entries */
    uint64_t last_term;
    uint64_t entry_count, record_count;
    bool repaired; /* a torn tail was cut off */
    char *repaired_file;
    uint64_t repaired_offset,
        repaired_bytes; /* where the cut was made; what lay behind it up to the last non-zero byte */
};

void wal_contents_free(struct wal_contents *contents);

/* Opens for writing: reads and checks all records since the newest checkpoint, repairs a torn tail once (copy to
 * NAME.wal.broken first), locks the segments. Rules: wal.md "Opening and reading".
 * 0; ERR_ABSENT: no log there; ERR_LOCKED: another process has it; ERR_CORRUPT_DATA: refused, reason names file and
 * offset, nothing was changed; ERR_IO; ERR_DISK_FULL. */
int wal_open(const struct wal_config *config, struct wal **out, struct wal_contents *contents, char **reason);

/* Reads and checks the same way, but changes nothing and takes no lock (kedgeutl). A torn tail is reported in contents
 * (repaired, with what would be cut). */
int wal_verify(const struct wal_config *config, struct wal_contents *contents, char **reason);

/* The same, and then hands the entries over as wal_replay does: for who reads a log that must not change. */
int wal_verify_entries(const struct wal_config *config, struct wal_contents *contents,
                       int (*entry)(void *arg, const struct raft_entry *e), void *arg, char **reason);

/* The term of an entry of the log, 0 if it has none there. Checkpoint's index included. For checks at start. */
uint64_t wal_term(const struct wal *w, uint64_t index);

/* Hands the valid entries from `from` (>= contents.first_index) on to `entry`, ascending, each once: entries that a
 * later record replaced aren't shown. The callee takes a reference if it keeps data. Stops with what `entry` returns if
 * that isn't 0. */
int wal_replay(struct wal *w, uint64_t from, int (*entry)(void *arg, const struct raft_entry *e), void *arg,
               char **reason);

/* Entries from..to (both included) out of the segments, at most max_bytes of data but at least one: *out is a heap
 * array of *count, each with a reference to its data; free with wal_entries_free. Only what was synced before may be
 * asked for. Any thread. 0, ERR_ABSENT (the segment was released), ERR_CORRUPT_DATA, ERR_IO. */
int wal_read(struct wal *w, uint64_t from, uint64_t to, size_t max_bytes, struct raft_entry **out, size_t *count,
             char **reason);
void wal_entries_free(struct raft_entry *entries, size_t count);

/* The oldest entry that wal_read can give. Any thread. */
uint64_t wal_first_index(struct wal *w);

/* Adds entries (ascending; the first may replace what was saved before) and then the hard state (NULL or all zero:
 * none). Keeps them in memory until wal_sync or wal_flush; entries' data must stay alive until then. 0, ERR_DISK_FULL
 * (nothing was added), ERR_IO. */
int wal_save(struct wal *w, const struct raft_entry *entries, size_t count, const struct raft_hard_state *state);

/* Writes what was saved and makes it durable; then begins a new segment if this one is full. 0, ERR_IO. Space for what
 * was saved has been made sure of by wal_save, so that lack of space is ERR_IO here. */
int wal_sync(struct wal *w);
int wal_flush(struct wal *w); /* writes only */

/* A checkpoint at index: snapshot record, always synced, with all that was saved before. The .snap file must be durable
 * and the store's data too. 0, ERR_DISK_FULL, ERR_IO. */
int wal_save_snapshot(struct wal *w, struct raft_position at, const struct raft_conf_state *conf);

/* After a checkpoint at index: segments with only older entries are unlocked, and the oldest of them beyond max_files
 * segments (0 = keep all) removed, as long as nobody else holds a lock on them. *removed (NULL allowed) counts them. */
int wal_release(struct wal *w, uint64_t index, size_t max_files, size_t *removed);

/* Makes the next segment ready (allocated, locked) if it isn't yet: less than a millisecond, no sync. Writing the
 * zeroes instead of only allocating them brought nothing in measurements on ext4. After ERR_DISK_FULL, try again a
 * second later. */
int wal_prepare(struct wal *w); /* 0 ready, ERR_DISK_FULL, ERR_IO */

/* How much more can be saved for certain. When the disk is full, the last reserve_bytes of the last segment are for
 * entries that make room (alarms, compaction, revokes): the caller admits others while ordinary_bytes lasts, and those
 * while total_bytes lasts. Both UINT64_MAX while a next segment is ready or no lack was seen. Any thread. */
struct wal_space {
    uint64_t ordinary_bytes, total_bytes;
};
struct wal_space wal_space(struct wal *w);

const char *
wal_reason(const struct wal *w); /* of the last failure of save, sync, flush, prepare or release; "" if none */

/* Writes what was saved (without syncing) and frees everything; the files stay. */
void wal_close(struct wal *w);
/* Frees everything and writes nothing, as if the process had died. For tests and the simulator. */
void wal_abandon(struct wal *w);

#endif
