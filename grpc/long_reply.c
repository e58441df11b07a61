#include "grpc/long_reply.h"

#include "base/pb.h"
#include <stdlib.h>

#define LONG_BYTES ((size_t)128 * 1024) /* of the message's memory */
#define SLICE_FIELDS ((size_t)4000)
#define SLICE_BLOCKS 16

struct long_reply {
    struct service_task task;
    struct call *call; /* NULL: over */
    struct arena arena;
    struct pb_packer *packer;
};

static void free_some(struct service_task *task)
{
    struct long_reply *reply = container_of(task, struct long_reply, task);
    if (!arena_free_some(&reply->arena, SLICE_BLOCKS)) {
        service_task_remove(&reply->task);
        free(reply);
    }
}

static void over(struct long_reply *reply)
{
    pb_packer_free(reply->packer);
    reply->call = NULL;
    reply->task.run = free_some;
}

static void pack_some(struct service_task *task)
{
    struct long_reply *reply = container_of(task, struct long_reply, task);
    if (pb_packer_step(reply->packer, SLICE_FIELDS)) {
        struct call *call = reply->call;
        struct bytes bytes = pb_packer_bytes(reply->packer);
        over(reply);
        call_reply_encoded(call, bytes, false);
    }
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    over(call->state);
}

void long_reply(struct services *services, struct call *call, const ProtobufCMessage *message, struct arena *arena)
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    if ((arena == NULL ? &call->arena : arena)->total <= LONG_BYTES) {
        call_reply(call, message);
        return;
    }
    struct long_reply *reply = mem_zalloc(sizeof *reply);
    reply->task.run = pack_some;
    reply->call = call;
    if (arena != NULL) {
        reply->arena = *arena;
        *arena = (struct arena){0};
    }
    reply->packer = pb_packer_new(message, &call->arena);
    call->state = reply;
    call->handler = &handler;
    service_task_add(services, &reply->task);
}
