#include "base/net/dial.h"
#include "base/bytes.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Outlives the dial until libuv lets go of it. */
struct dial_poll {
    uv_poll_t handle;
    struct dial *dial;
};

static void poll_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct dial_poll, handle));
}

static void stop(struct dial *d)
{
    loop_timer_stop(d->loop, &d->timer);
    if (d->poll != NULL) {
        uv_close((uv_handle_t *)&d->poll->handle, poll_closed);
        d->poll = NULL;
    }
}

static void fail(struct dial *d, const char *how)
{
    char failure[512];
    snprintf(failure, sizeof failure, "dial %s: %s", d->where, how);
    stop(d);
    if (d->fd >= 0) {
        close(d->fd);
        d->fd = -1;
    }
    d->on_done(d, -1, failure);
}

static void fail_connect(struct dial *d, int error)
{
    char how[192];
    snprintf(how, sizeof how, "connect: %s", address_error(error));
    fail(d, how);
}

static void on_writable(uv_poll_t *handle, int status, int events)
{
    struct dial *d = container_of(handle, struct dial_poll, handle)->dial;
    int error = 0;
    socklen_t size = sizeof error;
    (void)status, (void)events;
    loop_touch(d->loop);
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error != 0) {
        fail_connect(d, error);
        return;
    }
    int fd = d->fd;
    stop(d);
    d->fd = -1;
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

void dial_start(struct dial *d, struct loop *loop, const char *host, int port, uint64_t timeout_ms)
{
    d->loop = loop;
    d->fd = -1;
    d->timer.fire = on_timer;
    d->early[0] = 0;
    d->early_error = 0;
    snprintf(d->where, sizeof d->where, port < 0 ? "unix %s" : "tcp %s:%d", host, port);
    if (address_resolve(host, port, false, &d->address) != 0) {
        char text[200];
        snprintf(d->where, sizeof d->where, "tcp");
        snprintf(text, sizeof text, "lookup %s: no such host", host);
        fail_soon(d, 0, text);
        return;
    }
    if (port >= 0) {
        char address[128];
        address_format(&d->address, address, sizeof address);
        snprintf(d->where, sizeof d->where, "tcp %s", address);
    }
    d->fd = socket(d->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (d->fd >= 0 && port >= 0) {
        setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (d->fd < 0 || (connect(d->fd, &d->address.any, d->address.len) != 0 && errno != EINPROGRESS && errno != EINTR)) {
        fail_soon(d, errno, "");
        return;
    }
    d->poll = mem_zalloc(sizeof *d->poll);
    d->poll->dial = d;
    uv_poll_init(&loop->uv, &d->poll->handle, d->fd);
    uv_poll_start(&d->poll->handle, UV_WRITABLE, on_writable);
    loop_touch(loop);
    loop_timer_set(loop, &d->timer, loop_clock_ns() / 1000000 + timeout_ms);
}

void dial_cancel(struct dial *d)
{
    if (d->loop == NULL) {
        return;
    }
    bool under_way = d->poll != NULL || d->timer.node.slot != 0;
    stop(d);
    if (under_way && d->fd >= 0) {
        close(d->fd);
        d->fd = -1;
    }
}
