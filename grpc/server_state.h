/* What the files of the server side share: server.c (addresses, start, stop), http2.c (a connection's session),
 * stream.c and stream_send.c (a call over a stream), lane.c (credit). Nothing else includes this. */
#ifndef GRPC_SERVER_STATE_H
#define GRPC_SERVER_STATE_H

#include "base/net/listener.h"
#include "grpc/frame.h"
#include "grpc/long_request.h"
#include "grpc/outgoing.h"
#include "grpc/pool.h"
#include "grpc/pump.h"
#include "grpc/routes.h"
#include "grpc/server.h"
#include <nghttp2/nghttp2.h>

/* Whole requests of a connection that wait for their lane, in bytes: above it the connection's window is not renewed.
 * They get their credit some time, so this ends by itself. */
#define HTTP2_WAITING_BYTES ((size_t)8 * 1024 * 1024)
/* Parts of requests whose rest has not come (2 MiB each at most), and messages that services hold back. Stopping the
 * window for these could wait for ever, so the stream that goes beyond it is refused. */
#define HTTP2_PARTIAL_BYTES ((size_t)64 * 1024 * 1024)
/* Connection window offered at start; a stream's is HTTP/2's 65,535 until a longer message announces itself. */
#define HTTP2_CONNECTION_WINDOW (1024 * 1024)
#define HTTP2_STREAM_WINDOW 65535
/* Open streams of a connection when the option sets no limit: memory must have one. */
#define HTTP2_STREAM_CEILING 32768u
/* Answers that wait for the client's window (2-4 KiB each). A client that lets them pile up gets no new streams. */
#define HTTP2_ANSWERS 8192u
/* Names and values of one request; beyond it the stream is refused. And what one header block may unpack to at all
 * before it counts as an attack (HPACK bomb). */
#define HTTP2_HEADER_BYTES ((size_t)64 * 1024)
#define HTTP2_HEADER_BOMB_BYTES ((size_t)1024 * 1024)
/* Bytes that call_send may queue before call_writable says no. */
#define STREAM_QUEUE_BYTES ((size_t)64 * 1024)

struct lane {
    struct server_lane limit;
    size_t operations, bytes; /* taken */
    struct list waiting;      /* of stream.lane_node, oldest first */
    size_t waiting_count;
};

struct server {
    struct loop *loop;
    struct server_options options;
    struct routes routes;
    struct list ports;    /* of port.node */
    struct list sessions; /* of http2.node */
    size_t session_count, stream_count;
    struct list pool; /* of stream.node: streams without a call, ready for the next */
    size_t pool_count;
    size_t long_requests; /* that other threads work at */
    struct lane lanes[CALL_LANES];
    struct list resumed; /* of stream.resume_node: call_resume was called, or lane credit came */
    struct loop_hook hook;
    struct pool memory; /* the sessions' */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *session_options;
    struct http1_options http1;
    uint64_t calls_total, received_bytes, sent_bytes;
    bool started, stopping;
    struct loop_timer grace;
    void (*on_stopped)(void *owner);
    void *on_stopped_owner;
};

/* A connection that speaks HTTP/2. */
struct http2 {
    struct server *server;
    struct connection *connection;
    nghttp2_session *session;
    struct pump pump;
    struct list node;
    struct list streams; /* of stream.node */
    size_t stream_count;
    size_t answering;   /* streams whose service has answered and whose answer is not out */
    size_t partial;     /* bytes of requests that are not complete, and of messages held back */
    size_t waiting;     /* bytes of requests in their lane's queue */
    size_t unconsumed;  /* taken in beyond HTTP2_WAITING_BYTES and not yet given back to the window */
    size_t block_bytes; /* of the header block that is being read */
    struct loop_timer timer;
    uint64_t last_read_ms;
    uint64_t ping_deadline_ms; /* 0 = no keepalive ping under way */
    uint64_t last_ping_ms;     /* of the client */
    bool pinged;               /* last_ping_ms is set */
    bool sent_since_ping;      /* data or headers: forgives strikes */
    unsigned strikes;
    bool draining, goaway_final;
    bool late; /* writing stopped because the turn has lasted long enough */
};

enum stream_phase {
    STREAM_HEAD,      /* headers are coming */
    STREAM_BODY,      /* a unary call's request is coming */
    STREAM_WAITING,   /* complete, but its lane is full */
    STREAM_UNPACKING, /* another thread unpacks it */
    STREAM_RUNNING,   /* the service has it */
    STREAM_ENDED,     /* the service is done with it; the answer goes out */
};

