/* An HTTP/1.1 client: one connection, one request at a time on it, kept open for the next. Bodies may be streamed both
 * ways: the request's is pulled when the socket has room, the answer's is given out as it comes.
 *
 * A request on a kept connection that breaks before a byte of the answer came is sent once more on a new connection,
 * unless its body is streamed (the other side may have closed the connection meanwhile, and nobody can know).
 *
 * Limits: the answer's head 32 KiB; its body is the owner's to bound. Thread: the loop's. */
#ifndef BASE_NET_HTTP1_CLIENT_H
#define BASE_NET_HTTP1_CLIENT_H

#include "base/net/dial.h"
#include "base/net/http1_parse.h"

/* What is asked. `body` must live on until on_done, the rest only during http1_client_start. */
struct http1_ask {
    const char *host; /* as dial_start takes it */
    int port;
    const char *authority; /* for Host: "h:2380"; NULL = host and port */
    const char *method, *target;
    struct bytes headers; /* more lines, each with its "\r\n" */
    struct bytes body;
    bool streamed;      /* the body comes from on_room, chunked unless its length is known */
    bool length_known;  /* of a streamed body */
    uint64_t length;    /* then */
    uint64_t dial_ms;   /* for the name and the connection */
    uint64_t idle_ms;   /* so long without a byte of the answer (while a body is sent: neither way) ends it; 0 = no */
    uint64_t answer_ms; /* the same once all of a streamed body is sent; 0 = idle_ms */
    uint64_t total_ms;  /* for all of it; 0 = no limit */
};

enum http1_client_phase { HTTP1_CLIENT_IDLE, HTTP1_CLIENT_DIAL, HTTP1_CLIENT_HEAD, HTTP1_CLIENT_BODY };

/* Zeroed, then loop, owner and callbacks set, before the first start. */
struct http1_client {
    struct loop *loop;
    void *owner;
    /* The answer's head has come: status and headers are there until on_done returns. May be NULL. May cancel. */
    void (*on_head)(struct http1_client *client);
    /* A piece of the answer's body, valid until it returns. NULL: it is thrown away. May cancel. */
    void (*on_data)(struct http1_client *client, struct bytes data);
    /* A streamed body's next bytes: how many (at most cap); 0 = not now (http1_client_more says when); -1 = that was
     * all; -2 = it cannot be had: the request ends with a failure. */
    ssize_t (*on_room)(struct http1_client *client, uint8_t *out, size_t cap);
    /* failure NULL: the answer is complete. Else a text like Go's. Comes in a later turn or event than the start, once.
     * The client may be started again or closed in it. */
    void (*on_done)(struct http1_client *client, const char *failure);

    /* The answer. */
    int status;
    const struct http1_header *headers;
    size_t header_count;
    bool answered; /* a head has come */

    /* The client's own. */
    enum http1_client_phase phase;
    struct dial dial;
    struct connection *connection;
    char host[256]; /* of the connection; the port is the ask's */
    int port;
    bool head_only; /* the method is HEAD */
    struct http1_ask ask;
    struct buffer request; /* the head */
    size_t request_sent, body_sent;
    uint64_t streamed_bytes;
    bool request_done, starved, reused, keep, spared;
    struct buffer in;
    struct arena arena;
    struct http1_head head;
    struct http1_chunks chunks;
    uint64_t body_left;
    struct loop_timer idle_timer, total_timer;
    uint64_t active_ms;
};

void http1_client_start(struct http1_client *client, const struct http1_ask *ask);
static inline bool http1_client_busy(const struct http1_client *client)
{
    return client->phase != HTTP1_CLIENT_IDLE;
}
void http1_client_more(struct http1_client *client); /* on_room has bytes again */
/* The answer's body: nothing is read until it is resumed. */
void http1_client_pause(struct http1_client *client);
void http1_client_resume(struct http1_client *client);
/* Ends a request that is under way (on_done does not come) and closes the connection. May be called at any time, also
 * on a zeroed client; frees all that the client holds. */
void http1_client_close(struct http1_client *client);

struct bytes http1_client_header(const struct http1_client *client, const char *name); /* data NULL = none */

#endif
