#include "cmd/kedgectl/json.h"
#include "base/check.h"
#include "base/gojson.h"
#include "base/pb.h"

/* One value at `at`, of the field's type. */
static void json_value(struct buffer *out, const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        buffer_printf(out, "%d", *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buffer_printf(out, "%u", *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buffer_printf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buffer_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buffer_printf(out, "%s", *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_STRING:
        gojson_string(out, bytes_str(*(const char *const *)at));
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *data = at;
        gojson_bytes(out, bytes_of(data->data, data->len));
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        json_message(out, *(const ProtobufCMessage *const *)at);
        break;
    default:
        CHECK(false, "type %d of %s", (int)field->type, field->name);
    }
}

static bool is_empty(const ProtobufCFieldDescriptor *field, const void *at)
{
    static const uint8_t zeros[8];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return *(const char *const *)at == NULL || **(const char *const *)at == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const void *const *)at == NULL;
    default:
        return memcmp(at, zeros, pb_value_size(field->type)) == 0;
    }
}

static void json_name(struct buffer *out, const char *name)
{
    buffer_printf(out, "\"%s\":", name);
}

static void json_repeated(struct buffer *out, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
    const char *items = *(const char *const *)((const char *)message + field->offset);
    if (count == 0) {
        return;
    }
    json_name(out, field->name);
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, i == 0 ? "[" : ",", 1);
        json_value(out, field, items + i * pb_value_size(field->type));
    }
    buffer_append(out, "],", 2);
}

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* The chosen one of a oneof: an object of its own, named as Go names the field (ResponseOp is the only one printed). */
static void json_oneof(struct buffer *out, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    int chosen = *(const int *)((const char *)message + field->quantifier_offset);
    if (chosen != (int)field->id) {
        return;
    }
    json_name(out, "Response");
    buffer_append(out, "{", 1);
    json_name(out, field->name);
    json_value(out, field, (const char *)message + field->offset);
    buffer_append(out, "},", 2);
}

void json_fields(struct buffer *out, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const void *at = (const char *)message + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            json_repeated(out, field, message);
        } else if (is_oneof(field)) {
            json_oneof(out, field, message);
        } else if (!is_empty(field, at)) {
            json_name(out, field->name);
            json_value(out, field, at);
            buffer_append(out, ",", 1);
        }
    }
}

void json_message(struct buffer *out, const ProtobufCMessage *message)
{
    buffer_append(out, "{", 1);
    json_fields(out, message);
    if (out->data[out->len - 1] == ',') {
        out->len--;
    }
    buffer_append(out, "}", 1);
}
