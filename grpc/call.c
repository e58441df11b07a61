#include "grpc/call.h"
#include "base/check.h"
#include "base/pb.h"
#include <stdarg.h>
#include <stdio.h>

struct bytes call_metadata(const struct call *call, const char *name)
{
    return call->ops->metadata(call, name);
}

void call_reply(struct call *call, const ProtobufCMessage *message)
{
    call->ops->reply(call, message);
}

void call_reply_encoded(struct call *call, struct bytes encoded, bool copied)
{
    call->ops->reply_encoded(call, encoded, copied);
}

void call_reply_stream(struct call *call, uint64_t length, struct call_source *source)
{
    call->ops->reply_stream(call, length, source);
}

void call_source_ready(struct call *call)
{
    call->ops->source_ready(call);
}

void call_finish(struct call *call, enum grpc_code code, const char *text)
{
    call->ops->finish(call, code, text);
}

void call_fail(struct call *call, int error)
{
    CHECK(error != 0, "a call fails with no error");
    call->ops->finish(call, error_code(error), error_text(error));
}

void call_fail_text(struct call *call, enum grpc_code code, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    call->ops->finish(call, code, text);
}

void call_send(struct call *call, const struct call_part *parts, size_t count)
{
    call->ops->send(call, parts, count);
}

void call_send_framed(struct call *call, const struct call_part *parts, size_t count)
{
    call->ops->send_framed(call, parts, count);
}

void call_send_message(struct call *call, const ProtobufCMessage *message)
{
    size_t size = pb_size(message);
    struct shared *packed = shared_new(size);
    pb_write(message, packed->data, size);
    struct call_part part = {.bytes = shared_bytes(packed), .owner = packed};
    call->ops->send(call, &part, 1);
    shared_unref(packed);
}

void call_headers(struct call *call)
{
    call->ops->headers(call);
}

bool call_writable(struct call *call)
{
    return call->ops->writable(call);
}

size_t call_queued(const struct call *call)
{
    return call->ops->queued(call);
}

void call_hold(struct call *call)
{
    call->ops->hold(call);
}

void call_resume(struct call *call)
{
    call->ops->resume(call);
}

void call_wait(struct call *call)
{
    if (call->ops->wait != NULL) {
        call->ops->wait(call);
    }
}
