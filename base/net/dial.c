#include "base/net/dial.h"
#include "base/bytes.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A name that is being resolved. libuv's thread cannot be stopped in the midst of it, so it has a life of its own. */
struct dial_lookup {
    uv_getaddrinfo_t request;
    struct dial *dial; /* NULL: nobody waits any more */
    int port;
};

static void stop(struct dial *d)
{
    loop_timer_stop(d->loop, &d->timer);
    if (d->lookup != NULL) {
        d->lookup->dial = NULL;
        uv_cancel((uv_req_t *)&d->lookup->request);
        d->lookup = NULL;
    }
    if (d->fd.fd >= 0) {
        loop_fd_close(d->loop, &d->fd);
    }
}

static void fail(struct dial *d, const char *how)
{
    char failure[512];
    snprintf(failure, sizeof failure, "dial %s: %s", d->where, how);
    stop(d);
    d->on_done(d, -1, failure);
}

static void fail_connect(struct dial *d, int error)
{
    char how[192];
    snprintf(how, sizeof how, "connect: %s", address_error(error));
    fail(d, how);
}

static void on_writable(struct loop_fd *polled, int events)
{
    struct dial *d = container_of(polled, struct dial, fd);
    int error = 0;
    socklen_t size = sizeof error;
    (void)events;
    if (getsockopt(d->fd.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        fail_connect(d, error);
        return;
    }
    int fd = d->fd.fd;
    loop_fd_watch(d->loop, &d->fd, 0);
    d->fd.fd = -1; /* the owner's now */
    stop(d);
    d->on_done(d, fd, NULL);
}

static void on_timer(struct loop_timer *timer)
{
    struct dial *d = container_of(timer, struct dial, timer);
    if (d->early[0] != 0) {
        char how[sizeof d->early];
        memcpy(how, d->early, sizeof how);
        fail(d, how);
    } else if (d->early_error != 0) {
        fail_connect(d, d->early_error);
    } else {
        fail(d, "i/o timeout");
    }
}

/* What fails at once is told in the next turn, like what fails later. */
static void fail_soon(struct dial *d, int error, const char *text)
{
    d->early_error = error;
    snprintf(d->early, sizeof d->early, "%s", text);
    loop_timer_set(d->loop, &d->timer, 0);
    loop_again(d->loop);
}

static void fail_lookup(struct dial *d, const char *host)
{
    char text[sizeof d->early];
    snprintf(d->where, sizeof d->where, "tcp");
    snprintf(text, sizeof text, "lookup %.200s: no such host", host);
    fail_soon(d, 0, text);
}

/* The address is known. */
static void begin_connect(struct dial *d, int port)
{
    if (port >= 0) {
        char address[128];
        address_format(&d->address, address, sizeof address);
        snprintf(d->where, sizeof d->where, "tcp %s", address);
    }
    d->fd.fd = socket(d->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (d->fd.fd >= 0 && port >= 0) {
        setsockopt(d->fd.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(d->fd.fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    if (d->fd.fd < 0 ||
        (connect(d->fd.fd, &d->address.any, d->address.len) != 0 && errno != EINPROGRESS && errno != EINTR)) {
        fail_soon(d, errno, "");
        return;
    }
    loop_fd_watch(d->loop, &d->fd, LOOP_WRITABLE);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct dial_lookup *lookup = container_of(request, struct dial_lookup, request);
    struct dial *d = lookup->dial;
    int port = lookup->port;
    free(lookup);
    if (d != NULL) {
        d->lookup = NULL;
        if (status != 0) {
            fail_lookup(d, d->host);
        } else {
            address_pick(found, &d->address);
            begin_connect(d, port);
        }
    }
    uv_freeaddrinfo(found);
}

static void begin_lookup(struct dial *d, const char *host, int port)
{
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    snprintf(d->host, sizeof d->host, "%s", host);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct dial_lookup *lookup = mem_zalloc(sizeof *lookup);
    lookup->dial = d;
    lookup->port = port;
    if (uv_getaddrinfo(&d->loop->uv, &lookup->request, on_resolved, host, service, &hints) != 0) {
        free(lookup);
        fail_lookup(d, host);
        return;
    }
    d->lookup = lookup;
    loop_uv_changed(d->loop);
}

void dial_start(struct dial *d, struct loop *loop, const char *host, int port, uint64_t timeout_ms)
{
    d->loop = loop;
    d->lookup = NULL;
    d->fd = (struct loop_fd){.fd = -1, .on_event = on_writable};
    d->timer.fire = on_timer;
    d->early[0] = 0;
    d->early_error = 0;
    snprintf(d->where, sizeof d->where, port < 0 ? "unix %s" : "tcp %s:%d", host, port);
    loop_timer_set(loop, &d->timer, loop_clock_ns() / 1000000 + timeout_ms);
    if (address_literal(host, port, &d->address) == 0) {
        begin_connect(d, port);
    } else if (port < 0) {
        fail_lookup(d, host);
    } else {
        begin_lookup(d, host, port);
    }
}

void dial_cancel(struct dial *d)
{
    if (d->loop != NULL) {
        stop(d);
    }
}
