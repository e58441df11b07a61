/* Requests that would take too long to unpack and check in a turn: another thread does it (loop_work). A request of up
 * to LONG_REQUEST_BYTES never is one; a longer one is not either, if its first fields are all of it (a big value).
 *
 * The request lives as long as the longer of its call and the thread's work; its memory, tens of megabytes at worst, is
 * given back by such a thread too. Loop thread. */
#ifndef GRPC_LONG_REQUEST_H
#define GRPC_LONG_REQUEST_H

#include "base/net/loop.h"
#include "base/pb.h"
#include "grpc/call.h"

#define LONG_REQUEST_BYTES ((size_t)16 * 1024)

struct long_request {
    /* in */
    struct loop *loop;
    const ProtobufCMessageDescriptor *type;
    int (*check)(const void *owner, const ProtobufCMessage *request); /* of server_options */
    const void *check_owner;
    struct buffer encoded; /* its own from long_request_begin on */
    void (*done)(struct long_request *request);
    void *owner;  /* NULL: nobody waits any more */
    size_t *open; /* counts those that a thread has */

    /* out */
    const ProtobufCMessage *message; /* NULL: *fault says why */
    struct pb_fault fault;
    int error; /* the check's */

    /* private */
    struct loop_work work;
    struct arena arena;
    struct pb_unpacker *unpacker;
    bool out;
};

/* From the heap, zeroed; `in` is filled by the caller. True: it is unpacked and checked already, done is not called. */
bool long_request_begin(struct long_request *request);
/* The call is over, or nobody waits: frees it, or has it freed. */
void long_request_end(struct long_request *request);

#endif
