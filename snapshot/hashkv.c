#include "snapshot/hashkv.h"

#include "base/crc32c.h"
#include "base/error.h"
#include "kv/content.h"
#include "snapshot/key_notes.h"
#include <stdio.h>
#include <stdlib.h>

enum { STEP_ROWS = 100000, PUT = 17, TOMBSTONE = 18 };

struct work {
    struct snapshot_visitor visitor; /* first */
    struct snapshot_hashkv *out;
    int64_t to;   /* rows above are left out */
    bool hashing; /* the second pass */
    bool in_key;
    enum backend_table table;
    struct kv_content *content;
    struct key_notes notes;
};

static int visit_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct work *w = (struct work *)visitor;
    w->in_key = bytes_equal(name, bytes_str("key"));
    w->table = w->in_key ? BACKEND_KEY : bytes_equal(name, bytes_str("meta")) ? BACKEND_META : BACKEND_TABLES;
    return 0;
}

static int note_row(struct work *w, struct bytes key, struct bytes value)
{
    int error = w->table == BACKEND_TABLES ? 0 : kv_content_row(w->content, w->table, key, value);
    if (error == 0 && w->in_key && (int64_t)get_be64(key.data) <= w->to) {
        key_notes_take(&w->notes, key, value);
    }
    return error;
}

static void hash_row(struct work *w, struct bytes key, struct bytes value)
{
    int64_t main = (int64_t)get_be64(key.data), compact = w->out->compact_revision;
    bool left_out = main <= compact && w->notes.live > 0 && !key_notes_is_newest(&w->notes, key, value);
    if (main > w->to || left_out || (main == compact && key_notes_is_tombstone(key))) {
        return;
    }
    w->out->hash = crc32c(w->out->hash, key.data, key.len);
    w->out->hash = crc32c(w->out->hash, value.data, value.len);
}

static int visit_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct work *w = (struct work *)visitor;
    if (!w->hashing) {
        return note_row(w, key, value);
    }
    if (w->in_key && key.len != PUT && key.len != TOMBSTONE) {
        return ERR_CORRUPT_DATA; /* the file became another one since the first pass */
    }
    if (w->in_key) {
        hash_row(w, key, value);
    }
    return 0;
}

static int pass(struct work *w, const char *path)
{
    struct snapshot_input *input;
    int result = snapshot_input_open(path, NULL, true, &input);
    snapshot_input_map(input);
    result = result == 0 ? SNAPSHOT_MORE : result;
    while (result == SNAPSHOT_MORE) {
        result = snapshot_input_step(input, &w->visitor, STEP_ROWS);
    }
    if (result < 0) {
        const char *reason = snapshot_input_reason(input);
        w->out->error_number = snapshot_input_errno(input);
        w->out->no_database = snapshot_input_is_no_database(input);
        if (*reason != '\0') {
            snprintf(w->out->reason, sizeof w->out->reason, "%s", reason);
        } else {
            snprintf(w->out->reason, sizeof w->out->reason, "%s: %s", path, kv_content_reason(w->content));
        }
    }
    snapshot_input_close(input);
    return result;
}

static int find_revision(struct work *w, int64_t revision)
{
    struct kv_content_facts facts;
    kv_content_facts(w->content, &facts);
    w->out->compact_revision = facts.compact_revision;
    w->out->revision = revision == 0 ? facts.revision : revision;
    if (revision > 0 && revision < facts.compact_revision) {
        return ERR_COMPACTED;
    }
    return revision > facts.revision ? ERR_FUTURE_REV : 0;
}

int snapshot_hashkv(const char *path, int64_t revision, struct snapshot_hashkv *out)
{
    struct work w = {.visitor = {.bucket = visit_bucket, .row = visit_row},
                     .out = out,
                     .to = revision == 0 ? INT64_MAX : revision,
                     .content = kv_content_new()};
    *out = (struct snapshot_hashkv){0};
    int error = pass(&w, path);
    key_notes_settle(&w.notes);
    error = error != 0 ? error : find_revision(&w, revision);
    if (error == 0) {
        w.hashing = true;
        out->hash = crc32c(0, (const uint8_t *)"key", 3);
        error = pass(&w, path);
    }
    key_notes_free(&w.notes);
    kv_content_free(w.content);
    return error;
}
