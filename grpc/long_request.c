#include "grpc/long_request.h"

#include "base/check.h"
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

static void unpack_all(uv_work_t *work)
{
    unpack(work->data, SIZE_MAX);
}

static void unpacked(uv_work_t *work, int status)
{
    struct long_request *r = work->data;
    CHECK(status == 0);
    r->out = false;
    --*r->open;
    if (r->owner == NULL) {
        long_request_end(r);
    } else {
        r->done(r);
    }
}

static void queue(struct long_request *r, uv_work_cb run, uv_after_work_cb after)
{
    r->work.data = r;
    r->out = true;
    ++*r->open;
    CHECK(uv_queue_work(r->loop, &r->work, run, after) == 0);
}

bool long_request_begin(struct long_request *r)
{
    r->unpacker = pb_unpacker_new(r->type, buffer_bytes(&r->encoded), &r->arena);
    if (unpack(r, FIRST_FIELDS)) {
        return true;
    }
    queue(r, unpack_all, unpacked);
    return false;
}

/* --- the end --- */

static void free_memory(uv_work_t *work)
{
    struct long_request *r = work->data;
    arena_free(&r->arena);
    buffer_free(&r->encoded);
}

static void freed(uv_work_t *work, int status)
{
    (void)status;
    struct long_request *r = work->data;
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
        queue(r, free_memory, freed);
        return;
    }
    arena_free(&r->arena);
    buffer_free(&r->encoded);
    free(r);
}
