/* The backups in a target: which there are, whether one is whole, which are given up, and a new one.
 *
 * A backup exists from when its note stands beside it (snapshot/backup_note.h). Several clusters may share a target:
 * each sees its own backups alone.
 *
 * One thread at a time; everything here may block for as long as the target does. Functions give 0 or an error, and
 * then `reason` says what is wrong. */
#ifndef SNAPSHOT_BACKUP_STORE_H
#define SNAPSHOT_BACKUP_STORE_H

#include "snapshot/backup_keep.h"
#include "snapshot/backup_note.h"
#include "snapshot/backup_target.h"
#include <stdatomic.h>

struct backup_store {
    struct backup_target *target; /* the store's */
    uint64_t cluster_id;
    struct backup_keep keep;
    char reason[512];
};

/* Heap array, newest first; *out is freed by the caller. */
int backup_store_list(struct backup_store *store, struct backup_note **out, size_t *count);

/* The good backup of a slot: 1 and *out, 0 if there is none (slot 0: there is never one). */
int backup_store_find_slot(struct backup_store *store, int64_t slot_s, struct backup_note *out);

/* Reads a backup as a restore would, every page and every row, and compares it with its note. "" = the newest one. What
 * is found is written into its note: ERR_CORRUPT_DATA, or 0. ERR_ABSENT: there is none of that name. cancel (may be
 * NULL) is looked at now and then: ERR_STOPPED. */
int backup_store_verify(struct backup_store *store, const char *name, struct backup_note *out,
                        const atomic_bool *cancel);

/* Removes what the policy does not keep, and what was left half removed. now_s: the time of the newest one. Those of
 * later times are of a clock that was ahead: they count as the oldest. *removed: how many backups. */
int backup_store_retain(struct backup_store *store, int64_t now_s, size_t *removed);

/* --- a new one: begin, write …, finish, commit; or abort at any time --- */
struct backup_writer {
    struct backup_store *store; /* set by the caller, with these: */
    struct backup_note note;    /* time_s, slot_s, revision, version, zstd, member… */

    /* private */
    struct backup_packer *packer;
    struct buffer packed;
    bool begun;
};

/* A name that is taken already gets another second. */
int backup_writer_begin(struct backup_writer *writer);
int backup_writer_write(struct backup_writer *writer, struct bytes part);
/* All is durable, was read back by a dry restore, and is what was written. */
int backup_writer_finish(struct backup_writer *writer, const atomic_bool *cancel);
/* It has its name, and its note is there. */
int backup_writer_commit(struct backup_writer *writer);
void backup_writer_abort(struct backup_writer *writer); /* no effect after commit */

#endif
