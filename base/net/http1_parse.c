#include "base/net/http1_parse.h"
#include "base/check.h"
#include <strings.h>

#define TRAILER_BYTES ((size_t)8 * 1024)

/* --- heads ----------------------------------------------------------------------------------------------------------
 */

size_t http1_head_length(struct bytes in)
{
    const uint8_t *p = in.data;
    const uint8_t *end = in.data + in.len;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        p++;
        if (p < end && *p == '\n') {
            return (size_t)(p + 1 - in.data);
        }
        if (p + 1 < end && p[0] == '\r' && p[1] == '\n') {
            return (size_t)(p + 2 - in.data);
        }
    }
    return 0;
}

/* Cuts the first line off, without its end. */
static struct bytes cut_line(struct bytes *in)
{
    const uint8_t *end = memchr(in->data, '\n', in->len);
    size_t len = end == NULL ? in->len : (size_t)(end - in->data);
    struct bytes line = bytes_of(in->data, len);
    size_t used = end == NULL ? len : len + 1;
    in->data += used;
    in->len -= used;
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

static bool token_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!token_byte(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_field_value(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* What net/http lets through: no check of the form, only of the bytes. */
static bool is_host(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool known = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                     (c != 0 && strchr("!$%&'()*+,-.:;=[]_~", c) != NULL);
        if (!known) {
            return false;
        }
    }
    return true;
}

static bool same_text(struct bytes a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.data, b, a.len) == 0;
}

static struct bytes trim(struct bytes t)
{
    while (t.len > 0 && (t.data[0] == ' ' || t.data[0] == '\t')) {
        t.data++;
        t.len--;
    }
    while (t.len > 0 && (t.data[t.len - 1] == ' ' || t.data[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

static int refuse(int status, const char *text, const char **reason)
{
    *reason = text;
    return status;
}

static int request_line(struct bytes line, struct http1_head *head, const char **reason)
{
    const uint8_t *first = memchr(line.data, ' ', line.len);
    const uint8_t *last = line.len == 0 ? NULL : memrchr(line.data, ' ', line.len);
    if (first == NULL || first == last) {
        return refuse(400, "400 Bad Request", reason);
    }
    head->method = bytes_of(line.data, (size_t)(first - line.data));
    head->target = bytes_of(first + 1, (size_t)(last - first - 1));
    struct bytes version = bytes_of(last + 1, line.len - (size_t)(last + 1 - line.data));
    if (!is_token(head->method) || version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0) {
        return refuse(400, "400 Bad Request", reason);
    }
    for (size_t i = 0; i < head->target.len; i++) {
        if (head->target.data[i] <= ' ' || head->target.data[i] == 0x7f) {
            return refuse(400, "400 Bad Request", reason);
        }
    }
    if (memcmp(version.data, "HTTP/1.0", 8) != 0 && memcmp(version.data, "HTTP/1.1", 8) != 0) {
        return refuse(505, "505 HTTP Version Not Supported: unsupported protocol version", reason);
    }
    head->minor = version.data[7] - '0';
    return 0;
}

static int content_length(struct bytes value, struct http1_head *head, const char **reason)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || i >= 18) {
            return refuse(400, "400 Bad Request", reason);
        }
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (value.len == 0 || (head->has_length && head->length != length)) {
        return refuse(400, "400 Bad Request", reason);
    }
    head->has_length = true;
    head->length = length;
    return 0;
}

/* "close", "keep-alive" somewhere in a comma list. */
static void connection_options(struct bytes value, struct http1_head *head)
{
    while (value.len > 0) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t len = comma == NULL ? value.len : (size_t)(comma - value.data);
        struct bytes option = trim(bytes_of(value.data, len));
        head->close |= same_text(option, "close");
        head->keep_alive |= same_text(option, "keep-alive");
        size_t used = comma == NULL ? len : len + 1;
        value = bytes_of(value.data + used, value.len - used);
    }
}

static int known_header(const struct http1_header *h, struct http1_head *head, const char **reason)
{
    if (same_text(h->name, "content-length")) {
        return content_length(h->value, head, reason);
    }
    if (same_text(h->name, "transfer-encoding")) {
        if (!same_text(h->value, "chunked") || head->chunked) {
            return refuse(501, HTTP1_OTHER_CODING, reason);
        }
        head->chunked = true;
    } else if (same_text(h->name, "connection")) {
        connection_options(h->value, head);
    } else if (same_text(h->name, "expect")) {
        head->expect_continue = same_text(h->value, "100-continue");
    } else if (same_text(h->name, "host")) {
        if (head->has_host) {
            return refuse(400, "400 Bad Request", reason);
        }
        head->has_host = true;
        head->host = h->value;
    }
    return 0;
}

static int header_line(struct bytes line, struct http1_head *head, const char **reason)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL) {
        return refuse(400, "400 Bad Request", reason);
    }
    size_t name_len = (size_t)(colon - line.data);
    struct http1_header h = {
        .name = bytes_of(line.data, name_len),
        .value = trim(bytes_of(colon + 1, line.len - name_len - 1)),
    };
    if (!is_token(h.name) || !is_field_value(h.value)) {
        return refuse(400, "400 Bad Request", reason);
    }
    if (head->header_count == HTTP1_HEADERS) {
        return refuse(431, "431 Request Header Fields Too Large", reason);
    }
    head->headers[head->header_count++] = h;
    return known_header(&h, head, reason);
}

