/* GET /members/hashkv: a member asks another for its hash at a revision, as JSON in the request's body. */
#include "grpc/peer_pages.h"

#include "base/error.h"
#include "base/pb.h"
#include "grpc/json.h"
#include <inttypes.h>
#include <stdlib.h>

struct hash_page {
    struct core_hash *hash;
    struct core *core;
    struct http1_request *request;
};

static void answer(struct hash_page *page, const struct kv_hash_result *result)
{
    struct http1_request *request = page->request;
    peer_pages_cluster_id(page->core, request);
    http1_respond_text(request, 200, "application/json",
                       arena_printf(&request->arena,
                                    "{\"header\":{\"revision\":%" PRId64 "},\"hash\":%" PRIu32
                                    ",\"compact_revision\":%" PRId64 ",\"hash_revision\":%" PRId64 "}",
                                    result->current_revision, result->hash, result->compact_revision,
                                    result->hash_revision));
}

static void failed(struct http1_request *request, int error)
{
    if (error == ERR_COMPACTED) {
        http1_error(request, 400, "mvcc: required revision has been compacted");
    } else if (error == ERR_FUTURE_REV) {
        http1_error(request, 400, "mvcc: required revision is a future revision");
    } else {
        http1_error(request, 500, error_text(error));
    }
}

static void hashed(struct core_hash *hash, int error)
{
    struct hash_page *page = hash->owner;
    if (error != 0) {
        failed(page->request, error);
    } else {
        struct kv_hash_result result = hash->result;
        answer(page, &result);
    }
    free(hash);
}

static void aborted(struct http1_request *request)
{
    core_hash_cancel(((struct hash_page *)request->state)->hash);
}

static bool read_revision(struct http1_request *request, int64_t *revision)
{
    struct buffer encoded = {0};
    const char *reason;
    const ProtobufCMessage *message = NULL;
    const ProtobufCMessageDescriptor *type = &etcdserverpb__hash_kvrequest__descriptor;
    if (request->body.len > 0 && json_parse_message(type, request->body, &encoded, &request->arena, &reason) == 0) {
        message = pb_unpack(type, buffer_bytes(&encoded), &request->arena, NULL);
    }
    buffer_free(&encoded);
    *revision = message != NULL ? ((const Etcdserverpb__HashKVRequest *)message)->revision : 0;
    return message != NULL;
}

void peer_hash_kv(struct core *core, struct http1_request *request)
{
    int64_t revision;
    if (!peer_pages_same_cluster(core, request, true)) {
        http1_error(request, 412, "cluster ID mismatch");
        return;
    }
    if (!read_revision(request, &revision)) {
        http1_error(request, 400, "error unmarshalling request");
        return;
    }
    struct hash_page *page = arena_zalloc(&request->arena, sizeof *page);
    struct core_hash *hash = mem_zalloc(sizeof *hash);
    *page = (struct hash_page){.hash = hash, .core = core, .request = request};
    hash->done = hashed;
    hash->owner = page;
    int error = core_hash(core, hash, KV_HASH_KV, revision);
    if (error == 0) {
        request->state = page;
        request->on_abort = aborted;
        return;
    }
    if (error == CORE_READY) {
        answer(page, &hash->result);
    } else {
        failed(request, error);
    }
    free(hash);
}
