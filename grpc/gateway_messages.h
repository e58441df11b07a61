/* The answer of a method that sends many messages, as the gateway writes it: a line of JSON for each (http.tsv:
 * {"result":…}, and {"error":…} for what ends it otherwise than well). */
#ifndef GRPC_GATEWAY_MESSAGES_H
#define GRPC_GATEWAY_MESSAGES_H

#include "base/net/http1.h"
#include "grpc/call.h"

/* Begins the body. Before the first of the others. */
void gateway_messages_begin(struct http1_request *request);
/* A message of this type, its parts one after another. */
void gateway_messages_write(struct http1_request *request, const ProtobufCMessageDescriptor *type,
                            const struct call_part *parts, size_t count);
/* The last line, if the code is not GRPC_OK. begun: the body has begun; else it is the whole answer, with this status.
 */
void gateway_messages_end(struct http1_request *request, bool begun, int status, enum grpc_code code, const char *text);

#endif
