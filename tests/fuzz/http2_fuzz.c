/* Any bytes behind the preface of HTTP/2, at a server with one unary and one streaming method: no more calls end than
 * began, nothing is left over when the connection is gone. */
#include "base/check.h"
#include "grpc/server.h"
#include "grpc/server_state.h"
#include "kv/rpc.pb-c.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct server *server;
static size_t running;

static void on_message(struct call *call, const ProtobufCMessage *message)
{
    call_send_message(call, message);
}

static void on_half_close(struct call *call)
{
    running--;
    call_finish(call, GRPC_OK, "");
}

static void on_cancel(struct call *call, int reason)
{
    (void)call, (void)reason;
    running--;
}

static const struct call_handler handler = {
    .on_message = on_message, .on_half_close = on_half_close, .on_cancel = on_cancel};

static void open_stream(void *service, struct call *call)
{
    (void)service;
    running++;
    call->handler = &handler;
}

static void answer(void *service, struct call *call, const ProtobufCMessage *request)
{
    (void)service;
    call_reply(call, request);
}

static const struct call_route routes[] = {
    {"/a/U", CALL_UNARY, CALL_NORMAL, &etcdserverpb__range_request__descriptor,
     &etcdserverpb__range_request__descriptor, answer, NULL},
    {"/a/S", CALL_STREAM, CALL_NORMAL, &etcdserverpb__watch_request__descriptor,
     &etcdserverpb__watch_request__descriptor, NULL, open_stream},
};

static void set_up(void)
{
    static const struct server_options options = {.max_receive_bytes = 1000};
    CHECK(loop_init(&loop) == 0);
    server = server_new(&loop, &options);
    server_route(server, routes, sizeof routes / sizeof routes[0], NULL);
    server_start(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    uint8_t out[4096];
    if (server == NULL) {
        set_up();
    }
    if (size > 60000) {
        return 0;
    }
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    struct connection *connection = connection_new(&loop, ends[0], NULL, NULL);
    http2_accept(server, connection, bytes_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    ssize_t sent = send(ends[1], data, size, MSG_NOSIGNAL);
    for (int i = 0; i < 4 && sent >= 0; i++) {
        loop_step(&loop, 0);
        while (read(ends[1], out, sizeof out) > 0) {
        }
    }
    close(ends[1]);
    for (int i = 0; i < 3; i++) {
        loop_step(&loop, 0);
    }
    struct server_stats stats;
    server_stats(server, &stats);
    CHECK(stats.streams == 0 && running == 0 && server->session_count == 0);
    CHECK(stats.calls[CALL_NORMAL] == 0);
    return 0;
}
