#include "grpc/json.h"

#include "base/gojson.h"
#include "base/gotext.h"
#include "base/pb.h"
#include <inttypes.h>

static void put_char(struct buffer *out, char c)
{
    buffer_append(out, &c, 1);
}

void json_print_string(struct bytes text, struct buffer *out)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    put_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= ' ' && c != '"' && c != '\\') {
            put_char(out, (char)c);
        } else if (!gotext_escape_named(out, c, named)) {
            buffer_printf(out, "\\u%04x", c);
        }
    }
    put_char(out, '"');
}

static void print_enum(const ProtobufCFieldDescriptor *field, int value, struct buffer *out)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    if (known != NULL) {
        buffer_printf(out, "\"%s\"", known->name);
    } else {
        buffer_printf(out, "%d", value);
    }
}

static void print_value(const ProtobufCFieldDescriptor *field, const void *at, struct buffer *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buffer_printf(out, "\"%" PRId64 "\"", *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buffer_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buffer_printf(out, "%" PRId32, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buffer_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buffer_printf(out, "%s", *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(field, *(const int *)at, out);
        break;
    case PROTOBUF_C_TYPE_STRING:
        json_print_string(bytes_str(*(char *const *)at), out);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *data = at;
        gojson_bytes(out, bytes_of(data->data, data->len));
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        json_print_message(*(ProtobufCMessage *const *)at, out);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break; /* the API has none */
    }
}

/* Has the field a value that must be written? proto3: not when it is the default, unless it is in a oneof. */
static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *base = (const uint8_t *)message;
    const void *at = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)(base + field->quantifier_offset) > 0;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)at != NULL;
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)at != NULL && (*(char *const *)at)[0] != '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len > 0;
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)at != 0;
    default:
        return pb_value_size(field->type) == 8 ? *(const uint64_t *)at != 0 : *(const uint32_t *)at != 0;
    }
}

static void print_repeated(const ProtobufCFieldDescriptor *field, const void *at, size_t count, struct buffer *out)
{
    const uint8_t *items = *(uint8_t *const *)at;
    put_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            put_char(out, ',');
        }
        print_value(field, items + i * pb_value_size(field->type), out);
    }
    put_char(out, ']');
}

void json_print_message(const ProtobufCMessage *message, struct buffer *out)
{
    const uint8_t *base = (const uint8_t *)message;
    bool first = true;
    put_char(out, '{');
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!is_set(message, field)) {
            continue;
        }
        buffer_printf(out, first ? "\"%s\":" : ",\"%s\":", field->name);
        first = false;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            print_repeated(field, base + field->offset, *(const size_t *)(base + field->quantifier_offset), out);
        } else {
            print_value(field, base + field->offset, out);
        }
    }
    put_char(out, '}');
}
