/* etcdserverpb.KV: ranges are in service_range.c and service_range_stream.c. */
#include "grpc/long_reply.h"
#include "grpc/service_range.h"

#include "kv/raft_internal.pb-c.h"

static void put(void *service, struct call *call, const ProtobufCMessage *message)
{
    const Etcdserverpb__PutRequest *request = (const Etcdserverpb__PutRequest *)message;
    int error = kv_check_put(request);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.put = (Etcdserverpb__PutRequest *)request;
    service_propose(service, call, &internal, NULL);
}

static void delete_range(void *service, struct call *call, const ProtobufCMessage *message)
{
    const Etcdserverpb__DeleteRangeRequest *request = (const Etcdserverpb__DeleteRangeRequest *)message;
    int error = kv_check_delete_range(request);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.delete_range = (Etcdserverpb__DeleteRangeRequest *)request;
    service_propose(service, call, &internal, NULL);
}

/* --- txn --- */

struct txn_call {
    struct core_txn_read read;
    struct call *call;
    struct services *services;
};

static void txn_read_done(struct core_txn_read *read, int error, Etcdserverpb__TxnResponse *response)
{
    struct txn_call *txn = read->owner;
    if (error != 0) {
        call_fail(txn->call, error);
    } else {
        long_reply(txn->services, txn->call, &response->base, NULL);
    }
}

static void txn_read_cancelled(struct call *call, int reason)
{
    (void)reason;
    core_txn_read_cancel(&((struct txn_call *)call->state)->read);
}

static void txn_read(struct services *services, struct call *call, const Etcdserverpb__TxnRequest *request)
{
    static const struct call_handler handler = {.on_cancel = txn_read_cancelled};
    struct txn_call *txn = arena_zalloc(&call->arena, sizeof *txn);
    txn->call = call;
    txn->services = services;
    txn->read.done = txn_read_done;
    txn->read.owner = txn;
    int error = core_txn_read(services->core, &txn->read, request, &call->arena);
    if (error != 0) {
        call_fail(call, error);
        return;
    }
    call->state = txn;
    call->handler = &handler;
}

static void txn(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct services *services = service;
    const Etcdserverpb__TxnRequest *request = (const Etcdserverpb__TxnRequest *)message;
    if (kv_txn_read_only(request)) {
        txn_read(services, call, request);
        return;
    }
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.txn = (Etcdserverpb__TxnRequest *)request;
    service_propose(services, call, &internal, NULL);
}

/* --- compaction --- */

struct compact_wait {
    struct core_request request;
    struct services *services;
    struct call *call;
    Etcdserverpb__CompactionResponse response;
    Etcdserverpb__ResponseHeader header;
};

static void compacted(struct core_request *request, int error, ProtobufCMessage *none)
{
    (void)none;
    struct compact_wait *wait = request->owner;
    if (error != 0) {
        call_fail(wait->call, error);
    } else {
        call_reply(wait->call, &wait->response.base);
    }
}

static void compact_cancelled(struct call *call, int reason)
{
    (void)reason;
    struct compact_wait *wait = call->state;
    core_cancel(wait->services->core, &wait->request);
}

/* physical: the answer waits until the deletes are in the store (mvcc.md "Compaction"). */
static void wait_physical(struct service_write *write, ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = compact_cancelled};
    const Etcdserverpb__CompactionResponse *response = (const Etcdserverpb__CompactionResponse *)message;
    struct compact_wait *wait = arena_zalloc(&write->call->arena, sizeof *wait);
    wait->services = write->services;
    wait->call = write->call;
    wait->request.done = compacted;
    wait->request.owner = wait;
    etcdserverpb__compaction_response__init(&wait->response);
    wait->header = *response->header;
    wait->response.header = &wait->header;
    write->call->state = wait;
    write->call->handler = &handler;
    core_wait_compacted(wait->services->core, &wait->request, kv_compact_revision(core_kv(wait->services->core)));
}

static void compact(void *service, struct call *call, const ProtobufCMessage *message)
{
    const Etcdserverpb__CompactionRequest *request = (const Etcdserverpb__CompactionRequest *)message;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.compaction = (Etcdserverpb__CompactionRequest *)request;
    service_propose(service, call, &internal, request->physical ? wait_physical : NULL);
}

static const struct call_route routes[] = {
    {"/etcdserverpb.KV/Range", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_response__descriptor, service_range, NULL},
    {"/etcdserverpb.KV/RangeStream", CALL_SERVER_STREAM, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_stream_response__descriptor, service_range_stream, NULL},
    {"/etcdserverpb.KV/Put", CALL_UNARY, CALL_NORMAL, &etcdserverpb__put_request__descriptor,
     &etcdserverpb__put_response__descriptor, put, NULL},
    {"/etcdserverpb.KV/DeleteRange", CALL_UNARY, CALL_NORMAL, &etcdserverpb__delete_range_request__descriptor,
     &etcdserverpb__delete_range_response__descriptor, delete_range, NULL},
    {"/etcdserverpb.KV/Txn", CALL_UNARY, CALL_NORMAL, &etcdserverpb__txn_request__descriptor,
     &etcdserverpb__txn_response__descriptor, txn, NULL},
    {"/etcdserverpb.KV/Compact", CALL_UNARY, CALL_CONTROL, &etcdserverpb__compaction_request__descriptor,
     &etcdserverpb__compaction_response__descriptor, compact, NULL},
};

void service_kv(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
