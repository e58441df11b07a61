#include "cmd/kedgectl/hold.h"
#include "base/pb.h"
#include "cmd/kedgectl/ops.h"
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#define DEFAULT_TTL_S 60
#define REOPEN_MS 500
#define RETRY_MS 25
#define RETRY_ATTEMPTS 100

/* --- signals --- */

static volatile sig_atomic_t interrupted;
static struct loop *signal_loop;

static void on_signal(int number)
{
    if (number != SIGCHLD) {
        interrupted = 1;
    }
    loop_wake(signal_loop); /* an atomic flag and a write */
}

static void take_signals(struct loop *loop)
{
    struct sigaction action = {.sa_handler = on_signal};
    signal_loop = loop;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
}

bool hold_interrupted(void)
{
    return interrupted != 0;
}

/* --- one request --- */

struct request {
    struct arena *arena;
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *response;
    enum grpc_code code;
    const char *text;
    bool done;
};

static void on_answer(struct client_call *call, struct bytes message)
{
    struct request *r = client_call_state(call);
    r->response = pb_unpack(r->type, message, r->arena, NULL);
}

static void on_answered(struct client_call *call, enum grpc_code code, const char *text)
{
    struct request *r = client_call_state(call);
    r->done = true;
    r->code = code == GRPC_OK && r->response == NULL ? GRPC_INTERNAL : code;
    r->text = arena_printf(r->arena, "%s", text);
}

static void send_once(struct hold *h, const struct session_call *what, bool undo, const ProtobufCMessage *message,
                      struct request *r)
{
    static const struct client_handler handler = {.on_message = on_answer, .on_end = on_answered};
    struct client_call_options options = {.timeout_ms = what->timeout_ms, .state = r};
    r->done = false;
    r->response = NULL;
    struct client_call *call = client_open(h->session->client, what->path, &handler, &options);
    client_send_message(call, message);
    client_half_close(call);
    while (!r->done) {
        if (!undo && interrupted) {
            client_cancel(call);
            return;
        }
        loop_step(h->loop, -1);
    }
}

static const char *ask(struct hold *h, const struct session_call *what, bool undo, const ProtobufCMessage *message,
                       const ProtobufCMessageDescriptor *type, ProtobufCMessage **response)
{
    struct request r = {.arena = &h->session->call->arena, .type = type};
    for (int attempt = 1;; attempt++) {
        send_once(h, what, undo, message, &r);
        if (r.code == GRPC_OK) {
            *response = r.response;
            return NULL;
        }
        if (!undo && interrupted) {
            return HOLD_INTERRUPTED;
        }
        if (r.code != GRPC_UNAVAILABLE || !what->repeatable || attempt >= RETRY_ATTEMPTS) {
            return session_error(r.arena, r.code, r.text, what->timeout_ms > 0);
        }
        usleep(RETRY_MS * 1000);
    }
}

const char *hold_txn(struct hold *h, const Etcdserverpb__TxnRequest *request, bool undo,
                     Etcdserverpb__TxnResponse **response)
{
    struct session_call what = {KV_TXN, false, undo ? h->session->timeout_ms : 0};
    return ask(h, &what, undo, &request->base, &etcdserverpb__txn_response__descriptor, (ProtobufCMessage **)response);
}

const char *hold_get(struct hold *h, const Etcdserverpb__RangeRequest *request, Etcdserverpb__RangeResponse **response)
{
    struct session_call what = {KV_RANGE, true, 0};
    return ask(h, &what, false, &request->base, &etcdserverpb__range_response__descriptor,
               (ProtobufCMessage **)response);
}

const char *hold_delete_key(struct hold *h)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    ProtobufCMessage *response;
    struct session_call what = {KV_DELETE_RANGE, false, h->session->timeout_ms};
    request.key = session_bytes(h->key);
    return ask(h, &what, true, &request.base, &etcdserverpb__delete_range_response__descriptor, &response);
}

const char *hold_get_own(struct hold *h, Etcdserverpb__RangeResponse **response)
{
    Etcdserverpb__RangeRequest request;
    hold_own(h, &request);
    return hold_get(h, &request, response);
}

/* --- the lease --- */

static void renew(struct hold *h)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = h->lease;
    client_send_message(h->keepalive, &request.base);
}

static void on_renewed(struct client_call *call, struct bytes message)
{
    struct hold *h = client_call_state(call);
    struct arena arena = {0};
    const Etcdserverpb__LeaseKeepAliveResponse *r = (const Etcdserverpb__LeaseKeepAliveResponse *)pb_unpack(
        &etcdserverpb__lease_keep_alive_response__descriptor, message, &arena, NULL);
    if (r != NULL && r->ttl <= 0) {
        h->expired = true;
    } else if (r != NULL) {
        uint64_t now = loop_now_ms(h->loop), ttl_ms = (uint64_t)r->ttl * 1000;
        loop_timer_set(h->loop, &h->over, now + ttl_ms);
        loop_timer_set(h->loop, &h->renew, now + ttl_ms / 3);
    }
    arena_free(&arena);
}

static void on_keepalive_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct hold *h = client_call_state(call);
    (void)code;
    (void)text;
    h->keepalive = NULL;
    loop_timer_set(h->loop, &h->renew, loop_now_ms(h->loop) + REOPEN_MS);
}

/* The next renewal, or another try to reach the server. */
static void on_renew_due(struct loop_timer *timer)
{
    static const struct client_handler handler = {.on_message = on_renewed, .on_end = on_keepalive_end};
    struct hold *h = container_of(timer, struct hold, renew);
    if (h->keepalive == NULL) {
        struct client_call_options options = {.state = h};
        h->keepalive = client_open(h->session->client, LEASE_KEEP_ALIVE, &handler, &options);
    }
    renew(h);
}

