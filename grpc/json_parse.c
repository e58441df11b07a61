/* JSON text straight into protobuf encoding: a nested message is encoded behind its parent and moved by the length of
 * its prefix, so that nothing but the output is allocated. The text is untrusted: json_scan goes over it first, so that
 * here brackets match, names have values and strings end. What is wrong then is the meaning, and is told in the words
 * of Go's protojson, which programs have in their logs. */
#include "grpc/json.h"

#include "base/check.h"
#include "base/error.h"
#include "base/pb.h"
#include "grpc/json_scan.h"
#include "grpc/json_value.h"
#include "grpc/text.h"

#define PROTO "proto:\xc2\xa0" /* with the no-break space of the official program */

struct parser {
    const uint8_t *text, *at, *end;
    struct buffer *out;
    struct buffer scratch; /* a string without its escapes */
    struct arena *arena;
    unsigned depth;
    const char *reason;
};

/* --- what is wrong --- */

/* "line 1:8": columns are bytes, from 1. */
static const char *position(const struct parser *p, const uint8_t *at)
{
    size_t line = 1, column = 1;
    for (const uint8_t *c = p->text; c < at; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n' ? 1 : 0;
    }
    return arena_printf(p->arena, "line %zu:%zu", line, column);
}

static bool fail(struct parser *p, const char *reason)
{
    p->reason = reason;
    return false;
}

/* --- tokens --- */

static uint8_t peek(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) {
        p->at++;
    }
    return p->at < p->end ? *p->at : 0;
}

/* Takes the next token: a bracket, a whole string with its quotes, or a number or word. */
static struct bytes take(struct parser *p)
{
    uint8_t c = peek(p);
    const uint8_t *from = p->at;
    if (c == '"') {
        for (p->at++; *p->at != '"'; p->at++) {
            p->at += *p->at == '\\' ? 1 : 0;
        }
        p->at++;
    } else if (c != 0 && strchr("{}[]:,", c) != NULL) {
        p->at++;
    } else {
        while (p->at<p->end && * p->at> ' ' && strchr("{}[]:,\"", *p->at) == NULL) {
            p->at++;
        }
    }
    return bytes_of(from, (size_t)(p->at - from));
}

static bool is(struct bytes token, const char *text)
{
    return bytes_equal(token, bytes_str(text));
}

static bool unexpected(struct parser *p, struct bytes token)
{
    return fail(p, arena_printf(p->arena, PROTO "syntax error (%s): unexpected token %.*s", position(p, token.data),
                                (int)token.len, (const char *)token.data));
}

/* Resolves a string token into scratch; *out is a view of it until the next string. */
static bool string(struct parser *p, struct bytes token, struct bytes *out)
{
    struct bytes escape = {0};
    p->scratch.len = 0;
    switch (json_value_string(token, &p->scratch, &escape)) {
    case JSON_STRING_OK:
        *out = buffer_bytes(&p->scratch);
        return true;
    case JSON_STRING_NOT_UTF8:
        return fail(
            p, arena_printf(p->arena, PROTO "syntax error (%s): invalid UTF-8 in string", position(p, token.data)));
    case JSON_STRING_SURROGATE:
        escape = text_quote(escape, p->arena);
        return fail(p, arena_printf(p->arena, PROTO "syntax error (%s): invalid escape code %.*s in string",
                                    position(p, token.data), (int)escape.len, (const char *)escape.data));
    case JSON_STRING_SHORT:
        break;
    }
    return fail(p, PROTO "unexpected EOF");
}

