/* make-mirror: copies the keys of one cluster to another, and then every change, in the source's order, until it is
 * interrupted or something fails.
 *
 * The copy is of one revision: pages of keys, their puts sent side by side, since they do not depend on each other.
 * Changes go one transaction after another, one for all that the source changed at one revision (in pieces of
 * --max-txn-ops). Both sides may be kedge or etcd. What is sent twice after a broken connection does no harm: puts and
 * deletes of the newest state, in order. */
#include "base/net/loop.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include <stdio.h>
#include <unistd.h>

#define PAGE_KEYS 1000
#define PAGE_BYTES ((size_t)4 << 20) /* what a page is meant to be at most; a single value may be more */
#define PUTS_AT_ONCE 64
#define TELL_MS 30000
#define REOPEN_MS 200

struct mirror {
    struct session *session;
    struct client *destination;
    const char *prefix, *other_prefix; /* of the source's keys; what stands there in the destination instead */
    size_t max_ops;                    /* a transaction; 0 = no limit */
    int64_t next_revision;             /* the first that is not copied yet */
    int64_t copied;
    struct loop_timer tell;
};

static ProtobufCBinaryData renamed(const struct mirror *m, struct arena *arena, ProtobufCBinaryData key)
{
    size_t cut = strlen(m->prefix), put = strlen(m->other_prefix);
    if (key.len < cut || strcmp(m->prefix, m->other_prefix) == 0) {
        return key;
    }
    uint8_t *text = arena_alloc(arena, key.len - cut + put + 1);
    memcpy(text, m->other_prefix, put);
    memcpy(text + put, key.data + cut, key.len - cut);
    return (ProtobufCBinaryData){.data = text, .len = key.len - cut + put};
}

static void range_of(const struct mirror *m, ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
    static const ProtobufCBinaryData zero = {.len = 1, .data = (uint8_t *)(uintptr_t) "\0"};
    bool all = *m->prefix == '\0';
    *key = all ? zero : session_bytes(m->prefix);
    *end = all ? zero : ops_prefix_end(&m->session->call->arena, *key);
}

/* An error's text, where it outlives the arena that it was made in. */
static const char *kept(const struct mirror *m, const char *error)
{
    return error == NULL ? NULL : arena_printf(&m->session->call->arena, "%s", error);
}

static void on_tell(struct loop_timer *timer)
{
    struct mirror *m = container_of(timer, struct mirror, tell);
    struct loop *loop = client_loop(m->session->client);
    printf("%lld\n", (long long)m->copied);
    fflush(stdout);
    loop_timer_set(loop, timer, loop_now_ms(loop) + TELL_MS);
}

/* --- the keys as they are: a page of them, its puts under way ----------------------------------------------------- */

struct page {
    struct mirror *mirror;
    struct arena arena;
    const Etcdserverpb__RangeResponse *keys;
    size_t sent, under_way, bytes_under_way;
    size_t *again, again_count; /* those that did not reach the destination */
    const char *error;
};

struct put {
    struct page *page;
    size_t place;
};

static size_t weight(const Mvccpb__KeyValue *kv)
{
    return kv->key.len + kv->value.len;
}

static Etcdserverpb__PutRequest put_of(struct page *page, size_t place)
{
    const Mvccpb__KeyValue *kv = page->keys->kvs[place];
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = renamed(page->mirror, &page->arena, kv->key);
    request.value = kv->value;
    return request;
}

static void on_put(struct client_call *call, enum grpc_code code, const char *text)
{
    struct put *put = client_call_state(call);
    struct page *page = put->page;
    page->under_way--;
    page->bytes_under_way -= weight(page->keys->kvs[put->place]);
    if (code == GRPC_OK) {
        page->mirror->copied++;
    } else if (code == GRPC_UNAVAILABLE) {
        page->again[page->again_count++] = put->place;
    } else if (page->error == NULL) {
        page->error = session_error(&page->mirror->session->call->arena, code, text, false);
    }
}

static void send_put(struct page *page)
{
    static const struct client_handler handler = {.on_end = on_put};
    struct put *put = arena_alloc(&page->arena, sizeof *put);
    *put = (struct put){page, page->sent++};
    Etcdserverpb__PutRequest request = put_of(page, put->place);
    struct client_call_options options = {.state = put};
    struct client_call *call = client_open(page->mirror->destination, KV_PUT, &handler, &options);
    page->under_way++;
    page->bytes_under_way += weight(page->keys->kvs[put->place]);
    client_send_message(call, &request.base);
    client_half_close(call);
}

static bool has_room(const struct page *page)
{
    return page->under_way == 0 || (page->under_way < PUTS_AT_ONCE && page->bytes_under_way < PAGE_BYTES);
}

