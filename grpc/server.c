/* Addresses, the choice of protocol by the first bytes, the way down. */
#include "grpc/server.h"
#include "base/check.h"
#include "grpc/server_state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_BYTES (sizeof preface - 1)

struct port {
    struct listener listener;
    struct server *server;
    enum server_protocols protocols;
    struct list node;
};

/* A connection whose protocol is not known yet. */
struct sniff {
    struct port *port;
    struct connection *connection;
    struct loop_timer timer;
    uint8_t first[PREFACE_BYTES];
    size_t len;
};

/* --- protocol choice (grpc.md, "Ports and protocol choice") ---------------------------------------------------------
 */

static void sniff_free(struct sniff *sniff)
{
    loop_timer_stop(sniff->connection->loop, &sniff->timer);
    free(sniff);
}

static void sniff_closed(struct connection *connection)
{
    sniff_free(connection->state);
}

static void sniff_late(struct loop_timer *timer)
{
    connection_close(container_of(timer, struct sniff, timer)->connection);
}

static size_t sniff_produce(struct connection *connection, uint8_t *out, size_t cap)
{
    (void)connection, (void)out, (void)cap;
    return 0;
}

static void chosen(struct sniff *sniff, bool is_http2, struct bytes in)
{
    struct connection *connection = sniff->connection;
    struct port *port = sniff->port;
    struct buffer all = {0};
    if (sniff->len > 0) {
        buffer_append(&all, sniff->first, sniff->len);
        buffer_append(&all, in.data, in.len);
        in = buffer_bytes(&all);
    }
    if (port->protocols == (is_http2 ? SERVER_HTTP_ONLY : SERVER_GRPC_ONLY)) {
        connection_close(connection);
    } else {
        sniff_free(sniff);
        if (is_http2) {
            http2_accept(port->server, connection, in);
        } else {
            http1_serve(connection, &port->server->http1, in);
        }
    }
    buffer_free(&all);
}

static void sniff_read(struct connection *connection, struct bytes in)
{
    struct sniff *sniff = connection->state;
    size_t missing = PREFACE_BYTES - sniff->len;
    size_t n = in.len < missing ? in.len : missing;
    if (memcmp(preface + sniff->len, in.data, n) != 0) {
        chosen(sniff, false, in);
    } else if (n == missing) {
        chosen(sniff, true, in);
    } else {
        memcpy(sniff->first + sniff->len, in.data, n);
        sniff->len += n;
    }
}

static const struct connection_protocol sniff_protocol = {
    .on_read = sniff_read,
    .produce = sniff_produce,
    .on_close = sniff_closed,
};

static void on_accept(struct listener *listener, struct connection *connection)
{
    struct port *port = listener->owner;
    struct sniff *sniff = mem_zalloc(sizeof *sniff);
    sniff->port = port;
    sniff->connection = connection;
    sniff->timer.fire = sniff_late;
    loop_timer_set(listener->loop, &sniff->timer, loop_now_ms(listener->loop) + port->server->http1.header_timeout_ms);
    connection_switch(connection, &sniff_protocol, sniff, (struct bytes){0});
}

/* --- the server -----------------------------------------------------------------------------------------------------
 */

static bool run_hook(struct loop_hook *hook)
{
    struct server *server = container_of(hook, struct server, hook);
    struct list resumed, *node;
    list_init(&resumed);
    list_splice(&resumed, &server->resumed);
    while ((node = list_pop_front(&resumed)) != NULL) {
        stream_resume(container_of(node, struct stream, resume_node));
    }
    return lane_run(server);
}

static void not_found(void *owner, struct http1_request *request)
{
    (void)owner;
    http1_not_found(request);
}

static void set_defaults(struct server *server)
{
    struct server_options *o = &server->options;
    o->max_concurrent_streams = o->max_concurrent_streams == 0 ? UINT32_MAX : o->max_concurrent_streams;
    o->max_receive_bytes = o->max_receive_bytes == 0 ? 2097152 : o->max_receive_bytes;
    o->keepalive_min_time_ms = o->keepalive_min_time_ms == 0 ? 5000 : o->keepalive_min_time_ms;
    o->keepalive_interval_ms = o->keepalive_interval_ms == 0 ? 7200000 : o->keepalive_interval_ms;
    o->keepalive_timeout_ms = o->keepalive_timeout_ms == 0 ? 20000 : o->keepalive_timeout_ms;
    /* With the answer goes the revision that it pins (design.md, "Pin"). */
    o->answer_timeout_ms = o->answer_timeout_ms == 0 ? 30000 : o->answer_timeout_ms;
    server->http1 = o->http1;
    if (server->http1.handle == NULL) {
        server->http1.handle = not_found;
    }
    server->http1.header_timeout_ms = server->http1.header_timeout_ms == 0 ? 10000 : server->http1.header_timeout_ms;
    for (size_t i = 0; i < CALL_LANES; i++) {
        server->lanes[i].limit = o->lanes[i];
        list_init(&server->lanes[i].waiting);
    }
}

static void grace_over(struct loop_timer *timer);

struct server *server_new(struct loop *loop, const struct server_options *options)
{
    struct server *server = mem_zalloc(sizeof *server);
    server->loop = loop;
    server->options = *options;
    list_init(&server->ports);
    list_init(&server->sessions);
    list_init(&server->pool);
    list_init(&server->resumed);
    set_defaults(server);
    http2_globals(server);
    server->grace.fire = grace_over;
    server->hook.run = run_hook;
    loop_hook_add(loop, &server->hook);
    return server;
}

