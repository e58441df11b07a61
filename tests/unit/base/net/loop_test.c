#include "base/check.h"
#include "base/net/dial.h"
#include "base/net/listener.h"
#include "base/net/loop.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop loop;
    struct buffer told;
    struct loop_timer timers[3];
    struct loop_hook hook;
    struct loop_flush flush;
    int hook_runs, more, flushes;
};

static struct fixture fixture;

static int set_up(void **state)
{
    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    return loop_init(&fixture.loop);
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&fixture.told);
    loop_close(&fixture.loop);
    return 0;
}

static void fire(struct loop_timer *timer)
{
    buffer_printf(&fixture.told, "%d", (int)(timer - fixture.timers));
}

static void test_timers_fire_in_order_and_stopped_ones_do_not(void **state)
{
    struct fixture *f = *state;
    uint64_t now = loop_clock_ns() / 1000000;
    for (int i = 0; i < 3; i++) {
        f->timers[i].fire = fire;
        loop_timer_set(&f->loop, &f->timers[i], now + 30 - (uint64_t)i * 10);
    }
    loop_timer_stop(&f->loop, &f->timers[1]);
    loop_timer_stop(&f->loop, &f->timers[1]);
    for (int i = 0; i < 100 && f->told.len < 2; i++) {
        loop_step(&f->loop, -1);
    }
    assert_int_equal(f->told.len, 2);
    assert_memory_equal(f->told.data, "20", 2);
    assert_true(loop_clock_ns() / 1000000 >= now + 30);
}

static bool run_hook(struct loop_hook *hook)
{
    struct fixture *f = container_of(hook, struct fixture, hook);
    f->hook_runs++;
    return f->more-- > 0;
}

static void test_hook_with_more_work_keeps_the_loop_from_sleeping(void **state)
{
    struct fixture *f = *state;
    f->hook.run = run_hook;
    f->more = 5;
    loop_hook_add(&f->loop, &f->hook);
    uint64_t begin = loop_clock_ns();
    loop_again(&f->loop); /* else the first poll would sleep: nothing has happened yet */
    for (int i = 0; i < 6; i++) {
        loop_step(&f->loop, 10000);
    }
    assert_true(loop_clock_ns() - begin < 1000000000);
    assert_int_equal(f->hook_runs, 6);
    loop_hook_remove(&f->loop, &f->hook);
}

static void run_flush(struct loop_flush *flush)
{
    struct fixture *f = container_of(flush, struct fixture, flush);
    if (++f->flushes < 3) {
        loop_flush_ask(&f->loop, &f->flush);
    }
}

static void test_flush_runs_once_a_turn_and_soon(void **state)
{
    struct fixture *f = *state;
    loop_flush_init(&f->flush, run_flush);
    loop_flush_ask(&f->loop, &f->flush);
    loop_flush_ask(&f->loop, &f->flush);
    uint64_t begin = loop_clock_ns();
    for (int i = 0; i < 10 && f->flushes < 3; i++) {
        loop_step(&f->loop, 1000);
    }
    assert_int_equal(f->flushes, 3);
    assert_true(loop_clock_ns() - begin < 500000000);
}

static void *wake_later(void *loop)
{
    usleep(20000);
    loop_wake(loop);
    return NULL;
}

