/* gRPC's small notations in headers: timeouts, percent-encoded messages, numbers. */
#ifndef GRPC_TEXT_H
#define GRPC_TEXT_H

#include "base/arena.h"
#include "base/bytes.h"
#include <sys/types.h>

/* grpc-timeout: 1-8 digits and one of H M S m u n. Gives nanoseconds (saturated). 0 or ERR_INVALID. */
int text_timeout(struct bytes value, uint64_t *timeout_ns);
/* Writes a grpc-timeout for so many milliseconds; at most 10 bytes, returns how many. */
size_t text_put_timeout(char *out, uint64_t timeout_ms);

/* grpc-message: bytes outside ' '..'~', and '%', as %XX. The result is in the arena, or the text itself. */
struct bytes text_percent_encode(struct bytes text, struct arena *arena);
/* Invalid escapes stay as they are (gRPC's rule). */
struct bytes text_percent_decode(struct bytes text, struct arena *arena);

/* Go's %q of a byte string, into the arena: "\"…\"" with quotes, backslash and non-printables escaped. */
struct bytes text_quote(struct bytes text, struct arena *arena);

/* The value of a "-bin" header is base64, with padding or without. -1 = good, else the offset that Go's decoder names.
 */
ssize_t text_binary_fault(struct bytes value);

#endif
