/* v3lockpb.Lock: a lock is a contest (grpc/contest.h) whose keys have no value. */
#include "grpc/contest.h"
#include "grpc/v3lock.pb-c.h"

#define SESSION_EXPIRED "mutex: session is expired"

static void reply(struct contest *c, Etcdserverpb__ResponseHeader *header)
{
    V3lockpb__LockResponse response = V3LOCKPB__LOCK_RESPONSE__INIT;
    response.header = header;
    response.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)c->key.data, .len = c->key.len};
    contest_reply(c, &response.base);
}

/* It is the own key's turn, if that is still there. */
static void checked(struct contest *c, const ProtobufCMessage *response)
{
    if (contest_found(response, 0) == NULL) {
        contest_fail_text(c, SESSION_EXPIRED);
    } else {
        reply(c, contest_header(response));
    }
}

static void waited(struct contest *c)
{
    contest_read(c, contest_get(c, c->key), checked);
}

/* The second operation of either branch finds the holder. */
static void entered(struct contest *c, const ProtobufCMessage *response)
{
    const Mvccpb__KeyValue *own = contest_found(response, 0), *holder = contest_found(response, 1);
    c->revision = own == NULL ? contest_header(response)->revision : own->create_revision;
    if (holder == NULL || holder->create_revision == c->revision) {
        reply(c, contest_header(response));
    } else {
        contest_wait(c, waited);
    }
}

static void enter(struct contest *c)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    contest_name_key(c);
    Etcdserverpb__Compare *absent = contest_created_at(c, c->key, 0);
    Etcdserverpb__RequestOp *success[] = {contest_put(c, c->key, (struct bytes){0}), contest_oldest(c)};
    Etcdserverpb__RequestOp *failure[] = {contest_get(c, c->key), contest_oldest(c)};
    txn.compare = &absent;
    txn.n_compare = 1;
    txn.success = success;
    txn.failure = failure;
    txn.n_success = txn.n_failure = 2;
    contest_txn(c, &txn, entered);
}

static void lock(void *service, struct call *call, const ProtobufCMessage *message)
{
    const V3lockpb__LockRequest *request = (const V3lockpb__LockRequest *)message;
    contest_session(contest_new(service, call, request->name), request->lease, enter);
}

static void unlocked(struct contest *c, const ProtobufCMessage *message)
{
    V3lockpb__UnlockResponse response = V3LOCKPB__UNLOCK_RESPONSE__INIT;
    response.header = ((const Etcdserverpb__DeleteRangeResponse *)message)->header;
    contest_reply(c, &response.base);
}

static void unlock(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const ProtobufCBinaryData no_name = {0};
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = ((const V3lockpb__UnlockRequest *)message)->key;
    contest_delete(contest_new(service, call, no_name), &del, unlocked);
}

static const struct call_route routes[] = {
    {"/v3lockpb.Lock/Lock", CALL_UNARY, CALL_NORMAL, &v3lockpb__lock_request__descriptor,
     &v3lockpb__lock_response__descriptor, lock, NULL},
    {"/v3lockpb.Lock/Unlock", CALL_UNARY, CALL_NORMAL, &v3lockpb__unlock_request__descriptor,
     &v3lockpb__unlock_response__descriptor, unlock, NULL},
};

void service_lock(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
