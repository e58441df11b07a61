/* The trace that the recorder (record.c, a preloaded library) writes and cuts.c reads: what a process did to the files
 * under one folder, in order. A sequence of heads, each followed by its bytes. Numbers in the machine's byte order. */
#ifndef POWERLOSS_RECORD_H
#define POWERLOSS_RECORD_H

#include <stdint.h>

enum record_kind {
    RECORD_CREATE = 1, /* bytes = path below the folder: a new file (file) got this name */
    RECORD_EXISTS, /* the same for a file that was there when it was first opened; its content follows as RECORD_WRITE,
                      RECORD_SYNC. file 0: a folder that was there */
    RECORD_FOLDER, /* bytes = path: a new folder */
    RECORD_WRITE,  /* bytes were written at offset */
    RECORD_SIZE,   /* the file's size became offset */
    RECORD_SYNC,   /* all before of this file is durable */
    RECORD_SYNC_NAMES, /* bytes = path of a folder: the names in it are durable */
    RECORD_RENAME,     /* bytes = old path, 0, new path */
    RECORD_REMOVE,     /* bytes = path */
    RECORD_ACKED,      /* offset = number that was written to the file `acked` in the folder: the newest work that the
                          process has called done */
};

struct record {
    uint32_t kind;
    uint32_t file; /* a number for each file, by inode; from 1 */
    uint64_t offset;
    uint64_t len; /* of the bytes behind this head */
};

#endif
