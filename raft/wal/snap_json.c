/* The v2 store's JSON as it would look had the members been put into an empty store one after the other: each of them
 * one creation and, once its attributes are known, one set; then the removed ones; then the version. Every write has an
 * index of its own, counted from 1, and is an event of the history (wal.md ".snap file"). */
#include "raft/wal/snap_file.h"

#include "base/gojson.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { EVENTS = 1000 };

struct row {
    char id[17];
    const struct snap_file_member *member; /* NULL: a removed one */
    size_t created, set;                   /* indexes of its writes; set 0 = none */
};

struct event {
    const char *action;
    char *path, *value;
    size_t modified;
};

struct document {
    struct buffer *out;
    struct row *members, *removed;
    size_t member_count, removed_count;
    struct event *events;
    size_t event_count;
    const char *version;
    size_t version_index;
};

static void put_text(struct buffer *out, const char *text)
{
    gojson_string(out, bytes_str(text));
}

static void put_texts(struct buffer *out, const char *const *texts, size_t count)
{
    buffer_append(out, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buffer_append(out, ",", 1);
        }
        put_text(out, texts[i]);
    }
    buffer_append(out, "]", 1);
}

static char *finish(struct buffer *b)
{
    buffer_append(b, "", 1);
    return (char *)b->data;
}

static char *raft_attributes(const struct snap_file_member *m)
{
    struct buffer b = {0};
    buffer_printf(&b, "{\"peerURLs\":");
    put_texts(&b, m->peer_urls, m->peer_url_count);
    buffer_printf(&b, "%s}", m->learner ? ",\"isLearner\":true" : "");
    return finish(&b);
}

static char *attributes(const struct snap_file_member *m)
{
    struct buffer b = {0};
    buffer_append(&b, "{", 1);
    if (m->name != NULL && m->name[0] != '\0') {
        buffer_printf(&b, "\"name\":");
        put_text(&b, m->name);
        buffer_append(&b, ",", 1);
    }
    buffer_printf(&b, "\"clientURLs\":");
    put_texts(&b, m->client_urls, m->client_url_count);
    buffer_append(&b, "}", 1);
    return finish(&b);
}

static size_t add_event(struct document *d, const char *action, char *path, char *value)
{
    d->events = mem_realloc(d->events, (d->event_count + 1) * sizeof *d->events);
    d->events[d->event_count] =
        (struct event){.action = action, .path = path, .value = value, .modified = d->event_count + 1};
    return ++d->event_count;
}

static void begin_node(struct buffer *out, const char *name, const char *path, size_t index, const char *value)
{
    if (name != NULL) {
        put_text(out, name);
        buffer_append(out, ":", 1);
    }
    buffer_printf(out, "{\"Path\":");
    put_text(out, path);
    buffer_printf(out, ",\"CreatedIndex\":%zu,\"ModifiedIndex\":%zu,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":",
                  index, index);
    put_text(out, value);
    buffer_printf(out, ",\"Children\":");
}

/* A node without children, which is written by one event. */
static void put_leaf(struct document *d, const char *name, size_t index)
{
    const struct event *e = &d->events[index - 1];
    begin_node(d->out, name, e->path, index, e->value);
    buffer_printf(d->out, "null}");
}

static void put_member(struct document *d, const struct row *r)
{
    char path[40];
    snprintf(path, sizeof path, "/0/members/%s", r->id);
    begin_node(d->out, r->id, path, r->created, "");
    buffer_append(d->out, "{", 1);
    if (r->set != 0) {
        put_leaf(d, "attributes", r->set);
        buffer_append(d->out, ",", 1);
    }
    put_leaf(d, "raftAttributes", r->created);
    buffer_printf(d->out, "}}");
}

static size_t first_index(const struct row *rows, size_t count)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        first = rows[i].created < first ? rows[i].created : first;
    }
    return first;
}

/* The directories of members and removed members, and the version: the children of /0, by name. */
static void put_tree(struct document *d)
{
    struct buffer *out = d->out;
    begin_node(out, NULL, "/", 0, "");
    buffer_append(out, "{", 1);
    begin_node(out, "0", "/0", 0, "");
    buffer_append(out, "{", 1);
    if (d->member_count > 0) {
        begin_node(out, "members", "/0/members", first_index(d->members, d->member_count), "");
        for (size_t i = 0; i < d->member_count; i++) {
            buffer_append(out, i == 0 ? "{" : ",", 1);
            put_member(d, &d->members[i]);
        }
        buffer_printf(out, "}}%s", d->removed_count > 0 || d->version != NULL ? "," : "");
    }
    if (d->removed_count > 0) {
        begin_node(out, "removed_members", "/0/removed_members", first_index(d->removed, d->removed_count), "");
        for (size_t i = 0; i < d->removed_count; i++) {
            buffer_append(out, i == 0 ? "{" : ",", 1);
            put_leaf(d, d->removed[i].id, d->removed[i].created);
        }
        buffer_printf(out, "}}%s", d->version != NULL ? "," : "");
    }
    if (d->version != NULL) {
        put_leaf(d, "version", d->version_index);
    }
    buffer_printf(out, "}},");
    begin_node(out, "1", "/1", 0, "");
    buffer_printf(out, "{}}}}");
}

