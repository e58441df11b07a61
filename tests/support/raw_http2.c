#include "tests/support/raw_http2.h"
#include "base/check.h"
#include "tests/support/loopback.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD 9

void raw_http2_open(struct raw_http2 *raw, int port, struct loop *loop)
{
    int on = 1;
    *raw = (struct raw_http2){.loop = loop};
    raw->fd = loopback_connect(port);
    setsockopt(raw->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    CHECK(nghttp2_hd_inflate_new(&raw->inflater) == 0);
}

static void wait_for(struct raw_http2 *raw, short events, int timeout_ms)
{
    struct pollfd p = {.fd = raw->fd, .events = events};
    if (raw->loop != NULL) {
        loop_step(raw->loop, 1);
        timeout_ms = 0;
    }
    poll(&p, 1, timeout_ms);
}

void raw_http2_send(struct raw_http2 *raw, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0 && !raw->ended) {
        ssize_t n = send(raw->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return; /* the server closed: what it said about it is read later */
        }
        if (n < 0) {
            raw_http2_receive(raw, 0);
            wait_for(raw, POLLOUT, 1);
            continue;
        }
        p += n;
        len -= (size_t)n;
    }
}

void raw_http2_frame(struct raw_http2 *raw, uint8_t type, uint8_t flags, int32_t stream, const void *payload,
                     size_t len)
{
    uint8_t *frame = mem_alloc(HEAD + len);
    put_be32(frame, (uint32_t)(len << 8));
    frame[3] = type;
    frame[4] = flags;
    put_be32(frame + 5, (uint32_t)stream);
    if (len > 0) {
        memcpy(frame + HEAD, payload, len);
    }
    raw_http2_send(raw, frame, HEAD + len);
    free(frame);
}

