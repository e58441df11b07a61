#include "grpc/local_watch.h"

#include "base/check.h"
#include "base/pb.h"

#define PULL_BYTES ((size_t)4096) /* a message or more: whoever holds the watch gets little more after that */
#define PREFIX_BYTES 5            /* before each message: 0, and its length */

static void enlist(struct local_watch *watch)
{
    if (watch->ready && !watch->held && (watch->task.node.next == NULL || list_empty(&watch->task.node))) {
        service_task_add(watch->services, &watch->task);
    }
}

/* What was pulled, in one piece: large events come by reference. */
static void flatten(const struct watch_out *out, struct buffer *whole)
{
    size_t at = 0;
    for (size_t i = 0; i < out->cut_count; i++) {
        buffer_append(whole, out->bytes.data + at, out->cuts[i].at - at);
        buffer_append(whole, out->cuts[i].content.data, out->cuts[i].content.len);
        at = out->cuts[i].at;
    }
    if (out->bytes.len > at) {
        buffer_append(whole, out->bytes.data + at, out->bytes.len - at);
    }
}

/* Each message in turn, until the watch is closed by its owner. */
static void deliver(struct local_watch *watch, struct bytes whole, const bool *gone)
{
    while (!*gone && whole.len > 0) {
        CHECK(whole.len >= PREFIX_BYTES);
        size_t len = get_be32(whole.data + 1);
        CHECK(len <= whole.len - PREFIX_BYTES);
        struct arena arena = {0};
        const ProtobufCMessage *message = pb_unpack(&etcdserverpb__watch_response__descriptor,
                                                    bytes_of(whole.data + PREFIX_BYTES, len), &arena, NULL);
        CHECK(message != NULL, "a response of a watch cannot be read");
        watch->on_response(watch, (const Etcdserverpb__WatchResponse *)message);
        arena_free(&arena);
        whole = bytes_skip(whole, PREFIX_BYTES + len);
    }
}

static void run(struct service_task *task)
{
    struct local_watch *watch = container_of(task, struct local_watch, task);
    struct buffer whole = {0};
    bool gone = false;
    watch->ready = watch_pull(watch->stream, &watch->out, PULL_BYTES);
    flatten(&watch->out, &whole);
    watch_out_reset(&watch->out);
    if (!watch->ready) {
        service_task_remove(task);
    }
    watch->gone = &gone;
    deliver(watch, buffer_bytes(&whole), &gone);
    if (!gone) {
        watch->gone = NULL;
    }
    buffer_free(&whole);
}

static void become_ready(struct service_watcher *watcher)
{
    struct local_watch *watch = container_of(watcher, struct local_watch, watcher);
    watch->ready = true;
    enlist(watch);
}

void local_watch_open(struct local_watch *watch, struct services *services, const struct watch_request *request)
{
    CHECK(watch->stream == NULL);
    watch->services = services;
    watch->watcher.ready = become_ready;
    watch->task.run = run;
    watch->ready = watch->held = false;
    watch->stream = watch_stream_open(core_watch(services->core), &watch->watcher, core_now_ms(services->core));
    watch_create(watch->stream, request);
    loop_again(services->loop); /* the hub may have work now */
}

void local_watch_hold(struct local_watch *watch, bool held)
{
    watch->held = held;
    if (held) {
        service_task_remove(&watch->task);
    } else if (watch->stream != NULL) {
        enlist(watch);
    }
}

void local_watch_close(struct local_watch *watch)
{
    if (watch->stream == NULL) {
        return;
    }
    if (watch->gone != NULL) {
        *watch->gone = true;
        watch->gone = NULL;
    }
    service_task_remove(&watch->task);
    watch_stream_close(watch->stream);
    watch->stream = NULL;
    watch_out_free(&watch->out);
}
