/* Plain read and write rather than libuv's streams: no request object and no buffer for each write, and the order of
 * system calls is ours: one read and one write for a call and its answer. */
#include "base/net/connection.h"
#include "base/check.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection that always has more to say gets this many buffers a turn, then the others are served. */
#define ROUNDS_A_TURN 4
/* How long a closing connection takes in what the peer still sends (net/http waits as long). */
#define LINGER_MS 500

static ssize_t plain_read(struct connection *connection, uint8_t *out, size_t cap)
{
    ssize_t n;
    do {
        n = read(connection->fd.fd, out, cap);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t plain_write(struct connection *connection, const uint8_t *data, size_t len)
{
    ssize_t n;
    do {
        n = send(connection->fd.fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void plain_close(struct connection *connection)
{
    (void)connection;
}

const struct connection_transport connection_plain = {
    .read = plain_read,
    .write = plain_write,
    .close = plain_close,
};

static void watch(struct connection *c)
{
    if (!c->closing) {
        loop_fd_watch(c->loop, &c->fd, (c->reading ? LOOP_READABLE : 0) | (connection_blocked(c) ? LOOP_WRITABLE : 0));
    }
}

static void free_connection(struct loop_later *later)
{
    struct connection *c = container_of(later, struct connection, freeing);
    if (c->on_free != NULL) {
        c->on_free(c);
    }
    buffer_free(&c->pending);
    free(c);
}

void connection_close(struct connection *c)
{
    if (c->closing) {
        return;
    }
    c->closing = true;
    loop_flush_cancel(&c->flush);
    loop_timer_stop(c->loop, &c->linger);
    if (c->protocol != NULL && c->protocol->on_close != NULL) {
        c->protocol->on_close(c);
    }
    c->transport->close(c);
    loop_fd_close(c->loop, &c->fd);
    loop_later(c->loop, &c->freeing, free_connection);
}

static void linger_over(struct loop_timer *timer)
{
    connection_close(container_of(timer, struct connection, linger));
}

/* What speaks over a connection whose protocol is done: nothing. */
static void discard(struct connection *c, struct bytes in)
{
    (void)c, (void)in;
}
static const struct connection_protocol silence = {.on_read = discard};

static void begin_linger(struct connection *c)
{
    c->lingering = true;
    if (c->protocol->on_close != NULL) {
        c->protocol->on_close(c);
    }
    c->protocol = &silence;
    c->state = NULL;
    shutdown(c->fd.fd, SHUT_WR);
    loop_timer_set(c->loop, &c->linger, loop_now_ms(c->loop) + LINGER_MS);
    c->reading = true;
    watch(c);
}

/* Writes; keeps what the socket does not take. False when the connection is gone or blocked. */
static bool write_out(struct connection *c, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = c->transport->write(c, data, len);
        if (n == -EAGAIN) {
            buffer_append(&c->pending, data, len);
            watch(c);
            return false;
        }
        if (n < 0) {
            connection_close(c);
            return false;
        }
        c->sent_bytes += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void drained(struct connection *c)
{
    if (c->protocol->on_drained != NULL) {
        c->protocol->on_drained(c);
    }
}

static void run_flush(struct loop_flush *flush)
{
    struct connection *c = container_of(flush, struct connection, flush);
    for (int round = 0; round < ROUNDS_A_TURN; round++) {
        if (c->closing || c->lingering || connection_blocked(c)) {
            return;
        }
        c->more = false;
        size_t n = c->protocol->produce(c, c->loop->write_buffer, LOOP_WRITE_BYTES);
        if (c->closing || (n > 0 && !write_out(c, c->loop->write_buffer, n))) {
            return;
        }
        if (n > 0) {
            drained(c);
        }
        if (n <= LOOP_WRITE_BYTES / 2) {
            if (c->close_when_drained && !c->closing && !c->more) {
                begin_linger(c);
            }
            return;
        }
    }
    connection_flush(c);
}

static void write_pending(struct connection *c)
{
    struct buffer *p = &c->pending;
    while (c->pending_sent < p->len) {
        ssize_t n = c->transport->write(c, p->data + c->pending_sent, p->len - c->pending_sent);
        if (n == -EAGAIN) {
            return;
        }
        if (n < 0) {
            connection_close(c);
            return;
        }
        c->sent_bytes += (uint64_t)n;
        c->pending_sent += (size_t)n;
    }
    buffer_free(p);
    c->pending_sent = 0;
    watch(c);
    drained(c);
    if (!c->closing) {
        connection_flush(c);
    }
}

static void end_of_input(struct connection *c)
{
    if (c->protocol->on_end == NULL || c->lingering) {
        connection_close(c);
        return;
    }
    connection_read_pause(c);
    c->protocol->on_end(c);
}

static void read_in(struct connection *c)
{
    ssize_t n = c->transport->read(c, c->loop->read_buffer, LOOP_READ_BYTES);
    if (n == -EAGAIN) {
        return;
    }
    if (n < 0) {
        connection_close(c);
    } else if (n == 0) {
        end_of_input(c);
    } else {
        c->received_bytes += (uint64_t)n;
        if (!c->close_when_drained) {
            c->protocol->on_read(c, bytes_of(c->loop->read_buffer, (size_t)n));
        }
    }
}

static void on_event(struct loop_fd *fd, int events)
{
    struct connection *c = container_of(fd, struct connection, fd);
    if ((events & LOOP_WRITABLE) != 0) {
        write_pending(c);
    }
    if ((events & LOOP_READABLE) != 0 && c->reading && !c->closing) {
        read_in(c);
    }
}

struct connection *connection_new(struct loop *loop, int fd, const struct connection_protocol *protocol, void *state)
{
    struct connection *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->transport = &connection_plain;
    c->protocol = protocol;
    c->state = state;
    c->fd = (struct loop_fd){.fd = fd, .on_event = on_event};
    c->linger.fire = linger_over;
    list_init(&c->node);
    loop_flush_init(&c->flush, run_flush);
    c->reading = true;
    watch(c);
    return c;
}

void connection_switch(struct connection *c, const struct connection_protocol *protocol, void *state,
                       struct bytes already_read)
{
    c->protocol = protocol;
    c->state = state;
    if (already_read.len > 0) {
        protocol->on_read(c, already_read);
    }
}

void connection_flush_more(struct connection *c)
{
    c->more = true;
    connection_flush(c);
}

void connection_flush(struct connection *c)
{
    if (!c->closing && !connection_blocked(c)) {
        (c->urgent ? loop_flush_ask_first : loop_flush_ask)(c->loop, &c->flush);
    }
}

/* After a partition a member must not wait for a pause that had grown to seconds. TCP_RTO_MAX_MS is Linux 6.15's; where
 * it is missing, thin streams' first six pauses don't grow. Not for Unix sockets: all of them fail, and no harm is
 * done. */
void connection_urgent(struct connection *c, unsigned give_up_ms)
{
    enum { RTO_MAX_MS = 44, LONGEST_PAUSE_MS = 1000 };
    int on = 1, longest_ms = LONGEST_PAUSE_MS;
    c->urgent = true;
    (void)setsockopt(c->fd.fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof on);
    (void)setsockopt(c->fd.fd, IPPROTO_TCP, RTO_MAX_MS, &longest_ms, sizeof longest_ms);
    (void)setsockopt(c->fd.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof give_up_ms);
}

bool connection_blocked(const struct connection *c)
{
    return c->pending.len > 0;
}

void connection_read_pause(struct connection *c)
{
    c->reading = false;
    watch(c);
}

void connection_read_resume(struct connection *c)
{
    c->reading = true;
    watch(c);
}

void connection_close_when_drained(struct connection *c)
{
    if (c->closing) {
        return;
    }
    c->close_when_drained = true;
    connection_flush(c); /* when blocked, the flush comes with the drain */
}
