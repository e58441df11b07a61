/* watch: prints events until it is interrupted. One stream carries all watches of the run (there are several only in
 * interactive mode, where lines "watch ..." and "progress" come on standard input). A lost stream is opened again, and
 * each watch goes on behind the last event that it saw. */
#include "base/gotext.h"
#include "base/mailbox.h"
#include "base/pb.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/spawn.h"
#include "cmd/kedgectl/verbs.h"
#include "cmd/kedgectl/watch_args.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define REOPEN_MS 200

struct watcher {
    struct list node;
    int64_t id; /* chosen here, so that answers can be told apart */
    struct watch_args args;
    int64_t next_revision; /* where to go on after a lost stream; 0 = from now on */
    bool over;             /* cancelled by the server */
};

struct watching {
    struct session *session;
    struct client_call *stream;
    struct list watchers;
    int64_t last_id;
    struct loop_timer reopen;
    struct mailbox lines; /* of standard input, read by a thread */
    bool interactive;
    bool done;
    int status;
};

struct line {
    struct list node;
    char *text; /* NULL: the end of the input */
};

static void end(struct watching *w, int status)
{
    w->done = true;
    w->status = status;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void send_create(struct watching *w, const struct watcher *one)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    static const ProtobufCBinaryData zero = {.len = 1, .data = (uint8_t *)(uintptr_t) "\0"};
    create.key = session_binary(one->args.key);
    if (one->args.prefix) {
        create.range_end = create.key.len == 0 ? zero : ops_prefix_end(&w->session->call->arena, create.key);
        create.key = create.key.len == 0 ? zero : create.key;
    } else if (one->args.range_end.data != NULL) {
        create.range_end = session_binary(one->args.range_end);
    }
    create.start_revision = one->next_revision;
    create.prev_kv = one->args.prev_kv;
    create.progress_notify = one->args.progress_notify;
    create.watch_id = one->id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    client_send_message(w->stream, &request.base);
}

static void send_progress(struct watching *w)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    if (w->stream != NULL) {
        client_send_message(w->stream, &request.base);
    }
}

static void add_watcher(struct watching *w, const struct watch_args *args)
{
    struct watcher *one = mem_zalloc(sizeof *one);
    one->id = ++w->last_id;
    one->args = *args;
    one->next_revision = args->revision;
    list_push_back(&w->watchers, &one->node);
    if (w->stream != NULL) {
        send_create(w, one);
    }
}

/* --- running a command at an event -------------------------------------------------------------------------------- */

static char *quoted_variable(const char *name, const void *text, size_t len)
{
    struct buffer out = {0};
    buffer_printf(&out, "%s=", name);
    gotext_quote(&out, bytes_of(text, len));
    buffer_append(&out, "", 1);
    return (char *)out.data;
}

struct told {
    const Etcdserverpb__WatchResponse *response;
    const Mvccpb__Event *event;
};

static void tell_event(void *arg)
{
    static const Mvccpb__KeyValue none = MVCCPB__KEY_VALUE__INIT;
    const struct told *told = arg;
    const Etcdserverpb__WatchResponse *r = told->response;
    const Mvccpb__KeyValue *kv = told->event->kv == NULL ? &none : told->event->kv;
    const char *type = printer_event_name((int)told->event->type);
    putenv(mem_printf("ETCD_WATCH_REVISION=%lld", (long long)(r->header == NULL ? 0 : r->header->revision)));
    putenv(quoted_variable("ETCD_WATCH_EVENT_TYPE", type, strlen(type)));
    putenv(quoted_variable("ETCD_WATCH_KEY", kv->key.data, kv->key.len));
    putenv(quoted_variable("ETCD_WATCH_VALUE", kv->value.data, kv->value.len));
}

static void tell_failure(char *const *command, const char *why)
{
    fprintf(stderr, "command [");
    for (int i = 0; command[i] != NULL; i++) {
        fprintf(stderr, "%s\"%s\"", i == 0 ? "" : " ", command[i]);
    }
    fprintf(stderr, "] error (%s)\n", why);
}

