/* POST /raft/snapshot, from the other side: length, message, and the database to the end of the body. The body is read
 * as it comes and as fast as the owner takes it. */
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <stdlib.h>

enum image_in_state { IMAGE_LENGTH, IMAGE_MESSAGE, IMAGE_DATA, IMAGE_FINISHING };

struct image_in {
    struct peer_image image; /* first: what the owner knows of it */
    struct list node;        /* of transport.images_in */
    struct peer_transport *transport;
    struct http1_request *request;
    enum image_in_state state;
    bool begun; /* the owner knows of it */
    uint64_t length;
    struct buffer start; /* length and message, until they are whole */
    struct raft_message message;
    struct raft_message_owner owner;
    uint64_t started_ms;
    struct loop_later freeing;
};

static struct image_in *of(struct peer_image *image)
{
    return container_of(image, struct image_in, image);
}

static void free_image(struct loop_later *later)
{
    struct image_in *in = container_of(later, struct image_in, freeing);
    raft_message_owner_free(&in->owner);
    buffer_free(&in->start);
    free(in);
}

/* It is over; the request is answered or lost. */
static void forget(struct image_in *in)
{
    list_remove(&in->node);
    in->request->on_abort = NULL;
    in->request = NULL;
    loop_later(in->transport->config.loop, &in->freeing, free_image);
}

static void on_abort(struct http1_request *request)
{
    struct image_in *in = request->state;
    const struct peer_config *config = &in->transport->config;
    forget(in);
    if (in->begun) {
        config->events->image_abort(config->owner, &in->image);
    }
}

static void refuse(struct image_in *in, int status, const char *text)
{
    struct http1_request *request = in->request;
    const char *copy = arena_printf(&request->arena, "%s", text);
    forget(in);
    http1_error(request, status, copy);
}

static void undecodable(struct image_in *in, const char *why)
{
    refuse(in, 400, arena_printf(&in->request->arena, "failed to decode raft message (%s)", why));
}

static void not_saved(struct image_in *in, const char *why)
{
    refuse(in, 500, arena_printf(&in->request->arena, "failed to save KV snapshot (%s)", why));
}

/* The message is whole: is it for us? */
static void begin(struct image_in *in, struct bytes encoded)
{
    struct peer_transport *t = in->transport;
    const struct peer_config *config = &t->config;
    const struct raft_message *m = &in->message;
    int error = raft_message_decode(encoded, &in->message, &in->owner);
    if (error == ERR_MALFORMED) {
        undecodable(in, "proto: cannot parse invalid wire-format data");
        return;
    }
    if (error != 0 || m->type != RAFT_MSG_SNAPSHOT) { /* a type that never travels is no more wrong than another */
        refuse(in, 400, "wrong raft message type");
        return;
    }
    if (m->to != config->member_id || m->term == 0 || m->snapshot.index == 0 || m->snapshot_conf == NULL ||
        config->events->was_removed(config->owner, m->from)) {
        struct http1_request *request = in->request;
        forget(in);
        peer_not_processed(request);
        return;
    }
    log_info("receiving database snapshot", log_hex("local-member-id", config->member_id),
             log_hex("remote-snapshot-sender-id", m->from), log_uint("incoming-snapshot-index", m->snapshot.index),
             log_uint("incoming-snapshot-message-size-bytes", encoded.len));
    in->state = IMAGE_DATA;
    in->image.message = m;
    in->begun = true;
    error = config->events->image_begin(config->owner, &in->image);
    if (error != 0) {
        in->begun = false;
        not_saved(in, error_text(error));
    }
}

static void give(struct image_in *in, struct bytes data)
{
    const struct peer_config *config = &in->transport->config;
    if (data.len == 0) {
        return;
    }
    in->image.received_bytes += data.len;
    if (!config->events->image_data(config->owner, &in->image, data) && in->request != NULL) {
        http1_body_pause(in->request);
    }
}

/* Length and message may come in any pieces. Takes of *data what belongs to them. */
static void take_start(struct image_in *in, struct bytes *data)
{
    uint64_t wanted = in->state == IMAGE_LENGTH ? 8 : 8 + in->length;
    uint64_t missing = wanted - in->start.len;
    size_t n = missing < data->len ? (size_t)missing : data->len;
    buffer_append(&in->start, data->data, n);
    *data = bytes_skip(*data, n);
    if (in->start.len < wanted) {
        return;
    }
    if (in->state == IMAGE_MESSAGE) {
        begin(in, bytes_of(in->start.data + 8, in->start.len - 8));
        return;
    }
    in->length = get_be64(in->start.data);
    in->state = IMAGE_MESSAGE;
    if (in->length > PEER_ENVELOPE_BYTES) {
        undecodable(in, "rafthttp: error limit exceeded");
    } else if (in->length == 0) {
        begin(in, (struct bytes){0});
    }
}

static void on_body(struct http1_request *request, struct bytes data)
{
    struct image_in *in = request->state;
    while (in->request != NULL && in->state < IMAGE_DATA && data.len > 0) {
        take_start(in, &data);
    }
    if (in->request != NULL && in->state == IMAGE_DATA) {
        give(in, data);
    }
}

static void on_body_end(struct http1_request *request)
{
    struct image_in *in = request->state;
    const struct peer_config *config = &in->transport->config;
    if (in->state != IMAGE_DATA) {
        undecodable(in, in->start.len == 0 ? "EOF" : "unexpected EOF");
        return;
    }
    in->state = IMAGE_FINISHING;
    config->events->image_finish(config->owner, &in->image);
}

void peer_image_more(struct peer_image *image)
{
    struct image_in *in = of(image);
    if (in->request != NULL) {
        http1_body_resume(in->request);
    }
}

void peer_image_done(struct peer_image *image, int error, const char *reason)
{
    struct image_in *in = of(image);
    struct http1_request *request = in->request;
    const struct raft_message *m = &in->message;
    if (error != 0) {
        log_warn("failed to save incoming database snapshot", log_hex("remote-snapshot-sender-id", m->from),
                 log_uint("incoming-snapshot-index", m->snapshot.index),
                 log_str("error", reason != NULL ? reason : error_text(error)));
        not_saved(in, reason != NULL ? reason : error_text(error));
        return;
    }
    uint64_t took_ms = loop_now_ms(in->transport->config.loop) - in->started_ms;
    log_info("received and saved database snapshot", log_hex("local-member-id", in->transport->config.member_id),
             log_hex("remote-snapshot-sender-id", m->from), log_uint("incoming-snapshot-index", m->snapshot.index),
             log_uint("incoming-snapshot-size-bytes", image->received_bytes),
             log_duration("download-took", took_ms * 1000000));
    forget(in);
    http1_respond_text(request, 204, NULL, "");
}

bool image_in_take(struct peer_transport *t, struct http1_request *request)
{
    if (!http1_method_is(request, "POST")) {
        return false; /* the routes say what is wrong */
    }
    if (!peer_admit(t, request)) {
        return true;
    }
    peer_meet(t, request);
    struct image_in *in = mem_zalloc(sizeof *in);
    in->transport = t;
    in->request = request;
    in->started_ms = loop_now_ms(t->config.loop);
    list_push_back(&t->images_in, &in->node);
    request->state = in;
    request->on_abort = on_abort;
    request->on_body = on_body;
    request->on_body_end = on_body_end;
    return true;
}

void image_in_close_all(struct peer_transport *t)
{
    list_each(node, &t->images_in)
    {
        struct image_in *in = container_of(node, struct image_in, node);
        struct http1_request *request = in->request;
        on_abort(request);
        http1_stream_cut(request);
    }
}
