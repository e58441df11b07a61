/* Bodies of the gateway: what the parser produces must be a message, and printing it and reading it again must give the
 * same bytes. The first byte chooses the type. */
#include "base/check.h"
#include "base/pb.h"
#include "grpc/json.h"
#include "kv/rpc.pb-c.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &etcdserverpb__txn_request__descriptor,         &etcdserverpb__range_request__descriptor,
    &etcdserverpb__watch_request__descriptor,       &etcdserverpb__member_add_request__descriptor,
    &etcdserverpb__alarm_request__descriptor,       &etcdserverpb__auth_role_grant_permission_request__descriptor,
    &etcdserverpb__lease_grant_request__descriptor,
};

static bool has_nul(struct bytes text)
{
    static const char escape[] = "\\u0000";
    return memmem(text.data, text.len, escape, sizeof escape - 1) != NULL;
}

/* Unpacks, packs, prints, reads and packs again. */
static void round_trip(const ProtobufCMessageDescriptor *type, struct bytes encoded, struct arena *arena)
{
    const ProtobufCMessage *message = pb_unpack(type, encoded, arena, NULL);
    CHECK(message != NULL, "the parser made what is no %s", type->name);
    struct buffer printed = {0}, again = {0};
    const char *reason = "";
    json_print_message(message, &printed);
    CHECK(json_parse_message(type, buffer_bytes(&printed), &again, arena, &reason) == 0, "%s: %s", reason,
          arena_printf(arena, "%.*s", (int)printed.len, (const char *)printed.data));
    const ProtobufCMessage *second = pb_unpack(type, buffer_bytes(&again), arena, NULL);
    CHECK(second != NULL);
    CHECK(bytes_equal(pb_pack(message, arena), pb_pack(second, arena)), "printed and read, it is another message");
    buffer_free(&printed);
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof types[0])];
    struct bytes text = bytes_of(data + 1, size - 1);
    struct arena arena = {0};
    struct buffer encoded = {0};
    const char *reason = "";
    /* A zero character in a string is JSON, but no string of protobuf-c: unpacking refuses it, as the gateway says. */
    if (json_parse_message(type, text, &encoded, &arena, &reason) == 0 && !has_nul(text)) {
        round_trip(type, buffer_bytes(&encoded), &arena);
    }
    buffer_free(&encoded);
    arena_free(&arena);
    return 0;
}