static const char *put_page(struct page *page)
{
    struct mirror *m = page->mirror;
    page->again = arena_alloc(&page->arena, (page->keys->n_kvs + 1) * sizeof *page->again);
    while (page->under_way > 0 || (page->error == NULL && page->sent < page->keys->n_kvs)) {
        while (page->error == NULL && page->sent < page->keys->n_kvs && has_room(page)) {
            send_put(page);
        }
        loop_step(client_loop(m->destination), -1);
    }
    for (size_t i = 0; i < page->again_count && page->error == NULL; i++) {
        struct session_call what = {KV_PUT, true, 0};
        Etcdserverpb__PutRequest request = put_of(page, page->again[i]);
        ProtobufCMessage *response;
        page->error = session_unary_on(m->session, m->destination, &page->arena, &what, &request.base,
                                       &etcdserverpb__put_response__descriptor, &response);
        m->copied += page->error == NULL;
    }
    return page->error;
}

/* How many keys the next page may have, for it not to be much more than PAGE_BYTES. */
static int64_t next_limit(const Etcdserverpb__RangeResponse *keys)
{
    size_t bytes = 0;
    for (size_t i = 0; i < keys->n_kvs; i++) {
        bytes += weight(keys->kvs[i]);
    }
    size_t each = keys->n_kvs == 0 ? 0 : bytes / keys->n_kvs + 1;
    size_t fit = each == 0 ? PAGE_KEYS : PAGE_BYTES / each;
    return fit < 1 ? 1 : fit > PAGE_KEYS ? PAGE_KEYS : (int64_t)fit;
}

static const char *get_page(struct page *page, const Etcdserverpb__RangeRequest *request)
{
    struct session_call what = {KV_RANGE, true, 0};
    ProtobufCMessage *response;
    const char *error = session_unary_on(page->mirror->session, page->mirror->session->client, &page->arena, &what,
                                         &request->base, &etcdserverpb__range_response__descriptor, &response);
    page->keys = (const Etcdserverpb__RangeResponse *)response;
    return error;
}

/* The key behind the last one of the page. */
static ProtobufCBinaryData key_after(struct arena *arena, const Etcdserverpb__RangeResponse *keys)
{
    ProtobufCBinaryData last = keys->kvs[keys->n_kvs - 1]->key;
    uint8_t *next = arena_zalloc(arena, last.len + 1);
    memcpy(next, last.data, last.len);
    return (ProtobufCBinaryData){.data = next, .len = last.len + 1};
}

static const char *copy_keys(struct mirror *m)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct arena key_arena[2] = {{0}, {0}}; /* the key to go on with lives longer than its page */
    const char *error = NULL;
    range_of(m, &request.key, &request.range_end);
    request.limit = 64;
    for (int turn = 0; request.limit > 0 && error == NULL; turn = !turn) {
        struct page page = {.mirror = m};
        error = get_page(&page, &request);
        if (error == NULL) {
            error = put_page(&page);
        }
        if (error == NULL) {
            request.revision = request.revision != 0 ? request.revision : page.keys->header->revision;
            request.limit = page.keys->more ? next_limit(page.keys) : 0;
            arena_free(&key_arena[turn]);
            if (page.keys->more) {
                request.key = key_after(&key_arena[turn], page.keys);
            }
        }
        error = kept(m, error);
        arena_free(&page.arena);
    }
    arena_free(&key_arena[0]);
    arena_free(&key_arena[1]);
    m->next_revision = request.revision + 1;
    return error;
}

/* --- what changes ------------------------------------------------------------------------------------------------- */

struct change {
    struct mirror *mirror;
    struct arena *arena;
    Etcdserverpb__RequestOp **ops;
    size_t count;
};

static const char *commit(struct change *c)
{
    struct session_call what = {KV_TXN, true, 0};
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    ProtobufCMessage *response;
    if (c->count == 0) {
        return NULL;
    }
    request.success = c->ops;
    request.n_success = c->count;
    const char *error = session_unary_on(c->mirror->session, c->mirror->destination, c->arena, &what, &request.base,
                                         &etcdserverpb__txn_response__descriptor, &response);
    c->mirror->copied += error == NULL ? (int64_t)c->count : 0;
    c->count = 0;
    return error;
}

static void add_event(struct change *c, const Mvccpb__Event *event)
{
    Etcdserverpb__RequestOp *op = arena_alloc(c->arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
        Etcdserverpb__DeleteRangeRequest *request = arena_alloc(c->arena, sizeof *request);
        etcdserverpb__delete_range_request__init(request);
        request->key = renamed(c->mirror, c->arena, event->kv->key);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = request;
    } else {
        Etcdserverpb__PutRequest *request = arena_alloc(c->arena, sizeof *request);
        etcdserverpb__put_request__init(request);
        request->key = renamed(c->mirror, c->arena, event->kv->key);
        request->value = event->kv->value;
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = request;
    }
    c->ops[c->count++] = op;
}

