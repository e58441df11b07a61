/* A stream socket on the loop, between the operating system and a protocol (HTTP/2, HTTP/1, the choice between them).
 *
 * Reading: level-triggered; one read of the loop's shared buffer an event, given to the protocol as it is.
 * Writing: the protocol asks for a flush (connection_flush), and once at the end of the turn its `produce` fills the
 * loop's shared write buffer; what the socket does not take at once is kept (at most LOOP_WRITE_BYTES) and `produce` is
 * not asked again until that is gone. So a peer that does not read costs one buffer, and the protocol sees it as
 * produce not being called.
 *
 * Between socket and protocol stands `transport`: plain read(2)/write(2) here; TLS takes that place in a later issue.
 *
 * Thread: the loop's. */
#ifndef BASE_NET_CONNECTION_H
#define BASE_NET_CONNECTION_H

#include "base/bytes.h"
#include "base/net/loop.h"
#include <sys/types.h>

struct connection;

/* What carries the bytes. Results as read(2) and write(2) with -errno: > 0 bytes, 0 end (read only), -EAGAIN. */
struct connection_transport {
    ssize_t (*read)(struct connection *connection, uint8_t *out, size_t cap);
    ssize_t (*write)(struct connection *connection, const uint8_t *data, size_t len);
    void (*close)(struct connection *connection); /* frees the transport's own state; the socket is closed after it */
};
extern const struct connection_transport connection_plain;

/* What speaks over it. */
struct connection_protocol {
    /* Bytes from the peer, valid until it returns. May call connection_close. */
    void (*on_read)(struct connection *connection, struct bytes in);
    /* The peer closed its side. Default (NULL): connection_close. */
    void (*on_end)(struct connection *connection);
    /* Fills out with at most cap (>= 64 KiB) bytes that shall be sent now; returns how many. When it returns more than
     * cap/2 it is called again in the same turn as long as the socket takes everything. */
    size_t (*produce)(struct connection *connection, uint8_t *out, size_t cap);
    /* All that produce gave has been taken by the socket. May be NULL. */
    void (*on_drained)(struct connection *connection);
    /* The connection is going (closed by either side, or broken): free the protocol's state. Called exactly once; the
     * connection is freed after it, later in the turn. */
    void (*on_close)(struct connection *connection);
};

/* What each read and write touches comes first and together. */
struct connection {
    struct loop_fd fd;
    struct loop *loop;
    const struct connection_transport *transport;
    const struct connection_protocol *protocol;
    void *state; /* the protocol's */
    struct loop_flush flush;
    struct buffer pending; /* given by produce, not taken by the socket yet */
    size_t pending_sent;   /* of pending */
    uint64_t received_bytes, sent_bytes;
    bool reading, closing, close_when_drained, lingering;
    bool more;   /* produce has not been through */
    bool urgent; /* connection_urgent */

    void *transport_state; /* the transport's */
    struct loop_timer linger;
    struct loop_later freeing;
    char peer[64];                                  /* "127.0.0.1:53412", "[::1]:53412", "@" */
    struct list node;                               /* for the owner: listener's or client's list of connections */
    void (*on_free)(struct connection *connection); /* the owner's; may be NULL */
    void *owner;
};

/* Takes over a connected, non-blocking socket. Reads begin in the next poll. Never NULL. */
struct connection *connection_new(struct loop *loop, int fd, const struct connection_protocol *protocol, void *state);

/* Changes the protocol (after the first bytes told which it is), and gives it what was read already. */
void connection_switch(struct connection *connection, const struct connection_protocol *protocol, void *state,
                       struct bytes already_read);

void connection_flush(struct connection *connection); /* produce is called at the end of this turn */
/* Inside produce: it has stopped before it was through, and is to be called again in the next turn. */
void connection_flush_more(struct connection *connection);
/* True while the socket is behind: produce will not be called until it has taken what it was given. */
bool connection_blocked(const struct connection *connection);

/* What this connection has to say goes out before that of the others of a turn. The kernel repeats what was lost
 * without growing pauses, and gives the connection up when nothing was confirmed for give_up_ms. */
void connection_urgent(struct connection *connection, unsigned give_up_ms);

void connection_read_pause(struct connection *connection);
void connection_read_resume(struct connection *connection);

/* Closes now; what was not sent is lost. on_close runs before the function returns; memory lives until the end of the
 * turn. No effect the second time. */
void connection_close(struct connection *connection);
/* Produces and sends what there is, then closes: the writing side at once, the rest when the peer has closed too or
 * half a second later, so that a peer that still sends gets the answer and not a reset. on_close comes when all is
 * sent. */
void connection_close_when_drained(struct connection *connection);

#endif
