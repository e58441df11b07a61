/* Opening. Two passes: backwards over the segments, until the newest checkpoint that the log's commit covers is found;
 * then forwards from the segment where its entries begin, through every record, by the rules of wal.md "Opening and
 * reading". Nothing in the directory is changed before both have succeeded. */
#include "base/canary.h"
#include "base/error.h"
#include "base/log.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct opening {
    struct wal *w;
    bool writing;
    char **reason;
    struct wal_contents *contents;

    struct wal_name *names;
    struct wal_file **files; /* of the same place in names; NULL = not opened (yet) */
    size_t count;

    size_t at;            /* the segment that is being read */
    struct wal_scan scan; /* of it */
    bool snapshot_met, head_met;
};

static int system_fault(struct opening *o, const char *what, struct wal_name name, int negative_errno)
{
    char *path = wal_path(o->w, name);
    int error = wal_error(negative_errno);
    wal_fail(o->reason, 0, "%s %s: %s", what, path, strerror(-negative_errno));
    free(path);
    return error == ERR_ABSENT ? ERR_IO : error;
}

/* Refuses the log for what stands at an offset of the segment that is being read. */
static int refuse(struct opening *o, uint64_t offset, const char *why)
{
    char *path = wal_path(o->w, o->names[o->at]);
    wal_fail(o->reason, 0, "%s: offset %" PRIu64 ": %s", path, offset, why);
    free(path);
    return ERR_CORRUPT_DATA;
}

static int open_segment(struct opening *o, size_t i)
{
    if (o->files[i] != NULL) {
        return 0;
    }
    char *path = wal_path(o->w, o->names[i]);
    int error = o->w->fs->open(o->w->fs, path, o->writing ? wal_segment_flags(o->w) : 0, &o->files[i]);
    free(path);
    if (error != 0) {
        o->files[i] = NULL;
        return system_fault(o, "open", o->names[i], error);
    }
    error = o->writing ? o->w->fs->lock(o->files[i]) : 0;
    if (error == -EAGAIN) {
        system_fault(o, "lock", o->names[i], error);
        return ERR_LOCKED;
    }
    return error == 0 ? 0 : system_fault(o, "lock", o->names[i], error);
}

/* Begins to read segment i. */
static int begin(struct opening *o, size_t i, uint32_t crc)
{
    int error = open_segment(o, i);
    if (error != 0) {
        return error;
    }
    o->at = i;
    error = wal_scan_open(&o->scan, o->files[i], 0, crc);
    return error == 0 ? 0 : system_fault(o, "read", o->names[i], error);
}

/* The next record: 1; 0 at the segment's end (a torn one included, if that may be: *torn); or an error. */
static int next_record(struct opening *o, struct wal_record *record, bool *torn)
{
    enum wal_scan_result result = wal_scan_next(&o->scan, record);
    *torn = false;
    switch (result) {
    case WAL_SCAN_RECORD:
        return 1;
    case WAL_SCAN_END:
        return 0;
    case WAL_SCAN_TORN:
        *torn = true;
        return o->at == o->count - 1 ? 0 : refuse(o, o->scan.offset, o->scan.fault);
    case WAL_SCAN_FAILED:
        return system_fault(o, "read", o->names[o->at], o->scan.error);
    default:
        return refuse(o, o->scan.offset, o->scan.fault);
    }
}

/* --- the first pass --- */

struct checkpoints {
    struct raft_position *list;
    size_t count;
    bool has_state;
    uint64_t commit;
};

static int note_checkpoint(struct opening *o, struct checkpoints *c, const struct wal_record *record, uint64_t offset)
{
    struct raft_position at;
    struct raft_conf_state conf;
    struct raft_hard_state state;
    bool has_conf;
    if (record->type == WAL_RECORD_SNAPSHOT) {
        if (wal_decode_snapshot(record->data, &at, &conf, &has_conf) != 0) {
            return refuse(o, offset, "a snapshot record can't be parsed");
        }
        raft_conf_state_free(&conf);
        c->list = mem_realloc(c->list, (c->count + 1) * sizeof *c->list);
        c->list[c->count++] = at;
    } else if (record->type == WAL_RECORD_STATE) {
        if (wal_decode_state(record->data, &state) != 0) {
            return refuse(o, offset, "a state record can't be parsed");
        }
        c->has_state = true;
        c->commit = state.commit;
    }
    return 0;
}

