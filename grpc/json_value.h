/* JSON's scalars as protobuf reads them. */
#ifndef GRPC_JSON_VALUE_H
#define GRPC_JSON_VALUE_H

#include "base/bytes.h"

enum json_string { JSON_STRING_OK, JSON_STRING_NOT_UTF8, JSON_STRING_SURROGATE, JSON_STRING_SHORT };

/* Appends what stands between the quotes, escapes resolved. `quoted` was scanned (grpc/json_scan.h). A \u escape must
 * be no surrogate, or a pair: else *escape is where it begins; SHORT = fewer than six bytes are left for the pair. */
enum json_string json_value_string(struct bytes quoted, struct buffer *out, struct bytes *escape);

/* Decodes base64 in place: the result is shorter. Either alphabet, but not both; with padding, or, if the length is no
 * multiple of four, without; line ends are skipped. */
bool json_value_base64(uint8_t *data, size_t *len);

/* A number that is whole: digits, or with fraction or exponent ("1e3", "5.0"), exactly. False if it is not, or out of
 * range of so many bits. `text` may go on after the number with a delimiter. */
bool json_value_integer(struct bytes text, bool is_signed, unsigned bits, uint64_t *out);

#endif
