#include "cmd/kedgectl/session.h"
#include "base/net/loop.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define DEFAULT_SEND_LIMIT ((size_t)2 << 20)
#define RETRY_MS 25
#define RETRY_ATTEMPTS 100 /* of a call without a time limit, as etcd's client */

/* --- settings ----------------------------------------------------------------------------------------------------- */

static uint64_t milliseconds(const struct cli_call *call, const char *flag)
{
    int64_t ns = cli_number(call, flag);
    return ns <= 0 ? 0 : (uint64_t)((ns + MS - 1) / MS);
}

static int compare_values(const void *a, const void *b)
{
    return strcmp((*(const struct cli_value *const *)a)->flag->name, (*(const struct cli_value *const *)b)->flag->name);
}

/* --debug: what the settings are, as variables. */
static void tell_settings(const struct cli_call *call)
{
    const struct cli_value *sorted[64];
    size_t count = 0;
    for (size_t i = 0; i < call->value_count && count < 64; i++) {
        if (call->values[i].inherited) {
            sorted[count++] = &call->values[i];
        }
    }
    qsort(sorted, count, sizeof sorted[0], compare_values);
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "%s_", call->program->variables);
        for (const char *p = sorted[i]->flag->name; *p != '\0'; p++) {
            fputc(*p == '-' ? '_' : *p - (*p >= 'a' && *p <= 'z' ? 'a' - 'A' : 0), stderr);
        }
        bool list = sorted[i]->flag->type == CLI_STRINGS;
        fprintf(stderr, list ? "=[%s]\n" : "=%s\n", sorted[i]->text);
    }
}

bool session_check_endpoints(const char *const *endpoints)
{
    for (; *endpoints != NULL; endpoints++) {
        if (strncmp(*endpoints, "https://", 8) == 0 || strncmp(*endpoints, "unixs:", 6) == 0) {
            cli_fail(CLI_BAD_FEATURE, "endpoint %s: TLS is not supported by kedge yet", *endpoints);
            return false;
        }
    }
    return true;
}

/* Spaces around an endpoint ("a:1, b:1") are none of it. */
static const char *const *trimmed(struct arena *arena, const char *const *texts)
{
    size_t count = 0;
    while (texts[count] != NULL) {
        count++;
    }
    const char **out = arena_zalloc(arena, (count + 1) * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const char *start = texts[i] + strspn(texts[i], " \t\n");
        size_t len = strlen(start);
        while (len > 0 && strchr(" \t\n", start[len - 1]) != NULL) {
            len--;
        }
        out[i] = arena_printf(arena, "%.*s", (int)len, start);
    }
    return out;
}

/* An empty file name is most likely a script's variable that is not set. */
static int check_files(const struct cli_call *call)
{
    static const char *const names[] = {"cert", "key", "cacert"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (cli_given(call, names[i]) && *cli_string(call, names[i]) == '\0') {
            return cli_fail(CLI_BAD_ARGS, "empty string is passed to --%s option", names[i]);
        }
    }
    return 0;
}

struct client_options session_options(const struct session *s, const char *const *endpoints)
{
    return (struct client_options){
        .endpoints = endpoints,
        .user_agent = "kedgectl",
        .dial_timeout_ms = milliseconds(s->call, "dial-timeout"),
        .keepalive_time_ms = milliseconds(s->call, "keepalive-time"),
        .keepalive_timeout_ms = milliseconds(s->call, "keepalive-timeout"),
        .max_receive_bytes = (size_t)cli_number(s->call, "max-recv-bytes"),
    };
}

/* etcd's client does not begin with limits that are the wrong way round. */
static int check_limits(const struct cli_call *call)
{
    long long receive = cli_number(call, "max-recv-bytes"), send = cli_number(call, "max-request-bytes");
    return receive <= 0 || send <= receive
               ? 0
               : cli_fail(CLI_BAD_CONNECTION,
                          "gRPC message recv limit (%lld bytes) must be greater than send limit (%lld bytes)", receive,
                          send);
}

