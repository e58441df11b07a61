/* A mailbox: many threads put messages in, one takes them out. Detached under the lock, delivered outside of it.
 * The message's node stands inside the message, so posting allocates nothing. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/list.h"
#include <pthread.h>
#include <stdint.h>

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* for an owner that sleeps in mailbox_wait */
    struct list messages;
    void (*wake)(void *owner); /* called after a post into an empty box, outside the lock; NULL for a sleeping owner */
    void *owner;
    bool closed;
};

void mailbox_init(struct mailbox *m, void (*wake)(void *owner), void *owner);
/* A box without wake must live until all posts have returned. */
void mailbox_post(struct mailbox *m, struct list *message);
/* Moves everything that is there to `out` (an initialised, empty list). Never blocks. Returns false if nothing was. */
bool mailbox_take(struct mailbox *m, struct list *out);
/* The same, but sleeps until something is there. Returns false once the box was closed and is empty. */
bool mailbox_wait(struct mailbox *m, struct list *out);
/* The same for at most timeout_ms: true with nothing in `out` when that was over. */
bool mailbox_wait_ms(struct mailbox *m, struct list *out, uint32_t timeout_ms);
void mailbox_close(struct mailbox *m);
void mailbox_destroy(struct mailbox *m);

#endif
