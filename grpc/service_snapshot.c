/* Maintenance.Snapshot: the store as a bbolt file, in messages of 32 KiB, and its SHA-256 in a last one (bbolt.md
 * "Snapshot stream and file"). A worker makes the next slice of the file while the one before goes out; two slices are
 * all that is in memory. A client that takes nothing for 30 s loses its view (core/core.h). */
#include "grpc/services.h"

#include "base/check.h"
#include "snapshot/export.h"
#include <inttypes.h>
#include <stdlib.h>

#define BLOB_BYTES ((size_t)32768)
#define SLICE_BLOBS 32
#define PLAN_ROWS 20000

/* What the worker makes at a time. Each blob is small enough to come from the heap and go back to it: larger pieces
 * would be mapped, and cleared by the system, each time anew. */
struct slice {
    struct shared *blobs[SLICE_BLOBS];
    size_t count, sent;
    size_t last_len; /* of the last blob */
    bool last;
};

/* Not in the call's arena: the view may outlive the call. */
struct snapshot_call {
    struct core_view view;
    struct call *call; /* NULL: it is over */
    struct snapshot_export *image;
    bool planned, working, made; /* made: the worker has given out all */
    uint64_t remaining;
    struct slice ready, sending;
};

/* --- on the worker --- */

static int work(void *arg)
{
    struct snapshot_call *s = arg;
    if (!s->planned) {
        return snapshot_export_plan(s->image, PLAN_ROWS);
    }
    struct slice *slice = &s->ready;
    int progress = SNAPSHOT_MORE;
    while (slice->count < SLICE_BLOBS && progress == SNAPSHOT_MORE) {
        struct shared *blob = slice->blobs[slice->count++] = shared_new(BLOB_BYTES);
        progress = snapshot_export_read(s->image, blob->data, BLOB_BYTES, &slice->last_len);
    }
    return progress;
}

/* --- messages --- */

/* SnapshotResponse{2 remaining_bytes, 3 blob, 4 version}; zero fields are left out. */
static void send_blob(struct snapshot_call *s, struct bytes blob, struct shared *owner)
{
    uint8_t head[32], tail[48];
    size_t head_len = 0, version_len = strlen(s->view.storage_version), tail_len = 0;
    if (s->remaining > 0) {
        head[head_len++] = 0x10;
        head_len += varint_put(head + head_len, s->remaining);
    }
    head[head_len++] = 0x1a;
    head_len += varint_put(head + head_len, blob.len);
    if (version_len > 0 && version_len < 32) {
        tail[tail_len++] = 0x22;
        tail_len += varint_put(tail + tail_len, version_len);
        memcpy(tail + tail_len, s->view.storage_version, version_len);
        tail_len += version_len;
    }
    const struct call_part parts[] = {
        {.bytes = bytes_of(head, head_len)}, {.bytes = blob, .owner = owner}, {.bytes = bytes_of(tail, tail_len)}};
    call_send(s->call, parts, 3);
    core_view_progress(&s->view);
}

static void send_checksum(struct snapshot_call *s)
{
    uint8_t checksum[SNAPSHOT_CHECKSUM];
    struct call *call = s->call;
    snapshot_export_checksum(s->image, checksum);
    send_blob(s, bytes_of(checksum, sizeof checksum), NULL);
    s->call = NULL;
    core_view_close(&s->view);
    call_finish(call, GRPC_OK, "");
}

static void next_work(struct snapshot_call *s);

static bool take_slice(struct snapshot_call *s)
{
    if (s->working || s->ready.count == 0) {
        return false;
    }
    s->sending = s->ready;
    s->ready = (struct slice){0};
    next_work(s);
    return true;
}

/* The next blob of the slice. */
static void send_next(struct snapshot_call *s, struct slice *slice)
{
    struct shared *blob = slice->blobs[slice->sent++];
    size_t len = slice->sent == slice->count ? slice->last_len : BLOB_BYTES;
    CHECK(len > 0 && len <= s->remaining);
    s->remaining -= len;
    send_blob(s, bytes_of(blob->data, len), blob);
    shared_unref(blob);
}

/* As much as the stream has room for. */
static void send_slices(struct snapshot_call *s)
{
    struct slice *slice = &s->sending;
    while (call_writable(s->call)) {
        if (slice->sent == slice->count && !take_slice(s)) {
            return;
        }
        send_next(s, slice);
        if (slice->last && slice->sent == slice->count) {
            CHECK(s->remaining == 0);
            send_checksum(s);
            return;
        }
    }
}

static void slice_free(struct slice *slice)
{
    for (size_t i = slice->sent; i < slice->count; i++) {
        shared_unref(slice->blobs[i]);
    }
}

/* --- the view --- */

static void fail(struct snapshot_call *s, int error)
{
    struct call *call = s->call;
    s->call = NULL;
    core_view_close(&s->view);
    call_fail(call, error);
}

static void worked(struct core_view *view, int result)
{
    struct snapshot_call *s = view->owner;
    s->working = false;
    if (result < 0) {
        fail(s, result);
        return;
    }
    if (!s->planned) {
        s->planned = result == SNAPSHOT_DONE;
        s->remaining = s->planned ? snapshot_export_bytes(s->image) : 0;
        next_work(s);
        return;
    }
    s->made = s->ready.last = result == SNAPSHOT_DONE;
    send_slices(s);
}

static void next_work(struct snapshot_call *s)
{
    if (!s->working && !s->made && s->ready.count == 0) {
        s->working = true;
        core_view_work(&s->view, work, s, worked);
    }
}

static void opened(struct core_view *view, int error)
{
    struct snapshot_call *s = view->owner;
    if (error != 0) {
        fail(s, error);
        return;
    }
    s->image = snapshot_export_new(view->read, true);
    next_work(s);
}

static void cut(struct core_view *view, int reason)
{
    struct snapshot_call *s = view->owner;
    if (reason == ERR_STOPPED) {
        fail(s, reason);
        return;
    }
    struct call *call = s->call;
    s->call = NULL;
    core_view_close(view);
    call_fail_text(call, GRPC_CANCELLED, "the client took nothing of the snapshot for 30 s");
}

static void closed(struct core_view *view)
{
    struct snapshot_call *s = view->owner;
    snapshot_export_free(s->image);
    slice_free(&s->ready);
    slice_free(&s->sending);
    free(s);
}

/* --- the call --- */

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct snapshot_call *s = call->state;
    s->call = NULL;
    core_view_close(&s->view);
}

static void writable(struct call *call)
{
    send_slices(call->state);
}

void service_snapshot(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = cancelled, .on_writable = writable};
    (void)message;
    struct services *services = service;
    struct snapshot_call *s = mem_zalloc(sizeof *s);
    s->call = call;
    s->view = (struct core_view){.opened = opened, .cut = cut, .closed = closed, .owner = s, .for_client = true};
    call->state = s;
    call->handler = &handler;
    int error = core_view_open(services->core, &s->view, 0);
    if (error != 0) {
        free(s);
        call_fail(call, error);
    }
}
