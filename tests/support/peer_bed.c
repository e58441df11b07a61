#include "tests/support/peer_bed.h"
#include "base/check.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

/* --- what a member hears --- */

static void on_message(void *owner, const struct raft_message *message)
{
    struct peer_bed_member *m = owner;
    m->last = *message;
    m->messages++;
    m->by_type[message->type]++;
    m->entries += message->entry_count;
    for (size_t i = 0; i < message->entry_count; i++) {
        m->entry_bytes += raft_entry_bytes(&message->entries[i]);
        m->last_entry = message->entries[i].index;
    }
    m->last.entries = NULL;
}

static void on_unreachable(void *owner, uint64_t id)
{
    struct peer_bed_member *m = owner;
    (void)id;
    m->unreachable++;
}

static void on_reported(void *owner, uint64_t id, bool ok)
{
    struct peer_bed_member *m = owner;
    (void)id;
    (ok ? &m->reported_ok : &m->reported_failed)[0]++;
}

static void on_removed(void *owner)
{
    struct peer_bed_member *m = owner;
    m->removed++;
}

static bool was_removed(void *owner, uint64_t id)
{
    const struct peer_bed_member *m = owner;
    return id == m->removed_id;
}

static int on_image(void *owner, struct peer_image *image)
{
    struct peer_bed_member *m = owner;
    if (m->begin_error != 0) {
        return m->begin_error;
    }
    m->begun++;
    m->image = image;
    m->image_bytes.len = 0;
    return 0;
}

static bool on_image_data(void *owner, struct peer_image *image, struct bytes data)
{
    struct peer_bed_member *m = owner;
    CHECK(image == m->image);
    buffer_append(&m->image_bytes, data.data, data.len);
    return !m->slow;
}

static void on_image_finish(void *owner, struct peer_image *image)
{
    struct peer_bed_member *m = owner;
    m->finished++;
    if (!m->hold) {
        m->image = NULL;
        peer_image_done(image, m->done_error, NULL);
    }
}

static void on_image_abort(void *owner, struct peer_image *image)
{
    struct peer_bed_member *m = owner;
    m->aborted++;
    m->image = image == m->image ? NULL : m->image;
}

static const struct peer_events events = {
    .message = on_message,
    .unreachable = on_unreachable,
    .snapshot_reported = on_reported,
    .removed = on_removed,
    .was_removed = was_removed,
    .image_begin = on_image,
    .image_data = on_image_data,
    .image_finish = on_image_finish,
    .image_abort = on_image_abort,
};

/* --- its port --- */

static void handle(void *owner, struct http1_request *request)
{
    struct peer_bed_member *m = owner;
    if (peer_handle(m->transport, request)) {
        return;
    }
    if (bytes_equal(request->path, bytes_str("/raft/probing"))) {
        http1_respond_text(request, 200, "text/plain", "{\"OK\":true,\"Now\":\"2026-11-23T02:06:30.123456789Z\"}\n");
    } else if (bytes_equal(request->path, bytes_str("/echo"))) {
        http1_set(request, "X-Etcd-Cluster-Id", "45f4d005b8294f66");
        http1_respond(request, 200, "text/plain", request->body);
    } else if (!bytes_equal(request->path, bytes_str("/silence"))) {
        http1_not_found(request);
    }
}

static bool take(void *owner, struct http1_request *request)
{
    struct peer_bed_member *m = owner;
    return peer_take(m->transport, request);
}

static void on_accept(struct listener *listener, struct connection *connection)
{
    struct peer_bed_member *m = listener->owner;
    http1_serve(connection, &m->options, (struct bytes){0});
}

static void on_gone(struct listener *listener)
{
    struct peer_bed_member *m = listener->owner;
    m->gone = true;
}

