/* Where does a JSON value end, and is it one? With the words of Go's encoding/json for what is wrong, which the gateway
 * reads a body with before anything else looks at it. */
#ifndef GRPC_JSON_SCAN_H
#define GRPC_JSON_SCAN_H

#include "base/arena.h"
#include "base/bytes.h"

#define JSON_SCAN_DEPTH 10000 /* nested objects and arrays, as Go's limit */

/* Scans the first value of the text; what follows it is nobody's business. *length: bytes up to its end, 0 if there is
 * nothing but white space. Returns 0, or ERR_INVALID with *reason in the arena. Iterative: memory is one bit a level.
 * Strings are not checked for UTF-8 (Go replaces what is not). */
int json_scan(struct bytes text, struct arena *arena, size_t *length, const char **reason);

#endif
