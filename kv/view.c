#include "kv/view.h"

#include "kv/members.h"

/* --- the last revision --- */

struct first_row {
    bool found, damaged;
    struct revision revision;
};

static bool visit_first(void *arg, struct bytes key, struct bytes value)
{
    struct first_row *first = arg;
    bool tombstone;
    (void)value;
    first->found = true;
    first->damaged = row_revision_get(key, &first->revision, &tombstone) != 0;
    return false;
}

/* The first row at or above this main. */
static int find_row(struct backend_read *view, int64_t main, struct first_row *first)
{
    uint8_t key[ROW_REVISION_MAX];
    size_t len = row_revision_put(key, (struct revision){main, 0}, false);
    *first = (struct first_row){0};
    int error = backend_scan(view, BACKEND_KEY, bytes_of(key, len), visit_first, first);
    return error != 0 ? error : first->damaged ? ERR_CORRUPT_DATA : 0;
}

/* By bisection: a view only scans upwards. */
int kv_view_revision(struct backend_read *view, int64_t floor, int64_t *revision)
{
    int64_t low = 1, high = INT64_MAX; /* no row is at or above high */
    while (low < high - 1) {
        struct first_row first;
        int64_t middle = low + (high - low) / 2;
        int error = find_row(view, middle, &first);
        if (error != 0) {
            return error;
        }
        if (first.found) {
            low = first.revision.main;
        } else {
            high = middle;
        }
    }
    *revision = low < floor ? floor : low;
    return 0;
}

/* --- table meta --- */

/* Absent: an empty value. */
static int meta(struct backend_read *view, const char *name, struct bytes *value)
{
    int error = backend_get(view, BACKEND_META, bytes_str(name), value);
    if (error == ERR_ABSENT) {
        *value = (struct bytes){0};
        return 0;
    }
    return error;
}

static int meta_number(struct backend_read *view, const char *name, uint64_t *number)
{
    struct bytes value;
    int error = meta(view, name, &value);
    *number = error == 0 && value.len == 8 ? get_be64(value.data) : 0;
    return error != 0 ? error : value.len == 0 || value.len == 8 ? 0 : ERR_CORRUPT_DATA;
}

static int meta_revision(struct backend_read *view, const char *name, int64_t *revision)
{
    struct bytes value;
    struct revision at;
    bool tombstone;
    int error = meta(view, name, &value);
    *revision = -1;
    if (error != 0 || value.len == 0) {
        return error;
    }
    if (row_revision_get(value, &at, &tombstone) != 0) {
        return ERR_CORRUPT_DATA;
    }
    *revision = at.main;
    return 0;
}

int kv_view_compact(struct backend_read *view, int64_t *revision)
{
    int64_t scheduled, finished;
    int error = meta_revision(view, "scheduledCompactRev", &scheduled);
    error = error != 0 ? error : meta_revision(view, "finishedCompactRev", &finished);
    if (error == 0) {
        *revision = scheduled > finished ? scheduled : finished;
    }
    return error;
}

/* --- members --- */

struct member_scan {
    struct members members;
    int error;
};

static bool visit_member(void *arg, struct bytes key, struct bytes value)
{
    struct member_scan *scan = arg;
    scan->error = members_load(&scan->members, key, value);
    return scan->error == 0;
}

static int conf(struct backend_read *view, struct arena *arena, struct kv_view_facts *out)
{
    struct member_scan scan = {0};
    int error = backend_scan(view, BACKEND_MEMBERS, (struct bytes){0}, visit_member, &scan);
    error = error != 0 ? error : scan.error;
    if (error == 0) {
        const struct members *members = &scan.members;
        out->voters = arena_alloc(arena, (members->count + 1) * sizeof *out->voters);
        out->learners = arena_alloc(arena, (members->count + 1) * sizeof *out->learners);
        for (size_t i = 0; i < members->count; i++) {
            if (members->items[i].learner) {
                out->learners[out->learner_count++] = members->items[i].id;
            } else {
                out->voters[out->voter_count++] = members->items[i].id;
            }
        }
    }
    members_free(&scan.members);
    return error;
}

/* --- all of it --- */

int kv_view_facts(struct backend_read *view, struct arena *arena, struct kv_view_facts *out)
{
    struct bytes version;
    *out = (struct kv_view_facts){0};
    int error = meta_number(view, "consistent_index", &out->index);
    error = error != 0 ? error : meta_number(view, "term", &out->term);
    error = error != 0 ? error : kv_view_compact(view, &out->compact_revision);
    error = error != 0 ? error : kv_view_revision(view, out->compact_revision, &out->revision);
    error = error != 0 ? error : meta(view, "storageVersion", &version);
    error = error != 0 ? error : conf(view, arena, out);
    if (error == 0) {
        out->storage_version = arena_printf(arena, "%.*s", (int)version.len, (const char *)version.data);
    }
    return error;
}
