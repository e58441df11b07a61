/* Where the reader gets an image's bytes from: a file, or memory (tests, the simulator). */
#ifndef SNAPSHOT_SOURCE_H
#define SNAPSHOT_SOURCE_H

#include "base/bytes.h"

struct snapshot_source {
    uint64_t size;
    const uint8_t *map; /* all of it, if it lies in memory; or NULL */
    /* Reads exactly len bytes at offset, which lie inside of the size. 0, or ERR_IO: the file became shorter, or the
     * disk failed (*error_number). */
    int (*read)(struct snapshot_source *source, uint64_t offset, uint8_t *to, size_t len, int *error_number);
};

struct snapshot_memory {
    struct snapshot_source source; /* first */
    struct bytes bytes;
};
void snapshot_memory_init(struct snapshot_memory *memory, struct bytes bytes);

struct snapshot_file {
    struct snapshot_source source; /* first */
    int fd;
    struct lmdb_guard *guard; /* of the map */
};
/* 0 or a negative errno. */
int snapshot_file_open(struct snapshot_file *file, const char *path);
/* Reads it through memory from now on, where that is possible: no copies. A file that becomes shorter while it is read,
 * or that the disk cannot give, then ends the process with a line that names it: for tools, not for servers. */
void snapshot_file_map(struct snapshot_file *file, const char *path);
void snapshot_file_close(struct snapshot_file *file);

#endif
