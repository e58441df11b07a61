/* The head of a request: what its headers say, and the refusals that need no more than them, in grpc-go's order and
 * words (grpc.md, table of faults). */
#include "grpc/server_state.h"
#include "grpc/text.h"
#include <stdio.h>

enum { SEEN_METHOD = 1, SEEN_PATH = 2, SEEN_SCHEME = 4, SEEN_AUTHORITY = 8 };

#define IS(name, text) (memcmp((name).data, (text), sizeof(text) - 1) == 0)

static void keep(struct stream *s, struct bytes name, struct bytes value)
{
    struct stream_header *h = arena_alloc(&s->call.arena, sizeof *h + name.len + value.len);
    uint8_t *text = (uint8_t *)(h + 1);
    memcpy(text, name.data, name.len);
    memcpy(text + name.len, value.data, value.len);
    *h = (struct stream_header){
        .next = NULL, .name = bytes_of(text, name.len), .value = bytes_of(text + name.len, value.len)};
    *(s->headers == NULL ? &s->headers : &s->last_header->next) = h;
    s->last_header = h;
}

/* "application/grpc", or with "+" or ";" and more behind it. */
static void content_type(struct stream *s, struct bytes value)
{
    static const char base[] = "application/grpc";
    size_t len = sizeof base - 1;
    bool is_grpc = value.len >= len && memcmp(value.data, base, len) == 0 &&
                   (value.len == len || value.data[len] == '+' || value.data[len] == ';');
    if (!is_grpc) {
        s->bad_type = arena_copy(&s->call.arena, value);
        return;
    }
    s->has_type = true;
    if (value.len > len + 1) {
        s->content_type = arena_copy(&s->call.arena, value);
    }
}

static void bad_timeout(struct stream *s, struct bytes value)
{
    const char *text = "malformed grpc-timeout: transport: timeout unit is not recognized: %.*s";
    if (value.len < 2) {
        text = "malformed grpc-timeout: transport: timeout string is too short: %.*s";
    } else if (value.len > 9) {
        text = "malformed grpc-timeout: transport: timeout string is too long: %.*s";
    } else if (strchr("HMSmun", value.data[value.len - 1]) != NULL) {
        text = "malformed grpc-timeout: strconv.ParseUint: parsing %.*s: invalid syntax";
        value.len--;
    }
    struct bytes quoted = text_quote(value, &s->call.arena);
    s->malformed = arena_printf(&s->call.arena, text, (int)quoted.len, quoted.data);
}

static void timeout(struct stream *s, struct bytes value)
{
    s->has_timeout = true;
    if (text_timeout(value, &s->timeout_ns) != 0) {
        bad_timeout(s, value);
    }
}

static bool is_binary(struct bytes name)
{
    return name.len >= 4 && memcmp(name.data + name.len - 4, "-bin", 4) == 0;
}

static void check_binary(struct stream *s, struct bytes name, struct bytes value)
{
    ssize_t at = text_binary_fault(value);
    if (at >= 0) {
        struct bytes text = text_quote(value, &s->call.arena), header = text_quote(name, &s->call.arena);
        s->malformed = arena_printf(
            &s->call.arena, "malformed binary metadata %.*s in header %.*s: illegal base64 data at input byte %zd",
            (int)text.len, text.data, (int)header.len, header.data, at);
    }
}

static void encoding(struct stream *s, struct bytes value)
{
    bool none = value.len == 0 || (value.len == 8 && IS(value, "identity"));
    s->gzip = value.len == 4 && IS(value, "gzip");
    s->encoding = none || s->gzip ? (struct bytes){0} : arena_copy(&s->call.arena, value);
}

static bool parse_hex(struct bytes text, uint8_t *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    return true;
}

/* W3C: version 00 - 32 hex digits - 16 hex digits - 2 hex digits. Anything else is ignored. */
static void traceparent(struct call *call, struct bytes v)
{
    if (v.len != 55 || v.data[2] != '-' || v.data[35] != '-' || v.data[52] != '-') {
        return;
    }
    uint8_t trace[16], span[8], flags[1];
    if (parse_hex(bytes_of(v.data + 3, 32), trace) && parse_hex(bytes_of(v.data + 36, 16), span) &&
        parse_hex(bytes_of(v.data + 53, 2), flags)) {
        memcpy(call->trace.trace_id, trace, sizeof trace);
        memcpy(call->trace.span_id, span, sizeof span);
        call->trace.flags = flags[0];
    }
}

static bool protocol_error(struct stream *s)
{
    s->reset_code = NGHTTP2_PROTOCOL_ERROR;
    return false;
}

static bool pseudo(struct stream *s, struct bytes name, struct bytes value)
{
    uint8_t which;
    if (name.len == 5 && IS(name, ":path")) {
        which = SEEN_PATH;
        s->path = arena_copy(&s->call.arena, value);
    } else if (name.len == 7 && IS(name, ":method")) {
        which = SEEN_METHOD;
        s->post = value.len == 4 && IS(value, "POST");
        if (!s->post) {
            s->method = arena_copy(&s->call.arena, value);
        }
    } else if (name.len == 7 && IS(name, ":scheme")) {
        which = SEEN_SCHEME;
    } else if (name.len == 10 && IS(name, ":authority")) {
        which = SEEN_AUTHORITY;
    } else {
        return protocol_error(s);
    }
    if (s->regular_seen || (s->pseudo_seen & which) != 0) {
        return protocol_error(s);
    }
    s->pseudo_seen |= which;
    return true;
}

