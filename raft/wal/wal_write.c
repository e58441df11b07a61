/* Writing. What wal_save takes is kept as a list of parts: frame heads and small data are copied into one staging
 * buffer, large data stay where they are until one vectored write carries all of it out. The offset that each entry
 * will have is known at once, so the catalog needs no second look.
 *
 * Space is made sure of before anything is added: the file's length and blocks always reach beyond what waits. So a
 * full disk is met in wal_save, where nothing has happened yet and the caller may try again, and never in the middle of
 * a write. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "raft/codec.h"
#include "raft/wal/wal_impl.h"
#include "raft/wire.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    COPY_BYTES = 4096, /* data up to here is copied: an iovec costs more */
    FRAME_EXTRA = WAL_RECORD_HEAD_MAX + RAFT_ENTRY_HEAD_MAX + 8,
    GROW_BYTES = 1 << 20,   /* a segment that must exceed its nominal size grows by this at least */
    FLUSH_BYTES = 16 << 20, /* more than this doesn't wait for a sync */
};

/* --- collecting --- */

static void add_part(struct wal *w, struct wal_part part)
{
    if (w->part_count == w->part_capacity) {
        w->part_capacity = w->part_capacity * 2 + 16;
        w->parts = mem_realloc(w->parts, w->part_capacity * sizeof *w->parts);
    }
    w->parts[w->part_count++] = part;
}

/* Room for len staged bytes, which become part of what waits. */
static uint8_t *stage(struct wal *w, size_t len)
{
    struct wal_part *last = w->part_count == 0 ? NULL : &w->parts[w->part_count - 1];
    uint8_t *p = buffer_reserve(&w->staged, len);
    if (last != NULL && last->data == NULL) {
        last->len += len;
    } else {
        add_part(w, (struct wal_part){.staged_at = w->staged.len, .len = len});
    }
    w->staged.len += len;
    w->waiting_bytes += len;
    return p;
}

/* A record whose data is head followed by body. */
static void add_record(struct wal *w, enum wal_record_type type, struct bytes head, struct bytes body)
{
    uint8_t frame[WAL_RECORD_HEAD_MAX];
    size_t pad;
    w->crc = crc32c(crc32c(w->crc, head.data, head.len), body.data, body.len);
    size_t frame_len = wal_record_encode_head(frame, type, w->crc, true, head.len + body.len, &pad);
    bool copy = body.len <= COPY_BYTES;
    uint8_t *p = stage(w, frame_len + head.len + (copy ? body.len + pad : 0));
    memcpy(p, frame, frame_len);
    memcpy(p + frame_len, head.data, head.len);
    p += frame_len + head.len;
    if (copy) {
        if (body.len > 0) {
            memcpy(p, body.data, body.len);
        }
        p += body.len;
    } else {
        add_part(w, (struct wal_part){.data = body.data, .len = body.len});
        w->waiting_bytes += body.len;
        p = stage(w, pad);
    }
    memset(p, 0, pad);
}

void wal_add_record(struct wal *w, enum wal_record_type type, struct bytes data)
{
    add_record(w, type, data, bytes_of("", 0));
}

void wal_add_entry(struct wal *w, const struct raft_entry *e)
{
    uint8_t head[RAFT_ENTRY_HEAD_MAX];
    struct wal_mark at = {
        .index = e->index, .segment = wal_tail(w)->name, .offset = w->offset + w->waiting_bytes, .crc = w->crc};
    size_t len = raft_entry_encode_head(head, e);
    add_record(w, WAL_RECORD_ENTRY, bytes_of(head, len),
               e->data == NULL ? bytes_of("", 0) : bytes_of(e->data->data, e->data->len));
    wal_catalog_add(&w->catalog, e->index, e->term, &at);
    w->last_index = e->index;
}

void wal_add_state(struct wal *w)
{
    uint8_t state[RAFT_HARD_STATE_MAX];
    if (w->state_waits) {
        wal_add_record(w, WAL_RECORD_STATE, bytes_of(state, raft_hard_state_encode(state, w->state)));
        w->state_waits = false;
    }
}

void wal_add_snapshot(struct wal *w, struct raft_position at, const struct raft_conf_state *conf)
{
    struct buffer data = {0}, members = {0};
    wire_append_number(&data, 1, at.index);
    wire_append_number(&data, 2, at.term);
    if (conf != NULL) {
        raft_conf_state_encode(&members, conf, true);
        wire_append_bytes(&data, 3, buffer_bytes(&members));
    }
    wal_add_record(w, WAL_RECORD_SNAPSHOT, buffer_bytes(&data));
    buffer_free(&data);
    buffer_free(&members);
}

void wal_begin_segment(struct wal *w, uint32_t previous_crc, bool first)
{
    uint8_t frame[WAL_RECORD_HEAD_MAX];
    size_t pad, len = wal_record_encode_head(frame, WAL_RECORD_CRC, previous_crc, false, 0, &pad);
    uint8_t *p = stage(w, len + pad);
    memcpy(p, frame, len);
    memset(p + len, 0, pad);
    w->crc = previous_crc;
    wal_add_record(w, WAL_RECORD_METADATA, buffer_bytes(&w->metadata));
    if (first) {
        wal_add_snapshot(w, (struct raft_position){0}, NULL);
    } else if (w->state.term != 0) {
        w->state_waits = true;
        wal_add_state(w);
    }
}

