/* The bytes of HTTP/1.x requests and answers (RFC 9112): heads and chunked bodies. No I/O. Strict where leniency lets a
 * request be read in two ways (lengths given twice, both kinds of length, folded lines, blanks before a colon). */
#ifndef BASE_NET_HTTP1_PARSE_H
#define BASE_NET_HTTP1_PARSE_H

#include "base/net/http1.h"

#define HTTP1_HEAD_BYTES ((size_t)32 * 1024)
#define HTTP1_HEADERS 128
#define HTTP1_OTHER_CODING "501 Not Implemented" /* the refusal of a Transfer-Encoding that is not "chunked" */

struct http1_head {
    struct bytes method, target; /* of a request */
    int status;                  /* of an answer */
    int minor;                   /* HTTP/1.minor: 0 or 1 */
    struct http1_header *headers;
    size_t header_count;
    struct bytes host;
    bool has_host, chunked, has_length, close, keep_alive, expect_continue;
    uint64_t length;
};

/* Length of the head at the beginning of `in`, with the empty line that ends it. 0 = not all there yet. */
size_t http1_head_length(struct bytes in);

/* Parses a whole head; everything in *head points into `in` (which must live on) or the arena. 0, or the HTTP status of
 * the refusal (400, 431, 501, 505) with its text in *reason. */
int http1_parse_head(struct bytes in, struct arena *arena, struct http1_head *head, const char **reason);

/* The same for an answer; the result is 0 or 400. */
int http1_parse_answer(struct bytes in, struct arena *arena, struct http1_head *head, const char **reason);

/* First header of that name (any case); data is NULL when there is none. */
struct bytes http1_find_header(const struct http1_header *headers, size_t count, const char *name);

/* Percent-decodes; plus_is_space for query parameters. False when an escape is broken. */
bool http1_unescape(struct bytes in, bool plus_is_space, struct arena *arena, struct bytes *out);

struct http1_chunks {
    enum { HTTP1_SIZE, HTTP1_DATA, HTTP1_DATA_END, HTTP1_TRAILER, HTTP1_DONE } state;
    uint64_t left;     /* of the chunk's data */
    size_t line_bytes; /* of the size line or the trailers so far */
    uint8_t digits;    /* of the size */
    bool extension, carriage_return, line_empty;
};

/* Takes bytes from *in up to the next piece of the body, a view into *in; empty when the input or the body (state
 * HTTP1_DONE) is at its end. 0, or 400 for a broken coding. */
int http1_dechunk_next(struct http1_chunks *chunks, struct bytes *in, struct bytes *piece);
/* Takes bytes from *in and appends body to out until the body ends (state HTTP1_DONE) or the input does. 0, or 400 for
 * a broken coding, 413 when out would exceed limit. */
int http1_dechunk(struct http1_chunks *chunks, struct bytes *in, struct buffer *out, size_t limit);

/* The frame of a chunk, of one length so that its data can be put in place first: "0017ff" CRLF, the data, CRLF. */
#define HTTP1_CHUNK_FRONT 8
#define HTTP1_CHUNK_BACK 2
#define HTTP1_CHUNK_MAX ((size_t)0xffffff)
/* Writes the frame around len (1 to HTTP1_CHUNK_MAX) bytes that stand at out + HTTP1_CHUNK_FRONT; the whole length. */
size_t http1_enchunk(uint8_t *out, size_t len);

#endif
