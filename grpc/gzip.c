#include "grpc/gzip.h"
#include "base/check.h"
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* zlib: largest window, gzip head and tail */
#define STEP_BYTES ((size_t)16 * 1024)

#define READ "grpc: failed to read decompressed data: "
#define HEAD_BYTES 10 /* of a member, at least */

/* What Go's reader says of input that inflate does not take: grpc-go tells faults of the first head from later ones. */
static const char *fault(const z_stream *z, struct bytes in, struct arena *arena)
{
    static const uint8_t magic[] = {0x1f, 0x8b, 8};
    size_t member = (size_t)(z->next_in - in.data) - z->total_in; /* where the member begins */
    struct bytes rest = bytes_skip(in, member);
    const char *text = member == 0 ? "grpc: failed to decompress the message: " : READ;
    if (rest.len < HEAD_BYTES) {
        return arena_printf(arena, "%s%s", text, in.len == 0 ? "EOF" : "unexpected EOF");
    }
    if (memcmp(rest.data, magic, sizeof magic) != 0) {
        return arena_printf(arena, "%sgzip: invalid header", text);
    }
    if (z->msg == NULL) {
        return READ "unexpected EOF";
    }
    if (strcmp(z->msg, "incorrect data check") == 0 || strcmp(z->msg, "incorrect length check") == 0) {
        return READ "gzip: invalid checksum";
    }
    unsigned long read = z->total_in < HEAD_BYTES ? 0 : z->total_in - HEAD_BYTES;
    return arena_printf(arena, READ "flate: corrupt input before offset %lu", read);
}

static int unpack_all(z_stream *z, size_t limit, struct buffer *out)
{
    size_t begin = out->len;
    for (;;) {
        size_t room = limit - (out->len - begin) + 1; /* one more than allowed shows that it is too much */
        size_t step = room < STEP_BYTES ? room : STEP_BYTES;
        z->next_out = buffer_reserve(out, step);
        z->avail_out = (uInt)step;
        int result = inflate(z, Z_NO_FLUSH);
        out->len += step - z->avail_out;
        if (out->len - begin > limit) {
            return ERR_REQUEST_TOO_LARGE;
        }
        if (result == Z_STREAM_END && z->avail_in == 0) {
            return 0;
        }
        if (result == Z_STREAM_END) { /* several members one after another are one content (RFC 1952, 2.2) */
            result = inflateReset(z);
        }
        if (result != Z_OK) {
            return ERR_MALFORMED;
        }
    }
}

int gzip_unpack(struct bytes in, size_t limit, struct buffer *out, struct arena *arena, const char **reason)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.len};
    CHECK(inflateInit2(&z, GZIP_WINDOW) == Z_OK);
    int error = unpack_all(&z, limit, out);
    if (error == ERR_MALFORMED && reason != NULL) {
        *reason = fault(&z, in, arena);
    }
    inflateEnd(&z);
    return error;
}

void gzip_pack(struct bytes in, struct buffer *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.len};
    CHECK(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t bound = deflateBound(&z, (uLong)in.len);
    z.next_out = buffer_reserve(out, bound);
    z.avail_out = (uInt)bound;
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->len += bound - z.avail_out;
    deflateEnd(&z);
}
