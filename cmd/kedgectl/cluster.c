/* alarm list and disarm, endpoint status, health and hashkv, version. */
#include "base/check.h"
#include "base/gotext.h"
#include "cmd/kedgectl/endpoints.h"
#include "cmd/kedgectl/verbs.h"
#include "cmd/version.h"
#include <pthread.h>
#include <stdio.h>

int verb_version(struct cli_call *call)
{
    version_print_tool(call->program->name);
    return 0;
}

/* --- alarms ------------------------------------------------------------------------------------------------------- */

static const char *ask_alarm(const struct session *s, struct client *client, struct arena *arena,
                             const Etcdserverpb__AlarmRequest *request, Etcdserverpb__AlarmResponse **response)
{
    struct session_call what = {MAINTENANCE_ALARM, request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET,
                                s->timeout_ms};
    return session_unary_on(s, client, arena, &what, &request->base, &etcdserverpb__alarm_response__descriptor,
                            (ProtobufCMessage **)response);
}

static const char *list_alarms(const struct session *s, struct client *client, struct arena *arena,
                               Etcdserverpb__AlarmResponse **response)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
    return ask_alarm(s, client, arena, &request, response);
}

int verb_alarm_list(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__AlarmResponse *response;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "alarm list command accepts no arguments");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error = list_alarms(&s, s.client, &call->arena, &response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_alarms(&s.printer, response));
}

/* Takes all alarms back, one after another. The answer is what was taken back, without a header, as etcd's client puts
 * it together. */
static const char *disarm_all(struct session *s, Etcdserverpb__AlarmResponse *whole)
{
    Etcdserverpb__AlarmResponse *raised, *response;
    const char *error = list_alarms(s, s->client, &s->call->arena, &raised);
    if (error != NULL) {
        return error;
    }
    whole->alarms = arena_alloc(&s->call->arena, (raised->n_alarms + 1) * sizeof(Etcdserverpb__AlarmMember *));
    for (size_t i = 0; i < raised->n_alarms; i++) {
        Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
        request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
        request.memberid = raised->alarms[i]->memberid;
        request.alarm = raised->alarms[i]->alarm;
        error = ask_alarm(s, s->client, &s->call->arena, &request, &response);
        if (error != NULL) {
            return error;
        }
        for (size_t j = 0; j < response->n_alarms && whole->n_alarms < raised->n_alarms; j++) {
            whole->alarms[whole->n_alarms++] = response->alarms[j];
        }
    }
    return NULL;
}

int verb_alarm_disarm(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__AlarmResponse whole = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "alarm disarm command accepts no arguments");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *error = disarm_all(&s, &whole);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_alarms(&s.printer, &whole));
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

int verb_endpoint_status(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const char *const *endpoints;
    size_t count, good = 0;
    int status = endpoints_open(&s, call, &endpoints, &count);
    if (status != 0) {
        return status;
    }
    struct session_call what = {MAINTENANCE_STATUS, true, s.timeout_ms};
    struct endpoint_status *items = arena_zalloc(&call->arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        struct client *client = endpoints_client(&s, endpoints[i]);
        ProtobufCMessage *response;
        const char *error = session_unary_on(&s, client, &call->arena, &what, &request.base,
                                             &etcdserverpb__status_response__descriptor, &response);
        client_free(client);
        if (error != NULL) {
            fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", endpoints[i], error);
        } else {
            items[good++] = (struct endpoint_status){endpoints[i], (const Etcdserverpb__StatusResponse *)response};
        }
    }
    status = printer_status(&s.printer, items, good);
    return session_end(&s, status != 0 ? status : good < count ? CLI_ERROR : 0);
}

