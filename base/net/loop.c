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

uint64_t loop_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- how long turns are --- */

#define CPU_CLOCK_EACH_NS 100000
#define SHORTEST_CLASS_NS 250000

static uint64_t cpu_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A turn took no more CPU than time, and no more than the thread did since the clock was last read. */
static void turn_over(struct loop *loop)
{
    uint64_t time_ns = loop_clock_ns() - loop->now_ns;
    loop->turns.total++;
    loop->unread_ns += time_ns;
    if (loop->unread_ns < CPU_CLOCK_EACH_NS) {
        return;
    }
    uint64_t cpu_ns = cpu_clock_ns();
    uint64_t spent_ns = cpu_ns - loop->cpu_ns < time_ns ? cpu_ns - loop->cpu_ns : time_ns;
    loop->cpu_ns = cpu_ns;
    loop->unread_ns = 0;
    if (spent_ns > loop->turns.longest_ns) {
        loop->turns.longest_ns = spent_ns;
    }
    for (size_t i = 0; i < LOOP_TURN_CLASSES && spent_ns > (uint64_t)SHORTEST_CLASS_NS << i; i++) {
        loop->turns.longer[i]++;
    }
}

/* --- a turn --- */

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

/* One at least, whatever the poll took: work that came first must not keep the sockets waiting for ever. */
static void run_readers(struct loop *loop)
{
    while (!list_empty(&loop->readers)) {
        struct loop_reader *reader = list_first(&loop->readers, struct loop_reader, node);
        list_remove(&reader->node);
        reader->run(reader);
        if (loop_late(loop, LOOP_READ_NS)) {
            return;
        }
    }
}

/* Only what is on the list now: a flush that asks again gets its turn in the next round, after others were read. Those
 * that the turn has no time for are first in the next. */
static void run_flushes(struct loop *loop)
{
    struct list now, *node;
    list_init(&now);
    list_splice(&now, &loop->flush);
    while ((node = list_pop_front(&now)) != NULL) {
        struct loop_flush *flush = container_of(node, struct loop_flush, node);
        flush->run(flush);
        if (!list_empty(&now) && loop_late(loop, LOOP_WRITE_NS)) {
            break;
        }
    }
    list_splice(&now, &loop->flush);
    list_splice(&loop->flush, &now);
}

static void idle_nothing(uv_idle_t *idle)
{
    (void)idle;
}

static void turn(struct loop *loop)
{
    loop_touch(loop);
    loop->again = false;
    fire_timers(loop);
    run_readers(loop);
    bool more = run_hooks(loop);
    run_flushes(loop);
    if (more || loop->again || !list_empty(&loop->flush) || !list_empty(&loop->readers)) {
        uv_idle_start(&loop->idle, idle_nothing);
    } else {
        uv_idle_stop(&loop->idle);
    }
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
    if (!loop->stale) {
        turn_over(loop);
    }
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
    list_init(&loop->readers);
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

void loop_reader_init(struct loop_reader *reader, void (*run)(struct loop_reader *))
{
    list_init(&reader->node);
    reader->run = run;
}

void loop_reader_ready(struct loop *loop, struct loop_reader *reader)
{
    if (list_empty(&loop->readers) && !loop_late(loop, LOOP_READ_NS)) {
        reader->run(reader);
    } else if (list_empty(&reader->node)) {
        list_push_back(&loop->readers, &reader->node);
    }
}

void loop_reader_cancel(struct loop_reader *reader)
{
    list_remove(&reader->node);
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