static const char *take_events(struct mirror *m, struct arena *arena, const Etcdserverpb__WatchResponse *r)
{
    struct change c = {.mirror = m, .arena = arena};
    const char *error = NULL;
    int64_t revision = 0;
    c.ops = arena_alloc(arena, (r->n_events + 1) * sizeof(Etcdserverpb__RequestOp *));
    for (size_t i = 0; i < r->n_events && error == NULL; i++) {
        const Mvccpb__Event *event = r->events[i];
        if (event->kv == NULL) {
            continue;
        }
        bool full = m->max_ops > 0 && c.count >= m->max_ops;
        if (full || (revision != 0 && event->kv->mod_revision != revision)) {
            error = commit(&c);
        }
        revision = event->kv->mod_revision;
        add_event(&c, event);
    }
    error = error != NULL ? error : commit(&c);
    if (error == NULL && revision != 0) {
        m->next_revision = revision + 1;
    }
    return error;
}

static const char *take_answer(struct mirror *m, struct arena *arena, const Etcdserverpb__WatchResponse *r)
{
    if (r->compact_revision != 0) {
        return error_text(ERR_COMPACTED);
    }
    if (r->canceled) {
        return *r->cancel_reason != '\0' ? r->cancel_reason : "the source has ended the watch";
    }
    bool progress = r->n_events == 0 && !r->created && r->header != NULL;
    if (progress && r->header->revision >= m->next_revision) { /* nothing to copy up to there */
        m->next_revision = r->header->revision + 1;
    }
    return take_events(m, arena, r);
}

static struct client_stream *open_watch(struct mirror *m)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    struct client_stream *stream = client_stream_open(m->session->client, WATCH_WATCH, 0);
    range_of(m, &create.key, &create.range_end);
    create.start_revision = m->next_revision;
    create.progress_notify = true; /* so that a quiet source may be compacted while we watch */
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    client_stream_send(stream, &request.base);
    return stream;
}

/* Until the stream breaks (NULL) or something fails. */
static const char *follow_stream(struct mirror *m)
{
    struct client_stream *stream = open_watch(m);
    struct client_status status = {0};
    struct arena arena = {0};
    ProtobufCMessage *message;
    const char *error = NULL;
    while (error == NULL && client_stream_receive(stream, -1, &etcdserverpb__watch_response__descriptor, &arena,
                                                  &message, &status) > 0) {
        error = kept(m, take_answer(m, &arena, (const Etcdserverpb__WatchResponse *)message));
        arena_reset(&arena);
    }
    bool final = status.code == GRPC_PERMISSION_DENIED || status.code == GRPC_UNAUTHENTICATED ||
                 status.code == GRPC_UNIMPLEMENTED || status.code == GRPC_INVALID_ARGUMENT;
    if (error == NULL && final) {
        error = session_error(&m->session->call->arena, status.code, status.text, false);
    }
    client_stream_close(stream);
    arena_free(&arena);
    return error;
}

static const char *follow(struct mirror *m)
{
    for (;;) {
        const char *error = follow_stream(m);
        if (error != NULL) {
            return error;
        }
        usleep(REOPEN_MS * 1000);
    }
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static int check_flags(const struct cli_call *call)
{
    if (cli_bool(call, "no-dest-prefix") && *cli_string(call, "dest-prefix") != '\0') {
        return cli_fail(CLI_BAD_ARGS,
                        "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
    }
    return 0;
}

static const char *mirror(struct mirror *m)
{
    const struct cli_call *call = m->session->call;
    struct loop *loop = client_loop(m->session->client);
    int64_t revision = cli_number(call, "rev");
    m->tell.fire = on_tell;
    loop_timer_set(loop, &m->tell, loop_now_ms(loop) + TELL_MS);
    /* From a given revision on there is nothing to copy: the history is followed from there. */
    m->next_revision = revision;
    const char *error = revision > 1 ? NULL : copy_keys(m);
    error = error != NULL ? error : follow(m);
    loop_timer_stop(loop, &m->tell);
    return error;
}

int verb_make_mirror(struct cli_call *call)
{
    struct session s;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "make-mirror takes one destination argument");
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    const char *const endpoints[] = {call->args[0], NULL};
    status = check_flags(call);
    if (status == 0 && !session_check_endpoints(endpoints)) {
        status = CLI_BAD_FEATURE;
    }
    if (status != 0) {
        return session_end(&s, status);
    }
    struct client_options options = session_options(&s, endpoints);
    const char *other = cli_string(call, "dest-prefix"), *prefix = cli_string(call, "prefix");
    struct mirror m = {
        .session = &s,
        .destination = client_new(client_loop(s.client), &options),
        .prefix = prefix,
        .other_prefix = cli_bool(call, "no-dest-prefix") || *other != '\0' ? other : prefix,
        .max_ops = (size_t)cli_number(call, "max-txn-ops"),
    };
    const char *error = mirror(&m);
    status = cli_fail(CLI_ERROR, "%s", error);
    client_free(m.destination);
    return session_end(&s, status);
}
