/* Calls, endpoints, and who waits for what. */
#include "grpc/client.h"
#include "base/check.h"
#include "base/pb.h"
#include "grpc/client_state.h"
#include "grpc/text.h"
#include <stdio.h>
#include <stdlib.h>

#define QUEUE_BYTES ((size_t)256 * 1024)

/* --- endpoints ------------------------------------------------------------------------------------------------------
 */

static const char *skip_prefix(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static void parse_endpoint(const char *text, const char *authority, struct client_endpoint *out)
{
    const char *rest;
    if ((rest = skip_prefix(text, "unix://")) != NULL || (rest = skip_prefix(text, "unix:")) != NULL) {
        out->host = mem_strdup(rest);
        out->port = -1;
        out->authority = mem_strdup(authority != NULL ? authority : "localhost");
        return;
    }
    rest = skip_prefix(text, "http://");
    rest = rest == NULL ? text : rest;
    size_t len = strcspn(rest, "/");
    const char *colon = memrchr(rest, ':', len);
    size_t host_len = colon == NULL ? len : (size_t)(colon - rest);
    out->port = colon == NULL ? 2379 : atoi(colon + 1);
    out->authority = authority != NULL ? mem_strdup(authority) : mem_printf("%.*s", (int)len, rest);
    if (host_len > 1 && rest[0] == '[' && rest[host_len - 1] == ']') {
        rest++;
        host_len -= 2;
    }
    out->host = mem_printf("%.*s", (int)host_len, rest);
}

static void parse_endpoints(struct client *c)
{
    const char *const *texts = c->options.endpoints;
    while (texts[c->endpoint_count] != NULL) {
        c->endpoint_count++;
    }
    CHECK(c->endpoint_count > 0, "a client without endpoints");
    c->endpoints = mem_zalloc(c->endpoint_count * sizeof *c->endpoints);
    for (size_t i = 0; i < c->endpoint_count; i++) {
        parse_endpoint(texts[i], c->options.authority, &c->endpoints[i]);
    }
}

static void make_links(struct client *c)
{
    size_t each = c->options.connections == 0 ? 1 : c->options.connections;
    c->link_count = each * c->endpoint_count;
    c->links = mem_zalloc(c->link_count * sizeof *c->links);
    for (size_t i = 0; i < c->link_count; i++) {
        struct client_link *link = &c->links[i];
        link->client = c;
        link->endpoint_index = (int)(i % c->endpoint_count);
        link->endpoint = &c->endpoints[link->endpoint_index];
        list_init(&link->calls);
    }
}

/* --- the client -----------------------------------------------------------------------------------------------------
 */

static struct client_header *copy_metadata(struct arena *arena, const struct client_metadata *metadata, size_t count)
{
    struct client_header *first = NULL, **last = &first;
    for (size_t i = 0; i < count; i++) {
        struct client_header *h = arena_zalloc(arena, sizeof *h);
        h->name = arena_copy(arena, bytes_str(metadata[i].name));
        h->value = arena_copy(arena, metadata[i].value);
        *last = h;
        last = &h->next;
    }
    return first;
}

void client_set_metadata(struct client *c, const struct client_metadata *metadata, size_t count)
{
    arena_reset(&c->metadata_arena);
    c->metadata = copy_metadata(&c->metadata_arena, metadata, count);
}

struct client *client_new(struct loop *loop, const struct client_options *options)
{
    struct client *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    if (loop == NULL) {
        c->own_loop = true;
        c->loop = mem_zalloc(sizeof *c->loop);
        CHECK(loop_init(c->loop) == 0, "no event loop");
    }
    c->options = *options;
    c->user_agent = mem_strdup(options->user_agent == NULL ? "kedge" : options->user_agent);
    c->options.window_bytes = options->window_bytes == 0 ? 4u << 20 : options->window_bytes;
    c->options.dial_timeout_ms = options->dial_timeout_ms == 0 ? 20000 : options->dial_timeout_ms;
    c->options.keepalive_timeout_ms = options->keepalive_timeout_ms == 0 ? 6000 : options->keepalive_timeout_ms;
    c->options.max_receive_bytes = options->max_receive_bytes == 0 ? INT32_MAX : options->max_receive_bytes;
    list_init(&c->waiting);
    parse_endpoints(c);
    make_links(c);
    client_set_metadata(c, options->metadata, options->metadata_count);
    client_link_globals(c);
    return c;
}

static void free_parts(struct client *c)
{
    for (size_t i = 0; i < c->endpoint_count; i++) {
        free(c->endpoints[i].host);
        free(c->endpoints[i].authority);
    }
    free(c->endpoints);
    free(c->links);
    free(c->user_agent);
    free(c->last_failure);
    arena_free(&c->metadata_arena);
    nghttp2_session_callbacks_del(c->callbacks);
    nghttp2_option_del(c->session_options);
}

void client_free(struct client *c)
{
    c->freeing = true;
    while (!list_empty(&c->waiting)) {
        client_end(list_first(&c->waiting, struct client_call, node), GRPC_CANCELLED, "context canceled");
    }
    for (size_t i = 0; i < c->link_count; i++) {
        struct client_link *link = &c->links[i];
        while (!list_empty(&link->calls)) {
            client_cancel(list_first(&link->calls, struct client_call, node));
        }
        client_link_close(link);
    }
    free_parts(c);
    if (c->own_loop) {
        loop_close(c->loop);
        free(c->loop);
    }
    free(c);
}

struct loop *client_loop(struct client *c)
{
    return c->loop;
}

/* --- giving calls to connections ------------------------------------------------------------------------------------
 */

static struct client_link *ready_link(struct client *c)
{
    for (size_t i = 0; i < c->link_count; i++) {
        struct client_link *link = &c->links[c->next_link++ % c->link_count];
        if (link->phase == LINK_READY && !link->draining) {
            return link;
        }
    }
    return NULL;
}

static void dial_idle(struct client *c)
{
    for (size_t i = 0; i < c->link_count; i++) {
        if (c->links[i].phase == LINK_IDLE) {
            client_link_dial(&c->links[i]);
        }
    }
}

static void begin(struct client_call *call)
{
    struct client *c = call->client;
    struct client_link *link = ready_link(c);
    if (link != NULL) {
        client_link_start(link, call);
    } else {
        list_push_back(&c->waiting, &call->node);
    }
    dial_idle(c);
}

void client_link_ready(struct client_link *link)
{
    struct client *c = link->client;
    struct list waiting, *node;
    list_init(&waiting);
    list_splice(&waiting, &c->waiting);
    while ((node = list_pop_front(&waiting)) != NULL) {
        begin(container_of(node, struct client_call, node));
    }
}

static bool any_hope(const struct client *c)
{
    for (size_t i = 0; i < c->link_count; i++) {
        if (c->links[i].phase == LINK_READY || c->links[i].phase == LINK_DIALING) {
            return true;
        }
    }
    return false;
}

static char *connection_error(const struct client *c, struct arena *arena)
{
    return arena_printf(arena, "connection error: desc = \"transport: Error while dialing: %s\"", c->last_failure);
}

void client_link_failed(struct client_link *link, const char *failure)
{
    struct client *c = link->client;
    free(c->last_failure);
    c->last_failure = mem_strdup(failure);
    if (!c->options.fail_fast || any_hope(c)) {
        return;
    }
    while (!list_empty(&c->waiting)) {
        struct client_call *call = list_first(&c->waiting, struct client_call, node);
        client_end(call, GRPC_UNAVAILABLE, connection_error(c, &call->arena));
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static void on_deadline(struct loop_timer *timer)
{
    struct client_call *call = container_of(timer, struct client_call, deadline);
    const char *text = "context deadline exceeded";
    if (call->link == NULL && call->client->last_failure != NULL) {
        text = arena_printf(&call->arena, "latest balancer error: %s", connection_error(call->client, &call->arena));
    }
    client_link_forget(call);
    client_end(call, GRPC_DEADLINE_EXCEEDED, text);
}

struct client_call *client_open(struct client *c, const char *path, const struct client_handler *handler,
                                const struct client_call_options *options)
{
    static const struct client_call_options none;
    options = options == NULL ? &none : options;
    struct client_call *call = mem_zalloc(sizeof *call);
    call->client = c;
    call->handler = handler;
    call->state = options->state;
    call->path = arena_printf(&call->arena, "%s", path);
    call->metadata = copy_metadata(&call->arena, options->metadata, options->metadata_count);
    call->reader.limit = c->options.max_receive_bytes;
    call->deadline.fire = on_deadline;
    list_init(&call->node);
    outgoing_init(&call->out);
    if (options->timeout_ms != 0) {
        call->deadline_ms = loop_clock_ns() / 1000000 + options->timeout_ms;
        loop_timer_set(c->loop, &call->deadline, call->deadline_ms);
    }
    begin(call);
    return call;
}

void *client_call_state(const struct client_call *call)
{
    return call->state;
}

static void free_call(struct client_call *call)
{
    outgoing_clear(&call->out);
    frame_free(&call->reader);
    buffer_free(&call->backlog);
    arena_free(&call->arena);
    free(call);
}

void client_end(struct client_call *call, enum grpc_code code, const char *text)
{
    if (call->ended) {
        return;
    }
    call->ended = true;
    loop_timer_stop(call->client->loop, &call->deadline);
    list_remove(&call->node);
    if (call->handler->on_end != NULL) {
        call->handler->on_end(call, code, text);
    }
    if (!call->in_callback) { /* else whoever called back frees it */
        free_call(call);
    }
}

void client_call_released(struct client_call *call)
{
    call->in_callback = false;
    if (call->ended) {
        free_call(call);
    }
}

void client_send(struct client_call *call, struct bytes message)
{
    frame_put_head(outgoing_room(&call->out, FRAME_HEAD), false, (uint32_t)message.len);
    outgoing_copy(&call->out, message);
    client_link_wake(call);
}

void client_send_message(struct client_call *call, const ProtobufCMessage *message)
{
    size_t size = pb_size(message);
    uint8_t *room = outgoing_room(&call->out, FRAME_HEAD + size);
    frame_put_head(room, false, (uint32_t)size);
    pb_write(message, room + FRAME_HEAD, size);
    client_link_wake(call);
}

bool client_writable(const struct client_call *call)
{
    bool full = call->out.total >= QUEUE_BYTES;
    if (full) {
        ((struct client_call *)(uintptr_t)call)->was_full = true;
    }
    return !full;
}

void client_half_close(struct client_call *call)
{
    call->half_close = true;
    client_link_wake(call);
}

void client_cancel(struct client_call *call)
{
    client_link_forget(call);
    client_end(call, GRPC_CANCELLED, "context canceled");
}
