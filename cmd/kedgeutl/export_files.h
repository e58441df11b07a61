/* A folder that comes into being whole or not at all: it is filled under another name, synced, and gets its own in one
 * step. OUT.part becomes OUT; where OUT is there already and empty (it may be a mount point), OUT/export.part/member
 * becomes OUT/member. What an earlier try left half made is removed by the next one. */
#ifndef CMD_KEDGEUTL_EXPORT_FILES_H
#define CMD_KEDGEUTL_EXPORT_FILES_H

#include "base/arena.h"
#include <stdbool.h>

struct export_files {
    struct arena *arena; /* of the paths and the reason */
    const char *out;     /* the folder asked for, without a slash at the end */
    bool inside;         /* it is there already, and empty */
    const char *part;    /* in which `member` is made */
    const char *reason;  /* after a failure: what is wrong */
};

/* Checks that `out` is absent or empty, and makes PART/member/snap and PART/member/wal. False: refused, see reason;
 * nothing was made. */
bool export_files_begin(struct export_files *files, struct arena *arena, const char *out);
/* Copies all files of a folder whose names end so; holes for what is zero. Each is synced. */
bool export_files_copy(struct export_files *files, const char *from, const char *ending, const char *to);
/* All folders are synced, and the whole gets its name. */
bool export_files_end(struct export_files *files);
/* Removes what was made. */
void export_files_give_up(struct export_files *files);

/* "WHAT PATH: the system's words" into reason; returns false. */
bool export_files_failed(struct export_files *files, const char *what, const char *path);
/* A new file of this content's writer; mode 0600. -1 after a failure. */
int export_files_create(struct export_files *files, const char *path);
/* Syncs and closes it. */
bool export_files_close(struct export_files *files, int fd, const char *path);
bool export_files_write(struct export_files *files, int fd, const char *path, const void *data, size_t len);

#endif
