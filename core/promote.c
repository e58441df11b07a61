/* A promotion that this member cannot judge: the leader is asked on its peer port (peer.md "/members/promote"), again
 * and again while there is none or it cannot be reached. It may also turn out to be this member. */
#include "core/internal.h"

#include "base/check.h"
#include <stdio.h>

struct core_promote {
    struct list node;
    struct core *core;
    struct core_request *request;
    uint64_t id, retry_ms;
    bool asking;
    char path[64];
    struct core_peer_call call;
};

static struct core_request *promote_free(struct core_promote *promote)
{
    struct core_request *request = promote->request;
    if (promote->asking) {
        promote->core->env->peer_call_cancel(promote->core->env, &promote->call);
    }
    list_remove(&promote->node);
    request->state = REQUEST_NONE;
    free(promote);
    return request;
}

static void end(struct core_promote *promote, int error)
{
    struct core_request *request = promote_free(promote);
    request->done(request, error, NULL);
}

/* The leader has applied it. A read from here on waits until this member has done so too. */
static void promoted(struct core_promote *promote)
{
    struct core *core = promote->core;
    struct core_request *request = promote_free(promote);
    int error = core_barrier(core, request);
    if (error != 0) {
        request->done(request, error, NULL);
    }
}

static bool says(struct bytes text, int error)
{
    const char *words = strstr(error_text(error), ": ") + 2; /* without "etcdserver": pages say "membership" too */
    return memmem(text.data, text.len, words, strlen(words)) != NULL;
}

static void answered(struct core_peer_call *call)
{
    struct core_promote *promote = call->owner;
    struct core *core = promote->core;
    promote->asking = false;
    promote->retry_ms = core->now_ms + core->config.heartbeat_ms;
    if (call->error != 0) {
        return;
    }
    if (call->status == 200) {
        promoted(promote);
    } else if (call->status == 404) {
        end(promote, ERR_MEMBER_NOT_FOUND);
    } else if (call->status == 412 && says(call->response, ERR_LEARNER_NOT_READY)) {
        end(promote, ERR_LEARNER_NOT_READY);
    } else if (call->status == 412 && says(call->response, ERR_MEMBER_NOT_LEARNER)) {
        end(promote, ERR_MEMBER_NOT_LEARNER);
    }
}

static void ask(struct core_promote *promote)
{
    struct core *core = promote->core;
    promote->call = (struct core_peer_call){.to = core->leader,
                                            .method = "POST",
                                            .path = promote->path,
                                            .timeout_ms = core->config.request_timeout_ms,
                                            .done = answered,
                                            .owner = promote};
    promote->asking = true;
    core->env->peer_call(core->env, &promote->call);
}

static void here(struct core_promote *promote)
{
    struct core *core = promote->core;
    uint64_t id = promote->id;
    struct core_request *request = promote_free(promote);
    int error = members_promote(core, request, id);
    if (error != 0) {
        request->done(request, error, NULL);
    }
}

int core_member_promote(struct core *core, struct core_request *request, uint64_t id, bool forward)
{
    int error = core->stopping ? ERR_STOPPED : members_promote(core, request, id);
    if (error != ERR_NOT_LEADER || !forward || core->env->peer_call == NULL) {
        return error;
    }
    struct core_promote *promote = mem_zalloc(sizeof *promote);
    promote->core = core;
    promote->request = request;
    promote->id = id;
    snprintf(promote->path, sizeof promote->path, "/members/promote/%llu", (unsigned long long)id);
    request->state = REQUEST_PROMOTE;
    request->expires_ms = core->now_ms + core->config.request_timeout_ms;
    list_push_back(&core->promotes, &promote->node);
    return 0;
}

void promote_slice(struct core *core)
{
    list_each(node, &core->promotes)
    {
        struct core_promote *promote = container_of(node, struct core_promote, node);
        if (core->now_ms >= promote->request->expires_ms) {
            end(promote, ERR_TIMEOUT);
        } else if (promote->asking || core->leader == RAFT_NONE || core->now_ms < promote->retry_ms) {
            continue;
        } else if (core->leader == core->config.member_id) {
            here(promote);
        } else {
            ask(promote);
        }
    }
}

uint64_t promote_deadline(const struct core *core)
{
    uint64_t at = UINT64_MAX;
    list_each(node, &core->promotes)
    {
        const struct core_promote *promote = container_of(node, struct core_promote, node);
        uint64_t next = promote->asking || core->leader == RAFT_NONE ? promote->request->expires_ms : promote->retry_ms;
        at = next < at ? next : at;
    }
    return at;
}

void promote_cancel(struct core *core, struct core_request *request)
{
    list_each(node, &core->promotes)
    {
        struct core_promote *promote = container_of(node, struct core_promote, node);
        if (promote->request == request) {
            promote_free(promote);
        }
    }
}

void promote_fail_all(struct core *core, int error)
{
    while (!list_empty(&core->promotes)) {
        end(list_first(&core->promotes, struct core_promote, node), error);
    }
}
