/* A small store file with everything in it that damage can strike: branch pages two deep, rows in overflow pages,
 * several tables, a free list of several transactions. The same every time. */
#ifndef SUPPORT_STORE_IMAGE_H
#define SUPPORT_STORE_IMAGE_H

#include "kv/backend.h"

/* Writes it to `path`, which must not exist. */
void store_image_create(const char *path);

/* A number for all rows of all tables, the same for the same content. Read through the backend: 0 and *sum, or the
 * error of the first read that failed. */
int store_image_sum(struct backend *b, uint64_t *sum);

/* The same number, of an image in memory, by kv/lmdb_check.h's walk: 0 and *sum, or ERR_CORRUPT_DATA. */
struct lmdb_check;
int store_image_walk(struct bytes image, uint64_t *sum, struct lmdb_check *out);

#endif