static int header_lines(struct bytes in, struct http1_head *head, const char **reason)
{
    int status = 0;
    while (status == 0 && in.len > 0) {
        struct bytes line = cut_line(&in);
        if (line.len == 0) {
            break;
        }
        status = header_line(line, head, reason);
    }
    return status;
}

int http1_parse_head(struct bytes in, struct arena *arena, struct http1_head *head, const char **reason)
{
    *head = (struct http1_head){.headers = arena_alloc(arena, HTTP1_HEADERS * sizeof *head->headers)};
    int status = request_line(cut_line(&in), head, reason);
    if (status == 0) {
        status = header_lines(in, head, reason);
    }
    if (status != 0) {
        return status;
    }
    if (head->minor == 1 && !head->has_host) {
        return refuse(400, "400 Bad Request: missing required Host header", reason);
    }
    if (!is_host(head->host)) {
        return refuse(400, "400 Bad Request: malformed Host header", reason);
    }
    if (head->chunked && (head->has_length || head->minor == 0)) {
        return refuse(400, "400 Bad Request", reason);
    }
    return 0;
}

/* "HTTP/1.1 200 OK"; the words after the number are free, and may be missing. */
static int status_line(struct bytes line, struct http1_head *head, const char **reason)
{
    bool known = line.len >= 12 && (memcmp(line.data, "HTTP/1.1 ", 9) == 0 || memcmp(line.data, "HTTP/1.0 ", 9) == 0);
    if (!known || (line.len > 12 && line.data[12] != ' ')) {
        return refuse(400, "malformed HTTP response", reason);
    }
    for (size_t i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9') {
            return refuse(400, "malformed HTTP status code", reason);
        }
        head->status = head->status * 10 + (line.data[i] - '0');
    }
    head->minor = line.data[7] - '0';
    return head->status < 100 ? refuse(400, "malformed HTTP status code", reason) : 0;
}

int http1_parse_answer(struct bytes in, struct arena *arena, struct http1_head *head, const char **reason)
{
    *head = (struct http1_head){.headers = arena_alloc(arena, HTTP1_HEADERS * sizeof *head->headers)};
    int status = status_line(cut_line(&in), head, reason);
    if (status == 0) {
        status = header_lines(in, head, reason);
    }
    if (status == 0 && head->chunked && head->has_length) {
        status = refuse(400, "both kinds of length", reason);
    }
    return status == 0 ? 0 : 400;
}

struct bytes http1_find_header(const struct http1_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (same_text(headers[i].name, name)) {
            return headers[i].value;
        }
    }
    return (struct bytes){0};
}