static void test_other_threads_wake_the_loop(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    pthread_create(&thread, NULL, wake_later, &f->loop);
    uint64_t begin = loop_clock_ns();
    loop_step(&f->loop, 10000);
    assert_true(loop_clock_ns() - begin < 5000000000);
    pthread_join(thread, NULL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct fixture *f = handle->data;
    buffer_printf(&f->told, "%d", signum == SIGUSR2);
    uv_close((uv_handle_t *)handle, NULL);
}

static void test_libuvs_handles_run_on_the_loop(void **state)
{
    struct fixture *f = *state;
    static uv_signal_t handle;
    handle.data = f;
    loop_step(&f->loop, 0);
    uv_signal_init(&f->loop.uv, &handle);
    uv_signal_start(&handle, on_signal, SIGUSR2);
    uv_unref((uv_handle_t *)&handle);
    loop_uv_changed(&f->loop);
    loop_step(&f->loop, 0);
    raise(SIGUSR2);
    for (int i = 0; i < 100 && f->told.len == 0; i++) {
        loop_step(&f->loop, 10);
    }
    assert_int_equal(f->told.len, 1);
    assert_int_equal(f->told.data[0], '1');
}

/* --- listening and dialing ------------------------------------------------------------------------------------------
 */

static void accepted(struct listener *listener, struct connection *connection)
{
    *(int *)listener->owner += 1;
    connection_close(connection);
}

static void gone(struct listener *listener)
{
    *(int *)listener->owner = -1;
}

static void dialed(struct dial *dial, int fd, const char *failure)
{
    snprintf(dial->owner, 256, "%s", failure == NULL ? "connected" : failure);
    if (fd >= 0) {
        close(fd);
    }
}

static void dial_and_wait(struct fixture *f, const char *host, int port, char *outcome)
{
    struct dial dial = {.on_done = dialed, .owner = outcome};
    outcome[0] = 0;
    dial_start(&dial, &f->loop, host, port, 5000);
    for (int i = 0; i < 1000 && outcome[0] == 0; i++) {
        loop_step(&f->loop, 10);
    }
}

static void test_unix_socket_is_listened_on_and_removed(void **state)
{
    struct fixture *f = *state;
    char folder[] = "/tmp/kedge-net-XXXXXX", path[64], reason[256], outcome[256];
    int count = 0;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    struct listener listener = {.on_accept = accepted, .on_gone = gone, .owner = &count};
    assert_int_equal(listener_open(&listener, &f->loop, path, -1, reason, sizeof reason), 0);
    dial_and_wait(f, path, -1, outcome);
    assert_string_equal(outcome, "connected");
    for (int i = 0; i < 100 && count < 1; i++) {
        loop_step(&f->loop, 10);
    }
    assert_int_equal(count, 1);
    listener_close(&listener);
    for (int i = 0; i < 100 && count != -1; i++) {
        loop_step(&f->loop, 10);
    }
    assert_int_equal(count, -1);
    assert_int_not_equal(access(path, F_OK), 0);
    dial_and_wait(f, path, -1, outcome);
    snprintf(reason, sizeof reason, "dial unix %s: connect: no such file or directory", path);
    assert_string_equal(outcome, reason);
    rmdir(folder);
}

static void test_address_in_use_is_told_as_go_does(void **state)
{
    struct fixture *f = *state;
    char reason[256], expected[256], outcome[256];
    int count = 0;
    struct listener first = {.on_accept = accepted, .on_gone = gone, .owner = &count}, second = {0};
    assert_int_equal(listener_open(&first, &f->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    int port = atoi(strrchr(first.address, ':') + 1);
    assert_int_equal(listener_open(&second, &f->loop, "127.0.0.1", port, reason, sizeof reason), -EADDRINUSE);
    snprintf(expected, sizeof expected, "listen tcp 127.0.0.1:%d: bind: address already in use", port);
    assert_string_equal(reason, expected);
    listener_close(&first);
    for (int i = 0; i < 100 && count != -1; i++) {
        loop_step(&f->loop, 10);
    }
    dial_and_wait(f, "127.0.0.1", port, outcome);
    snprintf(expected, sizeof expected, "dial tcp 127.0.0.1:%d: connect: connection refused", port);
    assert_string_equal(outcome, expected);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_timers_fire_in_order_and_stopped_ones_do_not),
        TEST(test_hook_with_more_work_keeps_the_loop_from_sleeping),
        TEST(test_flush_runs_once_a_turn_and_soon),
        TEST(test_other_threads_wake_the_loop),
        TEST(test_libuvs_handles_run_on_the_loop),
        TEST(test_unix_socket_is_listened_on_and_removed),
        TEST(test_address_in_use_is_told_as_go_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
