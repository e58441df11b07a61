/* Giving up old segments. */
#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>
#include <stdlib.h>

/* Removes the oldest segment if nobody holds it. ERR_LOCKED: somebody does. */
static int remove_oldest(struct wal *w)
{
    struct wal_segment *oldest = &w->segments[0];
    struct wal_file *file;
    if (oldest->file != NULL) {
        return ERR_LOCKED;
    }
    char *path = wal_path(w, oldest->name);
    int error = w->fs->open(w->fs, path, WAL_FS_WRITE, &file);
    if (error == 0) {
        error = w->fs->lock(file);
        if (error == 0) {
            error = w->fs->unlink(w->fs, path);
        }
        w->fs->close(file);
    }
    if (error == -ENOENT) {
        error = 0; /* somebody tidied up by hand */
    }
    if (error != 0 && error != -EAGAIN) {
        wal_fail(&w->reason, 0, "remove %s: %s", path, strerror(-error));
    }
    free(path);
    return wal_error(error);
}

/* How many segments a checkpoint makes needless: those before the newest one that begins below it (as etcd; the entry
 * at the checkpoint itself stays, so that its term can be compared with the store's). */
static size_t needless(const struct wal *w, uint64_t index)
{
    size_t n = 0;
    while (n + 1 < w->segment_count && w->segments[n + 1].name.index < index) {
        n++;
    }
    return n;
}

int wal_release(struct wal *w, uint64_t index, size_t max_files, size_t *removed)
{
    size_t left = needless(w, index), gone = 0;
    int error = 0;
    for (size_t i = 0; i < left; i++) {
        if (w->segments[i].file != NULL) {
            w->fs->close(w->segments[i].file);
            w->segments[i].file = NULL;
        }
    }
    while (max_files > 0 && w->segment_count > max_files && left > 0 && (error = remove_oldest(w)) == 0) {
        w->segment_count--;
        left--;
        gone++;
        memmove(w->segments, w->segments + 1, w->segment_count * sizeof *w->segments);
    }
    pthread_mutex_lock(&w->lock);
    wal_catalog_release(&w->catalog, w->segments[0].name.sequence);
    pthread_mutex_unlock(&w->lock);
    if (removed != NULL) {
        *removed = gone;
    }
    return error == ERR_LOCKED ? 0 : error;
}