struct stream_header {
    struct stream_header *next;
    struct bytes name, value;
};

struct stream {
    struct call call; /* first */
    struct http2 *http2;
    int32_t id;
    enum stream_phase phase;
    struct list node;

    /* request */
    bool post, has_timeout, has_type, regular_seen;
    uint8_t pseudo_seen;           /* bits: method, path, scheme, authority */
    uint32_t reset_code;           /* why stream_header refused */
    uint8_t hosts;                 /* "host" headers; more than 1 = not one */
    const char *malformed;         /* what the last malformed header gets as answer; NULL = none */
    struct bytes bad_type, method; /* data NULL = fine; in the arena */
    bool half_closed;              /* END_STREAM has come */
    bool end_told;                 /* and the service knows */
    bool gzip;                     /* request says grpc-encoding: gzip */
    bool held;                     /* call_hold */
    bool in_message;               /* inside the service's on_message or open */
    uint64_t timeout_ns;
    size_t header_bytes;
    struct bytes path, content_type, encoding;
    struct stream_header *headers, *last_header;
    struct frame_reader reader;
    struct buffer backlog;  /* bytes that came while held */
    struct buffer unpacked; /* of gzip; or a waiting message */
    struct buffer request;  /* of a call answered by many messages, until the client has closed its side */
    bool asked;             /* that has come */
    struct long_request *long_request;
    size_t partial, waiting; /* of these bytes, as http2's sums know them */
    int32_t window;          /* receive window asked for */
    struct list resume_node;

    /* lane */
    struct list lane_node;
    bool lane_taken;

    /* answer */
    struct outgoing out;
    struct call_source *source;
    uint64_t source_left;
    enum grpc_code code;
    struct bytes text; /* percent-encoded, in the arena */
    bool headers_sent, deferred, answered, trailers_sent, finished, was_full;
    uint64_t progress_ms;
    size_t sent_bytes;
    struct loop_timer deadline;
};

/* --- server.c --- */
void server_session_gone(struct server *server);

/* --- http2.c --- */
void http2_accept(struct server *server, struct connection *connection, struct bytes already_read);
void http2_drain(struct http2 *http2); /* GOAWAY, then closes with its last stream */
void http2_cut_streams(struct http2 *http2, bool (*chosen)(const struct call *call), int error);
void http2_flush(struct http2 *http2);
void http2_globals(struct server *server);
/* The sums changed: gives the connection's window back what it may. */
void http2_renew(struct http2 *http2);

/* --- stream.c --- */
struct stream *stream_new(struct http2 *http2, int32_t id);
/* False: the stream shall be reset with stream->reset_code. */
bool stream_header(struct stream *stream, struct bytes name, struct bytes value);
void stream_headers_done(struct stream *stream);
void stream_data(struct stream *stream, struct bytes in);
void stream_end(struct stream *stream);
/* The stream is gone, or its connection: ends the call for the service if that is not over, and frees. */
void stream_closed(struct stream *stream, int reason);
void stream_start(struct stream *stream); /* a waiting one got its lane's credit */
void stream_resume(struct stream *stream);
void stream_cancel(struct stream *stream, int reason); /* tells the service and the client */
void stream_cut(struct stream *stream, bool (*chosen)(const struct call *call), int error);
void stream_stop(struct stream *stream); /* the server goes down: ends what would not end by itself */
void stream_pool_free(struct server *server);

/* --- stream_send.c --- */
extern const struct call_ops stream_ops;
void stream_finish(struct stream *stream, enum grpc_code code, struct bytes text);
void stream_fail_text(struct stream *stream, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An answer without a call: HTTP status, grpc-status, grpc-message, END_STREAM. */
void stream_refuse(struct stream *stream, const char *http_status, enum grpc_code code, struct bytes text);
void stream_sent_end(struct stream *stream); /* END_STREAM went out */
void stream_drop_source(struct stream *stream);

/* --- lane.c --- */
bool lane_take(struct stream *stream); /* false: the stream waits in its lane now */
void lane_give(struct stream *stream); /* no effect if it has none; also takes a waiting one out */
bool lane_run(struct server *server);  /* starts those that may; for the server's hook */

#endif