/* The history is a ring: event n stands in slot (n - 1) mod 1000. */
static void put_events(struct document *d)
{
    struct buffer *out = d->out;
    size_t n = d->event_count;
    buffer_printf(out, "\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
    for (size_t slot = 0; slot < EVENTS; slot++) {
        size_t k = n <= EVENTS ? slot : n - EVENTS + (slot + EVENTS - n % EVENTS) % EVENTS;
        if (slot > 0) {
            buffer_append(out, ",", 1);
        }
        if (k >= n) {
            buffer_printf(out, "null");
            continue;
        }
        const struct event *e = &d->events[k];
        buffer_printf(out, "{\"action\":\"%s\",\"node\":{\"key\":", e->action);
        put_text(out, e->path);
        buffer_printf(out, ",\"value\":");
        put_text(out, e->value);
        buffer_printf(out, ",\"modifiedIndex\":%zu,\"createdIndex\":%zu}}", e->modified, e->modified);
    }
    buffer_printf(
        out, "],\"Size\":%zu,\"Front\":%zu,\"Back\":%zu,\"Capacity\":%d},\"StartIndex\":%zu,\"LastIndex\":%zu}},",
        n < EVENTS ? n : EVENTS, n <= EVENTS ? 0 : n % EVENTS, n % EVENTS, EVENTS, n <= EVENTS ? 1 : n - EVENTS + 1, n);
}

static void put_counters(struct document *d, size_t creates, size_t sets)
{
    buffer_printf(d->out,
                  "\"CurrentIndex\":%zu,\"Stats\":{\"getsSuccess\":0,\"getsFail\":1,\"setsSuccess\":%zu,\"setsFail\":0,"
                  "\"deleteSuccess\":0,\"deleteFail\":0,\"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":%zu,"
                  "\"createFail\":0,\"compareAndSwapSuccess\":0,\"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,"
                  "\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0},\"CurrentVersion\":2",
                  d->event_count, sets, creates);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->id, ((const struct row *)b)->id);
}

static size_t add_members(struct document *d, const struct snap_file_member *members, size_t count)
{
    size_t sets = 0;
    d->members = mem_zalloc((count + 1) * sizeof *d->members);
    d->member_count = count;
    for (size_t i = 0; i < count; i++) {
        struct row *r = &d->members[i];
        r->member = &members[i];
        snprintf(r->id, sizeof r->id, "%" PRIx64, members[i].id);
        r->created =
            add_event(d, "create", mem_printf("/0/members/%s/raftAttributes", r->id), raft_attributes(r->member));
        if (members[i].client_url_count > 0) {
            r->set = add_event(d, "set", mem_printf("/0/members/%s/attributes", r->id), attributes(r->member));
            sets++;
        }
    }
    qsort(d->members, count, sizeof *d->members, by_text);
    return sets;
}

static void add_removed(struct document *d, const uint64_t *ids, size_t count)
{
    d->removed = mem_zalloc((count + 1) * sizeof *d->removed);
    d->removed_count = count;
    for (size_t i = 0; i < count; i++) {
        struct row *r = &d->removed[i];
        snprintf(r->id, sizeof r->id, "%" PRIx64, ids[i]);
        r->created = add_event(d, "create", mem_printf("/0/removed_members/%s", r->id), mem_strdup(""));
    }
    qsort(d->removed, count, sizeof *d->removed, by_text);
}

void snap_file_v2_json(struct buffer *out, const struct snap_file_member *members, size_t member_count,
                       const uint64_t *removed_ids, size_t removed_count, const char *cluster_version)
{
    struct document d = {.out = out, .version = cluster_version};
    size_t sets = add_members(&d, members, member_count);
    add_removed(&d, removed_ids, removed_count);
    if (cluster_version != NULL) {
        d.version_index = add_event(&d, "set", mem_strdup("/0/version"), mem_strdup(cluster_version));
        sets++;
    }
    buffer_printf(out, "{\"Root\":");
    put_tree(&d);
    buffer_append(out, ",", 1);
    put_events(&d);
    put_counters(&d, member_count + removed_count, sets);
    buffer_append(out, "}", 1);
    for (size_t i = 0; i < d.event_count; i++) {
        free(d.events[i].path);
        free(d.events[i].value);
    }
    free(d.events);
    free(d.members);
    free(d.removed);
}
