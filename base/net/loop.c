#include "base/net/loop.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

uint64_t loop_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- how long turns are ---------------------------------------------------------------------------------------------
 */

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

/* --- the turn -------------------------------------------------------------------------------------------------------
 */

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

static void run_later(struct loop *loop)
{
    struct list *node;
    while ((node = list_pop_front(&loop->later)) != NULL) {
        struct loop_later *later = container_of(node, struct loop_later, node);
        later->run(later);
    }
}

static void turn(struct loop *loop)
{
    fire_timers(loop);
    loop->again |= run_hooks(loop);
    if (!list_empty(&loop->flush)) {
        run_flushes(loop);
    }
    run_later(loop);
    turn_over(loop);
}

/* --- the poll -------------------------------------------------------------------------------------------------------
 */

static void run_uv(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    loop->uv_settled = true;
}

static void on_uv(struct loop_fd *fd, int events)
{
    (void)events;
    run_uv(container_of(fd, struct loop, uv_fd));
}

static void on_wake(struct loop_fd *fd, int events)
{
    uint64_t count;
    (void)events;
    ssize_t n = read(fd->fd, &count, sizeof count);
    (void)n; /* nothing there: somebody read it already */
}

/* How long the poll may sleep. */
static int sleep_ms(struct loop *loop, int64_t timeout_ms)
{
    if (loop->again || !list_empty(&loop->flush) || !list_empty(&loop->later)) {
        return 0;
    }
    int64_t uv_ms = uv_backend_timeout(&loop->uv);
    if (uv_ms >= 0 && (timeout_ms < 0 || uv_ms < timeout_ms)) {
        timeout_ms = uv_ms;
    }
    struct heap_node *first = heap_min(&loop->timers);
    if (first != NULL) {
        uint64_t now_ms = loop_clock_ns() / 1000000;
        uint64_t wait = first->key > now_ms ? first->key - now_ms : 0;
        if (timeout_ms < 0 || wait < (uint64_t)timeout_ms) {
            timeout_ms = (int64_t)wait;
        }
    }
    return timeout_ms > 3600000 ? 3600000 : (int)timeout_ms;
}

static void serve_one(const struct epoll_event *event)
{
    struct loop_fd *fd = event->data.ptr;
    if (fd == NULL) {
        return; /* closed by an earlier one of this poll */
    }
    bool broken = (event->events & (EPOLLERR | EPOLLHUP)) != 0;
    int events = ((event->events & EPOLLIN) != 0 || broken ? LOOP_READABLE : 0) |
                 ((event->events & EPOLLOUT) != 0 || broken ? LOOP_WRITABLE : 0);
    if ((events & fd->watched) != 0) {
        fd->on_event(fd, events & fd->watched);
    }
}

static bool all_served(const struct loop *loop)
{
    return loop->batch_at == loop->batch_count;
}

static void poll_all(struct loop *loop, int64_t timeout_ms)
{
    int n = epoll_wait(loop->epoll, loop->batch, LOOP_BATCH, sleep_ms(loop, timeout_ms));
    CHECK(n >= 0 || errno == EINTR, "epoll_wait: %d", errno);
    loop->batch_at = 0;
    loop->batch_count = n < 0 ? 0 : n;
}

/* What one poll found is served to its end, over several turns if it takes that long, before the next poll: so nobody
 * waits more than one round. */
void loop_step(struct loop *loop, int64_t timeout_ms)
{
    if (!loop->uv_settled || uv_backend_timeout(&loop->uv) == 0) {
        run_uv(loop);
    }
    if (all_served(loop)) {
        poll_all(loop, timeout_ms);
    }
    loop->now_ns = loop_clock_ns();
    loop->again = false;
    atomic_store(&loop->woken, false); /* before the hooks look: a wake-up from here on is for the next turn */
    while (!all_served(loop)) {
        serve_one(&loop->batch[loop->batch_at++]);
        if (loop_late(loop, LOOP_READ_NS)) {
            break;
        }
    }
    turn(loop);
}

