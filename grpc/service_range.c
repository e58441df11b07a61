/* KV.Range. A get of one key is answered at once. Everything else is resolved first, so that the answer's length is
 * known; then small answers are built whole, and large ones are pulled row by row while the client takes them. */
#include "grpc/service_range.h"

#include "base/check.h"

#define BUILD_WHOLE_BYTES ((size_t)64 * 1024) /* design.md "Threads": what the core reads in a turn */
#define MAX_SEND_BYTES ((uint64_t)2147483647) /* grpc.md "Messages" */

struct range_call {
    struct core_range range;
    struct call_source source;
    struct call *call;
    struct services *services;
    const Etcdserverpb__RangeRequest *request;
    struct core_request barrier; /* of a get */
    uint8_t head[RANGE_EDGE_MAX], tail[RANGE_EDGE_MAX];
    size_t head_len, tail_len, head_sent, tail_sent;
    bool kvs_done;
};

size_t range_head_encode(const struct core *core, int64_t revision, uint8_t *out)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, false);
    header.revision = revision;
    out[0] = 0x0a; /* field 1, a message; shorter than 128 bytes */
    out[1] = (uint8_t)etcdserverpb__response_header__pack(&header, out + 2);
    return 2 + (size_t)out[1];
}

size_t range_tail_encode(const struct kv_range *range, uint8_t *out)
{
    size_t n = 0;
    if (range->more) {
        out[n++] = 0x18; /* field 3, bool */
        out[n++] = 1;
    }
    if (range->count != 0) {
        out[n++] = 0x20; /* field 4, int64 */
        n += varint_put(out + n, (uint64_t)range->count);
    }
    return n;
}

/* --- large answers --- */

static size_t take(uint8_t *out, size_t cap, const uint8_t *edge, size_t len, size_t *sent)
{
    size_t n = len - *sent < cap ? len - *sent : cap;
    memcpy(out, edge + *sent, n);
    *sent += n;
    return n;
}

static ssize_t source_read(struct call_source *source, uint8_t *out, size_t cap)
{
    struct range_call *range = container_of(source, struct range_call, source);
    size_t n = take(out, cap, range->head, range->head_len, &range->head_sent);
    while (n < cap && !range->kvs_done) {
        size_t got = 0;
        int progress = kv_range_read(&range->range.range, out + n, cap - n, &got);
        CHECK(progress >= 0, "a row of the store is damaged");
        n += got;
        range->kvs_done = progress == KV_DONE;
    }
    if (range->kvs_done) {
        n += take(out + n, cap - n, range->tail, range->tail_len, &range->tail_sent);
    }
    return (ssize_t)n;
}

static void source_end(struct call_source *source)
{
    kv_range_end(&container_of(source, struct range_call, source)->range.range);
}

/* --- small ones --- */

static void reply_whole(struct range_call *range, size_t length)
{
    uint8_t *out = arena_alloc(&range->call->arena, length + 1);
    size_t n = 0;
    while (n < length) {
        n += (size_t)source_read(&range->source, out + n, length - n);
    }
    kv_range_end(&range->range.range);
    call_reply_encoded(range->call, bytes_of(out, length), false);
}

static void resolved(struct core_range *core_range, int error)
{
    struct range_call *range = core_range->owner;
    if (error != 0) {
        call_fail(range->call, error);
        return;
    }
    struct kv_range *kv_range = &range->range.range;
    range->head_len = range_head_encode(range->services->core, kv_range->header_revision, range->head);
    range->tail_len = range_tail_encode(kv_range, range->tail);
    range->kvs_done = kv_range->kvs_bytes == 0;
    uint64_t length = range->head_len + kv_range->kvs_bytes + range->tail_len;
    if (length > MAX_SEND_BYTES) {
        kv_range_end(kv_range);
        call_fail_text(range->call, GRPC_RESOURCE_EXHAUSTED, "trying to send message larger than max (%llu vs. %llu)",
                       (unsigned long long)length, (unsigned long long)MAX_SEND_BYTES);
    } else if (length <= BUILD_WHOLE_BYTES) {
        reply_whole(range, (size_t)length);
    } else {
        call_reply_stream(range->call, length, &range->source);
    }
}

static void range_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct range_call *range = call->state;
    core_cancel(range->services->core, &range->barrier);
    core_range_cancel(&range->range);
}

/* --- a get --- */

static bool get(struct range_call *range)
{
    Etcdserverpb__RangeResponse *response;
    int error = 0;
    if (!kv_get(core_kv(range->services->core), range->request, &range->call->arena, &response, &error)) {
        return false;
    }
    if (error != 0) {
        call_fail(range->call, error);
    } else {
        core_header(range->services->core, response->header, false);
        call_reply(range->call, &response->base);
    }
    return true;
}

static void start(struct range_call *range)
{
    int error = core_range(range->services->core, &range->range, range->request);
    if (error != 0) {
        call_fail(range->call, error);
    }
}

static void get_allowed(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct range_call *range = barrier->owner;
    if (error != 0) {
        call_fail(range->call, error);
    } else if (!get(range)) {
        start(range);
    }
}

void service_range(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = range_cancelled};
    struct services *services = service;
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)message;
    int error = services_refuse_learner(services, request) ? ERR_NOT_SUPPORTED_FOR_LEARNER : kv_check_range(request);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    struct range_call *range = arena_zalloc(&call->arena, sizeof *range);
    range->call = call;
    range->services = services;
    range->request = request;
    range->range.done = resolved;
    range->range.owner = range;
    range->source = (struct call_source){.read = source_read, .end = source_end};
    call->state = range;
    call->handler = &handler;
    if (request->range_end.len > 0) {
        start(range);
        return;
    }
    if (request->serializable) {
        if (!get(range)) {
            start(range);
        }
        return;
    }
    range->barrier = (struct core_request){.done = get_allowed, .owner = range};
    error = core_barrier(services->core, &range->barrier);
    if (error != 0) {
        call_fail(call, error);
    }
}
