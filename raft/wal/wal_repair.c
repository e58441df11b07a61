/* What is done to a segment's end before it is written on. All return 0 or a negative errno value. */
#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>
#include <stdlib.h>

enum { COPY_CHUNK = 1 << 20 };

/* *end = behind the last byte at or after offset that isn't zero; offset if there is none. */
int wal_repair_find_stale(struct wal_file *file, uint64_t offset, uint64_t *end)
{
    uint8_t *chunk = mem_alloc(COPY_CHUNK);
    size_t got = 1;
    int error = 0;
    *end = offset;
    for (uint64_t at = offset; error == 0 && got > 0; at += got) {
        error = file->fs->read(file, chunk, COPY_CHUNK, at, &got);
        for (size_t i = got; error == 0 && i-- > 0;) {
            if (chunk[i] != 0) {
                *end = at + i + 1;
                break;
            }
        }
    }
    free(chunk);
    return error;
}

static int copy_file(struct wal_file *from, struct wal_file *to)
{
    uint8_t *chunk = mem_alloc(COPY_CHUNK);
    int error = 0;
    size_t got = 1;
    for (uint64_t at = 0; error == 0 && got > 0; at += got) {
        error = from->fs->read(from, chunk, COPY_CHUNK, at, &got);
        if (error == 0 && got > 0) {
            error = to->fs->write(to, &(struct iovec){.iov_base = chunk, .iov_len = got}, 1, at);
        }
    }
    free(chunk);
    return error != 0 ? error : to->fs->sync(to);
}

/* Keeps a damaged file as NAME.broken. */
int wal_repair_keep_copy(struct wal_file *file, const char *path, const char *dir)
{
    const struct wal_fs *fs = file->fs;
    char *broken = mem_printf("%s.broken", path);
    struct wal_file *copy;
    int error = fs->open(fs, broken, WAL_FS_WRITE | WAL_FS_CREATE | WAL_FS_TRUNCATE, &copy);
    if (error == 0) {
        error = copy_file(file, copy);
        fs->close(copy);
    }
    free(broken);
    return error != 0 ? error : fs->sync_dir(fs, dir);
}

static int write_zeroes(struct wal_file *file, uint64_t from, uint64_t to)
{
    uint8_t *zeroes = mem_zalloc(COPY_CHUNK);
    int error = 0;
    while (error == 0 && from < to) {
        size_t n = to - from < COPY_CHUNK ? (size_t)(to - from) : COPY_CHUNK;
        error = file->fs->write(file, &(struct iovec){.iov_base = zeroes, .iov_len = n}, 1, from);
        from += n;
    }
    free(zeroes);
    return error;
}

/* Makes everything from offset on read as zeroes. Where the file system can't just say so, only what isn't zero yet is
 * written over: most often that is nothing. */
int wal_repair_clear(struct wal_file *file, uint64_t offset, uint64_t size)
{
    uint64_t stale_end;
    int error = -EOPNOTSUPP;
    if (offset >= size) {
        return 0;
    }
    if (file->fs->zero != NULL) {
        error = file->fs->zero(file, offset, size - offset);
    }
    if (error != -EOPNOTSUPP && wal_error(error) != ERR_DISK_FULL) {
        return error;
    }
    error = wal_repair_find_stale(file, offset, &stale_end);
    return error != 0 ? error : write_zeroes(file, offset, stale_end);
}
