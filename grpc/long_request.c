#include "grpc/long_request.h"

#include <stdlib.h>

#define FIRST_FIELDS 500
#define FREE_AT_ONCE ((size_t)256 * 1024)

static bool unpack(struct long_request *r, size_t fields)
{
    ProtobufCMessage *message;
    if (pb_unpacker_step(r->unpacker, fields, &message, &r->fault) == 1) {
        return false;
    }
    r->message = message;
    if (message != NULL && r->check != NULL) {
        r->error = r->check(r->check_owner, message);
    }
    return true;
}

static void unpack_all(struct loop_work *work)
{
    unpack(container_of(work, struct long_request, work), SIZE_MAX);
}

static void unpacked(struct loop_work *work)
{
    struct long_request *r = container_of(work, struct long_request, work);
    r->out = false;
    --*r->open;
    if (r->owner == NULL) {
        long_request_end(r);
    } else {
        r->done(r);
    }
}

static void hand_out(struct long_request *r, void (*run)(struct loop_work *), void (*done)(struct loop_work *))
{
    r->work.run = run;
    r->work.done = done;
    r->out = true;
    ++*r->open;
    loop_work_start(r->loop, &r->work);
}

bool long_request_begin(struct long_request *r)
{
    r->unpacker = pb_unpacker_new(r->type, buffer_bytes(&r->encoded), &r->arena);
    if (unpack(r, FIRST_FIELDS)) {
        return true;
    }
    hand_out(r, unpack_all, unpacked);
    return false;
}

/* --- the end --- */

static void free_memory(struct loop_work *work)
{
    struct long_request *r = container_of(work, struct long_request, work);
    arena_free(&r->arena);
    buffer_free(&r->encoded);
}

static void freed(struct loop_work *work)
{
    struct long_request *r = container_of(work, struct long_request, work);
    --*r->open;
    free(r);
}

void long_request_end(struct long_request *r)
{
    r->owner = NULL;
    if (r->out) {
        return; /* it comes back here */
    }
    if (r->arena.total > FREE_AT_ONCE) {
        hand_out(r, free_memory, freed);
        return;
    }
    arena_free(&r->arena);
    buffer_free(&r->encoded);
    free(r);
}
