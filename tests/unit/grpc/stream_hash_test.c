#include "grpc/stream_hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <openssl/evp.h>
#include <string.h>

static struct loop loop;
static size_t out_now; /* lots that a thread has */
static unsigned told;

static void count_told(void *owner)
{
    assert_ptr_equal(owner, &told);
    told++;
}

static void wait_until_idle(void)
{
    while (out_now > 0) {
        loop_step(&loop, 1000);
    }
}

static int open_loop(void **state)
{
    (void)state;
    told = 0;
    assert_int_equal(loop_init(&loop), 0);
    return 0;
}

static int close_loop(void **state)
{
    (void)state;
    assert_int_equal(out_now, 0);
    loop_close(&loop);
    return 0;
}

static struct shared *piece(uint8_t fill, size_t len)
{
    struct shared *piece = shared_new(len);
    memset(piece->data, fill, len);
    return piece;
}

static void test_lots_of_pieces_hash_as_one_text(void **state)
{
    enum { LOTS = 5, PIECE = 40000 };
    struct stream_hash *h = stream_hash_new(&loop, &out_now, count_told, &told);
    struct buffer whole = {0};
    uint8_t is[STREAM_HASH_BYTES], expected[EVP_MAX_MD_SIZE];
    (void)state;
    for (unsigned lot = 0; lot < LOTS; lot++) {
        for (unsigned i = 0; i < STREAM_HASH_PIECES; i++) {
            struct shared *p = piece((uint8_t)(lot * 16 + i), PIECE);
            size_t len = i + 1 == STREAM_HASH_PIECES ? PIECE / 3 : PIECE; /* the rest does not count */
            stream_hash_add(h, p, len);
            buffer_append(&whole, p->data, len);
            shared_unref(p); /* it has its own reference */
        }
        stream_hash_start(h);
        assert_true(stream_hash_is_busy(h));
        assert_int_equal(out_now, 1);
        wait_until_idle();
        assert_false(stream_hash_is_busy(h));
        assert_int_equal(told, lot + 1);
    }
    stream_hash_sum(h, is);
    assert_int_equal(EVP_Digest(whole.data, whole.len, expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(is, expected, STREAM_HASH_BYTES);
    stream_hash_free(h);
    buffer_free(&whole);
}

static void test_of_nothing_is_the_hash_of_nothing(void **state)
{
    struct stream_hash *h = stream_hash_new(&loop, &out_now, count_told, &told);
    uint8_t is[STREAM_HASH_BYTES], expected[EVP_MAX_MD_SIZE];
    (void)state;
    stream_hash_sum(h, is);
    assert_int_equal(EVP_Digest("", 0, expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(is, expected, STREAM_HASH_BYTES);
    stream_hash_free(h);
}

static void test_freed_while_a_thread_has_it_tells_nobody(void **state)
{
    struct stream_hash *h = stream_hash_new(&loop, &out_now, count_told, &told);
    struct shared *p = piece(1, 1 << 20);
    (void)state;
    stream_hash_add(h, p, p->len);
    shared_unref(p);
    stream_hash_start(h);
    stream_hash_free(h);
    assert_int_equal(out_now, 1);
    wait_until_idle();
    assert_int_equal(told, 0);
}

static void test_freed_before_it_starts_drops_its_pieces(void **state)
{
    struct stream_hash *h = stream_hash_new(&loop, &out_now, count_told, &told);
    struct shared *p = piece(1, 100);
    (void)state;
    stream_hash_add(h, p, p->len);
    shared_unref(p);
    stream_hash_free(h);
    stream_hash_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lots_of_pieces_hash_as_one_text, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(test_of_nothing_is_the_hash_of_nothing, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(test_freed_while_a_thread_has_it_tells_nobody, open_loop, close_loop),
        cmocka_unit_test_setup_teardown(test_freed_before_it_starts_drops_its_pieces, open_loop, close_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
