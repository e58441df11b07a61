/* JSON's strings as Go's encoding/json writes them, with quotes: characters that HTML could misread are escaped too. */
#ifndef BASE_GOJSON_H
#define BASE_GOJSON_H

#include "base/bytes.h"

/* What is no UTF-8 becomes U+FFFD, byte by byte. */
void gojson_string(struct buffer *out, struct bytes text);
/* A []byte: in base64. */
void gojson_bytes(struct buffer *out, struct bytes content);

#endif
