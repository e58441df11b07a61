/* What is told of a backup: its name, and the JSON object that stands beside it.
 *
 *     kedge-20261123T030000Z-r123456.db.zst       the snapshot; without .zst as etcdutl takes it
 *     kedge-20261123T030000Z-r123456.json         its note, written after it: a backup without one was not finished
 *
 * Names sort by time. */
#ifndef SNAPSHOT_BACKUP_NOTE_H
#define SNAPSHOT_BACKUP_NOTE_H

#include "base/bytes.h"

enum { BACKUP_NAME_BYTES = 64, BACKUP_NOTE_MAX_BYTES = 16384 };

struct backup_note {
    char name[BACKUP_NAME_BYTES]; /* of the snapshot */
    int64_t time_s;               /* when it was begun, since 1970 */
    int64_t slot_s;               /* of the schedule; 0 = somebody asked for it */
    int64_t revision;
    uint32_t hash;        /* as etcdutl snapshot status says it */
    uint64_t size;        /* bytes of the snapshot, its checksum included */
    uint64_t stored_size; /* bytes of the file */
    char version[32];     /* of the store, "3.7.0" */
    bool zstd;
    uint64_t member_id, cluster_id;
    char member[64]; /* its name, cut off if it is longer */
    uint64_t duration_ms;
    /* "" = it is good: written, read back, found whole. Otherwise what a later verification found. */
    char damage[256];
};

/* "kedge-20261123T030000Z-r123456.db" */
void backup_note_name(struct backup_note *note);
/* The name of the note of a snapshot of this name; false if it is no backup's name. out: BACKUP_NAME_BYTES. */
bool backup_note_beside(const char *name, char *out);
/* Is this the name of a snapshot that kedge took? *time_s: when. */
bool backup_note_is_backup(const char *name, int64_t *time_s);

void backup_note_print(const struct backup_note *note, struct buffer *out);
/* False if it is no note; fields of other names are passed over. */
bool backup_note_parse(struct bytes text, struct backup_note *out);

#endif
