#include "base/net/listener.h"
#include "base/net/address.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 16
#define RETRY_MS 100 /* when there is no descriptor left: poll would report the waiting connection for ever */

static bool full(const struct listener *l)
{
    return l->limit != 0 && l->count >= l->limit;
}

/* Of connections of all listeners: what is left is for the process's own files. */
static bool loop_full(const struct loop *loop)
{
    return loop->max_connections != 0 && loop->connections >= loop->max_connections;
}

static void retry_later(struct listener *l)
{
    loop_timer_set(l->loop, &l->retry, loop_now_ms(l->loop) + RETRY_MS);
}

static void watch(struct listener *l)
{
    if (l->closed) {
        return;
    }
    bool waits = l->paused || full(l) || l->retry.node.slot != 0;
    loop_fd_watch(l->loop, &l->fd, waits ? 0 : LOOP_READABLE);
}

static void on_retry(struct loop_timer *timer)
{
    watch(container_of(timer, struct listener, retry));
}

static void gone_if_last(struct listener *l)
{
    if (l->gone && l->count == 0 && l->on_gone != NULL) {
        l->on_gone(l);
    }
}

static void closed(struct loop_later *later)
{
    struct listener *l = container_of(later, struct listener, closing);
    l->gone = true;
    gone_if_last(l);
}

static void connection_freed(struct connection *connection)
{
    struct listener *l = connection->owner;
    list_remove(&connection->node);
    bool was_full = full(l);
    l->count--;
    l->loop->connections--;
    if (was_full) {
        watch(l);
    }
    gone_if_last(l);
}

static void adopt(struct listener *l, int fd, const struct address *peer)
{
    int on = 1;
    if (peer->any.sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    struct connection *connection = connection_new(l->loop, fd, NULL, NULL);
    address_format(peer, connection->peer, sizeof connection->peer);
    connection->owner = l;
    connection->on_free = connection_freed;
    list_push_back(&l->connections, &connection->node);
    l->count++;
    l->loop->connections++;
    l->on_accept(l, connection);
}

static void on_event(struct loop_fd *fd, int events)
{
    struct listener *l = container_of(fd, struct listener, fd);
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && !full(l); i++) {
        if (loop_full(l->loop)) {
            retry_later(l);
            break;
        }
        struct address peer = {.len = sizeof peer.storage};
        int accepted = accept4(l->fd.fd, &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            adopt(l, accepted, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            retry_later(l);
        }
        if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
    watch(l);
}

static int failed(int fd, const char *network, const char *where, const char *call, char *reason, size_t reason_size)
{
    int error = errno;
    snprintf(reason, reason_size, "listen %s %s: %s: %s", network, where, call, address_error(error));
    if (fd >= 0) {
        close(fd);
    }
    return -error;
}

/* A socket file that nobody listens on any more is removed, as etcd does it. */
static void remove_stale(const struct address *address)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return;
    }
    if (connect(probe, &address->any, address->len) != 0 && errno == ECONNREFUSED) {
        unlink(address->local.sun_path);
    }
    close(probe);
}

static int bind_and_listen(struct listener *l, const struct address *address, const char *network, const char *where,
                           char *reason, size_t reason_size)
{
    int on = 1;
    int off = 0;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return failed(fd, network, where, "socket", reason, reason_size);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->any.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    } else if (address->any.sa_family == AF_UNIX) {
        remove_stale(address);
    }
    if (bind(fd, &address->any, address->len) != 0) {
        return failed(fd, network, where, "bind", reason, reason_size);
    }
    if (listen(fd, 4096) != 0) {
        return failed(fd, network, where, "listen", reason, reason_size);
    }
    l->fd = (struct loop_fd){.fd = fd, .on_event = on_event};
    return 0;
}

int listener_open(struct listener *l, struct loop *loop, const char *host, int port, char *reason, size_t reason_size)
{
    struct address address;
    char where[192];
    const char *network = port < 0 ? "unix" : "tcp";
    const char *format = port < 0 ? "%s" : strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d";
    snprintf(where, sizeof where, format, host, port);
    int error = address_resolve(host, port, true, &address);
    if (error != 0) {
        snprintf(reason, reason_size, "listen %s: lookup %s: no such host", network, host);
        return -EADDRNOTAVAIL;
    }
    error = bind_and_listen(l, &address, network, where, reason, reason_size);
    if (error != 0) {
        return error;
    }
    l->loop = loop;
    l->retry = (struct loop_timer){.fire = on_retry};
    l->unlink_path = port < 0 ? mem_strdup(host) : NULL;
    list_init(&l->connections);
    address.len = sizeof address.storage;
    getsockname(l->fd.fd, &address.any, &address.len);
    address_format(&address, l->address, sizeof l->address);
    watch(l);
    return 0;
}

void listener_pause(struct listener *l)
{
    l->paused = true;
    watch(l);
}

void listener_resume(struct listener *l)
{
    l->paused = false;
    watch(l);
}

void listener_close(struct listener *l)
{
    if (l->closed) {
        return;
    }
    l->closed = true;
    loop_timer_stop(l->loop, &l->retry);
    loop_fd_close(l->loop, &l->fd);
    loop_later(l->loop, &l->closing, closed);
    if (l->unlink_path != NULL) {
        unlink(l->unlink_path);
        free(l->unlink_path);
        l->unlink_path = NULL;
    }
}
