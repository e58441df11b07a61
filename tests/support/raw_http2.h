/* An HTTP/2 peer made of bare frames, for what no well-behaved client sends. What the server sends back is told as
 * text, a frame a line:
 *
 *     HEADERS 1 END_STREAM :status=200 grpc-status=12 grpc-message=unknown service x
 *     DATA 1 5 bytes
 *     RST_STREAM 1 NO_ERROR
 *     GOAWAY 1 ENHANCE_YOUR_CALM too_many_pings
 *     PING ACK
 *     EOF
 *
 * SETTINGS, WINDOW_UPDATE and the server's own pings (which are answered) are left out unless `all` is set. */
#ifndef TESTS_SUPPORT_RAW_HTTP2_H
#define TESTS_SUPPORT_RAW_HTTP2_H

#include "base/bytes.h"
#include "base/net/loop.h"
#include <nghttp2/nghttp2.h>

struct raw_http2 {
    int fd;
    struct loop *loop; /* run while waiting; NULL when the server is another process */
    nghttp2_hd_inflater *inflater;
    struct buffer in;
    struct buffer text;
    bool all, ended;
    bool deaf; /* answers no pings */
};

void raw_http2_open(struct raw_http2 *raw, int port, struct loop *loop); /* connects; sends nothing */
void raw_http2_greet(struct raw_http2 *raw);                             /* preface and empty SETTINGS */
void raw_http2_send(struct raw_http2 *raw, const void *data, size_t len);
void raw_http2_frame(struct raw_http2 *raw, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                     size_t len);
/* headers: "name: value\n…", literal and without Huffman; names as given. */
void raw_http2_headers(struct raw_http2 *raw, int32_t stream, uint8_t flags, const char *headers);
size_t raw_http2_block(uint8_t *out, const char *headers);
/* DATA with one gRPC message (prefix included). */
void raw_http2_message(struct raw_http2 *raw, int32_t stream, uint8_t flags, const void *message, size_t len);
/* Reads until nothing came for quiet_ms, or the connection ended. The text of all frames since the last call. */
const char *raw_http2_receive(struct raw_http2 *raw, int quiet_ms);
void raw_http2_close(struct raw_http2 *raw);

#endif