void loop_run(struct loop *loop)
{
    loop_uv_changed(loop); /* by whoever prepared the run */
    while (!atomic_load(&loop->stopping)) {
        loop_step(loop, -1);
    }
    atomic_store(&loop->stopping, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    loop_wake(loop);
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

void loop_uv_changed(struct loop *loop)
{
    loop->uv_settled = false;
}

static void run_work(uv_work_t *uv)
{
    struct loop_work *work = uv->data;
    work->run(work);
}

static void work_done(uv_work_t *uv, int status)
{
    struct loop_work *work = uv->data;
    CHECK(status == 0);
    work->done(work);
}

void loop_work_start(struct loop *loop, struct loop_work *work)
{
    work->uv.data = work;
    CHECK(uv_queue_work(&loop->uv, &work->uv, run_work, work_done) == 0);
    loop_uv_changed(loop);
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    if (!atomic_exchange(&loop->woken, true)) {
        ssize_t n = write(loop->wake_fd.fd, &one, sizeof one);
        (void)n; /* full = it is awake anyway */
    }
}

/* --- begin and end --------------------------------------------------------------------------------------------------
 */

int loop_init(struct loop *loop)
{
    memset(loop, 0, sizeof *loop);
    int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (wake < 0 || loop->epoll < 0 || uv_loop_init(&loop->uv) != 0 ||
        uv_async_init(&loop->uv, &loop->uv_alive, NULL) != 0) {
        return ERR_IO;
    }
    list_init(&loop->hooks);
    list_init(&loop->flush);
    list_init(&loop->later);
    loop->wake_fd = (struct loop_fd){.fd = wake, .on_event = on_wake};
    loop->uv_fd = (struct loop_fd){.fd = uv_backend_fd(&loop->uv), .on_event = on_uv};
    loop_fd_watch(loop, &loop->wake_fd, LOOP_READABLE);
    loop_fd_watch(loop, &loop->uv_fd, LOOP_READABLE);
    loop->now_ns = loop_clock_ns();
    loop->read_buffer = mem_alloc(LOOP_READ_BYTES);
    loop->write_buffer = mem_alloc(LOOP_WRITE_BYTES);
    return 0;
}

void loop_close(struct loop *loop)
{
    run_later(loop);
    CHECK(list_empty(&loop->hooks), "a hook outlives its loop");
    CHECK(heap_min(&loop->timers) == NULL, "a timer outlives its loop");
    loop_fd_watch(loop, &loop->uv_fd, 0);
    uv_close((uv_handle_t *)&loop->uv_alive, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0, "a handle outlives its loop");
    loop_fd_close(loop, &loop->wake_fd);
    close(loop->epoll);
    heap_free(&loop->timers);
    free(loop->read_buffer);
    free(loop->write_buffer);
}

/* --- what can be hung on it -----------------------------------------------------------------------------------------
 */

void loop_fd_watch(struct loop *loop, struct loop_fd *fd, int events)
{
    if (events == fd->watched) {
        return;
    }
    struct epoll_event event = {.data.ptr = fd};
    event.events = ((events & LOOP_READABLE) != 0 ? EPOLLIN : 0u) | ((events & LOOP_WRITABLE) != 0 ? EPOLLOUT : 0u);
    int how = events == 0 ? EPOLL_CTL_DEL : fd->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    CHECK(epoll_ctl(loop->epoll, how, fd->fd, &event) == 0, "descriptor %d cannot be polled: %d", fd->fd, errno);
    fd->watched = events;
}

void loop_fd_close(struct loop *loop, struct loop_fd *fd)
{
    loop_fd_watch(loop, fd, 0);
    close(fd->fd);
    fd->fd = -1;
    for (int i = loop->batch_at; i < loop->batch_count; i++) {
        if (loop->batch[i].data.ptr == fd) {
            loop->batch[i].data.ptr = NULL;
        }
    }
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

void loop_flush_ask_first(struct loop *loop, struct loop_flush *flush)
{
    if (list_empty(&flush->node)) {
        list_push_front(&loop->flush, &flush->node);
    }
}

void loop_flush_cancel(struct loop_flush *flush)
{
    list_remove(&flush->node);
}

void loop_later(struct loop *loop, struct loop_later *later, void (*run)(struct loop_later *))
{
    later->run = run;
    list_push_back(&loop->later, &later->node);
}
