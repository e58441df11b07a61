/* JSON text straight into protobuf encoding: a nested message is encoded behind its parent and moved by the length of
 * its prefix, so that nothing but the output is allocated. The text is untrusted: depth is bounded, and the output is at
 * most as long as the text. */
#include "grpc/json.h"

#include "base/error.h"
#include "base/pb.h"
#include <errno.h>
#include <stdlib.h>

struct parser {
    const uint8_t *at, *end;
    struct buffer *out;
    struct buffer scratch; /* an unescaped string */
    unsigned depth;
    const char *reason;
};

static bool fail(struct parser *p, const char *reason)
{
    if (p->reason == NULL) {
        p->reason = reason;
    }
    return false;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) {
        p->at++;
    }
}

/* The next character that is not white space; 0 at the end. */
static uint8_t peek(struct parser *p)
{
    skip_space(p);
    return p->at < p->end ? *p->at : 0;
}

static bool expect(struct parser *p, uint8_t c)
{
    if (peek(p) != c) {
        return fail(p, p->at < p->end ? "invalid JSON: unexpected character" : "unexpected EOF");
    }
    p->at++;
    return true;
}

/* --- strings --- */

static void put_utf8(struct buffer *out, uint32_t c)
{
    uint8_t b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        b[n++] = (uint8_t)(0xc0 | c >> 6);
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        b[n++] = (uint8_t)(0xe0 | c >> 12);
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else {
        b[n++] = (uint8_t)(0xf0 | c >> 18);
        b[n++] = (uint8_t)(0x80 | (c >> 12 & 63));
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    }
    buffer_append(out, b, n);
}

static bool hex4(struct parser *p, uint32_t *out)
{
    if (p->end - p->at < 4) {
        return fail(p, "unexpected EOF");
    }
    *out = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *p->at++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)c - '0'
                         : c >= 'a' && c <= 'f' ? (uint32_t)c - 'a' + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)c - 'A' + 10
                                                : 16u;
        if (digit > 15) {
            return fail(p, "invalid JSON: bad \\u escape in string");
        }
        *out = *out << 4 | digit;
    }
    return true;
}

static bool unicode_escape(struct parser *p)
{
    uint32_t c, low;
    if (!hex4(p, &c)) {
        return false;
    }
    if (c >= 0xd800 && c < 0xdc00) {
        if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u') {
            return fail(p, "invalid JSON: lone surrogate in string");
        }
        p->at += 2;
        if (!hex4(p, &low)) {
            return false;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return fail(p, "invalid JSON: lone surrogate in string");
        }
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
        return fail(p, "invalid JSON: lone surrogate in string");
    }
    put_utf8(&p->scratch, c);
    return true;
}

static bool escape(struct parser *p)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    uint8_t c = *p->at++;
    if (c == 'u') {
        return unicode_escape(p);
    }
    const char *found = c != 0 ? strchr(names, c) : NULL;
    if (found == NULL) {
        return fail(p, "invalid JSON: bad escape in string");
    }
    buffer_append(&p->scratch, &values[found - names], 1);
    return true;
}

/* Reads a string into scratch, unescaped; *out is a view of it until the next string. */
static bool parse_string(struct parser *p, struct bytes *out)
{
    if (!expect(p, '"')) {
        return false;
    }
    p->scratch.len = 0;
    while (p->at < p->end && *p->at != '"') {
        const uint8_t *run = p->at;
        while (p->at < p->end && *p->at != '"' && *p->at != '\\' && *p->at >= 0x20) {
            p->at++;
        }
        buffer_append(&p->scratch, run, (size_t)(p->at - run));
        if (p->at < p->end && *p->at < 0x20) {
            return fail(p, "invalid JSON: control character in string");
        }
        if (p->at + 1 < p->end && *p->at == '\\') {
            p->at++;
            if (!escape(p)) {
                return false;
            }
        } else if (p->at < p->end && *p->at == '\\') {
            return fail(p, "unexpected EOF");
        }
    }
    if (p->at == p->end) {
        return fail(p, "unexpected EOF");
    }
    p->at++;
    *out = buffer_bytes(&p->scratch);
    return utf8_valid(*out) || fail(p, "invalid JSON: string contains invalid UTF-8");
}

/* A number, true, false or null as its text. */
static struct bytes parse_word(struct parser *p)
{
    skip_space(p);
    const uint8_t *from = p->at;
    while (p->at < p->end && *p->at != ',' && *p->at != '}' && *p->at != ']' && *p->at > ' ' && *p->at != ':' &&
           *p->at != '"' && *p->at != '{' && *p->at != '[') {
        p->at++;
    }
    return bytes_of(from, (size_t)(p->at - from));
}

static bool word_is(struct bytes word, const char *text)
{
    return bytes_equal(word, bytes_str(text));
}