static void on_over(struct loop_timer *timer)
{
    container_of(timer, struct hold, over)->expired = true;
}

static const char *grant(struct hold *h)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantResponse *response;
    struct session_call what = {LEASE_GRANT, false, 0};
    request.ttl = h->ttl_s;
    const char *error = ask(h, &what, false, &request.base, &etcdserverpb__lease_grant_response__descriptor,
                            (ProtobufCMessage **)&response);
    if (error == NULL) {
        h->lease = response->id;
        h->ttl_s = response->ttl;
    }
    return error;
}

const char *hold_open(struct hold *h, struct session *session, const char *name, int64_t ttl_s)
{
    *h = (struct hold){.session = session, .loop = client_loop(session->client)};
    h->ttl_s = ttl_s > 0 ? ttl_s : DEFAULT_TTL_S;
    h->renew.fire = on_renew_due;
    h->over.fire = on_over;
    take_signals(h->loop);
    const char *error = grant(h);
    if (error != NULL) {
        return error;
    }
    h->prefix = arena_printf(&session->call->arena, "%s/", name);
    h->key = arena_printf(&session->call->arena, "%s%" PRIx64, h->prefix, (uint64_t)h->lease);
    loop_timer_set(h->loop, &h->over, loop_now_ms(h->loop) + (uint64_t)h->ttl_s * 1000);
    on_renew_due(&h->renew);
    return NULL;
}

void hold_close(struct hold *h)
{
    hold_unwatch(h);
    if (h->keepalive != NULL) {
        client_cancel(h->keepalive);
    }
    loop_timer_stop(h->loop, &h->renew);
    loop_timer_stop(h->loop, &h->over);
}

/* --- watching --- */

static void on_watched(struct client_call *call, struct bytes message)
{
    struct hold *h = client_call_state(call);
    struct arena arena = {0};
    const Etcdserverpb__WatchResponse *r = (const Etcdserverpb__WatchResponse *)pb_unpack(
        &etcdserverpb__watch_response__descriptor, message, &arena, NULL);
    if (r != NULL && (r->n_events > 0 || r->canceled)) {
        h->on_watch(h, r);
    }
    arena_free(&arena);
}

static void on_watch_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct hold *h = client_call_state(call);
    (void)code;
    (void)text;
    h->watch = NULL;
    h->changed = true;
}

void hold_watch(struct hold *h, ProtobufCBinaryData key, const ProtobufCBinaryData *range_end, int64_t from,
                void (*on_watch)(struct hold *hold, const Etcdserverpb__WatchResponse *response))
{
    static const struct client_handler handler = {.on_message = on_watched, .on_end = on_watch_end};
    struct client_call_options options = {.state = h};
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = key;
    if (range_end != NULL) {
        create.range_end = *range_end;
    }
    create.start_revision = from;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    h->changed = false;
    h->on_watch = on_watch;
    h->watch = client_open(h->session->client, WATCH_WATCH, &handler, &options);
    client_send_message(h->watch, &request.base);
}

void hold_unwatch(struct hold *h)
{
    if (h->watch != NULL) {
        client_cancel(h->watch);
    }
}

void hold_step(struct hold *h)
{
    loop_step(h->loop, -1);
}

/* --- the queue --- */

void hold_oldest(struct hold *h, Etcdserverpb__RangeRequest *request)
{
    etcdserverpb__range_request__init(request);
    request->key = session_bytes(h->prefix);
    request->range_end = ops_prefix_end(&h->session->call->arena, request->key);
    request->limit = 1;
    request->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
}

void hold_own(struct hold *h, Etcdserverpb__RangeRequest *request)
{
    etcdserverpb__range_request__init(request);
    request->key = session_bytes(h->key);
}

void hold_compare(const struct hold *h, Etcdserverpb__Compare *compare, int64_t revision)
{
    etcdserverpb__compare__init(compare);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare->key = session_bytes(h->key);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare->create_revision = revision;
}

static void on_predecessor(struct hold *h, const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events; i++) {
        h->changed |= response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    }
    h->changed |= response->canceled != 0;
}

const char *hold_wait_turn(struct hold *h)
{
    for (;;) {
        Etcdserverpb__RangeRequest request;
        Etcdserverpb__RangeResponse *found;
        hold_oldest(h, &request);
        request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
        request.max_create_revision = h->revision - 1;
        const char *error = hold_get(h, &request, &found);
        if (error != NULL || found->n_kvs == 0) {
            return error;
        }
        hold_watch(h, found->kvs[0]->key, NULL, found->header->revision + 1, on_predecessor);
        while (!h->changed && !interrupted) {
            hold_step(h);
        }
        bool lost = h->watch == NULL;
        hold_unwatch(h);
        if (lost && !interrupted) {
            usleep(RETRY_MS * 1000);
        }
    }
}

/* --- having it --- */

int hold_give_back(struct hold *h, int status, const char *(*give_back)(struct hold *hold))
{
    const char *error = give_back(h);
    return status == 0 && error != NULL ? cli_fail(CLI_ERROR, "%s", error) : status;
}

int hold_keep(struct hold *h, const Etcdserverpb__RangeResponse *own, const char *expired,
              const char *(*give_back)(struct hold *hold))
{
    int status = printer_get(&h->session->printer, own);
    printer_flush(&h->session->printer);
    while (status == 0 && !hold_interrupted() && !h->expired) {
        hold_step(h);
    }
    if (status == 0 && !hold_interrupted()) {
        return cli_fail(CLI_ERROR, "%s", expired);
    }
    return hold_give_back(h, status, give_back);
}
