#include "snapshot/source.h"

#include "base/check.h"
#include "base/error.h"
#include "kv/lmdb_guard.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int memory_read(struct snapshot_source *source, uint64_t offset, uint8_t *to, size_t len, int *error_number)
{
    const struct snapshot_memory *memory = (const struct snapshot_memory *)source;
    (void)error_number;
    CHECK(offset <= source->size && len <= source->size - offset);
    if (len > 0) {
        memcpy(to, memory->bytes.data + offset, len);
    }
    return 0;
}

void snapshot_memory_init(struct snapshot_memory *memory, struct bytes bytes)
{
    *memory = (struct snapshot_memory){.source = {.size = bytes.len, .read = memory_read}, .bytes = bytes};
}

static int file_read(struct snapshot_source *source, uint64_t offset, uint8_t *to, size_t len, int *error_number)
{
    const struct snapshot_file *file = (const struct snapshot_file *)source;
    while (len > 0) {
        ssize_t n = pread(file->fd, to, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            *error_number = n < 0 ? errno : EIO;
            return ERR_IO;
        }
        to += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int snapshot_file_open(struct snapshot_file *file, const char *path)
{
    struct stat st;
    *file = (struct snapshot_file){.source = {.read = file_read}, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (file->fd < 0) {
        return -errno;
    }
    int failed = fstat(file->fd, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (failed != 0) {
        snapshot_file_close(file);
        return -failed;
    }
    file->source.size = (uint64_t)st.st_size;
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void snapshot_file_map(struct snapshot_file *file, const char *path)
{
    struct snapshot_source *source = &file->source;
    void *map = source->size == 0 || source->size > SIZE_MAX / 2
                    ? MAP_FAILED
                    : mmap(NULL, (size_t)source->size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (map != MAP_FAILED) {
        madvise(map, (size_t)source->size, MADV_SEQUENTIAL);
        file->guard = lmdb_guard_add(path, map, (size_t)source->size);
        source->map = map;
    }
}

void snapshot_file_close(struct snapshot_file *file)
{
    if (file->source.map != NULL) {
        lmdb_guard_remove(file->guard);
        munmap((void *)(uintptr_t)file->source.map, (size_t)file->source.size);
        file->source.map = NULL;
    }
    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
}