static int read_checkpoints(struct opening *o, size_t i, struct checkpoints *c)
{
    struct wal_record record;
    bool torn;
    int more, error = begin(o, i, 0);
    if (error != 0) {
        return error;
    }
    for (;;) {
        uint64_t offset = o->scan.offset;
        more = next_record(o, &record, &torn);
        if (more <= 0 || (more = note_checkpoint(o, c, &record, offset)) != 0) {
            break;
        }
    }
    wal_scan_close(&o->scan);
    return more;
}

/* Finds the newest checkpoint at or below the last state's commit. */
static int find_checkpoint(struct opening *o, struct raft_position *found)
{
    bool has_commit = false;
    uint64_t commit = 0;
    for (size_t i = o->count; i-- > 0;) {
        if (i + 1 < o->count && o->names[i].sequence + 1 != o->names[i + 1].sequence) {
            o->at = i + 1;
            return refuse(o, 0, "the segment before it is missing");
        }
        struct checkpoints c = {0};
        int error = read_checkpoints(o, i, &c);
        if (!has_commit && c.has_state) {
            has_commit = true;
            commit = c.commit;
        }
        bool done = false;
        for (size_t k = c.count; error == 0 && !done && k-- > 0;) {
            done = c.list[k].index <= commit;
            *found = c.list[k];
        }
        free(c.list);
        if (error != 0 || done) {
            return error;
        }
    }
    o->at = 0;
    return refuse(o, 0, "no snapshot record in this or later segments");
}

/* --- the second pass --- */

static int take_metadata(struct opening *o, const struct wal_record *record, uint64_t offset)
{
    struct wal_metadata metadata;
    struct buffer *kept = &o->w->metadata;
    o->head_met = true;
    if (wal_decode_metadata(record->data, &metadata) != 0) {
        return refuse(o, offset, "a metadata record can't be parsed");
    }
    if (kept->len == 0) {
        buffer_append(kept, record->data.data, record->data.len);
        o->contents->metadata = metadata;
    } else if (!bytes_equal(buffer_bytes(kept), record->data)) {
        return refuse(o, offset, "metadata differ from those of an earlier segment");
    }
    return 0;
}

/* Entries behind a checkpoint are never of an earlier term than it. Those that are were replaced by an image, and so
 * were those that followed them. */
static bool replaced_by_image(const struct opening *o, const struct raft_entry *e)
{
    const struct wal_contents *c = o->contents;
    return !o->snapshot_met && e->index > c->snapshot.index &&
           (e->term < c->snapshot.term || (o->w->catalog.interrupted && e->index > c->last_index + 1));
}

static int take_entry(struct opening *o, const struct wal_record *record, uint64_t offset, uint32_t crc)
{
    struct raft_entry e;
    struct bytes content;
    struct wal_contents *c = o->contents;
    struct wal_catalog *catalog = &o->w->catalog;
    if (wal_decode_entry(record->data, &e, &content) != 0) {
        return refuse(o, offset, "an entry can't be parsed");
    }
    if (replaced_by_image(o, &e)) {
        wal_catalog_pass_over(catalog);
        return 0;
    }
    if (e.index > c->last_index + 1) {
        return refuse(o, offset, "an entry's index is above the one that has to follow");
    }
    if (e.index <= c->snapshot.index && c->last_index > c->snapshot.index) {
        return 0;
    }
    uint64_t before = e.index - 1 == c->snapshot.index ? c->snapshot.term : wal_catalog_term(catalog, e.index - 1);
    if (e.term < before) {
        return refuse(o, offset, "an entry's term is below the one before it");
    }
    struct wal_mark at = {.index = e.index, .segment = o->names[o->at], .offset = offset, .crc = crc};
    wal_catalog_add(catalog, e.index, e.term, &at);
    if (e.index > c->snapshot.index) {
        c->last_index = e.index;
        c->last_term = e.term;
    }
    return 0;
}

