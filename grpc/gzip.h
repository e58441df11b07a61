/* Whole messages through gzip (RFC 1952), with a bound on what comes out. */
#ifndef GRPC_GZIP_H
#define GRPC_GZIP_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"

/* Appends the content to out. ERR_MALFORMED: damaged; *reason is grpc-go's text for it, a constant or in the arena
 * (both may be NULL). ERR_REQUEST_TOO_LARGE: more than limit; nothing beyond it was unpacked. */
int gzip_unpack(struct bytes in, size_t limit, struct buffer *out, struct arena *arena, const char **reason);
/* Appends in, packed, to out. */
void gzip_pack(struct bytes in, struct buffer *out);

#endif
