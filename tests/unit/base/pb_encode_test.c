/* Packing against protobuf-c's own: random messages of types that between them have every kind of field here. */
#include "base/pb.h"
#include "base/random.h"
#include "kv/raft_internal.pb-c.h"
#include "kv/rpc.pb-c.h"
#include "raft/raft.pb-c.h"
#include "raft/wal/record.pb-c.h"
#include "raft/wal/snap.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define ROUNDS 3000

static struct arena arena;
static struct random dice;

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, unsigned depth);

static uint64_t random_number(void)
{
    return random_below(&dice, 3) == 0 ? 0 : random_next(&dice) >> random_below(&dice, 64);
}

static size_t random_bytes(char **out)
{
    size_t len = random_below(&dice, 4) == 0 ? 0 : random_below(&dice, 200);
    char *text = arena_alloc(&arena, len + 1);
    memset(text, 'a' + (int)random_below(&dice, 26), len);
    text[len] = 0;
    *out = text;
    return len;
}

static size_t fill(const ProtobufCFieldDescriptor *field, void *member, unsigned depth)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)member = random_message(field->descriptor, depth + 1);
        return sizeof(void *);
    case PROTOBUF_C_TYPE_STRING:
        random_bytes(member);
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: {
        char *data;
        size_t len = random_bytes(&data);
        *(ProtobufCBinaryData *)member = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
        return sizeof(ProtobufCBinaryData);
    }
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = random_below(&dice, 2) == 1;
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        *(uint64_t *)member = random_number();
        return 8;
    default:
        *(uint32_t *)member = (uint32_t)random_number();
        return 4;
    }
}

static void fill_repeated(const ProtobufCFieldDescriptor *field, ProtobufCMessage *message, unsigned depth)
{
    size_t count = random_below(&dice, 4), step = 0;
    uint8_t *elements = arena_zalloc(&arena, 4 * sizeof(ProtobufCBinaryData));
    for (size_t i = 0; i < count; i++) {
        step = fill(field, elements + i * step, depth);
    }
    *(size_t *)((uint8_t *)message + field->quantifier_offset) = count;
    *(void **)((uint8_t *)message + field->offset) = elements;
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    ProtobufCMessage *message = arena_alloc(&arena, type->sizeof_message);
    protobuf_c_message_init(type, message);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        void *quantifier = (uint8_t *)message + field->quantifier_offset;
        bool required = field->label == PROTOBUF_C_LABEL_REQUIRED;
        if (!required && (random_below(&dice, 2) == 0 || (depth > 3 && field->type == PROTOBUF_C_TYPE_MESSAGE))) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            fill_repeated(field, message, depth);
            continue;
        }
        fill(field, (uint8_t *)message + field->offset, depth);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            *(uint32_t *)quantifier = field->id; /* the last one wins; it lies over the ones before */
        } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0) {
            *(protobuf_c_boolean *)quantifier = 1;
        }
    }
    return message;
}

/* Packs and unpacks by some fields at a time; both ways must come to the same bytes. */
static void expect_same_in_slices(const ProtobufCMessage *message, struct bytes packed)
{
    struct pb_packer *packer = pb_packer_new(message, &arena);
    while (!pb_packer_step(packer, 1 + random_below(&dice, 10))) {
    }
    struct bytes sliced = pb_packer_bytes(packer);
    assert_int_equal(sliced.len, packed.len);
    assert_memory_equal(sliced.data, packed.data, packed.len);
    pb_packer_free(packer);

    struct pb_unpacker *unpacker = pb_unpacker_new(message->descriptor, packed, &arena);
    ProtobufCMessage *again = NULL;
    int progress;
    do {
        progress = pb_unpacker_step(unpacker, 1 + random_below(&dice, 10), &again, NULL);
        assert_int_equal(progress == 1, again == NULL);
    } while (progress == 1);
    assert_int_equal(progress, 0);
    sliced = pb_pack(again, &arena);
    ProtobufCMessage *whole = pb_unpack(message->descriptor, packed, &arena, NULL);
    assert_true(bytes_equal(sliced, pb_pack(whole, &arena)));
}

static void test_random_messages_pack_to_the_bytes_of_protobuf_c(void **state)
{
    (void)state;
    static const ProtobufCMessageDescriptor *const types[] = {
        &etcdserverpb__internal_raft_request__descriptor,
        &etcdserverpb__txn_request__descriptor,
        &etcdserverpb__txn_response__descriptor,
        &etcdserverpb__watch_request__descriptor,
        &etcdserverpb__watch_response__descriptor,
        &etcdserverpb__status_response__descriptor,
        &raftpb__message__descriptor,
        &raftpb__snapshot__descriptor,
        &walpb__record__descriptor,
        &snappb__snapshot__descriptor,
    };
    random_seed(&dice, 7);
    for (unsigned i = 0; i < ROUNDS; i++) {
        ProtobufCMessage *message = random_message(types[i % (sizeof types / sizeof types[0])], 0);
        size_t size = protobuf_c_message_get_packed_size(message);
        uint8_t *expected = arena_alloc(&arena, size + 1);
        protobuf_c_message_pack(message, expected);
        assert_int_equal(pb_size(message), size);
        struct bytes packed = pb_pack(message, &arena);
        assert_int_equal(packed.len, size);
        assert_memory_equal(packed.data, expected, size);
        expect_same_in_slices(message, packed);
        arena_reset(&arena);
    }
}

static void test_unknown_fields_go_last(void **state)
{
    (void)state;
    uint8_t content[] = {3, 'x', 'y', 'z'};
    ProtobufCMessageUnknownField unknown = {
        .tag = 1000, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = sizeof content, .data = content};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.lease = 5;
    put.base.n_unknown_fields = 1;
    put.base.unknown_fields = &unknown;
    struct bytes packed = pb_pack(&put.base, &arena);
    assert_int_equal(packed.len, 8);
    assert_memory_equal(packed.data, "\x18\x05\xc2\x3e\x03xyz", 8);
    expect_same_in_slices(&put.base, packed);
}

/* Copying takes time, however few the fields are. */
static void test_a_slice_of_packing_is_short_in_bytes_too(void **state)
{
    (void)state;
    enum { COUNT = 10, BYTES = 100 << 10, BUDGET = 400 };
    Etcdserverpb__DeleteRangeResponse message = ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT, *kvs[COUNT];
    unsigned steps = 1;
    kv.value = (ProtobufCBinaryData){.len = BYTES, .data = arena_zalloc(&arena, BYTES)};
    for (unsigned i = 0; i < COUNT; i++) {
        kvs[i] = &kv;
    }
    message.n_prev_kvs = COUNT;
    message.prev_kvs = kvs;
    struct pb_packer *packer = pb_packer_new(&message.base, &arena);
    while (!pb_packer_step(packer, BUDGET)) {
        steps++;
    }
    assert_in_range(steps, COUNT, 2 * COUNT);
    assert_true(bytes_equal(pb_packer_bytes(packer), pb_pack(&message.base, &arena)));
    pb_packer_free(packer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_messages_pack_to_the_bytes_of_protobuf_c),
        cmocka_unit_test(test_unknown_fields_go_last),
        cmocka_unit_test(test_a_slice_of_packing_is_short_in_bytes_too),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
