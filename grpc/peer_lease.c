/* POST /leases and /leases/internal: a follower passes a keepalive, or a question for the time to live, on to the
 * leader, who alone has the lease clock (mvcc.md "Leases"). */
#include "grpc/peer_pages.h"

#include "base/error.h"
#include "base/pb.h"
#include "kv/lease.pb-c.h"
#include "kv/lease_query.h"

struct lease_page {
    struct core_request barrier;
    struct lease_waiter waiter;
    struct core *core;
    struct http1_request *request;
    const ProtobufCMessage *message;
    void (*answer)(struct lease_page *page);
};

static void respond(struct http1_request *request, const ProtobufCMessage *response)
{
    http1_respond(request, 200, "application/protobuf", pb_pack(response, &request->arena));
}

static void not_found(struct http1_request *request)
{
    http1_error(request, 404, "lease not found");
}

/* --- asking: both wait until all is applied that was committed before --- */

static void caught_up(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct lease_page *page = barrier->owner;
    if (error != 0) {
        http1_error(page->request, 408, "waiting for node to catch up its applied index has timed out");
    } else {
        page->answer(page);
    }
}

static void aborted(struct http1_request *request)
{
    struct lease_page *page = request->state;
    core_cancel(page->core, &page->barrier);
    lease_unwait(&page->waiter);
}

static void ask(struct core *core, struct http1_request *request, const ProtobufCMessageDescriptor *type,
                void (*answer)(struct lease_page *page))
{
    if (request->body.len > PEER_LEASES_BODY_BYTES) {
        http1_last(request);
        http1_error(request, 413, "request body too large");
        return;
    }
    const ProtobufCMessage *message = pb_unpack(type, request->body, &request->arena, NULL);
    if (message == NULL) {
        http1_error(request, 400, "error unmarshalling request");
        return;
    }
    struct lease_page *page = arena_zalloc(&request->arena, sizeof *page);
    *page = (struct lease_page){.core = core, .request = request, .message = message, .answer = answer};
    page->barrier.done = caught_up;
    page->barrier.owner = page;
    list_init(&page->waiter.node);
    request->state = page;
    request->on_abort = aborted;
    int error = core_barrier(core, &page->barrier);
    if (error != 0) {
        caught_up(&page->barrier, error, NULL);
    }
}

/* --- keepalive --- */

static void renew_failed(struct http1_request *request, int error)
{
    if (error == ERR_LEASE_NOT_FOUND) {
        not_found(request);
    } else {
        http1_error(request, 400, error_text(ERR_NOT_PRIMARY));
    }
}

/* An expired lease that is not revoked yet: the answer waits for what becomes of it. */
static void decided(struct lease_waiter *waiter, int error)
{
    renew_failed(container_of(waiter, struct lease_page, waiter)->request, error);
}

static void renew(struct lease_page *page)
{
    struct lease_table *table = kv_leases(core_kv(page->core));
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.id = ((const Etcdserverpb__LeaseKeepAliveRequest *)page->message)->id;
    int error = lease_renew(table, response.id, core_now_ms(page->core), &response.ttl, NULL);
    if (error == 0) {
        respond(page->request, &response.base);
        return;
    }
    if (error == ERR_AGAIN) {
        page->waiter.done = decided;
        error = lease_wait(table, response.id, &page->waiter);
    }
    if (error != 0) {
        renew_failed(page->request, error);
    }
}

void peer_lease_renew(struct core *core, struct http1_request *request)
{
    ask(core, request, &etcdserverpb__lease_keep_alive_request__descriptor, renew);
}

/* --- time to live --- */

static void add_keys(struct lease_table *table, struct arena *arena, Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    struct lease_query *query = lease_query_keys(table, response->id);
    while (!lease_query_step(query, SIZE_MAX)) {
    }
    const struct bytes *keys = lease_query_found_keys(query, &response->n_keys);
    response->keys = arena_alloc(arena, (response->n_keys + 1) * sizeof *response->keys);
    for (size_t i = 0; i < response->n_keys; i++) {
        struct bytes key = arena_copy(arena, keys[i]);
        response->keys[i] = (ProtobufCBinaryData){.len = key.len, .data = (uint8_t *)key.data};
    }
    lease_query_free(query);
}

static void time_to_live(struct lease_page *page)
{
    struct lease_table *table = kv_leases(core_kv(page->core));
    struct arena *arena = &page->request->arena;
    const Etcdserverpb__LeaseTimeToLiveRequest *request =
        ((const Leasepb__LeaseInternalRequest *)page->message)->leasetimetoliverequest;
    struct lease_info info;
    if (request == NULL || lease_info(table, request->id, core_now_ms(page->core), &info) != 0) {
        not_found(page->request);
        return;
    }
    if (!lease_is_primary(table)) {
        http1_error(page->request, 500, error_text(ERR_NOT_PRIMARY));
        return;
    }
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT; /* the asker fills it */
    Etcdserverpb__LeaseTimeToLiveResponse response = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    Leasepb__LeaseInternalResponse wrapped = LEASEPB__LEASE_INTERNAL_RESPONSE__INIT;
    wrapped.leasetimetoliveresponse = &response;
    response.header = &header;
    response.id = info.id;
    response.ttl = info.ttl_s;
    response.grantedttl = info.granted_ttl_s;
    if (request->keys) {
        add_keys(table, arena, &response);
    }
    respond(page->request, &wrapped.base);
}

void peer_lease_time_to_live(struct core *core, struct http1_request *request)
{
    ask(core, request, &leasepb__lease_internal_request__descriptor, time_to_live);
}