void server_route(struct server *server, const struct call_route *routes, size_t count, void *service)
{
    for (size_t i = 0; i < count; i++) {
        routes_add(&server->routes, &routes[i], service);
    }
}

const struct call_route *server_find(const struct server *server, struct bytes path, void **service)
{
    const struct routes_entry *entry = routes_find(&server->routes, path);
    if (entry == NULL) {
        return NULL;
    }
    *service = entry->service;
    return entry->route;
}

static void port_gone(struct listener *listener)
{
    struct port *port = listener->owner;
    struct server *server = port->server;
    list_remove(&port->node);
    free(port);
    server_session_gone(server);
}

int server_listen(struct server *server, const char *host, int port_number, enum server_protocols protocols,
                  char *reason, size_t reason_size)
{
    struct port *port = mem_zalloc(sizeof *port);
    int error = listener_open(&port->listener, server->loop, host, port_number, reason, reason_size);
    if (error != 0) {
        free(port);
        return error;
    }
    port->server = server;
    port->protocols = protocols;
    port->listener.owner = port;
    port->listener.limit = server->options.max_connections;
    port->listener.on_accept = on_accept;
    port->listener.on_gone = port_gone;
    list_push_back(&server->ports, &port->node);
    if (!server->started) {
        listener_pause(&port->listener);
    }
    const char *colon = strrchr(port->listener.address, ':');
    return port_number < 0 || colon == NULL ? 0 : atoi(colon + 1);
}

void server_start(struct server *server)
{
    server->started = true;
    list_each(node, &server->ports)
    {
        listener_resume(&container_of(node, struct port, node)->listener);
    }
}

/* --- the way down ---------------------------------------------------------------------------------------------------
 */

void server_session_gone(struct server *server)
{
    if (!server->stopping || !list_empty(&server->ports) || server->on_stopped == NULL) {
        return;
    }
    void (*on_stopped)(void *owner) = server->on_stopped;
    server->on_stopped = NULL;
    loop_timer_stop(server->loop, &server->grace);
    on_stopped(server->on_stopped_owner);
}

static void close_connections(struct server *server, bool all)
{
    list_each(node, &server->ports)
    {
        struct port *port = container_of(node, struct port, node);
        list_each(inner, &port->listener.connections)
        {
            struct connection *connection = container_of(inner, struct connection, node);
            if (all || connection->protocol == &sniff_protocol) {
                connection_close(connection);
            } else if (http1_idle(connection)) {
                connection_close_when_drained(connection); /* an answer may still be on its way */
            }
        }
    }
}

static void grace_over(struct loop_timer *timer)
{
    close_connections(container_of(timer, struct server, grace), true);
}

void server_cut_streams(struct server *server, bool (*wanted)(const struct call *call), int error)
{
    list_each(session, &server->sessions)
    {
        http2_cut_streams(container_of(session, struct http2, node), wanted, error);
    }
}

void server_stop(struct server *server, uint64_t grace_ms, void (*on_stopped)(void *owner), void *owner)
{
    server->stopping = true;
    server->on_stopped = on_stopped;
    server->on_stopped_owner = owner;
    list_each(node, &server->ports)
    {
        listener_close(&container_of(node, struct port, node)->listener);
    }
    list_each(session, &server->sessions)
    {
        http2_drain(container_of(session, struct http2, node));
    }
    close_connections(server, grace_ms == 0);
    loop_timer_set(server->loop, &server->grace, loop_now_ms(server->loop) + grace_ms);
    if (list_empty(&server->ports)) {
        server_session_gone(server);
    }
}

void server_free(struct server *server)
{
    server->stopping = true;
    server->on_stopped = NULL;
    list_each(node, &server->ports)
    {
        listener_close(&container_of(node, struct port, node)->listener);
    }
    close_connections(server, true);
    while (!list_empty(&server->ports)) {
        loop_step(server->loop, 0);
    }
    while (server->long_requests > 0) {
        loop_step(server->loop, 10);
    }
    loop_timer_stop(server->loop, &server->grace);
    loop_hook_remove(server->loop, &server->hook);
    stream_pool_free(server);
    pool_free(&server->memory);
    routes_free(&server->routes);
    nghttp2_session_callbacks_del(server->callbacks);
    nghttp2_option_del(server->session_options);
    free(server);
}

void server_stats(const struct server *server, struct server_stats *out)
{
    *out = (struct server_stats){.streams = server->stream_count,
                                 .calls_total = server->calls_total,
                                 .received_bytes = server->received_bytes,
                                 .sent_bytes = server->sent_bytes};
    list_each(node, &server->ports)
    {
        const struct listener *listener = &container_of(node, struct port, node)->listener;
        out->connections += listener->count;
        list_each(inner, &listener->connections)
        {
            const struct connection *connection = container_of(inner, struct connection, node);
            out->received_bytes += connection->received_bytes;
            out->sent_bytes += connection->sent_bytes;
        }
    }
    for (size_t i = 0; i < CALL_LANES; i++) {
        out->calls[i] = server->lanes[i].operations;
        out->waiting[i] = server->lanes[i].waiting_count;
    }
}

size_t *server_work_count(struct server *server)
{
    return &server->long_requests;
}