/* --- values that nobody asked for --- */

static bool enter(struct parser *p)
{
    return ++p->depth <= JSON_MAX_DEPTH || fail(p, "exceeded maximum recursion depth");
}

static bool number_valid(struct bytes word)
{
    char text[64], *end;
    if (word.len == 0 || word.len >= sizeof text || (word.data[0] != '-' && (word.data[0] < '0' || word.data[0] > '9'))) {
        return false;
    }
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    if (strpbrk(text, "xXpPiInN") != NULL) {
        return false;
    }
    strtod(text, &end);
    return *end == '\0';
}

static bool skip_value(struct parser *p);

static bool skip_members(struct parser *p, uint8_t close, bool named)
{
    p->at++;
    if (!enter(p)) {
        return false;
    }
    if (peek(p) != close) {
        do {
            struct bytes name;
            if (named && (!parse_string(p, &name) || !expect(p, ':'))) {
                return false;
            }
            if (!skip_value(p)) {
                return false;
            }
        } while (peek(p) == ',' && p->at++ != NULL);
    }
    p->depth--;
    return expect(p, close);
}

static bool skip_value(struct parser *p)
{
    struct bytes text;
    switch (peek(p)) {
    case '{':
        return skip_members(p, '}', true);
    case '[':
        return skip_members(p, ']', false);
    case '"':
        return parse_string(p, &text);
    default:
        text = parse_word(p);
        return word_is(text, "null") || word_is(text, "true") || word_is(text, "false") || number_valid(text) ||
               fail(p, p->at < p->end ? "invalid JSON: invalid value" : "unexpected EOF");
    }
}

/* --- scalars --- */

static void put_varint(struct parser *p, uint64_t v)
{
    uint8_t *to = buffer_reserve(p->out, 10);
    p->out->len += varint_put(to, v);
}

static void put_tag(struct parser *p, const ProtobufCFieldDescriptor *field, unsigned wire_type)
{
    put_varint(p, (uint64_t)field->id << 3 | wire_type);
}

/* A whole number: digits, or a number with fraction or exponent whose value is whole ("1e3", "5.0"). */
static bool parse_integer(struct bytes text, bool is_signed, uint64_t *out)
{
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (!number_valid(text) || (!is_signed && copy[0] == '-')) {
        return false;
    }
    errno = 0;
    *out = is_signed ? (uint64_t)strtoll(copy, &end, 10) : strtoull(copy, &end, 10);
    if (*end == '\0') {
        return errno == 0;
    }
    double value = strtod(copy, &end);
    if (*end != '\0' || value < -9.2e18 || value > 9.2e18 || value != (double)(int64_t)value) {
        return false;
    }
    *out = (uint64_t)(int64_t)value;
    return true;
}

/* Numbers may come quoted. */
static bool number_text(struct parser *p, struct bytes *text)
{
    if (peek(p) == '"') {
        return parse_string(p, text);
    }
    *text = parse_word(p);
    return true;
}

static bool parse_int_field(struct parser *p, const ProtobufCFieldDescriptor *field, bool is_signed, bool narrow)
{
    struct bytes text;
    uint64_t value;
    if (!number_text(p, &text)) {
        return false;
    }
    if (!parse_integer(text, is_signed, &value) ||
        (narrow && (is_signed ? (int64_t)value != (int32_t)value : value > UINT32_MAX))) {
        return fail(p, "invalid value for an integer field");
    }
    if (value != 0 || field->label == PROTOBUF_C_LABEL_REPEATED || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        put_tag(p, field, 0);
        put_varint(p, value);
    }
    return true;
}

static bool parse_enum(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    if (peek(p) != '"') {
        return parse_int_field(p, field, true, true);
    }
    struct bytes text;
    if (!parse_string(p, &text)) {
        return false;
    }
    const ProtobufCEnumDescriptor *type = field->descriptor;
    for (unsigned i = 0; i < type->n_values; i++) {
        if (bytes_equal(text, bytes_str(type->values[i].name))) {
            put_tag(p, field, 0);
            put_varint(p, (uint64_t)(int64_t)type->values[i].value);
            return true;
        }
    }
    return true; /* unknown names are ignored */
}