/* A value that nobody asked for: only its strings are looked at. */
static bool skip_value(struct parser *p)
{
    unsigned depth = 0;
    do {
        struct bytes token = take(p), text;
        uint8_t c = token.data[0];
        if (c == '"' && !string(p, token, &text)) {
            return false;
        }
        depth += c == '{' || c == '[' ? 1 : 0;
        depth -= c == '}' || c == ']' ? 1 : 0;
    } while (depth > 0);
    return true;
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

static char raised(char c, bool raise)
{
    return raise && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* json_name of a .proto name: an underscore goes and raises the next letter. */
static const char *json_name(const char *proto, struct arena *arena)
{
    char *name = arena_alloc(arena, strlen(proto) + 1), *to = name;
    for (bool raise = false; *proto != '\0'; proto++) {
        if (*proto == '_') {
            raise = true;
            continue;
        }
        *to++ = raised(*proto, raise);
        raise = false;
    }
    *to = '\0';
    return name;
}

static const char *type_name(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
        return "int64";
    case PROTOBUF_C_TYPE_UINT64:
        return "uint64";
    case PROTOBUF_C_TYPE_INT32:
        return "int32";
    case PROTOBUF_C_TYPE_UINT32:
        return "uint32";
    case PROTOBUF_C_TYPE_ENUM:
        return "enum";
    case PROTOBUF_C_TYPE_BOOL:
        return "bool";
    case PROTOBUF_C_TYPE_STRING:
        return "string";
    default:
        return "bytes";
    }
}

static bool invalid(struct parser *p, const ProtobufCFieldDescriptor *field, struct bytes token)
{
    return fail(p, arena_printf(p->arena, PROTO "(%s): invalid value for %s field %s: %.*s", position(p, token.data),
                                type_name(field->type), json_name(field->name, p->arena), (int)token.len,
                                (const char *)token.data));
}

/* Left out when it is the default, except in lists and oneofs, where being there says something. */
static bool written(const ProtobufCFieldDescriptor *field, bool is_default)
{
    return !is_default || field->label == PROTOBUF_C_LABEL_REPEATED || (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
}

static void put_number(struct parser *p, const ProtobufCFieldDescriptor *field, uint64_t value)
{
    if (written(field, value == 0)) {
        put_tag(p, field, 0);
        put_varint(p, value);
    }
}

/* Does white space follow what is in the quotes? protojson refuses that, though it takes other rests of a string. */
static bool ends_in_space(struct bytes text)
{
    return text.len > 0 && strchr(" \t\n\v\f\r", text.data[text.len - 1]) != NULL && text.data[text.len - 1] != 0;
}

/* Numbers may come quoted. */
static bool integer(struct parser *p, const ProtobufCFieldDescriptor *field, struct bytes token, bool is_signed,
                    unsigned bits)
{
    uint64_t value;
    struct bytes text = token;
    if (token.data[0] == '"' && !string(p, token, &text)) {
        return false;
    }
    if (ends_in_space(text) || !json_value_integer(text, is_signed, bits, &value)) {
        return invalid(p, field, token);
    }
    put_number(p, field, value);
    return true;
}

/* By name or number; a name that the enum does not have counts as not given. */
static bool enumeration(struct parser *p, const ProtobufCFieldDescriptor *field, struct bytes token)
{
    struct bytes name;
    if (token.data[0] != '"') {
        return integer(p, field, token, true, 32);
    }
    if (!string(p, token, &name)) {
        return false;
    }
    const char *text = arena_printf(p->arena, "%.*s", (int)name.len, (const char *)name.data);
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, text);
    if (value != NULL) {
        put_number(p, field, (uint64_t)(int64_t)value->value);
    }
    return true;
}

static bool boolean(struct parser *p, const ProtobufCFieldDescriptor *field, struct bytes token)
{
    if (!is(token, "true") && !is(token, "false")) {
        return invalid(p, field, token);
    }
    put_number(p, field, is(token, "true"));
    return true;
}

static bool text(struct parser *p, const ProtobufCFieldDescriptor *field, struct bytes token)
{
    struct bytes value;
    if (token.data[0] != '"') {
        return invalid(p, field, token);
    }
    if (!string(p, token, &value)) {
        return false;
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES && value.len > 0 && !json_value_base64(p->scratch.data, &value.len)) {
        return invalid(p, field, token);
    }
    if (written(field, value.len == 0)) {
        put_tag(p, field, 2);
        put_varint(p, value.len);
        buffer_append(p->out, value.data, value.len);
    }
    return true;
}

/* --- messages --- */

static bool object(struct parser *p, const ProtobufCMessageDescriptor *type);

/* The length is known only afterwards: the bytes are moved up to make room for it. */
static bool nested(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    put_tag(p, field, 2);
    size_t start = p->out->len;
    if (!object(p, field->descriptor)) {
        return false;
    }
    size_t len = p->out->len - start, prefix = varint_size(len);
    buffer_reserve(p->out, prefix);
    memmove(p->out->data + start + prefix, p->out->data + start, len);
    varint_put(p->out->data + start, len);
    p->out->len += prefix;
    return true;
}

static bool single(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return nested(p, field);
    }
    struct bytes token = take(p);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        return integer(p, field, token, true, 64);
    case PROTOBUF_C_TYPE_UINT64:
        return integer(p, field, token, false, 64);
    case PROTOBUF_C_TYPE_INT32:
        return integer(p, field, token, true, 32);
    case PROTOBUF_C_TYPE_UINT32:
        return integer(p, field, token, false, 32);
    case PROTOBUF_C_TYPE_ENUM:
        return enumeration(p, field, token);
    case PROTOBUF_C_TYPE_BOOL:
        return boolean(p, field, token);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return text(p, field, token);
    default:
        CHECK(false, "the API has no field of type %d", (int)field->type);
        return false;
    }
}