/* --- space --- */

/* Tells other threads how much room there is. */
void wal_update_space(struct wal *w)
{
    struct wal_space space = {UINT64_MAX, UINT64_MAX};
    if (w->disk_full && w->next == NULL) {
        uint64_t used = w->offset + w->waiting_bytes;
        space.total_bytes = w->allocated > used ? w->allocated - used : 0;
        space.ordinary_bytes = space.total_bytes > w->reserve_bytes ? space.total_bytes - w->reserve_bytes : 0;
    }
    pthread_mutex_lock(&w->lock);
    w->space = space;
    pthread_mutex_unlock(&w->lock);
}

/* The log can't go on: what the file holds now is not known. */
static int die(struct wal *w, const char *what, struct wal_name name, uint64_t offset, int negative_errno)
{
    char *path = wal_path(w, name);
    w->dead = true;
    wal_fail(&w->reason, ERR_IO, "%s %s at offset %" PRIu64 ": %s", what, path, offset, strerror(-negative_errno));
    free(path);
    return ERR_IO;
}

static int cut(struct wal *w);

/* Makes the open segment long enough for `bytes` more behind what waits. */
static int make_room(struct wal *w, uint64_t bytes)
{
    uint64_t end = w->offset + w->waiting_bytes + bytes;
    if (end <= w->allocated) {
        return 0;
    }
    uint64_t grow = end - w->allocated < GROW_BYTES ? GROW_BYTES : end - w->allocated;
    struct wal_segment *tail = wal_tail(w);
    int error = w->fs->allocate(tail->file, w->allocated, grow);
    if (error == 0 || error == -EOPNOTSUPP) {
        w->allocated += grow;
        return 0;
    }
    if (wal_error(error) != ERR_DISK_FULL) {
        return die(w, "allocate", tail->name, w->allocated, error);
    }
    char *path = wal_path(w, tail->name);
    wal_fail(&w->reason, ERR_DISK_FULL, "allocate %s at offset %" PRIu64 ": %s", path, w->allocated, strerror(-error));
    free(path);
    w->disk_full = true;
    if (w->next == NULL || w->offset + w->waiting_bytes == 0) {
        return ERR_DISK_FULL;
    }
    /* The next segment has its space already: go over to it before this one is full. */
    int status = wal_sync(w);
    if (status == 0 && w->next != NULL) {
        status = cut(w);
    }
    return status != 0 ? status : make_room(w, bytes);
}

/* --- saving --- */

/* A checkpoint may have gone by saves that wait for space, and then knows of more that is committed than they do:
 * readers believe only checkpoints that the last commit index covers. */
static void take_state(struct wal *w, struct raft_hard_state state)
{
    state.commit = state.commit > w->state.commit ? state.commit : w->state.commit;
    if (!raft_hard_state_equal(state, w->state)) {
        w->state = state;
        w->state_waits = true;
    }
}

int wal_save(struct wal *w, const struct raft_entry *entries, size_t count, const struct raft_hard_state *state)
{
    if (w->dead) {
        return ERR_IO;
    }
    uint64_t bytes = FRAME_EXTRA; /* of the state */
    for (size_t i = 0; i < count; i++) {
        bytes += FRAME_EXTRA + raft_entry_bytes(&entries[i]);
    }
    int error = make_room(w, bytes + FRAME_EXTRA);
    if (error != 0) {
        wal_update_space(w);
        return error;
    }
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < count; i++) {
        wal_add_entry(w, &entries[i]);
    }
    pthread_mutex_unlock(&w->lock);
    if (state != NULL && state->term != 0) {
        take_state(w, *state);
    }
    if (w->disk_full) {
        wal_update_space(w);
    }
    return w->waiting_bytes > FLUSH_BYTES ? wal_flush(w) : 0;
}

/* Carries what waits out to a file. */
int wal_write_waiting(struct wal *w, struct wal_file *file)
{
    if (w->part_count == 0) {
        return 0;
    }
    if (w->iov_capacity < w->part_count) {
        w->iov_capacity = w->part_capacity;
        w->iov = mem_realloc(w->iov, w->iov_capacity * sizeof *w->iov);
    }
    for (size_t i = 0; i < w->part_count; i++) {
        const struct wal_part *part = &w->parts[i];
        const uint8_t *data = part->data != NULL ? part->data : w->staged.data + part->staged_at;
        w->iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = part->len};
    }
    int error = w->fs->write(file, w->iov, w->part_count, w->offset);
    w->offset += w->waiting_bytes;
    w->waiting_bytes = 0;
    w->part_count = 0;
    w->staged.len = 0;
    return error;
}

int wal_flush(struct wal *w)
{
    if (w->dead) {
        return ERR_IO;
    }
    wal_add_state(w);
    uint64_t offset = w->offset;
    int error = wal_write_waiting(w, wal_tail(w)->file);
    return error == 0 ? 0 : die(w, "write", wal_tail(w)->name, offset, error);
}