/* True when the header is one that the transport keeps to itself. */
static bool reserved(struct stream *s, struct bytes name, struct bytes value)
{
    switch (name.len) {
    case 2:
        return IS(name, "te");
    case 4:
        if (IS(name, "host") && s->hosts < UINT8_MAX) {
            s->hosts++;
        }
        return false;
    case 11:
        if (IS(name, "traceparent")) {
            traceparent(&s->call, value);
        }
        return false;
    case 12:
        if (IS(name, "content-type")) {
            content_type(s, value);
            return true;
        }
        if (IS(name, "grpc-timeout")) {
            timeout(s, value);
            return true;
        }
        return false;
    case 13:
        if (IS(name, "grpc-encoding")) {
            encoding(s, value);
            return true;
        }
        return false;
    case 20:
        return IS(name, "grpc-accept-encoding");
    default:
        return false;
    }
}

bool stream_header(struct stream *s, struct bytes name, struct bytes value)
{
    s->header_bytes += name.len + value.len + 32; /* as HTTP/2 counts a header list */
    if (s->header_bytes > HTTP2_HEADER_BYTES) {
        s->reset_code = NGHTTP2_FRAME_SIZE_ERROR; /* grpc-go: a header list that was cut off */
        return false;
    }
    if (name.len > 0 && name.data[0] == ':') {
        return pseudo(s, name, value);
    }
    s->regular_seen = true;
    if (!nghttp2_check_header_name(name.data, name.len) || !nghttp2_check_header_value(value.data, value.len) ||
        (name.len == 10 && IS(name, "connection"))) {
        return protocol_error(s);
    }
    if (!reserved(s, name, value)) {
        keep(s, name, value);
    }
    if (is_binary(name)) {
        check_binary(s, name, value);
    }
    return true;
}

/* "/package.Service/Method": the last slash divides. */
static void refuse_path(struct stream *s)
{
    const struct routes *routes = &s->http2->server->routes;
    bool rooted = s->path.len > 0 && s->path.data[0] == '/';
    struct bytes path = rooted ? bytes_of(s->path.data + 1, s->path.len - 1) : (struct bytes){0};
    const uint8_t *slash = path.len == 0 ? NULL : memrchr(path.data, '/', path.len);
    if (slash == NULL) {
        struct bytes quoted = text_quote(s->path, &s->call.arena);
        stream_fail_text(s, GRPC_UNIMPLEMENTED, "malformed method name: %.*s", (int)quoted.len, quoted.data);
        return;
    }
    struct bytes service = bytes_of(path.data, (size_t)(slash - path.data));
    struct bytes method = bytes_of(slash + 1, path.len - service.len - 1);
    if (!routes_has_service(routes, service)) {
        stream_fail_text(s, GRPC_UNIMPLEMENTED, "unknown service %.*s", (int)service.len, service.data);
    } else {
        stream_fail_text(s, GRPC_UNIMPLEMENTED, "unknown method %.*s for service %.*s", (int)method.len, method.data,
                         (int)service.len, service.data);
    }
}

static void refuse_head(struct stream *s, const char *status, enum grpc_code code, const char *text, struct bytes what)
{
    struct bytes quoted = text_quote(what, &s->call.arena);
    char *message = arena_printf(&s->call.arena, text, (int)quoted.len, quoted.data);
    stream_refuse(s, status, code, bytes_str(message));
}

/* What makes a request no gRPC call at all. */
static bool refused(struct stream *s)
{
    if (s->hosts > 1) {
        stream_refuse(
            s, "400", GRPC_INTERNAL,
            bytes_str(arena_printf(&s->call.arena,
                                   "num values of :authority: %d, num values of host: %d, both must only have "
                                   "1 value as per HTTP/2 spec",
                                   (s->pseudo_seen & SEEN_AUTHORITY) != 0, s->hosts)));
    } else if (!s->has_type) {
        refuse_head(s, "415", GRPC_INVALID_ARGUMENT, "invalid gRPC request content-type %.*s", s->bad_type);
    } else if (s->malformed != NULL) {
        stream_refuse(s, "400", GRPC_INTERNAL, bytes_str(s->malformed));
    } else if (!s->post) {
        refuse_head(s, "405", GRPC_INTERNAL, "Received a HEADERS frame with :method %.*s which should be POST",
                    s->method);
    } else if (s->has_timeout && s->timeout_ns == 0) {
        stream_refuse(s, "200", GRPC_DEADLINE_EXCEEDED, bytes_str("context deadline exceeded"));
    } else {
        return false;
    }
    return true;
}

static void set_deadline(struct stream *s)
{
    struct loop *loop = s->http2->server->loop;
    uint64_t at_ns = loop->now_ns + s->timeout_ns;
    s->call.deadline_ms = at_ns / 1000000 + (at_ns % 1000000 != 0);
    loop_timer_set(loop, &s->deadline, s->call.deadline_ms);
}

void stream_headers_done(struct stream *s)
{
    s->call.stage_ns[CALL_RECEIVED] = s->http2->server->loop->now_ns;
    s->phase = STREAM_BODY;
    if (refused(s)) {
        return;
    }
    if (s->has_timeout) {
        set_deadline(s);
    }
    struct bytes path = s->path;
    const struct routes_entry *entry = routes_find(&s->http2->server->routes, path);
    if (entry == NULL) {
        refuse_path(s);
        return;
    }
    s->call.route = entry->route;
    s->call.service = entry->service;
    s->call.lane = entry->route->lane;
    if (s->encoding.data != NULL) {
        struct bytes quoted = text_quote(s->encoding, &s->call.arena);
        stream_fail_text(s, GRPC_UNIMPLEMENTED, "grpc: Decompressor is not installed for grpc-encoding %.*s",
                         (int)quoted.len, quoted.data);
    } else if (entry->route->kind == CALL_STREAM) {
        stream_start(s);
    }
}
