/* A server with four methods, and a raw peer that talks to it in bare frames: for tests of what goes over the wire.
 * With KEDGE_RAW_PORT=2379 the peer talks to whatever listens there instead. */
#ifndef TESTS_HTTP2_BED_H
#define TESTS_HTTP2_BED_H

#include "grpc/server.h"
#include "tests/support/raw_http2.h"
#include <stdlib.h>

struct http2_bed {
    struct loop loop;
    struct server *server;
    struct raw_http2 raw;
    int port;
    unsigned cancels; /* of Put and Watch: both stay open until the client ends them */
};

/* KV/Range answers at once, KV/RangeStream with nothing, KV/Put and Watch/Watch never. For cmocka: *state becomes the
 * bed. */
int http2_bed_open(void **state, struct server_options options);
int http2_bed_open_plain(void **state);
int http2_bed_close(void **state);

#define QUIET_MS (getenv("KEDGE_RAW_PORT") == NULL ? 20 : 300)

#define POST_TO(path) ":method: POST\n:scheme: http\n:path: " path "\n:authority: a\n"
#define GRPC "content-type: application/grpc\nte: trailers\n"
#define RANGE POST_TO("/etcdserverpb.KV/Range")
#define END NGHTTP2_FLAG_END_STREAM

#define EMPTY_MESSAGE "\0\0\0\0\0", 5, END

/* What came until nothing has come for QUIET_MS, as raw_http2_receive writes it. */
void http2_bed_expect(struct http2_bed *f, const char *expected);
/* One request of this head and these DATA bytes (NULL = END_STREAM is on the HEADERS). */
void http2_bed_ask(struct http2_bed *f, const char *head, const char *data, size_t len, uint8_t data_flags);
/* Another connection gets its answer. */
void http2_bed_serves_others(struct http2_bed *f);
size_t http2_bed_streams(struct http2_bed *f);

#endif
