#include "grpc/gateway_messages.h"

#include "base/check.h"
#include "base/pb.h"
#include "grpc/json.h"

void gateway_messages_begin(struct http1_request *request)
{
    http1_set(request, "Grpc-Metadata-Content-Type", "application/grpc");
    http1_stream_begin(request, 200, "application/json");
}

void gateway_messages_write(struct http1_request *request, const ProtobufCMessageDescriptor *type,
                            const struct call_part *parts, size_t count)
{
    struct buffer encoded = {0}, line = {0};
    struct arena arena = {0};
    for (size_t i = 0; i < count; i++) {
        buffer_append(&encoded, parts[i].bytes.data, parts[i].bytes.len);
    }
    const ProtobufCMessage *message = pb_unpack(type, buffer_bytes(&encoded), &arena, NULL);
    CHECK(message != NULL, "an answer of type %s cannot be read", type->name);
    buffer_printf(&line, "{\"result\":");
    json_print_message(message, &line);
    buffer_append(&line, "}\n", 2);
    http1_stream_write(request, buffer_bytes(&line));
    buffer_free(&line);
    buffer_free(&encoded);
    arena_free(&arena);
}

void gateway_messages_end(struct http1_request *request, bool begun, int status, enum grpc_code code, const char *text)
{
    struct buffer line = {0};
    if (code != GRPC_OK) {
        buffer_printf(&line, "{\"error\":{\"code\":%d,\"message\":", (int)code);
        json_print_string(bytes_str(text), &line);
        buffer_append(&line, "}}\n", 3);
    }
    if (!begun && code != GRPC_OK) {
        http1_respond(request, status, "application/json", buffer_bytes(&line));
    } else {
        if (!begun) {
            gateway_messages_begin(request);
        }
        http1_stream_write(request, buffer_bytes(&line));
        http1_stream_end(request);
    }
    buffer_free(&line);
}
