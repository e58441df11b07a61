/* Hash and HashKV (bbolt.md "Hash RPC", "HashKV at revision R"), over a view, in slices, on any thread. Nothing but the
 * view is read: it holds the compact revision and the position that belong to its rows.
 *
 * HashKV needs to know of each row up to the compact revision C whether it is the newest of its key up to R. A first
 * pass notes the newest revision of each key (as a 128-bit hash of the key, 32 bytes a key, gone with the job), a
 * second one hashes. Where no key lives at R, etcd leaves out nothing and takes every row that its compaction left;
 * here the physical deletes come later, so those rows are told by a second look: the newest of their key up to C. */
#include "base/crc32c.h"
#include "base/hash128.h"
#include "kv/store.h"
#include "kv/view.h"

#include <stdlib.h>

enum pass { PASS_BEGIN, PASS_NOTE, PASS_HASH, PASS_TABLES, PASS_DONE };

struct note {
    uint64_t hash[2];
    int64_t main; /* -1 = free slot */
    uint32_t sub;
    bool live;
};

struct kv_hash {
    enum kv_hash_kind kind;
    struct backend_read *view;
    enum pass pass;
    size_t budget;
    int error;
    struct kv_hash_result result;
    int64_t revision; /* R */
    int64_t compact;  /* C */
    bool revision_given;
    struct buffer cursor; /* the first row of the table that was not looked at */
    bool stopped;         /* the last scan stopped for the budget */
    unsigned table;       /* KV_HASH_ALL: position in hashed_tables */

    struct note *notes;
    size_t mask, count, kept;
    int64_t note_to; /* newest up to here: R, or C where nothing lives at R */
};

struct kv_hash *kv_hash_new(enum kv_hash_kind kind, int64_t revision, int64_t prev_compact, struct backend_read *view)
{
    struct kv_hash *hash = mem_zalloc(sizeof *hash);
    hash->kind = kind;
    hash->view = view;
    hash->revision = revision;
    hash->compact = prev_compact;
    return hash;
}

void kv_hash_free(struct kv_hash *hash)
{
    buffer_free(&hash->cursor);
    free(hash->notes);
    free(hash);
}

struct kv_hash_result kv_hash_result(const struct kv_hash *hash)
{
    return hash->result;
}

/* --- notes --- */

static struct note *note_slot(const struct kv_hash *hash, const uint64_t key[2])
{
    size_t at = key[0] & hash->mask;
    while (hash->notes[at].main >= 0 && (hash->notes[at].hash[0] != key[0] || hash->notes[at].hash[1] != key[1])) {
        at = (at + 1) & hash->mask;
    }
    return &hash->notes[at];
}

static void notes_resize(struct kv_hash *hash, size_t mask)
{
    struct note *old = hash->notes;
    size_t old_count = old == NULL ? 0 : hash->mask + 1;
    hash->notes = mem_alloc((mask + 1) * sizeof hash->notes[0]);
    hash->mask = mask;
    for (size_t i = 0; i <= mask; i++) {
        hash->notes[i].main = -1;
    }
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].main >= 0) {
            *note_slot(hash, old[i].hash) = old[i];
        }
    }
    free(old);
}

static void notes_forget(struct kv_hash *hash)
{
    free(hash->notes);
    hash->notes = NULL;
    hash->mask = hash->count = hash->kept = 0;
}

static void note_row(struct kv_hash *hash, struct bytes key, struct revision revision, bool tombstone)
{
    /* A compaction of etcd's keeps the tombstones of its own revision, HashKV asks only for what lives. */
    bool kept = !tombstone || (hash->kind == KV_HASH_COMPACTION && revision.main == hash->revision);
    struct note fresh = {.main = revision.main, .sub = (uint32_t)revision.sub, .live = kept};
    hash128(key, fresh.hash);
    if (hash->notes == NULL || hash->count * 4 > hash->mask * 3) {
        notes_resize(hash, hash->notes == NULL ? 4095 : hash->mask * 2 + 1);
    }
    struct note *note = note_slot(hash, fresh.hash);
    bool was_kept = note->main >= 0 && note->live;
    hash->count += note->main < 0;
    hash->kept += (size_t)fresh.live - (size_t)was_kept;
    *note = fresh;
}