int verb_endpoint_hashkv(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    const char *const *endpoints, *last = NULL;
    size_t count, good = 0;
    int status = endpoints_open(&s, call, &endpoints, &count);
    if (status != 0) {
        return status;
    }
    request.revision = cli_number(call, "rev");
    struct session_call what = {MAINTENANCE_HASH_KV, true, s.timeout_ms};
    struct endpoint_hash *items = arena_zalloc(&call->arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        struct client *client = endpoints_client(&s, endpoints[i]);
        ProtobufCMessage *response;
        const char *error = session_unary_on(&s, client, &call->arena, &what, &request.base,
                                             &etcdserverpb__hash_kvresponse__descriptor, &response);
        client_free(client);
        if (error != NULL) {
            fprintf(stderr, "Failed to get the hash of endpoint %s (%s)\n", endpoints[i], error);
            last = error;
        } else {
            items[good++] = (struct endpoint_hash){endpoints[i], (const Etcdserverpb__HashKVResponse *)response};
        }
    }
    status = printer_hashes(&s.printer, items, good);
    printer_flush(&s.printer);
    return session_end(&s, status != 0 || last == NULL ? status : cli_fail(CLI_ERROR, "%s", last));
}

/* --- health: all endpoints at once, each on a thread of its own --------------------------------------------------- */

struct probe {
    const struct session *session;
    struct endpoint_health result;
    struct arena arena;
    pthread_t thread;
};

static const char *elapsed(struct arena *arena, uint64_t ns)
{
    struct buffer text = {0};
    gotext_print_duration(&text, (int64_t)ns);
    const char *copy = arena_printf(arena, "%.*s", (int)text.len, (const char *)text.data);
    buffer_free(&text);
    return copy;
}

/* An endpoint is healthy when it answers a read that needs the quorum, and no alarm is raised. */
static void check_alarms(struct probe *probe, struct client *client)
{
    Etcdserverpb__AlarmResponse *alarms;
    if (list_alarms(probe->session, client, &probe->arena, &alarms) != NULL) {
        probe->result.healthy = false;
        probe->result.error = "Unable to fetch the alarm list";
        return;
    }
    for (size_t i = 0; i < alarms->n_alarms; i++) {
        const char *before = i == 0 ? "Active Alarm(s): " : probe->result.error;
        probe->result.healthy = false;
        probe->result.error =
            arena_printf(&probe->arena, "%s%s ", before, printer_alarm_name((int)alarms->alarms[i]->alarm));
    }
}

static void *run_probe(void *argument)
{
    struct probe *probe = argument;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response;
    struct client *client = endpoints_client(probe->session, probe->result.endpoint);
    struct session_call what = {KV_RANGE, true, probe->session->timeout_ms};
    request.key = session_bytes("health");
    uint64_t start = loop_clock_ns();
    const char *error = session_unary_on(probe->session, client, &probe->arena, &what, &request.base,
                                         &etcdserverpb__range_response__descriptor, &response);
    probe->result.took = elapsed(&probe->arena, loop_clock_ns() - start);
    /* to be denied means that the request went through the quorum */
    probe->result.healthy = error == NULL || strcmp(error, error_text(ERR_PERMISSION_DENIED)) == 0;
    probe->result.error = probe->result.healthy ? "" : error;
    if (probe->result.healthy) {
        check_alarms(probe, client);
    }
    client_free(client);
    return NULL;
}

int verb_endpoint_health(struct cli_call *call)
{
    struct session s;
    const char *const *endpoints;
    size_t count;
    bool healthy = true;
    int status = endpoints_open(&s, call, &endpoints, &count);
    if (status != 0) {
        return status;
    }
    struct probe *probes = arena_zalloc(&call->arena, (count + 1) * sizeof *probes);
    struct endpoint_health *items = arena_zalloc(&call->arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        probes[i].session = &s;
        probes[i].result.endpoint = endpoints[i];
        CHECK(pthread_create(&probes[i].thread, NULL, run_probe, &probes[i]) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(probes[i].thread, NULL);
        items[i] = probes[i].result;
        healthy = healthy && *items[i].error == '\0';
    }
    status = printer_health(&s.printer, items, count);
    printer_flush(&s.printer);
    for (size_t i = 0; i < count; i++) {
        arena_free(&probes[i].arena);
    }
    return session_end(&s, status != 0 || healthy ? status : cli_fail(CLI_ERROR, "unhealthy cluster"));
}
