/* The JSON gateway: POST /v3/… as calls of the same services (grpc.md "JSON gateway"). Unary methods; those with
 * streams are refused by name for now. */
#ifndef GRPC_GATEWAY_H
#define GRPC_GATEWAY_H

#include "base/net/http1.h"
#include "grpc/server.h"

struct gateway {
    struct server *server;    /* whose routes are called */
    size_t max_receive_bytes; /* longest request in protobuf encoding, as server_options has it */
    /* As in server_options. */
    int (*intercept)(void *owner, struct call *call);
    int (*check)(const void *owner, const ProtobufCMessage *request);
    void *owner;
};

/* Longest body that may become a request of max_receive_bytes: base64 takes a third more, names and brackets the rest.
 * For http1_options.max_body_bytes. */
static inline size_t gateway_body_bytes(size_t max_receive_bytes)
{
    return max_receive_bytes / 3 * 4 + (size_t)1024 * 1024;
}

/* For struct pages: false if the path is not below /v3/ or /v3beta/. */
bool gateway_handle(void *gateway, struct http1_request *request);

/* The HTTP status that stands for a gRPC code. */
int gateway_status(enum grpc_code code);

#endif