static int take_snapshot(struct opening *o, const struct wal_record *record, uint64_t offset)
{
    struct raft_position at;
    struct raft_conf_state conf;
    bool has_conf;
    if (wal_decode_snapshot(record->data, &at, &conf, &has_conf) != 0) {
        return refuse(o, offset, "a snapshot record can't be parsed");
    }
    if (at.index == o->contents->snapshot.index) {
        if (at.term != o->contents->snapshot.term) {
            raft_conf_state_free(&conf);
            return refuse(o, offset, "two snapshot records have one index and two terms");
        }
        raft_conf_state_free(&o->contents->conf);
        o->contents->conf = conf;
        o->snapshot_met = true;
    } else {
        raft_conf_state_free(&conf);
    }
    return 0;
}

static int take_record(struct opening *o, const struct wal_record *record, uint64_t offset, uint32_t crc)
{
    o->contents->record_count++;
    switch (record->type) {
    case WAL_RECORD_METADATA:
        return take_metadata(o, record, offset);
    case WAL_RECORD_ENTRY:
        return take_entry(o, record, offset, crc);
    case WAL_RECORD_STATE:
        return wal_decode_state(record->data, &o->contents->hard_state) == 0
                   ? 0
                   : refuse(o, offset, "a state record can't be parsed");
    case WAL_RECORD_SNAPSHOT:
        return take_snapshot(o, record, offset);
    default:
        return 0;
    }
}

/* Reads segment i through. At its end *offset and *crc tell where it ended. */
static int read_segment(struct opening *o, size_t i, uint32_t *crc, uint64_t *offset, bool *torn)
{
    struct wal_record record;
    int more, error = begin(o, i, *crc);
    if (error != 0) {
        return error;
    }
    o->head_met = false;
    for (;;) {
        *offset = o->scan.offset;
        *crc = o->scan.crc;
        more = next_record(o, &record, torn);
        if (more <= 0 || (more = take_record(o, &record, *offset, *crc)) != 0) {
            break;
        }
    }
    if (more == 0 && !o->head_met) {
        more = refuse(o, 0, "a segment has no metadata record");
    }
    wal_scan_close(&o->scan);
    return more;
}

static int read_all(struct opening *o, uint64_t *offset, bool *torn)
{
    struct wal_contents *c = o->contents;
    int error = find_checkpoint(o, &c->snapshot);
    if (error != 0) {
        return error;
    }
    /* The last segment that may hold the entry after the checkpoint. */
    size_t first = o->count - 1;
    while (first > 0 && o->names[first].index > c->snapshot.index) {
        first--;
    }
    c->first_index = c->snapshot.index + 1;
    c->last_index = c->snapshot.index;
    c->last_term = c->snapshot.term;
    wal_catalog_init(&o->w->catalog, c->first_index);
    uint32_t crc = 0;
    for (size_t i = first; i < o->count; i++) {
        if (i > first && o->names[i].sequence != o->names[i - 1].sequence + 1) {
            o->at = i;
            return refuse(o, 0, "the segment before it is missing");
        }
        error = read_segment(o, i, &crc, offset, torn);
        if (error != 0) {
            return error;
        }
    }
    o->w->crc = crc;
    if (!o->snapshot_met) {
        return refuse(o, *offset, "the snapshot record was not met again");
    }
    if (c->hard_state.commit > c->last_index) {
        return refuse(o, *offset, "the log ends below what it says is committed");
    }
    c->entry_count = c->last_index - c->snapshot.index;
    return 0;
}

/* --- making the end fit to be written on --- */

/* Behind the last good record nothing but zeroes may stand. They are written over what is there, so that the blocks
 * stay ours. Then all that was read is synced: a process that was killed may have left it in memory only, and from now
 * on it counts as durable. */
static int prepare_tail(struct opening *o, uint64_t offset)
{
    struct wal *w = o->w;
    struct wal_segment *tail = wal_tail(w);
    uint64_t size;
    int error = w->fs->size(tail->file, &size);
    if (error == 0 && !CANARY(NO_TAIL_REPAIR)) {
        error = wal_repair_clear(tail->file, offset, size);
    }
    if (error != 0) {
        return system_fault(o, "clear the end of", tail->name, error);
    }
    uint64_t length = size > w->segment_bytes ? size : w->segment_bytes;
    error = w->fs->allocate(tail->file, 0, length);
    w->disk_full = wal_error(error) == ERR_DISK_FULL;
    if (error != 0 && error != -EOPNOTSUPP && !w->disk_full) {
        return system_fault(o, "allocate", tail->name, error);
    }
    w->allocated = w->disk_full ? offset : length;
    if (!w->no_sync && ((error = w->fs->sync(tail->file)) != 0 || (error = w->fs->sync_dir(w->fs, w->dir)) != 0)) {
        return system_fault(o, "sync", tail->name, error);
    }
    return 0;
}

