/* The paths of the peer port that are raft's own (peer.md "Endpoints"). */
#include "base/error.h"
#include "raft/peer/peer_impl.h"

/* --- /raft/stream/ --- */

/* /raft/stream/message/ID or …/msgapp/ID; *from is the last part. */
static bool stream_path(struct bytes path, enum stream_kind *kind, struct bytes *from)
{
    static const char *const kinds[STREAM_KINDS] = {
        [STREAM_MESSAGE] = "/raft/stream/message/",
        [STREAM_MSGAPP] = "/raft/stream/msgapp/",
    };
    for (unsigned i = 0; i < STREAM_KINDS; i++) {
        size_t len = strlen(kinds[i]);
        if (path.len >= len && memcmp(path.data, kinds[i], len) == 0) {
            *kind = (enum stream_kind)i;
            *from = bytes_of(path.data + len, path.len - len);
            return memchr(from->data, '/', from->len) == NULL;
        }
    }
    return false;
}

/* The member that asks, or NULL: refused and answered. */
static struct peer *asker(struct peer_transport *t, struct http1_request *request, struct bytes from)
{
    uint64_t id, to;
    if (!peer_hexadecimal(from, &id)) {
        http1_error(request, 404, "invalid from");
        return NULL;
    }
    if (t->config.events->was_removed(t->config.owner, id)) {
        http1_error(request, 410, "removed member");
        return NULL;
    }
    struct peer *peer = peer_find(t, id);
    if (peer == NULL || peer->remote) {
        peer_meet(t, request);
        http1_error(request, 404, "error sender not found");
        return NULL;
    }
    if (!peer_hexadecimal(http1_header(request, "x-raft-to"), &to) || to != t->config.member_id) {
        http1_error(request, 412, "to field mismatch");
        return NULL;
    }
    return peer;
}

static void stream(struct peer_transport *t, struct http1_request *request)
{
    struct bytes from;
    enum stream_kind kind;
    http1_set(request, "X-Server-Version", t->config.version);
    if (!peer_admit(t, request)) {
        return;
    }
    if (!stream_path(request->path, &kind, &from)) {
        http1_error(request, 404, "invalid path");
        return;
    }
    struct peer *peer = asker(t, request, from);
    if (peer != NULL) {
        stream_out_attach(&peer->out[kind], request);
    }
}

/* --- the table --- */

static bool below(struct bytes path, const char *folder)
{
    return path.len >= strlen(folder) && memcmp(path.data, folder, strlen(folder)) == 0;
}

static bool refused_method(struct http1_request *request, const char *method)
{
    if (http1_method_is(request, method)) {
        return false;
    }
    http1_set(request, "Allow", method);
    http1_error(request, 405, "Method Not Allowed");
    return true;
}

bool peer_take(void *owner, struct http1_request *request)
{
    return bytes_equal(request->path, bytes_str("/raft"))            ? post_in_take(owner, request)
           : bytes_equal(request->path, bytes_str("/raft/snapshot")) ? image_in_take(owner, request)
                                                                     : false;
}

bool peer_handle(void *owner, struct http1_request *request)
{
    struct peer_transport *t = owner;
    if (bytes_equal(request->path, bytes_str("/raft")) || bytes_equal(request->path, bytes_str("/raft/snapshot"))) {
        refused_method(request, "POST"); /* a POST was taken before it came here */
    } else if (below(request->path, "/raft/stream/")) {
        if (!refused_method(request, "GET")) {
            stream(t, request);
        }
    } else {
        return false;
    }
    return true;
}
