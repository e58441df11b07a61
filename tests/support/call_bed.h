/* The server and the client against each other over a real socket on one loop. The service does what a request says:
 *
 *   KV/Range     by its key: "hold" is kept and not answered, "fail" and "text\n" fail, "token" notes the caller's
 *                metadata; else it is answered with count = limit + 1
 *   KV/Put       an answer of `lease` bytes, made while it is sent; with prev_kv it pauses before each piece
 *   Watch/Watch  each request is answered: a cancel with its watch's id, others with -1 */
#ifndef TESTS_SUPPORT_CALL_BED_H
#define TESTS_SUPPORT_CALL_BED_H

#include "grpc/client.h"
#include "grpc/server.h"
#include "kv/rpc.pb-c.h"

struct call_bed_source {
    struct call_source base;
    struct call *call;
    uint64_t left;
    unsigned ended;
    bool pauses, paused;
};

struct call_bed {
    struct loop loop;
    struct server *server;
    struct client *client;
    struct arena arena;
    int port;
    struct call *kept; /* of "hold" */
    int cancel_reason;
    unsigned cancels, half_closes, messages, writables, observed;
    enum grpc_code observed_code;
    bool hold_messages;
    struct call_bed_source source;
    char token[32];
};

/* For cmocka: *state becomes the bed. */
int call_bed_open(void **state, const struct server_options *given, struct client_options client);
int call_bed_open_plain(void **state);
int call_bed_close(void **state);

/* Runs the loop until it is so, which must be soon. */
void call_bed_step_until(struct call_bed *s, bool (*done)(struct call_bed *s));
bool call_bed_is_observed(struct call_bed *s); /* a call has ended */
bool call_bed_is_kept(struct call_bed *s);

/* Of a caller that does not care. */
extern const struct client_handler call_bed_ignoring;

struct client_status call_bed_range(struct call_bed *s, const char *key, int64_t limit, uint64_t timeout_ms,
                                    Etcdserverpb__RangeResponse **response);
/* A range that is kept. */
struct client_call *call_bed_open_held(struct call_bed *s);

/* A watch's next message; there must be one. */
Etcdserverpb__WatchResponse *call_bed_receive(struct call_bed *s, struct client_stream *stream);
/* How it ends, which must be next. The text is the bed's arena's. */
struct client_status call_bed_receive_end(struct call_bed *s, struct client_stream *stream);
void call_bed_send_cancel(struct client_stream *stream, int64_t id);

#endif
