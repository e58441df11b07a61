/* Protobuf from outside. protobuf-c has no limit of depth and checks no UTF-8, so nothing is unpacked before an
 * iterative scan, driven by the descriptor, has checked depth, lengths, counts, wire types and UTF-8 (design.md,
 * "protobuf-c"). Unpacking allocates from the call's arena and is never freed piece by piece. */
#ifndef BASE_PB_H
#define BASE_PB_H

#include "base/arena.h"
#include "base/bytes.h"
#include <protobuf-c/protobuf-c.h>

struct pb_limits {
    unsigned depth;  /* nested messages; 0 = 10,000, as Go's decoder */
    size_t elements; /* fields in all, nested ones included; 0 = one for each byte of input, at most 4 Mi */
};

/* Why a scan refused, as a text that never changes: etcd's own words where it has some (grpc.md "unparsable
 * protobuf"): "proto: cannot parse invalid wire-format data", "string field contains invalid UTF-8". */
struct pb_fault {
    const char *reason;
    size_t offset; /* in the input */
};

/* 0, or ERR_MALFORMED with *fault filled (fault may be NULL). Unknown fields are allowed and skipped. */
int pb_scan(const ProtobufCMessageDescriptor *type, struct bytes in, struct pb_limits limits, struct pb_fault *fault);

/* Scans, then unpacks into the arena. NULL when the scan refuses. bytes fields may point into the arena only, so `in`
 * may go away. Never call protobuf_c_message_free_unpacked on the result. */
ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, struct bytes in, struct arena *arena,
                            struct pb_fault *fault);

/* The same in slices, for what may be long; `in` stays the caller's and must live as long;
 * the unpacker itself is in the arena. step: at most `budget`
 * fields (a packed one is one); 1 = there are more, 0 = *message is there, ERR_MALFORMED as pb_unpack's NULL. */
struct pb_unpacker;
struct pb_unpacker *pb_unpacker_new(const ProtobufCMessageDescriptor *type, struct bytes in, struct arena *arena);
int pb_unpacker_step(struct pb_unpacker *unpacker, size_t budget, ProtobufCMessage **message, struct pb_fault *fault);

/* How many bytes a value of this type takes in its struct, and so in an array of a repeated field. */
static inline size_t pb_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}
_Static_assert(sizeof(protobuf_c_boolean) == 4 && sizeof(int) == 4, "booleans and enums are as long as an int32");

/* How many bytes the message takes packed, and packing it into exactly these. Fields ascending, proto3 zero values left
 * out, unknown fields last: protobuf-c's own bytes. */
size_t pb_size(const ProtobufCMessage *message);
void pb_write(const ProtobufCMessage *message, uint8_t *out, size_t size);

/* Packs into the arena / appends to a buffer. */
struct bytes pb_pack(const ProtobufCMessage *message, struct arena *arena);
void pb_append(struct buffer *out, const ProtobufCMessage *message);

/* pb_pack in slices: the message must live as long, and must not change. step: at most `budget` messages and scalars,
 * fewer when they are long (256 bytes count as one); true = the bytes are there, in the arena. */
struct pb_packer;
struct pb_packer *pb_packer_new(const ProtobufCMessage *message, struct arena *arena);
bool pb_packer_step(struct pb_packer *packer, size_t budget);
struct bytes pb_packer_bytes(const struct pb_packer *packer);
void pb_packer_free(struct pb_packer *packer);

/* Is this UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF)? */
bool utf8_valid(struct bytes text);

#endif