static bool parse_bool(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    struct bytes word = parse_word(p);
    if (!word_is(word, "true") && !word_is(word, "false")) {
        return fail(p, "invalid value for a bool field");
    }
    if (word_is(word, "true")) {
        put_tag(p, field, 0);
        put_varint(p, 1);
    }
    return true;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* In place: the result is shorter. Returns false for what is not base64. */
static bool base64_decode(uint8_t *data, size_t *len)
{
    size_t n = *len, to = 0;
    while (n > 0 && data[n - 1] == '=') {
        n--;
    }
    if (n % 4 == 1 || *len - n > 2) {
        return false;
    }
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(data[i]);
        if (digit < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0) {
            data[to++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        }
    }
    *len = to;
    return true;
}

static bool parse_text(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    struct bytes text;
    if (peek(p) != '"') {
        return fail(p, "invalid value for a string or bytes field");
    }
    if (!parse_string(p, &text)) {
        return false;
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        size_t len = text.len;
        if (!base64_decode(p->scratch.data, &len)) {
            return fail(p, "illegal base64 data");
        }
        text.len = len;
    }
    if (text.len > 0 || field->label == PROTOBUF_C_LABEL_REPEATED) {
        put_tag(p, field, 2);
        put_varint(p, text.len);
        buffer_append(p->out, text.data, text.len);
    }
    return true;
}

/* --- messages --- */

static bool parse_object(struct parser *p, const ProtobufCMessageDescriptor *type);

/* The length is known only afterwards: the bytes are moved up to make room for it. */
static bool parse_nested(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    put_tag(p, field, 2);
    size_t start = p->out->len;
    if (!parse_object(p, field->descriptor)) {
        return false;
    }
    size_t len = p->out->len - start, prefix = varint_size(len);
    buffer_reserve(p->out, prefix);
    memmove(p->out->data + start + prefix, p->out->data + start, len);
    varint_put(p->out->data + start, len);
    p->out->len += prefix;
    return true;
}

static bool parse_single(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        return parse_int_field(p, field, true, false);
    case PROTOBUF_C_TYPE_UINT64:
        return parse_int_field(p, field, false, false);
    case PROTOBUF_C_TYPE_INT32:
        return parse_int_field(p, field, true, true);
    case PROTOBUF_C_TYPE_UINT32:
        return parse_int_field(p, field, false, true);
    case PROTOBUF_C_TYPE_ENUM:
        return parse_enum(p, field);
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(p, field);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return parse_text(p, field);
    case PROTOBUF_C_TYPE_MESSAGE:
        return parse_nested(p, field);
    default:
        return fail(p, "unsupported field type");
    }
}

static bool is_null(struct parser *p)
{
    skip_space(p);
    if (p->end - p->at < 4 || memcmp(p->at, "null", 4) != 0) {
        return false;
    }
    p->at += 4;
    return true;
}

static bool parse_field(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    if (is_null(p)) {
        return true;
    }
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        return parse_single(p, field);
    }
    if (!expect(p, '[')) {
        return false;
    }
    if (peek(p) == ']') {
        p->at++;
        return true;
    }
    do {
        if (!parse_single(p, field)) {
            return false;
        }
    } while (peek(p) == ',' && p->at++ != NULL);
    return expect(p, ']');
}

/* Is `name` the lowerCamelCase form of a .proto name? (json_name: an underscore goes and raises the next letter.) */
static bool camel_equal(const char *proto, struct bytes name)
{
    size_t i = 0;
    for (bool raise = false; *proto != '\0'; proto++) {
        if (*proto == '_') {
            raise = true;
            continue;
        }
        char c = raise && *proto >= 'a' && *proto <= 'z' ? (char)(*proto - 'a' + 'A') : *proto;
        raise = false;
        if (i >= name.len || name.data[i++] != (uint8_t)c) {
            return false;
        }
    }
    return i == name.len;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, struct bytes name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (bytes_equal(bytes_str(type->fields[i].name), name) || camel_equal(type->fields[i].name, name)) {
            return &type->fields[i];
        }
    }
    return NULL;
}

static bool parse_member(struct parser *p, const ProtobufCMessageDescriptor *type)
{
    struct bytes name;
    if (!parse_string(p, &name)) {
        return false;
    }
    const ProtobufCFieldDescriptor *field = find_field(type, name);
    return expect(p, ':') && (field != NULL ? parse_field(p, field) : skip_value(p));
}

static bool parse_object(struct parser *p, const ProtobufCMessageDescriptor *type)
{
    if (!expect(p, '{') || !enter(p)) {
        return false;
    }
    if (peek(p) != '}') {
        do {
            if (!parse_member(p, type)) {
                return false;
            }
        } while (peek(p) == ',' && p->at++ != NULL);
    }
    p->depth--;
    return expect(p, '}');
}

int json_parse_message(const ProtobufCMessageDescriptor *type, struct bytes text, struct buffer *out,
                       const char **reason)
{
    struct parser p = {.at = text.data, .end = text.data + text.len, .out = out};
    bool good = peek(&p) == 0 && p.at == p.end; /* nothing at all */
    if (!good) {
        good = type != NULL ? parse_object(&p, type) : skip_value(&p);
    }
    buffer_free(&p.scratch);
    *reason = p.reason;
    return good ? 0 : ERR_INVALID;
}
