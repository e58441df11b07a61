#include "base/gotext.h"
#include "base/net/loop.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include <unistd.h>

#define REOPEN_MS 100

static int parse_id(struct cli_call *call, int64_t *id)
{
    const char *error = gotext_int(&call->arena, call->args[0], 16, 64, id);
    return error == NULL ? 0 : cli_fail(CLI_BAD_ARGS, "bad lease ID arg (%s), expecting ID in Hex", error);
}

int verb_lease_grant(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantResponse *response;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "lease grant command needs TTL argument");
    }
    const char *error = gotext_int(&call->arena, call->args[0], 10, 64, &request.ttl);
    if (error != NULL) {
        return cli_fail(CLI_BAD_ARGS, "bad TTL (%s)", error);
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    struct session_call what = {LEASE_GRANT, false, s.timeout_ms};
    error = session_unary(&s, &what, &request.base, &etcdserverpb__lease_grant_response__descriptor,
                          (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "failed to grant lease (%s)", error)
                                         : printer_grant(&s.printer, response));
}

int verb_lease_revoke(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeResponse *response;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "lease revoke command needs 1 argument");
    }
    int status = parse_id(call, &request.id);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {LEASE_REVOKE, false, s.timeout_ms};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__lease_revoke_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "failed to revoke lease (%s)", error)
                                         : printer_revoke(&s.printer, request.id, response));
}

int verb_lease_timetolive(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Etcdserverpb__LeaseTimeToLiveResponse *response;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "lease timetolive command needs lease ID as argument");
    }
    request.keys = cli_bool(call, "keys");
    int status = parse_id(call, &request.id);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {LEASE_TIME_TO_LIVE, true, 0};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__lease_time_to_live_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_BAD_CONNECTION, "%s", error)
                                         : printer_time_to_live(&s.printer, response, request.keys));
}

int verb_lease_list(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    Etcdserverpb__LeaseLeasesResponse *response;
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    struct session_call what = {LEASE_LEASES, true, 0};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__lease_leases_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_BAD_CONNECTION, "%s", error)
                                         : printer_leases(&s.printer, response));
}

/* --- keep-alive --------------------------------------------------------------------------------------------------- */

/* Asks once on the stream, and waits so long (-1 = as long as it takes). 1: *response; 0: nothing came, or the stream
 * ended, of which *error has the text. */
static int keep_alive(struct session *s, struct client_stream *stream, int64_t id, int64_t wait_ms, struct arena *arena,
                      Etcdserverpb__LeaseKeepAliveResponse **response, const char **error)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    struct client_status status = {0};
    request.id = id;
    client_stream_send(stream, &request.base);
    int got = client_stream_receive(stream, wait_ms, &etcdserverpb__lease_keep_alive_response__descriptor, arena,
                                    (ProtobufCMessage **)response, &status);
    if (got < 0) {
        *error = session_error(&s->call->arena, status.code, status.text, false);
    }
    return got > 0;
}

static int keep_alive_once(struct session *s, struct client_stream *stream, int64_t id)
{
    Etcdserverpb__LeaseKeepAliveResponse *response;
    const char *error = "";
    if (!keep_alive(s, stream, id, -1, &s->call->arena, &response, &error)) {
        return cli_fail(CLI_BAD_CONNECTION, "%s", error);
    }
    if (response->ttl <= 0) {
        return cli_fail(CLI_BAD_CONNECTION, "%s", error_text(ERR_LEASE_NOT_FOUND));
    }
    return printer_keep_alive(&s->printer, response);
}

static int64_t now_ms(void)
{
    return (int64_t)(loop_clock_ns() / 1000000);
}

/* Waits a third of the lease's time, as etcd's client does, unless the stream ends. */
static void wait_third(struct client_stream *stream, int64_t ttl)
{
    struct arena none = {0};
    struct client_status status;
    ProtobufCMessage *message;
    client_stream_receive(stream, ttl * 1000 / 3, &etcdserverpb__lease_keep_alive_response__descriptor, &none, &message,
                          &status);
    arena_free(&none);
}

/* On one stream, until it ends or the lease is gone: *over_ms is when it must be, without another answer. */
static int keep_alive_stream(struct session *s, struct client_stream *stream, int64_t id, int64_t *over_ms)
{
    struct arena arena = {0};
    int status = 0;
    while (status == 0 && now_ms() < *over_ms) {
        Etcdserverpb__LeaseKeepAliveResponse *response;
        const char *error;
        if (!keep_alive(s, stream, id, *over_ms - now_ms(), &arena, &response, &error)) {
            break;
        }
        *over_ms = response->ttl <= 0 ? 0 : now_ms() + response->ttl * 1000;
        if (response->ttl > 0) {
            status = printer_keep_alive(&s->printer, response);
            printer_flush(&s->printer);
            wait_third(stream, response->ttl);
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
    return status;
}

/* Until the lease is gone. A lost stream is opened again. Before the first answer nothing is known of the lease's time:
 * etcd's client gives it as long as to connect, and a second. */
static int keep_alive_long(struct session *s, int64_t id)
{
    int64_t over_ms = now_ms() + cli_number(s->call, "dial-timeout") / 1000000 + 1000;
    int status = 0;
    while (status == 0 && now_ms() < over_ms) {
        struct client_stream *stream = client_stream_open(s->client, LEASE_KEEP_ALIVE, 0);
        status = keep_alive_stream(s, stream, id, &over_ms);
        client_stream_close(stream);
        if (status == 0 && now_ms() < over_ms) {
            usleep(REOPEN_MS * 1000);
        }
    }
    if (status == 0 && s->printer.format == PRINT_SIMPLE) {
        buffer_printf(&s->printer.out, "lease %016llx expired or revoked.\n", (unsigned long long)id);
    }
    return status;
}

int verb_lease_keep_alive(struct cli_call *call)
{
    struct session s;
    int64_t id;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "lease keep-alive command needs lease ID as argument");
    }
    int status = parse_id(call, &id);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    if (cli_bool(call, "once")) {
        struct client_stream *stream = client_stream_open(s.client, LEASE_KEEP_ALIVE, 0);
        status = keep_alive_once(&s, stream, id);
        client_stream_close(stream);
    } else {
        status = keep_alive_long(&s, id);
    }
    return session_end(&s, status);
}
