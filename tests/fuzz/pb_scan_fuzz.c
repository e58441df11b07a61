/* Any bytes as any message that comes from outside: the scan and the unpacking say the same, memory stays in
 * proportion, and what was unpacked is packed again and read alike by this decoder and by protobuf-c's. */
#include "base/check.h"
#include "base/error.h"
#include "base/pb.h"
#include "kv/membership.pb-c.h"
#include "kv/raft_internal.pb-c.h"
#include "kv/rpc.pb-c.h"
#include "raft/raft.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &etcdserverpb__txn_request__descriptor,
    &etcdserverpb__range_request__descriptor,
    &etcdserverpb__put_request__descriptor,
    &etcdserverpb__watch_request__descriptor,
    &etcdserverpb__watch_response__descriptor,
    &etcdserverpb__range_response__descriptor,
    &etcdserverpb__auth_user_add_request__descriptor,
    &etcdserverpb__member_add_request__descriptor,
    &etcdserverpb__internal_raft_request__descriptor,
    &raftpb__message__descriptor,
    &raftpb__entry__descriptor,
    &raftpb__conf_change__descriptor,
    &membershippb__member__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* protobuf-c recurses without limit, at some KiB of stack a level: it gets what is flat enough for it. */
static bool flat(const ProtobufCMessageDescriptor *type, struct bytes in)
{
    return pb_scan(type, in, (struct pb_limits){.depth = 100}, NULL) == 0;
}

static void read_by_both(const ProtobufCMessage *message, struct arena *arena)
{
    struct bytes first = pb_pack(message, arena);
    ProtobufCMessage *own = pb_unpack(message->descriptor, first, arena, NULL);
    ProtobufCMessage *other = protobuf_c_message_unpack(message->descriptor, NULL, first.len, first.data);
    CHECK(own != NULL && other != NULL);
    CHECK(bytes_equal(pb_pack(own, arena), first));
    CHECK(bytes_equal(pb_pack(other, arena), first));
    protobuf_c_message_free_unpacked(other, NULL);
}

/* In slices it comes to the same. */
static void read_in_slices(const ProtobufCMessageDescriptor *type, struct bytes in, const ProtobufCMessage *whole,
                           struct arena *arena)
{
    struct pb_unpacker *unpacker = pb_unpacker_new(type, in, arena);
    ProtobufCMessage *message = NULL;
    int progress = 1;
    while (progress == 1) {
        progress = pb_unpacker_step(unpacker, 3, &message, NULL);
    }
    CHECK((progress == 0) == (whole != NULL));
    if (whole == NULL) {
        return;
    }
    struct pb_packer *packer = pb_packer_new(message, arena);
    while (!pb_packer_step(packer, 3)) {
    }
    CHECK(bytes_equal(pb_packer_bytes(packer), pb_pack(whole, arena)));
    pb_packer_free(packer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof types[0])];
    struct bytes in = bytes_of(data + 1, size - 1);
    struct arena arena = {0};
    struct pb_fault fault;
    int scanned = pb_scan(type, in, (struct pb_limits){0}, &fault);
    ProtobufCMessage *message = pb_unpack(type, in, &arena, NULL);
    CHECK((scanned == 0) == (message != NULL));
    CHECK(scanned == 0 || (scanned == ERR_MALFORMED && fault.offset <= in.len));
    CHECK(arena.total <= 4096 + 400 * in.len, "%zu bytes for %zu", arena.total, in.len);
    if (message == NULL || flat(type, in)) {
        read_in_slices(type, in, message, &arena);
    }
    if (message != NULL && flat(type, in)) {
        read_by_both(message, &arena);
        /* nothing that was accepted may hurt protobuf-c, whether it accepts it or not */
        ProtobufCMessage *other = protobuf_c_message_unpack(type, NULL, in.len, in.data);
        if (other != NULL) {
            protobuf_c_message_free_unpacked(other, NULL);
        }
    }
    arena_free(&arena);
    return 0;
}
