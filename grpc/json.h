/* Protobuf messages as JSON and back, driven by their descriptors (grpc.md "JSON gateway"): what the gateway's callers
 * write and read. */
#ifndef GRPC_JSON_H
#define GRPC_JSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include <protobuf-c/protobuf-c.h>

#define JSON_MAX_DEPTH 100 /* nested messages */

/* Appends the message that the first JSON value in `body` describes to out, in protobuf encoding; what follows that
 * value is not looked at, as etcd's gateway does it. Accepted: field names as in the .proto or in lowerCamelCase,
 * integers as numbers or strings, bytes as base64 of either alphabet, enums by name or number, null for "not set";
 * unknown fields and enum names are ignored; empty text is an empty message. Refused: a field that comes twice, two of
 * a oneof. Returns 0, or ERR_INVALID with *reason, etcd's text, in the arena. type NULL: only the syntax is checked. */
int json_parse_message(const ProtobufCMessageDescriptor *type, struct bytes body, struct buffer *out,
                       struct arena *arena, const char **reason);

/* Appends the message as JSON: names as in the .proto, defaults left out, 64-bit integers as strings, bytes as base64,
 * enums by name. */
void json_print_message(const ProtobufCMessage *message, struct buffer *out);
void json_print_string(struct bytes text, struct buffer *out); /* quoted and escaped */

#endif
