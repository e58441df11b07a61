/* get, put, del, compaction, txn. */
#include "base/check.h"
#include "base/gotext.h"
#include "base/pb.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include <ctype.h>
#include <stdlib.h>

/* --- get ---------------------------------------------------------------------------------------------------------- */

/* The parts of a streamed answer become one: pairs one after another, of the rest whatever is not empty. */
static void merge(struct arena *arena, Etcdserverpb__RangeResponse *whole, const Etcdserverpb__RangeResponse *part,
                  size_t *room)
{
    if (whole->n_kvs + part->n_kvs > *room) {
        *room = (whole->n_kvs + part->n_kvs) * 2;
        Mvccpb__KeyValue **more = arena_alloc(arena, *room * sizeof(Mvccpb__KeyValue *));
        if (whole->n_kvs > 0) {
            memcpy(more, whole->kvs, whole->n_kvs * sizeof *more);
        }
        whole->kvs = more;
    }
    if (part->n_kvs > 0) {
        memcpy(whole->kvs + whole->n_kvs, part->kvs, part->n_kvs * sizeof *part->kvs);
    }
    whole->n_kvs += part->n_kvs;
    whole->header = part->header != NULL ? part->header : whole->header;
    whole->more = part->more || whole->more;
    whole->count = part->count != 0 ? part->count : whole->count;
}

static const char *get_streamed(struct session *s, const Etcdserverpb__RangeRequest *request,
                                Etcdserverpb__RangeResponse *whole)
{
    struct arena *arena = &s->call->arena;
    struct client_stream *stream = client_stream_open(s->client, KV_RANGE_STREAM, s->timeout_ms);
    struct client_status status = {0};
    ProtobufCMessage *message;
    size_t room = 0;
    client_stream_send(stream, &request->base);
    client_stream_half_close(stream);
    while (client_stream_receive(stream, -1, &etcdserverpb__range_stream_response__descriptor, arena, &message,
                                 &status) > 0) {
        const Etcdserverpb__RangeStreamResponse *part = (const Etcdserverpb__RangeStreamResponse *)message;
        if (part->range_response != NULL) {
            merge(arena, whole, part->range_response, &room);
        }
    }
    client_stream_close(stream);
    return status.code == GRPC_OK ? NULL : session_error(arena, status.code, status.text, true);
}

static int print_get(struct session *s, const Etcdserverpb__RangeResponse *response)
{
    if (cli_bool(s->call, "count-only") && s->printer.format != PRINT_FIELDS) {
        return cli_fail(CLI_BAD_ARGS, "--count-only is only for `--write-out=fields`");
    }
    s->printer.value_only = cli_bool(s->call, "print-value-only");
    if (s->printer.value_only && s->printer.format != PRINT_SIMPLE) {
        return cli_fail(CLI_BAD_ARGS, "print-value-only is only for `--write-out=simple`");
    }
    return printer_get(&s->printer, response);
}

int verb_get(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__RangeRequest request;
    Etcdserverpb__RangeResponse whole = ETCDSERVERPB__RANGE_RESPONSE__INIT, *response = &whole;
    int status = ops_get(call, &request);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    const char *error;
    if (cli_bool(call, "stream")) {
        error = s.no_time ? SESSION_TIMED_OUT : get_streamed(&s, &request, &whole);
    } else {
        struct session_call what = {KV_RANGE, true, s.timeout_ms};
        error = session_unary(&s, &what, &request.base, &etcdserverpb__range_response__descriptor,
                              (ProtobufCMessage **)&response);
    }
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : print_get(&s, response));
}

/* --- put, del, compaction ----------------------------------------------------------------------------------------- */

int verb_put(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__PutRequest request;
    Etcdserverpb__PutResponse *response;
    int status = ops_put(call, stdin, &request);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {KV_PUT, false, s.timeout_ms};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__put_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_put(&s.printer, response));
}

int verb_del(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__DeleteRangeRequest request;
    Etcdserverpb__DeleteRangeResponse *response;
    int status = ops_delete(call, &request);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {KV_DELETE_RANGE, false, s.timeout_ms};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__delete_range_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_delete(&s.printer, response));
}

