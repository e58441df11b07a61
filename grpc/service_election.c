/* v3electionpb.Election: an election is a contest (grpc/contest.h) whose keys have a value, the contender's proposal.
 */
#include "grpc/contest.h"
#include "grpc/v3election.pb-c.h"

#define OBSERVE_CLOSED "election: observe closed early"

static struct bytes view(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* --- what only who leads may do: a txn on condition that its key is still the one it was elected by --- */

static void lead(struct contest *c, Etcdserverpb__RequestOp *op, contest_step *then)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare *compare = contest_created_at(c, c->key, c->revision);
    txn.compare = &compare;
    txn.success = &op;
    txn.n_compare = txn.n_success = 1;
    contest_txn(c, &txn, then);
}

/* --- Campaign --- */

static void elected(struct contest *c)
{
    const V3electionpb__CampaignRequest *request = c->owner;
    V3electionpb__CampaignResponse response = V3ELECTIONPB__CAMPAIGN_RESPONSE__INIT;
    V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;
    response.header = &c->header;
    response.leader = &leader;
    leader.name = request->name;
    leader.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)c->key.data, .len = c->key.len};
    leader.rev = c->revision;
    leader.lease = c->lease;
    contest_reply(c, &response.base);
}

/* This session had stood with another proposal. */
static void proposed_anew(struct contest *c, const ProtobufCMessage *response)
{
    if (contest_succeeded(response)) {
        contest_wait(c, elected);
    } else {
        contest_fail(c, ERR_ELECTION_NOT_LEADER);
    }
}

static void entered(struct contest *c, const ProtobufCMessage *response)
{
    const V3electionpb__CampaignRequest *request = c->owner;
    const Mvccpb__KeyValue *own = contest_found(response, 0);
    c->header = *contest_header(response);
    c->revision = own == NULL ? c->header.revision : own->create_revision;
    if (own != NULL && !bytes_equal(view(own->value), view(request->value))) {
        c->placed = true;
        lead(c, contest_put(c, c->key, view(request->value)), proposed_anew);
    } else {
        contest_wait(c, elected);
    }
}

static void stand(struct contest *c)
{
    const V3electionpb__CampaignRequest *request = c->owner;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    contest_name_key(c);
    Etcdserverpb__Compare *absent = contest_created_at(c, c->key, 0);
    Etcdserverpb__RequestOp *success = contest_put(c, c->key, view(request->value)), *failure = contest_get(c, c->key);
    txn.compare = &absent;
    txn.success = &success;
    txn.failure = &failure;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    contest_txn(c, &txn, entered);
}

static void campaign(void *service, struct call *call, const ProtobufCMessage *message)
{
    const V3electionpb__CampaignRequest *request = (const V3electionpb__CampaignRequest *)message;
    struct contest *c = contest_new(service, call, request->name);
    c->owner = (void *)(uintptr_t)request;
    contest_session(c, request->lease, stand);
}

/* --- Proclaim, Resign --- */

static void resume(struct services *services, struct call *call, const V3electionpb__LeaderKey *leader,
                   const ProtobufCMessage *request, contest_next *next)
{
    if (leader == NULL) {
        call_fail(call, ERR_MISSING_LEADER_KEY);
        return;
    }
    struct contest *c = contest_new(services, call, leader->name);
    c->key = view(leader->key);
    c->revision = leader->rev;
    c->owner = (void *)(uintptr_t)request;
    contest_session(c, leader->lease, next);
}

static void proclaimed(struct contest *c, const ProtobufCMessage *response)
{
    if (!contest_succeeded(response)) {
        contest_fail(c, ERR_ELECTION_NOT_LEADER);
        return;
    }
    V3electionpb__ProclaimResponse answer = V3ELECTIONPB__PROCLAIM_RESPONSE__INIT;
    answer.header = contest_header(response);
    contest_reply(c, &answer.base);
}

static void put_value(struct contest *c)
{
    const V3electionpb__ProclaimRequest *request = c->owner;
    lead(c, contest_put(c, c->key, view(request->value)), proclaimed);
}

static void proclaim(void *service, struct call *call, const ProtobufCMessage *message)
{
    resume(service, call, ((const V3electionpb__ProclaimRequest *)message)->leader, message, put_value);
}

static void resigned(struct contest *c, const ProtobufCMessage *response)
{
    V3electionpb__ResignResponse answer = V3ELECTIONPB__RESIGN_RESPONSE__INIT;
    answer.header = contest_header(response);
    contest_reply(c, &answer.base);
}

static void delete_key(struct contest *c)
{
    lead(c, contest_delete_op(c, c->key), resigned);
}

static void resign(void *service, struct call *call, const ProtobufCMessage *message)
{
    resume(service, call, ((const V3electionpb__ResignRequest *)message)->leader, message, delete_key);
}

