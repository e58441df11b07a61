/* What is in a folder, made durable: names that were given, changed or removed in it (fsync(2), "Calling fsync() does
 * not necessarily ensure that the entry in the directory containing the file has also reached disk"). */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include <stdint.h>

/* 0, or -1 with errno. */
int folder_sync(const char *path);
/* The folder that this file stands in, whether or not the file is there. */
int folder_sync_of(const char *file);
/* Makes the folders above `path` that are missing, as mkdir -p does, each durably. */
int folder_make_above(const char *path);
/* How many bytes this process may still write to the file system of an open file; UINT64_MAX: it doesn't tell. */
uint64_t folder_room(int fd);

#endif