static int sync_tail(struct wal *w)
{
    if (w->no_sync) {
        return 0;
    }
    FAILPOINT(walBeforeSync);
    int error = w->fs->sync(wal_tail(w)->file);
    FAILPOINT(walAfterSync);
    return error == 0 ? 0 : die(w, "sync", wal_tail(w)->name, w->offset, error);
}

int wal_sync(struct wal *w)
{
    int error = wal_flush(w);
    if (error == 0) {
        error = sync_tail(w);
    }
    if (error == 0 && w->offset >= w->segment_bytes) {
        error = cut(w);
    }
    return error;
}

int wal_save_snapshot(struct wal *w, struct raft_position at, const struct raft_conf_state *conf)
{
    if (w->dead) {
        return ERR_IO;
    }
    uint64_t ids = conf->voters.count + conf->learners.count + conf->voters_outgoing.count + conf->learners_next.count;
    int error = make_room(w, 3 * FRAME_EXTRA + ids * 11);
    if (error != 0) {
        wal_update_space(w);
        return error;
    }
    wal_add_state(w);
    wal_add_snapshot(w, at, conf);
    /* Readers believe only checkpoints that the log's commit covers; and a commit index only if the log reaches it, as
     * behind an image it does by the record before. Torn between the two, the checkpoint is not there yet. */
    if (w->state.commit < at.index && w->state.term != 0) {
        w->state.commit = at.index;
        w->state_waits = true;
        wal_add_state(w);
    }
    if (w->last_index < at.index) {
        w->last_index = at.index;
    }
    return wal_sync(w);
}

/* --- segments --- */

/* A new segment under its temporary name: allocated and locked. Failing harms nothing. ERR_DISK_FULL, ERR_IO. */
int wal_create_next(struct wal *w, struct wal_file **out)
{
    char *path = mem_printf("%s/%" PRIu64 ".tmp", w->dir, w->prepared % 2);
    int error = w->fs->open(w->fs, path, wal_segment_flags(w) | WAL_FS_CREATE | WAL_FS_TRUNCATE, out);
    const char *what = "create";
    if (error == 0) {
        what = "lock";
        error = w->fs->lock(*out);
        if (error == 0) {
            what = "allocate";
            error = w->fs->allocate(*out, 0, w->segment_bytes);
            error = error == -EOPNOTSUPP ? 0 : error;
        }
        if (error != 0) {
            w->fs->close(*out);
            w->fs->unlink(w->fs, path);
        }
    }
    if (error != 0) {
        wal_fail(&w->reason, 0, "%s %s: %s", what, path, strerror(-error));
    }
    free(path);
    w->prepared += error == 0;
    return error == 0 ? 0 : wal_error(error) == ERR_DISK_FULL ? ERR_DISK_FULL : ERR_IO;
}

int wal_prepare(struct wal *w)
{
    if (w->dead) {
        return ERR_IO;
    }
    if (w->next != NULL) {
        return 0;
    }
    int error = wal_create_next(w, &w->next);
    if (error != 0) {
        w->next = NULL;
    }
    w->disk_full = error == ERR_DISK_FULL;
    wal_update_space(w);
    return error;
}

/* Goes over to the next segment (wal.md "Cut"): everything before is durable; the new one is complete under its
 * temporary name before it gets its own. As long as it can't be had the old one just
 * grows on. */
static int cut(struct wal *w)
{
    CHECK(w->waiting_bytes == 0);
    int error = wal_prepare(w);
    if (error != 0) {
        return 0;
    }
    struct wal_segment *tail = wal_tail(w);
    struct wal_name name = {.sequence = tail->name.sequence + 1, .index = w->last_index + 1};
    if ((error = w->fs->truncate(tail->file, w->offset)) != 0) {
        return die(w, "truncate", tail->name, w->offset, error);
    }
    if ((error = sync_tail(w)) != 0) {
        return error;
    }
    w->offset = 0;
    wal_begin_segment(w, w->crc, false);
    char *path = wal_path(w, name);
    char *temporary = mem_printf("%s/%" PRIu64 ".tmp", w->dir, (w->prepared - 1) % 2);
    error = wal_write_waiting(w, w->next);
    if (error == 0) {
        error = w->fs->sync(w->next);
    }
    if (error == 0) {
        error = w->fs->rename(w->fs, temporary, path);
    }
    if (error == 0) {
        error = w->fs->sync_dir(w->fs, w->dir);
    }
    free(path);
    free(temporary);
    if (error != 0) {
        return die(w, "begin", name, 0, error);
    }
    wal_add_segment(w, name, w->next);
    w->next = NULL;
    w->allocated = w->segment_bytes;
    wal_update_space(w);
    return 0;
}

void wal_close(struct wal *w)
{
    if (w == NULL) {
        return;
    }
    if (!w->dead) {
        wal_flush(w);
    }
    if (w->next != NULL) {
        char *path = mem_printf("%s/%" PRIu64 ".tmp", w->dir, (w->prepared - 1) % 2);
        w->fs->unlink(w->fs, path);
        free(path);
    }
    wal_abandon(w);
}
