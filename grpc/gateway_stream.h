/* A large answer on its way from protobuf to JSON, a slice a turn: the gateway neither holds the whole of it nor keeps
 * the core from other work. The answer's fields come in ascending order, as all of ours do; its elements are read one
 * by one, so that only one element must fit in memory. */
#ifndef GRPC_GATEWAY_STREAM_H
#define GRPC_GATEWAY_STREAM_H

#include "base/net/http1.h"
#include "base/net/loop.h"
#include "grpc/call.h"

struct gateway_stream;

/* Answers the request with the message of `length` encoded bytes that come from `source`, as a chunked body. Ends the
 * source exactly once. A source that fails cuts the body off. */
struct gateway_stream *gateway_stream_begin(struct http1_request *request, const ProtobufCMessageDescriptor *type,
                                            uint64_t length, struct call_source *source, void (*on_end)(void *owner),
                                            void *owner);
/* The source has something again. */
void gateway_stream_ready(struct gateway_stream *stream);
/* The body is cut off here (a deadline); on_end comes. */
void gateway_stream_cut(struct gateway_stream *stream);

#endif
