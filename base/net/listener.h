/* A listening socket: TCP (IPv4, IPv6) or Unix. Accepts in batches, sets TCP_NODELAY, and stops accepting while the
 * process is out of descriptors, or over its own limit of connections or its loop's.
 *
 * Thread: the loop's. */
#ifndef BASE_NET_LISTENER_H
#define BASE_NET_LISTENER_H

#include "base/net/connection.h"

struct listener {
    struct loop *loop;
    struct loop_fd fd;
    struct loop_later closing;
    struct loop_timer retry; /* after EMFILE, or at the loop's limit */
    struct list connections; /* of connection.node */
    size_t count, limit;     /* limit 0 = none; above it accepting pauses (etcd: RLIMIT_NOFILE - 150) */
    bool paused, closed, gone;
    char address[128]; /* as bound: "127.0.0.1:2379"; the port is filled in when 0 was asked for */
    char *unlink_path; /* Unix socket to remove on close */
    /* A new connection: make the protocol. The connection has no protocol yet: call connection_switch. */
    void (*on_accept)(struct listener *listener, struct connection *connection);
    /* After listener_close, when the last of its connections is freed: the listener's memory may go. May be NULL. */
    void (*on_gone)(struct listener *listener);
    void *owner;
};

/* host: numeric address or name ("localhost", "" = all), port; or host = a path and port = -1 for a Unix socket.
 * Returns 0, or -errno with a text like Go's ("listen tcp 127.0.0.1:2379: bind: address already in use") in reason. */
int listener_open(struct listener *listener, struct loop *loop, const char *host, int port, char *reason,
                  size_t reason_size);
void listener_pause(struct listener *listener); /* stops accepting; the kernel's backlog still fills */
void listener_resume(struct listener *listener);
/* Closes the listening socket. Its connections live on; the owner closes them. */
void listener_close(struct listener *listener);

#endif
