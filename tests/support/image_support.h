/* Images for tests: samples unpacked, stores exported, rows compared. */
#ifndef TESTS_SUPPORT_IMAGE_SUPPORT_H
#define TESTS_SUPPORT_IMAGE_SUPPORT_H

#include "snapshot/reader.h"
#include "snapshot/status.h"

/* A gzip file's content. */
void image_unpack(const char *path, struct buffer *out);
/* The tables as an image, in slices of `slice` bytes; with the checksum behind it if wanted. */
void image_export(struct backend *backend, bool checksum, size_t slice, struct buffer *out);
/* Reads the image through: 0 or the error, and the reason in *reason (static). What was given out goes into *rows (NULL
 * = not wanted) as: name, newline / key length, value length, key, value. */
int image_read(struct bytes image, bool verify, struct buffer *rows, const char **reason);
int image_status(struct bytes image, struct snapshot_status *status, const char **reason);

#endif