static int make_writable(struct opening *o, uint64_t offset)
{
    struct wal *w = o->w;
    for (size_t i = 0; i < o->count; i++) {
        wal_add_segment(w, o->names[i], o->files[i]);
        o->files[i] = NULL;
    }
    w->offset = CANARY(NO_TAIL_REPAIR) ? offset + o->contents->repaired_bytes : offset;
    w->state = o->contents->hard_state;
    w->last_index = o->contents->last_index;
    w->base = o->contents->snapshot;
    struct wal_segment *tail = wal_tail(w);
    if (o->contents->repaired) {
        int error = wal_repair_keep_copy(tail->file, o->contents->repaired_file, w->dir);
        if (error != 0) {
            return system_fault(o, "keep a copy of", tail->name, error);
        }
    }
    int error = prepare_tail(o, offset);
    if (error != 0) {
        return error;
    }
    for (int i = 0; i < 2; i++) {
        char *leftover = mem_printf("%s/%d.tmp", w->dir, i);
        w->fs->unlink(w->fs, leftover);
        free(leftover);
    }
    wal_update_space(w);
    return 0;
}

/* --- both together --- */

static int list_segments(struct opening *o)
{
    int error = wal_names_list(o->w->fs, o->w->dir, &o->names, &o->count);
    if (error != 0 && error != -ENOENT) {
        return wal_fail(o->reason, ERR_IO, "list %s: %s", o->w->dir, strerror(-error));
    }
    if (error != 0 || o->count == 0) {
        return wal_fail(o->reason, ERR_ABSENT, "%s: there is no log", o->w->dir);
    }
    o->files = mem_zalloc(o->count * sizeof *o->files);
    return 0;
}

static int open_log(struct opening *o)
{
    uint64_t offset = 0, stale_end = 0;
    bool torn = false;
    int error = list_segments(o);
    if (error == 0) {
        error = read_all(o, &offset, &torn);
    }
    if (error != 0) {
        return error;
    }
    if (torn) {
        size_t last = o->count - 1;
        error = wal_repair_find_stale(o->files[last], offset, &stale_end);
        if (error != 0) {
            return system_fault(o, "read", o->names[last], error);
        }
        o->contents->repaired = true;
        o->contents->repaired_file = wal_path(o->w, o->names[last]);
        o->contents->repaired_offset = offset;
        o->contents->repaired_bytes = stale_end - offset;
    }
    return o->writing ? make_writable(o, offset) : 0;
}

static int run(const struct wal_config *config, bool writing, struct wal **out, struct wal_contents *contents,
               char **reason)
{
    struct opening o = {.w = wal_new(config), .writing = writing, .reason = reason, .contents = contents};
    *contents = (struct wal_contents){0};
    int error = open_log(&o);
    for (size_t i = 0; i < o.count; i++) {
        if (o.files != NULL && o.files[i] != NULL) {
            config->fs->close(o.files[i]);
        }
    }
    free(o.files);
    free(o.names);
    if (error != 0 || out == NULL) {
        wal_abandon(o.w);
    } else {
        *out = o.w;
    }
    if (error != 0) {
        wal_contents_free(contents);
    }
    return error;
}

int wal_open(const struct wal_config *config, struct wal **out, struct wal_contents *contents, char **reason)
{
    return run(config, true, out, contents, reason);
}

int wal_verify(const struct wal_config *config, struct wal_contents *contents, char **reason)
{
    return run(config, false, NULL, contents, reason);
}

int wal_verify_entries(const struct wal_config *config, struct wal_contents *contents,
                       int (*entry)(void *arg, const struct raft_entry *e), void *arg, char **reason)
{
    struct wal *w;
    int error = run(config, false, &w, contents, reason);
    if (error == 0) {
        error = wal_replay(w, contents->first_index, entry, arg, reason);
        wal_abandon(w);
        if (error != 0) {
            wal_contents_free(contents);
        }
    }
    return error;
}
