/* lock: holds a named lock until it is interrupted, or while a command runs. */
#include "cmd/kedgectl/hold.h"
#include "cmd/kedgectl/spawn.h"
#include "cmd/kedgectl/verbs.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define SIGNALED_EXIT 255 /* Go's exit status -1 of a command that a signal ended */

/* --- getting it --- */

static void set_op(Etcdserverpb__RequestOp *op, Etcdserverpb__RangeRequest *range)
{
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
}

/* Puts the own key, unless it is there; both branches also ask for the holder's. */
static const char *enter(struct hold *h, Etcdserverpb__TxnResponse **response)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare absent, *compare = &absent;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest own, oldest;
    Etcdserverpb__RequestOp put_op = ETCDSERVERPB__REQUEST_OP__INIT, own_op, oldest_op;
    Etcdserverpb__RequestOp *success[] = {&put_op, &oldest_op}, *failure[] = {&own_op, &oldest_op};
    hold_compare(h, &absent, 0);
    hold_own(h, &own);
    hold_oldest(h, &oldest);
    set_op(&own_op, &own);
    set_op(&oldest_op, &oldest);
    put.key = session_bytes(h->key);
    put.lease = h->lease;
    put_op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    put_op.request_put = &put;
    txn.compare = &compare;
    txn.n_compare = 1;
    txn.success = success;
    txn.failure = failure;
    txn.n_success = txn.n_failure = 2;
    return hold_txn(h, &txn, false, response);
}

static const Etcdserverpb__RangeResponse *range_of(const Etcdserverpb__TxnResponse *response, size_t n)
{
    static const Etcdserverpb__RangeResponse none = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    bool there = n < response->n_responses &&
                 response->responses[n]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    return there ? response->responses[n]->response_range : &none;
}

/* Until the own key is the oldest. *revision: the header's, of the answer that said so. */
static const char *wait_turn(struct hold *h, int64_t *revision)
{
    Etcdserverpb__RangeResponse *own;
    const char *error = hold_wait_turn(h);
    error = error == NULL ? hold_get_own(h, &own) : error;
    if (error != NULL) {
        hold_delete_key(h);
        return error;
    }
    *revision = own->header->revision;
    return own->n_kvs == 0 ? "mutex: session is expired" : NULL;
}

static const char *acquire(struct hold *h, int64_t *revision)
{
    Etcdserverpb__TxnResponse *response;
    const char *error = enter(h, &response);
    if (error != NULL) {
        return error;
    }
    const Etcdserverpb__RangeResponse *own = range_of(response, 0), *holder = range_of(response, 1);
    *revision = response->header->revision;
    h->revision = own->n_kvs > 0 ? own->kvs[0]->create_revision : *revision;
    if (holder->n_kvs == 0 || holder->kvs[0]->create_revision == h->revision) {
        return NULL;
    }
    return wait_turn(h, revision);
}

/* --- a command under it --- */

struct place {
    const struct hold *hold;
    int64_t revision;
};

static void tell_place(void *arg)
{
    const struct place *place = arg;
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)place->revision);
    setenv("ETCD_LOCK_KEY", place->hold->key, 0); /* what is set already stays, as with etcdctl */
    setenv("ETCD_LOCK_REV", number, 0);
}

/* The child's wait status. The lease is kept alive meanwhile. An interrupt is left to the child, which a terminal sends
 * it too: it may have to clean up, and the lock is its until it has ended. */
static int wait_for(struct hold *h, pid_t child)
{
    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        hold_step(h);
    }
    return status;
}

static int run(struct hold *h, int64_t revision, char **command)
{
    struct arena *arena = &h->session->call->arena;
    struct place place = {h, revision};
    int error;
    pid_t child = spawn_start(command, tell_place, &place, &error);
    if (child < 0) {
        return cli_fail(CLI_ERROR, "%s", spawn_error(arena, command[0], error));
    }
    int status = wait_for(h, child);
    const char *end = spawn_end(arena, status);
    return end == NULL ? 0 : cli_fail(WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED_EXIT, "%s", end);
}

/* --- the command line's --- */

static int keep(struct hold *h)
{
    Etcdserverpb__RangeResponse *own;
    const char *error = hold_get_own(h, &own);
    if (error == NULL && own->n_kvs == 0) {
        error = "lock lost on init";
    }
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    return hold_keep(h, own, "session expired", hold_delete_key);
}

static int lock(struct hold *h, char **command)
{
    int64_t revision;
    const char *error = acquire(h, &revision);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    return command[0] == NULL ? keep(h) : hold_give_back(h, run(h, revision, command), hold_delete_key);
}

int verb_lock(struct cli_call *call)
{
    struct session s;
    struct hold h;
    if (call->arg_count == 0) {
        return cli_fail(CLI_BAD_ARGS, "lock takes a lock name argument and an optional command to execute");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error = hold_open(&h, &s, call->args[0], cli_number(call, "ttl"));
    status = error != NULL ? cli_fail(CLI_ERROR, "%s", error) : lock(&h, call->args + 1);
    hold_close(&h);
    return session_end(&s, status);
}
