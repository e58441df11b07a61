/* The page walk over a store's file: lmdb_check with our tables and our rows' checksums. */
#include "base/error.h"
#include "kv/backend_lmdb.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *table_name(unsigned table)
{
    return backend_table_name((enum backend_table)table);
}

static bool row_is_whole(unsigned table, struct bytes key, struct bytes stored)
{
    struct bytes value;
    return lmdb_row_open((enum backend_table)table, key, stored, &value);
}

const struct lmdb_check_tables *lmdb_tables(void)
{
    static const struct lmdb_check_tables tables = {.count = BACKEND_TABLES, .name = table_name, .row = row_is_whole};
    return &tables;
}

static int check_failed_to_read(struct lmdb_check *out)
{
    int error = errno;
    *out = (struct lmdb_check){.class = LMDB_CHECK_CUT};
    snprintf(out->reason, sizeof out->reason, "cannot read: %s", strerror(error));
    return ERR_IO;
}

/* Reads the file into the page cache and its pages into the map, in order and in pieces, which is many times faster
 * than meeting them one by one, and tells a place that the disk cannot read as an error in place of a signal. */
static int populate(uint8_t *map, size_t len, struct lmdb_check *out)
{
    enum { PIECE = 64 << 20 };
    for (size_t at = 0; at < len; at += PIECE) {
        size_t piece = len - at < PIECE ? len - at : PIECE;
        if (madvise(map + at, piece, MADV_POPULATE_READ) != 0 && (errno == EFAULT || errno == EHWPOISON)) {
            size_t page = (size_t)sysconf(_SC_PAGESIZE);
            while (piece > page && madvise(map + at, page, MADV_POPULATE_READ) == 0) {
                at += page;
                piece -= page;
            }
            errno = EIO;
            check_failed_to_read(out);
            out->offset = at;
            return ERR_IO;
        }
    }
    return 0;
}

/* A file larger than this share of memory is met page by page: populating it would only push out its own beginning. */
static bool fits_memory(size_t len)
{
    return len < (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 2;
}

int lmdb_check_file(int fd, const char *path, bool whole, struct lmdb_check *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return check_failed_to_read(out);
    }
    size_t len = (size_t)st.st_size;
    if (len == 0) {
        return lmdb_check_metas((struct bytes){0}, out);
    }
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return check_failed_to_read(out);
    }
    struct lmdb_guard *guard = lmdb_guard_add(path, map, len);
    int error = whole && fits_memory(len) ? populate(map, len, out) : 0;
    if (error == 0) {
        error = whole ? lmdb_check_image(bytes_of(map, len), lmdb_tables(), out)
                      : lmdb_check_metas(bytes_of(map, len), out);
    }
    lmdb_guard_remove(guard);
    munmap(map, len);
    return error;
}

int backend_check_file(const char *path, struct lmdb_check *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int error = errno == ENOENT ? ERR_ABSENT : ERR_IO;
        check_failed_to_read(out);
        return error;
    }
    int error = lmdb_check_file(fd, path, true, out);
    close(fd);
    return error;
}
