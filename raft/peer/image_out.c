/* POST /raft/snapshot: the message, then the database as its source gives it, as the connection takes it. */
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <inttypes.h>
#include <stdlib.h>

struct image_out {
    struct list node; /* of transport.images_out */
    struct peer_transport *transport;
    uint64_t to;
    struct raft_position at;
    struct http1_client client;
    struct buffer envelope; /* length and message */
    size_t envelope_sent;
    struct peer_source *source;
    uint64_t sent_bytes; /* of the source */
    struct loop_timer refusal;
    struct loop_later freeing;
};

static void free_image(struct loop_later *later)
{
    free(container_of(later, struct image_out, freeing));
}

/* The end: the source goes back, then raft hears of it. */
static void end(struct image_out *image, bool ok)
{
    struct peer_transport *t = image->transport;
    struct peer_source *source = image->source;
    uint64_t to = image->to;
    list_remove(&image->node);
    t->image_out_count--;
    http1_client_close(&image->client);
    buffer_free(&image->envelope);
    loop_timer_stop(t->config.loop, &image->refusal);
    loop_later(t->config.loop, &image->freeing, free_image);
    source->transfer = NULL;
    source->close(source);
    t->config.events->snapshot_reported(t->config.owner, to, ok);
}

static void on_refusal(struct loop_timer *timer)
{
    end(container_of(timer, struct image_out, refusal), false);
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct image_out *image = client->owner;
    struct peer_transport *t = image->transport;
    struct peer *peer = peer_find(t, image->to);
    bool ok = failure == NULL && client->status == 204;
    bool removed = failure == NULL && client->status == 403;
    if (ok) {
        log_info("sent database snapshot", log_uint("snapshot-index", image->at.index),
                 log_hex("remote-peer-id", image->to), log_uint("bytes", image->sent_bytes));
    } else {
        log_warn("failed to send database snapshot", log_uint("snapshot-index", image->at.index),
                 log_hex("remote-peer-id", image->to), log_uint("bytes", image->sent_bytes),
                 log_int("status", client->status), log_str("error", failure != NULL ? failure : "refused"));
    }
    if (peer != NULL && ok) {
        peer_active(peer);
    } else if (peer != NULL) {
        peer_inactive(peer, "post snapshot", failure != NULL ? failure : "refused");
        peer_unreachable(peer);
        peer_next_url(peer);
    }
    end(image, ok);
    if (removed) {
        t->config.events->removed(t->config.owner);
    }
}

static ssize_t on_room(struct http1_client *client, uint8_t *out, size_t cap)
{
    struct image_out *image = client->owner;
    size_t left = image->envelope.len - image->envelope_sent;
    if (left > 0) {
        size_t n = left < cap ? left : cap;
        memcpy(out, image->envelope.data + image->envelope_sent, n);
        image->envelope_sent += n;
        return (ssize_t)n;
    }
    ssize_t n = image->source->read(image->source, out, cap);
    if (n == ERR_AGAIN) {
        return 0;
    }
    if (n <= 0) {
        return n == 0 ? -1 : -2;
    }
    image->sent_bytes += (uint64_t)n;
    return n;
}

static void put_envelope(struct buffer *out, const struct raft_message *m)
{
    buffer_reserve(out, 8);
    out->len = 8;
    raft_message_encode(out, m);
    put_be64(out->data, out->len - 8);
}

static void ask(struct image_out *image, const struct peer *peer)
{
    struct peer_transport *t = image->transport;
    struct buffer headers = {0};
    buffer_append(&headers, t->headers.data, t->headers.len);
    buffer_printf(&headers, "Content-Type: application/octet-stream\r\n");
    struct http1_ask ask = {.method = "POST",
                            .target = "/raft/snapshot",
                            .headers = buffer_bytes(&headers),
                            .streamed = true,
                            .length_known = image->source->size_known,
                            .length = image->envelope.len + image->source->size_bytes,
                            .dial_ms = 1000 + t->config.election_ms,
                            .idle_ms = PEER_IMAGE_IDLE_MS,
                            .answer_ms = PEER_IMAGE_IDLE_MS};
    peer_address(peer_url(peer), &ask);
    http1_client_start(&image->client, &ask);
    buffer_free(&headers);
}

void peer_send_image(struct peer_transport *t, const struct raft_message *m, struct peer_source *source)
{
    struct image_out *image = mem_zalloc(sizeof *image);
    const struct peer *peer = peer_find(t, m->to);
    *image = (struct image_out){.transport = t, .to = m->to, .at = m->snapshot, .source = source};
    image->refusal.fire = on_refusal;
    image->client =
        (struct http1_client){.loop = t->config.loop, .owner = image, .on_room = on_room, .on_done = on_done};
    list_push_back(&t->images_out, &image->node);
    t->image_out_count++;
    source->transfer = image;
    if (peer == NULL || peer->remote || t->image_out_count > PEER_IMAGES_MAX) {
        loop_timer_set(t->config.loop, &image->refusal, loop_now_ms(t->config.loop));
        return;
    }
    put_envelope(&image->envelope, m);
    log_info("sending database snapshot", log_uint("snapshot-index", m->snapshot.index),
             log_hex("remote-peer-id", m->to), log_uint("bytes", source->size_known ? source->size_bytes : 0));
    ask(image, peer);
}

void peer_source_ready(struct peer_source *source)
{
    struct image_out *image = source->transfer;
    if (image != NULL) {
        http1_client_more(&image->client);
    }
}

void peer_source_give_up(struct peer_source *source)
{
    struct image_out *image = source->transfer;
    if (image != NULL) {
        loop_timer_set(image->transport->config.loop, &image->refusal, loop_now_ms(image->transport->config.loop));
    }
}

void image_out_close(struct peer_transport *t, const struct peer *peer)
{
    list_each(node, &t->images_out)
    {
        struct image_out *image = container_of(node, struct image_out, node);
        if (peer == NULL || image->to == peer->id) {
            end(image, false);
        }
    }
}
