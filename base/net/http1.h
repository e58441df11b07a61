/* An HTTP/1.1 server on a connection, for the routes beside gRPC: /health, /version, /metrics, the JSON gateway; for
 * the peer port too. Behaves as Go's net/http does where a client can tell (http.tsv).
 *
 * Limits: request line and headers 32 KiB together and 10 s; body as options say; one request at a time on a
 * connection (pipelined ones wait); an idle connection is closed after 180 s.
 *
 * Thread: the loop's. */
#ifndef BASE_NET_HTTP1_H
#define BASE_NET_HTTP1_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/net/connection.h"
#include "base/net/loop.h"

struct http1_header {
    struct bytes name, value; /* as sent, the value without white space around it */
};

/* A request whose head and body have arrived (of one that options.take took: the head), and its answer. Valid until the
 * answer is complete, or on_abort. */
struct http1_request {
    struct bytes method; /* "GET" */
    struct bytes target; /* as sent */
    struct bytes path;   /* percent-decoded, without the query; begins with '/' */
    struct bytes query;  /* raw, without '?'; empty if there is none */
    struct bytes host;
    const struct http1_header *headers;
    size_t header_count;
    struct bytes body;
    const char *peer;   /* "127.0.0.1:53412" */
    struct arena arena; /* lives as long as the request */
    struct loop *loop;

    /* The handler's own. on_abort: the connection was lost before the answer was complete; the request is gone when it
     * returns. on_writable: after http1_writable was false. */
    void *state;
    void (*on_abort)(struct http1_request *request);
    void (*on_writable)(struct http1_request *request);

    /* Of a request that options.take took: its body as it comes, valid until it returns; and that it was all. An answer
     * that is given before that ends the connection. */
    void (*on_body)(struct http1_request *request, struct bytes data);
    void (*on_body_end)(struct http1_request *request);

    /* Of an answer in pieces: when it was asked for (http1_stream_ask) and the connection has room, fills at most cap
     * (>= 1 KiB) bytes into out and returns how many. Nothing is queued or copied twice in this way. */
    size_t (*on_room)(struct http1_request *request, uint8_t *out, size_t cap);
};

/* First header of that name (any case); data is NULL when there is none. */
struct bytes http1_header(const struct http1_request *request, const char *name);
/* Value of a query parameter, decoded into the request's arena; data is NULL when it is not there. The nth of the name
 * (0 = first): "exclude" may be given more than once. */
struct bytes http1_query(struct http1_request *request, const char *name, size_t nth);
bool http1_method_is(const struct http1_request *request, const char *method);

/* --- answering: now or in a later turn, exactly once -----------------------------------------------------------------
 */

/* Adds a header to the answer. Before http1_respond / http1_stream_begin. Copied. */
void http1_set(struct http1_request *request, const char *name, const char *value);
/* Ends the request with this answer. content_type NULL = none. Content-Length and Date are added. For HEAD the body is
 * not sent. The body is copied. */
void http1_respond(struct http1_request *request, int status, const char *content_type, struct bytes body);
void http1_respond_text(struct http1_request *request, int status, const char *content_type, const char *body);
/* As Go's http.Error: text/plain; charset=utf-8, X-Content-Type-Options: nosniff, the text and a newline. */
void http1_error(struct http1_request *request, int status, const char *text);
/* The connection ends with this answer (Connection: close). Before http1_respond / http1_stream_begin. */
void http1_last(struct http1_request *request);
void http1_not_found(struct http1_request *request); /* Go's "404 page not found" */

/* An answer in pieces (chunked for HTTP/1.1, until close for 1.0). */
void http1_stream_begin(struct http1_request *request, int status, const char *content_type);
void http1_stream_write(struct http1_request *request, struct bytes data);
bool http1_writable(struct http1_request *request); /* false above 64 KiB queued */
/* on_room is called at the end of this turn, or when the connection has room. */
void http1_stream_ask(struct http1_request *request);
/* connection_urgent, for an answer that never ends. */
void http1_urgent(struct http1_request *request, unsigned give_up_ms);
/* Bytes that the connection has sent in all, and whether it waits for the peer to take some: a peer that takes nothing
 * for long can be told by these. */
uint64_t http1_sent_bytes(const struct http1_request *request);
bool http1_blocked(const struct http1_request *request);
void http1_stream_end(struct http1_request *request);
void http1_stream_abort(struct http1_request *request); /* closes the connection: the client sees a cut-off body */
/* The same at once, without what is queued; on_abort does not come. Not inside of a callback of the request. */
void http1_stream_cut(struct http1_request *request);

/* --- the body of a request that was taken ----------------------------------------------------------------------------
 */

void http1_body_pause(struct http1_request *request); /* nothing more is read or given out */
void http1_body_resume(struct http1_request *request);

/* --- serving
 * ---------------------------------------------------------------------------------------------------------- */

struct http1_options {
    /* Called when a request is complete. Sees every path; routing is the owner's (http1_route helps). */
    void (*handle)(void *owner, struct http1_request *request);
    void *owner;
    /* Called when a request's head is complete and its method and path are known: true = the body, of any length, is
     * wanted as it comes: on_body is set, and handle is not called. NULL: none is. */
    bool (*take)(void *take_owner, struct http1_request *request);
    void *take_owner;
    size_t max_body_bytes;      /* 413 above it; 0 = 2 MiB + 512 KiB */
    uint64_t header_timeout_ms; /* 0 = 10 s */
    uint64_t body_timeout_ms;   /* 0 = 60 s; of a body that was taken: without a byte of it */
    uint64_t idle_timeout_ms;   /* 0 = 180 s */
};

/* Makes the connection speak HTTP/1. Takes it over: it is closed and freed with the protocol. `options` must live as
 * long as the connection. already_read: what came before it was known to be HTTP/1. */
void http1_serve(struct connection *connection, const struct http1_options *options, struct bytes already_read);
/* Is this a connection of http1_serve's that has no request under way? (For stopping.) */
bool http1_idle(const struct connection *connection);

#endif
