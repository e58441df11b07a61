/* What locks and elections have in common (the recipe of etcd's concurrency package, which other clients follow too):
 * each contender has a key PREFIX/LEASE, attached to its lease, and whoever's key was created first holds the place.
 * The others wait, each for the deletion of the key created before its own.
 *
 * A contest is one call's part in it: a few requests to this member's own KV and Lease services one after another, then
 * the wait. It ends its call, with the code Unknown for every error, as etcd's services do, which are clients of their
 * own server.
 *
 * A call that is gone while it waits, or that fails then, takes its key back; one that is gone earlier leaves it to the
 * lease.
 *
 * Thread: the loop's. */
#ifndef GRPC_CONTEST_H
#define GRPC_CONTEST_H

#include "grpc/local_watch.h"

struct contest;

/* The next step. response: to what was asked for (of txns and reads a TxnResponse), valid until it returns. */
typedef void contest_step(struct contest *contest, const ProtobufCMessage *response);
/* The next step of those that bring nothing. */
typedef void contest_next(struct contest *contest);

struct contest {
    struct call *call;
    struct services *services;
    struct bytes prefix; /* "NAME/" */
    int64_t lease;
    struct bytes key; /* the contender's, once contest_name_key has made it */
    int64_t revision; /* its create revision: of contest_wait, and of what a cancelled call takes back */
    bool placed;      /* the key is taken back when the call ends otherwise than by contest_reply */

    /* the service's own */
    void *owner;
    Etcdserverpb__ResponseHeader header;
    void (*on_writable)(struct call *call);

    /* private */
    struct list node; /* in services->contests */
    struct core_request write;
    struct core_txn_read read;
    struct local_watch watch;
    struct arena scratch; /* what the request under way needs */
    contest_step *then;
    contest_next *next;
};

/* name: the lock's or election's. In the call's arena, and the call's state from now on. */
struct contest *contest_new(struct services *services, struct call *call, ProtobufCBinaryData name);

/* The lease of the contender: 0 = one of 60 s is granted. */
void contest_session(struct contest *contest, int64_t lease, contest_next *next);
/* The contender's key: prefix and lease in hexadecimal. */
void contest_name_key(struct contest *contest);

/* The first two check the request as the KV service does. contest_read: linearizable. */
void contest_txn(struct contest *contest, const Etcdserverpb__TxnRequest *request, contest_step *then);
void contest_delete(struct contest *contest, const Etcdserverpb__DeleteRangeRequest *request, contest_step *then);
void contest_read(struct contest *contest, Etcdserverpb__RequestOp *range, contest_step *then);

/* Watches: an open-ended wait. Closed by the contest's end. */
void contest_watch(struct contest *contest, const struct watch_request *request,
                   void (*on_response)(struct local_watch *, const Etcdserverpb__WatchResponse *));
/* All that watch end with ERR_STOPPED, and those that would begin to. */
void contest_stop_all(struct services *services);

/* Until no key with the prefix is older than the own one, of that revision. */
void contest_wait(struct contest *contest, contest_next *next);

/* Pieces of txns, in the contest's scratch arena, which contest_wait and contest_clear empty. contest_oldest: a range
 * that finds the oldest key with the prefix. */
void contest_clear(struct contest *contest);
struct bytes contest_prefix_end(struct contest *contest); /* the first key behind all that have the prefix */
Etcdserverpb__RequestOp *contest_oldest(struct contest *contest);
Etcdserverpb__Compare *contest_created_at(struct contest *contest, struct bytes key, int64_t revision);
Etcdserverpb__RequestOp *contest_put(struct contest *contest, struct bytes key, struct bytes value);
Etcdserverpb__RequestOp *contest_get(struct contest *contest, struct bytes key);
Etcdserverpb__RequestOp *contest_delete_op(struct contest *contest, struct bytes key);

/* The pair that the n-th operation of a txn found; NULL if it found none. */
const Mvccpb__KeyValue *contest_found(const ProtobufCMessage *message, size_t n);
bool contest_succeeded(const ProtobufCMessage *response);
Etcdserverpb__ResponseHeader *contest_header(const ProtobufCMessage *response); /* of a txn */

/* Ends the call, and the contest. */
void contest_reply(struct contest *contest, const ProtobufCMessage *message);
void contest_fail(struct contest *contest, int error);
void contest_fail_text(struct contest *contest, const char *text);

#endif
