/* POST /raft, from the other side: one message. It may be as large as on a stream, since a member that joins gets its
 * first entries in this way; what all such bodies take together is bounded. */
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <stdlib.h>

struct post_in {
    struct list node; /* of transport.posts_in */
    struct peer_transport *transport;
    struct http1_request *request;
    struct buffer body;
};

static void forget(struct post_in *post)
{
    list_remove(&post->node);
    post->request->on_abort = NULL;
    post->transport->post_bytes -= post->body.len;
    buffer_free(&post->body);
    free(post);
}

static void on_abort(struct http1_request *request)
{
    forget(request->state);
}

static void on_body(struct http1_request *request, struct bytes data)
{
    struct post_in *post = request->state;
    struct peer_transport *t = post->transport;
    if (data.len > STREAM_LIMIT_BYTES - t->post_bytes) {
        forget(post);
        http1_error(request, 413, "error reading raft message");
        return;
    }
    t->post_bytes += data.len;
    buffer_append(&post->body, data.data, data.len);
}

static void on_body_end(struct http1_request *request)
{
    struct post_in *post = request->state;
    struct peer_transport *t = post->transport;
    struct raft_message message;
    struct raft_message_owner owner = {0};
    int error = raft_message_decode(buffer_bytes(&post->body), &message, &owner);
    bool readable = error != ERR_MALFORMED; /* be it a type that never travels */
    error = error != 0 ? error : peer_deliver(t, &message);
    forget(post);
    if (!readable) {
        http1_error(request, 400, "error unmarshalling raft message");
    } else if (error != 0) {
        peer_not_processed(request);
    } else {
        http1_respond_text(request, 204, NULL, "");
    }
    raft_message_owner_free(&owner);
}

bool post_in_take(struct peer_transport *t, struct http1_request *request)
{
    if (!http1_method_is(request, "POST")) {
        return false; /* the routes say what is wrong */
    }
    if (!peer_admit(t, request)) {
        return true;
    }
    peer_meet(t, request);
    struct post_in *post = mem_zalloc(sizeof *post);
    post->transport = t;
    post->request = request;
    list_push_back(&t->posts_in, &post->node);
    request->state = post;
    request->on_abort = on_abort;
    request->on_body = on_body;
    request->on_body_end = on_body_end;
    return true;
}

void post_in_close_all(struct peer_transport *t)
{
    list_each(node, &t->posts_in)
    {
        struct post_in *post = container_of(node, struct post_in, node);
        struct http1_request *request = post->request;
        forget(post);
        http1_stream_cut(request);
    }
}