/* --- escapes --------------------------------------------------------------------------------------------------------
 */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (uint8_t)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http1_unescape(struct bytes in, bool plus_is_space, struct arena *arena, struct bytes *out)
{
    uint8_t *text = arena_alloc(arena, in.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            int high = i + 2 < in.len ? hex_digit(in.data[i + 1]) : -1;
            int low = i + 2 < in.len ? hex_digit(in.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        text[n++] = c;
    }
    *out = bytes_of(text, n);
    return true;
}

/* --- chunked bodies -------------------------------------------------------------------------------------------------
 */

/* One byte of "SIZE[;extension]\r\n". */
static int size_byte(struct http1_chunks *c, uint8_t byte)
{
    if (++c->line_bytes > 4096) {
        return 400;
    }
    if (c->carriage_return) {
        if (byte != '\n' || c->digits == 0) {
            return 400;
        }
        bool last = c->left == 0;
        c->state = last ? HTTP1_TRAILER : HTTP1_DATA;
        c->line_bytes = 0;
        c->digits = 0;
        c->extension = c->carriage_return = false;
        c->line_empty = true;
        return 0;
    }
    int digit = hex_digit(byte);
    if (byte == '\r') {
        c->carriage_return = true;
    } else if (c->extension) {
        return byte == '\n' ? 400 : 0;
    } else if (byte == ';' || byte == ' ' || byte == '\t') {
        c->extension = true;
    } else if (digit < 0 || c->digits == 15) {
        return 400;
    } else {
        c->left = c->left << 4 | (uint64_t)digit;
        c->digits++;
    }
    return 0;
}

static int trailer_byte(struct http1_chunks *c, uint8_t byte)
{
    if (++c->line_bytes > TRAILER_BYTES) {
        return 400;
    }
    if (byte == '\n') {
        if (c->line_empty) {
            c->state = HTTP1_DONE;
        }
        c->line_empty = true;
    } else if (byte != '\r') {
        c->line_empty = false;
    }
    return 0;
}

static int data_end_byte(struct http1_chunks *c, uint8_t byte)
{
    if (byte != (c->carriage_return ? '\n' : '\r')) {
        return 400;
    }
    c->state = c->carriage_return ? HTTP1_SIZE : HTTP1_DATA_END;
    c->carriage_return = !c->carriage_return;
    return 0;
}

static void take_data(struct http1_chunks *c, struct bytes *in, struct bytes *piece)
{
    size_t n = in->len < c->left ? in->len : (size_t)c->left;
    *piece = bytes_of(in->data, n);
    in->data += n;
    in->len -= n;
    c->left -= n;
    if (c->left == 0) {
        c->state = HTTP1_DATA_END;
    }
}

int http1_dechunk_next(struct http1_chunks *c, struct bytes *in, struct bytes *piece)
{
    int status = 0;
    *piece = (struct bytes){0};
    while (status == 0 && in->len > 0 && c->state != HTTP1_DONE) {
        if (c->state == HTTP1_DATA) {
            take_data(c, in, piece);
            break;
        }
        uint8_t byte = *in->data;
        in->data++;
        in->len--;
        status = c->state == HTTP1_SIZE      ? size_byte(c, byte)
                 : c->state == HTTP1_TRAILER ? trailer_byte(c, byte)
                                             : data_end_byte(c, byte);
    }
    return status;
}

int http1_dechunk(struct http1_chunks *c, struct bytes *in, struct buffer *out, size_t limit)
{
    int status = 0;
    while (status == 0 && in->len > 0 && c->state != HTTP1_DONE) {
        struct bytes piece;
        status = http1_dechunk_next(c, in, &piece);
        uint64_t coming = piece.len + (c->state == HTTP1_DATA ? c->left : 0);
        if (status == 0 && coming > limit - out->len) {
            status = 413; /* known from the size, before a byte of it */
        } else if (status == 0) {
            buffer_append(out, piece.data, piece.len);
        }
    }
    return status;
}

size_t http1_enchunk(uint8_t *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    CHECK(len > 0 && len <= HTTP1_CHUNK_MAX);
    for (int i = 0; i < 6; i++) {
        out[i] = (uint8_t)digits[len >> (4 * (5 - i)) & 15];
    }
    memcpy(out + 6, "\r\n", 2);
    memcpy(out + HTTP1_CHUNK_FRONT + len, "\r\n", HTTP1_CHUNK_BACK);
    return HTTP1_CHUNK_FRONT + len + HTTP1_CHUNK_BACK;
}
