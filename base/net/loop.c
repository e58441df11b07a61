/* The loop's turn on libuv's phases.
 *
 * libuv runs timers, idle, prepare, poll, check. The turn's work hangs on check (right after the poll). What was asked
 * for outside of a poll (before the first run, in a closing callback) is done in prepare, right before the poll could
 * sleep on it; there the timer is set too, once, however many timers moved in the turn. */
#include "base/net/loop.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include <stdlib.h>
#include <time.h>

/* Reads or flushes between two looks at the clock. */
#define CLOCK_EVERY 16

uint64_t loop_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fire_timers(struct loop *loop)
{
    struct heap_node *first;
    while ((first = heap_min(&loop->timers)) != NULL && first->key <= loop_now_ms(loop)) {
        struct loop_timer *timer = container_of(first, struct loop_timer, node);
        heap_remove(&loop->timers, first);
        timer->fire(timer);
    }
}

static bool run_hooks(struct loop *loop)
{
    bool more = false;
    list_each(node, &loop->hooks)
    {
        struct loop_hook *hook = container_of(node, struct loop_hook, node);
        more |= hook->run(hook);
    }
    return more;
}

/* Only what is on the list now: a flush that asks again gets its turn in the next round, after others were read. The
 * clock is looked at now and then; what is left when the time is up goes first in the next turn. */
static void run_flushes(struct loop *loop)
{
    struct list now, *node;
    uint64_t begin = loop_clock_ns();
    list_init(&now);
    list_splice(&now, &loop->flush);
    for (unsigned i = 1; (node = list_pop_front(&now)) != NULL; i++) {
        struct loop_flush *flush = container_of(node, struct loop_flush, node);
        flush->run(flush);
        if (i % CLOCK_EVERY == 0 && loop_clock_ns() - begin > LOOP_FLUSH_NS) {
            break;
        }
    }
    list_splice(&now, &loop->flush);
    list_splice(&loop->flush, &now);
}

bool loop_full(struct loop *loop)
{
    if (!loop->full && ++loop->reads % CLOCK_EVERY == 0) {
        loop->full = loop_clock_ns() - loop->now_ns > LOOP_READ_NS;
    }
    return loop->full;
}

static void idle_nothing(uv_idle_t *idle)
{
    (void)idle;
}

static void turn(struct loop *loop)
{
    loop_touch(loop);
    loop->again = loop->full = false;
    loop->reads = 0;
    fire_timers(loop);
    bool more = run_hooks(loop);
    run_flushes(loop);
    if (more || loop->again || !list_empty(&loop->flush)) {
        uv_idle_start(&loop->idle, idle_nothing);
    } else {
        uv_idle_stop(&loop->idle);
    }
    uint64_t took = loop_clock_ns() - loop->now_ns;
    loop->longest_turn_ns = took > loop->longest_turn_ns ? took : loop->longest_turn_ns;
}

static void on_check(uv_check_t *check)
{
    turn(check->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    loop->armed_ms = UINT64_MAX;
}

static void arm_timer(struct loop *loop)
{
    struct heap_node *first = heap_min(&loop->timers);
    if (first == NULL || first->key >= loop->armed_ms) {
        return; /* an early wake-up costs less than moving the timer each time a deadline goes away */
    }
    uint64_t now_ms = loop_clock_ns() / 1000000;
    loop->armed_ms = first->key;
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->timer, on_timer, first->key > now_ms ? first->key - now_ms : 0, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    if (!list_empty(&loop->flush) && !uv_is_active((uv_handle_t *)&loop->idle)) {
        turn(loop);
    }
    arm_timer(loop);
    loop->stale = true;
}

static void on_wake(uv_async_t *async)
{
    loop_touch(async->data);
}

int loop_init(struct loop *loop)
{
    memset(loop, 0, sizeof *loop);
    if (uv_loop_init(&loop->uv) != 0) {
        return ERR_IO;
    }
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->timer);
    if (uv_async_init(&loop->uv, &loop->async, on_wake) != 0) {
        return ERR_IO;
    }
    loop->prepare.data = loop->check.data = loop->timer.data = loop->async.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    list_init(&loop->hooks);
    list_init(&loop->flush);
    loop->armed_ms = UINT64_MAX;
    loop->now_ns = loop_clock_ns();
    loop->read_buffer = mem_alloc(LOOP_READ_BYTES);
    loop->write_buffer = mem_alloc(LOOP_WRITE_BYTES);
    return 0;
}

void loop_close(struct loop *loop)
{
    CHECK(list_empty(&loop->hooks), "a hook outlives its loop");
    CHECK(heap_min(&loop->timers) == NULL, "a timer outlives its loop");
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->async, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0, "a handle outlives its loop");
    heap_free(&loop->timers);
    free(loop->read_buffer);
    free(loop->write_buffer);
}

void loop_run(struct loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        uv_run(&loop->uv, UV_RUN_ONCE);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
    uv_async_send(&loop->async);
}

static void step_over(struct loop_timer *timer)
{
    (void)timer;
}

void loop_step(struct loop *loop, int64_t timeout_ms)
{
    struct loop_timer limit = {.fire = step_over};
    if (timeout_ms > 0) {
        loop_timer_set(loop, &limit, loop_clock_ns() / 1000000 + (uint64_t)timeout_ms);
    }
    uv_run(&loop->uv, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    loop_timer_stop(loop, &limit);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at_ms)
{
    heap_update(&loop->timers, &timer->node, at_ms);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook)
{
    list_push_back(&loop->hooks, &hook->node);
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
    (void)loop;
    list_remove(&hook->node);
}

void loop_again(struct loop *loop)
{
    loop->again = true;
    uv_idle_start(&loop->idle, idle_nothing);
}

void loop_wake(struct loop *loop)
{
    uv_async_send(&loop->async);
}

void loop_flush_init(struct loop_flush *flush, void (*run)(struct loop_flush *))
{
    list_init(&flush->node);
    flush->run = run;
}

void loop_flush_ask(struct loop *loop, struct loop_flush *flush)
{
    if (list_empty(&flush->node)) {
        list_push_back(&loop->flush, &flush->node);
    }
}

void loop_flush_cancel(struct loop_flush *flush)
{
    list_remove(&flush->node);
}
