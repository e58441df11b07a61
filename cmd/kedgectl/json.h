/* Messages as JSON the way Go's encoding/json writes etcd's generated structs: fields in order with their names from
 * the .proto, numbers as numbers (64-bit ones and enums too), bytes in base64, everything that is empty left out;
 * characters that HTML could misread escaped. (The JSON gateway writes another JSON: protobuf's canonical one.) */
#ifndef CMD_KEDGECTL_JSON_H
#define CMD_KEDGECTL_JSON_H

#include "base/bytes.h"
#include <protobuf-c/protobuf-c.h>

void json_message(struct buffer *out, const ProtobufCMessage *message);
/* The fields alone, each followed by a comma: for structs that embed a header. */
void json_fields(struct buffer *out, const ProtobufCMessage *message);

#endif
