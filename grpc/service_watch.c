/* etcdserverpb.Watch: one bidirectional stream, many watchers. Requests go to the hub (kv/watch.h); what the hub has
 * for the stream is pulled while flow control lets it. */
#include "grpc/services.h"

#include "kv/watch.h"

#define PULL_BYTES ((size_t)64 * 1024)

struct watch_call {
    struct service_watcher watcher;
    struct call *call;
    struct services *services;
    struct watch_stream *stream;
    struct list node; /* in services->watching while there is something to pull and room for it */
    struct watch_out out;
    bool ready, held;
};

static void enlist(struct watch_call *watch)
{
    if (watch->ready && list_empty(&watch->node) && call_writable(watch->call)) {
        list_push_back(&watch->services->watching, &watch->node);
    }
}

void service_watch_ready(struct watch_stream *stream, void *stream_arg)
{
    (void)stream;
    struct service_watcher *watcher = stream_arg;
    watcher->ready(watcher);
}

static void become_ready(struct service_watcher *watcher)
{
    struct watch_call *watch = container_of(watcher, struct watch_call, watcher);
    watch->ready = true;
    enlist(watch);
}

static void send_out(struct watch_call *watch)
{
    struct watch_out *out = &watch->out;
    struct call_part parts[64];
    size_t at = 0, count = 0;
    for (size_t i = 0; i <= out->cut_count; i++) {
        size_t end = i < out->cut_count ? out->cuts[i].at : out->bytes.len;
        if (end > at) {
            parts[count++] = (struct call_part){.bytes = bytes_of(out->bytes.data + at, end - at)};
            at = end;
        }
        if (i < out->cut_count) {
            parts[count++] = (struct call_part){.bytes = out->cuts[i].content, .owner = out->cuts[i].owner};
        }
        if (count > sizeof parts / sizeof parts[0] - 2 || i == out->cut_count) {
            call_send_framed(watch->call, parts, count);
            count = 0;
        }
    }
}

static void pull(struct watch_call *watch)
{
    watch->ready = watch_pull(watch->stream, &watch->out, PULL_BYTES);
    if (watch->out.total > 0) {
        send_out(watch);
    }
    watch_out_reset(&watch->out);
    if (watch->held && !watch_stream_full(watch->stream)) {
        watch->held = false;
        call_resume(watch->call);
    }
}

bool service_watch_run(struct services *services)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &services->watching);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        struct watch_call *watch = container_of(node, struct watch_call, node);
        pull(watch);
        enlist(watch);
        if (loop_late(services->loop, LOOP_WORK_NS)) {
            break;
        }
    }
    list_splice(&now, &services->watching); /* those that had to wait go first */
    list_splice(&services->watching, &now);
    return !list_empty(&services->watching);
}

static void create(struct watch_call *watch, const Etcdserverpb__WatchCreateRequest *create)
{
    struct watch_request request = {
        .key = bytes_of(create->key.data, create->key.len),
        .range_end = bytes_of(create->range_end.data, create->range_end.len),
        .start_revision = create->start_revision,
        .watch_id = create->watch_id,
        .prev_kv = create->prev_kv,
        .progress_notify = create->progress_notify,
        .fragment = create->fragment,
    };
    for (size_t i = 0; i < create->n_filters; i++) {
        request.no_put |= create->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
        request.no_delete |= create->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    }
    watch_create(watch->stream, &request);
}

static void on_message(struct call *call, const ProtobufCMessage *message)
{
    struct watch_call *watch = call->state;
    const Etcdserverpb__WatchRequest *request = (const Etcdserverpb__WatchRequest *)message;
    switch (request->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(watch, request->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        watch_cancel(watch->stream, request->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        watch_progress(watch->stream);
        break;
    default: /* etcd ignores a request without one of the three */
        break;
    }
    if (!watch->held && watch_stream_full(watch->stream)) {
        watch->held = true;
        call_hold(call);
    }
}

static void close_watch(struct watch_call *watch)
{
    list_remove(&watch->node);
    watch_stream_close(watch->stream);
    watch_out_free(&watch->out);
}

/* Comes while the turn's output is written: the services' part of it is over. */
static void on_writable(struct call *call)
{
    struct watch_call *watch = call->state;
    enlist(watch);
    loop_again(watch->services->loop);
}

static void on_cancel(struct call *call, int reason)
{
    (void)reason;
    close_watch(call->state);
}

static void open_watch(void *service, struct call *call)
{
    static const struct call_handler handler = {
        /* No on_half_close: a client that sends no more goes on receiving, as with etcd. */
        .on_message = on_message,
        .on_writable = on_writable,
        .on_cancel = on_cancel};
    struct services *services = service;
    struct watch_call *watch = arena_zalloc(&call->arena, sizeof *watch);
    watch->call = call;
    watch->services = services;
    list_init(&watch->node);
    watch->watcher.ready = become_ready;
    watch->stream = watch_stream_open(core_watch(services->core), &watch->watcher, core_now_ms(services->core));
    call->state = watch;
    call->handler = &handler;
}

static const struct call_route routes[] = {
    {"/etcdserverpb.Watch/Watch", CALL_STREAM, CALL_NORMAL, &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_response__descriptor, NULL, open_watch},
};

void service_watch(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