int verb_compaction(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    ProtobufCMessage *response;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "compaction command needs 1 argument");
    }
    const char *error = gotext_int(&call->arena, call->args[0], 10, 64, &request.revision);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    request.physical = cli_bool(call, "physical");
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    struct session_call what = {KV_COMPACT, false, s.timeout_ms};
    error = session_unary(&s, &what, &request.base, &etcdserverpb__compaction_response__descriptor, &response);
    if (error == NULL) {
        buffer_printf(&s.printer.out, "compacted revision %lld\n", (long long)request.revision);
    }
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : 0);
}

/* --- txn ---------------------------------------------------------------------------------------------------------- */

/* The next line without the spaces around it, in the arena. A last line without a newline doesn't count, as in etcdctl.
 * 0, or the exit status after a message: at the end of the input too. */
static int read_line(struct arena *arena, const char **line)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len = getline(&text, &size, stdin);
    bool ended = len <= 0 || text[len - 1] != '\n', zero = !ended && memchr(text, '\0', (size_t)len) != NULL;
    if (ended || zero) {
        free(text);
        return cli_fail(CLI_INVALID_INPUT, ended ? "EOF" : "a line with a zero byte in it: write \"\\x00\"");
    }
    const char *start = text, *end = text + len;
    while (start < end && isspace((unsigned char)*start)) {
        start++;
    }
    while (end > start && isspace((unsigned char)end[-1])) {
        end--;
    }
    *line = arena_printf(arena, "%.*s", (int)(end - start), start);
    free(text);
    return 0;
}

struct messages {
    void **items;
    size_t count, room;
};

static void *add(struct arena *arena, struct messages *list, size_t size)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 8 : list->room * 2;
        void **more = arena_alloc(arena, list->room * sizeof *more);
        if (list->count > 0) {
            memcpy(more, list->items, list->count * sizeof *more);
        }
        list->items = more;
    }
    return list->items[list->count++] = arena_zalloc(arena, size);
}

/* Reads lines up to an empty one. */
static int read_compares(struct cli_call *call, struct messages *out)
{
    const char *line;
    int status = read_line(&call->arena, &line);
    while (status == 0 && *line != '\0') {
        status = ops_compare(&call->arena, line, add(&call->arena, out, sizeof(Etcdserverpb__Compare)));
        status = status != 0 ? status : read_line(&call->arena, &line);
    }
    return status;
}

static int read_requests(struct cli_call *call, struct messages *out)
{
    const char *line;
    int status = read_line(&call->arena, &line);
    while (status == 0 && *line != '\0') {
        status = ops_request(call, line, add(&call->arena, out, sizeof(Etcdserverpb__RequestOp)));
        status = status != 0 ? status : read_line(&call->arena, &line);
    }
    return status;
}

static void prompt(const struct cli_call *call, const char *text)
{
    if (cli_bool(call, "interactive")) {
        puts(text);
        fflush(stdout);
    }
}

static int read_txn(struct cli_call *call, Etcdserverpb__TxnRequest *request)
{
    struct messages compares = {0}, success = {0}, failure = {0};
    prompt(call, "compares:");
    int status = read_compares(call, &compares);
    if (status == 0) {
        prompt(call, "success requests (get, put, del):");
        status = read_requests(call, &success);
    }
    if (status == 0) {
        prompt(call, "failure requests (get, put, del):");
        status = read_requests(call, &failure);
    }
    request->compare = (Etcdserverpb__Compare **)compares.items;
    request->n_compare = compares.count;
    request->success = (Etcdserverpb__RequestOp **)success.items;
    request->n_success = success.count;
    request->failure = (Etcdserverpb__RequestOp **)failure.items;
    request->n_failure = failure.count;
    return status;
}

int verb_txn(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnResponse *response;
    if (call->arg_count != 0) {
        return cli_fail(CLI_BAD_ARGS, "txn command does not accept argument");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    status = read_txn(call, &request);
    if (status != 0) {
        return session_end(&s, status);
    }
    struct session_call what = {KV_TXN, false, 0};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__txn_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_txn(&s.printer, response));
}