/* Is this row the newest of its key up to note_to, and no tombstone? */
static bool row_kept(const struct kv_hash *hash, struct bytes key, struct revision revision)
{
    uint64_t h[2];
    if (hash->notes == NULL) {
        return false;
    }
    hash128(key, h);
    const struct note *note = note_slot(hash, h);
    return note->main == revision.main && note->sub == (uint64_t)revision.sub && note->live;
}

/* --- scanning --- */

static void feed(struct kv_hash *hash, struct bytes b)
{
    hash->result.hash = crc32c(hash->result.hash, b.data, b.len);
}

/* True = this row is for the next step: the scan stops here. */
static bool used_up(struct kv_hash *hash, struct bytes key)
{
    if (hash->budget > 0) {
        hash->budget--;
        return false;
    }
    hash->cursor.len = 0;
    buffer_append(&hash->cursor, key.data, key.len);
    hash->stopped = true;
    return true;
}

/* KV_DONE when the table's end, or the visitor's, was reached. */
static int scan(struct kv_hash *hash, enum backend_table table,
                bool (*visit)(void *arg, struct bytes key, struct bytes value))
{
    struct buffer from = hash->cursor;
    hash->cursor = (struct buffer){0};
    hash->stopped = false;
    int error = backend_scan(hash->view, table, buffer_bytes(&from), visit, hash);
    buffer_free(&from);
    if (error != 0 || hash->error != 0) {
        return error != 0 ? error : hash->error;
    }
    return hash->stopped ? KV_MORE : KV_DONE;
}

static bool read_key(struct kv_hash *hash, struct bytes key, struct revision *revision, bool *tombstone)
{
    if (row_revision_get(key, revision, tombstone) != 0) {
        hash->error = ERR_CORRUPT_DATA;
        return false;
    }
    return true;
}

static bool read_row(struct kv_hash *hash, struct bytes value, struct row_fields *fields)
{
    if (row_decode(value, fields) != 0) {
        hash->error = ERR_CORRUPT_DATA;
        return false;
    }
    return true;
}

static bool visit_note(void *arg, struct bytes key, struct bytes value)
{
    struct kv_hash *hash = arg;
    struct revision revision;
    struct row_fields fields;
    bool tombstone;
    if (used_up(hash, key) || !read_key(hash, key, &revision, &tombstone) || revision.main > hash->note_to ||
        !read_row(hash, value, &fields)) {
        return false;
    }
    note_row(hash, fields.key, revision, tombstone);
    return true;
}

static bool visit_hash(void *arg, struct bytes key, struct bytes value)
{
    struct kv_hash *hash = arg;
    struct revision revision;
    struct row_fields fields;
    bool tombstone;
    if (used_up(hash, key) || !read_key(hash, key, &revision, &tombstone) || revision.main > hash->revision) {
        return false;
    }
    if (revision.main <= hash->compact) {
        if (!read_row(hash, value, &fields)) {
            return false;
        }
        if (!row_kept(hash, fields.key, revision)) {
            return true;
        }
    }
    if (revision.main == hash->compact && tombstone) {
        return true;
    }
    feed(hash, key);
    feed(hash, value);
    return true;
}

/* --- what a view is --- */

static int begin_kv(struct kv_hash *hash)
{
    int64_t compact;
    int error = kv_view_compact(hash->view, &compact);
    error = error != 0 ? error : kv_view_revision(hash->view, compact, &hash->result.current_revision);
    if (error != 0) {
        return error;
    }
    if (hash->kind == KV_HASH_KV) {
        hash->compact = compact;
        if (hash->revision > 0 && hash->revision < compact) {
            return ERR_COMPACTED;
        }
        if (hash->revision > hash->result.current_revision) {
            return ERR_FUTURE_REV;
        }
        hash->revision = hash->revision == 0 ? hash->result.current_revision : hash->revision;
    }
    hash->result.compact_revision = hash->compact;
    hash->result.hash_revision = hash->revision;
    feed(hash, bytes_str("key"));
    hash->pass = hash->compact > 0 ? PASS_NOTE : PASS_HASH;
    hash->note_to = hash->revision;
    return 0;
}

