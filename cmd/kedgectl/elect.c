/* elect: stands in an election and leads until it is interrupted; -l: tells who leads. */
#include "cmd/kedgectl/hold.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/verbs.h"

/* --- standing --- */

/* A lease that is new has no key of its own yet. */
static const char *enter(struct hold *h, const char *proposal)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;
    Etcdserverpb__Compare absent, *compare = &absent;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest own;
    Etcdserverpb__RequestOp success = ETCDSERVERPB__REQUEST_OP__INIT, failure = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *then = &success, *otherwise = &failure;
    hold_compare(h, &absent, 0);
    hold_own(h, &own);
    put.key = session_bytes(h->key);
    put.value = session_bytes(proposal);
    put.lease = h->lease;
    success.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    success.request_put = &put;
    failure.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    failure.request_range = &own;
    txn.compare = &compare;
    txn.success = &then;
    txn.failure = &otherwise;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    const char *error = hold_txn(h, &txn, false, &response);
    if (error == NULL) {
        h->revision = response->header->revision;
    }
    return error;
}

/* The own key goes, if it is still the one that was put here. */
static const char *resign(struct hold *h)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;
    Etcdserverpb__Compare mine, *compare = &mine;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *then = &op;
    hold_compare(h, &mine, h->revision);
    del.key = session_bytes(h->key);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &del;
    txn.compare = &compare;
    txn.success = &then;
    txn.n_compare = txn.n_success = 1;
    return hold_txn(h, &txn, true, &response);
}

static int lead(struct hold *h)
{
    Etcdserverpb__RangeResponse *own;
    const char *error = hold_get_own(h, &own);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    return hold_keep(h, own, "elect: session expired", resign);
}

static int campaign(struct hold *h, const char *proposal)
{
    const char *error = enter(h, proposal);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    error = hold_wait_turn(h);
    if (error != NULL) {
        resign(h);
        return cli_fail(CLI_ERROR, "%s", error);
    }
    return lead(h);
}

/* --- observing --- */

static int64_t shown; /* mod revision of what was shown last */
static int show_status;

static void show(struct hold *h, const Etcdserverpb__ResponseHeader *header, const Mvccpb__KeyValue *kv)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue *pair = (Mvccpb__KeyValue *)(uintptr_t)kv;
    if (kv->mod_revision <= shown || show_status != 0) {
        return;
    }
    shown = kv->mod_revision;
    response.header = (Etcdserverpb__ResponseHeader *)(uintptr_t)header;
    response.kvs = &pair;
    response.n_kvs = 1;
    show_status = printer_get(&h->session->printer, &response);
    printer_flush(&h->session->printer);
}

/* Of the leader's key: its values, until it is deleted. */
static void on_leader(struct hold *h, const Etcdserverpb__WatchResponse *response)
{
    h->changed |= response->canceled != 0;
    for (size_t i = 0; i < response->n_events && !h->changed; i++) {
        if (response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            h->changed = true;
        } else {
            show(h, response->header, response->events[i]->kv);
        }
    }
}

/* Of all keys while nobody leads. */
static void on_anybody(struct hold *h, const Etcdserverpb__WatchResponse *response)
{
    (void)response;
    h->changed = true;
}

static void follow(struct hold *h, const Etcdserverpb__RangeResponse *found)
{
    int64_t from = found->header->revision + 1;
    if (found->n_kvs > 0) {
        show(h, found->header, found->kvs[0]);
        hold_watch(h, found->kvs[0]->key, NULL, from, on_leader);
    } else {
        ProtobufCBinaryData prefix = session_bytes(h->prefix);
        ProtobufCBinaryData end = ops_prefix_end(&h->session->call->arena, prefix);
        hold_watch(h, prefix, &end, from, on_anybody);
    }
    while (!h->changed && !hold_interrupted() && show_status == 0) {
        hold_step(h);
    }
    hold_unwatch(h);
}

static int observe(struct hold *h)
{
    while (!hold_interrupted() && show_status == 0) {
        Etcdserverpb__RangeRequest request;
        Etcdserverpb__RangeResponse *found;
        hold_oldest(h, &request);
        const char *error = hold_get(h, &request, &found);
        if (error == NULL) {
            follow(h, found);
        } else if (!hold_interrupted()) {
            return cli_fail(CLI_ERROR, "elect: observer lost");
        }
    }
    return show_status;
}

/* --- the command --- */

static int check_args(const struct cli_call *call)
{
    bool listen = cli_bool(call, "listen");
    if (call->arg_count != 1 && call->arg_count != 2) {
        return cli_fail(CLI_BAD_ARGS, "elect takes one election name argument and an optional proposal argument");
    }
    if (call->arg_count == 1 && !listen) {
        return cli_fail(CLI_BAD_ARGS, "no proposal argument but -l not set");
    }
    if (call->arg_count == 2 && listen) {
        return cli_fail(CLI_BAD_ARGS, "proposal given but -l is set");
    }
    return 0;
}

int verb_elect(struct cli_call *call)
{
    struct session s;
    struct hold h;
    int status = check_args(call);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    const char *error = hold_open(&h, &s, call->args[0], 0);
    if (error != NULL) {
        status = cli_fail(CLI_ERROR, "%s", error);
    } else {
        status = call->arg_count == 1 ? observe(&h) : campaign(&h, call->args[1]);
    }
    hold_close(&h);
    return session_end(&s, status);
}