static bool list(struct parser *p, const ProtobufCFieldDescriptor *field)
{
    struct bytes token = take(p);
    if (!is(token, "[")) {
        return unexpected(p, token);
    }
    while (peek(p) != ']') {
        if (!single(p, field)) {
            return false;
        }
        if (peek(p) == ',') {
            p->at++;
        }
    }
    p->at++;
    return true;
}

static bool is_json_name(struct bytes name, const char *proto)
{
    size_t i = 0;
    for (bool raise = false; *proto != '\0'; proto++) {
        if (*proto == '_') {
            raise = true;
            continue;
        }
        char c = raised(*proto, raise);
        raise = false;
        if (i == name.len || name.data[i++] != (uint8_t)c) {
            return false;
        }
    }
    return i == name.len;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, struct bytes name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (is(name, type->fields[i].name) || is_json_name(name, type->fields[i].name)) {
            return &type->fields[i];
        }
    }
    return NULL;
}

/* No message of the API has more than one oneof; protobuf-c does not keep their names. */
static const char *oneof_name(const ProtobufCMessageDescriptor *type)
{
    return strcmp(type->short_name, "Compare") == 0        ? "target_union"
           : strcmp(type->short_name, "WatchRequest") == 0 ? "request_union"
           : strcmp(type->short_name, "ResponseOp") == 0   ? "response"
                                                           : "request";
}

struct seen {
    uint64_t fields; /* bit i: fields[i] */
    bool oneof;
};

/* False if it was there before. */
static bool first_time(struct parser *p, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                       struct bytes name, struct seen *seen)
{
    uint64_t bit = (uint64_t)1 << (field - type->fields);
    if (seen->fields & bit) {
        return fail(p, arena_printf(p->arena, PROTO "(%s): duplicate field %.*s", position(p, name.data), (int)name.len,
                                    (const char *)name.data));
    }
    seen->fields |= bit;
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || peek(p) == 'n') {
        return true;
    }
    if (seen->oneof) {
        return fail(p, arena_printf(p->arena, PROTO "(%s): error parsing %.*s, oneof %s.%s is already set",
                                    position(p, name.data), (int)name.len, (const char *)name.data, type->name,
                                    oneof_name(type)));
    }
    seen->oneof = true;
    return true;
}

static bool member(struct parser *p, const ProtobufCMessageDescriptor *type, struct seen *seen)
{
    struct bytes token = take(p), name;
    if (!string(p, token, &name)) {
        return false;
    }
    const ProtobufCFieldDescriptor *field = find_field(type, name);
    take(p); /* : */
    if (field == NULL) {
        return skip_value(p);
    }
    if (!first_time(p, type, field, token, seen)) {
        return false;
    }
    if (peek(p) == 'n') { /* null: not set */
        take(p);
        return true;
    }
    return field->label == PROTOBUF_C_LABEL_REPEATED ? list(p, field) : single(p, field);
}

static bool object(struct parser *p, const ProtobufCMessageDescriptor *type)
{
    struct bytes token = take(p);
    struct seen seen = {0};
    CHECK(type->n_fields <= 64, "%s", type->name);
    if (!is(token, "{")) {
        return unexpected(p, token);
    }
    if (++p->depth > JSON_MAX_DEPTH) {
        return fail(p, PROTO "exceeded max recursion depth");
    }
    while (peek(p) != '}') {
        if (!member(p, type, &seen)) {
            return false;
        }
        if (peek(p) == ',') {
            p->at++;
        }
    }
    p->at++;
    p->depth--;
    return true;
}

int json_parse_message(const ProtobufCMessageDescriptor *type, struct bytes body, struct buffer *out,
                       struct arena *arena, const char **reason)
{
    size_t length;
    int error = json_scan(body, arena, &length, reason);
    if (error != 0 || length == 0 || type == NULL) {
        return error;
    }
    struct parser p = {.text = body.data, .at = body.data, .end = body.data + length, .out = out, .arena = arena};
    bool good = object(&p, type);
    buffer_free(&p.scratch);
    *reason = p.reason;
    return good ? 0 : ERR_INVALID;
}
