/* KV.RangeStream: a range as a stream of chunks at one revision (mvcc.md "RangeStream"). A chunk begins with 10 keys;
 * the number doubles while a chunk's answer is less than half of --max-request-bytes, and halves above twice that; a
 * chunk ends there besides, so that large values behind small ones take no more memory. Only the last chunk carries
 * header, more and count. */
#include "grpc/service_range.h"

#include "base/check.h"

#define FIRST_CHUNK_ROWS 10
#define STALL_MS 30000 /* a client that takes nothing for so long loses its pin (design.md "Pin") */

struct stream_call {
    struct core_range range;
    struct service_task task;
    struct loop_timer stall; /* set while the client has to take something first */
    size_t stalled_bytes;    /* what was queued then */
    struct call *call;
    struct services *services;
    Etcdserverpb__RangeRequest request;
    uint64_t rows; /* of the next chunk */
    /* the chunk under way */
    bool cutting, building, last;
    uint64_t chunk_rows, chunk_bytes;
    struct shared *chunk;
    size_t filled;
    uint64_t rows_left;
    bool open;
};

static void finish(struct stream_call *stream)
{
    service_task_remove(&stream->task);
    loop_timer_stop(stream->services->loop, &stream->stall);
    if (stream->open) {
        kv_range_end(&stream->range.range);
        stream->open = false;
    }
    shared_unref(stream->chunk);
    stream->chunk = NULL;
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct stream_call *stream = call->state;
    core_range_cancel(&stream->range);
    finish(stream);
}

/* RangeStreamResponse{1: RangeResponse{…}}: tag, length, then the inner bytes. */
static void send_message(struct stream_call *stream, struct bytes head, struct bytes kvs, struct bytes tail)
{
    uint8_t prefix[11];
    prefix[0] = 0x0a;
    size_t n = 1 + varint_put(prefix + 1, head.len + kvs.len + tail.len);
    const struct call_part parts[] = {
        {.bytes = bytes_of(prefix, n)}, {.bytes = head}, {.bytes = kvs, .owner = stream->chunk}, {.bytes = tail}};
    call_send(stream->call, parts, 4);
}

static void send_chunk(struct stream_call *stream)
{
    uint8_t head[RANGE_EDGE_MAX], tail[RANGE_EDGE_MAX];
    size_t head_len = 0, tail_len = 0;
    if (stream->last) {
        head_len = range_head_encode(stream->services->core, stream->range.range.header_revision, head);
        tail_len = range_tail_encode(&stream->range.range, tail);
    }
    send_message(stream, bytes_of(head, head_len), shared_bytes(stream->chunk), bytes_of(tail, tail_len));
    uint64_t size = head_len + stream->chunk_bytes + tail_len;
    if (size < stream->services->max_request_bytes / 2) {
        stream->rows *= 2;
    } else if (size > 2 * (uint64_t)stream->services->max_request_bytes && stream->rows > 1) {
        stream->rows /= 2;
    }
    shared_unref(stream->chunk);
    stream->chunk = NULL;
    stream->building = false;
}

/* Decides what the next chunk holds. True: more slices are needed. */
static bool cut(struct stream_call *stream)
{
    stream->cutting = true;
    int progress = kv_range_chunk(&stream->range.range, stream->rows, 2 * (uint64_t)stream->services->max_request_bytes,
                                  KV_BUDGET, &stream->chunk_rows, &stream->chunk_bytes);
    CHECK(progress >= 0, "%s", error_name(progress));
    if (progress == KV_MORE) {
        return true;
    }
    stream->cutting = false;
    stream->building = true;
    stream->rows_left -= stream->chunk_rows;
    stream->last = stream->rows_left == 0;
    stream->chunk = shared_new(stream->chunk_bytes);
    stream->filled = 0;
    return false;
}

static void fill(struct stream_call *stream)
{
    size_t got = 0;
    int progress = stream->chunk_bytes == 0 ? KV_DONE
                                            : kv_range_read(&stream->range.range, stream->chunk->data + stream->filled,
                                                            stream->chunk_bytes - stream->filled, &got);
    CHECK(progress >= 0, "a row of the store is damaged");
    stream->filled += got;
    if (progress == KV_MORE) {
        return;
    }
    CHECK(stream->filled == stream->chunk_bytes);
    bool last = stream->last;
    send_chunk(stream);
    if (last) {
        struct call *call = stream->call;
        finish(stream);
        call_finish(call, GRPC_OK, "");
    }
}

/* The client has to take something first. */
static void wait_for_client(struct stream_call *stream)
{
    struct loop *loop = stream->services->loop;
    stream->stalled_bytes = call_queued(stream->call);
    loop_timer_set(loop, &stream->stall, loop_now_ms(loop) + STALL_MS);
}

static void stalled(struct loop_timer *timer)
{
    struct stream_call *stream = container_of(timer, struct stream_call, stall);
    if (call_queued(stream->call) < stream->stalled_bytes) {
        wait_for_client(stream);
        return;
    }
    struct call *call = stream->call;
    finish(stream);
    call_fail_text(call, GRPC_CANCELLED, "the client took nothing of the answer for %d s", STALL_MS / 1000);
}

static void run(struct service_task *task)
{
    struct stream_call *stream = container_of(task, struct stream_call, task);
    if (!stream->building && !call_writable(stream->call)) {
        service_task_remove(task); /* on_writable adds it again */
        wait_for_client(stream);
        return;
    }
    if (stream->building || !cut(stream)) {
        fill(stream);
    }
}

static void writable(struct call *call)
{
    struct stream_call *stream = call->state;
    if (stream->open && list_empty(&stream->task.node)) {
        loop_timer_stop(stream->services->loop, &stream->stall);
        service_task_add(stream->services, &stream->task);
    }
}

static void resolved(struct core_range *core_range, int error)
{
    struct stream_call *stream = core_range->owner;
    if (error != 0) {
        call_fail(stream->call, error);
        return;
    }
    stream->open = true;
    stream->rows_left = stream->range.range.kvs;
    service_task_add(stream->services, &stream->task);
}

void service_range_stream(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = cancelled, .on_writable = writable};
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)message;
    int error = kv_check_range_stream(request);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    struct stream_call *stream = arena_zalloc(&call->arena, sizeof *stream);
    stream->call = call;
    stream->services = service;
    stream->rows = FIRST_CHUNK_ROWS;
    stream->request = *request;
    stream->request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY; /* without an order it means nothing */
    stream->range.done = resolved;
    stream->range.owner = stream;
    stream->task.run = run;
    stream->stall.fire = stalled;
    list_init(&stream->task.node);
    call->state = stream;
    call->handler = &handler;
    error = core_range(stream->services->core, &stream->range, &stream->request);
    if (error != 0) {
        call_fail(call, error);
    }
}
