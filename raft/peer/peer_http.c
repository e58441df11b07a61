#include "raft/peer/peer_http.h"

#include "base/error.h"
#include "base/pb.h"
#include "raft/raft.pb-c.h"
#include <inttypes.h>
#include <stdio.h>

#define SNAPSHOT_MESSAGE_BYTES (512u << 20) /* rafthttp's limit of the message in front of the database */

/* --- who may talk to us --- */

struct version {
    unsigned major, minor;
};

/* "3.7.1" as far as it counts; what can't be read is 0.0, and too old. */
static struct version read_version(struct bytes text, struct version absent)
{
    if (text.len == 0) {
        return absent;
    }
    char copy[32];
    struct version version = {0};
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    return sscanf(copy, "%5u.%5u.", &version.major, &version.minor) == 2 ? version : (struct version){0};
}

static bool older(struct version a, struct version b)
{
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

/* Remote too old for us, or we too old for it? Both default to 2.0.0. */
static bool compatible(const struct peer_http *self, const struct http1_request *request)
{
    static const struct version absent = {2, 0}, minimum = {3, 0};
    struct version own = read_version(bytes_str(self->version), absent);
    struct version server = read_version(http1_header(request, "x-server-version"), absent);
    struct version wants = read_version(http1_header(request, "x-min-cluster-version"), absent);
    return !older(server, minimum) && !older(own, wants);
}

/* False: refused and answered. */
static bool admitted(const struct peer_http *self, struct http1_request *request)
{
    char cluster[24];
    snprintf(cluster, sizeof cluster, "%" PRIx64, self->cluster_id);
    http1_set(request, "X-Etcd-Cluster-Id", cluster);
    if (!compatible(self, request)) {
        http1_error(request, 412, "incompatible version");
        return false;
    }
    if (!bytes_equal(http1_header(request, "x-etcd-cluster-id"), bytes_str(cluster))) {
        http1_error(request, 412, "cluster ID mismatch");
        return false;
    }
    return true;
}

/* --- /raft --- */

/* etcd sends this text, and then cuts the connection in the middle of the body. */
static void not_processed(struct http1_request *request)
{
    http1_set(request, "X-Content-Type-Options", "nosniff");
    http1_stream_begin(request, 500, "text/plain; charset=utf-8");
    http1_stream_write(request, bytes_str("error processing raft message\n"));
    http1_stream_abort(request);
}

static void pipeline(const struct peer_http *self, struct http1_request *request)
{
    if (!admitted(self, request)) {
        return;
    }
    const Raftpb__Message *message =
        (const Raftpb__Message *)pb_unpack(&raftpb__message__descriptor, request->body, &request->arena, NULL);
    if (message == NULL) {
        http1_error(request, 400, "error unmarshalling raft message");
    } else if (message->to != self->member_id || self->removed(self->owner, message->from)) {
        not_processed(request);
    } else { /* from nobody that this cluster knows: taken and dropped, as messages between members may be */
        http1_respond_text(request, 204, NULL, "");
    }
}

/* --- /raft/snapshot --- */

/* The message in front of the database, or why it can't be had. */
static const Raftpb__Message *snapshot_message(struct http1_request *request, const char **reason)
{
    struct bytes body = request->body;
    struct pb_fault fault;
    if (body.len < 8) {
        *reason = body.len == 0 ? "EOF" : "unexpected EOF";
        return NULL;
    }
    uint64_t length = get_be64(body.data);
    if (length > SNAPSHOT_MESSAGE_BYTES || length > body.len - 8) {
        *reason = length > SNAPSHOT_MESSAGE_BYTES ? "rafthttp: error limit exceeded" : "unexpected EOF";
        return NULL;
    }
    ProtobufCMessage *message =
        pb_unpack(&raftpb__message__descriptor, bytes_of(body.data + 8, (size_t)length), &request->arena, &fault);
    *reason = message == NULL ? fault.reason : NULL;
    return (const Raftpb__Message *)message;
}

static void snapshot(const struct peer_http *self, struct http1_request *request)
{
    if (!admitted(self, request)) {
        return;
    }
    const char *reason;
    const Raftpb__Message *message = snapshot_message(request, &reason);
    if (message == NULL) {
        http1_error(request, 400, arena_printf(&request->arena, "failed to decode raft message (%s)", reason));
    } else if (message->type != RAFTPB__MESSAGE_TYPE__MsgSnap) {
        http1_error(request, 400, "wrong raft message type");
    } else {
        http1_error(request, 500, "failed to save KV snapshot (not supported by kedge yet)");
    }
}

/* --- /raft/stream/ --- */

static bool hexadecimal(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i] | 0x20;
        unsigned digit = c >= '0' && c <= '9' ? c - (unsigned)'0' : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10 : 16;
        if (digit > 15 || *out >> 60 != 0) {
            return false;
        }
        *out = *out << 4 | digit;
    }
    return text.len > 0;
}

/* /raft/stream/message/ID or …/msgapp/ID; *from is the last part. */
static bool stream_path(struct bytes path, struct bytes *from)
{
    static const char *const kinds[] = {"/raft/stream/message/", "/raft/stream/msgapp/"};
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(kinds[i]);
        if (path.len >= len && memcmp(path.data, kinds[i], len) == 0) {
            *from = bytes_of(path.data + len, path.len - len);
            return memchr(from->data, '/', from->len) == NULL;
        }
    }
    return false;
}

static void stream(const struct peer_http *self, struct http1_request *request)
{
    struct bytes from;
    uint64_t id;
    http1_set(request, "X-Server-Version", self->version);
    if (!admitted(self, request)) {
        return;
    }
    if (!stream_path(request->path, &from)) {
        http1_error(request, 404, "invalid path");
    } else if (!hexadecimal(from, &id)) {
        http1_error(request, 404, "invalid from");
    } else if (self->removed(self->owner, id)) {
        http1_error(request, 410, "removed member");
    } else { /* its own id included: a member is no peer of its own */
        http1_error(request, 404, "error sender not found");
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

bool peer_http_handle(void *owner, struct http1_request *request)
{
    const struct peer_http *self = owner;
    if (bytes_equal(request->path, bytes_str("/raft"))) {
        refused_method(request, "POST") ? (void)0 : pipeline(self, request);
    } else if (bytes_equal(request->path, bytes_str("/raft/snapshot"))) {
        refused_method(request, "POST") ? (void)0 : snapshot(self, request);
    } else if (below(request->path, "/raft/stream/")) {
        refused_method(request, "GET") ? (void)0 : stream(self, request);
    } else {
        return false;
    }
    return true;
}