void peer_bed_listen(struct peer_bed_member *m)
{
    char reason[256];
    int port = m->url[0] == '\0' ? 0 : atoi(strrchr(m->url, ':') + 1);
    m->options = (struct http1_options){.handle = handle, .owner = m, .take = take, .take_owner = m};
    m->listener = (struct listener){.on_accept = on_accept, .on_gone = on_gone, .owner = m};
    m->gone = false;
    CHECK(listener_open(&m->listener, &m->bed->loop, "127.0.0.1", port, reason, sizeof reason) == 0, "%s", reason);
    snprintf(m->url, sizeof m->url, "http://%s", m->listener.address);
}

void peer_bed_deafen(struct peer_bed_member *m)
{
    listener_close(&m->listener);
    list_each(node, &m->listener.connections)
    {
        connection_close(container_of(node, struct connection, node));
    }
    while (!m->gone) {
        loop_step(&m->bed->loop, 1);
    }
}

/* --- all of them --- */

void peer_bed_open(struct peer_bed *bed, size_t count)
{
    const char *version = bed->version;
    memset(bed, 0, sizeof *bed);
    bed->version = version == NULL ? "3.7.1" : version;
    bed->count = count;
    CHECK(loop_init(&bed->loop) == 0);
    for (size_t i = 0; i < count; i++) {
        struct peer_bed_member *m = &bed->members[i];
        m->bed = bed;
        m->id = i + 1;
        peer_bed_listen(m);
        struct peer_config config = {.loop = &bed->loop,
                                     .member_id = m->id,
                                     .cluster_id = PEER_BED_CLUSTER,
                                     .version = bed->version,
                                     .min_version = "3.0.0",
                                     .urls = m->url,
                                     .election_ms = 1000,
                                     .events = &events,
                                     .owner = m};
        m->transport = peer_transport_new(&config);
    }
}

void peer_bed_close(struct peer_bed *bed)
{
    for (size_t i = 0; i < bed->count; i++) {
        peer_transport_free(bed->members[i].transport);
    }
    for (size_t i = 0; i < bed->count; i++) {
        peer_bed_deafen(&bed->members[i]);
        buffer_free(&bed->members[i].image_bytes);
    }
    loop_close(&bed->loop);
}

void peer_bed_introduce(struct peer_bed *bed, size_t a, size_t b)
{
    peer_add(bed->members[a].transport, bed->members[b].id, bed->members[b].url);
}

void peer_bed_run(struct peer_bed *bed, uint64_t ms)
{
    uint64_t until = loop_clock_ns() + ms * 1000000;
    while (loop_clock_ns() < until) {
        loop_step(&bed->loop, 5);
    }
}

static bool stands(struct peer_bed *bed, size_t from, size_t to)
{
    struct peer_bed_member *a = &bed->members[from], *b = &bed->members[to];
    return peer_bed_until(bed, 3000, peer_active_since_ms(b->transport, a->id) != 0);
}

bool peer_bed_connected(struct peer_bed *bed, size_t a, size_t b)
{
    bool both = stands(bed, a, b) && stands(bed, b, a);
    peer_bed_run(bed, 250); /* the other kind of stream, a dial later */
    return both;
}

/* --- sources --- */

uint8_t peer_bed_pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

static ssize_t read_source(struct peer_source *source, uint8_t *out, size_t cap)
{
    struct peer_bed_source *s = container_of(source, struct peer_bed_source, source);
    if (s->starving) {
        return ERR_AGAIN;
    }
    if (s->broken != 0 && s->at >= s->broken) {
        return ERR_IO;
    }
    size_t n = s->size - s->at < cap ? (size_t)(s->size - s->at) : cap;
    n = s->piece != 0 && n > s->piece ? s->piece : n;
    for (size_t i = 0; i < n; i++) {
        out[i] = peer_bed_pattern(s->at + i);
    }
    s->at += n;
    return (ssize_t)n;
}

static void close_source(struct peer_source *source)
{
    container_of(source, struct peer_bed_source, source)->closed++;
}

void peer_bed_source(struct peer_bed_source *s, uint64_t size)
{
    *s = (struct peer_bed_source){.size = size};
    s->source.read = read_source;
    s->source.close = close_source;
    s->source.size_known = true;
    s->source.size_bytes = size;
}
