/* The SHA-256 at a file's end, reckoned by a thread of its own while somebody else reads the file: with a large file
 * that is what takes longest. What is read meanwhile is not to be believed before snapshot_checksum_end. */
#ifndef SNAPSHOT_CHECKSUM_H
#define SNAPSHOT_CHECKSUM_H

#include "snapshot/source.h"

enum { SNAPSHOT_CHECKSUM_BYTES = 32, SNAPSHOT_CHECKSUM_TEXT = 640 };

struct snapshot_checksum;

/* Over all of the source but its last 32 bytes. The source is read by two threads: a file or memory, and outlives this.
 * NULL: there can be no thread now. */
struct snapshot_checksum *snapshot_checksum_begin(struct snapshot_source *source);
/* Waits for it and frees it. 0; ERR_CORRUPT_DATA, ERR_IO: reason says more. */
int snapshot_checksum_end(struct snapshot_checksum *c, char reason[SNAPSHOT_CHECKSUM_TEXT]);
/* Frees it, whatever it would have found. NULL is allowed. */
void snapshot_checksum_abandon(struct snapshot_checksum *c);

/* "expected sha256 [1 2 …], got [3 4 …]": etcd's words. */
void snapshot_checksum_text(const uint8_t said[SNAPSHOT_CHECKSUM_BYTES], const uint8_t is[SNAPSHOT_CHECKSUM_BYTES],
                            char text[SNAPSHOT_CHECKSUM_TEXT]);

#endif
