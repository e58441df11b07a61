#include "base/error.h"
#include "base/pb.h"
#include "kv/rpc.pb-c.h"
#include "raft/raft.pb-c.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

#define unpack(type, literal)                                                                                          \
    ((void *)pb_unpack(&type##__descriptor, bytes_of(literal, sizeof(literal) - 1), &arena, NULL))

static void check_refused(const ProtobufCMessageDescriptor *type, struct bytes in, const char *reason, size_t offset)
{
    struct pb_fault fault = {0};
    assert_int_equal(pb_scan(type, in, (struct pb_limits){0}, &fault), ERR_MALFORMED);
    assert_string_equal(fault.reason, reason);
    assert_int_equal(fault.offset, offset);
    fault.reason = NULL;
    assert_null(pb_unpack(type, in, &arena, &fault));
    assert_string_equal(fault.reason, reason);
}

#define refused(type, literal, reason, offset)                                                                         \
    check_refused(&type##__descriptor, bytes_of(literal, sizeof(literal) - 1), reason, offset)
#define FORMAT "proto: cannot parse invalid wire-format data"
#define UTF8 "string field contains invalid UTF-8"

static void test_a_request_round_trips(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)"key", .len = 3};
    put.value = (ProtobufCBinaryData){.data = (uint8_t *)"v\0v", .len = 3};
    put.lease = -5;
    put.prev_kv = 1;
    struct bytes packed = pb_pack(&put.base, &arena);
    Etcdserverpb__PutRequest *got =
        (Etcdserverpb__PutRequest *)pb_unpack(&etcdserverpb__put_request__descriptor, packed, &arena, NULL);
    assert_non_null(got);
    assert_int_equal(got->key.len, 3);
    assert_memory_equal(got->value.data, "v\0v", 3);
    assert_true(got->lease == -5);
    assert_int_equal(got->prev_kv, 1);
    assert_true(got->key.data < packed.data || got->key.data >= packed.data + packed.len); /* a copy */

    struct buffer out = {0};
    buffer_append(&out, "x", 1);
    pb_append(&out, &got->base);
    assert_true(bytes_equal(bytes_of(out.data + 1, out.len - 1), packed));
    buffer_free(&out);
}

static void test_no_bytes_are_an_empty_message(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest *got = unpack(etcdserverpb__put_request, "");
    assert_non_null(got);
    assert_int_equal(got->key.len, 0);
    assert_non_null(pb_unpack(&etcdserverpb__put_request__descriptor, (struct bytes){0}, &arena, NULL));
}

static void test_truncated_values_are_refused(void **state)
{
    (void)state;
    refused(etcdserverpb__put_request, "\x0a", FORMAT, 1); /* no length */
    refused(etcdserverpb__put_request,
            "\x0a\x04"
            "abc",
            FORMAT, 2); /* three of four bytes */
    refused(etcdserverpb__put_request, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", FORMAT, 11);
    refused(etcdserverpb__put_request, "\x18", FORMAT, 1); /* no varint */
    refused(etcdserverpb__put_request, "\x18\x80\x80", FORMAT, 1);
    refused(etcdserverpb__put_request, "\x80", FORMAT, 0);       /* half a tag */
    refused(etcdserverpb__put_request, "\x19\1\2\3", FORMAT, 1); /* half a fixed64, unknown here */
    refused(etcdserverpb__put_request, "\x1d\1\2\3", FORMAT, 1);
    refused(etcdserverpb__put_request, "\x1e", FORMAT, 1);                     /* wire type 6 */
    refused(etcdserverpb__put_request, "\x02\x00", FORMAT, 1);                 /* field number 0 */
    refused(etcdserverpb__put_request, "\x80\x80\x80\x80\x10\x00", FORMAT, 5); /* 2^29 */
}

static void test_a_nested_length_may_not_reach_beyond_its_parent(void **state)
{
    (void)state;
    /* compare { key: 5 bytes of which 1 is inside } and then enough bytes after it */
    refused(etcdserverpb__txn_request,
            "\x0a\x03\x1a\x05"
            "aaaaaaaa",
            FORMAT, 4);
}

static void test_unknown_fields_of_every_wire_type_are_skipped(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest *got =
        unpack(etcdserverpb__put_request, "\xa0\x06\x05"                     /* 100: varint */
                                          "\xa1\x06\1\2\3\4\5\6\7\x8"        /* fixed64 */
                                          "\xa5\x06\1\2\3\4"                 /* fixed32 */
                                          "\xa2\x06\x02xx"                   /* bytes */
                                          "\xa3\x06\x0b\x08\x01\x0c\xa4\x06" /* groups, one in the other */
                                          "\x0a\x01k");
    assert_non_null(got);
    assert_int_equal(got->key.len, 1);
    assert_int_equal(got->base.n_unknown_fields, 0);
}

static void test_groups_must_end_where_they_began(void **state)
{
    (void)state;
    /* a number of 2^29 is too large for a field, not for one inside of a group */
    assert_non_null(unpack(etcdserverpb__put_request, "\xa3\x06\x80\x80\x80\x80\x10\x00\xa4\x06"));
    refused(etcdserverpb__put_request, "\xa3\x06", FORMAT, 2);         /* never ends */
    refused(etcdserverpb__put_request, "\xa3\x06\xac\x06", FORMAT, 4); /* another's end */
    refused(etcdserverpb__put_request, "\xa4\x06", FORMAT, 2);         /* an end alone */
    refused(etcdserverpb__txn_request, "\x0a\x01\x0b\x0c", FORMAT, 3); /* it ends outside of its message */
}

static void test_a_known_field_of_a_wrong_wire_type_is_unknown(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest *got = unpack(etcdserverpb__put_request, "\x08\x07\x1a\x01\x01\x12\x01v");
    assert_non_null(got);
    assert_int_equal(got->key.len, 0);
    assert_true(got->lease == 0);
    assert_int_equal(got->value.len, 1);
}

static void test_repeated_scalars_are_taken_packed_and_unpacked(void **state)
{
    (void)state;
    /* WatchCreateRequest.filters = 5 (enum, packed in proto3) */
    Etcdserverpb__WatchCreateRequest *got =
        unpack(etcdserverpb__watch_create_request, "\x28\x01\x2a\x03\x00\x01\x00\x28\x00\x28\x01");
    assert_non_null(got);
    assert_int_equal(got->n_filters, 6);
    const int expected[] = {1, 0, 1, 0, 0, 1};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(got->filters[i], expected[i]);
    }
    refused(etcdserverpb__watch_create_request, "\x2a\x02\x00\x80", FORMAT, 3);

    /* ConfState.voters = 1 (uint64, unpacked in proto2) */
    Raftpb__ConfState *conf = unpack(raftpb__conf_state, "\x0a\x04\x01\x02\xac\x02\x08\x09");
    assert_non_null(conf);
    assert_int_equal(conf->n_voters, 4);
    assert_true(conf->voters[2] == 300 && conf->voters[3] == 9);
}

static void test_scalars_wrap_as_gos_do(void **state)
{
    (void)state;
    /* Compare.result = 1: an enum is open and the low half of its varint; WatchCreateRequest.progress_notify = 4 */
    Etcdserverpb__Compare *c = unpack(etcdserverpb__compare, "\x08\xe3\x80\x80\x80\x10");
    assert_int_equal(c->result, 99);
    Etcdserverpb__WatchCreateRequest *w =
        unpack(etcdserverpb__watch_create_request, "\x20\x80\x80\x80\x80\x80\x80\x01");
    assert_int_equal(w->progress_notify, 1);
}

static void test_the_last_of_repeated_singular_values_wins(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest *got = unpack(etcdserverpb__put_request, "\x0a\x01"
                                                                      "a\x18\x01\x0a\x02"
                                                                      "bc\x18\x02\x12\x01v\x12\x00");
    assert_int_equal(got->key.len, 2);
    assert_memory_equal(got->key.data, "bc", 2);
    assert_true(got->lease == 2);
    assert_int_equal(got->value.len, 0);
}

static void test_a_singular_message_that_comes_again_is_merged(void **state)
{
    (void)state;
    /* PutResponse.prev_kv = 2: {key:a, lease:7} and {key:b, version:3} */
    Etcdserverpb__PutResponse *got = unpack(etcdserverpb__put_response, "\x12\x05\x0a\x01"
                                                                        "a\x30\x07\x12\x05\x0a\x01"
                                                                        "b\x20\x03");
    assert_non_null(got->prev_kv);
    assert_memory_equal(got->prev_kv->key.data, "b", 1);
    assert_true(got->prev_kv->lease == 7);
    assert_true(got->prev_kv->version == 3);
}

static void test_a_oneof_keeps_its_last_member_and_merges_the_same_one(void **state)
{
    (void)state;
    /* RequestOp: request_range = 1, request_put = 2 */
    Etcdserverpb__RequestOp *got = unpack(etcdserverpb__request_op, "\x0a\x03\x0a\x01r\x12\x03\x0a\x01p");
    assert_int_equal(got->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_memory_equal(got->request_put->key.data, "p", 1);

    got = unpack(etcdserverpb__request_op, "\x12\x03\x0a\x01p\x12\x03\x12\x01v");
    assert_memory_equal(got->request_put->key.data, "p", 1);
    assert_memory_equal(got->request_put->value.data, "v", 1);

    got = unpack(etcdserverpb__request_op, "\x12\x03\x0a\x01p\x0a\x00\x12\x03\x12\x01v");
    assert_int_equal(got->request_put->key.len, 0); /* the member between dropped the first */

    /* Compare.target_union: version = 4 (int64), value = 7 (bytes) in the same room */
    Etcdserverpb__Compare *c = unpack(etcdserverpb__compare, "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x3a\x00");
    assert_int_equal(c->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE);
    assert_int_equal(c->value.len, 0);
    assert_null(c->value.data);
}

static void test_many_elements_keep_their_order(void **state)
{
    (void)state;
    struct buffer b = {0};
    for (int i = 0; i < 1000; i++) {
        uint8_t kv[] = {0x12, 3, 0x20, (uint8_t)((i & 0x7f) | 0x80), (uint8_t)(i >> 7)};
        buffer_append(&b, kv, sizeof kv);
    }
    Etcdserverpb__RangeResponse *got = (Etcdserverpb__RangeResponse *)pb_unpack(
        &etcdserverpb__range_response__descriptor, buffer_bytes(&b), &arena, NULL);
    assert_int_equal(got->n_kvs, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(got->kvs[i]->version == i);
    }
    buffer_free(&b);
}

static void test_proto2_presence_is_told(void **state)
{
    (void)state;
    Raftpb__Entry *entry = unpack(raftpb__entry, "\x10\x00\x22\x00");
    assert_true(entry->has_term);
    assert_false(entry->has_index);
    assert_true(entry->has_data);
    assert_int_equal(entry->data.len, 0);
}

static void test_strings_must_be_utf8_and_without_nul(void **state)
{
    (void)state;
    /* AuthUserAddRequest.name = 1 */
    Etcdserverpb__AuthUserAddRequest *got = unpack(etcdserverpb__auth_user_add_request, "\x0a\x04\xc3\xa4xy");
    assert_string_equal(got->name, "\xc3\xa4xy");
    got = unpack(etcdserverpb__auth_user_add_request, "\x0a\x00");
    assert_string_equal(got->name, "");
    refused(etcdserverpb__auth_user_add_request, "\x0a\x01\xff", UTF8, 3);
    refused(etcdserverpb__auth_user_add_request,
            "\x0a\x03"
            "a\0b",
            "string field contains a NUL", 5);
    assert_non_null(unpack(etcdserverpb__put_request, "\x0a\x01\xff")); /* bytes may hold anything */
}

static void test_utf8_follows_rfc_3629(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "ascii only, longer than eight",
                          "\x7f",
                          "\xc2\x80",
                          "\xdf\xbf",
                          "\xe0\xa0\x80",
                          "\xed\x9f\xbf",
                          "\xee\x80\x80",
                          "\xef\xbf\xbf",
                          "\xf0\x90\x80\x80",
                          "\xf4\x8f\xbf\xbf",
                          ("12345678\xc3\xa4"
                           "12345678")};
    const char *bad[] = {"\x80",
                         "\xbf",
                         "\xc0\x80",
                         "\xc1\xbf",
                         "\xc2",
                         "\xc2\x41",
                         "\xe0\x9f\xbf",
                         "\xed\xa0\x80",
                         "\xed\xbf\xbf",
                         "\xe1\x80",
                         "\xe1\x80\x41",
                         "\xf0\x8f\xbf\xbf",
                         "\xf4\x90\x80\x80",
                         "\xf5\x80\x80\x80",
                         "\xff",
                         "12345678\xf0\x90\x80",
                         "1234567\x80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(utf8_valid(bytes_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(utf8_valid(bytes_str(bad[i])));
    }
}

/* `levels` transactions, each the only operation of the one around it; a level is two messages. */
static struct buffer nested_transactions(int levels)
{
    struct buffer inner = {0};
    for (int i = 0; i < levels; i++) {
        struct buffer outer = {0};
        uint8_t head[24];
        size_t n = 0;
        head[n++] = 0x12; /* TxnRequest.success */
        n += varint_put(head + n, inner.len + 1 + varint_size(inner.len));
        head[n++] = 0x22; /* RequestOp.request_txn */
        n += varint_put(head + n, inner.len);
        buffer_append(&outer, head, n);
        buffer_append(&outer, inner.data, inner.len);
        buffer_free(&inner);
        inner = outer;
    }
    return inner;
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *txn = &etcdserverpb__txn_request__descriptor;
    struct buffer b = nested_transactions(49);
    assert_int_equal(pb_scan(txn, buffer_bytes(&b), (struct pb_limits){.depth = 98}, NULL), ERR_MALFORMED);
    assert_int_equal(pb_scan(txn, buffer_bytes(&b), (struct pb_limits){.depth = 99}, NULL), 0);
    buffer_free(&b);

    b = nested_transactions(4999); /* and the outermost: 9,999 messages */
    assert_int_equal(pb_scan(txn, buffer_bytes(&b), (struct pb_limits){0}, NULL), 0);
    Etcdserverpb__TxnRequest *outer = (void *)pb_unpack(txn, buffer_bytes(&b), &arena, NULL);
    int levels = 0;
    for (; outer->n_success > 0; levels++) {
        outer = outer->success[0]->request_txn;
    }
    assert_int_equal(levels, 4999);
    buffer_free(&b);

    struct pb_fault fault;
    b = nested_transactions(5000);
    assert_int_equal(pb_scan(txn, buffer_bytes(&b), (struct pb_limits){0}, &fault), ERR_MALFORMED);
    assert_string_equal(fault.reason, "exceeded maximum recursion depth");
    assert_null(pb_unpack(txn, buffer_bytes(&b), &arena, NULL));
    buffer_free(&b);

    uint8_t groups[1000];
    memset(groups, 0xa3, sizeof groups); /* tag 100: group, in two bytes */
    for (size_t i = 1; i < sizeof groups; i += 2) {
        groups[i] = 0x06;
    }
    assert_int_equal(pb_scan(txn, bytes_of(groups, sizeof groups), (struct pb_limits){0}, &fault), ERR_MALFORMED);
    assert_string_equal(fault.reason, "exceeded maximum recursion depth");
}

static void test_the_number_of_fields_is_limited(void **state)
{
    (void)state;
    struct pb_fault fault;
    struct bytes in = bytes_of("\x28\x01\x28\x01\x2a\x02\x01\x01", 8);
    const ProtobufCMessageDescriptor *type = &etcdserverpb__watch_create_request__descriptor;
    assert_int_equal(pb_scan(type, in, (struct pb_limits){.elements = 5}, NULL), 0);
    assert_int_equal(pb_scan(type, in, (struct pb_limits){.elements = 4}, &fault), ERR_MALFORMED);
    assert_string_equal(fault.reason, "too many fields");
    assert_int_equal(pb_scan(type, in, (struct pb_limits){.elements = 2}, &fault), ERR_MALFORMED);
}

static void test_memory_is_bounded_by_the_input(void **state)
{
    (void)state;
    /* The dearest message for its size: empty KeyValues, two bytes each. */
    size_t len = 1536 * 1024;
    uint8_t *in = malloc(len);
    for (size_t i = 0; i < len; i += 2) {
        in[i] = 0x12;
        in[i + 1] = 0;
    }
    assert_non_null(pb_unpack(&etcdserverpb__range_response__descriptor, bytes_of(in, len), &arena, NULL));
    assert_in_range(arena.total, len, 100 * len);
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_request_round_trips, teardown),
        cmocka_unit_test_teardown(test_no_bytes_are_an_empty_message, teardown),
        cmocka_unit_test_teardown(test_truncated_values_are_refused, teardown),
        cmocka_unit_test_teardown(test_a_nested_length_may_not_reach_beyond_its_parent, teardown),
        cmocka_unit_test_teardown(test_unknown_fields_of_every_wire_type_are_skipped, teardown),
        cmocka_unit_test_teardown(test_groups_must_end_where_they_began, teardown),
        cmocka_unit_test_teardown(test_a_known_field_of_a_wrong_wire_type_is_unknown, teardown),
        cmocka_unit_test_teardown(test_repeated_scalars_are_taken_packed_and_unpacked, teardown),
        cmocka_unit_test_teardown(test_scalars_wrap_as_gos_do, teardown),
        cmocka_unit_test_teardown(test_the_last_of_repeated_singular_values_wins, teardown),
        cmocka_unit_test_teardown(test_a_singular_message_that_comes_again_is_merged, teardown),
        cmocka_unit_test_teardown(test_a_oneof_keeps_its_last_member_and_merges_the_same_one, teardown),
        cmocka_unit_test_teardown(test_many_elements_keep_their_order, teardown),
        cmocka_unit_test_teardown(test_proto2_presence_is_told, teardown),
        cmocka_unit_test_teardown(test_strings_must_be_utf8_and_without_nul, teardown),
        cmocka_unit_test_teardown(test_utf8_follows_rfc_3629, teardown),
        cmocka_unit_test_teardown(test_depth_is_limited, teardown),
        cmocka_unit_test_teardown(test_the_number_of_fields_is_limited, teardown),
        cmocka_unit_test_teardown(test_memory_is_bounded_by_the_input, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
