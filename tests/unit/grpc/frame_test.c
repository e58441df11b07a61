#include "grpc/frame.h"
#include "grpc/gzip.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void put(struct buffer *out, bool compressed, const char *message)
{
    uint8_t head[FRAME_HEAD];
    frame_put_head(head, compressed, (uint32_t)strlen(message));
    buffer_append(out, head, sizeof head);
    buffer_append(out, message, strlen(message));
}

/* Reads `stream` in pieces of `step` bytes and tells the messages one after another, '|' behind each. */
static void read_in_pieces(struct bytes stream, size_t step, struct buffer *told)
{
    struct frame_reader reader = {.limit = 100};
    for (size_t at = 0; at < stream.len; at += step) {
        size_t n = stream.len - at < step ? stream.len - at : step;
        struct bytes in = bytes_of(stream.data + at, n), message;
        bool compressed;
        while (frame_read(&reader, &in, &message, &compressed) == FRAME_MESSAGE) {
            buffer_append(told, message.data, message.len);
            buffer_printf(told, compressed ? "+|" : "|");
        }
        assert_int_equal(in.len, 0);
    }
    assert_false(frame_partial(&reader));
    frame_free(&reader);
}

static void test_messages_are_the_same_however_the_bytes_are_cut(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put(&stream, false, "hello");
    put(&stream, false, "");
    put(&stream, true, "packed");
    put(&stream, false, "end");
    for (size_t step = 1; step <= stream.len; step++) {
        struct buffer told = {0};
        read_in_pieces(buffer_bytes(&stream), step, &told);
        buffer_append(&told, "", 1);
        assert_string_equal(told.data, "hello||packed+|end|");
        buffer_free(&told);
    }
    buffer_free(&stream);
}

static void test_long_message_is_refused_by_its_prefix_without_memory(void **state)
{
    (void)state;
    struct frame_reader reader = {.limit = 100};
    struct bytes in = bytes_of("\0\xff\xff\xff\xff", 5), message;
    bool compressed;
    assert_int_equal(frame_read(&reader, &in, &message, &compressed), FRAME_TOO_LONG);
    assert_int_equal(reader.length, 0xffffffff);
    assert_int_equal(reader.body.capacity, 0);
    frame_free(&reader);
}

static void test_memory_follows_the_bytes_not_the_prefix(void **state)
{
    (void)state;
    struct frame_reader reader = {.limit = 1u << 30};
    struct bytes in = bytes_of("\0\x3f\xff\xff\xff"
                               "abc",
                               8),
                 message;
    bool compressed;
    assert_int_equal(frame_read(&reader, &in, &message, &compressed), FRAME_MORE);
    assert_int_equal(frame_buffered(&reader), 3);
    assert_true(reader.body.capacity < 65536);
    frame_free(&reader);
}

static void test_unknown_flag_is_refused(void **state)
{
    (void)state;
    struct frame_reader reader = {.limit = 100};
    struct bytes in = bytes_of("\2\0\0\0\1", 5), message;
    bool compressed;
    assert_int_equal(frame_read(&reader, &in, &message, &compressed), FRAME_MORE); /* as grpc-go: the body first */
    in = bytes_of("x", 1);
    assert_int_equal(frame_read(&reader, &in, &message, &compressed), FRAME_BAD_FLAG);
    assert_int_equal(reader.head[0], 2);
}

static void test_gzip_goes_and_comes_back(void **state)
{
    (void)state;
    struct buffer packed = {0}, back = {0};
    uint8_t *plain = calloc(1, 300000);
    for (size_t i = 0; i < 300000; i++) {
        plain[i] = (uint8_t)(i * i >> 7);
    }
    gzip_pack(bytes_of(plain, 300000), &packed);
    assert_int_equal(gzip_unpack(buffer_bytes(&packed), 300000, &back, NULL, NULL), 0);
    assert_int_equal(back.len, 300000);
    assert_memory_equal(back.data, plain, 300000);
    buffer_free(&packed);
    buffer_free(&back);
    free(plain);
}

static void expect_fault(struct bytes packed, const char *expected)
{
    struct arena arena = {0};
    struct buffer back = {0};
    const char *reason = NULL;
    assert_int_equal(gzip_unpack(packed, 1000, &back, &arena, &reason), ERR_MALFORMED);
    assert_string_equal(reason, expected);
    buffer_free(&back);
    arena_free(&arena);
}

static void test_damaged_gzip_is_refused_in_grpc_go_words(void **state)
{
    (void)state;
    struct buffer packed = {0};
    gzip_pack(bytes_str("\n\1a"), &packed);
    uint8_t *data = packed.data;
    size_t len = packed.len;
    expect_fault((struct bytes){0}, "grpc: failed to decompress the message: EOF");
    expect_fault(bytes_of(data, 5), "grpc: failed to decompress the message: unexpected EOF");
    expect_fault(bytes_str("hello world hello"), "grpc: failed to decompress the message: gzip: invalid header");
    expect_fault(bytes_of(data, 10), "grpc: failed to read decompressed data: unexpected EOF");
    expect_fault(bytes_of(data, len - 3), "grpc: failed to read decompressed data: unexpected EOF");
    data[len - 6] ^= 1;
    expect_fault(bytes_of(data, len), "grpc: failed to read decompressed data: gzip: invalid checksum");
    data[len - 6] ^= 1;
    data[10] = 0xff;
    expect_fault(bytes_of(data, len), "grpc: failed to read decompressed data: flate: corrupt input before offset 1");
    buffer_free(&packed);
}

static void test_gzip_bomb_is_stopped_at_the_limit(void **state)
{
    (void)state;
    struct buffer packed = {0}, back = {0};
    uint8_t *zeros = calloc(1, 10u << 20);
    gzip_pack(bytes_of(zeros, 10u << 20), &packed);
    assert_true(packed.len < 20000);
    assert_int_equal(gzip_unpack(buffer_bytes(&packed), 1000, &back, NULL, NULL), ERR_REQUEST_TOO_LARGE);
    assert_true(back.capacity < 100000);
    back.len = 0;
    assert_int_equal(gzip_unpack(bytes_of(packed.data, packed.len - 3), 10u << 20, &back, NULL, NULL), ERR_MALFORMED);
    assert_int_equal(gzip_unpack(bytes_str("no gzip at all"), 1000, &back, NULL, NULL), ERR_MALFORMED);
    assert_int_equal(gzip_unpack((struct bytes){0}, 1000, &back, NULL, NULL), ERR_MALFORMED);
    buffer_free(&packed);
    buffer_free(&back);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_the_same_however_the_bytes_are_cut),
        cmocka_unit_test(test_long_message_is_refused_by_its_prefix_without_memory),
        cmocka_unit_test(test_memory_follows_the_bytes_not_the_prefix),
        cmocka_unit_test(test_unknown_flag_is_refused),
        cmocka_unit_test(test_gzip_goes_and_comes_back),
        cmocka_unit_test(test_damaged_gzip_is_refused_in_grpc_go_words),
        cmocka_unit_test(test_gzip_bomb_is_stopped_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
