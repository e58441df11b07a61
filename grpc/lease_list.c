/* A long answer goes through these: the question in slices (kv/lease_query.h), the length of what was found in slices,
 * then the bytes as the client takes them; and at last what was copied is freed in slices, when the call is over. */
#include "grpc/lease_list.h"

#include "base/check.h"
#include "base/pb.h"
#include "kv/lease_query.h"
#include <stdlib.h>

#define SLICE ((size_t)2000)
#define BUILD_WHOLE_BYTES ((size_t)64 * 1024)
#define PREFIX_MAX 24

struct lease_answer {
    struct service_task task;
    struct call_source source;
    struct services *services;
    struct call *call; /* NULL: over, only to be freed */
    struct lease_query *query;
    bool keys;
    int64_t id, ttl_s, granted_ttl_s; /* whose keys */
    size_t count;
    uint64_t length; /* of the items, as far as they are measured */
    size_t measured;

    /* what goes out: the fields before the items, then items as prefix and content */
    struct bytes head;
    size_t next; /* item */
    uint8_t prefix_bytes[PREFIX_MAX];
    struct bytes prefix, content;
};

/* --- encoding --- */

/* Item i as it stands in the answer: tag, length and what follows. */
static size_t item(const struct lease_answer *a, size_t i, uint8_t prefix[PREFIX_MAX], struct bytes *content)
{
    size_t count, n = 0;
    *content = (struct bytes){0};
    if (a->keys) {
        *content = lease_query_found_keys(a->query, &count)[i];
        prefix[n++] = 0x2a; /* LeaseTimeToLiveResponse.keys = 5 */
        return n + varint_put(prefix + n, content->len);
    }
    uint64_t id = (uint64_t)lease_query_entries(a->query, &count)[i].id;
    prefix[n++] = 0x12; /* LeaseLeasesResponse.leases = 2 */
    prefix[n++] = (uint8_t)(1 + varint_size(id));
    prefix[n++] = 0x08; /* LeaseStatus.ID = 1 */
    return n + varint_put(prefix + n, id);
}

static struct bytes encode_head(const struct lease_answer *a)
{
    struct core *core = a->services->core;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    core_header(core, &header, true);
    if (!a->keys) {
        Etcdserverpb__LeaseLeasesResponse response = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
        response.header = &header;
        return pb_pack(&response.base, &a->call->arena);
    }
    Etcdserverpb__LeaseTimeToLiveResponse response = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    response.header = &header;
    response.id = a->id;
    response.ttl = a->ttl_s;
    response.grantedttl = a->granted_ttl_s;
    return pb_pack(&response.base, &a->call->arena);
}

static size_t take(struct bytes *from, uint8_t *out, size_t cap)
{
    size_t n = from->len < cap ? from->len : cap;
    if (n > 0) {
        memcpy(out, from->data, n);
        *from = bytes_of(from->data + n, from->len - n);
    }
    return n;
}

static ssize_t source_read(struct call_source *source, uint8_t *out, size_t cap)
{
    struct lease_answer *a = container_of(source, struct lease_answer, source);
    size_t n = take(&a->head, out, cap);
    while (n < cap) {
        if (a->prefix.len == 0 && a->content.len == 0) {
            if (a->next == a->count) {
                break;
            }
            a->prefix = bytes_of(a->prefix_bytes, item(a, a->next++, a->prefix_bytes, &a->content));
        }
        n += take(&a->prefix, out + n, cap - n);
        n += take(&a->content, out + n, cap - n);
    }
    return (ssize_t)n;
}

/* --- the end --- */

static void free_some(struct service_task *task)
{
    struct lease_answer *a = container_of(task, struct lease_answer, task);
    if (lease_query_free_some(a->query)) {
        service_task_remove(&a->task);
        free(a);
    }
}

static void over(struct lease_answer *a)
{
    a->call = NULL;
    a->task.run = free_some;
    service_task_remove(&a->task);
    service_task_add(a->services, &a->task);
    if (a->count <= SLICE) {
        free_some(&a->task);
    }
}

static void source_end(struct call_source *source)
{
    over(container_of(source, struct lease_answer, source));
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    over(call->state);
}

/* --- the way to an answer --- */

static void reply(struct lease_answer *a)
{
    struct call *call = a->call;
    a->head = encode_head(a);
    uint64_t length = a->head.len + a->length;
    service_task_remove(&a->task);
    if (length > INT32_MAX) {
        over(a);
        call_fail_text(call, GRPC_RESOURCE_EXHAUSTED, "trying to send message larger than max (%llu vs. %d)",
                       (unsigned long long)length, INT32_MAX);
    } else if (length > BUILD_WHOLE_BYTES) {
        call_reply_stream(call, length, &a->source);
    } else {
        uint8_t *out = arena_alloc(&call->arena, (size_t)length + PREFIX_MAX);
        size_t n = (size_t)source_read(&a->source, out, (size_t)length + PREFIX_MAX);
        CHECK(n == length);
        over(a);
        call_reply_encoded(call, bytes_of(out, n), false);
    }
}

static struct lease_query *begin(const struct lease_answer *a)
{
    struct lease_table *table = kv_leases(core_kv(a->services->core));
    return a->keys ? lease_query_keys(table, a->id) : lease_query_leases(table);
}

static bool measure(struct lease_answer *a, size_t budget)
{
    uint8_t prefix[PREFIX_MAX];
    struct bytes content;
    for (; a->measured < a->count && budget > 0; a->measured++, budget--) {
        a->length += item(a, a->measured, prefix, &content);
        a->length += content.len;
    }
    return a->measured == a->count;
}

static void proceed(struct service_task *task)
{
    struct lease_answer *a = container_of(task, struct lease_answer, task);
    if (lease_query_lost(a->query)) {
        lease_query_free(a->query);
        a->query = begin(a);
    }
    if (a->measured == 0 && !lease_query_step(a->query, SLICE)) {
        return;
    }
    if (a->keys) {
        lease_query_found_keys(a->query, &a->count);
    } else {
        lease_query_entries(a->query, &a->count);
    }
    if (measure(a, SLICE)) {
        reply(a);
    }
}

static struct lease_answer *answer_new(struct services *services, struct call *call)
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    struct lease_answer *a = mem_zalloc(sizeof *a);
    a->task.run = proceed;
    a->source = (struct call_source){.read = source_read, .end = source_end};
    a->services = services;
    a->call = call;
    call->state = a;
    call->handler = &handler;
    return a;
}

static void start(struct lease_answer *a)
{
    a->query = begin(a);
    service_task_add(a->services, &a->task);
    proceed(&a->task);
}

void lease_list_leases(struct services *services, struct call *call)
{
    start(answer_new(services, call));
}

void lease_list_keys(struct services *services, struct call *call, int64_t id, int64_t ttl_s, int64_t granted_ttl_s)
{
    struct lease_answer *a = answer_new(services, call);
    a->keys = true;
    a->id = id;
    a->ttl_s = ttl_s;
    a->granted_ttl_s = granted_ttl_s;
    start(a);
}