static bool run_commands(char *const *command, const Etcdserverpb__WatchResponse *r)
{
    struct arena arena = {0};
    const char *wrong = NULL;
    for (size_t i = 0; i < r->n_events && wrong == NULL; i++) {
        struct told told = {r, r->events[i]};
        int error, status = 0;
        pid_t child = spawn_start(command, tell_event, &told, &error);
        if (child < 0) {
            wrong = spawn_error(&arena, command[0], error);
        } else if (waitpid(child, &status, 0) == child) {
            wrong = spawn_end(&arena, status);
        }
    }
    if (wrong != NULL) {
        tell_failure(command, wrong);
    }
    arena_free(&arena);
    return wrong == NULL;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static bool is_progress(const Etcdserverpb__WatchResponse *r)
{
    return r->n_events == 0 && !r->canceled && !r->created && r->compact_revision == 0 && r->header != NULL &&
           r->header->revision != 0;
}

static const char *cancel_text(struct watching *w, const Etcdserverpb__WatchResponse *r)
{
    if (r->compact_revision != 0) {
        return error_text(ERR_COMPACTED);
    }
    if (*r->cancel_reason != '\0') {
        return session_error(&w->session->call->arena, GRPC_FAILED_PRECONDITION, r->cancel_reason, false);
    }
    return error_text(ERR_FUTURE_REV);
}

static bool any_left(const struct watching *w)
{
    list_each(node, &w->watchers)
    {
        if (!container_of(node, struct watcher, node)->over) {
            return true;
        }
    }
    return false;
}

static void deliver(struct watching *w, struct watcher *one, const Etcdserverpb__WatchResponse *r)
{
    struct printer *p = &w->session->printer;
    if (r->canceled) {
        one->over = true;
        fprintf(stderr, "watch was canceled (%s)\n", cancel_text(w, r));
    }
    if (is_progress(r)) {
        buffer_printf(&p->out, "progress notify: %lld\n", (long long)r->header->revision);
    }
    int status = printer_watch(p, r);
    printer_flush(p);
    if (status == 0 && one->args.command != NULL && !run_commands(one->args.command, r)) {
        status = CLI_ERROR;
    }
    if (status != 0) {
        end(w, status);
    } else if (!w->interactive && !any_left(w)) {
        end(w, cli_fail(CLI_INTERRUPTED, "watch is canceled by the server"));
    }
}

static void note_position(struct watcher *one, const Etcdserverpb__WatchResponse *r)
{
    int64_t seen = r->header == NULL ? 0 : r->header->revision;
    if (r->n_events > 0 && r->events[r->n_events - 1]->kv != NULL) {
        one->next_revision = r->events[r->n_events - 1]->kv->mod_revision + 1;
    } else if ((r->created && one->next_revision == 0) || is_progress(r)) {
        one->next_revision = seen + 1;
    }
}

static void dispatch(struct watching *w, const Etcdserverpb__WatchResponse *r)
{
    list_each(node, &w->watchers)
    {
        struct watcher *one = container_of(node, struct watcher, node);
        bool meant = r->watch_id == one->id || r->watch_id == -1; /* -1: progress for all of the stream */
        if (!meant || one->over || w->done) {
            continue;
        }
        note_position(one, r);
        if (!r->created || r->canceled) {
            deliver(w, one, r);
        }
    }
}

static void on_message(struct client_call *stream, struct bytes message)
{
    struct watching *w = client_call_state(stream);
    struct arena arena = {0};
    ProtobufCMessage *response = pb_unpack(&etcdserverpb__watch_response__descriptor, message, &arena, NULL);
    if (response != NULL && !w->done) {
        dispatch(w, (const Etcdserverpb__WatchResponse *)response);
    }
    arena_free(&arena);
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void on_end(struct client_call *stream, enum grpc_code code, const char *text);

static const struct client_handler stream_handler = {.on_message = on_message, .on_end = on_end};

static void open_stream(struct watching *w)
{
    /* a member without a leader refuses the watch rather than be silent */
    static const struct client_metadata metadata[] = {{"hasleader", {(const uint8_t *)"true", 4}}};
    struct client_call_options options = {.metadata = metadata, .metadata_count = 1, .state = w};
    w->stream = client_open(w->session->client, WATCH_WATCH, &stream_handler, &options);
    list_each(node, &w->watchers)
    {
        struct watcher *one = container_of(node, struct watcher, node);
        if (!one->over) {
            send_create(w, one);
        }
    }
}

static void on_reopen(struct loop_timer *timer)
{
    open_stream(container_of(timer, struct watching, reopen));
}

/* What will not get better by asking again. */
static bool is_final(enum grpc_code code)
{
    return code == GRPC_PERMISSION_DENIED || code == GRPC_UNAUTHENTICATED || code == GRPC_UNIMPLEMENTED ||
           code == GRPC_INVALID_ARGUMENT;
}

static void on_end(struct client_call *stream, enum grpc_code code, const char *text)
{
    struct watching *w = client_call_state(stream);
    struct loop *loop = client_loop(w->session->client);
    w->stream = NULL;
    if (w->done) {
        return;
    }
    if (is_final(code)) {
        fprintf(stderr, "watch was canceled (%s)\n", session_error(&w->session->call->arena, code, text, false));
        end(w, cli_fail(CLI_INTERRUPTED, "watch is canceled by the server"));
        return;
    }
    loop_timer_set(loop, &w->reopen, loop_now_ms(loop) + REOPEN_MS);
}

/* --- interactive -------------------------------------------------------------------------------------------------- */

static void wake_loop(void *owner)
{
    loop_wake(owner);
}

static void *read_lines(void *argument)
{
    struct watching *w = argument;
    for (;;) {
        struct line *line = mem_zalloc(sizeof *line);
        size_t size = 0;
        ssize_t len = getline(&line->text, &size, stdin);
        if (len <= 0 || line->text[len - 1] != '\n') {
            free(line->text);
            line->text = NULL;
            mailbox_post(&w->lines, &line->node);
            return NULL;
        }
        line->text[len - 1] = '\0';
        mailbox_post(&w->lines, &line->node);
    }
}

static void take_watch(struct watching *w, const char *text, const struct ops_words *words)
{
    struct cli_call *call = w->session->call;
    struct watch_args args = {0};
    bool fatal;
    const char *key = getenv("ETCDCTL_WATCH_KEY");
    if (words->count < 2 && (key == NULL || *key == '\0')) {
        fprintf(stderr, "Invalid command %s (command type or key is not provided)\n", text);
        return;
    }
    call->words = words->bytes;
    call->word_count = words->count;
    const char *error = watch_args_of_line(call, words->count, words->texts, &args, &fatal);
    if (error == NULL) {
        add_watcher(w, &args);
    } else if (fatal) {
        end(w, cli_fail(CLI_BAD_ARGS, "%s", error));
    } else {
        fprintf(stderr, "Invalid command %s (%s)\n", text, error);
    }
}

static void take_line(struct watching *w, const char *text)
{
    struct ops_words words;
    if (text == NULL) {
        end(w, cli_fail(CLI_INVALID_INPUT, "error reading watch request line: EOF"));
    } else if (!ops_split(&w->session->call->arena, text, &words)) {
        end(w, cli_fail(CLI_INVALID_INPUT, "invalid syntax"));
    } else if (words.count == 0) {
        fprintf(stderr, "Invalid command: %s (watch and progress supported)\n", text);
    } else if (strcmp(words.texts[0], "watch") == 0) {
        take_watch(w, text, &words);
    } else if (strcmp(words.texts[0], "progress") == 0) {
        send_progress(w);
    } else {
        fprintf(stderr, "Invalid command %s (only support watch)\n", text);
    }
}

static void take_lines(struct watching *w)
{
    struct list lines;
    list_init(&lines);
    mailbox_take(&w->lines, &lines);
    list_each(node, &lines)
    {
        struct line *line = container_of(node, struct line, node);
        if (!w->done) {
            take_line(w, line->text);
        }
        free(line->text);
        free(line);
    }
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static int start(struct watching *w, struct cli_call *call, const struct watch_args *args)
{
    struct loop *loop = client_loop(w->session->client);
    pthread_t reader;
    list_init(&w->watchers);
    w->reopen.fire = on_reopen;
    mailbox_init(&w->lines, wake_loop, loop);
    if (!w->interactive) {
        add_watcher(w, args);
    } else if (pthread_create(&reader, NULL, read_lines, w) != 0) {
        return cli_fail(CLI_ERROR, "no thread to read standard input");
    } else {
        pthread_detach(reader);
    }
    open_stream(w);
    while (!w->done) {
        loop_step(loop, -1);
        take_lines(w);
    }
    (void)call;
    return w->status;
}

static int check_variables(void)
{
    const char *key = getenv("ETCDCTL_WATCH_KEY"), *range_end = getenv("ETCDCTL_WATCH_RANGE_END");
    if ((key == NULL || *key == '\0') && range_end != NULL && *range_end != '\0') {
        return cli_fail(CLI_BAD_ARGS, "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"%s\"", range_end);
    }
    return 0;
}

int verb_watch(struct cli_call *call)
{
    struct session s;
    struct watch_args args = {0};
    struct watching w = {.session = &s, .interactive = cli_bool(call, "interactive")};
    int status = check_variables();
    if (status == 0 && !w.interactive) {
        status = watch_args_of_call(call, &args);
    }
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    status = start(&w, call, &args);
    /* The process ends here: the thread that reads standard input may still sit in its read. */
    printer_flush(&s.printer);
    fflush(NULL);
    _exit(status);
}
