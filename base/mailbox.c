#include "base/mailbox.h"
#include "base/check.h"
#include <errno.h>
#include <time.h>

static void lock(struct mailbox *m)
{
    int rc = pthread_mutex_lock(&m->lock);
    CHECK(rc == 0);
}

static void unlock(struct mailbox *m)
{
    int rc = pthread_mutex_unlock(&m->lock);
    CHECK(rc == 0);
}

void mailbox_init(struct mailbox *m, void (*wake)(void *owner), void *owner)
{
    *m = (struct mailbox){.wake = wake, .owner = owner};
    CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
    CHECK(pthread_cond_init(&m->filled, NULL) == 0);
    list_init(&m->messages);
}

void mailbox_post(struct mailbox *m, struct list *message)
{
    /* Read before the message is visible: its taker may be the one that ends the life of a box with a wake. */
    void (*wake)(void *) = m->wake;
    void *owner = m->owner;

    lock(m);
    bool was_empty = list_empty(&m->messages);
    list_push_back(&m->messages, message);
    unlock(m);
    /* Outside the lock: who wakes up would have to sleep again until it is free. */
    if (was_empty && wake != NULL) {
        wake(owner);
    } else if (was_empty) {
        pthread_cond_signal(&m->filled);
    }
}

bool mailbox_take(struct mailbox *m, struct list *out)
{
    lock(m);
    bool any = !list_empty(&m->messages);
    list_splice(out, &m->messages);
    unlock(m);
    return any;
}

bool mailbox_wait(struct mailbox *m, struct list *out)
{
    lock(m);
    while (list_empty(&m->messages) && !m->closed) {
        pthread_cond_wait(&m->filled, &m->lock);
    }
    bool any = !list_empty(&m->messages);
    list_splice(out, &m->messages);
    unlock(m);
    return any;
}

bool mailbox_wait_ms(struct mailbox *m, struct list *out, uint32_t timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t ns = (uint64_t)end.tv_nsec + (uint64_t)(timeout_ms % 1000) * 1000000;
    end.tv_sec += (time_t)(timeout_ms / 1000 + ns / 1000000000);
    end.tv_nsec = (long)(ns % 1000000000);
    lock(m);
    int status = 0;
    while (list_empty(&m->messages) && !m->closed && status != ETIMEDOUT) {
        status = pthread_cond_clockwait(&m->filled, &m->lock, CLOCK_MONOTONIC, &end);
    }
    bool open = !list_empty(&m->messages) || !m->closed;
    list_splice(out, &m->messages);
    unlock(m);
    return open;
}

void mailbox_close(struct mailbox *m)
{
    lock(m);
    m->closed = true;
    pthread_cond_broadcast(&m->filled);
    unlock(m);
}

void mailbox_destroy(struct mailbox *m)
{
    CHECK(list_empty(&m->messages), "messages are lost");
    pthread_cond_destroy(&m->filled);
    pthread_mutex_destroy(&m->lock);
}