void raw_http2_greet(struct raw_http2 *raw)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    raw_http2_send(raw, preface, sizeof preface - 1);
    raw_http2_frame(raw, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static size_t put_length(uint8_t *out, size_t len)
{
    if (len < 127) {
        out[0] = (uint8_t)len;
        return 1;
    }
    size_t n = 0;
    out[n++] = 127;
    len -= 127;
    while (len >= 128) {
        out[n++] = (uint8_t)(len | 128);
        len >>= 7;
    }
    out[n++] = (uint8_t)len;
    return n;
}

static size_t put_string(uint8_t *out, const char *text, size_t len)
{
    size_t n = put_length(out, len);
    memcpy(out + n, text, len);
    return n + len;
}

size_t raw_http2_block(uint8_t *out, const char *headers)
{
    size_t n = 0;
    while (*headers != 0) {
        const char *end = strchr(headers, '\n');
        const char *colon = strstr(headers + 1, ": ");
        CHECK(end != NULL && colon != NULL && colon < end, "header line: %s", headers);
        out[n++] = 0; /* literal, not indexed, new name */
        n += put_string(out + n, headers, (size_t)(colon - headers));
        n += put_string(out + n, colon + 2, (size_t)(end - colon - 2));
        headers = end + 1;
    }
    return n;
}

void raw_http2_headers(struct raw_http2 *raw, int32_t stream, uint8_t flags, const char *headers)
{
    uint8_t *block = mem_alloc(strlen(headers) * 2 + 64);
    size_t len = raw_http2_block(block, headers);
    raw_http2_frame(raw, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, stream, block, len);
    free(block);
}

void raw_http2_message(struct raw_http2 *raw, int32_t stream, uint8_t flags, const void *message, size_t len)
{
    uint8_t *framed = mem_alloc(5 + len);
    framed[0] = 0;
    put_be32(framed + 1, (uint32_t)len);
    if (len > 0) {
        memcpy(framed + 5, message, len);
    }
    raw_http2_frame(raw, NGHTTP2_DATA, flags, stream, framed, 5 + len);
    free(framed);
}

static void tell_headers(struct raw_http2 *raw, uint8_t *payload, size_t len, uint8_t flags, uint32_t stream)
{
    buffer_printf(&raw->text, "HEADERS %u%s", stream, (flags & NGHTTP2_FLAG_END_STREAM) != 0 ? " END_STREAM" : "");
    for (;;) {
        nghttp2_nv nv;
        int what = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(raw->inflater, &nv, &what, payload, len, 1);
        CHECK(used >= 0, "header block: %s", nghttp2_strerror((int)used));
        payload += used;
        len -= (size_t)used;
        if ((what & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            buffer_printf(&raw->text, " %.*s=%.*s", (int)nv.namelen, nv.name, (int)nv.valuelen, nv.value);
        }
        if ((what & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            nghttp2_hd_inflate_end_headers(raw->inflater);
            break;
        }
    }
    buffer_printf(&raw->text, "\n");
}

static void tell(struct raw_http2 *raw, uint8_t *frame, size_t len)
{
    uint8_t flags = frame[4];
    uint32_t stream = get_be32(frame + 5);
    uint8_t *payload = frame + HEAD;
    switch (frame[3]) {
    case NGHTTP2_HEADERS:
        tell_headers(raw, payload, len, flags, stream);
        break;
    case NGHTTP2_DATA:
        buffer_printf(&raw->text, "DATA %u%s %zu bytes\n", stream,
                      (flags & NGHTTP2_FLAG_END_STREAM) != 0 ? " END_STREAM" : "", len);
        break;
    case NGHTTP2_RST_STREAM:
        buffer_printf(&raw->text, "RST_STREAM %u %s\n", stream, nghttp2_http2_strerror(get_be32(payload)));
        break;
    case NGHTTP2_GOAWAY:
        buffer_printf(&raw->text, "GOAWAY %u %s %.*s\n", get_be32(payload),
                      nghttp2_http2_strerror(get_be32(payload + 4)), (int)(len - 8), payload + 8);
        break;
    case NGHTTP2_PING:
        if ((flags & NGHTTP2_FLAG_ACK) != 0 || raw->all) {
            buffer_printf(&raw->text, "PING%s\n", (flags & NGHTTP2_FLAG_ACK) != 0 ? " ACK" : "");
        }
        if ((flags & NGHTTP2_FLAG_ACK) == 0 && !raw->deaf) {
            raw_http2_frame(raw, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, payload, len);
        }
        break;
    case NGHTTP2_SETTINGS:
        for (size_t i = 0; raw->all && i + 6 <= len; i += 6) {
            buffer_printf(&raw->text, "SETTINGS %d=%u\n", payload[i] << 8 | payload[i + 1], get_be32(payload + i + 2));
        }
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (raw->all) {
            buffer_printf(&raw->text, "WINDOW_UPDATE %u %u\n", stream, get_be32(payload));
        }
        break;
    default:
        buffer_printf(&raw->text, "frame of type %u\n", frame[3]);
    }
}

static void tell_frames(struct raw_http2 *raw)
{
    size_t at = 0;
    while (raw->in.len - at >= HEAD) {
        size_t len = get_be32(raw->in.data + at) >> 8;
        if (raw->in.len - at < HEAD + len) {
            break;
        }
        tell(raw, raw->in.data + at, len);
        at += HEAD + len;
    }
    buffer_consume(&raw->in, at);
}

const char *raw_http2_receive(struct raw_http2 *raw, int quiet_ms)
{
    uint64_t until = loop_clock_ns() + (uint64_t)quiet_ms * 1000000;
    if (quiet_ms > 0) {
        raw->text.len = 0;
    }
    do {
        wait_for(raw, POLLIN, 1);
        ssize_t n = recv(raw->fd, buffer_reserve(&raw->in, 65536), 65536, 0);
        if (n > 0) {
            raw->in.len += (size_t)n;
            tell_frames(raw);
            until = loop_clock_ns() + (uint64_t)quiet_ms * 1000000;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            if (!raw->ended) {
                buffer_printf(&raw->text, "EOF\n");
            }
            raw->ended = true;
            break;
        }
    } while (loop_clock_ns() < until);
    buffer_reserve(&raw->text, 1)[0] = 0;
    return (const char *)raw->text.data;
}

void raw_http2_close(struct raw_http2 *raw)
{
    close(raw->fd);
    nghttp2_hd_inflate_del(raw->inflater);
    buffer_free(&raw->in);
    buffer_free(&raw->text);
}
