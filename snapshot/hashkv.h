/* HashKV of a file (bbolt.md "HashKV at revision R"), as `etcdutl hashkv` says it. Two passes over the file: the first
 * notes the newest revision of each key and how far the store was compacted, the second hashes what a member would
 * hash. Memory: 32 to 64 bytes a key. Any thread. */
#ifndef SNAPSHOT_HASHKV_H
#define SNAPSHOT_HASHKV_H

#include "snapshot/input.h"

struct snapshot_hashkv {
    uint32_t hash;
    int64_t revision, compact_revision; /* compact_revision -1 = never compacted */
    char reason[1100];                  /* after an error, "" for ERR_COMPACTED and ERR_FUTURE_REV */
    int error_number;                   /* of a file that cannot be opened */
    bool no_database;
};

/* revision 0 = the current one. 0, ERR_COMPACTED, ERR_FUTURE_REV, or what the input says. */
int snapshot_hashkv(const char *path, int64_t revision, struct snapshot_hashkv *out);

#endif