/* --- all tables --- */

/* By name, as bbolt has its buckets. */
static const enum backend_table hashed_tables[] = {
    BACKEND_ALARM, BACKEND_AUTH,  BACKEND_AUTH_ROLES, BACKEND_AUTH_USERS,      BACKEND_CLUSTER,
    BACKEND_KEY,   BACKEND_LEASE, BACKEND_MEMBERS,    BACKEND_MEMBERS_REMOVED, BACKEND_META,
};
#define HASHED_TABLES (sizeof hashed_tables / sizeof hashed_tables[0])

static bool visit_all(void *arg, struct bytes key, struct bytes value)
{
    struct kv_hash *hash = arg;
    if (used_up(hash, key)) {
        return false;
    }
    bool skipped = hashed_tables[hash->table] == BACKEND_META &&
                   (bytes_equal(key, bytes_str("consistent_index")) || bytes_equal(key, bytes_str("term")) ||
                    bytes_equal(key, bytes_str("storageVersion")));
    if (!skipped) {
        feed(hash, key);
        feed(hash, value);
    }
    return true;
}

static int step_tables(struct kv_hash *hash)
{
    while (hash->table < HASHED_TABLES) {
        enum backend_table table = hashed_tables[hash->table];
        if (hash->cursor.len == 0) {
            feed(hash, bytes_str(backend_table_name(table)));
        }
        int progress = scan(hash, table, visit_all);
        if (progress != KV_DONE) {
            return progress;
        }
        hash->table++;
    }
    return KV_DONE;
}

/* --- steps --- */

static int step(struct kv_hash *hash)
{
    if (hash->pass == PASS_BEGIN) {
        hash->pass = PASS_TABLES;
        int error = hash->kind == KV_HASH_ALL ? kv_view_revision(hash->view, 0, &hash->result.current_revision)
                                              : begin_kv(hash);
        if (error != 0) {
            return error;
        }
    }
    while (hash->pass == PASS_NOTE) {
        int progress = scan(hash, BACKEND_KEY, visit_note);
        if (progress != KV_DONE) {
            return progress;
        }
        if (hash->kept > 0 || hash->note_to <= hash->compact) {
            hash->pass = PASS_HASH;
        } else {
            notes_forget(hash);
            hash->note_to = hash->compact;
        }
    }
    if (hash->pass == PASS_HASH) {
        return scan(hash, BACKEND_KEY, visit_hash);
    }
    return hash->pass == PASS_TABLES ? step_tables(hash) : KV_DONE;
}

int kv_hash_step(struct kv_hash *hash, size_t budget)
{
    hash->budget = budget;
    int progress = step(hash);
    if (progress == KV_DONE) {
        hash->pass = PASS_DONE;
    }
    return progress;
}

/* In etcd's order: the cache is asked first, so that a finished compaction's hash is given even for a revision that was
 * compacted since, and revision 0 is looked up as such. */
int kv_hash_cached(const struct kv *kv, int64_t revision, struct kv_hash_result *result)
{
    for (size_t i = 0; i < kv->compactions.hash_count; i++) {
        const struct compact_hash *cached = &kv->compactions.hashes[i];
        if (cached->revision == revision) {
            *result = (struct kv_hash_result){cached->hash, cached->compact_revision, revision, kv->revision};
            return 0;
        }
    }
    if (revision > 0 && revision < kv->compact_revision) {
        return ERR_COMPACTED;
    }
    return revision > kv->revision ? ERR_FUTURE_REV : ERR_ABSENT;
}
