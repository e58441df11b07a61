/* Where a restored data directory is made, and how it gets its name. Private to snapshot/restore*.c.
 *
 *     DIR.part/member/{snap,wal}          becomes DIR, which is not there yet; or
 *     DIR/restore.part/member/{snap,wal}  becomes DIR/member, where DIR is there and empty
 *
 * A log directory of its own is made as WAL_DIR.part. It is placed before the store, and DIR.part/wal-dir names it
 * until both are in place: by it the next restore knows a log that an interrupted one has placed already. */
#ifndef SNAPSHOT_RESTORE_PLACE_H
#define SNAPSHOT_RESTORE_PLACE_H

#include "base/bytes.h"

struct restore_place {
    char *data_dir, *wal_dir;      /* final; wal_dir NULL = inside of data_dir */
    char *stage, *member, *target; /* in the end `member` becomes `target`; or stage itself, if data_dir is absent */
    char *snap, *wal, *store;      /* while it is made: directories, and the store's file */
    bool made_data_dir;            /* it was not there, and is now: the log's directory is in it */
    bool inside;                   /* data_dir is there and empty: the stage is in it */
    bool staged, log_placed, done;
    char reason[700];
};

/* Looks whether the directories are free and removes what an interrupted restore left. 0, ERR_INVALID (the reason is
 * etcd's), ERR_IO. */
int restore_place_begin(struct restore_place *p, const char *data_dir, const char *wal_dir);
/* Makes the stage: 0, ERR_IO, ERR_DISK_FULL. */
int restore_place_make(struct restore_place *p);
/* All is written and synced: directories too, then the names. 0 or ERR_IO. */
int restore_place_end(struct restore_place *p);
/* Removes what is there without its name. */
void restore_place_free(struct restore_place *p);

#endif
