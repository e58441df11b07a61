/* A snapshot in zstd, in pieces that can be unpacked one by one: each MiB is a frame of its own, and a table of them
 * stands at the end, in a frame that zstd passes over ("seekable format" of zstd's contrib folder). `zstd -d` unpacks
 * it; a reader that goes here and there in it, as snapshot/reader.h does, needs no room for the whole.
 *
 * The table:  5e 2a 4d 18, u32 length of the rest, {u32 packed, u32 unpacked} for each frame, u32 frames, u8 0,
 * b1 ea 92 8f; all little-endian. */
#ifndef SNAPSHOT_BACKUP_ZSTD_H
#define SNAPSHOT_BACKUP_ZSTD_H

#include "snapshot/source.h"

enum { BACKUP_ZSTD_FRAME = 1 << 20, BACKUP_ZSTD_TABLE_MAX = 1 << 26 };

/* --- packing --- */
struct backup_packer;
struct backup_packer *backup_packer_new(void);
void backup_packer_free(struct backup_packer *packer); /* NULL is allowed */
/* What comes out is appended. */
void backup_packer_add(struct backup_packer *packer, struct bytes part, struct buffer *out);
void backup_packer_end(struct backup_packer *packer, struct buffer *out);

/* --- unpacking: a source over a source, which outlives it --- */
struct backup_unpacker;
/* NULL with *reason (constant text) if it has no such table, or the table makes no sense. */
struct backup_unpacker *backup_unpacker_new(struct snapshot_source *packed, const char **reason);
struct snapshot_source *backup_unpacker_source(struct backup_unpacker *unpacker);
void backup_unpacker_free(struct backup_unpacker *unpacker); /* NULL is allowed */
/* After a read of the source that failed: a frame is damaged (constant text). NULL = the disk failed. */
const char *backup_unpacker_damage(const struct backup_unpacker *unpacker);

#endif
