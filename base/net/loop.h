/* The event loop of a thread.
 *
 * A turn = what one poll found (sockets, wake-ups by other threads), timers that are due, then the hooks (the core's
 * turn), then the flush: each connection that has something to say writes once. So whatever many requests of a turn
 * caused goes out in few system calls. Reading and flushing stop by the clock, the rest comes in the next turn.
 *
 * Sockets are polled by an epoll set of the loop's own; libuv's loop stands in that set and runs when something of its
 * is ready (signals, the thread pool, whatever handles an owner starts on loop->uv). libuv could poll the sockets too,
 * but takes a thousand of them through their callbacks before it lets go, and that is more than a turn may last.
 *
 * Thread: a loop and everything on it belongs to the thread that runs it; only loop_wake and loop_stop may be called
 * from others. */
#ifndef BASE_NET_LOOP_H
#define BASE_NET_LOOP_H

#include "base/heap.h"
#include "base/list.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

/* Sockets that one poll asks for. As many as fit the processor's cache with their sessions and streams from the read to
 * the flush (some 12 KB each). */
#define LOOP_BATCH 64

/* Room for one read of a socket, and for what one connection writes at once. Shared by all connections of the loop.
 * A read is as long as one call of the parser goes on: 16 KiB of the smallest requests is well below a millisecond. */
#define LOOP_READ_BYTES ((size_t)16 * 1024)
#define LOOP_WRITE_BYTES ((size_t)96 * 1024)

/* When a turn has lasted for so long, its parts leave the rest of their work to the next one: reading, what comes
 * between reading and writing, and writing. No turn takes more than 2 ms (design.md, law 4). */
#define LOOP_READ_NS 500000
#define LOOP_WORK_NS 900000
#define LOOP_WRITE_NS 1200000

/* How long turns were, in CPU time of the loop's thread. A turn is from the end of one poll to the start of the next,
 * so with all that callbacks, hooks and flushes did. The clock of CPU time is a system call; it is read once in 100 us
 * of work, so a turn is told too long by that much at most. */
#define LOOP_TURN_CLASSES 8
struct loop_turns {
    uint64_t total, longest_ns;
    uint64_t longer[LOOP_TURN_CLASSES]; /* longer[i]: those above 0.25 ms << i */
};

enum { LOOP_READABLE = 1, LOOP_WRITABLE = 2 };

/* Embedded in its owner. Zeroed, then fd and on_event set. Level-triggered. */
struct loop_fd {
    int fd;
    int watched;                                      /* what is asked for now; 0 = it is not in the set */
    void (*on_event)(struct loop_fd *fd, int events); /* an error or hang-up is told as all that is watched */
};

struct loop {
    uv_loop_t uv;
    struct loop_fd uv_fd, wake_fd;
    uv_async_t uv_alive; /* never sent: without an active handle uv_run would do nothing */
    bool uv_settled;     /* libuv has registered what was started on it */
    int epoll;
    atomic_bool woken;
    struct epoll_event batch[LOOP_BATCH]; /* of the poll that is being served */
    int batch_at, batch_count;
    struct heap timers;
    struct list hooks;
    struct list flush; /* of loop_flush.node */
    struct list later; /* of loop_later.node */
    uint64_t now_ns;   /* monotonic; the same for all of a turn */
    bool again;        /* the next poll doesn't sleep */
    atomic_bool stopping;
    uint8_t *read_buffer, *write_buffer;
    size_t connections;      /* that its listeners have accepted, all together */
    size_t max_connections;  /* while there are so many, none of them accepts; 0 = no limit */
    struct loop_turns turns; /* may be zeroed at any time, to count anew */
    uint64_t cpu_ns;         /* of this thread when it was last read */
    uint64_t unread_ns;      /* time spent in turns since */
};

int loop_init(struct loop *loop);   /* 0 or ERR_IO */
void loop_close(struct loop *loop); /* all connections, timers and hooks must be gone; frees the rest */
void loop_run(struct loop *loop);   /* until loop_stop */
void loop_stop(struct loop *loop);  /* from any thread */
/* One poll of at most timeout_ms (-1 = until something happens) and its turn. For blocking clients and tests. */
void loop_step(struct loop *loop, int64_t timeout_ms);

static inline uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ns / 1000000;
}
uint64_t loop_clock_ns(void); /* the monotonic clock, now */
/* Has this turn lasted for so long? */
static inline bool loop_late(const struct loop *loop, uint64_t limit_ns)
{
    return loop_clock_ns() - loop->now_ns > limit_ns;
}

/* Whoever starts a libuv handle on loop->uv while the loop runs says so, or it may be polled late. */
void loop_uv_changed(struct loop *loop);

/* --- work for another thread, of libuv's pool --- */

/* Embedded in its owner, with `run` and `done` set: run is called by that thread, done then on the loop. It cannot be
 * taken back: the owner lives until done. */
struct loop_work {
    uv_work_t uv;
    void (*run)(struct loop_work *work);
    void (*done)(struct loop_work *work);
};
void loop_work_start(struct loop *loop, struct loop_work *work);

/* --- descriptors (struct loop_fd) --- */

void loop_fd_watch(struct loop *loop, struct loop_fd *fd, int events); /* 0 = nothing any more */
/* Takes it out and closes the descriptor. No event comes after it, also none that this poll had found already. */
void loop_fd_close(struct loop *loop, struct loop_fd *fd);

/* --- timers: embedded, allocation-free, cheap to set and to stop (most of them never fire) --- */

struct loop_timer {
    struct heap_node node; /* key: monotonic ms */
    void (*fire)(struct loop_timer *timer);
};
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at_ms); /* also moves a set one */
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);                /* no effect if not set */

/* --- hooks: run once a turn, in the order they were added --- */

struct loop_hook {
    struct list node;
    /* Returns true if it has more work to do at once: then the next poll doesn't sleep. */
    bool (*run)(struct loop_hook *hook);
};
void loop_hook_add(struct loop *loop, struct loop_hook *hook);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

/* The next poll doesn't sleep: something was left for the next turn's hooks. On the loop's thread. */
void loop_again(struct loop *loop);

/* Makes the loop take a turn soon. From any thread. */
void loop_wake(struct loop *loop);

/* --- flush: asked for during a turn, done at its end --- */

struct loop_flush {
    struct list node;
    void (*run)(struct loop_flush *flush);
};
void loop_flush_init(struct loop_flush *flush, void (*run)(struct loop_flush *));
void loop_flush_ask(struct loop *loop, struct loop_flush *flush);       /* once a turn, however often it is asked for */
void loop_flush_ask_first(struct loop *loop, struct loop_flush *flush); /* the same, before all others */
void loop_flush_cancel(struct loop_flush *flush);

/* --- later: once, when nothing of the turn is on the stack any more (freeing what callbacks up there touch) --- */

struct loop_later {
    struct list node;
    void (*run)(struct loop_later *later);
};
void loop_later(struct loop *loop, struct loop_later *later, void (*run)(struct loop_later *));

#endif
