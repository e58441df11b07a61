#include "snapshot/status.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "snapshot/key_notes.h"
#include <stdio.h>
#include <stdlib.h>

/* --- rows --- */

static int refuse(struct snapshot_status_visitor *v, const char *reason)
{
    v->reason = reason;
    return ERR_CORRUPT_DATA;
}

static int note_revision(struct snapshot_status_visitor *v, struct bytes key, struct bytes value)
{
    enum { PUT = 17, TOMBSTONE = 18 };
    struct bytes name;
    if (key.len != PUT && (key.len != TOMBSTONE || key.data[PUT] != 't')) {
        return refuse(v, "a key of bucket key is no revision");
    }
    if (!key_notes_key(value, &name)) {
        return refuse(v, "a value of bucket key is no KeyValue");
    }
    v->status.revision = (int64_t)get_be64(key.data);
    if (!v->no_keys) {
        key_notes_take(v->keys, key, value);
    }
    return 0;
}

static void feed(struct snapshot_status *status, struct bytes b)
{
    status->hash = crc32c(status->hash, b.data, b.len);
}

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct snapshot_status_visitor *v = (struct snapshot_status_visitor *)visitor;
    feed(&v->status, name);
    v->bucket = bytes_equal(name, bytes_str("key"))    ? STATUS_KEY
                : bytes_equal(name, bytes_str("meta")) ? STATUS_META
                                                       : STATUS_OTHER;
    return 0;
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct snapshot_status_visitor *v = (struct snapshot_status_visitor *)visitor;
    feed(&v->status, key);
    feed(&v->status, value);
    if (v->bucket == STATUS_KEY) {
        return note_revision(v, key, value);
    }
    if (v->bucket == STATUS_META && bytes_equal(key, bytes_str("storageVersion"))) {
        snprintf(v->status.version, sizeof v->status.version, "%.*s", (int)value.len, (const char *)value.data);
    }
    return 0;
}

void snapshot_status_begin(struct snapshot_status_visitor *v)
{
    *v = (struct snapshot_status_visitor){.visitor = {.bucket = visit_bucket, .row = visit_row}};
    v->keys = mem_zalloc(sizeof *v->keys);
}

void snapshot_status_end(struct snapshot_status_visitor *v, uint64_t bytes)
{
    key_notes_settle(v->keys);
    v->status.keys = v->keys->live;
    v->status.size = bytes;
}

void snapshot_status_free(struct snapshot_status_visitor *v)
{
    key_notes_free(v->keys);
    free(v->keys);
    v->keys = NULL;
}
