/* What watches read: the rows of a stretch of revisions, first from the store, then from pending. */
#include "kv/store.h"

#define HISTORY_BYTES (256u << 10)

struct scan {
    struct watch_position *from;
    int64_t to_main; /* the last main wanted from the store */
    size_t budget, bytes;
    watch_visit *visit;
    void *visit_arg;
    bool damaged;
    enum watch_rows result;
};

/* Hands one row on; false = stop for now. */
static bool hand_on(struct scan *scan, struct revision revision, bool tombstone, struct bytes row)
{
    bool more = scan->visit(scan->visit_arg, revision.main, revision.sub, tombstone, row);
    *scan->from = (struct watch_position){revision.main, revision.sub + 1};
    scan->budget--;
    scan->bytes += row.len;
    if (!more || scan->budget == 0 || scan->bytes >= HISTORY_BYTES) {
        scan->result = WATCH_ROWS_MORE;
        return false;
    }
    return true;
}

static bool visit_stored(void *arg, struct bytes key, struct bytes value)
{
    struct scan *scan = arg;
    struct revision revision;
    bool tombstone;
    if (row_revision_get(key, &revision, &tombstone) != 0) {
        scan->damaged = true;
        return false;
    }
    if (revision.main > scan->to_main) {
        return false;
    }
    if (value.len == 0 && !tombstone) { /* etcdutl's bump of revisions: a key of no name, that nobody can watch */
        *scan->from = (struct watch_position){revision.main, revision.sub + 1};
        return true;
    }
    return hand_on(scan, revision, tombstone, value);
}

static void scan_store(struct kv *kv, struct scan *scan)
{
    struct backend_read *read;
    uint8_t key[ROW_REVISION_MAX];
    size_t len = row_revision_put(key, (struct revision){scan->from->main, scan->from->sub}, false);
    if (backend_read_begin(kv->backend, &read) != 0) {
        scan->damaged = true;
        return;
    }
    scan->damaged |= backend_scan(read, BACKEND_KEY, bytes_of(key, len), visit_stored, scan) != 0;
    backend_read_end(read);
}

static void scan_pending(struct kv *kv, struct scan *scan, int64_t to_main)
{
    const struct pending *pending = &kv->pending;
    struct revision from = {scan->from->main, scan->from->sub};
    for (uint64_t at = pending_seek(pending, from); at < pending->end; at++) {
        const struct row *row = pending_row(pending, at);
        if (row->revision.main > to_main || !hand_on(scan, row->revision, row_tombstone(row), row_bytes(row))) {
            return;
        }
    }
}

static enum watch_rows source_rows(void *arg, struct watch_position *from, int64_t to_main, size_t budget,
                                   watch_visit *visit, void *visit_arg)
{
    struct kv *kv = arg;
    to_main = to_main < kv->revision ? to_main : kv->revision;
    int64_t first_pending = pending_first_main(&kv->pending);
    struct scan scan = {
        .from = from,
        .to_main = to_main < first_pending ? to_main : first_pending - 1,
        .budget = budget == 0 ? 1 : budget,
        .visit = visit,
        .visit_arg = visit_arg,
        .result = WATCH_ROWS_END,
    };
    if (from->main <= scan.to_main) {
        scan_store(kv, &scan);
    }
    if (scan.damaged) {
        kv->broken = true; /* nothing more is served from this store */
        return WATCH_ROWS_WAIT;
    }
    if (scan.result == WATCH_ROWS_END) {
        scan_pending(kv, &scan, to_main);
    }
    return scan.result;
}

static int64_t source_revision(void *arg)
{
    return ((const struct kv *)arg)->revision;
}

static int64_t source_compacted(void *arg)
{
    return ((const struct kv *)arg)->compact_revision;
}

static int source_key_at(void *arg, struct bytes key, int64_t revision, struct buffer *out)
{
    return kv_row_at(arg, key, revision, out);
}

struct watch_source kv_watch_source(struct kv *kv)
{
    return (struct watch_source){
        .revision = source_revision,
        .compacted = source_compacted,
        .rows = source_rows,
        .key_at = source_key_at,
        .arg = kv,
    };
}