int session_open_each(struct session *s, struct cli_call *call)
{
    static const char *const watch_variables[] = {"ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END", NULL};
    bool watches = strcmp(call->command->path, "watch") == 0;
    *s = (struct session){.call = call, .printer = {.arena = &call->arena}};
    if (!cli_take_variables(call, watches ? watch_variables : NULL)) {
        return CLI_ERROR;
    }
    if (cli_bool(call, "debug")) {
        tell_settings(call);
    }
    int status = check_files(call);
    if (status != 0) {
        return status;
    }
    if (!cli_check_later(call)) {
        return CLI_BAD_FEATURE;
    }
    s->endpoints = trimmed(&call->arena, cli_strings(call, "endpoints"));
    if (!session_check_endpoints(s->endpoints)) {
        return CLI_BAD_FEATURE;
    }
    if (!printer_find_format(cli_string(call, "write-out"), &s->printer.format)) {
        return cli_fail(CLI_BAD_FEATURE, "unsupported output format");
    }
    s->printer.hex = cli_bool(call, "hex");
    status = check_limits(call);
    if (status != 0) {
        return status;
    }
    s->timeout_ms = milliseconds(call, "command-timeout");
    s->no_time = s->timeout_ms == 0;
    s->timeout_ms = s->no_time ? 1 : s->timeout_ms;
    int64_t limit = cli_number(call, "max-request-bytes");
    s->send_limit = limit > 0 ? (size_t)limit : DEFAULT_SEND_LIMIT;
    if (s->endpoints[0] != NULL) {
        struct client_options options = session_options(s, s->endpoints);
        s->client = client_new(NULL, &options);
    }
    return 0;
}

int session_open(struct session *s, struct cli_call *call)
{
    int status = session_open_each(s, call);
    return status != 0 || s->client != NULL ? status
                                            : cli_fail(CLI_BAD_CONNECTION, "etcdclient: no available endpoints");
}

void session_close(struct session *s)
{
    if (s->client != NULL) {
        client_free(s->client);
        s->client = NULL;
    }
    printer_free(&s->printer);
}

int session_end(struct session *s, int status)
{
    printer_flush(&s->printer);
    session_close(s);
    return status;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static const char *const code_names[] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

/* etcd's client knows these texts and shows them without the gRPC status around them (errors.tsv, kind client). */
static bool is_etcd_error(const char *text)
{
    static const struct {
        enum grpc_code code;
        const char *text;
    } errors[] = {
#define X(name, grpc, words) {grpc, words},
        ERROR_LIST(X)
#undef X
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].code != GRPC_UNKNOWN && strncmp(errors[i].text, "etcdserver: ", 12) == 0 &&
            strcmp(errors[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

const char *session_error(struct arena *arena, enum grpc_code code, const char *text, bool timed)
{
    if (is_etcd_error(text)) {
        return arena_printf(arena, "%s", text);
    }
    if (timed && code == GRPC_DEADLINE_EXCEEDED) {
        return SESSION_TIMED_OUT;
    }
    return arena_printf(arena, "rpc error: code = %s desc = %s",
                        (unsigned)code < sizeof code_names / sizeof code_names[0] ? code_names[code] : "Unknown", text);
}

static uint64_t now_ms(void)
{
    return loop_clock_ns() / 1000000;
}

const char *session_unary_on(const struct session *s, struct client *client, struct arena *arena,
                             const struct session_call *what, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *type, ProtobufCMessage **response)
{
    struct client_status status = {0};
    uint64_t end = now_ms() + what->timeout_ms, left = what->timeout_ms;
    size_t size = protobuf_c_message_get_packed_size(request);
    if (s->no_time && what->timeout_ms == s->timeout_ms) {
        return SESSION_TIMED_OUT;
    }
    if (size > s->send_limit) {
        return arena_printf(arena,
                            "rpc error: code = ResourceExhausted desc = trying to send message larger than max "
                            "(%zu vs. %zu)",
                            size, s->send_limit);
    }
    for (int attempt = 1;; attempt++) {
        enum grpc_code code = client_unary(client, what->path, left, request, type, arena, response, &status);
        if (code == GRPC_OK) {
            return NULL;
        }
        uint64_t now = now_ms();
        bool again = code == GRPC_UNAVAILABLE && what->repeatable &&
                     (what->timeout_ms > 0 ? now + RETRY_MS < end : attempt < RETRY_ATTEMPTS);
        if (!again) {
            return session_error(arena, code, status.text, what->timeout_ms > 0);
        }
        usleep(RETRY_MS * 1000);
        left = what->timeout_ms > 0 ? end - now : 0;
    }
}

const char *session_unary(struct session *s, const struct session_call *what, const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *type, ProtobufCMessage **response)
{
    return session_unary_on(s, s->client, &s->call->arena, what, request, type, response);
}
