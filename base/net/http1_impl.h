/* One HTTP/1 connection, between the files that make it up: http1.c (input, the phases), http1_answer.c. */
#ifndef BASE_NET_HTTP1_IMPL_H
#define BASE_NET_HTTP1_IMPL_H

#include "base/net/http1_parse.h"

#define HTTP1_QUEUE_BYTES ((size_t)64 * 1024)

/* HTTP1_TAKEN: the body goes to who took the request, who may answer at any time; HTTP1_HANDLER follows. */
enum http1_phase { HTTP1_HEAD, HTTP1_BODY, HTTP1_TAKEN, HTTP1_HANDLER, HTTP1_LAST };

struct http1 {
    struct http1_request request; /* first */
    struct connection *connection;
    const struct http1_options *options;
    enum http1_phase phase;
    struct buffer in, out, body, answer_head;
    struct http1_head head;
    struct http1_chunks chunks;
    size_t max_body;
    uint64_t body_given; /* of a body that was taken */
    struct loop_timer timer;
    bool keep_alive, streaming, no_body, was_full, peer_ended, in_handler, served, asked, paused;
};

static inline struct http1 *http1_of(struct http1_request *request)
{
    return container_of(request, struct http1, request);
}

void http1_set_timer(struct http1 *h, uint64_t ms, uint64_t otherwise); /* 0 = otherwise */
void http1_advance(struct http1 *h);                                    /* goes on with what was read */
const char *http1_reason_phrase(int status);
/* What is to be sent now: at most cap bytes; how many. */
size_t http1_produce(struct http1 *h, uint8_t *out, size_t cap);

#endif
