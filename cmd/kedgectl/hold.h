/* What lock and elect have in common: a lease that is kept alive while the command runs, and a key attached to it whose
 * turn comes when no older one with the same prefix is left (etcd's concurrency package does the same, and so do the
 * server's own services, grpc/contest.h).
 *
 * SIGINT and SIGTERM end every wait; what has to be undone then is asked for with a time limit. */
#ifndef CMD_KEDGECTL_HOLD_H
#define CMD_KEDGECTL_HOLD_H

#include "cmd/kedgectl/session.h"

#define HOLD_INTERRUPTED "context canceled"

struct hold {
    struct session *session;
    int64_t lease, ttl_s;
    const char *prefix, *key; /* "NAME/" and "NAME/LEASE" */
    int64_t revision;         /* the key's create revision */
    bool expired;             /* the lease is gone, or nothing was heard of it for its time */
    bool changed;             /* of hold_watch: something has come */

    /* private */
    struct loop *loop;
    struct client_call *keepalive, *watch;
    struct loop_timer renew, over;
    void (*on_watch)(struct hold *hold, const Etcdserverpb__WatchResponse *response);
};

/* All that return a text return NULL when it went well. */

/* Takes over the two signals, and grants the lease. */
const char *hold_open(struct hold *hold, struct session *session, const char *name, int64_t ttl_s);
void hold_close(struct hold *hold);
bool hold_interrupted(void);

/* One request. response: in the call's arena. undo: it is not interrupted, but given up after --command-timeout. */
const char *hold_txn(struct hold *hold, const Etcdserverpb__TxnRequest *request, bool undo,
                     Etcdserverpb__TxnResponse **response);
const char *hold_get(struct hold *hold, const Etcdserverpb__RangeRequest *request,
                     Etcdserverpb__RangeResponse **response);
const char *hold_get_own(struct hold *hold, Etcdserverpb__RangeResponse **response);
const char *hold_delete_key(struct hold *hold);

/* Waits until no key with the prefix is older than the own one. */
const char *hold_wait_turn(struct hold *hold);
/* Shows the own key, and keeps it until a signal comes; then it is given back. expired: the error when the lease is
 * lost before. Returns the exit status. */
int hold_keep(struct hold *hold, const Etcdserverpb__RangeResponse *own, const char *expired,
              const char *(*give_back)(struct hold *hold));
/* `status`, or that of the failure to give back. */
int hold_give_back(struct hold *hold, int status, const char *(*give_back)(struct hold *hold));

/* The oldest key with the prefix; key of "get KEY". */
void hold_oldest(struct hold *hold, Etcdserverpb__RangeRequest *request);
void hold_own(struct hold *hold, Etcdserverpb__RangeRequest *request);
/* "Its create revision is": of a key that is not there 0. */
void hold_compare(const struct hold *hold, Etcdserverpb__Compare *compare, int64_t revision);

/* Watches a key (range_end NULL) or a range, until hold_unwatch; `changed` also when the stream has ended. */
void hold_watch(struct hold *hold, ProtobufCBinaryData key, const ProtobufCBinaryData *range_end, int64_t from,
                void (*on_watch)(struct hold *hold, const Etcdserverpb__WatchResponse *response));
void hold_unwatch(struct hold *hold);
/* Until something happens: an answer, a signal, a child's end. */
void hold_step(struct hold *hold);

#endif
