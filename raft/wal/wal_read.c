/* Reading entries back, while the writer goes on. The catalog is asked under its lock where a stretch of entries begins
 * and ends; the file itself is read through a descriptor of its own. */
#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct reading {
    struct wal *w;
    char **reason;
    int (*entry)(void *arg, const struct raft_entry *e);
    void *arg;
};

static int fault(struct reading *r, const struct wal_mark *mark, uint64_t offset, int error, const char *why)
{
    char *path = wal_path(r->w, mark->segment);
    wal_fail(r->reason, 0, "%s: offset %" PRIu64 ": %s", path, offset, why);
    free(path);
    return error;
}

/* Hands on one record if it is the entry that is due. */
static int take(struct reading *r, const struct wal_mark *mark, uint64_t offset, const struct wal_record *record,
                uint64_t from, uint64_t *due)
{
    struct raft_entry e;
    struct bytes content;
    if (record->type != WAL_RECORD_ENTRY) {
        return 0;
    }
    if (wal_decode_entry(record->data, &e, &content) != 0 || e.index != *due) {
        return fault(r, mark, offset, ERR_CORRUPT_DATA, "not the entry that stood here before");
    }
    (*due)++;
    if (e.index < from) {
        return 0;
    }
    e.data = content.data == NULL ? NULL : shared_copy(content);
    int stop = r->entry(r->arg, &e);
    shared_unref(e.data);
    return stop;
}

/* Entries from `from` up to `until`, beginning to read at the mark. */
static int read_stretch(struct reading *r, const struct wal_mark *mark, uint64_t from, uint64_t until)
{
    const struct wal_fs *fs = r->w->fs;
    struct wal_file *file;
    struct wal_scan scan;
    char *path = wal_path(r->w, mark->segment);
    int error = fs->open(fs, path, 0, &file);
    free(path);
    if (error != 0) {
        return fault(r, mark, 0, wal_error(error), strerror(-error));
    }
    uint64_t due = mark->index;
    error = wal_scan_open(&scan, file, mark->offset, mark->crc);
    if (error != 0) {
        error = fault(r, mark, 0, ERR_IO, strerror(-error));
    }
    while (error == 0 && due <= until) {
        struct wal_record record;
        uint64_t offset = scan.offset;
        enum wal_scan_result result = wal_scan_next(&scan, &record);
        if (result == WAL_SCAN_RECORD) {
            error = take(r, mark, offset, &record, from, &due);
        } else if (result == WAL_SCAN_FAILED) {
            error = fault(r, mark, offset, ERR_IO, strerror(-scan.error));
        } else {
            error = fault(r, mark, offset, ERR_CORRUPT_DATA,
                          result == WAL_SCAN_END ? "the segment ends too early" : scan.fault);
        }
    }
    wal_scan_close(&scan);
    fs->close(file);
    return error;
}

static int walk(struct reading *r, uint64_t from, uint64_t to)
{
    while (from <= to) {
        struct wal_mark mark;
        uint64_t until;
        pthread_mutex_lock(&r->w->lock);
        bool found = wal_catalog_find(&r->w->catalog, from, &mark, &until);
        pthread_mutex_unlock(&r->w->lock);
        if (!found) {
            return wal_fail(r->reason, ERR_ABSENT, "%s: entry %" PRIu64 " is not there", r->w->dir, from);
        }
        until = until < to ? until : to;
        int error = read_stretch(r, &mark, from, until);
        if (error != 0) {
            return error;
        }
        from = until + 1;
    }
    return 0;
}

int wal_replay(struct wal *w, uint64_t from, int (*entry)(void *arg, const struct raft_entry *e), void *arg,
               char **reason)
{
    struct reading r = {.w = w, .reason = reason, .entry = entry, .arg = arg};
    return w->catalog.last < w->catalog.first ? 0 : walk(&r, from, w->catalog.last);
}

struct collected {
    struct raft_entry *entries;
    size_t count, capacity, bytes, max_bytes;
};

enum { ENOUGH = 1 };

static int collect(void *arg, const struct raft_entry *e)
{
    struct collected *c = arg;
    if (c->count > 0 && c->bytes + raft_entry_bytes(e) > c->max_bytes) {
        return ENOUGH;
    }
    if (c->count == c->capacity) {
        c->capacity = c->capacity * 2 + 16;
        c->entries = mem_realloc(c->entries, c->capacity * sizeof *c->entries);
    }
    c->entries[c->count] = *e;
    if (e->data != NULL) {
        shared_ref(e->data);
    }
    c->count++;
    c->bytes += raft_entry_bytes(e);
    return 0;
}

int wal_read(struct wal *w, uint64_t from, uint64_t to, size_t max_bytes, struct raft_entry **out, size_t *count,
             char **reason)
{
    struct collected c = {.max_bytes = max_bytes};
    struct reading r = {.w = w, .reason = reason, .entry = collect, .arg = &c};
    int error = walk(&r, from, to);
    if (error != 0 && error != ENOUGH) {
        wal_entries_free(c.entries, c.count);
        return error;
    }
    *out = c.entries;
    *count = c.count;
    return 0;
}
