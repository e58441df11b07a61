/* One attempt to connect. A name is resolved by libuv's threads, so nothing blocks here. */
#ifndef BASE_NET_DIAL_H
#define BASE_NET_DIAL_H

#include "base/net/address.h"
#include "base/net/loop.h"

struct dial_lookup;

struct dial {
    struct loop *loop;
    struct dial_lookup *lookup; /* of a name, under way */
    struct loop_timer timer;
    struct loop_fd fd; /* -1 or what is being connected */
    struct address address;
    char host[256];  /* the name that is being resolved */
    char where[160]; /* "tcp 127.0.0.1:2379", "unix /path" */
    /* fd >= 0: connected, the owner's now. Otherwise failure is a text like Go's:
     * "dial tcp 127.0.0.1:1: connect: connection refused". Comes in a later turn than dial_start. */
    void (*on_done)(struct dial *dial, int fd, const char *failure);
    void *owner;
    int early_error; /* of what failed inside dial_start */
    char early[256];
};

/* Zeroed, then on_done and owner set, before the first start. Only one attempt at a time. port -1: host is a path. */
void dial_start(struct dial *dial, struct loop *loop, const char *host, int port, uint64_t timeout_ms);
void dial_cancel(struct dial *dial); /* on_done does not come; no effect when none is under way */

#endif
