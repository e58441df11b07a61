/* defrag, downgrade. */
#include "base/gotext.h"
#include "cmd/kedgectl/endpoints.h"
#include "cmd/kedgectl/verbs.h"
#include <stdio.h>

/* --- defrag --- */

/* One member after another. False after a message. */
static bool defragment(const struct session *s, const char *endpoint)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    struct session_call what = {MAINTENANCE_DEFRAGMENT, false, s->timeout_ms};
    struct client *client = endpoints_client(s, endpoint);
    ProtobufCMessage *response;
    struct buffer took = {0};
    uint64_t begun = loop_clock_ns();
    const char *error = session_unary_on(s, client, &s->call->arena, &what, &request.base,
                                         &etcdserverpb__defragment_response__descriptor, &response);
    gotext_print_duration(&took, (int64_t)(loop_clock_ns() - begun));
    client_free(client);
    if (error != NULL) {
        fprintf(stderr, "Failed to defragment etcd member[%s]. took %.*s. (%s)\n", endpoint, (int)took.len,
                (const char *)took.data, error);
    } else {
        printf("Finished defragmenting etcd member[%s]. took %.*s\n", endpoint, (int)took.len, (const char *)took.data);
        fflush(stdout);
    }
    buffer_free(&took);
    return error == NULL;
}

int verb_defrag(struct cli_call *call)
{
    struct session s;
    const char *const *endpoints;
    size_t count, failed = 0;
    int status = endpoints_open(&s, call, &endpoints, &count);
    if (status != 0) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        failed += defragment(&s, endpoints[i]) ? 0 : 1;
    }
    return session_end(&s, failed > 0 ? CLI_ERROR : 0);
}

/* --- downgrade --- */

static int downgrade(struct cli_call *call, Etcdserverpb__DowngradeRequest__DowngradeAction action, const char *name,
                     const char *version)
{
    struct session s;
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    Etcdserverpb__DowngradeResponse *response;
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    struct session_call what = {MAINTENANCE_DOWNGRADE, false, s.timeout_ms};
    request.action = action;
    request.version = (char *)(uintptr_t)version;
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__downgrade_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error)
                                         : printer_downgrade(&s.printer, name, response));
}

static int check_version(const struct cli_call *call)
{
    if (call->arg_count < 1) {
        return cli_fail(CLI_BAD_ARGS, "TARGET_VERSION not provided");
    }
    if (call->arg_count > 1) {
        return cli_fail(CLI_BAD_ARGS, "too many arguments");
    }
    return *call->args[0] == '\0' ? cli_fail(CLI_BAD_ARGS, "target version not provided") : 0;
}

int verb_downgrade_validate(struct cli_call *call)
{
    int status = check_version(call);
    return status != 0 ? status
                       : downgrade(call, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE, "validate",
                                   call->args[0]);
}

int verb_downgrade_enable(struct cli_call *call)
{
    int status = check_version(call);
    return status != 0
               ? status
               : downgrade(call, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE, "enable", call->args[0]);
}

int verb_downgrade_cancel(struct cli_call *call)
{
    return downgrade(call, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL, "cancel", "");
}