/* --- Leader --- */

static void answer_leader(struct contest *c, const ProtobufCMessage *response)
{
    V3electionpb__LeaderResponse answer = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    const Mvccpb__KeyValue *kv = contest_found(response, 0);
    if (kv == NULL) {
        contest_fail(c, ERR_ELECTION_NO_LEADER);
        return;
    }
    answer.header = contest_header(response);
    answer.kv = (Mvccpb__KeyValue *)(uintptr_t)kv;
    contest_reply(c, &answer.base);
}

static void leader(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct contest *c = contest_new(service, call, ((const V3electionpb__LeaderRequest *)message)->name);
    contest_read(c, contest_oldest(c), answer_leader);
}

/* --- Observe: the leader's key is followed until it is deleted, then the next one is looked for --- */

static void find_leader(struct contest *c);

static void tell(struct contest *c, const Etcdserverpb__ResponseHeader *header, const Mvccpb__KeyValue *kv)
{
    V3electionpb__LeaderResponse answer = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    answer.header = (Etcdserverpb__ResponseHeader *)(uintptr_t)header;
    answer.kv = (Mvccpb__KeyValue *)(uintptr_t)kv;
    call_send_message(c->call, &answer.base);
    local_watch_hold(&c->watch, !call_writable(c->call));
}

static void follow(struct contest *c, ProtobufCBinaryData key, int64_t from);

/* A response about the leader's key. */
static void followed(struct local_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    struct contest *c = container_of(watch, struct contest, watch);
    if (response->canceled) {
        contest_fail_text(c, OBSERVE_CLOSED);
        return;
    }
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            local_watch_close(watch);
            find_leader(c);
            return;
        }
        tell(c, response->header, event->kv);
    }
}

/* Nobody led: the first key put under the prefix. */
static void appeared(struct local_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    struct contest *c = container_of(watch, struct contest, watch);
    if (response->canceled) {
        contest_fail_text(c, OBSERVE_CLOSED);
        return;
    }
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__KeyValue *kv = response->events[i]->kv;
        if (response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__PUT) {
            Etcdserverpb__ResponseHeader header = *response->header;
            header.revision = kv->mod_revision;
            local_watch_close(watch);
            tell(c, &header, kv);
            follow(c, kv->key, header.revision + 1);
            return;
        }
    }
}

static void follow(struct contest *c, ProtobufCBinaryData key, int64_t from)
{
    const struct watch_request request = {.key = view(key), .start_revision = from};
    contest_watch(c, &request, followed);
}

static void found(struct contest *c, const ProtobufCMessage *response)
{
    const Mvccpb__KeyValue *kv = contest_found(response, 0);
    const Etcdserverpb__ResponseHeader *header = contest_header(response);
    if (kv != NULL) {
        tell(c, header, kv);
        follow(c, kv->key, header->revision + 1);
        return;
    }
    struct watch_request request = {.key = c->prefix, .start_revision = header->revision};
    request.range_end = contest_prefix_end(c);
    contest_watch(c, &request, appeared);
}

static void find_leader(struct contest *c)
{
    contest_clear(c);
    contest_read(c, contest_oldest(c), found);
}

static void has_room(struct call *call)
{
    struct contest *c = call->state;
    local_watch_hold(&c->watch, false);
}

static void observe(void *service, struct call *call, const ProtobufCMessage *message)
{
    struct contest *c = contest_new(service, call, ((const V3electionpb__LeaderRequest *)message)->name);
    c->on_writable = has_room;
    find_leader(c);
}

static const struct call_route routes[] = {
    {"/v3electionpb.Election/Campaign", CALL_UNARY, CALL_NORMAL, &v3electionpb__campaign_request__descriptor,
     &v3electionpb__campaign_response__descriptor, campaign, NULL},
    {"/v3electionpb.Election/Proclaim", CALL_UNARY, CALL_NORMAL, &v3electionpb__proclaim_request__descriptor,
     &v3electionpb__proclaim_response__descriptor, proclaim, NULL},
    {"/v3electionpb.Election/Leader", CALL_UNARY, CALL_NORMAL, &v3electionpb__leader_request__descriptor,
     &v3electionpb__leader_response__descriptor, leader, NULL},
    {"/v3electionpb.Election/Observe", CALL_SERVER_STREAM, CALL_NORMAL, &v3electionpb__leader_request__descriptor,
     &v3electionpb__leader_response__descriptor, observe, NULL},
    {"/v3electionpb.Election/Resign", CALL_UNARY, CALL_NORMAL, &v3electionpb__resign_request__descriptor,
     &v3electionpb__resign_response__descriptor, resign, NULL},
};

void service_election(struct services *services, struct server *server)
{
    server_route(server, routes, sizeof routes / sizeof routes[0], services);
}
