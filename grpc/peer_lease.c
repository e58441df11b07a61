/* POST /leases and /leases/internal: a follower passes a keepalive, or a question for the time to live, on to the
 * leader, who alone has the lease clock (mvcc.md "Leases"). */
#include "grpc/peer_pages.h"

#include "base/error.h"
#include "base/pb.h"
#include "kv/lease.pb-c.h"
#include "kv/lease_query.h"

static void respond(struct http1_request *request, const ProtobufCMessage *response)
{
    http1_respond(request, 200, "application/protobuf", pb_pack(response, &request->arena));
}

static void not_found(struct http1_request *request)
{
    http1_error(request, 404, "lease not found");
}

static void too_late(struct http1_request *request)
{
    http1_error(request, 408, "waiting for node to catch up its applied index has timed out");
}

/* The request's message; NULL: it was refused. */
static const ProtobufCMessage *read_body(struct http1_request *request, const ProtobufCMessageDescriptor *type)
{
    if (request->body.len > PEER_LEASES_BODY_BYTES) {
        http1_last(request);
        http1_error(request, 413, "request body too large");
        return NULL;
    }
    const ProtobufCMessage *message = pb_unpack(type, request->body, &request->arena, NULL);
    if (message == NULL) {
        http1_error(request, 400, "error unmarshalling request");
    }
    return message;
}

/* --- keepalive: as one of this member's own clients would have it --- */

struct renew_page {
    struct core_lease_call lease;
    struct http1_request *request;
};

static void renewed(struct core_lease_call *lease, int error)
{
    struct http1_request *request = ((struct renew_page *)lease->owner)->request;
    if (error == ERR_LEASE_NOT_FOUND) {
        not_found(request);
    } else if (error == ERR_NOT_PRIMARY) {
        http1_error(request, 400, error_text(ERR_NOT_PRIMARY));
    } else if (error != 0) {
        too_late(request);
    } else {
        Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
        response.id = lease->id;
        response.ttl = lease->ttl_s;
        respond(request, &response.base);
    }
}

static void renew_aborted(struct http1_request *request)
{
    core_lease_cancel(&((struct renew_page *)request->state)->lease);
}

void peer_lease_renew(struct core *core, struct http1_request *request)
{
    const Etcdserverpb__LeaseKeepAliveRequest *message = (const Etcdserverpb__LeaseKeepAliveRequest *)read_body(
        request, &etcdserverpb__lease_keep_alive_request__descriptor);
    if (message == NULL) {
        return;
    }
    struct renew_page *page = arena_zalloc(&request->arena, sizeof *page);
    page->request = request;
    page->lease = (struct core_lease_call){.done = renewed, .owner = page, .id = message->id, .arena = &request->arena};
    request->state = page;
    request->on_abort = renew_aborted;
    if (core_lease_renew_passed_on(core, &page->lease) != 0) {
        too_late(request);
    }
}

/* --- time to live --- */

struct lease_page {
    struct core_request barrier;
    struct core *core;
    struct http1_request *request;
    const ProtobufCMessage *message;
};

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

/* All is applied that was committed before. */
static void caught_up(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct lease_page *page = barrier->owner;
    if (error != 0) {
        too_late(page->request);
    } else {
        time_to_live(page);
    }
}

static void aborted(struct http1_request *request)
{
    struct lease_page *page = request->state;
    core_cancel(page->core, &page->barrier);
}

void peer_lease_time_to_live(struct core *core, struct http1_request *request)
{
    const ProtobufCMessage *message = read_body(request, &leasepb__lease_internal_request__descriptor);
    if (message == NULL) {
        return;
    }
    struct lease_page *page = arena_zalloc(&request->arena, sizeof *page);
    *page = (struct lease_page){.core = core, .request = request, .message = message};
    page->barrier.done = caught_up;
    page->barrier.owner = page;
    request->state = page;
    request->on_abort = aborted;
    int error = core_barrier(core, &page->barrier);
    if (error != 0) {
        caught_up(&page->barrier, error, NULL);
    }
}
